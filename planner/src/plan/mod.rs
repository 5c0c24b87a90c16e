//! The plan: what the router does with one statement, as data.
//!
//! Entry point: [`Plan`]. A plan holds no values of an execution; [`crate::resolve()`] turns its [`Route`] and the values into a
//! shard. Plans are built once, shared by all sessions, and drawn by `Display` (see `display.rs`).

mod copy;
mod create_as;
mod everywhere;
mod gather;
mod load;
mod scatter;
mod session;
mod single;
mod spread;
mod transfer;

pub use copy::*;
pub use create_as::*;
pub use everywhere::*;
pub use gather::*;
pub use load::*;
pub use scatter::*;
pub use session::*;
pub use single::*;
pub use spread::*;
pub use transfer::*;

use std::ops::Range;
use std::sync::Arc;

/// One statement of a client's text and what to do with it.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The statement's bytes in the text, without the `;`. `None`: the text holds just this statement, send it whole.
    pub part: Option<Range<usize>>,
    pub plan: Arc<Plan>,
    /// Set on the last statement of the list when the text goes on: the byte at which the rest starts. It is to be planned when
    /// this statement has been executed, because this one may change what the rest means (DDL, settings, temporary
    /// tables), or because the rest's own error must not come before this one's result.
    pub rest: Option<usize>,
}

impl Planned {
    /// The statement's own text out of the whole text that was planned.
    pub fn text<'a>(&self, sql: &'a str) -> &'a str {
        match &self.part {
            Some(range) => sql.get(range.clone()).unwrap_or(sql),
            None => sql,
        }
    }
}

/// What to do with one statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// One shard answers; the client's own text goes there unchanged.
    Single(Single),
    /// The same text on several shards, atomically: DDL and writes to reference tables.
    Everywhere(Everywhere),
    /// A query that each shard answers for its own rows; the router merges them.
    Scatter(Scatter),
    /// A query over several shards, finished by one server over the rows of all.
    Gather(Gather),
    /// COPY TO STDOUT of rows of several shards.
    CopyOut(CopyOut),
    /// A write that several shards carry out, each for its own rows.
    Spread(Spread),
    /// COPY FROM STDIN into a table that is on several shards.
    Load(Load),
    /// INSERT of a query's rows that are to be stored elsewhere than they are read.
    Transfer(Box<Transfer>),
    /// CREATE TABLE AS of a query whose rows are elsewhere than the table.
    CreateAs(Box<CreateAs>),
    /// The session itself answers, or must know.
    Session(SessionStatement),
    /// An operator's function or statement.
    Admin(AdminCall),
    /// EXPLAIN of another plan.
    Explain(Explain),
}

impl Plan {
    /// What a server has said of a query over several shards.
    pub fn learned(&self, declared: &[u32]) -> Option<Arc<Types>> {
        match self {
            Plan::Scatter(scatter) => scatter.learned.types(declared),
            Plan::Gather(gather) => match &gather.combine {
                Some(combine) => combine.learned.types(declared),
                None => gather.learned.types(declared),
            },
            _ => None,
        }
    }
}

/// EXPLAIN.
#[derive(Debug, Clone, PartialEq)]
pub struct Explain {
    pub inner: Box<Plan>,
    /// The explained statement's bytes in the text that was planned.
    pub statement: Range<usize>,
    pub analyze: bool,
    /// A parenthesized option list was given: the shard's own plan is shown beneath the route.
    pub has_options: bool,
    pub options: Vec<(String, Option<String>)>,
    pub format: ExplainFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplainFormat {
    Text,
    Json,
    Xml,
    Yaml,
}

/// A call of an operator's function, by `SELECT pgweave.name(...)` or by the operator's dialect.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminCall {
    /// The function's name without `pgweave.`.
    pub name: String,
    /// Positional ones first, then named ones, as in the call.
    pub arguments: Vec<(Option<String>, AdminArg)>,
    /// The name of the result's column.
    pub column: String,
    /// `SELECT * FROM pgweave.f(...)`: the function's columns; else one column with the value.
    pub from_clause: bool,
    pub parameters: u16,
}

#[derive(Debug, Clone, PartialEq)]
pub enum AdminArg {
    Text(String),
    /// As written.
    Number(String),
    Boolean(bool),
    Null,
    Array(Vec<AdminArg>),
    /// From 0: `$1` is 0.
    Parameter(u16),
}
