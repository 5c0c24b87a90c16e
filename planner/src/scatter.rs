//! The second rung: each shard answers for its own rows, and the router merges what they say.
//!
//! Entry point: [`scatter`]. Needs the proof of `distribute`. Rows are put together in the order of the shards' own sorting, so that
//! ORDER BY, LIMIT and DISTINCT need no memory; what they compare must stand in the rows, in columns of its own where the
//! client has not asked for it, or in a form whose text depends on settings.

use catalog::Column;

use crate::bind::Binder;
use crate::distribute::Split;
use crate::facts::Variable;
use crate::operand::{OperandValue, operand};
use crate::parse::{LimitOption, Node, SetOperation, SortByDir, SortByNulls, nodes};
use crate::query::{Item, Level, Query, QueryId, QueryKind};
use crate::rewrite::{LimitEdit, SelectEdit, integer};
use crate::turns::{Turning, turning};
use crate::{Access, Amount, Error, Learned, Merge, MergeKey, Scatter};

/// Types whose text is the same under all settings: "char", name, int8, int2, int4, text, oid, bool, bpchar, varchar, numeric, uuid.
const PLAIN_TEXT: [u32; 12] = [18, 19, 20, 21, 23, 25, 26, 16, 1042, 1043, 1700, 2950];

/// The plan, if this query can be scattered. `root` is the select, bound.
pub(crate) fn scatter(
    select: &nodes::SelectStmt,
    root: QueryId,
    split: &Split,
    binder: &Binder<'_, '_>,
    statement: std::ops::Range<usize>,
) -> Result<Option<Scatter>, Error> {
    let query = &binder.bound.queries[root];
    let level = match &query.kind {
        QueryKind::Level(level) => Some(&**level),
        QueryKind::SetOperation { .. } => None,
        QueryKind::Recursive { .. } => return Ok(None),
    };
    if let Some(level) = level
        && !level_is_fit(level, split)
    {
        return Ok(None);
    }
    let parameters = u16::try_from(binder.bound.findings.parameters.len()).unwrap_or(u16::MAX);
    let Some(limits) = limits(select, binder, parameters) else {
        return Ok(None);
    };
    let mut columns = Columns {
        select,
        query,
        level,
        binder,
        hidden: Vec::new(),
        keys: Vec::new(),
    };
    if !columns.order_by()? {
        return Ok(None);
    }
    let ordered = columns.keys.len();
    let computes = level.map(|level| level.computes).unwrap_or_default();
    let mut also_order_by = 0;
    let distinct = if computes.distinct_on {
        let on = select.distinct_clause().len();
        if on > ordered {
            return Ok(None);
        }
        Some(on)
    } else if computes.distinct && !split.rows_apart(&binder.bound, root) {
        if !columns.all_outputs() {
            return Ok(None);
        }
        also_order_by = columns.keys.len() - ordered;
        Some(columns.keys.len())
    } else {
        None
    };
    let turning = match turning(&limits, computes, ordered, select, level, binder) {
        Some(turning) => turning,
        None => return Ok(None),
    };
    let shift = columns.hidden.len() + turning.key().len();
    if shift > 0 && !query.positions_known {
        return Ok(None);
    }
    let keys: Vec<MergeKey> = columns.keys.iter().map(|key| key.of_row(shift)).collect();
    let first_columns: Vec<(Node<'_>, String)> = columns
        .hidden
        .iter()
        .enumerate()
        .map(|(index, node)| (*node, format!("pgweave_{}", index + 1)))
        .collect();
    let edit = SelectEdit {
        first_columns,
        more_columns: turning.key_columns(),
        unlocked: matches!(turning, Turning::Chosen { .. }),
        also_order_by: keys[keys.len() - also_order_by..]
            .iter()
            .map(|key| usize::from(key.column) + 1)
            .collect(),
        limit: limits.pushed,
        ..SelectEdit::default()
    };
    let turns = turning.turns(select, edit.clone(), parameters)?;
    let types = match edit.changes_nothing() {
        true => known_types(&keys, query, binder),
        false => None,
    };
    Ok(Some(Scatter {
        statement,
        group: split.group,
        shards: None,
        sql: match edit.changes_nothing() {
            true => None,
            false => Some(edit.text(select)?),
        },
        columns: u16::try_from(query.outputs.len()).unwrap_or(u16::MAX),
        learned: Learned::default(),
        hidden: u16::try_from(shift).unwrap_or(u16::MAX),
        merge: Merge {
            keys,
            combine: None,
            distinct,
            ordered,
            limit: limits.limit,
            offset: limits.offset,
            with_ties: limits.with_ties,
            types,
        },
        locks: binder.bound.findings.access == Some(Access::LockingRead),
        parameters,
        turns,
        moment: false,
        limit_parameter: limits.by_parameter(),
        otherwise: None,
    }))
}

/// The first `pg_type.oid` of types that users have made: what they are like, only servers know.
const FIRST_OF_USERS: u32 = 16_384;

/// The type of a column of a table, if it is one of PostgreSQL's own.
pub(crate) fn own_type(variable: Variable, binder: &Binder<'_, '_>) -> Option<u32> {
    let column = binder.table_column(variable)?;
    (column.type_oid < FIRST_OF_USERS).then_some(column.type_oid)
}

/// Whether FROM is one sharded table: what a join makes of two columns by USING may be of another type than either.
pub(crate) fn is_of_one_table(level: &Level, binder: &Binder<'_, '_>) -> bool {
    match level.items.as_slice() {
        [item] => matches!(binder.bound.items[*item], Item::Sharded { .. }),
        _ => false,
    }
}

/// The types of the outputs that rows are merged by, if they are columns of tables.
pub(crate) fn known_types(
    keys: &[MergeKey],
    query: &Query,
    binder: &Binder<'_, '_>,
) -> Option<Vec<u32>> {
    let QueryKind::Level(level) = &query.kind else {
        return None;
    };
    if !query.positions_known || !is_of_one_table(level, binder) {
        return None;
    }
    let mut types = vec![0; query.outputs.len()];
    for key in keys {
        let column = usize::from(key.column);
        let variable = query.outputs.get(column)?.variable?;
        *types.get_mut(column)? = own_type(variable, binder)?;
    }
    Some(types)
}

/// Whether what the level computes can be computed by each shard for its own rows.
fn level_is_fit(level: &Level, split: &Split) -> bool {
    let computes = level.computes;
    let groups = computes.aggregates || level.grouped.is_some();
    !computes.windows
        && !computes.grouping_sets
        && (!groups || split.groups_apart(level))
        && !(computes.locks && (computes.distinct || computes.distinct_on))
}

pub(crate) struct Limits {
    pub limit: Option<Amount>,
    pub offset: Option<Amount>,
    pub with_ties: bool,
    pub pushed: LimitEdit,
}

impl Limits {
    /// Whether shards are told by a parameter of their own.
    pub fn by_parameter(&self) -> bool {
        matches!(self.pushed, LimitEdit::Parameter(_))
    }
}

/// LIMIT and OFFSET, if the router can tell how many rows they mean.
pub(crate) fn limits(
    select: &nodes::SelectStmt,
    binder: &Binder<'_, '_>,
    parameters: u16,
) -> Option<Limits> {
    let limit = amount(select.limit_count(), binder)?;
    let offset = amount(select.limit_offset(), binder)?;
    let pushed = match (limit, offset) {
        (None, None) if matches!(select.limit_count(), Node::None) => LimitEdit::Keep,
        (None, _) => LimitEdit::None,
        (Some(_), None) => LimitEdit::Keep,
        (Some(Amount::Rows(limit)), Some(Amount::Rows(offset))) => {
            match limit.checked_add(offset) {
                Some(rows) => LimitEdit::Rows(rows),
                None => LimitEdit::None,
            }
        }
        _ => LimitEdit::Parameter(parameters.checked_add(1)?),
    };
    let pushed = match (pushed, offset) {
        (LimitEdit::Keep, Some(_)) => LimitEdit::None,
        (pushed, _) => pushed,
    };
    Some(Limits {
        limit,
        offset,
        with_ties: select.limit_option == LimitOption::LIMIT_OPTION_WITH_TIES,
        pushed,
    })
}

/// `None`: not to be told. `Some(None)`: not given, or NULL.
fn amount(node: Node<'_>, binder: &Binder<'_, '_>) -> Option<Option<Amount>> {
    if matches!(node, Node::None) {
        return Some(None);
    }
    let operand = operand(node, binder.source)?;
    if operand.array {
        return None;
    }
    match operand.value {
        OperandValue::Null => Some(None),
        OperandValue::Number { text, .. } => {
            let rows: i64 = text.parse().ok()?;
            // An error of PostgreSQL's own.
            (rows >= 0).then_some(Some(Amount::Rows(rows)))
        }
        OperandValue::Parameter(index) => Some(Some(Amount::Parameter(index))),
        OperandValue::Text(_) | OperandValue::Boolean(_) | OperandValue::Literal { .. } => None,
    }
}

/// Where a value to compare stands.
#[derive(Clone, Copy)]
enum Place {
    Output(usize),
    Hidden(usize),
}

struct Key {
    place: Place,
    descending: bool,
    nulls_first: bool,
    bytewise: bool,
}

impl Key {
    fn of_row(&self, shift: usize) -> MergeKey {
        let column = match self.place {
            Place::Output(index) => shift + index,
            Place::Hidden(index) => index,
        };
        MergeKey {
            column: u16::try_from(column).unwrap_or(u16::MAX),
            descending: self.descending,
            nulls_first: self.nulls_first,
            bytewise: self.bytewise,
        }
    }
}

struct Columns<'t, 'b, 'c, 's> {
    select: &'t nodes::SelectStmt,
    query: &'b Query,
    /// `None`: a set operation, whose branches take no further columns.
    level: Option<&'b Level>,
    binder: &'b Binder<'c, 's>,
    hidden: Vec<Node<'t>>,
    keys: Vec<Key>,
}

impl<'t> Columns<'t, '_, '_, '_> {
    /// The keys of ORDER BY; `false` if the router cannot know them.
    fn order_by(&mut self) -> Result<bool, Error> {
        for (index, sort) in self.select.sort_clause().iter().enumerate() {
            if sort.sortby_dir == SortByDir::SORTBY_USING {
                return Ok(false);
            }
            let descending = sort.sortby_dir == SortByDir::SORTBY_DESC;
            let nulls_first = match sort.sortby_nulls {
                SortByNulls::SORTBY_NULLS_FIRST => true,
                SortByNulls::SORTBY_NULLS_LAST => false,
                _ => descending,
            };
            let Some((place, bytewise)) = self.place(sort.node(), index) else {
                return Ok(false);
            };
            self.keys.push(Key {
                place,
                descending,
                nulls_first,
                bytewise,
            });
        }
        Ok(true)
    }

    /// Where the value of an element of ORDER BY is to be found.
    fn place(&mut self, node: Node<'t>, index: usize) -> Option<(Place, bool)> {
        let named = match node {
            Node::ColumnRef(reference) if reference.fields().len() == 1 => {
                reference.fields().iter().next().and_then(Node::as_str)
            }
            _ => None,
        };
        let output = match (integer(node), named) {
            (Some(position), _) => Some(position.checked_sub(1)?),
            (None, Some(name)) => {
                if !self.query.names_known {
                    return None;
                }
                let is = |output: &crate::query::Output| output.name.as_deref() == Some(name);
                self.query.outputs.iter().position(is)
            }
            (None, None) => None,
        };
        if output.is_some() && !self.query.positions_known {
            return None;
        }
        if let Some(output) = output {
            return self.output(output, Some(node).filter(|_| named.is_some()));
        }
        let level = self.level?;
        let variable = level.sorted.get(index).copied().flatten();
        let column = variable.and_then(|variable| self.binder.table_column(variable));
        if let Some(shown) = variable.and_then(|variable| self.shown(variable))
            && column.is_some_and(is_plain_text)
        {
            return Some((
                Place::Output(shown),
                column.is_some_and(|column| column.sorts_by_bytes),
            ));
        }
        let bytewise = column.is_some_and(|column| column.sorts_by_bytes) || is_c(node);
        Some((self.hide(node), bytewise))
    }

    /// An output column, or a copy of it where its text may not be readable. `by_name`: how ORDER BY calls it.
    fn output(&mut self, index: usize, by_name: Option<Node<'t>>) -> Option<(Place, bool)> {
        let output = self.query.outputs.get(index)?;
        let column = output
            .variable
            .and_then(|variable| self.binder.table_column(variable));
        let bytewise = column.is_some_and(|column| column.sorts_by_bytes);
        if column.is_some_and(is_plain_text) || self.level.is_none() {
            return Some((Place::Output(index), bytewise));
        }
        let star = |target: &nodes::ResTarget| match target.val() {
            Node::ColumnRef(reference) => {
                matches!(reference.fields().iter().next_back(), Some(Node::A_Star(_)))
            }
            Node::A_Indirection(_) => true,
            _ => false,
        };
        let targets = self.select.target_list();
        if !targets.iter().any(star) {
            let target = targets.iter().nth(index)?;
            let bytewise = bytewise || is_c(target.val());
            return Some((self.hide(target.val()), bytewise));
        }
        // The name means a column of FROM as well, and the same one.
        let same = by_name.is_some() && output.variable.is_some() && {
            let sorted = &self.level?.sorted;
            (self.select.sort_clause().iter().zip(sorted)).any(|(sort, variable)| {
                *variable == output.variable
                    && by_name.is_some_and(|node| same_name(sort.node(), node))
            })
        };
        match by_name.filter(|_| same) {
            Some(node) => Some((self.hide(node), bytewise)),
            None => Some((Place::Output(index), bytewise)),
        }
    }

    fn shown(&self, variable: u32) -> Option<usize> {
        self.query
            .outputs
            .iter()
            .position(|output| output.variable == Some(variable))
            .filter(|_| self.query.positions_known)
    }

    fn hide(&mut self, node: Node<'t>) -> Place {
        self.hidden.push(node);
        Place::Hidden(self.hidden.len() - 1)
    }

    /// Makes keys of all outputs that are none yet. `false`: they are not all known.
    fn all_outputs(&mut self) -> bool {
        if !self.query.positions_known {
            return false;
        }
        for index in 0..self.query.outputs.len() {
            let known = |key: &Key| matches!(key.place, Place::Output(other) if other == index);
            if self.keys.iter().any(known) {
                continue;
            }
            let Some((place, bytewise)) = self.output(index, None) else {
                return false;
            };
            self.keys.push(Key {
                place,
                descending: false,
                nulls_first: false,
                bytewise,
            });
        }
        true
    }
}

pub(crate) fn is_plain_text(column: &Column) -> bool {
    PLAIN_TEXT.contains(&column.type_oid)
}

fn same_name(one: Node<'_>, other: Node<'_>) -> bool {
    match (one, other) {
        (Node::ColumnRef(one), Node::ColumnRef(other)) => one.location == other.location,
        _ => false,
    }
}

/// `… COLLATE "C"`.
fn is_c(node: Node<'_>) -> bool {
    match node {
        Node::CollateClause(clause) => clause
            .collname()
            .iter()
            .next_back()
            .and_then(Node::as_str)
            .is_some_and(|name| matches!(name, "C" | "POSIX")),
        _ => false,
    }
}

/// Whether the root of a statement is a plain SELECT or a UNION of such.
pub(crate) fn is_query(select: &nodes::SelectStmt) -> bool {
    select.op != SetOperation::SETOP_NONE || select.values_lists().is_empty()
}
