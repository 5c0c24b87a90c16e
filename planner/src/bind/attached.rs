//! Code that runs without being called by name: triggers, rules, defaults, checks and row security policies of tables,
//! operators, and functions written as columns.
//!
//! It reads and writes as a function does, but no call shows it in the statement. The catalog keeps what it touches under
//! the table's name ([`catalog::attached_name`]), and under an operator's symbol.

use catalog::{TableKind, Touches};

use super::Binder;
use crate::Error;
use crate::parse::{Node, nodes};
use crate::relation::{Found, look_up};
use crate::scope::{Resolved, Scope};
use crate::utility::all_on;

impl<'c: 's, 's> Binder<'c, 's> {
    /// What is attached to a table that is read, or written.
    pub(crate) fn attached(&mut self, table: &catalog::Table, writes: bool) {
        let context = self.context;
        let name = catalog::attached_name(&table.name, writes);
        for attached in context.catalog.functions(&name) {
            if attached.schema != table.schema {
                continue;
            }
            match &attached.touches {
                Touches::Nothing => {}
                Touches::Unknown => self.attached_unknown(table, writes),
                Touches::Tables(touched) => {
                    for (schema, other) in touched {
                        if *schema != table.schema || *other != table.name {
                            self.attached_touch(table, writes, schema, other);
                        }
                    }
                }
            }
        }
    }

    /// On a sharded table it works within the shard, as it does on a partition.
    fn attached_unknown(&mut self, table: &catalog::Table, writes: bool) {
        let default = self.context.catalog.default_shard();
        if matches!(table.kind, TableKind::Sharded { .. }) || all_on(&self.context, default) {
            return;
        }
        let error = Error::unsupported(format!(
            "{} of table {}.{} may read or write tables that the router cannot see",
            kinds(writes),
            table.schema,
            table.name
        ))
        .with_hint("SET pgweave.shard to say where it runs.");
        self.bound.findings.refuse(error);
    }

    fn attached_touch(&mut self, table: &catalog::Table, writes: bool, schema: &str, other: &str) {
        let refused = |kind: &str| {
            Error::unsupported(format!(
                "{} of table {}.{} uses the {kind} {schema}.{other}",
                kinds(writes),
                table.schema,
                table.name
            ))
            .with_hint("SET pgweave.shard or pgweave.shard_key to say where it runs.")
        };
        let own_group = match &table.kind {
            TableKind::Sharded { group, .. } => Some(*group),
            TableKind::Reference | TableKind::Unsharded { .. } => None,
        };
        match look_up(&self.context, Some(schema), other) {
            Found::Table(found) => match &found.kind {
                // Rows of one key and of its colocated tables are together.
                TableKind::Sharded { group, .. } if Some(*group) != own_group => {
                    self.bound.findings.refuse(refused("sharded table"));
                }
                TableKind::Unsharded { shard } if own_group.is_none() => {
                    let home = format!("{schema}.{other}");
                    self.bound.findings.home(*shard, home);
                }
                TableKind::Sharded { .. } | TableKind::Reference | TableKind::Unsharded { .. } => {}
            },
            Found::View(_) if own_group.is_none() => {
                self.bound.findings.refuse(refused("view"));
            }
            Found::View(_)
            | Found::Pgweave
            | Found::System
            | Found::Temporary(_)
            | Found::Unknown => {}
        }
    }

    /// An operator is its function.
    pub(super) fn operator(&mut self, expression: &nodes::A_Expr) {
        let last = expression.name().iter().next_back().and_then(Node::as_str);
        if let Some(symbol) = last {
            self.function_behind(symbol, expression.location);
        }
    }

    /// `table.name` and `name` may call a function with the row as its argument where there is no such column.
    pub(super) fn function_as_column(&mut self, reference: &nodes::ColumnRef, scope: &Scope<'_>) {
        if reference.fields().len() < 2 {
            return;
        }
        let last = reference.fields().iter().next_back().and_then(Node::as_str);
        if let Some(name) = last.filter(|name| !self.context.catalog.functions(name).is_empty())
            && matches!(self.relations.resolve(reference, scope), Resolved::Unclear)
        {
            self.function_behind(name, reference.location);
        }
    }

    /// `(expression).name` likewise. Whether there is a field of that name is not known.
    pub(super) fn function_as_field(&mut self, selection: &nodes::A_Indirection) {
        for name in selection.indirection().iter().filter_map(Node::as_str) {
            self.function_behind(name, -1);
        }
    }

    fn function_behind(&mut self, name: &str, location: i32) {
        let context = self.context;
        for function in context.catalog.functions(name) {
            if context.search_path.contains(&function.schema) {
                self.user_function(function, location);
            }
        }
    }
}

fn kinds(writes: bool) -> &'static str {
    if writes {
        "a trigger, rule, default or check"
    } else {
        "a row security policy"
    }
}
