//! Paths in TOML and JSON, which hold Unicode text only.
//!
//! A path that is Unicode stands there as it is, unless it begins like the mark of the others. Any other becomes
//! `percent:` and its bytes, those that are no ASCII letters, digits or plain marks as `%HH`: nothing is lost.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use serde::{Deserialize, Deserializer, Serializer};

/// What marks a path whose bytes are encoded.
const MARK: &str = "percent:";

/// What is encoded: all but what keeps a path readable.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b' ');

/// The text for a path.
pub(crate) fn text(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.starts_with(MARK) => text.to_string(),
        _ => format!("{MARK}{}", percent_encode(path.as_os_str().as_encoded_bytes(), ENCODED)),
    }
}

/// The path of a text.
pub(crate) fn path(text: &str) -> PathBuf {
    match text.strip_prefix(MARK) {
        Some(encoded) => PathBuf::from(os_string(percent_decode_str(encoded).collect())),
        None => PathBuf::from(text),
    }
}

/// Bytes of a path, or of a part of one, as the system's text.
#[cfg(unix)]
pub(crate) fn os_string(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

/// Bytes of a path as the system's text; elsewhere than on Unix paths that are not Unicode are not bytes.
#[cfg(not(unix))]
pub(crate) fn os_string(bytes: Vec<u8>) -> OsString {
    OsString::from(String::from_utf8_lossy(&bytes).into_owned())
}

/// For `#[serde(with = "path_text")]`.
pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(path))
}

/// For `#[serde(with = "path_text")]`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Ok(path(&String::deserialize(deserializer)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unicode_stays_as_it_is() {
        for plain in ["", "/data/mnist", "Bücher/ü%41 x"] {
            assert_eq!(text(Path::new(plain)), plain);
            assert_eq!(path(plain), Path::new(plain));
        }
    }

    #[test]
    fn a_path_that_looks_like_the_mark_comes_back() {
        for odd in ["percent:25x", "percent:%41"] {
            assert_eq!(path(&text(Path::new(odd))), Path::new(odd));
        }
    }

    #[cfg(unix)]
    #[test]
    fn any_bytes_come_back() {
        use std::os::unix::ffi::OsStrExt;
        let all: Vec<u8> = (1..=255).collect();
        for bytes in [&b"/data/caf\xe9 %41"[..], b"\xff", &all] {
            let odd = Path::new(std::ffi::OsStr::from_bytes(bytes));
            assert!(text(odd).starts_with(MARK) && text(odd).is_ascii());
            assert_eq!(path(&text(odd)), odd);
        }
        assert_eq!(text(Path::new(std::ffi::OsStr::from_bytes(b"/a b/\xe9%"))), "percent:/a b/%E9%25");
    }
}
