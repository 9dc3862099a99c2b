use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::data::picture::tests::{GREY, PALETTE, RGB, RGBA, jpeg, png};
use crate::data::sources::source::file_name;
use crate::data::{self, CheckReport, Verdict};

/// Writes a file and the folders above it.
fn put(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A grey PNG of one value.
fn grey(size: [u32; 2], value: u8) -> Vec<u8> {
    png(size, GREY, 8, &[], &vec![value; (size[0] * size[1]) as usize])
}

/// A folder with these files.
fn folder_with(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().unwrap();
    files.iter().for_each(|(name, bytes)| put(folder.path(), name, bytes));
    folder
}

/// Two classes of grey images of 1 x 2 pixels, the values telling class and number.
fn two_levels() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (class, base) in [("dogs", 100), ("cats", 0)] {
        for number in 0..4u8 {
            put(folder.path(), &format!("train/{class}/{number}.png"), &grey([1, 2], base + number));
        }
        put(folder.path(), &format!("test/{class}/9.png"), &grey([1, 2], base + 9));
    }
    folder
}

fn request(path: &Path) -> Request {
    Request::of(Some(path))
}

fn load(request: &Request) -> Result<Dataset, DataError> {
    data::load(request, &mut |_| {})
}

fn check(request: &Request) -> CheckReport {
    data::check(request, &mut |_| {}).unwrap()
}

/// Why the folder is refused, in one line that names something in it; the check gives the same reason.
fn refusal(folder: &TempDir) -> String {
    let request = request(folder.path());
    let text = load(&request).unwrap_err().to_string();
    assert!(text.starts_with(folder.path().to_str().unwrap()) && !text.contains('\n'), "{text}");
    assert_eq!(check(&request).problem.unwrap().to_string(), text);
    text
}

#[test]
fn reads_two_levels() {
    let folder = two_levels();
    let mut told = Vec::new();
    let set = data::load(&request(folder.path()), &mut |progress| told.push(progress)).unwrap();
    assert_eq!(set.class_names, ["cats", "dogs"]);
    assert_eq!((&set.train.shape[..], set.train.len(), set.test.len()), (&[1, 1, 2][..], 8, 2));
    assert_eq!(set.train.labels, [0, 0, 0, 0, 1, 1, 1, 1]);
    assert_eq!(set.train.image(3), [3, 3]);
    assert_eq!(set.test.pixels, [9, 9, 109, 109]);
    assert_eq!((set.name, set.verified, set.remarks), (file_name(folder.path()), false, Vec::new()));
    let steps: Vec<(&str, u64, u64)> = told.iter().map(|step| (step.doing, step.done, step.total)).collect();
    assert_eq!(steps[..2], [("looking at images", 4, 10), ("looking at images", 8, 10)]);
    assert_eq!(steps[4..], [("reading images", 8, 10), ("reading images", 10, 10)]);

    let report = check(&request(folder.path()));
    let names: Vec<&str> = report.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["train/cats", "train/dogs", "test/cats", "test/dogs"]);
    assert_eq!((report.files[0].shape(), report.files[2].shape()), ("4 x 1 x 1 x 2".into(), "1 x 1 x 1 x 2".into()));
    assert!(report.files.iter().all(|file| file.verdict == Verdict::Readable));
    assert!(report.problem.is_none() && report.known_set.is_none());
    // The names of the parts may begin with a capital.
    fs::rename(folder.path().join("train"), folder.path().join("Train")).unwrap();
    assert_eq!(load(&request(folder.path())).unwrap().identity, set.identity);
}

