//! What a DDL statement means for the catalog.
pub mod definition;
pub mod distribute;
pub mod edit;
pub mod error;
pub mod participants;
pub mod requirements;

pub use error::Error;
