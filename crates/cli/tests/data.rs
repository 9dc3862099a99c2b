//! What the program says about data: classes, oddities, files that are nearly right, sets of one's own.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{SIDE, SMALL, fail, hardgrad, idx, succeed, text, write_data};
use hardgrad_lab::data::{Request, load, write_png};
use serde_json::{Value, json};

fn check_json(folder: &Path) -> Value {
    serde_json::from_str(&succeed(&["data", "check", text(folder), "--json"])).unwrap()
}

/// A copy of the set that the program carries, compressed as it is.
fn copy_of_the_embedded_set(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/assets/fashion-mnist-subset");
    for entry in fs::read_dir(assets).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "gz") {
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// Files in `folder` whose names hold `part`, renamed by `change`.
fn rename(folder: &Path, part: &str, change: impl Fn(&str) -> String) {
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.contains(part) {
            fs::rename(&path, folder.join(change(name))).unwrap();
        }
    }
}

#[test]
fn classes_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 18, 8);
    let report = check_json(&data);
    let classes = [5, 5, 4, 4].into_iter().enumerate().map(|(class, images)| {
        let name = class.to_string();
        json!({"class": class, "name": name, "training_images": images, "test_images": 2})
    });
    assert_eq!(report["classes"], Value::Array(classes.collect()));
    assert_eq!(report["notes"], json!([]));
    let table = succeed(&["data", "check", text(&data)]);
    assert!(table.contains("training images") && !table.contains("note:"), "{table}");

    // Nothing is counted where nothing can be.
    fs::remove_file(data.join("train-labels-idx1-ubyte")).unwrap();
    let output = hardgrad(&["data", "check", text(&data), "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["classes"], Value::Null);
}

#[test]
fn data_that_mislead_are_named() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path(), 20, 4);
    let write =
        |name: &str, dims: &[u32], values: &[u8]| fs::write(folder.path().join(name), idx(dims, values)).unwrap();
    // 95 % of one class, one class of three without images, and the first training images as test images.
    let mut labels = [0; 20];
    labels[19] = 2;
    write("train-labels-idx1-ubyte", &[20], &labels);
    write("t10k-labels-idx1-ubyte", &[4], &[0, 2, 0, 0]);
    let pixels: Vec<u8> = (0..4).flat_map(common::image).collect();
    write("t10k-images-idx3-ubyte", &[4, SIDE as u32, SIDE as u32], &pixels);
    let found = check_json(folder.path())["notes"].as_array().unwrap().clone();
    let expected = [
        "classes without training images, which cannot be learned: 1",
        "classes without test images, of which the accuracy says nothing: 1",
        "95.00 % of the training images (19 of 20) are of class 0",
        "4 of 4 test images are also training images (1 with another label)",
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    let table = succeed(&["data", "check", text(folder.path())]);
    for (note, words) in found.iter().zip(expected) {
        assert!(note.as_str().unwrap().starts_with(words), "{note}");
        assert!(table.contains(&format!("\nnote: {words}")), "{table}");
    }
}

#[test]
fn a_contact_sheet_is_drawn_and_replaces_no_data() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 16, 8);
    let sheet = folder.path().join("sheet.png");
    succeed(&["data", "check", text(&data), "--png", text(&sheet)]);
    assert!(fs::read(&sheet).unwrap().starts_with(b"\x89PNG"));

    let labels = data.join("t10k-labels-idx1-ubyte");
    let before = fs::read(&labels).unwrap();
    fail(
        &["data", "check", text(&data), "--png", text(&labels)],
        1,
        &["t10k-labels-idx1-ubyte", "choose another name"],
    );
    assert_eq!(fs::read(&labels).unwrap(), before);
    fail(&["data", "check", text(&data), "--png", text(&folder.path().join("no/sheet.png"))], 1, &["no/sheet.png"]);
}