#[test]
fn holds_a_fifth_of_one_level_out() {
    let folder = TempDir::new().unwrap();
    for number in 0..10u8 {
        put(folder.path(), &format!("b/{number}.png"), &grey([1, 1], 100 + number));
        put(folder.path(), &format!("a/{number}.png"), &grey([1, 1], number));
    }
    let set = load(&request(folder.path())).unwrap();
    assert_eq!((set.train.len(), set.test.len()), (16, 4));
    assert_eq!(set.class_counts(), [[8, 2], [8, 2]]);
    assert!(set.notes()[0].starts_with("4 of 20 images, a fifth of each class, are held out for testing"));
    assert_eq!(load(&request(folder.path())).unwrap(), set);
    let names: Vec<&str> = set.identity.files.iter().map(|file| file.file.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_class_may_be_called_as_a_part() {
    // Vehicles: `train` holds images, not classes.
    let folder = TempDir::new().unwrap();
    for number in 0..5u8 {
        put(folder.path(), &format!("train/{number}.png"), &grey([1, 1], number));
        put(folder.path(), &format!("bus/{number}.png"), &grey([1, 1], 100 + number));
    }
    assert_eq!(load(&request(folder.path())).unwrap().class_names, ["bus", "train"]);
}

#[test]
fn kinds_are_mixed_and_colour_wins() {
    let palette = png([1, 2], PALETTE, 4, &[10, 20, 30, 255, 0, 0], &[0x01]);
    let deep = png([1, 2], RGB, 16, &[], &[1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]);
    let clear = png([1, 2], RGBA, 8, &[], &[200, 100, 50, 128, 7, 8, 9, 255]);
    let files: [(&str, &[u8]); 6] = [
        ("train/a/grey.png", &grey([1, 2], 7)),
        ("train/a/palette.PNG", &palette),
        ("train/b/deep.png", &deep),
        ("train/b/photo.jpg", &jpeg([1, 2], &[90])),
        ("test/a/clear.png", &clear),
        // What the bytes are counts, not the name.
        ("test/b/photo.png", &jpeg([1, 2], &[200, 200, 200])),
    ];
    let folder = folder_with(&files);
    let set = load(&request(folder.path())).unwrap();
    assert_eq!(set.train.shape, [3, 1, 2]);
    assert_eq!(set.train.image(0), [7; 6]);
    assert_eq!(set.train.image(1), [10, 255, 20, 0, 30, 0]);
    assert_eq!(set.train.image(2), [1, 4, 2, 5, 3, 6]);
    assert!(set.train.image(3).iter().all(|value| value.abs_diff(90) <= 2));
    assert_eq!(set.test.image(0), [100, 7, 50, 8, 25, 9]);
    // As single images are.
    for (index, (name, _)) in files[..4].iter().enumerate() {
        let image = data::read_image(&folder.path().join(name), &[3, 1, 2]).unwrap();
        assert_eq!(image, set.train.image(index), "{name}");
    }
    let grey = load(&Request { channels: Some(1), ..request(folder.path()) }).unwrap();
    assert_eq!((&grey.train.shape[..], grey.train.image(0)), (&[1, 1, 2][..], &[7, 7][..]));
}

#[test]
fn sizes_must_agree_or_be_given() {
    let folder = two_levels();
    put(folder.path(), "train/dogs/2.png", &grey([3, 4], 1));
    put(folder.path(), "train/dogs/3.png", &grey([5, 5], 1));
    let text = refusal(&folder);
    assert!(text.contains("train/dogs/2.png: is 3 x 4 pixels (height x width)"), "{text}");
    assert!(text.contains("train/cats/0.png is 1 x 2") && text.ends_with("--set data.size=[1, 2]"), "{text}");
    let set = load(&Request { size: Some([2, 2]), ..request(folder.path()) }).unwrap();
    assert_eq!((&set.train.shape[..], set.train.image(7)), (&[1, 2, 2][..], &[1; 4][..]));
}

#[test]
fn other_files_are_left_out_and_counted() {
    let folder = two_levels();
    put(folder.path(), "train/cats/Thumbs.db", b"\0\0");
    let set = load(&request(folder.path())).unwrap();
    assert!(set.remarks[0].ends_with("train/cats/Thumbs.db is no PNG or JPEG image of a class and was left out"));
    put(folder.path(), "train/cats/._0.png", b"a fork");
    put(folder.path(), "train/dogs/more/5.png", &grey([1, 2], 1));
    put(folder.path(), ".hidden/5.png", &grey([1, 2], 1));
    put(folder.path(), "README", b"text");
    let more = load(&request(folder.path())).unwrap();
    assert!(more.remarks[0].starts_with("5 files or folders are no PNG or JPEG images"), "{:?}", more.remarks);
    assert_eq!((more.train, more.identity), (set.train, set.identity));
    // An image needs no ending.
    put(folder.path(), "train/dogs/image", &grey([1, 2], 1));
    assert_eq!(load(&request(folder.path())).unwrap().train.len(), 9);
}

#[test]
fn every_change_of_an_image_is_noticed() {
    let folder = two_levels();
    let identity = || load(&request(folder.path())).unwrap().identity;
    let before = identity();
    put(folder.path(), "train/dogs/1.png", &grey([1, 2], 77));
    let changed = identity();
    assert_eq!(before.first_difference(&changed), Some("train/dogs"));
    put(folder.path(), "test/cats/10.png", &grey([1, 2], 77));
    let added = identity();
    assert_eq!(changed.first_difference(&added), Some("test/cats"));
    fs::remove_file(folder.path().join("train/cats/0.png")).unwrap();
    let removed = identity();
    assert_eq!(added.first_difference(&removed), Some("train/cats"));
    fs::rename(folder.path().join("train/cats/1.png"), folder.path().join("train/cats/7.png")).unwrap();
    assert_eq!(removed.first_difference(&identity()), Some("train/cats"));
}

#[test]
fn damaged_and_hostile_files_are_named() {
    let whole = grey([9, 9], 3);
    let huge = png([16_000, 16_000], GREY, 8, &[], &[0; 4]);
    let cases: [(&[u8], &str); 4] = [
        (b"text", "is no PNG or JPEG image"),
        (&[], "is no PNG or JPEG image"),
        (&whole[..20], "damaged image"),
        (&huge, "16000 x 16000 pixels"),
    ];
    for (bytes, words) in cases {
        let folder = two_levels();
        put(folder.path(), "train/dogs/1.png", bytes);
        let text = refusal(&folder);
        assert!(text.contains("train/dogs/1.png: ") && text.contains(words), "{text}");
    }
    // The head is whole, what follows is not: found when it is decoded.
    let folder = two_levels();
    let image = grey([1, 2], 3);
    put(folder.path(), "test/dogs/9.png", &image[..image.len() - 24]);
    let text = refusal(&folder);
    assert!(text.contains("test/dogs/9.png: is a damaged image"), "{text}");
}

#[test]
fn classes_must_have_images_to_train_on() {
    let folder = two_levels();
    fs::create_dir(folder.path().join("train/birds")).unwrap();
    assert!(refusal(&folder).contains("train/birds: holds no PNG or JPEG image"));
    put(folder.path(), "train/birds/1.png", &grey([1, 2], 5));
    assert!(load(&request(folder.path())).unwrap().notes()[0].contains("classes without test images"));
    put(folder.path(), "test/fish/1.png", &grey([1, 2], 5));
    assert!(refusal(&folder).contains("test/fish: there are no images of the class fish to train on"));

    let folder = folder_with(&[("a/1.png", &grey([1, 1], 5)), ("b/1.png", &grey([1, 1], 6))]);
    assert!(refusal(&folder).contains("has no images to test on; add some, or give each class at least two images"));
}

#[test]
fn too_many_classes_are_refused() {
    let folder = TempDir::new().unwrap();
    let image = grey([1, 1], 5);
    (0..257).for_each(|class| put(folder.path(), &format!("{class}/1.png"), &image));
    assert!(refusal(&folder).contains("has 257 classes, the limit is 256"));
}

#[test]
fn a_set_that_is_too_large_is_refused_before_it_is_decoded() {
    let folder = TempDir::new().unwrap();
    // 200 images of one pixel, which would take 48 MiB each; the last one could not even be decoded.
    let image = grey([1, 1], 5);
    (0..199).for_each(|number| put(folder.path(), &format!("a/{number:03}.png"), &image));
    put(folder.path(), "a/199.png", &image[..image.len() - 24]);
    let request = Request { size: Some([4096, 4096]), channels: Some(3), ..request(folder.path()) };
    let text = load(&request).unwrap_err().to_string();
    assert!(text.contains("200 images of 4096 x 4096 pixels (height x width) with 3 channels take 9.4 GiB"), "{text}");
}

#[test]
fn any_number_of_threads_reads_the_same() {
    let folder = two_levels();
    let request = Request { size: Some([5, 3]), validation: 0.25, ..request(folder.path()) };
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| load(&request).unwrap())
    };
    assert_eq!(with(1), with(4));
    put(folder.path(), "train/cats/1.png", b"text");
    put(folder.path(), "train/cats/2.png", b"text");
    let refused = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| load(&request).unwrap_err().to_string())
    };
    assert!(refused(1).contains("train/cats/1.png") && refused(1) == refused(4));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn damage_is_an_error_or_an_image(
        place in any::<usize>(),
        mask in 1u8..,
        length in 1usize..200,
    ) {
        let folder = two_levels();
        let mut bytes = grey([1, 2], 3);
        let place = place % bytes.len();
        bytes[place] ^= mask;
        bytes.truncate(length);
        put(folder.path(), "train/dogs/1.png", &bytes);
        match load(&request(folder.path())) {
            Ok(set) => prop_assert_eq!(set.train.pixels.len(), 16),
            Err(error) => prop_assert!(error.to_string().contains("train/dogs/1.png"), "{}", error),
        }
    }
}
