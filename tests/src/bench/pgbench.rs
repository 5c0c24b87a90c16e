//! Runs pgbench once and reads what it says.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::endpoint::Endpoint;
use crate::process::{Failure, program};

/// One run of pgbench.
#[derive(Debug, Clone)]
pub struct Run {
    /// What it is called in errors.
    pub name: String,
    pub endpoint: Endpoint,
    pub script: PathBuf,
    /// pgbench's word: `simple` or `prepared`.
    pub protocol: &'static str,
    pub clients: u32,
    pub length: Length,
    /// What the script finds set.
    pub variables: Vec<(&'static str, u64)>,
}

/// How much pgbench does.
#[derive(Debug, Clone, Copy)]
pub enum Length {
    Seconds(u32),
    /// Of each client.
    Transactions(u32),
}

/// What one run of pgbench gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    pub transactions: u64,
    pub per_second: f64,
    /// Mean time of one transaction, in milliseconds.
    pub latency_ms: f64,
}

impl Run {
    /// Runs the script. Errors if any transaction failed: a proxy that drops some is not faster.
    pub async fn outcome(&self) -> Result<Outcome, Failure> {
        let endpoint = &self.endpoint;
        let length = match self.length {
            Length::Seconds(seconds) => ["--time".to_owned(), seconds.to_string()],
            Length::Transactions(count) => ["--transactions".to_owned(), count.to_string()],
        };
        let variables = self.variables.iter();
        let output = Command::new(program("pgbench")?)
            .args(["--no-vacuum", "--protocol", self.protocol])
            .args(["--client", &self.clients.to_string()])
            .args(["--jobs", &self.clients.min(2).to_string()])
            .args(length)
            .args(variables.map(|(name, value)| format!("--define={name}={value}")))
            .arg("--file")
            .arg(&self.script)
            .args(["--host", &endpoint.host])
            .args(["--port", &endpoint.port.to_string()])
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
                "pgbench failed on {endpoint} ({}):\n{said}{complained}",
                self.name
            ))),
        }
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
