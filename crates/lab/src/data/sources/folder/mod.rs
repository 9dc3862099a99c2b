//! Images in folders: a folder a class with PNG and JPEG files in it.
//!
//! A set is `train/CLASS/*` and `test/CLASS/*`, or `CLASS/*` alone, of which a fifth is held out for testing. Classes
//! are sorted by name. What the files are decides their first bytes: a file that is no image is left out and counted,
//! unless its name promises one. The heads of all images are read first, so that a set that is too large is refused
//! before an image is decoded.

mod listing;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use self::listing::{ClassFolder, Listing};
use super::source::{MOST_CLASSES, Reading, Source, check_parts, file_name, held_out_for_testing};
use crate::data::picture::{self, Header};
use crate::data::{DataError, DataIdentity, Dataset, FileFormat, FileReport, Images, Progress, Request, limit};

/// Files that are looked at or decoded together.
const TOGETHER: usize = 256;

/// Folders of images.
pub(super) struct Folder;

/// One image of a set.
struct Item {
    path: PathBuf,
    label: u8,
    /// Which of the folders it lies in, those to test on behind those to train on.
    folder: usize,
    header: Header,
}

impl Source for Folder {
    fn recognises(&self, path: &Path) -> bool {
        path.is_dir() && listing::holds_images(path)
    }

    fn read(&self, path: &Path, request: &Request, tell: &mut dyn FnMut(Progress)) -> Result<Reading, DataError> {
        let Listing { train, test, mut left_out } = listing::list(path)?;
        let class_names = class_names(path, &train)?;
        let to_train = train.len();
        let has_test = test.is_some();
        let folders: Vec<ClassFolder> = train.into_iter().chain(test.into_iter().flatten()).collect();
        let items = look(&folders, &class_names, &mut left_out, tell)?;

        let shape = shape(&items, request)?;
        limit::check(path, items.len(), &shape)?;
        let mut remarks: Vec<String> = left_out_remark(&left_out).into_iter().collect();
        let is_held: Vec<bool> = if has_test {
            items.iter().map(|item| item.folder >= to_train).collect()
        } else {
            let labels: Vec<u8> = items.iter().map(|item| item.label).collect();
            let (held, remark) = held_out_for_testing(&labels, "images");
            remarks.push(remark);
            held
        };

        let mut hashes = vec![String::new(); items.len()];
        let mut decoded = 0;
        let mut tell_decoded = |count: usize| {
            decoded += count as u64;
            tell(Progress { doing: "reading images", done: decoded, total: items.len() as u64 });
        };
        let mut part = |held: bool| {
            let chosen: Vec<usize> = (0..items.len()).filter(|&index| is_held[index] == held).collect();
            decode(&items, &chosen, shape, &mut hashes, &mut tell_decoded)
        };
        let (train, test) = (part(false)?, part(true)?);
        check_parts(path, &train, &test, "images")?;

        let files = reports(&folders, &items, &hashes, shape);
        let name = file_name(path);
        let identities = files.iter().map(|file| (file.name.clone(), file.sha256.clone().unwrap_or_default()));
        let set = Dataset {
            identity: DataIdentity::new(&name, identities),
            name,
            class_names,
            validation: Images::none(&train.shape),
            train,
            test,
            verified: false,
            altered: None,
            remarks,
        };
        Ok(Reading { set, files })
    }
}

/// Names of the classes: those of the folders to train on.
fn class_names(path: &Path, folders: &[ClassFolder]) -> Result<Vec<String>, DataError> {
    let count = folders.len();
    if count > MOST_CLASSES {
        return Err(DataError::folder(path, format!("has {count} classes, the limit is {MOST_CLASSES}; join some")));
    }
    Ok(folders.iter().map(|folder| folder.class.clone()).collect())
}

