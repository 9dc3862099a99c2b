//! Where the files of a set lie, and what is nearly right where they do not.

use std::fs;
use std::path::{Path, PathBuf};

use super::file;
use super::role::FileRole;
use crate::data::DataError;

/// The most folders that are looked into for a set that is not where it was sought.
const MOST_FOLDERS: usize = 1000;

/// Letters that may differ in a name that was meant to be another one.
const MOST_TYPOS: usize = 2;

/// The paths of the files that are there, in the order of [`FileRole::ALL`].
pub(super) fn find_files(folder: &Path) -> Result<[Option<PathBuf>; 4], DataError> {
    let io_error = |cause| DataError::io(folder, cause);
    if !fs::metadata(folder).map_err(io_error)?.is_dir() {
        let mend = elsewhere(folder).unwrap_or_else(|| "give a folder of data, a .csv or an .npz file".to_string());
        return Err(DataError::folder(folder, format!("is not a folder; {mend}")));
    }
    if fs::read_dir(folder).map_err(io_error)?.next().is_none() {
        let mend = elsewhere(folder).unwrap_or_else(|| {
            "put the four IDX files of a set into it, or a folder of images for each class".to_string()
        });
        return Err(DataError::folder(folder, format!("is empty; {mend}")));
    }
    Ok(FileRole::ALL.map(|role| named(folder, role)))
}

/// The file of a folder that plays a role by its name.
pub(super) fn named(folder: &Path, role: FileRole) -> Option<PathBuf> {
    let names = || role.names().iter().flat_map(|name| [name.to_string(), name.replace("idx3", "idx4")]);
    ["", ".gz"]
        .into_iter()
        .flat_map(|suffix| names().map(move |name| format!("{name}{suffix}")))
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

/// The error for a folder that lacks files; it names those that are nearly right.
pub(super) fn missing_files(folder: &Path, paths: &[Option<PathBuf>; 4]) -> DataError {
    let missing = || FileRole::ALL.into_iter().zip(paths).filter(|(_, path)| path.is_none()).map(|(role, _)| role);
    let names: Vec<String> = missing().map(|role| role.names().join(" or ")).collect();
    let files = entries(folder);
    let renames: Vec<String> = missing().filter_map(|role| rename(folder, nearly(&files, role)?, role)).collect();
    let mend = if renames.len() == names.len() {
        renames.join(", ")
    } else if let Some(mend) = elsewhere(folder) {
        mend
    } else if renames.is_empty() {
        "put the missing files there".to_string()
    } else {
        format!("{}, and put the other files there", renames.join(", "))
    };
    DataError::folder(folder, format!("lacks {}, each with or without .gz; {mend}", names.join(", ")))
}

/// How to give a file the name of its role.
fn rename(folder: &Path, file: &Path, role: FileRole) -> Option<String> {
    let found = file.file_name()?.to_string_lossy();
    let suffix = if found.to_ascii_lowercase().ends_with(".gz") { ".gz" } else { "" };
    let name = format!("{}{suffix}", role.usual_name());
    // Some archives unpack to a folder with the name of the file.
    let first = if folder.join(&name).is_dir() { format!("rename the folder {name}, then ") } else { String::new() };
    Some(format!("{first}rename {found} to {name}"))
}

/// The file that was probably meant to play a role.
fn nearly(files: &[PathBuf], role: FileRole) -> Option<&Path> {
    let spelled = |path: &Path| plain(&path.file_name().unwrap_or_default().to_string_lossy());
    let names = || role.names().iter().map(|name| plain(name));
    // Other separators and capitals: no doubt. Less of the name, more, or a typo: only with the content that belongs to
    // it.
    let same = |path: &&PathBuf| names().any(|name| name == spelled(path));
    let similar = |path: &&PathBuf| {
        let spelled = spelled(path);
        let alike = |name: String| {
            // `trainimages` of `trainimagesidx3ubyte`
            let stem = name.split("idx").next().unwrap_or_default();
            spelled.starts_with(stem) || strsim::damerau_levenshtein(&spelled, &name) <= MOST_TYPOS
        };
        names().any(alike) && file::magic(path).is_some_and(|magic| role.takes(magic))
    };
    let files = || files.iter().filter(|path| path.is_file());
    files().find(same).or_else(|| files().find(similar)).map(PathBuf::as_path)
}

/// A name without what people vary: capitals, separators, and the suffix `.gz`.
fn plain(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    name.strip_suffix(".gz").unwrap_or(&name).chars().filter(|letter| letter.is_alphanumeric()).collect()
}

/// Names a folder with a set one or two folders below, or one above.
fn elsewhere(folder: &Path) -> Option<String> {
    let holds_a_set = |folder: &PathBuf| {
        let files = entries(folder);
        FileRole::ALL.into_iter().all(|role| named(folder, role).is_some() || nearly(&files, role).is_some())
    };
    let below = folders(folder);
    let above = folder.parent().map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    let further = below.iter().flat_map(|folder| folders(folder));
    let places = below.iter().cloned().chain(above.map(Path::to_path_buf)).chain(further);
    let found = places.take(MOST_FOLDERS).find(holds_a_set)?;
    Some(format!("give {}, where four such files are", found.display()))
}

/// The folders in a folder, by name.
fn folders(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| path.is_dir()).collect()
}