#[test]
fn files_that_are_nearly_right_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 16, 8);
    fail(&["data", "check", text(folder.path())], 1, &["lacks", &format!("give {}", text(&data))]);
    let file = data.join("train-images-idx3-ubyte");
    fail(&["train", "qat", "--data", text(&file)], 1, &["not a folder", &format!("give {}", text(&data))]);

    rename(&data, "train-images", |name| name.replace("-idx3", ".idx3"));
    rename(&data, "t10k", str::to_uppercase);
    fail(
        &["train", "qat", "--data", text(&data)],
        1,
        &[
            "rename train-images.idx3-ubyte to train-images-idx3-ubyte",
            "rename T10K-IMAGES-IDX3-UBYTE to t10k-images-idx3-ubyte",
            "rename T10K-LABELS-IDX1-UBYTE to t10k-labels-idx1-ubyte",
        ],
    );
}

/// Writes colour images into folders: the class decides which of red, green and blue is bright where its quarter is.
fn write_folders(folder: &Path, train: usize, test: usize) {
    for (part, first, count) in [("train", 0, train), ("test", 1000, test)] {
        for index in first..first + count {
            let class = ["ant", "bee", "cat", "dog"][index % 4];
            let folder = folder.join(part).join(class);
            fs::create_dir_all(&folder).unwrap();
            let grey = common::image(index);
            let planes: Vec<u8> =
                (0..3).flat_map(|plane| grey.iter().map(move |value| value / (1 + plane as u8))).collect();
            write_png(&folder.join(format!("{index}.png")), &[3, SIDE, SIDE], &planes).unwrap();
        }
    }
}

#[test]
fn images_in_folders_are_checked_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("animals");
    write_folders(&data, 16, 8);
    fs::write(data.join("train/ant/Thumbs.db"), b"\0").unwrap();
    let sheet = folder.path().join("sheet.png");
    let table = succeed(&["data", "check", text(&data), "--png", text(&sheet)]);
    assert!(table.contains("train/ant") && table.contains("4 x 3 x 8 x 8"), "{table}");
    assert!(table.contains("Thumbs.db is no PNG or JPEG image of a class and was left out"), "{table}");
    assert!(fs::read(&sheet).unwrap().starts_with(b"\x89PNG"));
    let report = check_json(&data);
    let classes = ["ant", "bee", "cat", "dog"]
        .into_iter()
        .enumerate()
        .map(|(class, name)| json!({"class": class, "name": name, "training_images": 4, "test_images": 2}));
    assert_eq!(report["classes"], Value::Array(classes.collect()));

    // Images of the set are no place for the sheet.
    let image = data.join("train/bee/1.png");
    let before = fs::read(&image).unwrap();
    fail(&["data", "check", text(&data), "--png", text(&image)], 1, &["1.png", "choose another name"]);
    assert_eq!(fs::read(&image).unwrap(), before);

    write_png(&image, &[3, 9, 7], &[5; 189]).unwrap();
    let words = ["train/bee/1.png", "is 9 x 7 pixels (height x width)", "--set data.size=[8, 8]"];
    fail(&["train", "qat", "--data", text(&data)], 1, &words);
    fs::write(&image, &before[..before.len() / 2]).unwrap();
    fail(&["train", "qat", "--data", text(&data)], 1, &["train/bee/1.png", "damaged image"]);
}

#[test]
fn colour_images_in_folders_train() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (folder.path().join("animals"), folder.path().join("run"));
    write_folders(&data, 96, 8);
    let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&run)];
    arguments.extend(SMALL);
    let report = succeed(&arguments);
    assert!(report.contains("8 of 8 outputs identical"), "{report}");

    // Other data of one of the classes: it is known by its name, not by its number.
    let accuracy = |data: &Path| -> (Value, usize) {
        let evaluation: Value =
            serde_json::from_str(&succeed(&["eval", text(&run), "--data", text(data), "--json"])).unwrap();
        (evaluation["accuracy"].clone(), evaluation["notes"].as_array().unwrap().len())
    };
    let (all, _) = accuracy(&data);
    assert_eq!(all, 1.0);
    let cats = folder.path().join("cats");
    for part in ["train", "test"] {
        fs::create_dir_all(cats.join(part)).unwrap();
        fs::rename(data.join(part).join("cat"), cats.join(part).join("cat")).unwrap();
    }
    assert_eq!(accuracy(&cats).0, 1.0);
}

