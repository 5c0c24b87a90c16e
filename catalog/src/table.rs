//! What the catalog knows of the database's relations and functions.

use crate::{GroupId, KeyType, ShardId, ShardMap, TableId};

/// A table that the catalog places: sharded, reference or unsharded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub id: TableId,
    pub schema: String,
    pub name: String,
    pub kind: TableKind,
    /// In the order of the table's columns, without dropped ones.
    pub columns: Vec<Column>,
}

impl Table {
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The columns of the shard key; none for a table that is not sharded.
    pub fn key(&self) -> &[KeyColumn] {
        match &self.kind {
            TableKind::Sharded { key, .. } => key,
            TableKind::Reference | TableKind::Unsharded { .. } => &[],
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// Split over the shards of its colocation group.
    Sharded { group: GroupId, key: Vec<KeyColumn> },
    /// A full copy on every shard.
    Reference,
    /// Whole, on one shard.
    Unsharded { shard: ShardId },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// `pg_type.oid`.
    pub type_oid: u32,
    /// `pg_attribute.atttypmod`: a length or a precision in the type's own terms, -1 for none.
    pub type_modifier: i32,
    pub not_null: bool,
    /// A default, an identity or a generation expression.
    pub has_default: bool,
    pub default_expression: Option<String>,
    /// Text whose order is that of its bytes: its collation is C, POSIX or C.UTF-8.
    pub sorts_by_bytes: bool,
    /// Text that equals other text only if the bytes are the same: its collation is deterministic.
    pub equal_by_bytes: bool,
    /// Part of the primary key.
    pub in_primary_key: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    pub name: String,
    pub key_type: KeyType,
}

/// A colocation group: tables that are sharded by one shard map, so that equal keys meet on one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub id: GroupId,
    pub types: Vec<KeyType>,
    pub map: ShardMap,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub schema: String,
    pub name: String,
    /// As `pg_get_viewdef` prints it.
    pub definition: String,
    pub columns: Vec<String>,
    /// Type identifiers of the columns.
    pub types: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub schema: String,
    pub name: String,
    pub touches: Touches,
    pub volatility: Volatility,
    pub aggregate: bool,
}

/// Which relations a function reads or writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touches {
    Nothing,
    /// Schema and name of each.
    Tables(Vec<(String, String)>),
    Unknown,
}

/// What a relation runs by itself when it is used, though the statement does not show it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reaction {
    /// The relation that is used.
    pub schema: String,
    pub name: String,
    pub event: Event,
    pub reaches: Reached,
}

/// What sets a reaction off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// The relation is read or written: row security policies.
    Use,
    /// It is written: triggers, rules, defaults, checks, and the relations that are written along with it.
    Write,
}

/// Schema and name of what a reaction uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    Function(String, String),
    Relation(String, String),
    /// A relation that is written when this one is: a foreign key's cascade changes it, it is a partition or a child, or this is
    /// a view of it. That it is on the right shard has been seen to when it was placed.
    Along(String, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    pub schema: String,
    pub name: String,
}

/// Any table created with this column is sharded by it, in this group or in one made for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoShard {
    pub column: String,
    pub group: Option<GroupId>,
}
