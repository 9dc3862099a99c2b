//! Arrays of NumPy in one file, as `numpy.savez` and Keras write them.
//!
//! The arrays are `x` and `y`, of which a fifth is held out for testing, or `x_train`, `y_train`, `x_test` and
//! `y_test`, also as `train_images`, `train_labels`, `test_images` and `test_labels`. The axes of x are `[count,
//! features]`, `[count, height, width]`, `[count, height, width, channels]` or `[count, channels, height, width]`: an
//! axis of one or three at the end are channels, else one of one or three behind the count, else one of at most four at
//! the end, else the one behind the count. Values are whole numbers from 0 to 255, or real ones from 0 to 1, which are
//! multiplied by 255 and rounded; the images to train on decide which. Classes are whole numbers from 0.

mod npy;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use sha2::{Digest, Sha256};
use zip::ZipArchive;
use zip::result::ZipError;

use self::npy::{Head, Kind};
use super::source::{Reading, Source, check_parts, file_name, has_ending, held_out_for_testing, numbered};
use crate::data::report::shape_text;
use crate::data::{DataError, DataIdentity, Dataset, FileFormat, FileReport, Images, Progress, Request, limit};

/// Names of the arrays of a set with two parts: x and y to train on, x and y to test on.
const TWO_PARTS: [[&str; 4]; 2] =
    [["x_train", "y_train", "x_test", "y_test"], ["train_images", "train_labels", "test_images", "test_labels"]];

/// Names of the arrays of a set with one part.
const ONE_PART: [&str; 2] = ["x", "y"];

/// A file with arrays.
pub(super) struct Npz;

/// Whether a file holds arrays by its name.
pub(super) fn is_npz(path: &Path) -> bool {
    has_ending(path, "npz") && path.is_file()
}

impl Source for Npz {
    fn recognises(&self, path: &Path) -> bool {
        is_npz(path)
    }

    fn read(&self, path: &Path, _: &Request, _: &mut dyn FnMut(Progress)) -> Result<Reading, DataError> {
        let mut archive = Archive::open(path)?;
        let parts = archive.parts()?;
        let shape = parts[0].shape.clone();
        if let Some(other) = parts.iter().find(|part| part.shape != shape) {
            let (found, expected) = (shape_text(&other.shape), shape_text(&shape));
            let (name, first) = (&other.x.name, &parts[0].x.name);
            let problem = format!("{name} has inputs of {found}, {first} of {expected}; use one shape");
            return Err(DataError::inconsistent(path, problem));
        }
        let count: usize = parts.iter().map(|part| part.count).fold(0, usize::saturating_add);
        limit::check(path, count, &shape)?;

        let mut remarks = Vec::new();
        let (first, scale) = archive.read(&parts[0], None)?;
        let [train, test] = match parts.get(1) {
            Some(part) => [first, archive.read(part, Some(scale))?.0],
            None => {
                let (held, remark) = held_out_for_testing(&first.labels, "inputs");
                remarks.push(remark);
                first.split(&held)
            }
        };
        check_parts(path, &train, &test, "inputs")?;
        let highest = train.labels.iter().copied().max().unwrap_or(0);
        if let Some(index) = test.labels.iter().position(|&label| label > highest) {
            let (path, label) = (path.to_path_buf(), test.labels[index]);
            return Err(DataError::LabelOutOfRange { path, index, label, highest });
        }

        let name = file_name(path);
        let sha256 = sha256_of(path)?;
        let dims = [count].into_iter().chain(shape).collect();
        let set = Dataset {
            identity: DataIdentity::new(&name, [(name.clone(), sha256.clone())]),
            class_names: numbered(highest),
            validation: Images::none(&train.shape),
            train,
            test,
            verified: false,
            altered: None,
            remarks,
            name: name.clone(),
        };
        Ok(Reading { set, files: vec![FileReport::readable(name, FileFormat::Npz, dims, sha256)] })
    }
}

/// An open file.
struct Archive<'a> {
    path: &'a Path,
    archive: ZipArchive<BufReader<File>>,
}

/// An array of the file.
struct Array {
    /// Its place in the archive.
    index: usize,
    name: String,
    head: Head,
}

/// Inputs with their classes.
struct Part {
    x: Array,
    y: Array,
    count: usize,
    /// The shape of one input.
    shape: Vec<usize>,
    /// Whether channels are the last axis, not the first.
    channels_last: bool,
}

