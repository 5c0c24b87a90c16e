//! A relation's appearance in a statement: table, view, subquery or anything else, with variables for its columns.

use catalog::{Event, ShardId, TableKind};

use super::Binder;
use super::condition::column_family;
use super::from::FromItem;
use crate::convert::family;
use crate::facts::Variable;
use crate::operand::Source;
use crate::parse::{Node, nodes, parse};
use crate::query::{Appears, Findings, Item, QueryId, ViewUse};
use crate::scope::{BoundRelation, Columns, Namespace, RelationId, Scope};
use crate::{Access, Error};

impl<'c: 's, 's> Binder<'c, 's> {
    pub(super) fn other(&mut self, relation: BoundRelation<'c>) -> FromItem {
        let relation = self.add_relation(relation);
        self.bound.items.push(Item::Other);
        FromItem {
            item: self.bound.items.len() - 1,
            facts: Vec::new(),
            namespace: Namespace::of(relation),
        }
    }

    /// Appears a table of the catalog, read or written.
    pub(super) fn table(
        &mut self,
        table: &'c catalog::Table,
        alias: Option<&str>,
        renamed: Vec<String>,
        location: i32,
    ) -> FromItem {
        let (relation, first) = self.table_relation(table, alias, renamed);
        self.reactions(&table.schema, &table.name, Event::Use, location);
        let item = match &table.kind {
            TableKind::Sharded { group, key } => {
                self.bound.findings.sharded.push(table.name.clone());
                let key_variables = key
                    .iter()
                    .filter_map(|key| {
                        table
                            .columns
                            .iter()
                            .position(|column| column.name == key.name)
                    })
                    .map(|index| first + index as Variable)
                    .collect();
                self.bound.findings.groups.push(*group);
                // Positions within a view's definition mean nothing to the client.
                let location = self.within.map_or(location, |_| -1);
                Item::Sharded {
                    table,
                    group: *group,
                    key,
                    key_variables,
                    relation,
                    location,
                }
            }
            TableKind::Reference => {
                self.bound.findings.references.push(table.name.clone());
                self.bound.findings.reference_tables.push(table.id);
                Item::Reference { relation }
            }
            TableKind::Unsharded { shard } => {
                self.bound.findings.home(*shard, table.name.clone());
                Item::Other
            }
        };
        self.bound.items.push(item);
        FromItem {
            item: self.bound.items.len() - 1,
            facts: Vec::new(),
            namespace: Namespace::of(relation),
        }
    }

    pub(super) fn table_relation(
        &mut self,
        table: &'c catalog::Table,
        alias: Option<&str>,
        renamed: Vec<String>,
    ) -> (RelationId, Variable) {
        let key = match &table.kind {
            TableKind::Sharded { key, .. } => key.as_slice(),
            TableKind::Reference | TableKind::Unsharded { .. } => &[],
        };
        let first = self.allocate(table.columns.iter().map(|column| {
            match key.iter().find(|key| key.name == column.name) {
                Some(key) => Some(family(key.key_type)),
                None => column_family(column),
            }
        }));
        let relation = self.add_relation(BoundRelation {
            name: alias.unwrap_or(&table.name).to_owned(),
            schema: alias.is_none().then(|| table.schema.clone()),
            columns: Columns::Table(table),
            renamed,
            first,
        });
        (relation, first)
    }

    /// A view is its definition, bound without any of the names around it.
    pub(super) fn view(
        &mut self,
        view: &'c catalog::View,
        relation: &nodes::RangeVar,
        alias: Option<&str>,
        columns: Vec<String>,
    ) -> Result<FromItem, Error> {
        let location = relation.location;
        let used = ViewUse {
            view,
            query: 0,
            sharded: false,
            homes: Vec::new(),
            steady: false,
        };
        let appearance = self.appears(Appears::View(used), relation, alias, !columns.is_empty());
        let broken = || {
            Error::unsupported(format!(
                "the definition of view {} cannot be analyzed",
                view.name
            ))
            .at(self.source.sql, location)
        };
        let tree = parse(&view.definition).map_err(|_| broken())?;
        let Some(Node::SelectStmt(select)) = tree.only() else {
            return Err(broken());
        };
        // Definitions are read with an empty search path: every name outside pg_catalog is qualified.
        let source = std::mem::replace(
            &mut self.source,
            Source {
                sql: &view.definition,
                literals: None,
            },
        );
        let path = std::mem::take(&mut self.context.search_path);
        let within = self.within.replace(appearance);
        let before = Before::of(&mut self.bound.findings);
        let nothing = Namespace::default();
        let query = self.select(
            select,
            &Scope {
                namespace: &nothing,
                parent: None,
                ctes: None,
            },
        );
        let (sharded, homes, steady) = before.join(&mut self.bound.findings);
        (self.source, self.context.search_path, self.within) = (source, path, within);
        let mut renamed = view.columns.clone();
        overwrite(&mut renamed, columns);
        let query = query.map_err(|error| error.at(self.source.sql, location))?;
        let bound = self.derived(query, alias.unwrap_or(&view.name), renamed);
        let relation = self.relations.0.len() - 1;
        self.relations.0[relation].schema = alias.is_none().then(|| view.schema.clone());
        let appearance = &mut self.bound.findings.appearances[appearance];
        appearance.relation = relation;
        appearance.what = Appears::View(ViewUse {
            view,
            query,
            sharded,
            homes,
            steady,
        });
        Ok(bound)
    }

    /// A query that appears as a relation.
    pub(super) fn derived(&mut self, query: QueryId, name: &str, renamed: Vec<String>) -> FromItem {
        let families: Vec<_> = self.bound.queries[query]
            .outputs
            .iter()
            .map(|output| output.variable.and_then(|variable| self.family(variable)))
            .collect();
        let first = self.allocate(families);
        let (names, mut complete) = self.output_names(query);
        // Aliases go by position.
        let renamed = if self.bound.queries[query].positions_known {
            renamed
        } else {
            complete &= renamed.is_empty();
            Vec::new()
        };
        let columns = if complete || self.bound.queries[query].positions_known {
            Columns::Listed { names, complete }
        } else {
            Columns::Open
        };
        let facts = self.lifted_facts(query, first);
        let relation = self.add_relation(BoundRelation {
            name: name.to_owned(),
            schema: None,
            columns,
            renamed,
            first,
        });
        self.bound.items.push(Item::Derived { query, first });
        FromItem {
            item: self.bound.items.len() - 1,
            facts,
            namespace: Namespace::of(relation),
        }
    }

    pub(super) fn output_names(&self, query: QueryId) -> (Vec<Option<String>>, bool) {
        let query = &self.bound.queries[query];
        (
            query
                .outputs
                .iter()
                .map(|output| output.name.clone())
                .collect(),
            query.names_known,
        )
    }

    /// Notes a table that a statement changes.
    pub(super) fn written(&mut self, table: &catalog::Table, location: i32) {
        self.bound.findings.raise(Access::Write);
        self.reactions(&table.schema, &table.name, Event::Write, location);
        match table.kind {
            TableKind::Reference => self
                .bound
                .findings
                .reference_writes
                .push(table.name.clone()),
            TableKind::Sharded { .. } | TableKind::Unsharded { .. } => {
                self.bound.findings.other_writes.push(table.name.clone());
            }
        }
    }
}