#[test]
fn tables_train() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (folder.path().join("flowers.csv"), folder.path().join("run"));
    let rows = (0..120).map(|row| {
        let class = row % 3;
        let colour = ["red", "blue"][(row / 3) % 2];
        format!("{}.{},{colour},{},{}\n", class * 2, row % 10, 10 - class, ["iris", "rose", "tulip"][class])
    });
    fs::write(&data, format!("length,colour,width,kind\n{}", rows.collect::<String>())).unwrap();
    let report = check_json(&data);
    assert_eq!(report["classes"][2], json!({"class": 2, "name": "tulip", "training_images": 32, "test_images": 8}));
    let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&run)];
    arguments.extend(SMALL);
    arguments.extend(["--set", "model.preset=mlp", "--set", "model.mlp.hidden=[8]"]);
    let report = succeed(&arguments);
    assert!(report.contains("24 of 24 outputs identical"), "{report}");

    // Other rows to train on would make other bytes of the same numbers.
    let other = folder.path().join("other.csv");
    fs::write(&other, fs::read_to_string(&data).unwrap() + "99,red,1,iris\n").unwrap();
    fail(
        &["eval", text(&run), "--data", text(&other)],
        2,
        &["other.csv", "columns become bytes by the rows of other.csv"],
    );

    fail(&["data", "check", text(&folder.path().join("nowhere.csv"))], 1, &["nowhere.csv", "check that it exists"]);
    fs::write(&data, "length,kind\n1,iris\n,rose\n").unwrap();
    fail(&["train", "qat", "--data", text(&data)], 1, &["flowers.csv: line 3, column length: the value is missing"]);
}

#[test]
fn padded_gzip_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    copy_of_the_embedded_set(folder.path());
    let path = folder.path().join("t10k-images-idx3-ubyte.gz");
    let content = fs::read(&path).unwrap();
    fs::write(&path, [&content[..], &[0; 512]].concat()).unwrap();
    assert!(succeed(&["data", "check", text(folder.path())]).contains("all checksums hold"));
    fs::write(&path, [&content[..], b"\0\0garbage"].concat()).unwrap();
    fail(&["data", "check", text(folder.path())], 1, &["t10k-images-idx3-ubyte.gz", "damaged gzip"]);
}

#[test]
fn a_subset_of_a_known_set_trains_when_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("subset");
    copy_of_the_embedded_set(&data);
    let train = load(&Request::of(None), &mut |_| {}).unwrap().train;
    fs::remove_file(data.join("train-images-idx3-ubyte.gz")).unwrap();
    fs::remove_file(data.join("train-labels-idx1-ubyte.gz")).unwrap();
    fs::write(data.join("train-images-idx3-ubyte"), idx(&[64, 28, 28], &train.pixels[..64 * 784])).unwrap();
    fs::write(data.join("train-labels-idx1-ubyte"), idx(&[64], &train.labels[..64])).unwrap();

    let run = folder.path().join("run");
    let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&run)];
    arguments.extend(SMALL);
    let words = ["train-images-idx3-ubyte", "fashion-mnist-subset", "--set data.verify=false", "hardgrad data check"];
    fail(&arguments, 1, &words);
    // The check shows all files and classes all the same.
    let output = hardgrad(&["data", "check", text(&data)]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("differs from fashion-mnist-subset") && table.contains("ankle boot"), "{table}");

    arguments.extend(["--set", "data.verify=false"]);
    let table = succeed(&arguments);
    assert!(table.contains("data: subset (not a known set)"), "{table}");
}

#[cfg(target_os = "linux")]
#[test]
fn names_of_folders_need_not_be_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join(OsStr::from_bytes(b"im\xffages"));
    write_data(&data, 16, 8);
    let sheet = folder.path().join(OsStr::from_bytes(b"sheet\xff.png"));
    let output = hardgrad(&["data", "check"]).arg(&data).arg("--png").arg(&sheet).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(sheet.is_file());
}
