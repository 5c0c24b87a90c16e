//! The query over partial rows, which a server finishes.

use catalog::GroupId;

use super::aggregate::{Aggregate, aggregate};
use super::pieces::pieces;
use super::{Key, OWN, grouped, holds_a_query, key_of, only_name};
use crate::bind::Binder;
use crate::distribute::Split;
use crate::parse::{GroupingSetKind, LimitOption, Node, NodeList, SortByDir, SortByNulls, nodes};
use crate::query::QueryId;
use crate::rewrite::{SelectEdit, called, expression, integer, replaced};
use crate::{Combine, Error, Learned, Piece};

pub(super) struct Rewriter<'t, 'b, 'c, 's> {
    pub(super) binder: &'b Binder<'c, 's>,
    keys: &'b [Key<'t>],
    /// Distinct values of the shard keys of this group are on one shard each, and the shards group as the client does.
    apart: Option<GroupId>,
    /// Something relies on it.
    uses_apart: bool,
    /// What DISTINCT aggregates look at: the shards group by it as well. As SQL.
    pub(super) distinct: Vec<String>,
    /// The shards' columns after these, as SQL.
    partials: Vec<String>,
    /// What an own column's number stands for.
    combined: Vec<Piece>,
    possible: bool,
}

/// The query over partial rows.
pub(super) fn over_partial_rows(
    select: &nodes::SelectStmt,
    root: QueryId,
    split: &Split,
    binder: &Binder<'_, '_>,
    keys: &[Key<'_>],
) -> Result<Option<Combine>, Error> {
    let rewriter = |apart| Rewriter {
        binder,
        keys,
        apart,
        uses_apart: false,
        distinct: Vec::new(),
        partials: Vec::new(),
        combined: Vec::new(),
        possible: true,
    };
    let mut first = rewriter(Some(split.group));
    let found = first.query(select, root, split)?;
    let sets = |node: Node<'_>| matches!(node, Node::GroupingSet(_));
    let finer = !first.distinct.is_empty() || select.group_clause().iter().any(sets);
    if first.uses_apart && finer {
        return rewriter(None).query(select, root, split);
    }
    Ok(found)
}

impl Rewriter<'_, '_, '_, '_> {
    fn query(
        &mut self,
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
            .and_then(|meant| key_of(meant, self.keys, self.binder));
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
        if let Some(key) = key_of(node, self.keys, self.binder) {
            return Some(key_name(key));
        }
        // Neither grouped nor aggregated: by a primary key, perhaps.
        self.possible &= !matches!(node, Node::ColumnRef(_));
        None
    }

    /// The own column that stands for an aggregate.
    fn partial(&mut self, node: Node<'_>, call: &nodes::FuncCall) -> Option<String> {
        let piece = match aggregate(call, self.binder, self.apart) {
            Some(aggregate) => {
                self.uses_apart |= call.agg_distinct;
                self.piece(node, call, aggregate)?
            }
            None => Piece::Text(self.over_distinct(call)?),
        };
        self.combined.push(piece);
        Some(format!("{OWN}c{}", self.combined.len() - 1))
    }

    /// What becomes of the shards' partial results.
    fn piece(
        &mut self,
        node: Node<'_>,
        call: &nodes::FuncCall,
        aggregate: Aggregate,
    ) -> Option<Piece> {
        let text = expression(node).ok()?;
        Some(match aggregate {
            Aggregate::Count => Piece::Count(self.column(text)),
            Aggregate::Sum => Piece::Sum(self.column(text)),
            Aggregate::Average => {
                let (sum, count) = (called(node, "sum").ok()?, called(node, "count").ok()?);
                Piece::Average {
                    sum: self.column(sum),
                    count: self.column(count),
                }
            }
            Aggregate::Variance { sample, root } => {
                let (sum, count) = (called(node, "sum").ok()?, called(node, "count").ok()?);
                let value = expression(call.args().first()?).ok()?;
                let value = format!("CAST({value} AS pg_catalog.numeric)");
                let filter = match call.agg_filter() {
                    Node::None => String::new(),
                    filter => format!(" FILTER (WHERE {})", expression(filter).ok()?),
                };
                let squares = format!("pg_catalog.sum({value} * {value}){filter}");
                Piece::Variance {
                    count: self.column(count),
                    sum: self.column(sum),
                    squares: self.column(squares),
                    sample,
                    root,
                }
            }
            Aggregate::Itself(name, _) => {
                let column = self.column(text);
                Piece::Text(format!("(pg_catalog.{name}({OWN}p{column}))"))
            }
        })
    }

    fn column(&mut self, sql: String) -> usize {
        position_or_push(&mut self.partials, sql)
    }
}

pub(super) fn position_or_push(list: &mut Vec<String>, sql: String) -> usize {
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
