//! Groups that the router itself combines, row by row.

use super::aggregate::{Aggregate, aggregate, own_name};
use super::{Key, OWN, key_of, only_name};
use crate::bind::Binder;
use crate::distribute::Split;
use crate::parse::{LimitOption, Node, SortByDir, SortByNulls, nodes};
use crate::query::Level;
use crate::rewrite::{SelectEdit, integer};
use crate::scatter::{is_of_one_table, is_plain_text, limits, own_type};
use crate::{Combined, Error, Learned, Merge, MergeKey, Scatter, Turns};

/// `pg_type.oid`s.
const BOOLEAN: u32 = 16;
const BIGINT: u32 = 20;
const SMALLINT: u32 = 21;
const INTEGER: u32 = 23;
const TEXT: u32 = 25;
const REAL: u32 = 700;
const DOUBLE: u32 = 701;
const DATE: u32 = 1082;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const NUMERIC: u32 = 1700;

/// The plan for the router itself: outputs are grouped columns and aggregates, and nothing else is asked.
pub(super) fn rows(
    select: &nodes::SelectStmt,
    level: &Level,
    split: &Split,
    binder: &Binder<'_, '_>,
    keys: &[Key<'_>],
    statement: std::ops::Range<usize>,
) -> Result<Option<Scatter>, Error> {
    let computes = level.computes;
    let parameters = u16::try_from(binder.bound.findings.parameters.len()).unwrap_or(u16::MAX);
    if computes.distinct
        || computes.distinct_on
        || !matches!(select.having_clause(), Node::None)
        || select.limit_option == LimitOption::LIMIT_OPTION_WITH_TIES
    {
        return Ok(None);
    }
    let Some(limits) = limits(select, binder, parameters) else {
        return Ok(None);
    };
    // What each output is, and where each key is shown.
    let mut combined = Vec::new();
    let mut types = Vec::new();
    let mut shown: Vec<Option<usize>> = vec![None; keys.len()];
    for (index, target) in select.target_list().iter().enumerate() {
        combined.push(match target.val() {
            Node::FuncCall(call) if binder.is_aggregate(call) => {
                let bytewise = call
                    .args()
                    .first()
                    .is_some_and(|argument| is_bytewise(argument, binder));
                types.push(aggregated_type(call, binder));
                match aggregate(call, binder, Some(split.group)) {
                    Some(Aggregate::Count) => Combined::Count,
                    Some(Aggregate::Sum) => Combined::Sum,
                    Some(Aggregate::Itself(_, Some(Combined::Least { .. }))) => {
                        Combined::Least { bytewise }
                    }
                    Some(Aggregate::Itself(_, Some(Combined::Greatest { .. }))) => {
                        Combined::Greatest { bytewise }
                    }
                    Some(Aggregate::Itself(_, Some(combined))) => combined,
                    Some(
                        Aggregate::Itself(_, None)
                        | Aggregate::Average
                        | Aggregate::Variance { .. },
                    )
                    | None => return Ok(None),
                }
            }
            node => match key_of(node, keys, binder) {
                Some(key) => {
                    shown[key].get_or_insert(index);
                    types.push(Some(0));
                    Combined::Key
                }
                None => return Ok(None),
            },
        });
    }
    // The order of the groups: as ORDER BY has them, then those that it has not.
    let mut order: Vec<(usize, bool, bool)> = Vec::new();
    for sort in select.sort_clause() {
        if sort.sortby_dir == SortByDir::SORTBY_USING {
            return Ok(None);
        }
        let node = match meant_by_sort(sort.node(), select) {
            Some(node) => node,
            None => return Ok(None),
        };
        let Some(key) = key_of(node, keys, binder) else {
            return Ok(None);
        };
        let descending = sort.sortby_dir == SortByDir::SORTBY_DESC;
        let nulls_first = match sort.sortby_nulls {
            SortByNulls::SORTBY_NULLS_FIRST => true,
            SortByNulls::SORTBY_NULLS_LAST => false,
            _ => descending,
        };
        order.push((key, descending, nulls_first));
    }
    let ordered = order.len();
    for key in 0..keys.len() {
        if !order.iter().any(|(known, ..)| *known == key) {
            order.push((key, false, false));
        }
    }
    let mut hidden: Vec<Node<'_>> = Vec::new();
    let mut places = Vec::new();
    for (key, ..) in &order {
        let column = keys[*key]
            .variable
            .and_then(|variable| binder.table_column(variable));
        places.push(match shown[*key] {
            Some(output) if column.is_some_and(is_plain_text) => Err(output),
            _ => {
                hidden.push(keys[*key].node);
                Ok(hidden.len() - 1)
            }
        });
    }
    let merge_keys: Vec<MergeKey> = order
        .iter()
        .zip(&places)
        .map(|((key, descending, nulls_first), place)| {
            let column = match place {
                Ok(index) => *index,
                Err(output) => hidden.len() + output,
            };
            MergeKey {
                column: u16::try_from(column).unwrap_or(u16::MAX),
                descending: *descending,
                nulls_first: *nulls_first,
                bytewise: is_bytewise(keys[*key].node, binder),
            }
        })
        .collect();
    let edit = SelectEdit {
        first_columns: hidden
            .iter()
            .enumerate()
            .map(|(index, node)| (*node, format!("{OWN}{}", index + 1)))
            .collect(),
        also_order_by: merge_keys[ordered..]
            .iter()
            .map(|key| usize::from(key.column) + 1)
            .collect(),
        limit: limits.pushed,
        ..SelectEdit::default()
    };
    let (sql, types) = match edit.changes_nothing() {
        true => (None, types.into_iter().collect::<Option<Vec<u32>>>()),
        false => (Some(edit.text(select)?), None),
    };
    // Keys would have changed the order.
    let types = types.filter(|_| merge_keys.is_empty() && is_of_one_table(level, binder));
    Ok(Some(Scatter {
        statement,
        group: split.group,
        shards: None,
        sql,
        hidden: u16::try_from(hidden.len()).unwrap_or(u16::MAX),
        columns: u16::try_from(combined.len()).unwrap_or(u16::MAX),
        merge: Merge {
            keys: merge_keys,
            combine: Some(combined),
            distinct: None,
            ordered,
            limit: limits.limit,
            offset: limits.offset,
            with_ties: false,
            types,
        },
        locks: false,
        parameters,
        turns: Turns::AtOnce,
        moment: false,
        limit_parameter: limits.by_parameter(),
        learned: Learned::default(),
        otherwise: None,
    }))
}

/// The type of an aggregate's value, where PostgreSQL's own types leave no doubt: of a column of a table.
fn aggregated_type(call: &nodes::FuncCall, binder: &Binder<'_, '_>) -> Option<u32> {
    let argument = || match call.args().first() {
        Some(Node::ColumnRef(reference)) => {
            let variable = binder.root_column(reference)?;
            own_type(variable, binder)
        }
        _ => None,
    };
    match own_name(call, binder)? {
        "count" | "regr_count" => Some(BIGINT),
        "bool_and" | "bool_or" | "every" => Some(BOOLEAN),
        "sum" => match argument()? {
            SMALLINT | INTEGER => Some(BIGINT),
            BIGINT | NUMERIC => Some(NUMERIC),
            float @ (REAL | DOUBLE) => Some(float),
            _ => None,
        },
        "min" | "max" => argument().filter(|oid| {
            matches!(
                *oid,
                SMALLINT | INTEGER | BIGINT | NUMERIC | REAL | DOUBLE | DATE
            ) || matches!(*oid, TIMESTAMP | TIMESTAMPTZ | TEXT)
        }),
        "bit_and" | "bit_or" | "bit_xor" => {
            argument().filter(|oid| matches!(*oid, SMALLINT | INTEGER | BIGINT))
        }
        _ => None,
    }
}

/// The expression that an element of ORDER BY stands for.
pub(crate) fn meant_by_sort<'t>(node: Node<'t>, select: &'t nodes::SelectStmt) -> Option<Node<'t>> {
    if let Some(position) = integer(node) {
        return Some(
            select
                .target_list()
                .iter()
                .nth(position.checked_sub(1)?)?
                .val(),
        );
    }
    let name = match node {
        Node::ColumnRef(reference) => only_name(reference.fields()),
        _ => None,
    };
    // An output's name comes before a column's.
    let named = select
        .target_list()
        .iter()
        .find(|target| name.is_some() && target.name() == name);
    Some(named.map_or(node, |target| target.val()))
}

/// Whether an expression is a text column whose order is that of its bytes.
fn is_bytewise(node: Node<'_>, binder: &Binder<'_, '_>) -> bool {
    match node {
        Node::ColumnRef(reference) => binder
            .root_column(reference)
            .and_then(|variable| binder.table_column(variable))
            .is_some_and(|column| column.sorts_by_bytes),
        _ => false,
    }
}