/// How values become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    /// Real numbers from 0 to 1, times 255.
    Unit,
    /// Whole numbers from 0 to 255.
    Whole,
}

impl<'a> Archive<'a> {
    fn open(path: &'a Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|cause| DataError::io(path, cause))?;
        let archive = ZipArchive::new(BufReader::new(file)).map_err(|error| unreadable(path, &error))?;
        Ok(Self { path, archive })
    }

    /// The parts of the set, after a look at the heads of their arrays; one or two.
    fn parts(&mut self) -> Result<Vec<Part>, DataError> {
        let names: Vec<String> =
            self.archive.file_names_raw().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let place = |wanted: &str| {
            names.iter().position(|name| {
                let name = name.strip_suffix(".npy").unwrap_or(name);
                name.eq_ignore_ascii_case(wanted)
            })
        };
        for wanted in TWO_PARTS {
            if let [Some(x_train), Some(y_train), Some(x_test), Some(y_test)] = wanted.map(place) {
                let train = self.part(wanted[0], x_train, wanted[1], y_train)?;
                return Ok(vec![train, self.part(wanted[2], x_test, wanted[3], y_test)?]);
            }
        }
        match ONE_PART.map(place) {
            [Some(x), Some(y)] => Ok(vec![self.part(ONE_PART[0], x, ONE_PART[1], y)?]),
            _ => {
                let problem = format!(
                    "holds the arrays {}; save x and y, or {}, with numpy.savez",
                    if names.is_empty() { "none".to_string() } else { names.join(", ") },
                    TWO_PARTS[0].join(", ")
                );
                Err(DataError::malformed(self.path, problem.replace(['\n', '\r'], " ")))
            }
        }
    }

    /// A part of the set; its arrays must fit together.
    fn part(&mut self, x_name: &str, x: usize, y_name: &str, y: usize) -> Result<Part, DataError> {
        let (x, y) = (self.array(x_name, x)?, self.array(y_name, y)?);
        let wrong = |array: &Array, problem: String| -> DataError { problem_of(self.path, &array.name, &problem) };
        if x.head.shape.contains(&0) {
            return Err(wrong(&x, format!("is empty: its shape is {:?}; give inputs", x.head.shape)));
        }
        let Some((count, shape, channels_last)) = layout(&x.head.shape) else {
            let problem =
                format!("has the shape {:?}; give [count, features], or images in three or four axes", x.head.shape);
            return Err(wrong(&x, problem));
        };
        match y.head.shape[..] {
            [classes] | [classes, 1] if classes == count => {}
            [classes] | [classes, 1] => {
                let problem = format!("has {classes} classes, {x_name} {count} inputs; give each input one");
                return Err(wrong(&y, problem));
            }
            _ => {
                let problem = format!("has the shape {:?}; give the number of its class for each input", y.head.shape);
                return Err(wrong(&y, problem));
            }
        }
        Ok(Part { x, y, count, shape, channels_last })
    }

    /// An array by its place, after a look at its head.
    fn array(&mut self, name: &str, index: usize) -> Result<Array, DataError> {
        let mut entry = self.archive.by_index(index).map_err(|error| unreadable(self.path, &error))?;
        let head = Head::read(&mut entry).map_err(|problem| problem_of(self.path, name, &problem))?;
        Ok(Array { index, name: name.to_string(), head })
    }

    /// The values of an array, which are handed on one by one.
    fn values(&mut self, array: &Array, take: impl FnMut(f64) -> Result<(), String>) -> Result<(), DataError> {
        let mut entry = self.archive.by_index(array.index).map_err(|error| unreadable(self.path, &error))?;
        let read = Head::read(&mut entry).and_then(|_| array.head.read_values(&mut entry, take));
        read.map_err(|problem| problem_of(self.path, &array.name, &problem))
    }

