//! A query that several shards answer in parts, which the router puts together row by row.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use catalog::{GroupId, ShardId};

use crate::Gather;

/// One query for each shard, and what becomes of their rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Scatter {
    /// The statement's bytes in the text that was planned.
    pub statement: Range<usize>,
    pub group: GroupId,
    /// Those that have rows for it. `None`: all shards of the group.
    pub shards: Option<Vec<ShardId>>,
    /// What each shard is asked. `None`: the client's own statement.
    pub sql: Option<String>,
    /// So many columns come first in the shards' rows that the client has not asked for.
    pub hidden: u16,
    /// How many the client has asked for; known if any are hidden.
    pub columns: u16,
    pub merge: Merge,
    /// FOR UPDATE and its kin: primaries only.
    pub locks: bool,
    /// How shards take turns, so that no more rows are locked than one server would lock.
    pub turns: Turns,
    /// The highest `$n` of the client. The shards' query may have one more: how many rows each is to give.
    pub parameters: u16,
    /// The query's first parameter of its own is the time of the transaction.
    pub moment: bool,
    /// The query has a parameter of its own for the number of rows, its last.
    pub limit_parameter: bool,
    /// What executions have found out.
    pub learned: Learned,
    /// For when the router cannot order values of the types that turn out.
    pub otherwise: Option<Box<Gather>>,
}

/// When shards are asked.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Turns {
    #[default]
    AtOnce,
    /// One after the other, for as many rows as are missing: a parameter after all others. For rows in any order.
    One { sql: String },
    /// All are asked for the first rows, which are put in order; then these are locked by their primary keys. Both
    /// queries have one parameter after all others.
    Chosen {
        /// The rows without locks; how many, the parameter says. Before the client's columns come those of the order, then the
        /// primary key's.
        choose: String,
        /// The rows of the primary keys that the parameter holds, as JSON: objects of the columns' names. Before the client's columns
        /// come the primary key's.
        lock: String,
        /// What the queries call the primary key's columns.
        key: Vec<String>,
    },
}

/// What a server has said of the types of a plan, by the types that clients have declared for their parameters. Copies share
/// it; plans are equal whatever it holds.
#[derive(Debug, Clone, Default)]
pub struct Learned(Arc<RwLock<Vec<Arc<Types>>>>);

/// So many ways to declare the parameters of one plan are remembered.
const DECLARATIONS: usize = 8;

/// What a server says of a query, most of it `pg_type.oid`s.
#[derive(Debug, Clone, Default)]
pub struct Types {
    /// Of the parameters, as the client has declared them: 0 and missing ones are left to the server.
    pub declared: Vec<u32>,
    /// Of the columns of the shards' rows.
    pub columns: Vec<u32>,
    /// What the shards call these columns.
    pub names: Vec<String>,
    /// `pg_attribute.atttypmod` of these columns, or what else their types are made with; -1: nothing.
    pub modifiers: Vec<i32>,
    /// Of the parameters, as the server has it.
    pub parameters: Vec<u32>,
    /// The body of RowDescription of the client's own statement, if shards are asked another.
    pub description: Vec<u8>,
    /// All values of the columns are the same bytes on all servers.
    pub portable: bool,
    /// Of the columns. Empty: nobody has asked.
    pub shapes: Vec<Shape>,
    /// The query means the same over subqueries in place of its tables. `None`: nobody has asked.
    pub over_subqueries: Option<bool>,
    /// The plan with what is known of its parts' columns. `None`: nobody has asked; `Some(None)`: they cannot be brought.
    pub with_parts: Option<Option<Arc<Gather>>>,
}

/// What a column's type leaves open, as SQL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    pub collation: Option<String>,
    /// The type with its modifier, if it has one: `numeric(10,2)`.
    pub modified: Option<String>,
}

impl Learned {
    pub fn types(&self, declared: &[u32]) -> Option<Arc<Types>> {
        // What a panicking thread leaves behind is whole: entries are added in one step.
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .find(|types| types.declared == declared)
            .cloned()
    }

    pub fn note(&self, types: Types) -> Arc<Types> {
        let types = Arc::new(types);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.declared != types.declared);
        if known.len() >= DECLARATIONS {
            known.remove(0);
        }
        known.push(types.clone());
        types
    }
}

impl PartialEq for Learned {
    fn eq(&self, _: &Learned) -> bool {
        true
    }
}

/// How rows of several shards become one result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Merge {
    /// The shards' rows are in this order. Empty: in any.
    pub keys: Vec<MergeKey>,
    /// Rows that agree in all keys become one: how, for each column that the client has asked for.
    pub combine: Option<Vec<Combined>>,
    /// Of rows that agree in the first so many keys only the first is kept.
    pub distinct: Option<usize>,
    /// So many keys are the client's ORDER BY; the others keep equal rows together.
    pub ordered: usize,
    pub limit: Option<Amount>,
    pub offset: Option<Amount>,
    pub with_ties: bool,
    /// `pg_type.oid`s of the columns of the shards' rows, 0 where they do not matter, if the catalog knows all that matter: then no server
    /// has to be asked. Only of the client's own statement, whose errors name places in it.
    pub types: Option<Vec<u32>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeKey {
    /// From 0, in the shards' rows.
    pub column: u16,
    pub descending: bool,
    pub nulls_first: bool,
    /// If it is text, its order is that of its bytes.
    pub bytewise: bool,
}

/// What becomes of the values of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combined {
    /// All are equal: the first.
    Key,
    Count,
    Sum,
    /// `bytewise`: if it is text, its order is that of its bytes.
    Least {
        bytewise: bool,
    },
    Greatest {
        bytewise: bool,
    },
    And,
    Or,
    BitAnd,
    BitOr,
    BitXor,
}

/// A number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    Rows(i64),
    /// From 0: `$1` is 0. NULL: none given.
    Parameter(u16),
}
