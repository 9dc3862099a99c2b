//! A picture of a set.

use std::path::Path;

use super::{DataError, Dataset, is_idx, write_png_grey};

/// Training and test images of a class that are shown.
const COLUMNS: [usize; 2] = [12, 6];

/// Pixels between images.
const SPACE: usize = 2;

/// Pixels between training images and test images, in addition.
const GAP: usize = 12;

/// Brightness of the ground, on which neither black nor white images get lost.
const GROUND: u8 = 128;

/// The longest side of an image on the sheet; of larger images every second pixel is shown, or every third, and so on.
const LONGEST_SIDE: usize = 64;

/// Draws the first images of each class as a grey PNG: a row a class in the order of the labels, training images on the left,
/// test images on the right.
///
/// # Errors
/// If the file cannot be written, or is one of a data set.
pub fn write_contact_sheet(set: &Dataset, path: &Path) -> Result<(), DataError> {
    if is_idx(path) {
        return Err(DataError::malformed(path, "holds data, not a picture; choose another name for the picture"));
    }
    let Sheet { width, height, pixels } = sheet(set);
    write_png_grey(path, width, height, &pixels)
}

/// A grey picture, `[height, width]`.
struct Sheet {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

fn sheet(set: &Dataset) -> Sheet {
    let classes = set.class_names.len();
    let step = set.train.height.max(set.train.width).div_ceil(LONGEST_SIDE);
    // From the beginning of an image to that of the next one.
    let pitch = [set.train.height, set.train.width].map(|side| side.div_ceil(step) + SPACE);
    let left = [SPACE, SPACE + COLUMNS[0] * pitch[1] + GAP];
    let (height, width) = (SPACE + classes * pitch[0], left[1] + COLUMNS[1] * pitch[1]);
    let mut pixels = vec![GROUND; height * width];
    for (part, images) in [&set.train, &set.test].into_iter().enumerate() {
        let mut drawn = vec![0; classes];
        for (index, &label) in images.labels.iter().enumerate() {
            let class = usize::from(label);
            if drawn[class] == COLUMNS[part] {
                continue;
            }
            let (top, left) = (SPACE + class * pitch[0], left[part] + drawn[class] * pitch[1]);
            for (y, row) in images.image(index).chunks_exact(images.width).step_by(step).enumerate() {
                let line = &mut pixels[(top + y) * width + left..];
                line.iter_mut().zip(row.iter().step_by(step)).for_each(|(to, from)| *to = *from);
            }
            drawn[class] += 1;
        }
    }
    Sheet { width, height, pixels }
}

#[cfg(test)]
mod tests {
    use super::super::tests::dataset;
    use super::super::{Images, load, read_png};
    use super::*;

    fn images(labels: Vec<u8>, height: usize, width: usize) -> Images {
        let pixels = (0..labels.len() * height * width).map(|index| (index % 100) as u8).collect();
        Images { pixels, labels, height, width }
    }

    #[test]
    fn each_image_is_in_its_place() {
        // Class 1 has no training image, class 0 more than are shown.
        let set = dataset(images([vec![0; 20], vec![2]].concat(), 2, 3), images(vec![1, 2, 1], 2, 3), 3);
        let Sheet { width, height, pixels } = sheet(&set);
        assert_eq!((width, height), (2 + 12 * 5 + 12 + 6 * 5, 2 + 3 * 4));
        let shown = |row: usize, left: usize| -> Vec<u8> {
            (0..2).flat_map(|y| pixels[(2 + 4 * row + y) * width + left..][..3].to_vec()).collect()
        };
        let right = 2 + 12 * 5 + 12;
        assert_eq!(shown(0, 2), set.train.image(0));
        assert_eq!(shown(0, 2 + 11 * 5), set.train.image(11));
        assert_eq!(shown(1, 2), [GROUND; 6]);
        assert_eq!(shown(2, 2), set.train.image(20));
        assert_eq!(shown(0, right), [GROUND; 6]);
        assert_eq!(shown(1, right), set.test.image(0));
        assert_eq!(shown(1, right + 5), set.test.image(2));
        assert_eq!(shown(2, right), set.test.image(1));
        let count = pixels.iter().filter(|pixel| **pixel != GROUND).count();
        assert_eq!(count, 6 * (12 + 1 + 3));
    }

    #[test]
    fn large_images_are_thinned_out() {
        let set = dataset(images(vec![0], 3, 200), images(vec![0], 3, 200), 1);
        let Sheet { width, height, pixels } = sheet(&set);
        // Every fourth pixel of every fourth row.
        assert_eq!((width, height), (2 + 12 * 52 + 12 + 6 * 52, 2 + 3));
        let expected: Vec<u8> = set.train.image(0)[..200].iter().copied().step_by(4).collect();
        assert_eq!(pixels[2 * width + 2..][..50], expected);
    }

    #[test]
    fn the_file_is_a_picture_and_never_replaces_data() {
        let folder = tempfile::tempdir().unwrap();
        let set = load(None, true).unwrap();
        let path = folder.path().join("sheet.png");
        write_contact_sheet(&set, &path).unwrap();
        let Sheet { width, height, pixels } = sheet(&set);
        assert_eq!(read_png(&path, (1, height, width)).unwrap(), pixels);

        let data = folder.path().join("t10k-labels-idx1-ubyte");
        std::fs::write(&data, [0, 0, 8, 1, 0, 0, 0, 1, 7]).unwrap();
        let error = write_contact_sheet(&set, &data).unwrap_err().to_string();
        assert!(error.contains("t10k-labels-idx1-ubyte") && error.contains("choose another name"), "{error}");
        assert_eq!(std::fs::read(&data).unwrap().len(), 9);
    }
}
