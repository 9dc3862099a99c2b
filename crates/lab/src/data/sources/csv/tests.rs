use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::data;

/// A folder with these files.
fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    folder
}

fn load(request: &Request) -> Result<Dataset, DataError> {
    data::load(request, &mut |_| {})
}

/// A set from `train.csv` and `test.csv`.
fn from_two(train: &str, test: &str) -> Result<Dataset, DataError> {
    load(&Request::of(Some(folder_with(&[(TRAIN, train), (TEST, test)]).path())))
}

/// A set from one file.
fn from_one(text: &str, change: impl Fn(&mut Request)) -> Result<Dataset, DataError> {
    let folder = folder_with(&[("table.csv", text)]);
    let mut request = Request::of(Some(&folder.path().join("table.csv")));
    change(&mut request);
    load(&request)
}

/// Why a file is refused.
fn refusal(text: &str) -> String {
    let message = from_one(text, |_| {}).unwrap_err().to_string();
    assert!(message.contains("table.csv: ") && !message.contains('\n'), "{message}");
    message
}

#[test]
fn numbers_and_categories_become_bytes() {
    let train = "size,colour,label\n-1,red,b\n3,blue,a\n1,red,b\n";
    let test = "label,colour,size\na,green,-7\nb,blue,0\n";
    let set = from_two(train, test).unwrap();
    assert_eq!(set.class_names, ["a", "b"]);
    // size, blue, red
    assert_eq!(set.train.shape, [3]);
    assert_eq!(set.train.pixels, [0, 0, 255, 255, 255, 0, 128, 0, 255]);
    assert_eq!((set.train.labels, set.test.labels), (vec![1, 0, 1], vec![0, 1]));
    // Beyond the range of the training rows, a category that they have not; 0 is a quarter of the range.
    assert_eq!(set.test.pixels, [0, 0, 0, 64, 255, 0]);
    assert!(set.remarks[0].starts_with("1 values of the rows to test on are categories"), "{:?}", set.remarks);
    let files: Vec<&str> = set.identity.files.iter().map(|file| file.file.as_str()).collect();
    assert_eq!(files, [TRAIN, TEST]);
}

#[test]
fn one_file_gives_a_fifth_to_the_test() {
    let rows: String = (0..20).map(|row| format!("{row},{}\n", row % 2)).collect();
    let text = format!("x,y\n{rows}");
    let set = from_one(&text, |_| {}).unwrap();
    assert_eq!((set.train.len(), set.test.len(), &set.name[..]), (16, 4, "table.csv"));
    assert_eq!(set.class_counts(), [[8, 2], [8, 2]]);
    assert!(set.remarks[0].starts_with("4 of 20 rows, a fifth of each class, are held out for testing"));
    assert_eq!(from_one(&text, |_| {}).unwrap(), set);
    // The range is that of the rows to train on.
    assert_eq!((set.train.pixels.iter().min(), set.train.pixels.iter().max()), (Some(&0), Some(&255)));
    let with_validation = from_one(&text, |request| request.validation = 0.25).unwrap();
    assert_eq!(with_validation.validation.shape, [1]);
    assert_eq!((with_validation.train.len(), with_validation.validation.len()), (12, 4));
}

#[test]
fn the_column_of_the_class_is_named_or_found() {
    let text = "kind,label,x\n1,2,3\n1,1,4\n2,1,5\n2,3,6\n2,2,7\n1,3,8\n";
    let classes = |column: Option<&str>| {
        from_one(text, |request| request.label = column.map(String::from)).map(|set| set.class_names.len())
    };
    assert_eq!((classes(None).unwrap(), classes(Some("kind")).unwrap()), (3, 2));
    let error = classes(Some("colour")).unwrap_err().to_string();
    assert!(error.contains("has no column called colour") && error.ends_with("kind, label, x"), "{error}");
    // Without a column of that name the last one.
    let set = from_one(&text.replace("label", "other"), |request| request.validation = 0.0);
    assert!(set.unwrap_err().to_string().contains("has no rows to test on"));
}

