//! A query over several shards that one server finishes: the rows are brought there, and the client's own query runs over
//! them.

use std::ops::Range;

use catalog::{GroupId, ShardId};

use crate::{Expected, KeyRoute, Learned, Name, Served, Shape};

/// A query, and what it needs in one place.
#[derive(Debug, Clone, PartialEq)]
pub struct Gather {
    /// The statement's bytes in the text that was planned.
    pub statement: Range<usize>,
    /// The statement with names in place of its parts, if it has any.
    pub rest: Option<String>,
    /// In the order in which they are brought.
    pub tables: Vec<GatherTable>,
    /// Views that are read over them; those that others read come before these.
    pub views: Vec<GatherView>,
    /// Relations of schema `pgweave` whose rows the router has.
    pub served: Vec<(&'static str, Served)>,
    /// Tables whose numbers are asked for: what the query calls them, and their names.
    pub numbers: Vec<(String, Name)>,
    /// Sizes of relations over all shards are asked for.
    pub sizes: bool,
    /// Where the statement, or what is left of it, names any of these, in the order of the text.
    pub mentions: Vec<Mention>,
    /// Relations that are locked besides, where copies are made: views, and what is read by those whose rows are brought.
    pub also_locked: Vec<Name>,
    /// Shards whose servers can finish the query: they know all the tables and what else it uses.
    pub servers: Vec<ShardId>,
    /// Tables are reached through functions, which read them where they are.
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
    /// The same without parts, for when a type turns out whose values are not the same everywhere.
    pub otherwise: Option<Box<Gather>>,
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
    /// Of integers and numerics. `sample`: divided by one less than the count; `root`: the standard deviation.
    Variance {
        count: usize,
        sum: usize,
        squares: usize,
        sample: bool,
        root: bool,
    },
}

/// A view whose definition is read over the tables that have been brought.
#[derive(Debug, Clone, PartialEq)]
pub struct GatherView {
    pub name: Name,
    pub columns: Vec<String>,
    /// All names in it have their schemas.
    pub definition: String,
    /// Where the definition names tables and views.
    pub mentions: Vec<Mention>,
}

/// A table that a query reads, or a view each of whose rows comes from one shard.
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
    /// The same as conditions that each shard can ask of its own rows.
    pub among: Vec<Among>,
    /// Columns by which rows are looked up again and again, for each row of a query around.
    pub looked_up: Vec<String>,
    /// It is no table but a query within the statement.
    pub part: Option<Box<GatherPart>>,
    /// What the servers' statistics say of the rows that are brought.
    pub expected: Option<Expected>,
}

/// A query within a statement that the shards answer on their own.
#[derive(Debug, Clone, PartialEq)]
pub struct GatherPart {
    /// What each shard is asked.
    pub sql: String,
    /// The same of all rows, on a server that has them.
    pub whole: String,
    /// The shards' rows are partial results, which are finished in the place where the part is named.
    pub combine: Option<Combine>,
    /// What the part's columns are called there, if they are finished.
    pub outputs: Vec<String>,
    /// Of the columns that are brought, once a server has told them.
    pub shapes: Vec<Shape>,
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

/// Only rows of a table matter for which another table has one, on the same shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Among {
    /// Index into [`Gather::tables`].
    pub table: usize,
    pub sql: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatherPlace {
    /// Sharded: a part on each shard of the group.
    Group(GroupId),
    /// A copy on every shard.
    Everywhere,
    Shard(ShardId),
}

/// A place in a text where something else takes the place of a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Mention {
    /// Bytes in the text that was planned, or in a view's definition.
    pub range: Range<usize>,
    pub of: Mentioned,
    /// What the text calls the relation, where it has given it no other name.
    pub alias: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mentioned {
    /// Index into [`Gather::tables`].
    Table(usize),
    /// Index into [`Gather::views`].
    View(usize),
    /// Index into [`Gather::served`].
    Served(usize),
    /// A function of sizes over all shards, by its own name.
    Size(&'static str),
    /// `tableoid`: index into [`Gather::numbers`].
    Number(usize),
    /// The schema in front of a column's table, which is left out.
    Schema,
}

impl Gather {
    /// What takes the place of the column `tableoid` of a copy: NULL where an outer join has no row of the table.
    pub fn number(&self, index: usize) -> String {
        let Some((called, name)) = self.numbers.get(index) else {
            return "tableoid".to_owned();
        };
        let called = catalog::quote_identifier(called);
        let schema = catalog::quote_identifier(&name.schema);
        let full = format!("{schema}.{}", catalog::quote_identifier(&name.name));
        format!(
            "(SELECT CASE WHEN {called}.ctid IS NOT NULL THEN {}::pg_catalog.regclass::pg_catalog.oid END AS tableoid)",
            catalog::quote_literal(&full)
        )
    }

    /// Whether every shard is asked of itself.
    pub fn asks_all_shards(&self) -> bool {
        let all = |(_, served): &(_, Served)| *served == Served::Shards;
        self.sizes || self.served.iter().any(all)
    }

    pub fn has_parts(&self) -> bool {
        self.rest.is_some()
    }

    /// Whether a server knows all that the query names.
    pub fn is_known_to_servers(&self) -> bool {
        self.served.is_empty() && !self.sizes
    }

    /// The query with other relations in place of its own. `text`: what was planned; `instead`: what takes a name's place,
    /// as SQL. `None`: the plan is of another text.
    pub fn text(&self, text: &str, instead: impl Fn(Mentioned) -> String) -> Option<String> {
        match &self.rest {
            Some(rest) => spliced(rest, 0..rest.len(), &self.mentions, instead),
            None => spliced(text, self.statement.clone(), &self.mentions, instead),
        }
    }
}

impl GatherView {
    /// The definition, likewise.
    pub fn text(&self, instead: impl Fn(Mentioned) -> String) -> Option<String> {
        let whole = 0..self.definition.trim_end_matches([';', ' ', '\n']).len();
        spliced(&self.definition, whole, &self.mentions, instead)
    }
}

fn spliced(
    text: &str,
    part: Range<usize>,
    mentions: &[Mention],
    instead: impl Fn(Mentioned) -> String,
) -> Option<String> {
    let mut sql = String::with_capacity(part.len() + 64 * mentions.len());
    let mut at = part.start;
    for mention in mentions {
        sql.push_str(text.get(at..mention.range.start)?);
        sql.push_str(&instead(mention.of));
        if let Some(alias) = &mention.alias {
            sql.push_str(" AS ");
            sql.push_str(&catalog::quote_identifier(alias));
        }
        at = mention.range.end;
    }
    sql.push_str(text.get(at..part.end)?);
    Some(sql)
}
