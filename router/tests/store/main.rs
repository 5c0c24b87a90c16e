//! The catalog's store, the operator's functions and DDL, on real servers.
#![allow(clippy::unwrap_used)]

mod check;
mod harness;
mod init;
mod watch;
