use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::FileError;

/// Writes `content` to `path` so that a reader, or a crash at any moment, meets the old file or the new one, whole.
///
/// The content goes to a temporary file in the same folder, is synced to the disk, and takes the place of the old one, whose
/// permissions it keeps. Where that fails, the temporary file is removed and `path` is as it was. Links are followed; what is
/// no ordinary file (a device, a pipe) is written through, not replaced.
///
/// # Errors
/// If `path` is a folder, or the system refuses.
pub fn write(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let written = match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::Error::from(ErrorKind::IsADirectory)),
        Ok(found) if found.is_file() => {
            fs::canonicalize(path).and_then(|target| replace(&target, content, Some(found.permissions())))
        }
        Ok(_) => OpenOptions::new().write(true).open(path).and_then(|mut device| device.write_all(content)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => {
            target_of_links(path).and_then(|target| replace(&target, content, None))
        }
        Err(cause) => Err(cause),
    };
    written.map_err(|cause| FileError::new(path, "writing", cause))
}

/// Links that are followed before a circle is assumed.
const MOST_LINKS: usize = 40;

/// Where a link leads whose target does not exist yet; other paths lead to themselves.
pub(super) fn target_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        if !fs::symlink_metadata(&target).is_ok_and(|found| found.is_symlink()) {
            return Ok(target);
        }
        target = folder_of(&target).join(fs::read_link(&target)?);
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "its links lead in a circle"))
}

/// The folder that holds a path.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Puts a new file in the place of `target`.
fn replace(target: &Path, content: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
    if target.file_name().is_none() {
        return Err(io::Error::from(ErrorKind::IsADirectory));
    }
    let folder = folder_of(target);
    let mut file = new_file(folder)?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(target).map_err(|failure| failure.error)?;
    // The renaming must reach the disk too. Some file systems cannot sync a folder, and the file is whole already.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// An empty file with a name of its own, which is short whatever the final name is; it goes away unless it is persisted.
fn new_file(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(BEGIN).suffix(PARTIAL);
    // Temporary files are for their owner alone; this one becomes an ordinary file, subject to the umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // Without the temporary name, which means nothing to anybody.
    builder.tempfile_in(folder).map_err(|cause| io::Error::from(cause.kind()))
}

/// How temporary names begin and end.
const BEGIN: &str = ".hardgrad-";
const PARTIAL: &str = ".partial";

/// Removes what killed processes left of files that they were writing into `folder`, which this process must hold.
pub(crate) fn remove_partial_files(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(BEGIN) && name.ends_with(PARTIAL)) {
            // One that stays is only in the way of tidiness.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::read;

    fn count(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, b"old").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(read(&path).unwrap(), b"new");
        assert_eq!(count(folder.path()), 1);
    }

    #[test]
    fn a_failure_names_the_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("there");
        fs::create_dir(&path).unwrap();
        let error = write(&path, b"content").unwrap_err();
        assert!(error.to_string().contains("there"), "{error}");
        assert_eq!(count(folder.path()), 1);
        let missing = write(&folder.path().join("no/such"), b"content").unwrap_err();
        assert!(missing.to_string().contains("check the path"), "{missing}");
    }

    #[test]
    fn names_as_long_as_the_system_takes_are_written() {
        let folder = tempfile::tempdir().unwrap();
        for length in [240, 241, 255] {
            let path = folder.path().join("n".repeat(length));
            write(&path, b"content").unwrap();
            assert_eq!(read(&path).unwrap(), b"content");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_stay() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("inner")).unwrap();
        write(&at("inner/target"), b"old").unwrap();
        symlink("inner/target", at("link")).unwrap();
        symlink("link", at("link to link")).unwrap();
        symlink("inner/new", at("to nothing yet")).unwrap();
        symlink("circle", at("circle")).unwrap();
        write(&at("link to link"), b"through").unwrap();
        write(&at("to nothing yet"), b"made").unwrap();
        assert_eq!(read(&at("inner/target")).unwrap(), b"through");
        assert_eq!(read(&at("inner/new")).unwrap(), b"made");
        assert!(["link", "link to link", "to nothing yet"].iter().all(|name| at(name).is_symlink()));
        assert!(write(&at("circle"), b"").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_written_through_and_stay() {
        use std::os::unix::fs::FileTypeExt;
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        write(&pipe, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        write(Path::new("/dev/null"), b"gone").unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }

    #[cfg(unix)]
    #[test]
    fn permissions_stay_and_new_files_are_for_everybody_whom_the_umask_allows() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write(&ours, b"").unwrap();
        File::create(&plain).unwrap();
        assert_eq!(mode(&ours), mode(&plain));
        fs::set_permissions(&ours, Permissions::from_mode(0o600)).unwrap();
        write(&ours, b"secret").unwrap();
        assert_eq!(mode(&ours), 0o600);
    }
}
