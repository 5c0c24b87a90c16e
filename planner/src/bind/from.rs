//! FROM: relations, subqueries, views, functions and joins.

use catalog::TableKind;

use super::{Binder, column_family};
use crate::convert::family;
use crate::facts::{Fact, Variable};
use crate::operand::Source;
use crate::parse::{JoinType, Node, nodes, parse};
use crate::query::{Item, ItemId, Join, JoinKind, Level, QueryId};
use crate::relation::{Found, look_up};
use crate::scope::{BoundRelation, Columns, CteBody, Namespace, RelationId, Resolved, Scope};
use crate::{Access, Error};

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

    fn bind_from_item(
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

    fn range_variable(
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
                CteBody::Query(query) => Ok(self.derived(query, called, renamed)),
                CteBody::Itself { base, first } => {
                    self.recursion_used = true;
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
        if self.in_view && relation.schemaname().is_none() && !name.starts_with("pg_") {
            return Err(Error::unsupported(format!(
                "a view's definition names {name} without its schema"
            )));
        }
        match look_up(&self.context, relation.schemaname(), name) {
            Found::Table(table) => Ok(self.table(table, alias, columns, relation.location)),
            Found::View(view) => {
                let empty = Namespace::default();
                self.view(
                    view,
                    alias,
                    columns,
                    relation.location,
                    &Scope {
                        namespace: &empty,
                        parent: None,
                        ctes: None,
                    },
                )
            }
            found => {
                let default = self.context.catalog.default_shard();
                match found {
                    Found::Temporary(shard) => self.bound.findings.home(shard, name),
                    Found::System => self.bound.findings.uses_system = true,
                    Found::Pgweave => self.bound.findings.uses_pgweave = true,
                    Found::Table(_) | Found::View(_) | Found::Unknown => {
                        self.bound.findings.home(default, name)
                    }
                }
                let relation = BoundRelation {
                    name: alias.unwrap_or(name).to_owned(),
                    schema: None,
                    columns: Columns::Open,
                    renamed: columns,
                    first: 0,
                };
                Ok(self.other(relation))
            }
        }
    }

    fn other(&mut self, relation: BoundRelation<'c>) -> FromItem {
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
                let location = if self.in_view { -1 } else { location };
                Item::Sharded {
                    table,
                    group: *group,
                    key,
                    key_variables,
                    location,
                }
            }
            TableKind::Reference => {
                self.bound.findings.references.push(table.name.clone());
                Item::Other
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
                None => column_family(column.type_oid),
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
        alias: Option<&str>,
        columns: Vec<String>,
        location: i32,
        nothing: &Scope<'_>,
    ) -> Result<FromItem, Error> {
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
        let in_view = std::mem::replace(&mut self.in_view, true);
        let query = self.select(select, nothing);
        (self.source, self.context.search_path, self.in_view) = (source, path, in_view);
        let mut renamed = view.columns.clone();
        overwrite(&mut renamed, columns);
        let query = query.map_err(|error| error.at(self.source.sql, location))?;
        Ok(self.derived(query, alias.unwrap_or(&view.name), renamed))
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

    fn output_names(&self, query: QueryId) -> (Vec<Option<String>>, bool) {
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

    fn opaque(&mut self, alias: Option<&nodes::Alias>, name: &str) -> FromItem {
        let (alias, _) = alias_of(alias);
        let relation = self.add_open(alias.unwrap_or(name));
        self.bound.items.push(Item::Other);
        FromItem {
            item: self.bound.items.len() - 1,
            facts: Vec::new(),
            namespace: Namespace::of(relation),
        }
    }

    fn sample(
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

    /// A join and all joins down its left side, without recursion along them.
    fn join(
        &mut self,
        join: &nodes::JoinExpr,
        outer: &Scope<'_>,
        lateral: &Scope<'_>,
        loose: &mut Vec<QueryId>,
    ) -> Result<FromItem, Error> {
        let mut spine = vec![join];
        let mut leftmost = join.larg();
        while let Node::JoinExpr(inner) = leftmost {
            spine.push(inner);
            leftmost = inner.larg();
        }
        let mut left = self.bind_from_item(leftmost, outer, lateral, loose)?;
        for join in spine.into_iter().rev() {
            let beside = Scope {
                namespace: &left.namespace,
                parent: Some(lateral),
                ctes: outer.ctes,
            };
            let right = self.bind_from_item(join.rarg(), outer, &beside, loose)?;
            left = self.joined(join, left, right, outer)?;
        }
        Ok(left)
    }

    fn joined(
        &mut self,
        join: &nodes::JoinExpr,
        left: FromItem,
        right: FromItem,
        outer: &Scope<'_>,
    ) -> Result<FromItem, Error> {
        let kind = match join.jointype {
            JoinType::JOIN_INNER => JoinKind::Inner,
            JoinType::JOIN_LEFT => JoinKind::Left,
            JoinType::JOIN_RIGHT => JoinKind::Right,
            JoinType::JOIN_FULL => JoinKind::Full,
            _ => return Err(Error::internal("a join of a kind that no text can ask for")),
        };
        let mut facts = Vec::new();
        let mut subqueries = Vec::new();
        let (mut left_names, mut right_names) = (left.namespace, right.namespace);
        let mut merged = Vec::new();
        let common = self.merged_columns(join, &left_names, &right_names);
        let unknown_natural = join.is_natural && common.is_none();
        for column in common.unwrap_or_default() {
            let variable = self.merge(&column, kind, &left_names, &right_names, &mut facts);
            for names in [&mut left_names, &mut right_names] {
                names.merged.retain(|(name, _)| *name != column);
                for entry in &mut names.entries {
                    entry.hidden.push(column.clone());
                }
            }
            merged.push((column, variable));
        }
        let mut namespace = Namespace {
            entries: Vec::new(),
            merged,
            open: unknown_natural,
        };
        namespace.append(left_names);
        namespace.append(right_names);
        let scope = Scope {
            namespace: &namespace,
            parent: Some(outer),
            ctes: outer.ctes,
        };
        self.expression(join.quals(), &scope, &mut subqueries)?;
        self.conditions(join.quals(), &scope, &mut facts);
        let holds = match kind {
            JoinKind::Inner => [
                left.facts.as_slice(),
                right.facts.as_slice(),
                facts.as_slice(),
            ]
            .concat(),
            JoinKind::Left => left.facts.clone(),
            JoinKind::Right => right.facts.clone(),
            JoinKind::Full => Vec::new(),
        };
        self.bound.items.push(Item::Join(Join {
            kind,
            left: left.item,
            right: right.item,
            facts,
            left_facts: left.facts,
            right_facts: right.facts,
            subqueries,
        }));
        let item = self.bound.items.len() - 1;
        if let Some(alias) = join.join_using_alias().and_then(|alias| alias.aliasname()) {
            let relation = self.add_open(alias);
            let mut names = Namespace::of(relation);
            names.entries[0].unqualified = false;
            namespace.append(names);
        }
        if let Some(alias) = join.alias().and_then(|alias| alias.aliasname()) {
            // Its columns go by the alias now; none of them is traced.
            namespace.hide();
            let relation = self.add_open(alias);
            namespace.append(Namespace::of(relation));
        }
        Ok(FromItem {
            item,
            facts: holds,
            namespace,
        })
    }

    /// The columns of USING, or those that NATURAL finds. `None`: cannot be told.
    fn merged_columns(
        &self,
        join: &nodes::JoinExpr,
        left: &Namespace,
        right: &Namespace,
    ) -> Option<Vec<String>> {
        if !join.is_natural {
            return Some(
                join.using_clause()
                    .iter()
                    .filter_map(|name| name.sval().map(str::to_owned))
                    .collect(),
            );
        }
        let left = self.visible_columns(left)?;
        let right = self.visible_columns(right)?;
        Some(
            left.into_iter()
                .filter(|column| right.contains(column))
                .collect(),
        )
    }

    fn visible_columns(&self, namespace: &Namespace) -> Option<Vec<String>> {
        if namespace.open {
            return None;
        }
        let mut columns: Vec<String> = namespace
            .merged
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        for entry in namespace.entries.iter().filter(|entry| entry.unqualified) {
            let relation = &self.relations.0[entry.relation];
            if !relation.complete() {
                return None;
            }
            columns.extend(
                relation
                    .variables()
                    .filter_map(|(name, _)| name)
                    .filter(|name| !entry.hidden.iter().any(|hidden| hidden == name))
                    .map(str::to_owned),
            );
        }
        Some(columns)
    }

    fn merge(
        &self,
        column: &str,
        kind: JoinKind,
        left: &Namespace,
        right: &Namespace,
        facts: &mut Vec<Fact>,
    ) -> Option<Variable> {
        let (Some(Resolved::Column(left)), Some(Resolved::Column(right))) = (
            self.relations.in_namespace(column, left),
            self.relations.in_namespace(column, right),
        ) else {
            return None;
        };
        if self.family(left).is_none() || self.family(left) != self.family(right) {
            return None;
        }
        if self.trusted_equality {
            facts.push(Fact::Same(left, right));
        }
        match kind {
            JoinKind::Inner | JoinKind::Left => Some(left),
            JoinKind::Right => Some(right),
            JoinKind::Full => None,
        }
    }

    /// Notes a table that a statement changes.
    pub(super) fn written(&mut self, table: &catalog::Table) {
        self.bound.findings.raise(Access::Write);
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

/// Column aliases replace the first names.
fn overwrite(names: &mut Vec<String>, aliases: Vec<String>) {
    for (index, alias) in aliases.into_iter().enumerate() {
        match names.get_mut(index) {
            Some(name) => *name = alias,
            None => names.push(alias),
        }
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
