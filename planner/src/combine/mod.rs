//! The third rung: each shard aggregates its own rows, and their partial results are combined.
//!
//! Entry point: [`combine`]. Needs the proof of `distribute` for FROM and WHERE. What PostgreSQL would compute of all rows is written
//! again over columns of partial results: `count(*)` becomes the sum of the shards' counts, `avg(x)` the sum of sums by the sum of
//! counts, in PostgreSQL's own arithmetic. If the output is nothing but grouped columns and such aggregates, the router
//! combines rows of equal groups as they come, in the order of the groups. Everything else (HAVING, expressions over
//! aggregates, other orders) is a query over the partial rows, which a server finishes.
//!
//! For aggregates over distinct values the shards group by these values too, so that each is sent once; but of the shard key each
//! shard has values that no other has.
//!
//! Not combined: ordered and ordered-set aggregates, those whose partial results are not exact (standard deviations of floats, covariances …)
//! or not kept apart (`array_agg` …), windows.

mod aggregate;
mod distinct;
mod pieces;
mod query;
mod rows;

use crate::bind::Binder;
use crate::distribute::Split;
use crate::facts::Variable;
use crate::parse::{Node, NodeList, nodes};
use crate::query::{QueryId, QueryKind};
use crate::rewrite::{expression, integer};
use crate::walk::children;
use crate::{Combine, Error, Scatter};
use query::over_partial_rows;
pub(crate) use rows::meant_by_sort;
use rows::rows;

/// Names of the router's own columns begin so.
const OWN: &str = "pgweave_";

/// How a query over partial results is answered.
pub(crate) enum Combining {
    /// By the router, row by row.
    Rows(Scatter),
    /// By a server, over the shards' rows.
    Query(Combine),
}

/// A grouped expression.
struct Key<'t> {
    node: Node<'t>,
    text: String,
    variable: Option<Variable>,
}

/// The plans for a query that aggregates, the cheaper first. `statement`: its bytes.
pub(crate) fn combine(
    select: &nodes::SelectStmt,
    root: QueryId,
    split: &Split,
    binder: &Binder<'_, '_>,
    statement: std::ops::Range<usize>,
) -> Result<Vec<Combining>, Error> {
    let query = &binder.bound.queries[root];
    let QueryKind::Level(level) = &query.kind else {
        return Ok(Vec::new());
    };
    let computes = level.computes;
    let aggregates = computes.aggregates || computes.grouping_sets || level.grouped.is_some();
    if !aggregates
        || computes.windows
        || computes.locks
        || !query.positions_known
        || binder.source.sql.contains(OWN)
        || !level.computed.is_empty()
    {
        return Ok(Vec::new());
    }
    let Some(keys) = keys(select, binder)? else {
        return Ok(Vec::new());
    };
    let mut ways = Vec::new();
    if !computes.grouping_sets
        && let Some(scatter) = rows(select, level, split, binder, &keys, statement)?
    {
        ways.push(Combining::Rows(scatter));
    }
    if let Some(combine) = over_partial_rows(select, root, split, binder, &keys)? {
        ways.push(Combining::Query(combine));
    }
    Ok(ways)
}

/// The expressions of GROUP BY, those of all grouping sets together.
fn keys<'t>(
    select: &'t nodes::SelectStmt,
    binder: &Binder<'_, '_>,
) -> Result<Option<Vec<Key<'t>>>, Error> {
    let mut keys: Vec<Key<'t>> = Vec::new();
    let mut stack: Vec<(Node<'t>, bool)> = select
        .group_clause()
        .iter()
        .map(|node| (node, false))
        .collect();
    stack.reverse();
    while let Some((node, in_set)) = stack.pop() {
        match node {
            Node::GroupingSet(set) => {
                stack.extend(set.content().iter().rev().map(|node| (node, true)));
                continue;
            }
            // Several expressions that are grouped by together.
            Node::RowExpr(row) if in_set => {
                stack.extend(row.args().iter().rev().map(|node| (node, true)));
                continue;
            }
            _ => {}
        }
        let Some(meant) = grouped(node, select, binder) else {
            return Ok(None);
        };
        if holds_a_query(meant)? || matches!(meant, Node::A_Const(_) | Node::ParamRef(_)) {
            return Ok(None);
        }
        let key = Key {
            node: meant,
            text: expression(meant)?,
            variable: match meant {
                Node::ColumnRef(reference) => binder.root_column(reference),
                _ => None,
            },
        };
        if !in_set || keys.iter().all(|known| known.text != key.text) {
            keys.push(key);
        }
    }
    Ok(Some(keys))
}

/// What an element of GROUP BY stands for: positions and names of outputs are outputs.
fn grouped<'t>(
    node: Node<'t>,
    select: &'t nodes::SelectStmt,
    binder: &Binder<'_, '_>,
) -> Option<Node<'t>> {
    match (integer(node), node) {
        (Some(position), _) => {
            let at = position.checked_sub(1)?;
            Some(select.target_list().iter().nth(at)?.val())
        }
        (None, Node::ColumnRef(reference)) if binder.root_column(reference).is_none() => {
            // Not a column of FROM: an output's name.
            let name = only_name(reference.fields());
            let target = select
                .target_list()
                .iter()
                .find(|target| target.name().is_some() && target.name() == name)?;
            Some(target.val())
        }
        (None, Node::A_Const(_)) => None,
        (None, node) => Some(node),
    }
}

/// Which of the keys an expression is.
fn key_of(node: Node<'_>, keys: &[Key<'_>], binder: &Binder<'_, '_>) -> Option<usize> {
    if let Node::ColumnRef(reference) = node
        && let Some(variable) = binder.root_column(reference)
    {
        return keys.iter().position(|key| key.variable == Some(variable));
    }
    let text = expression(node).ok()?;
    keys.iter().position(|key| key.text == text)
}

fn holds_a_query(node: Node<'_>) -> Result<bool, Error> {
    let mut stack = vec![node];
    while let Some(node) = stack.pop() {
        match node {
            Node::SelectStmt(_)
            | Node::SubLink(_)
            | Node::JsonObjectAgg(_)
            | Node::JsonArrayAgg(_) => {
                return Ok(true);
            }
            Node::ColumnRef(reference)
                if matches!(reference.fields().iter().next_back(), Some(Node::A_Star(_))) =>
            {
                return Ok(true);
            }
            _ => children(node, &mut stack)?,
        }
    }
    Ok(false)
}

/// The name that a reference consists of, if it has no others before it.
fn only_name(fields: &NodeList) -> Option<&str> {
    match fields.len() {
        1 => fields.first().and_then(Node::as_str),
        _ => None,
    }
}
