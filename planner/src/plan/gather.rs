//! A query over several shards that one server finishes: the rows are brought there, and the client's own query runs over
//! them.

use std::ops::Range;

use catalog::{GroupId, ShardId};

use crate::{KeyRoute, Learned, Name};

/// A query, and what it needs in one place.
#[derive(Debug, Clone, PartialEq)]
pub struct Gather {
    /// The statement's bytes in the text that was planned.
    pub statement: Range<usize>,
    /// In the order in which they are brought.
    pub tables: Vec<GatherTable>,
    /// Where the statement names them, in the order of the text.
    pub mentions: Vec<Mention>,
    /// Shards whose servers can finish the query: they know all the tables and what else it uses.
    pub servers: Vec<ShardId>,
    /// Tables are reached through views or functions, which must be read where they are.
    pub in_place: bool,
    /// The query groups rows, and may rely on primary keys for that. A server tells whether it does.
    pub groups: bool,
    /// It means the same over subqueries in place of its tables. `None`: a server has to say.
    pub over_subqueries: Option<bool>,
    /// The highest `$n`.
    pub parameters: u16,
    pub learned: Learned,
    /// Partial results of the shards that are combined, instead of tables.
    pub combine: Option<Combine>,
}

/// Each shard's partial aggregates, and the query over them.
#[derive(Debug, Clone, PartialEq)]
pub struct Combine {
    pub group: GroupId,
    pub shards: Option<Vec<ShardId>>,
    /// What each shard is asked.
    pub sql: String,
    /// Both queries have a parameter after the client's: the time of the transaction.
    pub moment: bool,
    /// So many columns come first by which the shards have grouped; partial results follow.
    pub keys: usize,
    /// The query that finishes, over a relation that takes the place of `FROM`.
    pub finish: Vec<Piece>,
    pub learned: Learned,
    /// For when a type turns out whose partial results are not exact.
    pub otherwise: Option<Box<Gather>>,
}

/// A piece of a query's text. Columns are those of partial results, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    /// The relation that holds the shards' rows.
    Relation,
    Count(usize),
    Sum(usize),
    Average {
        sum: usize,
        count: usize,
    },
}

/// A table that a query reads.
#[derive(Debug, Clone, PartialEq)]
pub struct GatherTable {
    pub name: Name,
    /// `FROM ONLY`.
    pub only: bool,
    pub place: GatherPlace,
    /// Names and type identifiers of those that are needed, in the table's order.
    pub columns: Vec<(String, u32)>,
    /// The same of all, if a query that groups needs only some: by a primary key GROUP BY may stand for columns that it does
    /// not name, and a copy has it only if the table is copied as it is.
    pub all: Vec<(String, u32)>,
    /// All columns are: the copy is made like the table.
    pub whole: bool,
    /// What the query calls it, and the conditions that rows must satisfy to matter.
    pub called: String,
    pub condition: Option<String>,
    /// The keys that rows which matter have; `None`: any.
    pub keys: Option<KeyRoute>,
    pub matches: Option<Match>,
}

/// Only rows of a table matter whose column has a value that one of another table has.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    pub column: String,
    /// Index into [`Gather::tables`] of a table that is brought before, and into its columns.
    pub table: usize,
    pub other: usize,
    /// If the column is the shard key: where such rows lie. The values are the first parameter, an array.
    pub keys: Option<KeyRoute>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatherPlace {
    /// Sharded: a part on each shard of the group.
    Group(GroupId),
    /// A copy on every shard.
    Everywhere,
    Shard(ShardId),
}

/// A place in the statement's text where a table is named.
#[derive(Debug, Clone, PartialEq)]
pub struct Mention {
    /// Bytes in the text that was planned.
    pub range: Range<usize>,
    /// Index into [`Gather::tables`].
    pub table: usize,
    /// What the query calls the table, where it has given it no other name.
    pub alias: Option<String>,
}

impl Gather {
    /// The query with other relations in place of its tables. `text`: what was planned; `instead`: the relation in place of a
    /// table, as SQL. `None`: the plan is of another text.
    pub fn text(&self, text: &str, instead: impl Fn(usize) -> String) -> Option<String> {
        let mut sql = String::with_capacity(self.statement.len() + 64 * self.mentions.len());
        let mut at = self.statement.start;
        for mention in &self.mentions {
            sql.push_str(text.get(at..mention.range.start)?);
            sql.push_str(&instead(mention.table));
            if let Some(alias) = &mention.alias {
                sql.push_str(" AS ");
                sql.push_str(&catalog::quote_identifier(alias));
            }
            at = mention.range.end;
        }
        sql.push_str(text.get(at..self.statement.end)?);
        Some(sql)
    }
}