/// Reads the heads of all files, in their order; those that are no images are left out.
fn look(
    folders: &[ClassFolder],
    class_names: &[String],
    left_out: &mut Vec<PathBuf>,
    tell: &mut dyn FnMut(Progress),
) -> Result<Vec<Item>, DataError> {
    let labels: HashMap<&str, u8> = class_names.iter().map(String::as_str).zip(0..=u8::MAX).collect();
    let total = folders.iter().map(|folder| folder.files.len() as u64).sum();
    let mut done = 0;
    let mut items = Vec::new();
    for (place, folder) in folders.iter().enumerate() {
        let Some(&label) = labels.get(folder.class.as_str()) else {
            let problem =
                format!("there are no images of the class {} to train on; add some, or remove it", folder.class);
            return Err(DataError::folder(&folder.path, problem));
        };
        let before = items.len();
        for files in folder.files.chunks(TOGETHER) {
            // All of them first: which file is named does not depend on which thread was faster.
            let found: Vec<Result<Option<Header>, DataError>> =
                files.par_iter().map(|path| picture::look(path)).collect();
            for (path, header) in files.iter().zip(found) {
                match header? {
                    Some(header) => items.push(Item { path: path.clone(), label, folder: place, header }),
                    None => left_out.push(path.clone()),
                }
            }
            done += files.len() as u64;
            tell(Progress { doing: "looking at images", done, total });
        }
        if items.len() == before {
            return Err(DataError::folder(&folder.path, "holds no PNG or JPEG image; add some, or remove the folder"));
        }
    }
    Ok(items)
}

/// The shape that all images get: what is asked for, else what they have; colour if any image is stored in colour.
fn shape(items: &[Item], request: &Request) -> Result<[usize; 3], DataError> {
    let channels = request.channels.unwrap_or(if items.iter().any(|item| item.header.is_colour) { 3 } else { 1 });
    if let Some([height, width]) = request.size {
        return Ok([channels, height, width]);
    }
    let mut sizes = items.iter().map(|item| (&item.path, item.header.height, item.header.width));
    // Each folder has images.
    let Some((first, height, width)) = sizes.next() else { return Ok([channels, 1, 1]) };
    match sizes.find(|&(_, other_height, other_width)| (other_height, other_width) != (height, width)) {
        None => Ok([channels, height, width]),
        Some((path, other_height, other_width)) => {
            let problem = format!(
                "is {other_height} x {other_width} pixels (height x width), {} is {height} x {width}; resize all of them with \
                 --set data.size=[{height}, {width}]",
                first.display()
            );
            Err(DataError::inconsistent(path, problem))
        }
    }
}

/// Decodes the chosen images and notes the SHA-256 of their files.
fn decode(
    items: &[Item],
    chosen: &[usize],
    shape: [usize; 3],
    hashes: &mut [String],
    tell: &mut dyn FnMut(usize),
) -> Result<Images, DataError> {
    let size: usize = shape.iter().product();
    let mut pixels = vec![0; chosen.len() * size];
    for (chosen, out) in chosen.chunks(TOGETHER).zip(pixels.chunks_mut(TOGETHER * size)) {
        let read: Vec<Result<String, DataError>> = chosen
            .par_iter()
            .zip(out.par_chunks_mut(size))
            .map(|(&index, out)| {
                let (planes, sha256) = picture::read(&items[index].path, shape)?;
                out.copy_from_slice(&planes);
                Ok(sha256)
            })
            .collect();
        for (&index, sha256) in chosen.iter().zip(read) {
            hashes[index] = sha256?;
        }
        tell(chosen.len());
    }
    let labels = chosen.iter().map(|&index| items[index].label).collect();
    Ok(Images { pixels, labels, shape: shape.to_vec() })
}

/// One report a folder, whose SHA-256 is that of a line for each image: the SHA-256 of the file, a space, and its name.
fn reports(folders: &[ClassFolder], items: &[Item], hashes: &[String], shape: [usize; 3]) -> Vec<FileReport> {
    let report = |(place, folder): (usize, &ClassFolder)| {
        let mut lines = Sha256::new();
        let mut count = 0;
        for (item, hash) in items.iter().zip(hashes).filter(|(item, _)| item.folder == place) {
            lines.update(hash);
            lines.update(b" ");
            lines.update(item.path.file_name().unwrap_or_default().as_encoded_bytes());
            lines.update(b"\n");
            count += 1;
        }
        let dims = [count].into_iter().chain(shape).collect();
        FileReport::readable(folder.place.as_str(), FileFormat::Images, dims, format!("{:x}", lines.finalize()))
    };
    folders.iter().enumerate().map(report).collect()
}

/// What to say about files and folders that are no part of the set.
fn left_out_remark(left_out: &[PathBuf]) -> Option<String> {
    let first = left_out.first()?.display();
    Some(match left_out.len() {
        1 => format!("{first} is no PNG or JPEG image of a class and was left out"),
        count => {
            format!("{count} files or folders are no PNG or JPEG images of a class and were left out, first {first}")
        }
    })
}

#[cfg(test)]
mod tests;
