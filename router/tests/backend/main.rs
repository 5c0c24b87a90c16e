//! Connections to real PostgreSQL servers, and the pools that keep them.
#![allow(clippy::unwrap_used)]

mod connect;
mod dirty;
mod harness;
mod hostile;
mod loss;
mod pool;
mod tls;
mod workers;
