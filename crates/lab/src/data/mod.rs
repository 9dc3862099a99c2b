//! Data sets: images or rows of a table with a class each, from a folder, from a file, or from the program itself.
//!
//! [`load`] reads what a [`Request`] names. Four kinds of data are understood, one source each:
//!
//! | what | how it is known |
//! |---|---|
//! | IDX files, those of MNIST and of the sets that took over its format | the names of the four files |
//! | images in folders, a folder a class | folders with PNG or JPEG files |
//! | a table | a `.csv` file, or a folder with `train.csv` |
//! | arrays of NumPy | an `.npz` file |
//!
//! Without a path it is the subset of Fashion-MNIST that the program carries. Whatever the source, inputs are bytes up
//! to the first layer, images are `[channels, height, width]` and of one size, and a share of the training data can be
//! split off for validation. [`check`] tells what a folder holds and what is wrong with it, file by file;
//! [`read_image`] makes single images ready in the way in which those of a set are.
//!
//! Published sets are recognised by the SHA-256 of their files ([`known_sets`]). A folder with one file of such a set
//! claims to be that set, and then all four must be right, unless the caller says that it is a set of its own; other
//! folders are taken as they are. A set knows its files by their SHA-256 ([`Dataset::identity`]) and says what is odd
//! about it ([`Dataset::notes`]).
//!
//! Everything here comes from outside and is not trusted: sizes are checked before memory is taken, and whatever is
//! wrong becomes a [`DataError`] that names the file and the mend.

mod check;
mod contact_sheet;
mod dataset;
pub(crate) mod digits;
mod error;
mod identity;
mod images;
mod limit;
mod load;
mod notes;
mod picture;
mod report;
mod request;
mod sources;
mod split;

pub use self::check::check;
pub use self::contact_sheet::write_contact_sheet;
pub use self::dataset::Dataset;
pub use self::error::DataError;
pub use self::identity::{DataIdentity, FileIdentity};
pub use self::images::Images;
pub use self::load::load;
pub use self::picture::{image_files, is_image, read_image, write_png};
pub use self::report::{CheckReport, FileFormat, FileReport, Verdict};
pub use self::request::{Progress, Request};
pub use self::sources::idx::{FileRole, KnownSet, is_idx, known_sets, read_idx_images};

#[cfg(test)]
mod tests;
