//! Where the servers of a directory really live.
//!
//! Servers that root starts run as another user, who cannot enter a directory beneath, say, `/root`. Then the servers'
//! files go to a folder of the system, and the directory holds a link `servers` to it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
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

/// Removes the servers of `directory`, wherever they are: all at once under another name, then file by file.
///
/// Interrupted there, [`finish_removal`] does the rest.
pub(super) fn remove_servers(directory: &Path) -> Result<(), Error> {
    finish_removal(directory)?;
    let inside = directory.join("servers");
    let real = if inside.is_symlink() {
        outside(directory)
    } else {
        inside
    };
    match std::fs::rename(&real, removing(&real)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io(format!("rename {}", real.display()))(error))
        }
        _ => finish_removal(directory),
    }
}

/// Removes what an interrupted removal left.
pub(super) fn finish_removal(directory: &Path) -> Result<(), Error> {
    for removing in [
        removing(&directory.join("servers")),
        removing(&outside(directory)),
    ] {
        match std::fs::remove_dir_all(&removing) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io(format!("remove {}", removing.display()))(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn removing(servers: &Path) -> PathBuf {
    servers.with_extension("removing")
}

/// One folder per directory, by a hash of its path.
fn outside(directory: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    directory.hash(&mut hasher);
    Path::new(SYSTEM_FOLDER).join(format!("{:016x}", hasher.finish()))
}
