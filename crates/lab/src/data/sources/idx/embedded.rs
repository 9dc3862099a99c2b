//! The subset of Fashion-MNIST that the program carries.
//!
//! The first 3,000 training images and the first 1,000 test images, MIT licence, (c) 2017 Zalando SE; the notice lies
//! beside the files. The script `scripts/make_fashion_mnist_subset.py` makes them.

use std::path::Path;

use super::role::FileRole;
use super::{assemble, file};
use crate::data::{DataError, Dataset};

/// The file that plays a role, compressed.
pub(super) fn bytes(role: FileRole) -> &'static [u8] {
    match role {
        FileRole::TrainImages => include_bytes!("../../../../assets/fashion-mnist-subset/train-images-idx3-ubyte.gz"),
        FileRole::TrainLabels => include_bytes!("../../../../assets/fashion-mnist-subset/train-labels-idx1-ubyte.gz"),
        FileRole::TestImages => include_bytes!("../../../../assets/fashion-mnist-subset/t10k-images-idx3-ubyte.gz"),
        FileRole::TestLabels => include_bytes!("../../../../assets/fashion-mnist-subset/t10k-labels-idx1-ubyte.gz"),
    }
}

/// Reads the subset, with the same checks as a folder.
pub(in crate::data) fn load() -> Result<Dataset, DataError> {
    let path = Path::new("fashion-mnist-subset");
    let read = |role: FileRole| file::read(bytes(role), &path.join(role.usual_name()), role);
    assemble(
        path,
        [
            read(FileRole::TrainImages)?,
            read(FileRole::TrainLabels)?,
            read(FileRole::TestImages)?,
            read(FileRole::TestLabels)?,
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_it_says() {
        let set = load().unwrap();
        assert_eq!(set.name, "fashion-mnist-subset");
        assert!(set.verified);
        assert_eq!(set.class_names.len(), 10);
        assert_eq!(set.class_names[9], "ankle boot");
        for (part, count, first_labels) in [(&set.train, 3000, [9, 0, 0, 3, 0]), (&set.test, 1000, [9, 2, 1, 1, 6])] {
            assert_eq!(part.len(), count);
            assert_eq!(part.shape, [1, 28, 28]);
            assert_eq!(part.pixels.len(), count * 28 * 28);
            assert_eq!(part.labels[..5], first_labels);
            assert!((0..10).all(|class| part.labels.contains(&class)));
        }
        assert_eq!(set.notes(), Vec::<String>::new());
    }

    #[test]
    fn keeps_the_licence_notice_beside_the_files() {
        let notice = include_str!("../../../../assets/fashion-mnist-subset/LICENSE");
        assert!(notice.contains("The MIT License") && notice.contains("2017 Zalando SE"));
    }
}
