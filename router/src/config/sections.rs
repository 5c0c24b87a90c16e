//! The sections whose values need no more than their own text to be understood. Each default is here and nowhere else.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::value::milliseconds;

/// `[listen]`: where clients connect, and how much they may take.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    pub address: IpAddr,
    /// 0 takes any free port.
    pub port: u16,
    /// Threads that serve clients; 0 is one per core, see [`Listen::worker_count`].
    pub workers: usize,
    pub max_clients: usize,
    /// Connections that have not proven yet who they are; not counted in `max_clients`.
    pub max_unauthenticated: usize,
    /// Connections that wait to be accepted.
    pub backlog: u32,
    /// From connection to the end of authentication.
    #[serde(rename = "startup_timeout_ms", deserialize_with = "milliseconds")]
    pub startup_timeout: Duration,
    /// Of one message from a client, other than one of COPY data, which is passed on in pieces.
    pub max_message_bytes: usize,
    /// Of all clients' buffers together.
    pub max_buffered_bytes: usize,
}

impl Default for Listen {
    fn default() -> Self {
        Listen {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 6432,
            workers: 0,
            max_clients: 10_000,
            max_unauthenticated: 1_000,
            backlog: 1_024,
            startup_timeout: Duration::from_secs(15),
            max_message_bytes: 256 << 20,
            max_buffered_bytes: 1 << 30,
        }
    }
}

impl Listen {
    /// The number of worker threads: as set, or the cores that this process may use.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }
}

/// `[tls]`: encryption of clients' connections. Paths are checked to be readable files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    pub mode: TlsMode,
    /// The certificate chain, PEM. Present unless `mode` is `disable`.
    pub cert: Option<PathBuf>,
    /// The certificate's private key, PEM. Present unless `mode` is `disable`.
    pub key: Option<PathBuf>,
    /// The authorities whose certificates clients may show, PEM.
    pub client_ca: Option<PathBuf>,
}

/// Whether clients may, or must, encrypt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    #[default]
    Disable,
    Allow,
    Require,
}

/// `[pool]`: connections to one server for one user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    pub max_size: usize,
    /// Opened ahead of demand and kept open when idle, see [`crate::warm`].
    pub min_size: usize,
    /// How long a statement waits for a connection until it fails with 53300.
    #[serde(rename = "wait_timeout_ms", deserialize_with = "milliseconds")]
    pub wait_timeout: Duration,
    #[serde(rename = "connect_timeout_ms", deserialize_with = "milliseconds")]
    pub connect_timeout: Duration,
    /// An unused connection beyond `min_size` is closed after this time.
    #[serde(rename = "idle_timeout_ms", deserialize_with = "milliseconds")]
    pub idle_timeout: Duration,
    /// A connection is closed when it is this old and unused.
    #[serde(rename = "lifetime_ms", deserialize_with = "milliseconds")]
    pub lifetime: Duration,
    /// Of one connection; the least recently used one is closed first.
    pub max_prepared_statements: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Pool {
            max_size: 20,
            min_size: 0,
            wait_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(600),
            lifetime: Duration::from_secs(3_600),
            max_prepared_statements: 500,
        }
    }
}

/// `[replicas]`: when a replica is fit to answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replicas {
    #[serde(rename = "check_interval_ms", deserialize_with = "milliseconds")]
    pub check_interval: Duration,
    pub max_lag_bytes: u64,
    #[serde(rename = "max_lag_ms", deserialize_with = "milliseconds")]
    pub max_lag: Duration,
    /// Of a session that does not say otherwise by `SET pgweave.read_preference`.
    pub read_preference: ReadPreference,
}

impl Default for Replicas {
    fn default() -> Self {
        Replicas {
            check_interval: Duration::from_secs(1),
            max_lag_bytes: 16 << 20,
            max_lag: Duration::from_secs(10),
            read_preference: ReadPreference::Primary,
        }
    }
}

/// Where SELECTs outside writing transactions go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadPreference {
    #[default]
    Primary,
    PreferReplica,
    Replica,
}

/// `[planner]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Planner {
    /// Plans that are kept, of all sessions together.
    pub plan_cache_entries: usize,
    /// Of sessions for which no `[[scatter]]` rule says otherwise.
    pub scatter: ScatterMode,
}

impl Default for Planner {
    fn default() -> Self {
        Planner {
            plan_cache_entries: 10_000,
            scatter: ScatterMode::Allow,
        }
    }
}

/// What becomes of queries that no single shard answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScatterMode {
    #[default]
    Allow,
    /// They run, and the client is told.
    Warn,
    /// They are refused.
    Forbid,
}

impl ScatterMode {
    /// As the name is written in settings.
    pub fn from_name(name: &str) -> Option<ScatterMode> {
        [ScatterMode::Allow, ScatterMode::Warn, ScatterMode::Forbid]
            .into_iter()
            .find(|mode| mode.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            ScatterMode::Allow => "allow",
            ScatterMode::Warn => "warn",
            ScatterMode::Forbid => "forbid",
        }
    }
}

/// `[gather]`: queries whose rows are brought to one server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gather {
    /// What one query may move.
    pub max_bytes: u64,
    pub max_rows: u64,
    /// Up to this size they are parameters of the query that finishes; beyond, temporary tables are made for them.
    pub max_inline_bytes: u64,
    /// Names of the shards whose servers finish queries, where one of them can. None: all, in turn.
    pub servers: Vec<String>,
}

impl Default for Gather {
    fn default() -> Self {
        Gather {
            max_bytes: 1 << 30,
            max_rows: 10_000_000,
            max_inline_bytes: 1 << 20,
            servers: Vec::new(),
        }
    }
}

/// `[log]`: to standard error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

/// The least important messages that are logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// Lines for people, or JSON objects for programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// `[transactions]`: those over several shards.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Transactions {
    /// One that is in doubt for longer is worth a warning.
    #[serde(rename = "in_doubt_warning_ms", deserialize_with = "milliseconds")]
    pub in_doubt_warning: Duration,
    /// Of a session that does not say otherwise by `SET pgweave.consistency`.
    pub consistency: Consistency,
    /// Between two looks for prepared transactions that nobody finishes. Half of it is how long one must have been prepared
    /// before it is looked at: until then it is its coordinator's business.
    #[serde(rename = "recovery_interval_ms", deserialize_with = "milliseconds")]
    pub recovery_interval: Duration,
}

/// What a transaction that reads on several shards sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// On each shard what its own isolation level shows.
    #[default]
    Default,
    /// One view of all shards, in which every transaction over several is on all of them or on none.
    Snapshot,
}

impl Consistency {
    /// As the name is written in settings.
    pub fn from_name(name: &str) -> Option<Consistency> {
        [Consistency::Default, Consistency::Snapshot]
            .into_iter()
            .find(|consistency| consistency.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Consistency::Default => "default",
            Consistency::Snapshot => "snapshot",
        }
    }
}

impl Default for Transactions {
    fn default() -> Self {
        Transactions {
            in_doubt_warning: Duration::from_secs(60),
            consistency: Consistency::Default,
            recovery_interval: Duration::from_secs(10),
        }
    }
}

/// `[shutdown]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// How long open transactions may go on after SIGTERM.
    #[serde(rename = "drain_timeout_ms", deserialize_with = "milliseconds")]
    pub drain_timeout: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown {
            drain_timeout: Duration::from_secs(30),
        }
    }
}
