//! The four files that make a set.

/// One of the four files that make a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileRole {
    /// The images to train on.
    TrainImages,
    /// The labels of the images to train on.
    TrainLabels,
    /// The images to test on.
    TestImages,
    /// The labels of the images to test on.
    TestLabels,
}

impl FileRole {
    /// The four files, in the order of every table and report.
    pub const ALL: [FileRole; 4] =
        [FileRole::TrainImages, FileRole::TrainLabels, FileRole::TestImages, FileRole::TestLabels];

    /// The names under which the file is looked for, the usual one first; each may also carry the suffix `.gz`, and
    /// `idx4` in place of `idx3`.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            FileRole::TrainImages => &["train-images-idx3-ubyte"],
            FileRole::TrainLabels => &["train-labels-idx1-ubyte"],
            FileRole::TestImages => &["t10k-images-idx3-ubyte", "test-images-idx3-ubyte"],
            FileRole::TestLabels => &["t10k-labels-idx1-ubyte", "test-labels-idx1-ubyte"],
        }
    }

    /// The first of its names.
    pub(super) fn usual_name(self) -> &'static str {
        self.names()[0]
    }

    /// Whether the file holds labels, not images.
    pub(super) fn is_labels(self) -> bool {
        match self {
            FileRole::TrainImages | FileRole::TestImages => false,
            FileRole::TrainLabels | FileRole::TestLabels => true,
        }
    }

    /// Numbers of dimensions that the file may have: 3 for grey images, 4 for images with channels, 1 for labels.
    pub(super) fn ranks(self) -> &'static [usize] {
        if self.is_labels() { &[1] } else { &[3, 4] }
    }

    /// Whether a file with these first four bytes, a big-endian number, can play the role.
    pub(super) fn takes(self, magic: u32) -> bool {
        self.ranks().iter().any(|&rank| magic_of(rank) == magic)
    }

    /// What the file holds, for messages.
    pub(super) fn content(self) -> &'static str {
        if self.is_labels() { "labels" } else { "images" }
    }
}

/// The first four bytes of a file of bytes with so many dimensions, as a big-endian number.
pub(super) fn magic_of(rank: usize) -> u32 {
    0x0800 + rank as u32
}
