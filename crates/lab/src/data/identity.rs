//! Which data a set is, byte for byte.

use serde::{Deserialize, Serialize};

use super::idx::IdxFile;
use super::role::FileRole;

/// The files of a set by their SHA-256: two sets are the same data if, and only if, all four agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataIdentity {
    /// Name of the set, as in [`Dataset::name`](super::Dataset::name).
    pub name: String,
    /// The four files, in the order of [`FileRole::ALL`].
    pub files: Vec<FileIdentity>,
}

/// One file of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileIdentity {
    /// The usual name of such a file, such as `train-images-idx3-ubyte`, whatever it is called on the disk.
    pub file: String,
    /// SHA-256 of its content, decompressed, in lower-case hexadecimal digits.
    pub sha256: String,
}

impl DataIdentity {
    pub(super) fn new(name: &str, files: &[IdxFile]) -> Self {
        let files = files
            .iter()
            .map(|file| FileIdentity { file: file.role.usual_name().to_string(), sha256: file.sha256.clone() })
            .collect();
        Self { name: name.to_string(), files }
    }

    /// The usual name of the first file whose content differs, or that one side lacks; the names of the sets do not matter.
    pub fn first_difference(&self, other: &Self) -> Option<&str> {
        FileRole::ALL.into_iter().map(FileRole::usual_name).find(|file| self.sha256_of(file) != other.sha256_of(file))
    }

    fn sha256_of(&self, file: &str) -> Option<&str> {
        self.files.iter().find(|found| found.file == file).map(|found| found.sha256.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str, hashes: [&str; 4]) -> DataIdentity {
        let files = FileRole::ALL.into_iter().zip(hashes);
        let files =
            files.map(|(role, hash)| FileIdentity { file: role.usual_name().to_string(), sha256: hash.to_string() });
        DataIdentity { name: name.to_string(), files: files.collect() }
    }

    #[test]
    fn contents_count_and_names_do_not() {
        let one = identity("one", ["a", "b", "c", "d"]);
        assert_eq!(one.first_difference(&identity("two", ["a", "b", "c", "d"])), None);
        for (index, role) in FileRole::ALL.into_iter().enumerate() {
            let mut hashes = ["a", "b", "c", "d"];
            hashes[index] = "x";
            assert_eq!(one.first_difference(&identity("one", hashes)), Some(role.usual_name()));
            let mut shorter = one.clone();
            shorter.files.remove(index);
            assert_eq!(one.first_difference(&shorter), Some(role.usual_name()));
            assert_eq!(shorter.first_difference(&one), Some(role.usual_name()));
        }
        // Images and labels that changed places are other data.
        assert_eq!(one.first_difference(&identity("one", ["b", "a", "c", "d"])), Some("train-images-idx3-ubyte"));
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
