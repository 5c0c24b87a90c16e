//! COPY FROM STDIN into a table that is on several shards.

use catalog::{GroupId, KeyType, ShardId};

use super::ReferenceWrite;

/// What becomes of the rows that a client sends. Every shard concerned is sent the client's own statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// The table's name without its schema, as errors name it.
    pub table: String,
    pub target: LoadTarget,
    pub format: LoadFormat,
    /// The first line is a header, which every shard gets.
    pub header: bool,
    /// The table has so many columns, of which the data must have all. `None`: the statement lists its columns.
    pub all_columns: Option<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LoadTarget {
    /// Each row to the shard of its key.
    Rows { group: GroupId, key: Vec<LoadKey> },
    /// All rows to all copies.
    Copies(ReferenceWrite),
    /// All rows to one shard: the router's own COPY.
    Shard(ShardId),
}

/// A column of the shard key.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadKey {
    /// Among the columns of the data, from 0.
    pub position: usize,
    pub key_type: KeyType,
    pub type_oid: u32,
    pub type_modifier: i32,
    /// In CSV: a value that looks like NULL is one although it is quoted; is none although it is not.
    pub force_null: bool,
    pub force_not_null: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadFormat {
    Text {
        delimiter: u8,
        null: String,
    },
    Csv {
        delimiter: u8,
        quote: u8,
        escape: u8,
        null: String,
    },
    Binary,
}