/// What is in a folder, by name; nothing where it cannot be read, as this only helps a message.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::file::tests::{gzip, idx};
    use super::*;

    /// A folder inside another one, so that nothing of other programs lies beside it.
    fn place() -> (TempDir, PathBuf) {
        let outer = TempDir::new().unwrap();
        let folder = outer.path().join("set");
        fs::create_dir(&folder).unwrap();
        (outer, folder)
    }

    fn content(role: FileRole) -> Vec<u8> {
        if role.is_labels() { idx(&[1], &[0]) } else { idx(&[1, 1, 1], &[7]) }
    }

    /// Writes the four files under names made of the usual ones.
    fn fill(folder: &Path, name: impl Fn(&str) -> String) {
        fs::create_dir_all(folder).unwrap();
        for role in FileRole::ALL {
            fs::write(folder.join(name(role.usual_name())), content(role)).unwrap();
        }
    }

    /// What is said of a folder that lacks files.
    fn lacking(folder: &Path) -> String {
        match find_files(folder) {
            Ok(paths) => missing_files(folder, &paths).to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn names_that_are_nearly_right() {
        type Change = fn(&str) -> String;
        let changes: [Change; 8] = [
            |name| name.replace("-idx", ".idx"),
            |name| name.to_uppercase(),
            |name| name.replace('-', "_"),
            |name| name.replace('-', " "),
            |name| name.replace("-idx3-ubyte", "").replace("-idx1-ubyte", ""),
            |name| name.replace("ubyte", "ubtye"),
            |name| format!("{name} (1)"),
            |name| name.replace("t10k", "Test"),
        ];
        for change in changes {
            let (_outer, folder) = place();
            fill(&folder, change);
            let text = lacking(&folder);
            for role in FileRole::ALL {
                let name = role.usual_name();
                assert!(text.contains(&format!("rename {} to {name}", change(name))) || change(name) == name, "{text}");
            }
            assert!(!text.contains("put the"), "{text}");
        }
    }

    #[test]
    fn a_suffix_in_capitals_keeps_its_meaning() {
        let (_outer, folder) = place();
        fill(&folder, |name| format!("{name}.gz"));
        let path = folder.join("train-labels-idx1-ubyte");
        fs::remove_file(path.with_extension("gz")).unwrap();
        fs::write(path.with_extension("GZ"), gzip(&content(FileRole::TrainLabels))).unwrap();
        let text = lacking(&folder);
        assert!(
            text.ends_with("without .gz; rename train-labels-idx1-ubyte.GZ to train-labels-idx1-ubyte.gz"),
            "{text}"
        );
    }

    #[test]
    fn other_content_is_not_offered() {
        let (_outer, folder) = place();
        fill(&folder, |name| format!("{name}.gz"));
        fs::remove_file(folder.join("train-images-idx3-ubyte.gz")).unwrap();
        fs::write(folder.join("train-images.png"), b"\x89PNG\r\n").unwrap();
        fs::write(folder.join("train-images.sha256"), b"0123456789").unwrap();
        // Labels under a name of images.
        fs::write(folder.join("train-images"), content(FileRole::TrainLabels)).unwrap();
        let text = lacking(&folder);
        assert!(text.ends_with("lacks train-images-idx3-ubyte, each with or without .gz; put the missing files there"));
        fs::write(folder.join("train-images"), content(FileRole::TrainImages)).unwrap();
        fs::remove_file(folder.join("t10k-labels-idx1-ubyte.gz")).unwrap();
        let text = lacking(&folder);
        assert!(
            text.ends_with("; rename train-images to train-images-idx3-ubyte, and put the other files there"),
            "{text}"
        );
    }

    #[test]
    fn folders_with_the_names_of_files_are_moved_away_first() {
        let (_outer, folder) = place();
        fill(&folder, |name| name.replace("-idx", ".idx"));
        fs::create_dir(folder.join("train-images-idx3-ubyte")).unwrap();
        let text = lacking(&folder);
        let mend = "rename the folder train-images-idx3-ubyte, then rename train-images.idx3-ubyte to \
                    train-images-idx3-ubyte, rename";
        assert!(text.contains(mend), "{text}");
    }

    #[test]
    fn sets_that_lie_elsewhere() {
        for below in ["raw", "MNIST/raw"] {
            let (_outer, folder) = place();
            fs::write(folder.join("README"), "").unwrap();
            fs::create_dir(folder.join("a")).unwrap();
            fill(&folder.join(below), str::to_string);
            let mend = format!("; give {}, where four such files are", folder.join(below).display());
            assert!(lacking(&folder).ends_with(&mend), "{}", lacking(&folder));
            // From beside and from one of the files, the folder above is the right one.
            let file = folder.join(below).join("t10k-images-idx3-ubyte");
            assert!(lacking(&file).ends_with(&mend), "{}", lacking(&file));
            let empty = folder.join(below).join("empty");
            fs::create_dir(&empty).unwrap();
            assert!(lacking(&empty).ends_with(&mend), "{}", lacking(&empty));
        }
        // Three of the files are no set.
        let (_outer, folder) = place();
        fill(&folder.join("raw"), str::to_string);
        fs::remove_file(folder.join("raw/t10k-images-idx3-ubyte")).unwrap();
        assert!(lacking(&folder).ends_with("put the missing files there"), "{}", lacking(&folder));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_need_not_be_text() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let (_outer, folder) = place();
        let folder = folder.join(OsStr::from_bytes(b"\xff\xfe"));
        fill(&folder, |name| name.to_uppercase());
        fs::write(folder.join(OsStr::from_bytes(b"train-images-idx3-ubyte\xff")), b"").unwrap();
        assert!(lacking(&folder).contains("rename TRAIN-IMAGES-IDX3-UBYTE to"), "{}", lacking(&folder));
    }
}
