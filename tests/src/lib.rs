//! The test suites' common ground: real PostgreSQL servers with a router in front, and a plain server beside them.
//!
//! Entry points: [`cluster::Cluster`] and [`client::Client`], a client that sees every protocol message.

pub mod client;
pub mod cluster;
