//! The full definition of a table, as read from one shard's system catalogs, to be made again on another.
//!
//! Entry points: [`read`], then [`TableDefinition::statements`]. `pg_dump` does this job elsewhere, but is not at hand where a
//! router runs. Expressions are taken as the server prints them, with every name qualified, and never looked into.
//!
//! Covered: columns (type, collation, default, identity, generation, storage, compression, statistics target, options,
//! privileges, comments), constraints, indexes, triggers, row security, extended statistics, storage parameters,
//! replica identity, owner, privileges, comments, and the schemas, types, extensions and sequences that the table needs.
//! Deliberately absent: tablespaces (places on one machine's disks), partitions and inheritance, rules, security labels.

mod attachments;
pub mod extensions;
mod grants;
mod parts;
mod read;
mod sequence;
mod statements;
pub mod types;

pub use parts::{
    ColumnDefinition, Comment, ConstraintDefinition, ConstraintKind, ForeignKey, Generated,
    IndexDefinition, Persistence, RelationKind, TableDefinition, TriggerDefinition,
};
pub use read::{exists, read};
pub use sequence::{SequenceDefinition, SequenceLink};
pub use types::TypeDefinition;
