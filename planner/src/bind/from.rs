//! FROM: what each of its elements is.

use super::Binder;
use super::appearance::overwrite;
use crate::facts::Fact;
use crate::parse::{Node, nodes};
use crate::query::{Appearance, Appears, Item, ItemId, Level, QueryId};
use crate::relation::{Found, look_up};
use crate::scope::{BoundRelation, Columns, CteBody, Namespace, Scope};
use crate::served::view;
use crate::{Error, Served};

/// An element of FROM after binding: what it is, what its rows satisfy, what it makes visible.
pub(super) struct FromItem {
    pub item: ItemId,
    pub facts: Vec<Fact>,
    pub namespace: Namespace,
}

impl<'c: 's, 's> Binder<'c, 's> {
    /// Binds the elements of a FROM list into a level; returns what they make visible.
    pub(super) fn bind_from_list<'t>(
        &mut self,
        list: impl IntoIterator<Item = Node<'t>>,
        outer: &Scope<'_>,
        level: &mut Level,
        mut namespace: Namespace,
    ) -> Result<Namespace, Error> {
        for node in list {
            let lateral = Scope {
                namespace: &namespace,
                parent: Some(outer),
                ctes: outer.ctes,
            };
            let bound = self.bind_from_item(node, outer, &lateral, &mut level.loose_subqueries)?;
            level.items.push(bound.item);
            level.item_facts.extend(bound.facts);
            namespace.append(bound.namespace);
        }
        Ok(namespace)
    }

    pub(super) fn bind_from_item(
        &mut self,
        node: Node<'_>,
        outer: &Scope<'_>,
        lateral: &Scope<'_>,
        loose: &mut Vec<QueryId>,
    ) -> Result<FromItem, Error> {
        self.enter()?;
        let bound = match node {
            Node::RangeVar(relation) => self.range_variable(relation, outer),
            Node::JoinExpr(join) => self.join(join, outer, lateral, loose),
            Node::RangeSubselect(subselect) => {
                let query = self.query(
                    subselect.subquery(),
                    if subselect.lateral { lateral } else { outer },
                )?;
                let (name, columns) = alias_of(subselect.alias());
                Ok(self.derived(query, name.unwrap_or_default(), columns))
            }
            Node::RangeFunction(function) => {
                for element in function.functions() {
                    // Each is a pair of a function and its column definitions.
                    let call = match element {
                        Node::NodeList(pair) => pair.first().unwrap_or(Node::None),
                        other => other,
                    };
                    self.expression(call, lateral, loose)?;
                }
                Ok(self.opaque(function.alias(), function_name(function)))
            }
            Node::RangeTableSample(sample) => self.sample(sample, outer, lateral, loose),
            Node::RangeTableFunc(table) => {
                self.expression(table.docexpr(), lateral, loose)?;
                self.expression(table.rowexpr(), lateral, loose)?;
                for namespace in table.namespaces() {
                    self.expression(namespace, lateral, loose)?;
                }
                for column in table.columns() {
                    self.expression(column.colexpr(), lateral, loose)?;
                    self.expression(column.coldefexpr(), lateral, loose)?;
                }
                Ok(self.opaque(table.alias(), "xmltable"))
            }
            Node::JsonTable(table) => {
                if let Some(item) = table.context_item() {
                    self.expression(Node::JsonValueExpr(item), lateral, loose)?;
                }
                for argument in table.passing() {
                    self.expression(argument, lateral, loose)?;
                }
                // Column defaults are constants or column-free expressions, but a query may hide in them.
                let mut columns: Vec<&nodes::JsonTableColumn> = table.columns().iter().collect();
                while let Some(column) = columns.pop() {
                    for behavior in [column.on_empty(), column.on_error()].into_iter().flatten() {
                        self.expression(behavior.expr(), lateral, loose)?;
                    }
                    columns.extend(column.columns().iter().filter_map(|node| match node {
                        Node::JsonTableColumn(column) => Some(column),
                        _ => None,
                    }));
                }
                Ok(self.opaque(table.alias(), "json_table"))
            }
            _ => Err(Error::unsupported(
                "this element of FROM is not supported by the router",
            )),
        };
        self.leave();
        bound
    }

    pub(super) fn range_variable(
        &mut self,
        relation: &nodes::RangeVar,
        outer: &Scope<'_>,
    ) -> Result<FromItem, Error> {
        let name = relation.relname().unwrap_or_default();
        let (alias, columns) = alias_of(relation.alias());
        if relation.schemaname().is_none()
            && let Some(cte) = outer.ctes.and_then(|ctes| ctes.find(name))
        {
            let (body, mut renamed) = (cte.body, cte.columns.clone());
            overwrite(&mut renamed, columns);
            let called = alias.unwrap_or(name);
            return match body {
                CteBody::Query(query) => {
                    self.reach_query(query);
                    Ok(self.derived(query, called, renamed))
                }
                CteBody::Itself { base, first } => {
                    self.recursion_used = true;
                    self.reach_query(base);
                    let (names, complete) = self.output_names(base);
                    let relation = BoundRelation {
                        name: called.to_owned(),
                        schema: None,
                        columns: Columns::Listed { names, complete },
                        renamed,
                        first,
                    };
                    Ok(self.other(relation))
                }
                CteBody::Later => Err(Error::unsupported(format!(
                    "\"{name}\" is defined further down in WITH RECURSIVE"
                ))
                .with_hint("Put the WITH queries in the order in which they use one another.")
                .at(self.source.sql, relation.location)),
            };
        }
        if self.within.is_some() && relation.schemaname().is_none() && !name.starts_with("pg_") {
            return Err(Error::unsupported(format!(
                "a view's definition names {name} without its schema"
            )));
        }
        let parts = self.parts;
        let is_part = |part: &&catalog::Table| relation.schemaname().is_none() && part.name == name;
        let found = match parts.iter().find(is_part) {
            Some(part) => Found::Table(part),
            None => look_up(&self.context, relation.schemaname(), name),
        };
        match found {
            Found::Table(table) => {
                let what = Appears::Table(table);
                self.appears(what, relation, alias, !columns.is_empty());
                Ok(self.table(table, alias, columns, relation.location))
            }
            Found::View(view) => self.view(view, relation, alias, columns),
            found => {
                let default = self.context.catalog.default_shard();
                let mut schema = None;
                match found {
                    Found::Temporary(shard) => {
                        let why = format!("{name} is a temporary table of this session");
                        self.bound.findings.keep_in_place(why);
                        self.bound.findings.home(shard, name);
                    }
                    Found::System => {
                        let system = &mut self.bound.findings.system;
                        system.get_or_insert_with(|| name.to_owned());
                        self.bound.findings.uses_system = true;
                        self.bound
                            .findings
                            .unsettle(format!("the system catalog {name}"));
                    }
                    Found::Pgweave => {
                        self.bound.findings.uses_pgweave = true;
                        match view(name) {
                            Some((name, served)) => {
                                self.bound.findings.is_served |= served == Served::Shards;
                                let what = Appears::Served(name, served);
                                self.appears(what, relation, alias, !columns.is_empty());
                                schema = alias.is_none().then(|| "pgweave".to_owned());
                            }
                            None => {
                                let why = format!("pgweave.{name} is each shard's own");
                                self.bound.findings.keep_in_place(why);
                            }
                        }
                    }
                    Found::Table(_) | Found::View(_) | Found::Unknown => {
                        self.bound.findings.home(default, name)
                    }
                }
                let relation = BoundRelation {
                    name: alias.unwrap_or(name).to_owned(),
                    schema,
                    columns: Columns::Open,
                    renamed: columns,
                    first: 0,
                };
                Ok(self.other(relation))
            }
        }
    }

    /// Notes a table or a view that a query reads, whose columns are the next relation. Returns its number.
    pub(super) fn appears(
        &mut self,
        what: Appears<'c>,
        relation: &nodes::RangeVar,
        alias: Option<&str>,
        renamed: bool,
    ) -> usize {
        if relation.catalogname().is_some() {
            self.bound
                .findings
                .keep_in_place("it names a table with its database");
        }
        let (schema, name) = what.name();
        let schema = relation.schemaname().map(|_| schema);
        self.bound.findings.appearances.push(Appearance {
            path: schema.into_iter().chain([name]).collect(),
            what,
            within: self.within,
            location: relation.location,
            alias: alias.map(str::to_owned),
            renamed,
            relation: self.relations.0.len(),
            only: !relation.inh,
        });
        self.bound.findings.appearances.len() - 1
    }

    pub(super) fn opaque(&mut self, alias: Option<&nodes::Alias>, name: &str) -> FromItem {
        let (alias, _) = alias_of(alias);
        let relation = self.add_open(alias.unwrap_or(name));
        self.bound.items.push(Item::Other);
        FromItem {
            item: self.bound.items.len() - 1,
            facts: Vec::new(),
            namespace: Namespace::of(relation),
        }
    }

    pub(super) fn sample(
        &mut self,
        sample: &nodes::RangeTableSample,
        outer: &Scope<'_>,
        lateral: &Scope<'_>,
        loose: &mut Vec<QueryId>,
    ) -> Result<FromItem, Error> {
        for argument in sample.args() {
            self.expression(argument, lateral, loose)?;
        }
        self.expression(sample.repeatable(), lateral, loose)?;
        self.bound.findings.unsettle("TABLESAMPLE");
        self.bound
            .findings
            .volatile_within
            .get_or_insert_with(|| "TABLESAMPLE".to_owned());
        let bound = self.bind_from_item(sample.relation(), outer, lateral, loose)?;
        if let Item::Sharded { table, .. } = &self.bound.items[bound.item] {
            let error =
                Error::unsupported(format!("TABLESAMPLE of the sharded table {}", table.name))
                    .with_hint("SET pgweave.shard to sample one shard.")
                    .at(self.source.sql, sample.location);
            self.bound.findings.refuse(error);
        }
        Ok(bound)
    }
}

/// The alias's name and column names.
pub(super) fn alias_of(alias: Option<&nodes::Alias>) -> (Option<&str>, Vec<String>) {
    match alias {
        None => (None, Vec::new()),
        Some(alias) => (
            alias.aliasname(),
            alias
                .colnames()
                .iter()
                .filter_map(|node| node.as_str().map(str::to_owned))
                .collect(),
        ),
    }
}

fn function_name(function: &nodes::RangeFunction) -> &str {
    let Some(Node::NodeList(pair)) = function.functions().first() else {
        return "";
    };
    match pair.first() {
        Some(Node::FuncCall(call)) => call
            .funcname()
            .iter()
            .next_back()
            .and_then(Node::as_str)
            .unwrap_or(""),
        _ => "",
    }
}
