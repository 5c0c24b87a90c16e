//! What the crate `testcontainers` does not do: networks that are cut, kills, commands within containers.

use std::process::Command;
use std::time::{Duration, Instant};

/// Longer than anything a test waits for takes: a connection of a vanished router that recovery ends is the longest.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `docker` and returns what it prints.
#[track_caller]
pub fn docker(arguments: &[&str]) -> String {
    match try_docker(arguments) {
        Ok(output) => output,
        Err(error) => panic!("docker {}: {error}", arguments.join(" ")),
    }
}

/// The same where it may fail.
pub fn try_docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker")
        .args(arguments)
        .output()
        .map_err(|error| {
            format!("cannot be run ({error}); ./dev containers installs and starts it")
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Waits until something is so. What is waited for shows in no way but by asking again.
#[track_caller]
pub fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
