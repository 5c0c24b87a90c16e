//! The same text on several shards: DDL, writes to reference tables, upkeep.

use catalog::{GroupId, ShardId, TableId};

use super::{Access, StatementTag};

/// The same text on several shards, all or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Everywhere {
    pub shards: Where,
    pub access: Access,
    pub parameters: u16,
    pub tag: StatementTag,
    /// RETURNING on a reference write: the rows of one shard are the answer.
    pub returns_rows: bool,
    pub kind: EverywhereKind,
    /// CONCURRENTLY: shard by shard, outside a transaction.
    pub concurrently: bool,
    /// Cannot run inside a transaction block.
    pub no_block: bool,
}

/// A set of shards named by what they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    All,
    Shards(Vec<ShardId>),
    /// Every shard of a colocation group's map.
    Group(GroupId),
    /// The shards that have a relation of this name: indexes and the like, which the catalog does not list.
    Holding(Name),
}

#[derive(Debug, Clone, PartialEq)]
pub enum EverywhereKind {
    Ddl(DdlEffect),
    /// The same deterministic change to every copy of a reference table.
    ReferenceWrite(ReferenceWrite),
    /// TRUNCATE, LOCK: rows or locks on every shard, nothing for the catalog to re-read.
    Rows,
    /// VACUUM, ANALYZE, CLUSTER, REINDEX, CHECKPOINT: upkeep, shard by shard.
    Maintenance,
}

/// What must hold still while copies are changed alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceWrite {
    /// The reference tables that are written or read, each once, in the order of their ids.
    pub tables: Vec<TableId>,
    /// Besides the rows that it changes, the statement reads rows of reference tables.
    pub reads: bool,
}

/// What the catalog must re-read when the DDL is done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DdlEffect {
    pub changes: Vec<Change>,
}

/// A relation's full name. Unqualified names have been resolved by the search path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub schema: String,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    TableCreated {
        table: Name,
        if_not_exists: bool,
        sharding: NewTable,
    },
    TableAltered {
        table: Name,
    },
    TableDropped {
        table: Name,
    },
    TableRenamed {
        table: Name,
        new: Name,
    },
    ColumnRenamed {
        table: Name,
        column: String,
        new: String,
    },
    /// A view was created, replaced, altered or dropped.
    View {
        view: Name,
    },
    /// Functions of this name were created, altered or dropped.
    Function {
        schema: Option<String>,
        name: String,
    },
    Sequence {
        sequence: Name,
    },
    Schema {
        schema: String,
    },
    /// A schema's name changed: everything in it has a new name.
    SchemaRenamed {
        schema: String,
        new: String,
    },
    /// Types, roles, grants, comments: nothing that routing depends on.
    Other,
}

/// How a table made by CREATE TABLE is placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewTable {
    Unsharded {
        shard: ShardId,
    },
    /// It has a column registered with `pgweave.auto_shard`.
    Auto {
        column: String,
        group: Option<GroupId>,
    },
    /// A partition or an inheriting child: placed as its parent.
    Child {
        parent: Name,
    },
}
