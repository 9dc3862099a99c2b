//! A picture of a set.

use std::fs;
use std::path::Path;

use super::{DataError, Dataset, is_idx, is_image, write_png};

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

/// Endings of names of files that hold data.
const ENDINGS: [&str; 2] = ["csv", "npz"];

/// Draws the first images of each class as a PNG: a row a class in the order of the labels, training images on the
/// left, test images on the right. It is in colour if the images are; of images with other channels than those the
/// first is shown.
///
/// # Errors
/// If the file cannot be written or is one of a data set (an IDX file, a table, arrays, an image in a folder inside
/// `folder`, the one with the set), or the set has no images.
pub fn write_contact_sheet(set: &Dataset, folder: &Path, path: &Path) -> Result<(), DataError> {
    let holds_data =
        path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)));
    if holds_data || is_idx(path) || (is_image(path) && is_in_a_folder_of(folder, path)) {
        return Err(DataError::malformed(path, "holds data, not a picture; choose another name for the picture"));
    }
    let Some(Sheet { channels, height, width, pixels }) = sheet(set) else {
        return Err(DataError::request(format!("{} is a table, of which there is no picture; leave it out", set.name)));
    };
    write_png(path, &[channels, height, width], &pixels)
}

/// Whether a file lies in a folder that is in this one, links followed.
fn is_in_a_folder_of(folder: &Path, file: &Path) -> bool {
    let (Ok(folder), Ok(file)) = (fs::canonicalize(folder), fs::canonicalize(file)) else { return false };
    file.starts_with(&folder) && file.parent() != Some(folder.as_path())
}

/// A picture, `[channels, height, width]`.
struct Sheet {
    channels: usize,
    height: usize,
    width: usize,
    pixels: Vec<u8>,
}

/// The picture of a set; `None` if it has no images.
fn sheet(set: &Dataset) -> Option<Sheet> {
    let &[image_channels, image_height, image_width] = set.train.shape.as_slice() else { return None };
    let channels = if image_channels == 3 { 3 } else { 1 };
    let classes = set.class_names.len();
    let step = image_height.max(image_width).div_ceil(LONGEST_SIDE);
    // From the beginning of an image to that of the next one.
    let pitch = [image_height, image_width].map(|side| side.div_ceil(step) + SPACE);
    let left = [SPACE, SPACE + COLUMNS[0] * pitch[1] + GAP];
    let (height, width) = (SPACE + classes * pitch[0], left[1] + COLUMNS[1] * pitch[1]);
    let mut pixels = vec![GROUND; channels * height * width];
    for (part, images) in [&set.train, &set.test].into_iter().enumerate() {
        let mut drawn = vec![0; classes];
        for (index, &label) in images.labels.iter().enumerate() {
            let class = usize::from(label);
            if drawn[class] == COLUMNS[part] {
                continue;
            }
            let (top, left) = (SPACE + class * pitch[0], left[part] + drawn[class] * pitch[1]);
            let planes = images.image(index).chunks_exact(image_height * image_width);
            for (sheet, plane) in pixels.chunks_exact_mut(height * width).zip(planes) {
                for (y, row) in plane.chunks_exact(image_width).step_by(step).enumerate() {
                    let line = &mut sheet[(top + y) * width + left..];
                    line.iter_mut().zip(row.iter().step_by(step)).for_each(|(to, from)| *to = *from);
                }
            }
            drawn[class] += 1;
        }
    }
    Some(Sheet { channels, height, width, pixels })
}

#[cfg(test)]
mod tests {
    use super::super::tests::dataset;
    use super::super::{Images, Request, load, read_image};
    use super::*;

    fn images(labels: Vec<u8>, shape: [usize; 3]) -> Images {
        let pixels = (0..labels.len() * shape.iter().product::<usize>()).map(|index| (index % 100) as u8).collect();
        Images { pixels, labels, shape: shape.to_vec() }
    }

    #[test]
    fn each_image_is_in_its_place() {
        // Class 1 has no training image, class 0 more than are shown.
        let labels = [vec![0; 20], vec![2]].concat();
        let set = dataset(images(labels, [1, 2, 3]), images(vec![1, 2, 1], [1, 2, 3]), 3);
        let Sheet { channels, height, width, pixels } = sheet(&set).unwrap();
        assert_eq!((channels, height, width), (1, 2 + 3 * 4, 2 + 12 * 5 + 12 + 6 * 5));
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
    fn colours_are_shown_and_other_channels_are_not() {
        let set = dataset(images(vec![0], [3, 1, 2]), images(vec![0], [3, 1, 2]), 1);
        let Sheet { channels, height, width, pixels } = sheet(&set).unwrap();
        assert_eq!(channels, 3);
        for (plane, values) in pixels.chunks_exact(height * width).zip([[0, 1], [2, 3], [4, 5]]) {
            assert_eq!(plane[2 * width + 2..][..2], values);
        }
        let set = dataset(images(vec![0], [2, 1, 2]), images(vec![0], [2, 1, 2]), 1);
        let Sheet { channels, width, pixels, .. } = sheet(&set).unwrap();
        assert_eq!((channels, &pixels[2 * width + 2..][..2]), (1, &[0, 1][..]));
    }

    #[test]
    fn large_images_are_thinned_out() {
        let set = dataset(images(vec![0], [1, 3, 200]), images(vec![0], [1, 3, 200]), 1);
        let Sheet { height, width, pixels, .. } = sheet(&set).unwrap();
        // Every fourth pixel of every fourth row.
        assert_eq!((height, width), (2 + 3, 2 + 12 * 52 + 12 + 6 * 52));
        let expected: Vec<u8> = set.train.image(0)[..200].iter().copied().step_by(4).collect();
        assert_eq!(pixels[2 * width + 2..][..50], expected);
    }

    #[test]
    fn the_file_is_a_picture_and_never_replaces_data() {
        let folder = tempfile::tempdir().unwrap();
        let set = load(&Request::of(None), &mut |_| {}).unwrap();
        let path = folder.path().join("sheet.png");
        let write = |path: &Path| write_contact_sheet(&set, folder.path(), path);
        write(&path).unwrap();
        let Sheet { channels, height, width, pixels } = sheet(&set).unwrap();
        assert_eq!(read_image(&path, &[channels, height, width]).unwrap(), pixels);
        // A sheet replaces the one before.
        write(&path).unwrap();

        fs::create_dir(folder.path().join("cats")).unwrap();
        let files = ["t10k-labels-idx1-ubyte", "cats/1.png", "table.csv", "arrays.NPZ"];
        let picture = fs::read(&path).unwrap();
        let contents = [&[0u8, 0, 8, 1, 0, 0, 0, 1, 7][..], &picture[..], &b"a,b"[..], &b"PK"[..]];
        for (file, content) in files.into_iter().zip(contents) {
            let data = folder.path().join(file);
            fs::write(&data, content).unwrap();
            let error = write(&data).unwrap_err().to_string();
            assert!(error.contains(file) && error.contains("choose another name"), "{error}");
            assert_eq!(fs::read(&data).unwrap(), content);
        }
    }

    #[test]
    fn tables_have_no_picture() {
        let table = || Images { pixels: vec![1, 2], labels: vec![0], shape: vec![2] };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sheet.png");
        let error = write_contact_sheet(&dataset(table(), table(), 1), folder.path(), &path).unwrap_err();
        assert!(error.to_string().contains("is a table") && !path.exists());
    }
}
