//! Runs pgbench once and reads what it says.

use std::fmt;
use std::process::Stdio;

use ::tests::endpoint::Endpoint;
use ::tests::process::{Failure, program};
use tokio::process::Command;

use crate::workload::Workload;

/// What one run of pgbench gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    pub transactions: u64,
    pub per_second: f64,
    /// Mean time of one transaction, in milliseconds.
    pub latency_ms: f64,
}

/// Runs a workload for some time. Errors if any transaction failed: a proxy that drops some is not faster.
pub async fn run(
    endpoint: &Endpoint,
    workload: &Workload,
    scale: u32,
    seconds: u32,
) -> Result<Outcome, Failure> {
    let clients = workload.clients.to_string();
    let threads = workload.clients.min(2).to_string();
    let output = Command::new(program("pgbench")?)
        .args(["--no-vacuum", "--protocol", workload.protocol])
        .args(["--client", &clients, "--jobs", &threads])
        .args(["--time", &seconds.to_string()])
        .args(["--define", &format!("scale={scale}")])
        .arg("--file")
        .arg(workload.script())
        .args([
            "--host",
            &endpoint.host,
            "--port",
            &endpoint.port.to_string(),
        ])
        .args(["--username", &endpoint.user])
        .arg(&endpoint.database)
        .env_remove("PGOPTIONS")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| Failure(format!("cannot run pgbench: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    match read(&said) {
        Some((outcome, 0)) if output.status.success() => Ok(outcome),
        _ => Err(Failure(format!(
            "pgbench failed on {endpoint} ({workload}):\n{said}{complained}"
        ))),
    }
}

/// The outcome and how many transactions failed.
fn read(said: &str) -> Option<(Outcome, u64)> {
    let number = |prefix: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(prefix))?;
        line.trim().split([' ', '/']).next()
    };
    let failed = match number("number of failed transactions:") {
        Some(failed) => failed.parse().ok()?,
        None => 0,
    };
    let outcome = Outcome {
        transactions: number("number of transactions actually processed:")?
            .parse()
            .ok()?,
        per_second: number("tps =")?.parse().ok()?,
        latency_ms: number("latency average =")?.parse().ok()?,
    };
    Some((outcome, failed))
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8.0} a second  {:>7.3} ms",
            self.per_second, self.latency_ms
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgbench_is_understood() {
        let said = "pgbench (15.18)\ntransaction type: select.sql\nnumber of clients: 32\n\
             number of transactions actually processed: 61284\n\
             number of failed transactions: 3 (0.005%)\nlatency average = 0.522 ms\n\
             initial connection time = 20.112 ms\ntps = 61302.221 (without initial connection time)\n";
        let outcome = Outcome {
            transactions: 61284,
            per_second: 61302.221,
            latency_ms: 0.522,
        };
        assert_eq!(read(said), Some((outcome, 3)));
        assert_eq!(read("pgbench: error: connection failed"), None);
    }
}
