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

/// Ends every process of PostgreSQL that works in `root` or beneath, and removes the lock files that servers left there.
///
/// The caller holds the lock of the directory above, so none of them can be wanted.
pub(super) async fn settle(root: &Path) -> Result<(), Error> {
    let Ok(root) = root.canonicalize() else {
        return Ok(()); // Nothing there yet.
    };
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGKILL] {
        let running = working_beneath(&root);
        if running.is_empty() {
            break;
        }
        for (pid, working) in &running {
            match recorded_postmaster(working).filter(|postmaster| is_there(*postmaster, &running))
            {
                Some(postmaster) if signal != libc::SIGKILL => {
                    // Its backends end with it.
                    if postmaster == *pid {
                        send(*pid, signal);
                    }
                }
                // Backends without a postmaster, and programs that make a data directory, can only be killed.
                _ => send(*pid, libc::SIGKILL),
            }
        }
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(2);
        while Instant::now() < deadline && !working_beneath(&root).is_empty() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
    if let Some((pid, working)) = working_beneath(&root).pop() {
        return Err(Error::Orphan {
            pid,
            directory: working,
        });
    }
    // The server itself would take a process that got the recorded number for a running server.
    remove_leftovers_beneath(&root, 3);
    Ok(())
}

fn is_there(pid: u32, running: &[(u32, PathBuf)]) -> bool {
    running.iter().any(|(other, _)| *other == pid)
}

fn remove_leftovers_beneath(directory: &Path, depth: usize) {
    if directory.join("postmaster.pid").exists() {
        remove_leftovers(directory);
    } else if depth > 0 {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_leftovers_beneath(&entry.path(), depth - 1);
            }
        }
    }
}

/// Kills every process of PostgreSQL that works beneath `directory`, without waiting.
pub(super) fn end_beneath(directory: &Path) {
    for (pid, _) in working_beneath(directory) {
        send(pid, libc::SIGKILL);
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
    // A server that runs for `initdb`, without a postmaster, notes its number as negative.
    let server = text.lines().next().and_then(|line| {
        line.trim()
            .trim_start_matches('-')
            .parse::<libc::pid_t>()
            .ok()
    });
    if let (Some(segment), Some(server)) = (segment, server) {
        // SAFETY: `state` is plain data that shmctl fills in.
        unsafe {
            let mut state: libc::shmid_ds = std::mem::zeroed();
            let unused = libc::shmctl(segment, libc::IPC_STAT, &mut state) == 0
                && state.shm_nattch == 0
                && state.shm_cpid == server;
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

/// The processes of PostgreSQL with a working directory in `root` or beneath.
fn working_beneath(root: &Path) -> Vec<(u32, PathBuf)> {
    let mut found = processes();
    found.retain(|(_, working)| working.starts_with(root));
    found
}

/// All servers and programs that make data directories, with their working directories; zombies have none.
#[cfg(target_os = "linux")]
fn processes() -> Vec<(u32, PathBuf)> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            let working = std::fs::read_link(entry.path().join("cwd")).ok()?;
            matches!(name.trim_end(), "postgres" | "initdb" | "pg_basebackup")
                .then_some((pid, working))
        })
        .collect()
}

/// Postmasters only, by the directory on their command line: their backends end by themselves soon after them.
#[cfg(not(target_os = "linux"))]
fn processes() -> Vec<(u32, PathBuf)> {
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
