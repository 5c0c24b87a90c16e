//! Aggregates over distinct values, which a server finds among those of all shards.
//!
//! Each shard groups by what the aggregate looks at, so that it sends every value once. As PostgreSQL sorts the values before it
//! aggregates them, all of its aggregates give what they would give over all rows, also those of floats and lists.

use super::OWN;
use super::aggregate::own_name;
use super::query::{Rewriter, position_or_push};
use crate::parse::{Node, SortByDir, SortByNulls, nodes};
use crate::rewrite::expression;

impl Rewriter<'_, '_, '_, '_> {
    /// The call over the shards' columns, as SQL.
    pub(super) fn over_distinct(&mut self, call: &nodes::FuncCall) -> Option<String> {
        let name = own_name(call, self.binder)?;
        if !call.agg_distinct || call.args().is_empty() {
            return None;
        }
        let mut arguments = Vec::new();
        for (index, argument) in call.args().iter().enumerate() {
            let text = expression(argument).ok()?;
            let meant = match index > 0 && is_constant(argument) {
                true => text.clone(),
                false => self.distinct_column(text.clone()),
            };
            arguments.push((text, meant));
        }
        let mut list: Vec<&str> = Vec::new();
        list.extend(arguments.iter().map(|(_, meant)| meant.as_str()));
        let mut sql = format!("(pg_catalog.{name}(DISTINCT {}", list.join(", "));
        for (index, sort) in call.agg_order().iter().enumerate() {
            let text = expression(sort.node()).ok()?;
            // PostgreSQL demands that it is an argument.
            let (_, meant) = arguments.iter().find(|(argument, _)| *argument == text)?;
            sql.push_str(if index == 0 { " ORDER BY " } else { ", " });
            sql.push_str(meant);
            sql.push_str(match sort.sortby_dir {
                SortByDir::SORTBY_DESC => " DESC",
                SortByDir::SORTBY_USING => return None,
                _ => "",
            });
            sql.push_str(match sort.sortby_nulls {
                SortByNulls::SORTBY_NULLS_FIRST => " NULLS FIRST",
                SortByNulls::SORTBY_NULLS_LAST => " NULLS LAST",
                _ => "",
            });
        }
        sql.push(')');
        if !matches!(call.agg_filter(), Node::None) {
            let condition = self.distinct_column(expression(call.agg_filter()).ok()?);
            sql.push_str(&format!(" FILTER (WHERE {condition})"));
        }
        sql.push(')');
        Some(sql)
    }

    fn distinct_column(&mut self, sql: String) -> String {
        format!("{OWN}d{}", position_or_push(&mut self.distinct, sql))
    }
}

/// The same for all rows, and of a type that the call decides: it stays where it is.
fn is_constant(node: Node<'_>) -> bool {
    match node {
        Node::A_Const(_) | Node::ParamRef(_) => true,
        Node::TypeCast(cast) => is_constant(cast.arg()),
        _ => false,
    }
}
