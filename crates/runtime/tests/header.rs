//! Headers: cut off, too large, ambiguous, or those of other safetensors files.

mod common;

use common::{example, header, with_header, with_header_text};
use hardgrad_runtime::{PackedError, PackedModel, check_header};

#[test]
fn a_file_that_is_cut_off_anywhere_or_goes_on_is_refused() {
    let file = example().to_bytes().unwrap();
    for length in 0..file.len() {
        match PackedModel::from_bytes(&file[..length]) {
            Err(PackedError::CutOff { length: found, needed, .. }) => {
                assert!(found == length && needed > length as u64);
            }
            other => panic!("{length}: {other:?}"),
        }
    }
    let longer = [&file[..], &[0]].concat();
    assert!(matches!(PackedModel::from_bytes(&longer), Err(PackedError::ExtraBytes { .. })));
}

#[test]
fn headers_that_claim_too_much_are_refused() {
    let file = example().to_bytes().unwrap();
    for claimed in [u64::MAX, u64::MAX - 8, 1 << 62, 1 << 32, file.len() as u64] {
        let broken = [&claimed.to_le_bytes(), &file[8..]].concat();
        assert!(matches!(PackedModel::from_bytes(&broken), Err(PackedError::CutOff { part: "header", .. })));
    }
    for end in [u64::MAX, 1 << 61, file.len() as u64] {
        let mut header = header(&file);
        header["out.bias"]["data_offsets"] = vec![0, end].into();
        header["out.bias"]["shape"] = vec![end / 4].into();
        let error = PackedModel::from_bytes(&with_header(&file, &header)).unwrap_err();
        assert!(matches!(error, PackedError::CutOff { part: "last tensor", .. }), "{error}");
    }
    let longest: u64 = 100_000_000;
    for (length, refused) in [(longest, "EOF while parsing a value"), (longest + 1, "header too large")] {
        let mut spaces = vec![b' '; 8 + length as usize];
        spaces[..8].copy_from_slice(&u64::to_le_bytes(length));
        let error = check_header(&spaces).unwrap_err().to_string();
        assert!(error.contains(refused), "{length}: {error}");
    }
}

#[test]
fn a_name_that_is_twice_in_the_header_is_refused() {
    let file = example().to_bytes().unwrap();
    let text = header(&file).to_string();
    let refused = |after: &str, entry: &str| {
        let changed = text.replacen(after, &format!("{after}{entry},"), 1);
        assert_ne!(changed, text, "{after} is not in the header");
        let changed = with_header_text(&file, &changed);
        let error = PackedModel::from_bytes(&changed).unwrap_err();
        assert_eq!(check_header(&changed).unwrap_err().to_string(), error.to_string());
        match error {
            PackedError::DuplicateName(name) => name,
            other => panic!("{after} {entry}: {other}"),
        }
    };
    let bias = header(&file)["out.bias"].to_string();
    assert_eq!(refused("{", &format!("\"out.bias\":{bias}")), "out.bias");
    // One name, written in two ways.
    assert_eq!(refused("{", &format!("\"\\u006fut.bias\":{bias}")), "out.bias");
    assert_eq!(refused("{", "\"__metadata__\":{}"), "__metadata__");
    assert_eq!(refused("\"__metadata__\":{", "\"hardgrad\":\"\""), "hardgrad");
    assert_eq!(refused("\"out.bias\":{", "\"dtype\":\"F32\""), "dtype");
}

#[test]
fn the_header_of_any_safetensors_file_can_be_checked() {
    let file = example().to_bytes().unwrap();
    check_header(&file).unwrap();
    let mut other = header(&file);
    // Entries of the metadata lie nowhere, whatever they are called.
    other["__metadata__"] = serde_json::json!({"data_offsets": "somewhere", "out.bias": "text"});
    check_header(&with_header(&file, &other)).unwrap();
    other.as_object_mut().unwrap().remove("__metadata__");
    check_header(&with_header(&file, &other)).unwrap();
    for length in 0..file.len() {
        assert!(matches!(check_header(&file[..length]), Err(PackedError::CutOff { .. })), "{length}");
    }
    for broken in ["[]", "{]", "{\"x\":{}}", "{\"x\":1}"] {
        assert!(matches!(check_header(&with_header_text(&file, broken)), Err(PackedError::Header(_))), "{broken}");
    }
}
