//! INSERT of a query's rows that are to be stored elsewhere than they are read.

use std::ops::Range;

use crate::{Learned, Load, Spread, StatementTag};

/// A query whose rows the router takes and sends to their shards.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// The statement's bytes in the text that was planned.
    pub statement: Range<usize>,
    pub tag: StatementTag,
    pub source: TransferSource,
    /// Where they are stored: its name with its schema, as SQL.
    pub table: String,
    /// What stores the rows on a shard: a COPY.
    pub copy: String,
    pub load: Load,
    /// The columns that are stored: names, and `pg_type.oid`s.
    pub columns: Vec<(String, u32)>,
    /// The highest `$n`.
    pub parameters: u16,
    pub learned: Learned,
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq)]
pub enum TransferSource {
    /// A query: its bytes within the statement.
    Query(Range<usize>),
    /// Rows that each shard deletes, and returns as they are to become.
    Taken(Taken),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    pub spread: Spread,
    /// The text that it spreads.
    pub sql: String,
}
