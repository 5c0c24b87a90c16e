//! How a server is made and run.

use std::path::PathBuf;
use std::time::Duration;

use super::Settings;

/// How a server is made and run.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Added to what every server gets, and stronger.
    pub settings: Settings,
    /// Whether the data survives a crash of the machine (`fsync`). Data survives a crash of the server in any case.
    pub durable: bool,
    /// Where data directories made by `initdb` are kept to be copied, which is faster.
    pub template: Option<PathBuf>,
    /// The first port to try, counting up; without it the system chooses. A server that ran before keeps its port.
    pub first_port: Option<u16>,
    /// Lines of `pg_hba.conf` in place of those that trust everyone.
    pub host_rules: Option<String>,
    /// How long a server may take until it accepts connections.
    pub ready_within: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            settings: Settings::default(),
            durable: true,
            template: None,
            first_port: None,
            host_rules: None,
            ready_within: Duration::from_secs(120),
        }
    }
}