    /// The inputs of a part; the values decide on their scale if none is given.
    fn read(&mut self, part: &Part, scale: Option<Scale>) -> Result<(Images, Scale), DataError> {
        let mut bytes = Bytes::new(part.x.head.kind, scale);
        self.values(&part.x, |value| bytes.push(value))?;
        let (mut pixels, scale) = bytes.finish();
        if part.channels_last {
            planes_first(&mut pixels, &part.shape);
        }
        let mut labels = Vec::new();
        self.values(&part.y, |value| {
            let index = labels.len();
            let wrong = || format!("has the class {value} at index {index}; give whole numbers from 0 to 255");
            labels.push(whole(value).ok_or_else(wrong)?);
            Ok(())
        })?;
        Ok((Images { pixels, labels, shape: part.shape.clone() }, scale))
    }
}

/// Values as bytes under each of the scales that they may still have; memory grows with what arrives.
struct Bytes {
    unit: Option<Vec<u8>>,
    whole: Option<Vec<u8>>,
    count: usize,
}

impl Bytes {
    fn new(kind: Kind, scale: Option<Scale>) -> Self {
        let may_be = |wanted: Scale, kinds: &[Kind]| match scale {
            Some(scale) => scale == wanted,
            None => kinds.contains(&kind),
        };
        let bytes = |wanted: bool| wanted.then(Vec::new);
        Self {
            unit: bytes(may_be(Scale::Unit, &[Kind::Bool, Kind::Float])),
            whole: bytes(may_be(Scale::Whole, &[Kind::Unsigned, Kind::Signed, Kind::Float])),
            count: 0,
        }
    }

    fn push(&mut self, value: f64) -> Result<(), String> {
        let unit = (0.0..=1.0).contains(&value).then(|| (255.0 * value).round() as u8);
        let kept = [(&mut self.unit, unit), (&mut self.whole, whole(value))].map(|(bytes, byte)| {
            match (bytes.as_mut(), byte) {
                (Some(bytes), Some(byte)) => bytes.push(byte),
                // One value is enough to show that they have another scale.
                (_, _) => *bytes = None,
            }
            bytes.is_some()
        });
        if kept == [false, false] {
            return Err(format!(
                "has the value {value} at index {}; give whole numbers from 0 to 255, or real ones from 0 to 1, in all arrays \
                 the same",
                self.count
            ));
        }
        self.count += 1;
        Ok(())
    }

    fn finish(self) -> (Vec<u8>, Scale) {
        match (self.unit, self.whole) {
            (Some(bytes), _) => (bytes, Scale::Unit),
            (None, bytes) => (bytes.unwrap_or_default(), Scale::Whole),
        }
    }
}

/// The byte that a number is, if it is one.
fn whole(value: f64) -> Option<u8> {
    ((0.0..=255.0).contains(&value) && value.fract() == 0.0).then_some(value as u8)
}

/// Count, shape of one input with channels first, and whether they come last; `None` for shapes without a meaning.
fn layout(shape: &[usize]) -> Option<(usize, Vec<usize>, bool)> {
    Some(match *shape {
        [count, features] => (count, vec![features], false),
        [count, height, width] => (count, vec![1, height, width], false),
        [count, a, b, c] => {
            let are_last = [1, 3].contains(&c) || (c <= 4 && ![1, 3].contains(&a));
            (count, if are_last { vec![c, a, b] } else { vec![a, b, c] }, are_last)
        }
        _ => return None,
    })
}

/// Puts values that stand pixel by pixel plane by plane, image by image.
fn planes_first(pixels: &mut [u8], shape: &[usize]) {
    let (channels, size) = (shape[0], shape.iter().product::<usize>());
    let pixels_of_one = size / channels;
    let mut planes = vec![0; size];
    for image in pixels.chunks_exact_mut(size) {
        for (pixel, values) in image.chunks_exact(channels).enumerate() {
            for (channel, value) in values.iter().enumerate() {
                planes[channel * pixels_of_one + pixel] = *value;
            }
        }
        image.copy_from_slice(&planes);
    }
}

fn sha256_of(path: &Path) -> Result<String, DataError> {
    let failed = |cause| DataError::io(path, cause);
    let mut file = File::open(path).map_err(failed)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(format!("{:x}", hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn problem_of(path: &Path, array: &str, problem: &str) -> DataError {
    DataError::malformed(path, format!("the array {array} {problem}"))
}

fn unreadable(path: &Path, error: &ZipError) -> DataError {
    let cause = error.to_string().replace('\n', " ");
    DataError::malformed(path, format!("is no NPZ file or a damaged one ({cause}); save it with numpy.savez"))
}

#[cfg(test)]
mod tests;