/// What has been found before a view, so that what is found in it can be told apart.
struct Before {
    sharded: usize,
    homes: Vec<(ShardId, String)>,
    varies: Option<String>,
    moments: bool,
}

impl Before {
    fn of(findings: &mut Findings<'_>) -> Before {
        Before {
            sharded: findings.sharded.len(),
            homes: std::mem::take(&mut findings.homes),
            varies: findings.varies.take(),
            moments: std::mem::take(&mut findings.moments),
        }
    }

    /// Puts both together. Returns whether the view reads sharded tables, the shards it is bound to, and whether it says the same
    /// wherever and whenever it is asked.
    fn join(self, findings: &mut Findings<'_>) -> (bool, Vec<ShardId>, bool) {
        let homes = std::mem::replace(&mut findings.homes, self.homes);
        let steady = findings.varies.is_none() && !findings.moments;
        let shards = homes.iter().map(|(shard, _)| *shard).collect();
        for (shard, what) in homes {
            findings.home(shard, what);
        }
        if self.varies.is_some() {
            findings.varies = self.varies;
        } else if findings.moments {
            // Only what the query itself asks for can be told to all shards.
            findings.vary("the time, for which a view asks");
        }
        findings.moments |= self.moments;
        (findings.sharded.len() > self.sharded, shards, steady)
    }
}

/// Column aliases replace the first names.
pub(super) fn overwrite(names: &mut Vec<String>, aliases: Vec<String>) {
    for (index, alias) in aliases.into_iter().enumerate() {
        match names.get_mut(index) {
            Some(name) => *name = alias,
            None => names.push(alias),
        }
    }
}
