//! The catalog's store, the operator's functions and DDL, on real servers.
#![allow(clippy::unwrap_used)]

mod check;
mod collection;
mod ddl;
mod decision;
mod definition;
mod harness;
mod init;
mod sequences;
mod shard_table;
mod tls;
mod watch;
