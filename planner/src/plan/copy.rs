//! COPY TO STDOUT of rows of several shards.

use std::ops::Range;

use catalog::{GroupId, ShardId};

use super::Plan;

/// One stream of all shards' rows.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyOut {
    /// The statement's bytes in the text that was planned.
    pub statement: Range<usize>,
    pub rows: CopyRows,
    pub format: CopyFormat,
}

/// Where the rows come from.
#[derive(Debug, Clone, PartialEq)]
pub enum CopyRows {
    /// Each shard copies its own by the client's own statement, and their streams are put one after the other. `shards`: `None`: all of
    /// the group.
    Shards {
        group: GroupId,
        shards: Option<Vec<ShardId>>,
        locks: bool,
    },
    /// Of a query that is put together: a Scatter, whose rows the router writes, or a Gather, whose server does.
    Query(Box<Plan>),
}

/// How rows are written, in the words of PostgreSQL's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyFormat {
    pub kind: CopyKind,
    pub header: bool,
    pub delimiter: u8,
    pub null: String,
    pub quote: u8,
    pub escape: u8,
    pub force_quote: ForceQuote,
    /// Whether this is all that the options say, and PostgreSQL accepts it.
    pub is_known: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyKind {
    Text,
    Csv,
    Binary,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForceQuote {
    Columns(Vec<String>),
    All,
}
