use std::io::{Cursor, Write};

use proptest::prelude::*;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::npy::tests::npy;
use super::*;
use crate::data;

/// An archive with these files, each other one compressed.
fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (index, (name, content)) in arrays.iter().enumerate() {
        let method = if index % 2 == 0 { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn load_bytes(bytes: &[u8]) -> Result<Dataset, DataError> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("set.npz");
    std::fs::write(&path, bytes).unwrap();
    data::load(&Request::of(Some(&path)), &mut |_| {})
}

fn load(arrays: &[(&str, Vec<u8>)]) -> Result<Dataset, DataError> {
    load_bytes(&npz(arrays))
}

fn refusal(arrays: &[(&str, Vec<u8>)]) -> String {
    let text = load(arrays).unwrap_err().to_string();
    assert!(text.contains("set.npz: ") && !text.contains('\n'), "{text}");
    text
}

/// As Keras writes them: three images of 1 x 2 to train on, one to test on.
fn keras(x: (&str, &[u8], &[u8])) -> Vec<(&'static str, Vec<u8>)> {
    let (descr, train, test) = x;
    vec![
        ("x_train.npy", npy(descr, &[3, 1, 2], train)),
        ("y_train.npy", npy("|u1", &[3], &[1, 0, 2])),
        ("x_test.npy", npy(descr, &[1, 1, 2], test)),
        ("y_test.npy", npy("<i8", &[1, 1], &2i64.to_le_bytes())),
    ]
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn reads_what_keras_writes() {
    let set = load(&keras(("|u1", &[1, 2, 3, 4, 5, 6], &[7, 8]))).unwrap();
    assert_eq!((&set.train.shape[..], &set.train.pixels[..]), (&[1, 1, 2][..], &[1, 2, 3, 4, 5, 6][..]));
    assert_eq!((&set.train.labels[..], &set.test.labels[..]), (&[1, 0, 2][..], &[2][..]));
    assert_eq!((&set.test.pixels[..], &set.class_names[..]), (&[7, 8][..], &["0", "1", "2"].map(String::from)[..]));
    assert_eq!((&set.name[..], set.identity.files.len(), set.remarks.len()), ("set.npz", 1, 0));
    // Other names of the arrays, and other data beside them.
    let mut arrays = keras(("|u1", &[1, 2, 3, 4, 5, 6], &[7, 8]));
    for (array, name) in
        arrays.iter_mut().zip(["Train_images.npy", "train_labels.npy", "test_images.npy", "test_labels"])
    {
        array.0 = name;
    }
    arrays.insert(0, ("val_images.npy", b"anything".to_vec()));
    let other = load(&arrays).unwrap();
    assert_eq!((other.train, other.test), (set.train, set.test));
    assert_ne!(other.identity, set.identity);
}

#[test]
fn one_part_gives_a_fifth_to_the_test() {
    let x: Vec<u8> = (0..20).collect();
    let y: Vec<u8> = (0..10).map(|index| index % 2).collect();
    let set = load(&[("x.npy", npy("|u1", &[10, 2], &x)), ("y.npy", npy("|u1", &[10], &y))]).unwrap();
    assert_eq!((&set.train.shape[..], set.train.len(), set.test.len()), (&[2][..], 8, 2));
    assert_eq!(set.class_counts(), [[4, 1], [4, 1]]);
    assert!(set.remarks[0].starts_with("2 of 10 inputs, a fifth of each class, are held out for testing"));
}

#[test]
fn real_numbers_are_scaled_by_what_they_are() {
    let set = load(&keras(("<f4", &floats(&[0.0, 0.5, 1.0, 0.2, 0.998, 0.999]), &floats(&[1.0, 0.0])))).unwrap();
    assert_eq!((&set.train.pixels[..], &set.test.pixels[..]), (&[0, 128, 255, 51, 254, 255][..], &[255, 0][..]));
    // Whole numbers beyond 1; the images to test on follow those to train on.
    let set = load(&keras(("<f4", &floats(&[0.0, 1.0, 255.0, 3.0, 4.0, 5.0]), &floats(&[1.0, 0.0])))).unwrap();
    assert_eq!((&set.train.pixels[..], &set.test.pixels[..]), (&[0, 1, 255, 3, 4, 5][..], &[1, 0][..]));
    // Whole numbers of a kind for whole numbers stay what they are, and bits are black and white.
    let set = load(&keras(("|i1", &[0, 1, 1, 0, 1, 1], &[0, 1]))).unwrap();
    assert_eq!(set.train.pixels, [0, 1, 1, 0, 1, 1]);
    let set = load(&keras(("|b1", &[0, 1, 1, 0, 1, 1], &[0, 1]))).unwrap();
    assert_eq!((set.train.pixels, set.test.pixels), (vec![0, 255, 255, 0, 255, 255], vec![0, 255]));

    let train = floats(&[0.0, 0.5, 1.0, 0.2, 0.9, 1.5]);
    let text = refusal(&keras(("<f4", &train, &floats(&[0.0, 0.0]))));
    assert!(text.contains("the array x_train has the value 1.5 at index 5"), "{text}");
    let text = refusal(&keras(("<f4", &floats(&[0.5; 6]), &floats(&[0.0, 7.0]))));
    assert!(text.contains("the array x_test has the value 7 at index 1"), "{text}");
    assert!(refusal(&keras(("<f4", &floats(&[f32::NAN; 6]), &floats(&[0.0; 2])))).contains("the value NaN at index 0"));
    assert!(refusal(&keras(("|i1", &[0, 1, 1, 0, 1, 255], &[0, 1]))).contains("the value -1 at index 5"));
}

#[test]
fn channels_are_found() {
    let shapes = [
        (&[5, 7][..], Some((5, vec![7], false))),
        (&[5, 28, 20], Some((5, vec![1, 28, 20], false))),
        (&[5, 28, 20, 1], Some((5, vec![1, 28, 20], true))),
        (&[5, 28, 20, 3], Some((5, vec![3, 28, 20], true))),
        (&[5, 3, 28, 20], Some((5, vec![3, 28, 20], false))),
        (&[5, 3, 28, 4], Some((5, vec![3, 28, 4], false))),
        (&[5, 28, 20, 4], Some((5, vec![4, 28, 20], true))),
        (&[5], None),
        (&[5, 1, 1, 1, 1], None),
    ];
    for (shape, expected) in shapes {
        assert_eq!(layout(shape), expected, "{shape:?}");
    }
    let y = || npy("|u1", &[4], &[0, 0, 1, 1]);
    let x = [[1, 2, 3, 4, 5, 6]; 4].concat();
    let set = load(&[("x.npy", npy("|u1", &[4, 1, 2, 3], &x)), ("y.npy", y())]).unwrap();
    assert_eq!((&set.train.shape[..], set.train.image(0)), (&[3, 1, 2][..], &[1, 4, 2, 5, 3, 6][..]));
    let set = load(&[("x.npy", npy("|u1", &[4, 3, 1, 2], &x)), ("y.npy", y())]).unwrap();
    assert_eq!((&set.train.shape[..], set.train.image(0)), (&[3, 1, 2][..], &[1, 2, 3, 4, 5, 6][..]));
}

#[test]
fn arrays_that_do_not_fit_are_named() {
    let x = || ("x.npy", npy("|u1", &[4, 2], &[0; 8]));
    let with_y = |shape: &[usize], values: &[u8]| refusal(&[x(), ("y.npy", npy("|u1", shape, values))]);
    assert!(with_y(&[3], &[0; 3]).contains("the array y has 3 classes, x 4 inputs"));
    assert!(with_y(&[4, 2], &[0; 8]).contains("the array y has the shape [4, 2]"));
    let y = || ("y.npy", npy("|u1", &[4], &[0, 0, 1, 1]));
    assert!(refusal(&[("x.npy", npy("|u1", &[4], &[0; 4])), y()]).contains("the array x has the shape [4]"));
    assert!(refusal(&[("x.npy", npy("|u1", &[4, 0], &[])), y()]).contains("the array x is empty"));
    assert!(refusal(&[x()]).contains("holds the arrays x.npy; save x and y, or x_train, y_train, x_test, y_test"));
    assert!(refusal(&[]).contains("holds the arrays none"));
    let classes = npy("<i8", &[4], &[[0; 8], [0; 8], (-1i64).to_le_bytes(), [0; 8]].concat());
    assert!(refusal(&[x(), ("y.npy", classes)]).contains("the array y has the class -1 at index 2"));

    let mut arrays = keras(("|u1", &[0; 6], &[0; 2]));
    arrays[2].1 = npy("|u1", &[1, 2, 1], &[0; 2]);
    assert!(refusal(&arrays).contains("x_test has inputs of 1 x 2 x 1, x_train of 1 x 1 x 2"));
    let mut arrays = keras(("|u1", &[0; 6], &[0; 2]));
    arrays[3].1 = npy("|u1", &[1], &[9]);
    assert!(refusal(&arrays).contains("label 9 at index 0 is out of range 0..=2"));
}

#[test]
fn damaged_and_hostile_files_are_refused() {
    let whole = npz(&keras(("|u1", &[1, 2, 3, 4, 5, 6], &[7, 8])));
    let refused = |bytes: &[u8]| load_bytes(bytes).unwrap_err().to_string();
    assert!(refused(b"").contains("is no NPZ file or a damaged one"));
    assert!(refused(b"text").contains("is no NPZ file or a damaged one"));
    assert!(refused(&whole[..whole.len() / 2]).contains("is no NPZ file or a damaged one"));
    // A head that promises 2^40 bytes: nothing is read or allocated.
    let huge = [("x.npy", npy("|u1", &[1 << 20, 1 << 20], &[])), ("y.npy", npy("|u1", &[1 << 20], &[]))];
    assert!(refusal(&huge).contains("1048576 rows of 1048576 features take 1.0 TiB, the limit is 8.0 GiB"));
    let short = [("x.npy", npy("|u1", &[4, 2], &[0; 7])), ("y.npy", npy("|u1", &[4], &[0; 4]))];
    assert!(refusal(&short).contains("the array x ends before its values do"));
    // A value of an array that is stored as it is: the sum of the archive tells.
    let mut changed = whole.clone();
    let place = whole.windows(7).position(|bytes| bytes == b", }\n\x01\0\x02").unwrap();
    changed[place + 4] = 2;
    assert!(refused(&changed).contains("the array y_train is damaged"), "{}", refused(&changed));
}

#[test]
fn reports_tell_count_and_shape() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("SET.NPZ");
    std::fs::write(&path, npz(&keras(("|u1", &[1, 2, 3, 4, 5, 6], &[7, 8])))).unwrap();
    let report = data::check(&Request::of(Some(&path)), &mut |_| {}).unwrap();
    assert_eq!((&report.files[0].name[..], report.files[0].shape()), ("SET.NPZ", "4 x 1 x 1 x 2".to_string()));
    assert_eq!(report.files[0].format, Some(FileFormat::Npz));
    assert!(report.problem.is_none() && !report.verified());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn damage_is_an_error_or_no_damage(
        flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..3),
        length in 0usize..1200,
    ) {
        let mut bytes = npz(&keras(("|u1", &[1, 2, 3, 4, 5, 6], &[7, 8])));
        for (position, mask) in flips {
            let position = position % bytes.len();
            bytes[position] ^= mask;
        }
        bytes.truncate(length);
        if let Ok(set) = load_bytes(&bytes) {
            prop_assert_eq!((set.train.pixels, set.test.pixels), (vec![1, 2, 3, 4, 5, 6], vec![7, 8]));
        }
    }
}
