//! Servers that an earlier run left behind: found by the data directory they work in, and ended.
//!
//! `postmaster.pid` alone proves nothing, since its number may belong to another process by now. A server and all its
//! backends have the data directory as working directory, which the kernel reports.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Error;
use super::process::send;

/// How long each stronger signal is given before the next.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends every server process that works in `data_directory` and removes the lock file that the last one left.
///
/// The caller holds the lock of the directory above, so none of them can be wanted.
pub(super) async fn settle(data_directory: &Path) -> Result<(), Error> {
    let Ok(data_directory) = data_directory.canonicalize() else {
        return Ok(()); // Nothing there yet.
    };
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGKILL] {
        let running = working_in(&data_directory);
        if running.is_empty() {
            break;
        }
        let postmaster = recorded_postmaster(&data_directory).filter(|pid| running.contains(pid));
        match postmaster {
            Some(pid) if signal != libc::SIGKILL => send(pid, signal),
            // Backends without a postmaster can only be killed.
            _ => running.iter().for_each(|pid| send(*pid, libc::SIGKILL)),
        }
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(2);
        while Instant::now() < deadline && !working_in(&data_directory).is_empty() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
    if let Some(pid) = working_in(&data_directory).first() {
        return Err(Error::Orphan {
            pid: *pid,
            directory: data_directory,
        });
    }
    // The server itself would take a process that got the recorded number for a running server.
    remove_leftovers(&data_directory);
    Ok(())
}

/// Kills every server process that works beneath `directory`, without waiting.
pub(super) fn end_beneath(directory: &Path) {
    for (pid, working) in servers() {
        if working.starts_with(directory) {
            send(pid, libc::SIGKILL);
        }
    }
}

/// Removes what a server that did not stop by itself leaves in the system: its lock file and the small System V segment
/// by which PostgreSQL detects backends that still run.
pub(super) fn remove_leftovers(data_directory: &Path) {
    let path = data_directory.join("postmaster.pid");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return;
    };
    let segment = text
        .lines()
        .nth(6)
        .and_then(|line| line.split_whitespace().nth(1)?.parse::<libc::c_int>().ok());
    let postmaster = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse::<libc::pid_t>().ok());
    if let (Some(segment), Some(postmaster)) = (segment, postmaster) {
        // SAFETY: `state` is plain data that shmctl fills in.
        unsafe {
            let mut state: libc::shmid_ds = std::mem::zeroed();
            let unused = libc::shmctl(segment, libc::IPC_STAT, &mut state) == 0
                && state.shm_nattch == 0
                && state.shm_cpid == postmaster;
            if unused {
                libc::shmctl(segment, libc::IPC_RMID, std::ptr::null_mut());
            }
        }
    }
    let _ = std::fs::remove_file(path);
}

/// The number in `postmaster.pid`.
fn recorded_postmaster(data_directory: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(data_directory.join("postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// The server processes whose working directory this is.
fn working_in(data_directory: &Path) -> Vec<u32> {
    servers()
        .into_iter()
        .filter(|(_, working)| working == data_directory)
        .map(|(pid, _)| pid)
        .collect()
}

/// All processes called `postgres`, with their working directories; zombies have none.
#[cfg(target_os = "linux")]
fn servers() -> Vec<(u32, PathBuf)> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            let working = std::fs::read_link(entry.path().join("cwd")).ok()?;
            (name.trim_end() == "postgres").then_some((pid, working))
        })
        .collect()
}

/// Postmasters only, by the directory on their command line: their backends end by themselves soon after them.
#[cfg(not(target_os = "linux"))]
fn servers() -> Vec<(u32, PathBuf)> {
    let Ok(output) = std::process::Command::new("ps")
        .args(["-A", "-ww", "-o", "pid=", "-o", "command="])
        .output()
    else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let (pid, command) = line.trim_start().split_once(' ')?;
            let (program, arguments) = command.split_once(" -D ")?;
            let directory = arguments.split(" -c ").next()?;
            program
                .ends_with("postgres")
                .then_some((pid.parse().ok()?, PathBuf::from(directory)))
        })
        .collect()
}
