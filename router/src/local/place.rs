//! Where the servers of a directory really live.
//!
//! Servers that root starts run as another user, who cannot enter a directory beneath, say, `/root`. Then the servers'
//! files go to a folder of the system, and the directory holds a link `servers` to it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{Account, Error};

const SYSTEM_FOLDER: &str = "/var/lib/pgweave";

/// The folder for the servers of `directory`, which exists; the folder may not exist yet.
pub(super) fn of_servers(directory: &Path, account: Option<&Account>) -> Result<PathBuf, Error> {
    let inside = directory.join("servers");
    if account.is_none_or(|account| account.reaches(directory)) {
        return Ok(inside);
    }
    let outside = outside(directory);
    std::fs::create_dir_all(&outside)
        .map_err(Error::io(format!("create {}", outside.display())))?;
    if std::fs::read_link(&inside).ok().as_ref() != Some(&outside) {
        let _ = std::fs::remove_file(&inside);
        symlink(&outside, &inside).map_err(Error::io(format!("link {}", inside.display())))?;
    }
    Ok(outside)
}

/// Removes the servers of `directory`, wherever they are.
pub(super) fn remove_servers(directory: &Path) -> Result<(), Error> {
    let inside = directory.join("servers");
    let real = if inside.is_symlink() {
        outside(directory)
    } else {
        inside.clone()
    };
    match std::fs::remove_dir_all(&real) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io(format!("remove {}", real.display()))(error));
        }
        _ => {}
    }
    let _ = std::fs::remove_file(inside);
    Ok(())
}

/// One folder per directory, by a hash of its path.
fn outside(directory: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    directory.hash(&mut hasher);
    Path::new(SYSTEM_FOLDER).join(format!("{:016x}", hasher.finish()))
}
