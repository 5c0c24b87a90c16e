//! The third rung: each shard aggregates its own rows, and their partial results are combined.
//!
//! Entry point: [`combine`]. Needs the proof of `distribute` for FROM and WHERE. What PostgreSQL would compute of all rows is written
//! again over columns of partial results: `count(*)` becomes the sum of the shards' counts, `avg(x)` the sum of sums by the sum of
//! counts, in PostgreSQL's own arithmetic. If the output is nothing but grouped columns and such aggregates, the router
//! combines rows of equal groups as they come, in the order of the groups. Everything else (HAVING, expressions over
//! aggregates, other orders) is a query over the partial rows, which a server finishes.
//!
//! For aggregates over distinct values the shards group by these values too, so that each is sent once.
//!
//! Not combined: ordered and ordered-set aggregates, those whose partial results are not exact or not kept apart (the
//! standard deviations, `array_agg` …), grouping sets, windows.

use crate::bind::Binder;
use crate::distribute::Split;
use crate::facts::Variable;
use crate::parse::{GroupingSetKind, LimitOption, Node, NodeList, SortByDir, SortByNulls, nodes};
use crate::query::{Level, QueryId, QueryKind};
use crate::rewrite::{SelectEdit, expression, integer, replaced};
use crate::scatter::{is_plain_text, limits};
use crate::walk::children;
use crate::{Combine, Combined, Error, Learned, Merge, MergeKey, Piece, Scatter, Turns};

/// Names of the router's own columns begin so.
const OWN: &str = "pgweave_";

/// How a query over partial results is answered.
pub(crate) enum Combining {
    /// By the router, row by row.
    Rows(Scatter),
    /// By a server, over the shards' rows.
    Query(Combine),
}

/// An aggregate of which shards give partial results.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Count,
    Sum,
    Average,
    /// Combined by the function itself.
    Itself(&'static str, Combined),
}

/// A grouped expression.
struct Key<'t> {
    node: Node<'t>,
    text: String,
    variable: Option<Variable>,
}

