//! Connections to real PostgreSQL servers, the pools that keep them, and the checks of their health.
#![allow(clippy::unwrap_used)]

mod dirty;
mod harness;
