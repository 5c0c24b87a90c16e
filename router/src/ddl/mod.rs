//! What a DDL statement means for the catalog.
pub mod error;
pub mod participants;
