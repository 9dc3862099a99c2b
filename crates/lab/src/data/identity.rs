//! Which data a set is, byte for byte.

use serde::{Deserialize, Serialize};

/// The files of a set by their SHA-256: two sets are the same data if, and only if, all of them agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataIdentity {
    /// Name of the set, as in [`Dataset::name`](super::Dataset::name).
    pub name: String,
    /// The files, in the order of their source; of images in folders one entry a folder of a class.
    pub files: Vec<FileIdentity>,
}

/// One file of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileIdentity {
    /// Of an IDX file its usual name, such as `train-images-idx3-ubyte`, whatever it is called on the disk; of a folder
    /// its place in the set, such as `train/cats`; else the name of the file.
    pub file: String,
    /// SHA-256 of its content, decompressed, in lower-case hexadecimal digits; of a folder that of the names and the
    /// SHA-256 of its images.
    pub sha256: String,
}

impl DataIdentity {
    /// The identity of a set with these files.
    pub(super) fn new<F: Into<String>>(name: &str, files: impl IntoIterator<Item = (F, String)>) -> Self {
        let files = files.into_iter().map(|(file, sha256)| FileIdentity { file: file.into(), sha256 }).collect();
        Self { name: name.to_string(), files }
    }

    /// The first file whose content differs, or that one side lacks; the names of the sets do not matter.
    pub fn first_difference<'a>(&'a self, other: &'a Self) -> Option<&'a str> {
        let mut files = self.files.iter().chain(&other.files).map(|file| file.file.as_str());
        files.find(|file| self.sha256_of(file) != other.sha256_of(file))
    }

    fn sha256_of(&self, file: &str) -> Option<&str> {
        self.files.iter().find(|found| found.file == file).map(|found| found.sha256.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [&str; 4] = ["train/cats", "train/dogs", "test/cats", "test/dogs"];

    fn identity(name: &str, hashes: [&str; 4]) -> DataIdentity {
        DataIdentity::new(name, FILES.into_iter().zip(hashes.map(String::from)))
    }

    #[test]
    fn contents_count_and_names_do_not() {
        let one = identity("one", ["a", "b", "c", "d"]);
        assert_eq!(one.first_difference(&identity("two", ["a", "b", "c", "d"])), None);
        for (index, file) in FILES.into_iter().enumerate() {
            let mut hashes = ["a", "b", "c", "d"];
            hashes[index] = "x";
            assert_eq!(one.first_difference(&identity("one", hashes)), Some(file));
            let mut shorter = one.clone();
            shorter.files.remove(index);
            assert_eq!(one.first_difference(&shorter), Some(file));
            assert_eq!(shorter.first_difference(&one), Some(file));
        }
        // Folders that changed places are other data.
        assert_eq!(one.first_difference(&identity("one", ["b", "a", "c", "d"])), Some("train/cats"));
    }

    #[test]
    fn reads_what_it_writes_and_nothing_more() {
        let one = identity("one", ["a", "b", "c", "d"]);
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<DataIdentity>(&text).unwrap(), one);
        let more = text.replacen('{', "{\"size\": 3, ", 1);
        assert!(serde_json::from_str::<DataIdentity>(&more).is_err(), "{more}");
    }
}
