//! PostgreSQL's own grammar. The only file, with `parse_error.rs` and `rewrite.rs`, that names the grammar library.
//!
//! Entry point: [`parse`]. Other modules see its trees through the names re-exported here. The C parser keeps its stacks on
//! the heap and refuses more than 10,000 levels, so no text can overflow the stack; nested comments, which it reads in
//! quadratic time, are limited before it sees them. Trees may be thousands of levels deep: walk them with [`crate::walk`].

pub(crate) use pg_raw_parse::list::NodeList;
pub(crate) use pg_raw_parse::raw::{
    A_Expr_Kind, AlterTableType, BoolExprType, ConstrType, DiscardMode, FetchDirection,
    GroupingSetKind, JoinType, LimitOption, ObjectType, OnCommitAction, OverridingKind,
    ReindexObjectType, SQLValueFunctionOp, SetOperation, SortByDir, SortByNulls, SubLinkType,
    TransactionStmtKind, VariableSetKind,
};
pub(crate) use pg_raw_parse::{ConstValue, Node, nodes};

use crate::Error;
use crate::parse_error::syntax_error;

/// How deep comments may nest.
const COMMENT_DEPTH: usize = 64;

/// The longest text that is parsed. PostgreSQL's own limit is 1 GB; offsets in the tree are 32-bit.
const TEXT_LIMIT_BYTES: usize = 512 << 20;

/// The statements of one text.
pub(crate) struct Tree(pg_raw_parse::ParseResult);

/// One statement and its place in the text.
#[derive(Clone, Copy)]
pub(crate) struct Statement<'t> {
    pub node: Node<'t>,
    pub start: usize,
    pub end: usize,
}

impl Tree {
    pub fn statements<'t>(&'t self, sql: &str) -> Vec<Statement<'t>> {
        self.0
            .iter()
            .map(|raw| {
                let start = usize::try_from(raw.stmt_location).unwrap_or(0);
                let end = match usize::try_from(raw.stmt_len) {
                    Ok(0) | Err(_) => sql.len(),
                    Ok(length) => start + length,
                };
                Statement {
                    node: raw.stmt(),
                    start,
                    end,
                }
            })
            .collect()
    }

    /// The only statement's node; `None` when there is not exactly one.
    pub fn only(&self) -> Option<Node<'_>> {
        let mut statements = self.0.iter();
        let first = statements.next()?;
        match statements.next() {
            None => Some(first.stmt()),
            Some(_) => None,
        }
    }
}

/// Parses a text that may hold several statements.
pub(crate) fn parse(sql: &str) -> Result<Tree, Error> {
    if sql.len() > TEXT_LIMIT_BYTES {
        return Err(Error::TooComplex {
            message: "the statement is too long".into(),
        });
    }
    if let Some(offset) = memchr::memchr(0, sql.as_bytes()) {
        return Err(Error::Syntax {
            sqlstate: "22021",
            message: "invalid byte sequence for encoding \"UTF8\": 0x00".into(),
            detail: None,
            hint: None,
            position: None,
        }
        .at(sql, i32::try_from(offset).unwrap_or(-1)));
    }
    limit_comments(sql.as_bytes())?;
    match pg_raw_parse::parse(sql) {
        Ok(tree) => Ok(Tree(tree)),
        Err(_) => Err(syntax_error(sql)),
    }
}

/// Refuses comments nested deeper than [`COMMENT_DEPTH`]. Counting openings without regard to strings only errs towards a
/// second, exact look.
fn limit_comments(text: &[u8]) -> Result<(), Error> {
    let openings = memchr::memmem::find_iter(text, b"/*")
        .take(COMMENT_DEPTH + 1)
        .count();
    if openings <= COMMENT_DEPTH || crate::piece::comment_depth(text) <= COMMENT_DEPTH {
        return Ok(());
    }
    Err(Error::TooComplex {
        message: format!("comments are nested deeper than {COMMENT_DEPTH} levels"),
    })
}

/// The string of a `String` node, or nothing.
pub(crate) fn text<'t>(node: Node<'t>) -> Option<&'t str> {
    node.as_str()
}

/// The strings of a list of `String` nodes; anything else in it is left out.
pub(crate) fn names(list: &NodeList) -> Vec<&str> {
    list.iter().filter_map(text).collect()
}

/// Whether an optional part of a statement is missing.
pub(crate) fn absent(node: Node<'_>) -> bool {
    matches!(node, Node::None)
}
