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

    /// The names under which the file is looked for, the usual one first; each may also carry the suffix `.gz`.
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

    /// Number of dimensions: 3 for images, 1 for labels.
    pub(super) fn rank(self) -> usize {
        if self.is_labels() { 1 } else { 3 }
    }

    /// The first four bytes of the file, as a big-endian number.
    pub(super) fn magic(self) -> u32 {
        0x0800 + self.rank() as u32
    }

    /// What the file holds, for messages.
    pub(super) fn content(self) -> &'static str {
        if self.is_labels() { "labels" } else { "images" }
    }
}