struct Rewriter<'t, 'b, 'c, 's> {
    binder: &'b Binder<'c, 's>,
    keys: Vec<Key<'t>>,
    /// What DISTINCT aggregates look at: the shards group by it as well. As SQL.
    distinct: Vec<String>,
    /// The shards' columns after these, as SQL.
    partials: Vec<String>,
    /// What an own column's number stands for.
    combined: Vec<Piece>,
    possible: bool,
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
    let rewriter = Rewriter {
        binder,
        keys,
        distinct: Vec::new(),
        partials: Vec::new(),
        combined: Vec::new(),
        possible: true,
    };
    if let Some(combine) = rewriter.query(select, root, split)? {
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

/// The aggregate that a call is, if its partial results can be combined.
fn aggregate(call: &nodes::FuncCall, binder: &Binder<'_, '_>) -> Option<Aggregate> {
    let path: Vec<&str> = call.funcname().iter().filter_map(Node::as_str).collect();
    let name = match path.as_slice() {
        [name] | ["pg_catalog", name] => *name,
        _ => return None,
    };
    if path.len() == 1 && !binder.context.catalog.functions(name).is_empty() {
        return None;
    }
    if call.agg_within_group
        || call.func_variadic
        || !call.agg_order().is_empty()
        || call.over().is_some()
    {
        return None;
    }
    let itself = |name, combined| Some(Aggregate::Itself(name, combined));
    match name {
        "min" => itself("min", Combined::Least { bytewise: false }),
        "max" => itself("max", Combined::Greatest { bytewise: false }),
        "bool_and" | "every" => itself("bool_and", Combined::And),
        "bool_or" => itself("bool_or", Combined::Or),
        "bit_and" => itself("bit_and", Combined::BitAnd),
        "bit_or" => itself("bit_or", Combined::BitOr),
        _ if call.agg_distinct => None,
        "bit_xor" => itself("bit_xor", Combined::BitXor),
        "count" => Some(Aggregate::Count),
        "sum" => Some(Aggregate::Sum),
        "avg" => Some(Aggregate::Average),
        _ => None,
    }
}

/// The plan for the router itself: outputs are grouped columns and aggregates, and nothing else is asked.
fn rows(
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
    let mut shown: Vec<Option<usize>> = vec![None; keys.len()];
    for (index, target) in select.target_list().iter().enumerate() {
        combined.push(match target.val() {
            Node::FuncCall(call) if binder.is_aggregate(call) => {
                let bytewise = call
                    .args()
                    .first()
                    .is_some_and(|argument| is_bytewise(argument, binder));
                match aggregate(call, binder) {
                    Some(Aggregate::Count) => Combined::Count,
                    Some(Aggregate::Sum) => Combined::Sum,
                    Some(Aggregate::Itself(_, Combined::Least { .. })) => {
                        Combined::Least { bytewise }
                    }
                    Some(Aggregate::Itself(_, Combined::Greatest { .. })) => {
                        Combined::Greatest { bytewise }
                    }
                    Some(Aggregate::Itself(_, combined)) => combined,
                    Some(Aggregate::Average) | None => return Ok(None),
                }
            }
            node => match key_of(node, keys, binder) {
                Some(key) => {
                    shown[key].get_or_insert(index);
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
    let sql = match edit.changes_nothing() {
        true => None,
        false => Some(edit.text(select)?),
    };
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

/// The expression that an element of ORDER BY stands for.
fn meant_by_sort<'t>(node: Node<'t>, select: &'t nodes::SelectStmt) -> Option<Node<'t>> {
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

impl Rewriter<'_, '_, '_, '_> {
    /// The query over partial rows.
    fn query(
        mut self,
        select: &nodes::SelectStmt,
        root: QueryId,
        split: &Split,
    ) -> Result<Option<Combine>, Error> {
        let outputs = &self.binder.bound.queries[root].outputs;
        let mut targets = Vec::new();
        for (target, output) in select.target_list().iter().zip(outputs) {
            let Some(name) = &output.name else {
                return Ok(None);
            };
            let sql = self.rewrite(target.val())?;
            targets.push(format!("{sql} AS {}", catalog::quote_identifier(name)));
        }
        if targets.len() != outputs.len() || targets.len() != select.target_list().len() {
            return Ok(None);
        }
        let mut sql = "SELECT ".to_owned();
        let distinct = select.distinct_clause();
        if distinct.iter().any(|node| matches!(node, Node::None)) {
            sql.push_str("DISTINCT ");
        } else if !distinct.is_empty() {
            let mut on = Vec::new();
            for node in distinct {
                on.push(self.by_name_or_value(node, select, root)?);
            }
            sql.push_str(&format!("DISTINCT ON ({}) ", on.join(", ")));
        }
        sql.push_str(&targets.join(", "));
        sql.push_str(&format!(" FROM {OWN}relation"));
        let groups = select.group_clause();
        if !groups.is_empty() {
            let mut elements = Vec::new();
            for node in groups {
                elements.push(self.grouping(node, select)?);
            }
            let distinct = if select.group_distinct {
                "DISTINCT "
            } else {
                ""
            };
            sql.push_str(&format!(" GROUP BY {distinct}{}", elements.join(", ")));
        }
        if !matches!(select.having_clause(), Node::None) {
            let having = self.rewrite(select.having_clause())?;
            sql.push_str(&format!(" HAVING {having}"));
        }
        let mut order = Vec::new();
        for sort in select.sort_clause() {
            let mut element = self.by_name_or_value(sort.node(), select, root)?;
            element.push_str(match sort.sortby_dir {
                SortByDir::SORTBY_DESC => " DESC",
                SortByDir::SORTBY_USING => return Ok(None),
                _ => "",
            });
            element.push_str(match sort.sortby_nulls {
                SortByNulls::SORTBY_NULLS_FIRST => " NULLS FIRST",
                SortByNulls::SORTBY_NULLS_LAST => " NULLS LAST",
                _ => "",
            });
            order.push(element);
        }
        if !order.is_empty() {
            sql.push_str(&format!(" ORDER BY {}", order.join(", ")));
        }
        if !matches!(select.limit_offset(), Node::None) {
            let offset = self.rewrite(select.limit_offset())?;
            sql.push_str(&format!(" OFFSET ({offset})"));
        }
        if !matches!(select.limit_count(), Node::None) {
            let count = self.rewrite(select.limit_count())?;
            if select.limit_option == LimitOption::LIMIT_OPTION_WITH_TIES {
                sql.push_str(&format!(" FETCH FIRST ({count}) ROWS WITH TIES"));
            } else {
                sql.push_str(&format!(" LIMIT ({count})"));
            }
        }
        // Without any column the shards would send a row for each of theirs.
        let asked = self.keys.len() + self.distinct.len() + self.partials.len();
        if !self.possible || asked == 0 {
            return Ok(None);
        }
        let partial = self.partial_query(select)?;
        Ok(Some(Combine {
            group: split.group,
            shards: None,
            sql: partial,
            moment: false,
            keys: self.keys.len() + self.distinct.len(),
            finish: pieces(&sql, &self.combined)?,
            learned: Learned::default(),
            otherwise: None,
        }))
    }

    /// An element of GROUP BY over the shards' columns.
    fn grouping(&mut self, node: Node<'_>, select: &nodes::SelectStmt) -> Result<String, Error> {
        let mut list = |nodes: &NodeList| -> Result<String, Error> {
            let mut elements = Vec::new();
            for node in nodes {
                elements.push(match node {
                    Node::RowExpr(row) => {
                        let mut together = Vec::new();
                        for node in row.args() {
                            together.push(self.grouping(node, select)?);
                        }
                        format!("({})", together.join(", "))
                    }
                    node => self.grouping(node, select)?,
                });
            }
            Ok(elements.join(", "))
        };
        if let Node::GroupingSet(set) = node {
            return Ok(match set.kind {
                GroupingSetKind::GROUPING_SET_EMPTY => "()".to_owned(),
                GroupingSetKind::GROUPING_SET_ROLLUP => {
                    format!("ROLLUP ({})", list(set.content())?)
                }
                GroupingSetKind::GROUPING_SET_CUBE => format!("CUBE ({})", list(set.content())?),
                GroupingSetKind::GROUPING_SET_SETS => {
                    format!("GROUPING SETS ({})", list(set.content())?)
                }
                _ => {
                    self.possible = false;
                    String::new()
                }
            });
        }
        let key = grouped(node, select, self.binder)
            .and_then(|meant| key_of(meant, &self.keys, self.binder));
        self.possible &= key.is_some();
        Ok(key.map_or(String::new(), key_name))
    }

    /// What each shard is asked: keys first, then partial results.
    fn partial_query(&self, select: &nodes::SelectStmt) -> Result<String, Error> {
        let mut columns = Vec::new();
        for (index, key) in self.keys.iter().enumerate() {
            columns.push((key.node, key_name(index)));
        }
        let edit = SelectEdit {
            first_columns: columns,
            only_those: true,
            grouped_by_first: self.keys.len() + self.distinct.len(),
            more_columns: numbered(&self.distinct, 'd')
                .chain(numbered(&self.partials, 'p'))
                .collect(),
            ..SelectEdit::default()
        };
        edit.text(select)
    }

    /// ORDER BY and DISTINCT ON: positions and names of outputs stay what they are.
    fn by_name_or_value(
        &mut self,
        node: Node<'_>,
        select: &nodes::SelectStmt,
        root: QueryId,
    ) -> Result<String, Error> {
        let name = match node {
            Node::ColumnRef(reference) => only_name(reference.fields()),
            _ => None,
        };
        let query = &self.binder.bound.queries[root];
        if name.is_some() && !query.names_known {
            self.possible = false;
        }
        let is_output = name.is_some()
            && query
                .outputs
                .iter()
                .any(|output| output.name.as_deref() == name);
        match (integer(node), name) {
            (Some(position), _) => {
                self.possible &= (1..=select.target_list().len()).contains(&position);
                Ok(position.to_string())
            }
            (None, Some(name)) if is_output => Ok(catalog::quote_identifier(name).to_string()),
            _ => self.rewrite(node),
        }
    }

    /// An expression over the shards' columns.
    fn rewrite(&mut self, node: Node<'_>) -> Result<String, Error> {
        if holds_a_query(node)? {
            self.possible = false;
            return Ok(String::new());
        }
        replaced(node, |node| self.replacement(node))
    }

    fn replacement(&mut self, node: Node<'_>) -> Option<String> {
        if let Node::FuncCall(call) = node
            && self.binder.is_aggregate(call)
        {
            let name = self.partial(node, call);
            self.possible &= name.is_some();
            return Some(name.unwrap_or_else(|| format!("{OWN}none")));
        }
        if let Some(key) = key_of(node, &self.keys, self.binder) {
            return Some(key_name(key));
        }
        // Neither grouped nor aggregated: by a primary key, perhaps.
        self.possible &= !matches!(node, Node::ColumnRef(_));
        None
    }

    /// The own column that stands for an aggregate.
    fn partial(&mut self, node: Node<'_>, call: &nodes::FuncCall) -> Option<String> {
        if let Some(piece) = self.distinct(call) {
            self.combined.push(piece);
            return Some(format!("{OWN}c{}", self.combined.len() - 1));
        }
        let aggregate = aggregate(call, self.binder)?;
        let text = expression(node).ok()?;
        let piece = match aggregate {
            Aggregate::Count => Piece::Count(self.column(text)),
            Aggregate::Sum => Piece::Sum(self.column(text)),
            Aggregate::Average => {
                let (sum, count) = (called(node, "sum")?, called(node, "count")?);
                Piece::Average {
                    sum: self.column(sum),
                    count: self.column(count),
                }
            }
            Aggregate::Itself(name, _) => {
                let column = self.column(text);
                Piece::Text(format!("(pg_catalog.{name}({OWN}p{column}))"))
            }
        };
        self.combined.push(piece);
        Some(format!("{OWN}c{}", self.combined.len() - 1))
    }

    /// An aggregate over distinct values, which a server finds among those of all shards.
    fn distinct(&mut self, call: &nodes::FuncCall) -> Option<Piece> {
        let path: Vec<&str> = call.funcname().iter().filter_map(Node::as_str).collect();
        let name = match path.as_slice() {
            [name] | ["pg_catalog", name] => *name,
            _ => return None,
        };
        let plain = call.agg_distinct
            && matches!(name, "count" | "sum" | "avg")
            && (path.len() == 2 || self.binder.context.catalog.functions(name).is_empty())
            && call.args().len() == 1
            && matches!(call.agg_filter(), Node::None)
            && !call.func_variadic
            && call.agg_order().is_empty();
        if !plain {
            return None;
        }
        let value = expression(call.args().first()?).ok()?;
        let column = position_or_push(&mut self.distinct, value);
        Some(Piece::Text(format!(
            "(pg_catalog.{name}(DISTINCT {OWN}d{column}))"
        )))
    }

    fn column(&mut self, sql: String) -> usize {
        position_or_push(&mut self.partials, sql)
    }
}

fn position_or_push(list: &mut Vec<String>, sql: String) -> usize {
    match list.iter().position(|known| *known == sql) {
        Some(column) => column,
        None => {
            list.push(sql);
            list.len() - 1
        }
    }
}

/// Columns with names of the router's own.
fn numbered(columns: &[String], letter: char) -> impl Iterator<Item = (String, String)> {
    columns
        .iter()
        .enumerate()
        .map(move |(index, sql)| (sql.clone(), format!("{OWN}{letter}{index}")))
}

fn key_name(index: usize) -> String {
    format!("{OWN}k{index}")
}

/// The same call of another function.
fn called(node: Node<'_>, name: &str) -> Option<String> {
    crate::rewrite::called(node, name).ok()
}

/// Cuts a text where it names own columns that stand for aggregates, or the relation.
fn pieces(sql: &str, combined: &[Piece]) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    let mut rest = sql;
    let mut text = String::new();
    while let Some(at) = rest.find(OWN) {
        text.push_str(&rest[..at]);
        let name = &rest[at + OWN.len()..];
        if let Some(after) = name.strip_prefix("relation") {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
            pieces.push(Piece::Relation);
            rest = after;
        } else if let Some(number) = name.strip_prefix('c') {
            let digits = number.bytes().take_while(u8::is_ascii_digit).count();
            let piece = number[..digits]
                .parse::<usize>()
                .ok()
                .and_then(|index| combined.get(index))
                .ok_or_else(|| Error::internal("a combined column is not known"))?;
            match piece {
                Piece::Text(known) => text.push_str(known),
                piece => {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                    pieces.push(piece.clone());
                }
            }
            rest = &number[digits..];
        } else {
            text.push_str(OWN);
            rest = name;
        }
    }
    text.push_str(rest);
    pieces.push(Piece::Text(text));
    Ok(pieces)
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
