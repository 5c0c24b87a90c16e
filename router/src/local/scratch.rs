//! A temporary directory for servers, removed when dropped or when the process exits.
//!
//! A process that is killed leaves its directory. The lock in it is then free, so the next [`Scratch::create`] of the
//! same user removes it.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{DirectoryLock, Error, exit};

const PREFIX: &str = "pgweave-scratch-";

/// An empty directory beneath the system's temporary directory, ours alone.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: DirectoryLock,
}

impl Scratch {
    /// Makes a directory that servers of another account can pass through, and removes those of processes that died.
    pub fn create() -> Result<Scratch, Error> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let parent = std::env::temp_dir();
        let parent = parent
            .canonicalize()
            .map_err(Error::io(format!("open {}", parent.display())))?;
        sweep(&parent);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o711).create(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                result => result.map_err(Error::io(format!("create {}", path.display())))?,
            }
            // Another process may sweep the directory away before the lock is taken.
            match DirectoryLock::take(&path) {
                Ok(lock) if path.is_dir() => {
                    exit::register_directory(&path);
                    return Ok(Scratch { path, _lock: lock });
                }
                Ok(_) | Err(Error::DirectoryInUse { .. }) => continue,
                Err(error) => return Err(error),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is swept by a later start.
        let _ = std::fs::remove_dir_all(&self.path);
        exit::forget_directory(&self.path);
    }
}

/// Removes what killed processes left. Servers of theirs have been told to end by the system.
fn sweep(parent: &Path) {
    // SAFETY: geteuid has no preconditions.
    let user = unsafe { libc::geteuid() };
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX))
            && path
                .symlink_metadata()
                .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == user);
        if !ours {
            continue;
        }
        // Without a lock file its owner is just making it.
        let Ok(lock) = File::open(path.join("lock")) else {
            continue;
        };
        match lock.try_lock() {
            Ok(()) => {
                super::orphan::end_beneath(&path);
                let _ = std::fs::remove_dir_all(&path);
            }
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}
