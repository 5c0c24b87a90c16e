//! DDL: what a table's definition means for the catalog, and how a table of one shard becomes one of several.
//!
//! Entry points for a session that runs a client's DDL: [`before`], [`after`], [`record`] or [`Recording`]; see [`apply`] and
//! [`commit`] for when. The operator's functions (`crate::admin`) build on the same parts: [`definition`] reads and remakes a
//! table, [`requirements`] judges it, [`distribute`] places it, [`edit`] is what the catalog records.

mod altered;
pub mod apply;
pub mod commit;
mod created;
pub mod definition;
pub mod distribute;
pub mod edit;
pub mod error;
mod foreign_keys;
pub mod participants;
pub mod requirements;
mod write;

pub use apply::{Ran, after, before};
pub use commit::{Recording, record};
pub use edit::Edits;
pub use error::Error;
pub use participants::{Participants, Reply};
