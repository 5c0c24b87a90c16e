//! One process per directory: a file lock that the system releases however the process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::Error;

/// Held for as long as the value lives.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Locks `directory` by its file `lock`, which names the process that holds it.
    pub fn take(directory: &Path) -> Result<DirectoryLock, Error> {
        let path = directory.join("lock");
        let action = format!("lock {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io(action.clone()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                let _ = file.read_to_string(&mut owner);
                let owner = match owner.trim() {
                    "" => "(unknown)".to_owned(),
                    pid => pid.to_owned(),
                };
                return Err(Error::DirectoryInUse {
                    directory: directory.to_owned(),
                    owner,
                });
            }
            Err(TryLockError::Error(error)) => return Err(Error::io(action)(error)),
        }
        // The number is for people: the lock itself does not depend on it.
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(Error::io(action))?;
        Ok(DirectoryLock { _file: file })
    }
}
