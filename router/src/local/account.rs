//! The operating system account that servers run as: PostgreSQL refuses to run as root.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::Error;

/// An unprivileged account that a process of root starts servers as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// The account for servers: `None` if this process is not root, since they then run as we do.
    pub fn for_servers() -> Result<Option<Account>, Error> {
        // SAFETY: geteuid has no preconditions.
        if unsafe { libc::geteuid() } != 0 {
            return Ok(None);
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(Account::look_up)
            .map(Some)
            .ok_or(Error::NoUnprivilegedAccount)
    }

    /// Makes `command` run as this account, without root's supplementary groups.
    pub fn run_as(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives one file or directory to this account. A symbolic link is followed.
    pub fn own(&self, path: &Path) -> Result<(), Error> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(Error::io(format!(
            "give {} to user {}",
            path.display(),
            self.name
        )))
    }

    /// Whether this account may pass through `directory` and all that is above it, by the permission bits.
    pub fn reaches(&self, directory: &Path) -> bool {
        directory
            .ancestors()
            .filter(|part| !part.as_os_str().is_empty())
            .all(|part| {
                part.metadata().is_ok_and(|metadata| {
                    let execute = if metadata.uid() == self.uid {
                        0o100
                    } else if metadata.gid() == self.gid {
                        0o010
                    } else {
                        0o001
                    };
                    metadata.mode() & execute != 0
                })
            })
    }

    fn look_up(name: &str) -> Option<Account> {
        let c_name = CString::new(name).ok()?;
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        let mut buffer = vec![0 as libc::c_char; 16 * 1024];
        // SAFETY: all pointers are valid for the call, and the buffer's length is its own.
        let status = unsafe {
            libc::getpwnam_r(
                c_name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &mut found,
            )
        };
        if status != 0 || found.is_null() {
            return None;
        }
        // SAFETY: a result that is not null says that the entry was filled in.
        let entry = unsafe { entry.assume_init() };
        Some(Account {
            name: name.to_owned(),
            uid: entry.pw_uid,
            gid: entry.pw_gid,
        })
    }
}
