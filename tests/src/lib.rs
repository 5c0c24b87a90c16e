//! The test suites' common ground: real PostgreSQL servers with a router in front, and a plain server beside them.
//!
//! Entry points: [`cluster::Cluster`] and [`client::Client`], a client that sees every protocol message;
//! [`agree::agree`], which runs one script on a plain PostgreSQL and on pgweave.

#![allow(
    clippy::unwrap_used,
    reason = "a step of a test that fails is the end of the test"
)]

pub mod agree;
pub mod bank;
pub mod bench;
pub mod certificates;
pub mod client;
pub mod cluster;
pub mod conversation;
pub mod differential;
pub mod endpoint;
pub mod fleet;
pub mod load;
pub mod process;
pub mod proxy;
pub mod psql;
pub mod random;
pub mod router_process;
pub mod several;
pub mod shared;
pub mod tpch;
pub mod transcript;
