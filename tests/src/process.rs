//! Programs that the harness starts: found, limited to its own lifetime, ended in good order.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use router::local::{Binaries, Process};

/// Why the harness cannot go on, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<router::local::Error> for Failure {
    fn from(error: router::local::Error) -> Failure {
        Failure(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure(error.to_string())
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        match error.as_db_error() {
            Some(database) => Failure(database.to_string()),
            None => Failure(error.to_string()),
        }
    }
}

/// A program that runs until it is stopped or dropped, or this process ends in whatever way.
#[derive(Debug)]
pub struct Child {
    process: Process,
    log: PathBuf,
}

impl Child {
    /// Starts it with its output in the file `log`.
    pub fn spawn(mut command: Command, log: &Path) -> Result<Child, Failure> {
        let failed = |error: std::io::Error| {
            Failure(format!(
                "cannot run {}: {error}",
                command.get_program().to_string_lossy()
            ))
        };
        let output = File::create(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdout(output).stderr(errors);
        let process = Process::spawn(command, libc::SIGKILL)
            .map_err(|error| Failure(format!("cannot run {name}: {error}")))?;
        Ok(Child {
            process,
            log: log.to_owned(),
        })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn is_running(&self) -> bool {
        self.process.status().is_none()
    }

    pub fn signal(&self, signal: libc::c_int) {
        self.process.signal(signal);
    }

    /// Waits for its end, whatever the reason.
    pub async fn ended(&self) -> std::process::ExitStatus {
        self.process.ended().await
    }

    /// Asks it to end and waits; kills it if that takes long.
    pub async fn stop(self) {
        self.process.signal(libc::SIGTERM);
        let patience = Duration::from_secs(10);
        if self.process.ended_within(patience).await.is_none() {
            self.process.signal(libc::SIGKILL);
            self.process.ended().await;
        }
    }

    /// What it printed.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Tries `attempt` until it gives a value, as long as the program runs and the time is not over.
    pub async fn wait_for<T>(
        &self,
        limit: Duration,
        mut attempt: impl AsyncFnMut() -> Option<T>,
    ) -> Result<T, Failure> {
        let started = tokio::time::Instant::now();
        // The programs report readiness in no way that could be awaited without reading their output.
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            if let Some(value) = attempt().await {
                return Ok(value);
            }
            if !self.is_running() || started.elapsed() > limit {
                return Err(Failure(format!(
                    "{} is not ready after {:?}:\n{}",
                    self.log.display(),
                    started.elapsed(),
                    self.output()
                )));
            }
            tick.tick().await;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.process.signal(libc::SIGKILL);
        self.process.ended_within_blocking(Duration::from_secs(5));
    }
}

/// A program of PostgreSQL: next to the server's, or wherever PATH has it.
pub fn program(name: &str) -> Result<PathBuf, Failure> {
    let path = Binaries::find(None)?.directory().join(name);
    if path.is_file() {
        return Ok(path);
    }
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| Failure(format!("{name} is not installed")))
}

/// Lets this process and those it starts open as many files as the system allows.
pub fn raise_file_limit() {
    // SAFETY: both calls get a valid pointer to plain data.
    unsafe {
        let mut limit = std::mem::zeroed::<libc::rlimit>();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// Where cargo puts the programs of this build: `target/debug` or its like.
pub fn target_directory() -> PathBuf {
    let mut directory = std::env::current_exe().unwrap_or_default();
    directory.pop();
    if directory.ends_with("deps") {
        directory.pop();
    }
    directory
}