#[test]
fn classes_are_sorted_as_numbers_or_words() {
    let classes = |names: [&str; 3]| {
        let rows: String = names.iter().map(|name| format!("1,{name}\n2,{name}\n")).collect();
        from_two(&format!("x,y\n{rows}"), &format!("x,y\n{rows}")).unwrap().class_names
    };
    assert_eq!(classes(["10", "9", "-1"]), ["-1", "9", "10"]);
    assert_eq!(classes(["1.0", "0.5", "0.0"]), ["0.0", "0.5", "1.0"]);
    assert_eq!(classes(["b", "a10", "a9"]), ["a10", "a9", "b"]);
}

#[test]
fn other_separators_quotes_and_marks_of_bytes() {
    let rows = "1;\"a; b\"\n2;c\n3;\"a; b\"\n4;c\n5;\"a; b\"\n6;c\n";
    let set = from_one(&format!("\u{feff}x;y\r\n{rows}"), |_| {}).unwrap();
    assert_eq!(set.class_names, ["a; b", "c"]);
    assert_eq!(set.train.len() + set.test.len(), 6);
}

#[test]
fn missing_values_are_named_by_line_and_column() {
    let rows = "1,red,a\n2,red,b\n3,blue,a\n";
    assert!(refusal(&format!("x,colour,y\n{rows},red,a\n")).contains("line 5, column x: the value is missing"));
    assert!(refusal(&format!("x,colour,y\n{rows}1,,a\n")).contains("line 5, column colour: the value is missing"));
    assert!(refusal(&format!("x,colour,y\n{rows}1,red,\n")).contains("line 5, column y: the value is missing"));
    for mark in ["NA", "nan", "?", "null"] {
        let text = refusal(&format!("x,colour,y\n{rows}{mark},red,a\n"));
        assert!(text.contains(&format!("line 5, column x: {mark} stands for a missing value")), "{text}");
    }
    // Among words they are words.
    let set = from_two(&format!("x,colour,y\n{rows}1,NA,a\n"), &format!("x,colour,y\n{rows}")).unwrap();
    assert_eq!(set.train.shape, [4]);
    // Lines are counted as editors count them.
    assert!(refusal(&format!("x,colour,y\n\n{rows}1,,a\n")).contains("line 6, column colour"));
    assert!(refusal("x,colour,y\n\n,red,a\n").contains("line 3, column x"));
    assert!(refusal(&format!("x,colour,y\n{rows}1,,a\n").replace('\n', "\r\n")).contains("line 5, column colour"));
    assert!(refusal("x,y\r\n1,a\r\n1\r\n").contains("line 3 has 1 values"));
    assert!(refusal("x,y\n\"1\n2\",a\n,b\n").contains("line 4, column x"));
}

#[test]
fn words_among_numbers_are_mistakes() {
    let rows: String = (0..9).map(|row| format!("{row},a\n")).collect();
    let text = refusal(&format!("x,y\n{rows}1O,b\n"));
    assert!(text.contains("line 11, column x: 1O is no number, as nearly all others are"), "{text}");
    let error = from_two("x,y\n1,a\n2,b\n", "x,y\n1,a\nmany,b\n").unwrap_err().to_string();
    assert!(error.contains("test.csv: line 3, column x: many is no number"), "{error}");
    let error = from_two("x,y\n1,a\n2,b\n", "x,y\n1,a\nNA,b\n").unwrap_err().to_string();
    assert!(error.contains("line 3, column x: NA stands for a missing value"), "{error}");
}

