//! What must not outlive this process even where nothing is dropped, as with a cluster in a `static` of a test.
//!
//! `exit` of the C library calls back; a process that is killed gets no such chance, so its children's parting
//! signal (see [`super::process`]) and the sweep of the next start (see [`super::scratch`]) stand in.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError, Weak};
use std::time::Duration;

use super::process::Shared;

static PROCESSES: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());
static DIRECTORIES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

pub(super) fn register_process(process: &std::sync::Arc<Shared>) {
    install();
    let mut processes = PROCESSES.lock().unwrap_or_else(PoisonError::into_inner);
    processes.retain(|process| process.strong_count() > 0);
    processes.push(std::sync::Arc::downgrade(process));
}

pub(super) fn register_directory(directory: &Path) {
    install();
    DIRECTORIES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(directory.to_owned());
}

pub(super) fn forget_directory(directory: &Path) {
    DIRECTORIES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|known| known != directory);
}

fn install() {
    static INSTALL: Once = Once::new();
    // SAFETY: the function does not unwind and stays valid.
    INSTALL.call_once(|| unsafe {
        libc::atexit(clean_up);
    });
}

extern "C" fn clean_up() {
    // A panic must not cross into C; at this point nobody could hear of it anyway.
    let _ = std::panic::catch_unwind(|| {
        let processes: Vec<_> = match PROCESSES.try_lock() {
            Ok(processes) => processes.iter().filter_map(Weak::upgrade).collect(),
            Err(_) => Vec::new(),
        };
        for process in &processes {
            process.part();
        }
        for process in &processes {
            if process
                .ended_within_blocking(Duration::from_secs(5))
                .is_none()
            {
                process.kill_tree();
                process.ended_within_blocking(Duration::from_secs(5));
            }
        }
        if let Ok(directories) = DIRECTORIES.try_lock() {
            for directory in directories.iter() {
                let _ = std::fs::remove_dir_all(directory);
            }
        }
    });
}
