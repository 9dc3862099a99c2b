use std::fs;

use tempfile::TempDir;

use super::sources::idx::tests::idx;
use super::*;

/// A set made of its parts, with classes c0, c1 and so on.
pub(super) fn dataset(train: Images, test: Images, classes: usize) -> Dataset {
    let name = "set".to_string();
    let identity = DataIdentity { name: name.clone(), files: Vec::new() };
    let class_names = (0..classes).map(|class| format!("c{class}")).collect();
    let validation = Images::none(&train.shape);
    let (verified, altered, remarks) = (false, None, Vec::new());
    Dataset { name, class_names, train, validation, test, verified, identity, altered, remarks }
}

/// Twenty training images of 2 x 2 pixels and two classes, which tell their number, and two test images.
fn twenty() -> TempDir {
    let folder = TempDir::new().unwrap();
    let write =
        |name: &str, dims: &[u32], values: &[u8]| fs::write(folder.path().join(name), idx(dims, values)).unwrap();
    let pixels: Vec<u8> = (0..20).flat_map(|index| [index; 4]).collect();
    let labels: Vec<u8> = (0..20).map(|index| index % 2).collect();
    write("train-images-idx3-ubyte", &[20, 2, 2], &pixels);
    write("train-labels-idx1-ubyte", &[20], &labels);
    write("t10k-images-idx3-ubyte", &[2, 2, 2], &[200, 200, 200, 200, 100, 100, 0, 0]);
    write("t10k-labels-idx1-ubyte", &[2], &[1, 0]);
    folder
}

fn asked(request: &Request) -> Result<Dataset, DataError> {
    load(request, &mut |_| {})
}

#[test]
fn a_share_of_each_class_is_split_off() {
    let folder = twenty();
    let request = Request { validation: 0.3, ..Request::of(Some(folder.path())) };
    let set = asked(&request).unwrap();
    assert_eq!((set.train.len(), set.validation.len(), set.test.len()), (14, 6, 2));
    assert_eq!(set.validation.labels.iter().filter(|label| **label == 0).count(), 3);
    // All images are there, with their labels and in their order.
    let mut numbers: Vec<u8> = Vec::new();
    for part in [&set.train, &set.validation] {
        let own: Vec<u8> = (0..part.len()).map(|index| part.image(index)[0]).collect();
        assert!(own.is_sorted() && own.iter().zip(&part.labels).all(|(number, label)| number % 2 == *label));
        numbers.extend(own);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<u8>>());

    assert_eq!(asked(&request).unwrap(), set);
    let whole = asked(&Request { validation: 0.0, ..request }).unwrap();
    assert_eq!((whole.train.len(), whole.validation.len()), (20, 0));
    assert_eq!(whole.class_counts(), set.class_counts());
    assert_eq!(whole.identity, set.identity);
}

#[test]
fn any_set_of_images_is_resized_and_converted() {
    let folder = twenty();
    let request = Request { size: Some([1, 1]), channels: Some(3), ..Request::of(Some(folder.path())) };
    let set = asked(&Request { validation: 0.5, ..request.clone() }).unwrap();
    assert!([&set.train, &set.validation, &set.test].into_iter().all(|part| part.shape == [3, 1, 1]));
    assert_eq!(set.test.pixels, [200, 200, 200, 50, 50, 50]);
    assert_eq!(set.train.image(0), [set.train.image(0)[0]; 3]);
    let report = check(&request, &mut |_| {}).unwrap();
    assert_eq!(report.dataset.unwrap().train.shape, [3, 1, 1]);

    let embedded = asked(&Request { size: Some([14, 14]), ..Request::of(None) }).unwrap();
    assert_eq!((embedded.train.shape, embedded.verified), (vec![1, 14, 14], true));
    // 4,000 colour images of 2048 x 2048 pixels.
    let too_large = Request { size: Some([2048, 2048]), channels: Some(3), ..Request::of(None) };
    let error = asked(&too_large).unwrap_err();
    assert!(matches!(error, DataError::TooLarge { bytes: 50_331_648_000, .. }), "{error}");
}

#[test]
fn images_of_other_channels_stay_so() {
    let folder = twenty();
    for (name, count) in [("train-images-idx3-ubyte", 20u32), ("t10k-images-idx3-ubyte", 2)] {
        fs::write(folder.path().join(name), idx(&[count, 2, 1, 2], &vec![7; count as usize * 4])).unwrap();
    }
    let request = Request { size: Some([2, 2]), ..Request::of(Some(folder.path())) };
    assert_eq!(asked(&request).unwrap().train.shape, [2, 2, 2]);
    let error = asked(&Request { channels: Some(1), ..request }).unwrap_err();
    assert!(error.to_string().contains("images of 2 channels cannot become others"), "{error}");
}

#[test]
fn classes_are_named_as_one_likes() {
    let folder = twenty();
    let request = Request { classes: vec!["even".into(), "odd".into()], ..Request::of(Some(folder.path())) };
    assert_eq!(asked(&request).unwrap().class_names, ["even", "odd"]);
    let error = asked(&Request { classes: vec!["even".into()], ..request.clone() }).unwrap_err();
    assert!(matches!(error, DataError::Request { .. }));
    assert!(error.to_string().starts_with("data.classes has 1 names for the 2 classes of "), "{error}");
    let report = check(&Request { classes: vec!["even".into()], ..request }, &mut |_| {}).unwrap();
    assert!(report.problem.is_some() && report.dataset.is_none());
}

#[test]
fn requests_that_cannot_be_met_are_refused() {
    assert!(matches!(asked(&Request { channels: Some(2), ..Request::of(None) }), Err(DataError::Request { .. })));
    assert!(matches!(check(&Request::of(None), &mut |_| {}), Err(DataError::Request { .. })));
}

#[test]
fn folders_that_nobody_recognises_are_told_apart() {
    let folder = TempDir::new().unwrap();
    let refusal = || {
        let error = asked(&Request::of(Some(folder.path()))).unwrap_err().to_string();
        assert!(error.starts_with(folder.path().to_str().unwrap()), "{error}");
        error
    };
    assert!(refusal().contains("is empty; put the four IDX files of a set into it"));
    fs::create_dir(folder.path().join("notes")).unwrap();
    assert!(refusal().contains("lacks train-images-idx3-ubyte"));
    write_png(&folder.path().join("cat.png"), &[1, 1, 1], &[7]).unwrap();
    assert!(refusal().contains("holds images, but no folders of them"));
    fs::write(folder.path().join("flowers.csv"), "a,b\n1,2\n").unwrap();
    assert!(refusal().ends_with("flowers.csv"));
    // IDX files under other names come first.
    fs::write(folder.path().join("train-images"), idx(&[1, 1, 1], &[0])).unwrap();
    assert!(refusal().contains("rename train-images to train-images-idx3-ubyte"));
    let file = asked(&Request::of(Some(&folder.path().join("cat.png")))).unwrap_err().to_string();
    assert!(file.contains("is not a folder; give a folder of data, a .csv or an .npz file"), "{file}");
}