#[test]
fn tables_that_are_none_are_refused() {
    assert!(refusal("").contains("is empty"));
    assert!(refusal("x,y\n").contains("has a header and no rows"));
    assert!(refusal("1,2\n3,4\n").contains("has numbers in its first line"));
    assert!(refusal("x,x,y\n1,2,a\n").contains("has two columns called \"x\""));
    assert!(refusal("x,y\n1,a\n1\n").contains("line 3 has 1 values, the header names 2 columns"));
    assert!(refusal("y\na\nb\n").contains("has no column besides that of the class"));
    let names: String = (0..400).map(|row| format!("name{row},{}\n", row % 2)).collect();
    assert!(refusal(&format!("x,y\n{names}")).contains("column x: has 320"));
    let values: String = (0..300).map(|row| format!("1,{row}.5\n")).collect();
    assert!(
        refusal(&format!("x,y\n{values}")).contains("column y: has 300 different values, the limit for classes is 256")
    );

    let folder = TempDir::new().unwrap();
    let path = folder.path().join("table.csv");
    fs::write(&path, b"x,y\n1,\xff\n").unwrap();
    let error = load(&Request::of(Some(&path))).unwrap_err().to_string();
    assert!(error.contains("line 2 is no UTF-8 text"), "{error}");
}

#[test]
fn two_tables_must_fit_together() {
    let train = "x,y\n1,a\n2,b\n";
    let error = |test: &str| from_two(train, test).unwrap_err().to_string();
    assert!(error("x\n1\n").contains("test.csv: lacks the column y of train.csv"));
    assert!(error("x,y,z\n1,a,3\n").contains("has a column z, which train.csv has not"));
    assert!(error("x,y\n1,c\n").contains("line 2, column y: c is no class of the rows to train on"));
    assert!(error("x,y\n1,\n").contains("line 2, column y: the value is missing"));
}

#[test]
fn tables_have_no_size() {
    let text = "x,y\n1,a\n2,b\n1,a\n2,b\n1,a\n2,b\n";
    let error = from_one(text, |request| request.channels = Some(1)).unwrap_err();
    assert!(matches!(error, DataError::Request { .. }) && error.to_string().contains("is a table"), "{error}");
}

#[test]
fn columns_of_one_value_and_of_a_wide_range() {
    let rows = format!("7,{},a\n7,{},b\n7,0,a\n", f64::MAX, f64::MIN);
    let set = from_two(&format!("x,z,y\n{rows}"), &format!("x,z,y\n{rows}")).unwrap();
    assert_eq!(set.train.pixels, [0, 255, 0, 0, 0, 128]);
}

#[test]
fn reports_name_the_tables() {
    let folder = folder_with(&[(TRAIN, "x,y\n1,a\n2,b\n"), (TEST, "x,y\n1,a\n")]);
    let report = data::check(&Request::of(Some(folder.path())), &mut |_| {}).unwrap();
    let files: Vec<(&str, String)> = report.files.iter().map(|file| (&file.name[..], file.shape())).collect();
    assert_eq!(files, [(TRAIN, "2 x 2".to_string()), (TEST, "1 x 2".to_string())]);
    assert!(report.problem.is_none() && report.files[0].format == Some(FileFormat::Csv));
    fs::write(folder.path().join(TEST), "x,y\n").unwrap();
    let report = data::check(&Request::of(Some(folder.path())), &mut |_| {}).unwrap();
    assert!(report.problem.unwrap().to_string().contains("test.csv: has a header and no rows"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn any_text_is_read_or_refused(text in "[a-c0-2,;\"\n. ]{0,60}") {
        if let Ok(set) = from_one(&text, |_| {}) {
            prop_assert!(!set.train.is_empty() && !set.test.is_empty());
            prop_assert_eq!(set.train.pixels.len(), set.train.len() * set.train.item_len());
        }
    }

    #[test]
    fn the_order_of_numbers_stays(values in prop::collection::vec(-1e6f64..1e6, 2..20)) {
        let rows: String = values.iter().map(|value| format!("{value},a\n")).collect();
        let set = from_two(&format!("x,y\n{rows}"), "x,y\n0,a\n").unwrap();
        for (a, byte_a) in values.iter().zip(&set.train.pixels) {
            for (b, byte_b) in values.iter().zip(&set.train.pixels) {
                prop_assert!(a > b || byte_a <= byte_b);
            }
        }
    }
}
