//! CREATE TABLE AS of a query whose rows are not where the table will be.

use std::ops::Range;

use catalog::ShardId;

use super::{DdlEffect, Load, Single};

/// A table that one shard makes by the query itself, without rows; then the query runs as any other, and its rows go there.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateAs {
    /// The statement's bytes in the text that was planned.
    pub statement: Range<usize>,
    /// The query's bytes within the statement. What comes before it makes the table, of whatever query.
    pub query: Range<usize>,
    pub shard: ShardId,
    pub kind: CreatedAs,
    /// What stores the rows: a COPY.
    pub copy: String,
    pub load: Load,
}

#[derive(Debug, Clone, PartialEq)]
pub enum CreatedAs {
    Table(DdlEffect),
    /// What becomes of the session.
    Temporary(Single),
}
