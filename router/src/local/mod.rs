//! PostgreSQL servers on this machine: found, set up, started, watched, stopped.
//!
//! Entry points: [`LocalCluster::start`] for shards with streaming replicas, [`LocalServer`] for one server.
//! `pgweave demo` runs on this, and so do the test suites.
//!
//! Invariants:
//! - Every server is a direct child of this process, so that its pid is the postmaster's own.
//! - A server ends when its [`LocalServer`] is dropped, when this process exits, and, on Linux, when this process is killed.
//! - What a killed process left is found by the next start over the same directory, checked to be what it
//!   seems (a `postgres` working in that very data directory), and ended.
//! - Servers listen on 127.0.0.1 only and trust whoever connects.
//!
//! Deliberately absent: anything an operator would want of servers in production.

mod account;
mod binaries;
mod cluster;
mod control;
mod data_directory;
mod error;
mod exit;
mod identifier;
mod lock;
mod options;
mod orphan;
mod place;
mod port;
mod process;
mod scratch;
mod server;
mod settings;

pub use account::Account;
pub use binaries::{Binaries, Version};
pub use cluster::{ClusterOptions, Layout, LocalCluster, LocalShard, Progress};
pub use error::Error;
pub use lock::DirectoryLock;
pub use options::ServerOptions;
pub use process::Process;
pub use scratch::Scratch;
pub use server::{LocalServer, Stop};
pub use settings::Settings;
