use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use same_file::Handle;

use super::FileError;

/// A folder that this process works in: another one that wants it is refused until this is dropped, or the process ends.
///
/// The lock is a file of its own, so that nothing that is written into the folder can replace it. File systems without locks have
/// none: there, only numbered folders are safe, because nobody can make one twice.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    /// Whether the lock holds; on a file system without locks the file may be another's, too.
    holds: bool,
    /// The folder, where it was made for this claim: it goes again if nothing came into it.
    made: Option<PathBuf>,
    /// Closing it lets go of the lock.
    _lock: File,
}

/// How often a lock is taken that was removed meanwhile.
const MOST_TRIES: usize = 1000;

impl Claim {
    /// Name of the lock in a folder.
    pub(crate) const NAME: &str = ".hardgrad.lock";

    /// Holds a folder, which is made if it is not there.
    ///
    /// # Errors
    /// If another process holds it, or the system refuses.
    pub fn folder(folder: &Path) -> Result<Self, FileError> {
        loop {
            let made = (!folder.exists()).then(|| folder.to_path_buf());
            super::create_folder(folder)?;
            match Self::existing(folder) {
                // Whoever made it took it away again.
                Err(_) if !folder.exists() => continue,
                claim => {
                    let mut claim = claim?;
                    claim.made = made;
                    return Ok(claim);
                }
            }
        }
    }

    /// Holds a folder that is there.
    pub(crate) fn existing(folder: &Path) -> Result<Self, FileError> {
        let path = folder.join(Self::NAME);
        let fail = |cause| FileError::new(&path, "locking", cause);
        for _ in 0..MOST_TRIES {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(fail)?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    let problem =
                        "another hardgrad is at work in this folder; wait for it, stop it, or choose another one";
                    return Err(FileError::refused(folder, problem));
                }
                // On file systems without locks, nothing but the making of folders keeps two processes apart.
                Err(TryLockError::Error(cause)) if cause.kind() == ErrorKind::Unsupported => {
                    return Ok(Self { path, holds: false, made: None, _lock: file });
                }
                Err(TryLockError::Error(cause)) => return Err(fail(cause)),
                Ok(()) => {}
            }
            // The one before may have removed the file between our opening and our locking it.
            let ours = file.try_clone().and_then(Handle::from_file).map_err(fail)?;
            if Handle::from_path(&path).is_ok_and(|there| there == ours) {
                return Ok(Self { path, holds: true, made: None, _lock: file });
            }
        }
        Err(FileError::refused(
            folder,
            "its lock is never the file that was just made; choose a place on another file system",
        ))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // While the lock is held. One that stays, after a kill, is taken over by the next process.
        if self.holds {
            let _ = fs::remove_file(&self.path);
        }
        if let Some(folder) = &self.made {
            // Fails where there is something in it.
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_once_and_left_clean() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        let claim = Claim::folder(&inner).unwrap();
        let error = Claim::folder(&inner).unwrap_err().to_string();
        assert!(error.contains("another hardgrad is at work"), "{error}");
        drop(claim);
        // Nothing came into it.
        assert!(!inner.exists());
        let claim = Claim::folder(&inner).unwrap();
        fs::write(inner.join("result"), "").unwrap();
        drop(claim);
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1);
    }

    #[test]
    fn one_of_many_at_once_gets_it_and_all_in_turn() {
        let folder = tempfile::tempdir().unwrap();
        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut taken = 0;
                    while taken < 50 {
                        let Ok(_claim) = Claim::folder(folder.path()) else { continue };
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        taken += 1;
                    }
                });
            }
        });
    }
}
