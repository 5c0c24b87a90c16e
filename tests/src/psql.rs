//! PostgreSQL's own client.

use std::net::SocketAddr;
use std::process::Command;

use router::local::Binaries;

/// Runs one statement with psql and returns what it printed, or its error.
pub fn psql(
    address: SocketAddr,
    password: &str,
    conninfo: &str,
    sql: &str,
) -> Result<String, String> {
    let program = Binaries::find(None)
        .and_then(|binaries| binaries.program("psql"))
        .expect("psql");
    let output = Command::new(program)
        .args(["-X", "-A", "-t", "-w", "-c", sql])
        .arg(format!(
            "host={} port={} dbname=postgres connect_timeout=30 {conninfo}",
            address.ip(),
            address.port()
        ))
        .env("PGPASSWORD", password)
        .env("LC_ALL", "C")
        // No files of whoever runs the tests.
        .env("HOME", "/nonexistent")
        .env_remove("PGSSLMODE")
        .output()
        .expect("psql starts");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
