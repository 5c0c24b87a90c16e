//! The catalog's home: schema `pgweave` in one PostgreSQL database, and this router's snapshot of it.
//!
//! Entry points: [`Store::connect`] reads the catalog, [`Store::watch`] follows it, [`Store::begin_change`] changes it;
//! [`init()`] makes it and [`check()`] examines the servers. Sessions take [`CatalogHandle::snapshot`] once per statement.
//!
//! Invariants: a change is one transaction on the home under a lock, and ends with a new epoch; a snapshot is read as of one
//! moment; nothing that another router needs is held in memory here.

mod blocks;
mod change;
pub mod check;
pub mod connection;
pub mod default_groups;
mod error;
mod functions;
mod handle;
mod home;
mod home_rows;
pub mod init;
mod load;
pub mod map_rows;
mod migrate;
mod probe;
pub mod quote;
pub mod relations;
mod schema_change;
pub mod sequences;
mod tls;
pub mod views;
mod watch;
mod words;

pub use blocks::{Block, Division};
pub use change::Change;
pub use check::{Finding, Severity, check};
pub use connection::{Connection, Connector, Rows};
pub use error::{Error, ServerError};
pub use handle::CatalogHandle;
pub use home::{HOME, Settings, Store};
pub use home_rows::FORMAT;
pub use init::{InitRequest, Report, ShardRequest, init};
pub use load::FIRST_UNLISTED;
pub use schema_change::{SchemaChange, fresh_name};
pub use sequences::SequenceKeeper;
pub use tls::Tls;
pub use watch::Watch;
