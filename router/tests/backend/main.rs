//! Connections to real PostgreSQL servers, the pools that keep them, and the checks of their health.
#![allow(clippy::unwrap_used)]

mod connect;
mod dirty;
mod harness;
mod health;
mod hostile;
mod loss;
mod pool;
mod tls;
mod workers;
