//! INSERT, UPDATE, DELETE and MERGE.

use catalog::{KeyColumn, Table, TableKind};

use super::Binder;
use super::from::alias_of;
use crate::convert::family;
use crate::facts::{Fact, Known, Variable};
use crate::functions::{Builtin, classify};
use crate::operand::{Operand, OperandValue, operand};
use crate::parse::{Node, NodeList, nodes, parse};
use crate::query::{Insert, InsertRows, Item, Level, Query, QueryId, QueryKind};
use crate::relation::{Found, look_up};
use crate::scope::{CteScope, Namespace, RelationId, Resolved, Scope};
use crate::walk::children;
use crate::{Access, Error};

/// The table that a statement changes.
struct Target<'c> {
    item: usize,
    relation: RelationId,
    namespace: Namespace,
    table: Option<&'c Table>,
}

impl<'c> Target<'c> {
    fn key(&self) -> &'c [KeyColumn] {
        match self.table.map(|table| &table.kind) {
            Some(TableKind::Sharded { key, .. }) => key,
            _ => &[],
        }
    }
}

impl<'c: 's, 's> Binder<'c, 's> {
    /// Binds a data-modifying statement, at the top or in WITH.
    pub fn write(&mut self, statement: Node<'_>, scope: &Scope<'_>) -> Result<QueryId, Error> {
        self.enter()?;
        let with = match statement {
            Node::InsertStmt(insert) => insert.with_clause(),
            Node::UpdateStmt(update) => update.with_clause(),
            Node::DeleteStmt(delete) => delete.with_clause(),
            Node::MergeStmt(merge) => merge.with_clause(),
            _ => {
                return Err(Error::unsupported(
                    "this statement in WITH is not supported by the router",
                ));
            }
        };
        let ctes = self.with(with, scope)?;
        let with = CteScope {
            ctes: &ctes,
            parent: scope.ctes,
        };
        let inner = Scope {
            ctes: if ctes.is_empty() {
                scope.ctes
            } else {
                Some(&with)
            },
            ..*scope
        };
        let first_inner = self.bound.families.len() as Variable;
        let query = match statement {
            Node::InsertStmt(insert) => self.insert(insert, &inner),
            Node::UpdateStmt(update) => self.update(update, &inner),
            Node::DeleteStmt(delete) => self.delete(delete, &inner),
            Node::MergeStmt(merge) => self.merge_statement(merge, &inner),
            _ => Err(Error::internal("a statement that is no write")),
        };
        self.leave();
        Ok(self.add_query(Query {
            first_inner,
            ..query?
        }))
    }

    fn target(&mut self, relation: Option<&nodes::RangeVar>) -> Result<Target<'c>, Error> {
        let Some(relation) = relation else {
            return Err(Error::internal("a write without a target"));
        };
        let name = relation.relname().unwrap_or_default();
        let (alias, _) = alias_of(relation.alias());
        self.bound.findings.raise(Access::Write);
        let found = look_up(&self.context, relation.schemaname(), name);
        if let Found::Table(table) = found {
            self.written(table);
            let bound = self.table(table, alias, Vec::new(), relation.location);
            let relation = bound.namespace.entries[0].relation;
            return Ok(Target {
                item: bound.item,
                relation,
                namespace: bound.namespace,
                table: Some(table),
            });
        }
        let default = self.context.catalog.default_shard();
        match found {
            Found::Temporary(shard) => self.bound.findings.home(shard, name),
            Found::Pgweave => self.bound.findings.uses_pgweave = true,
            Found::System => {
                let error = Error::unsupported(format!("a write to the system catalog {name}"))
                    .with_hint("SET pgweave.shard to say where it runs.")
                    .at(self.source.sql, relation.location);
                self.bound.findings.refuse(error);
            }
            Found::View(view) => self.written_view(view, relation)?,
            Found::Table(_) | Found::Unknown => self.bound.findings.home(default, name),
        }
        self.bound.findings.other_writes.push(name.to_owned());
        let bound = self.add_open(alias.unwrap_or(name));
        self.bound.items.push(Item::Other);
        Ok(Target {
            item: self.bound.items.len() - 1,
            relation: bound,
            namespace: Namespace::of(bound),
            table: None,
        })
    }

    /// A view over unsharded tables is written where they are; the rows of any other view cannot be followed.
    fn written_view(
        &mut self,
        view: &'c catalog::View,
        relation: &nodes::RangeVar,
    ) -> Result<(), Error> {
        let before = (
            self.bound.findings.sharded.len(),
            self.bound.findings.references.len(),
        );
        let empty = Namespace::default();
        let scope = Scope {
            namespace: &empty,
            parent: None,
            ctes: None,
        };
        self.view(view, None, Vec::new(), relation.location, &scope)?;
        if before
            != (
                self.bound.findings.sharded.len(),
                self.bound.findings.references.len(),
            )
        {
            let error = Error::unsupported(format!(
                "a write through the view {} of sharded or reference tables",
                view.name
            ))
            .with_hint("Write to the table itself.")
            .at(self.source.sql, relation.location);
            self.bound.findings.refuse(error);
        }
        Ok(())
    }

    fn insert(&mut self, insert: &nodes::InsertStmt, outer: &Scope<'_>) -> Result<Query, Error> {
        let target = self.target(insert.relation())?;
        let columns = self.insert_columns(insert, &target);
        let mut level = Level {
            barrier: true,
            writes: true,
            ..Level::default()
        };
        if let Some(table) = target
            .table
            .filter(|table| matches!(table.kind, TableKind::Reference))
        {
            self.judge_defaults(table, columns.as_deref());
        }
        match (target.table, target.table.map(|table| &table.kind)) {
            (Some(table), Some(TableKind::Sharded { group, key })) => {
                let positions = match key_positions(table, key, columns.as_deref(), insert) {
                    Ok(positions) => positions,
                    Err(error) => {
                        let location = insert.relation().map_or(-1, |relation| relation.location);
                        self.bound
                            .findings
                            .refuse(error.at(self.source.sql, location));
                        Vec::new()
                    }
                };
                let rows = match insert.select_stmt() {
                    Node::SelectStmt(select) if is_plain_values(select) => {
                        let rows =
                            self.inserted_rows(table, key, &positions, select, outer, &mut level)?;
                        self.note_inserted(&rows, key, &target, &mut level);
                        InsertRows::Values(rows)
                    }
                    Node::SelectStmt(select) => {
                        let query = self.select(select, outer)?;
                        self.note_selected(key, &positions, query);
                        InsertRows::Query { query, positions }
                    }
                    _ => {
                        self.bound.findings.refuse(no_key(table, &key[0].name));
                        InsertRows::Values(Vec::new())
                    }
                };
                level.insert = Some(Insert {
                    group: *group,
                    table: table.name.clone(),
                    rows,
                    key_types: key.iter().map(|key| key.key_type).collect(),
                    key_names: key.iter().map(|key| key.name.clone()).collect(),
                });
            }
            _ => {
                if let Node::SelectStmt(select) = insert.select_stmt() {
                    let query = self.select(select, outer)?;
                    level.subqueries.push(query);
                }
            }
        }
        if let Some(conflict) = insert.on_conflict_clause() {
            if !matches!(insert.select_stmt(), Node::SelectStmt(select) if is_plain_values(select))
            {
                self.bound
                    .findings
                    .unsettle("ON CONFLICT with rows in no particular order");
            }
            self.on_conflict(conflict, &target, outer, &mut level)?;
        }
        self.returning(
            insert.returning_clause(),
            target.namespace.clone(),
            outer,
            level,
            &[],
        )
    }

    /// The columns that values are given for, in order; `None`: not certain.
    fn insert_columns(
        &self,
        insert: &nodes::InsertStmt,
        target: &Target<'c>,
    ) -> Option<Vec<String>> {
        if insert.cols().is_empty() {
            return target.table.map(|table| {
                table
                    .columns
                    .iter()
                    .map(|column| column.name.clone())
                    .collect()
            });
        }
        insert
            .cols()
            .iter()
            .map(|column| match column {
                // `a[1]` and `a.b` give a part of a column.
                Node::ResTarget(column) if column.indirection().is_empty() => {
                    column.name().map(str::to_owned)
                }
                Node::ResTarget(_) => Some(String::new()),
                _ => None,
            })
            .collect()
    }

    fn inserted_rows(
        &mut self,
        table: &Table,
        key: &[KeyColumn],
        positions: &[usize],
        select: &nodes::SelectStmt,
        outer: &Scope<'_>,
        level: &mut Level,
    ) -> Result<Vec<Vec<Operand>>, Error> {
        let mut rows = Vec::with_capacity(select.values_lists().len());
        for row in select.values_lists() {
            self.expression(row, outer, &mut level.subqueries)?;
            let Node::NodeList(row) = row else {
                return Err(Error::internal("a row of VALUES that is no list"));
            };
            let mut values = Vec::with_capacity(key.len());
            for (key, position) in key.iter().zip(positions) {
                match self.inserted_value(table, key, row, *position) {
                    Ok(value) => values.push(value),
                    Err(error) => self.bound.findings.refuse(error),
                }
            }
            rows.push(values);
        }
        Ok(rows)
    }

    fn inserted_value(
        &self,
        table: &Table,
        key: &KeyColumn,
        row: &NodeList,
        position: usize,
    ) -> Result<Operand, Error> {
        match row.get(position) {
            None | Some(Node::SetToDefault(_)) => Err(no_key(table, &key.name)),
            Some(node) => operand(node, self.source)
                .filter(|operand| !operand.array && operand.fits(family(key.key_type)))
                .ok_or_else(|| {
                    Error::unsupported(format!(
                        "the shard key {} of {} is given as an expression",
                        key.name, table.name
                    ))
                    .with_hint(format!(
                        "Give {} as a constant or a parameter of type {}.",
                        key.name,
                        key.key_type.name()
                    ))
                }),
        }
    }

    /// Every inserted row has one of these keys: RETURNING may rely on it.
    fn note_inserted(
        &mut self,
        rows: &[Vec<Operand>],
        key: &[KeyColumn],
        target: &Target<'c>,
        level: &mut Level,
    ) {
        for (column, key) in key.iter().enumerate() {
            let set: Vec<Operand> = rows
                .iter()
                .filter_map(|row| row.get(column).cloned())
                .collect();
            if let Some(variable) = self.relations.0[target.relation].column(&key.name)
                && set.len() == rows.len()
            {
                let set = self.add_set(set, family(key.key_type));
                level.facts.push(Fact::In(variable, set));
            }
        }
    }

    /// INSERT … SELECT: constants in the key's place are read as the key's type.
    fn note_selected(&mut self, key: &[KeyColumn], positions: &[usize], query: QueryId) {
        for (key, position) in key.iter().zip(positions) {
            let source = &self.bound.queries[query];
            let output = source
                .outputs
                .get(*position)
                .filter(|_| source.positions_known)
                .cloned();
            if let Some(operand) = output.and_then(|output| output.operand) {
                self.note_key(&operand, family(key.key_type));
            }
        }
    }

    fn on_conflict(
        &mut self,
        conflict: &nodes::OnConflictClause,
        target: &Target<'c>,
        outer: &Scope<'_>,
        level: &mut Level,
    ) -> Result<(), Error> {
        let excluded = match target.table {
            Some(table) => self.table_relation(table, Some("excluded"), Vec::new()).0,
            None => self.add_open("excluded"),
        };
        let mut namespace = target.namespace.clone();
        let mut names = Namespace::of(excluded);
        names.entries[0].unqualified = false;
        namespace.append(names);
        let scope = Scope {
            namespace: &namespace,
            parent: Some(outer),
            ctes: outer.ctes,
        };
        let mut loose = Vec::new();
        if let Some(infer) = conflict.infer() {
            for element in infer.index_elems() {
                if let Node::IndexElem(element) = element {
                    self.expression(element.expr(), &scope, &mut loose)?;
                }
            }
            self.expression(infer.where_clause(), &scope, &mut loose)?;
        }
        for assignment in conflict.target_list() {
            self.expression(Node::ResTarget(assignment), &scope, &mut loose)?;
            let Some(key) = target
                .key()
                .iter()
                .find(|key| Some(key.name.as_str()) == assignment.name())
            else {
                continue;
            };
            let own = self.relations.0[target.relation].column(&key.name);
            let proposed = self.relations.0[excluded].column(&key.name);
            let same = match assignment.val() {
                Node::ColumnRef(reference) => match self.relations.resolve(reference, &scope) {
                    Resolved::Column(variable) => {
                        Some(variable) == own || Some(variable) == proposed
                    }
                    Resolved::Unclear => false,
                },
                _ => false,
            };
            if !same || !assignment.indirection().is_empty() {
                let error =
                    key_update(target.table, &key.name).at(self.source.sql, assignment.location);
                self.bound.findings.refuse(error);
            }
        }
        self.expression(conflict.where_clause(), &scope, &mut loose)?;
        level.loose_subqueries.extend(loose);
        Ok(())
    }

    fn update(&mut self, update: &nodes::UpdateStmt, outer: &Scope<'_>) -> Result<Query, Error> {
        let target = self.target(update.relation())?;
        let mut level = Level {
            barrier: true,
            writes: true,
            items: vec![target.item],
            ..Level::default()
        };
        let namespace = self.bind_from_list(
            update.from_clause(),
            outer,
            &mut level,
            target.namespace.clone(),
        )?;
        let scope = Scope {
            namespace: &namespace,
            parent: Some(outer),
            ctes: outer.ctes,
        };
        let mut subqueries = Vec::new();
        self.expression(update.where_clause(), &scope, &mut subqueries)?;
        self.conditions(update.where_clause(), &scope, &mut level.facts);
        let known = Known::new([level.item_facts.as_slice(), level.facts.as_slice()].concat());
        // Assigned columns come out changed, and triggers may change others; the key stays.
        let target_relation = &self.relations.0[target.relation];
        let assigned: Vec<Variable> = target_relation
            .variables()
            .filter(|(name, _)| {
                !target
                    .key()
                    .iter()
                    .any(|key| Some(key.name.as_str()) == *name)
            })
            .map(|(_, variable)| variable)
            .collect();
        for assignment in update.target_list() {
            self.expression(Node::ResTarget(assignment), &scope, &mut subqueries)?;
            let Some(name) = assignment.name() else {
                continue;
            };
            let variable = self.relations.0[target.relation].column(name);
            if target.key().iter().any(|key| key.name == name)
                && !self.keeps_key(assignment, variable, &known, &scope)
            {
                let error = key_update(target.table, name).at(self.source.sql, assignment.location);
                self.bound.findings.refuse(error);
            }
        }
        level.subqueries = subqueries;
        self.returning(
            update.returning_clause(),
            namespace,
            outer,
            level,
            &assigned,
        )
    }

    /// Whether `SET key = value` provably leaves the key as it is.
    fn keeps_key(
        &mut self,
        assignment: &nodes::ResTarget,
        key: Option<Variable>,
        known: &Known,
        scope: &Scope<'_>,
    ) -> bool {
        let Some(key) = key.filter(|_| assignment.indirection().is_empty()) else {
            return false;
        };
        if let Some(variable) = self.column(assignment.val(), scope) {
            return known.same(variable, key);
        }
        let Some(value) = operand(assignment.val(), self.source).filter(|value| !value.array)
        else {
            return false;
        };
        // Two literals may be the same now and differ in the next statement of this shape.
        self.bound.findings.tied_to_values = true;
        let kept = known.sets(key).any(|set| {
            matches!(self.bound.sets[set as usize].as_slice(), [only] if self.same_value(only, &value))
        });
        if kept && let Some(family) = self.family(key) {
            self.note_key(&value, family);
        }
        kept
    }

    fn same_value(&self, a: &Operand, b: &Operand) -> bool {
        if a == b {
            return a.value != OperandValue::Null;
        }
        match (&a.value, &b.value) {
            (
                OperandValue::Literal {
                    index: one,
                    negative,
                    ..
                },
                OperandValue::Literal {
                    index: other,
                    negative: other_negative,
                    ..
                },
            ) if a.cast == b.cast && a.array == b.array && negative == other_negative => {
                let text = |index: u16| {
                    self.source
                        .literals
                        .and_then(|literals| literals.text(self.source.sql, index))
                };
                text(*one).is_some() && text(*one) == text(*other)
            }
            _ => false,
        }
    }

    fn delete(&mut self, delete: &nodes::DeleteStmt, outer: &Scope<'_>) -> Result<Query, Error> {
        let target = self.target(delete.relation())?;
        let mut level = Level {
            barrier: true,
            writes: true,
            items: vec![target.item],
            ..Level::default()
        };
        let namespace = self.bind_from_list(
            delete.using_clause(),
            outer,
            &mut level,
            target.namespace.clone(),
        )?;
        let scope = Scope {
            namespace: &namespace,
            parent: Some(outer),
            ctes: outer.ctes,
        };
        let mut subqueries = Vec::new();
        self.expression(delete.where_clause(), &scope, &mut subqueries)?;
        self.conditions(delete.where_clause(), &scope, &mut level.facts);
        level.subqueries = subqueries;
        self.returning(delete.returning_clause(), namespace, outer, level, &[])
    }

    /// MERGE into an unsharded table. Into others it is refused for now: rows that match nothing would have to be proved too.
    fn merge_statement(
        &mut self,
        merge: &nodes::MergeStmt,
        outer: &Scope<'_>,
    ) -> Result<Query, Error> {
        let target = self.target(merge.relation())?;
        if let Some(table) = target.table
            && !matches!(table.kind, TableKind::Unsharded { .. })
        {
            let error = Error::unsupported(format!(
                "MERGE into {}, which is not an unsharded table",
                table.name
            ))
            .with_hint("Use INSERT … ON CONFLICT, or UPDATE and INSERT.")
            .at(
                self.source.sql,
                merge.relation().map_or(-1, |relation| relation.location),
            );
            self.bound.findings.refuse(error);
        }
        let mut level = Level {
            barrier: true,
            writes: true,
            ..Level::default()
        };
        let namespace = self.bind_from_list(
            [merge.source_relation()],
            outer,
            &mut level,
            target.namespace.clone(),
        )?;
        let scope = Scope {
            namespace: &namespace,
            parent: Some(outer),
            ctes: outer.ctes,
        };
        let mut loose = Vec::new();
        self.expression(merge.join_condition(), &scope, &mut loose)?;
        for clause in merge.merge_when_clauses() {
            self.expression(clause.condition(), &scope, &mut loose)?;
            for node in clause.target_list().iter().chain(clause.values()) {
                self.expression(node, &scope, &mut loose)?;
            }
        }
        level.loose_subqueries.extend(loose);
        self.returning(merge.returning_clause(), namespace, outer, level, &[])
            .map(|mut query| {
                query.outputs.clear();
                (query.names_known, query.positions_known) = (false, false);
                query
            })
    }

    /// RETURNING, and the query that the statement is to those who refer to it. Columns in `assigned` come out changed.
    fn returning(
        &mut self,
        clause: Option<&nodes::ReturningClause>,
        namespace: Namespace,
        outer: &Scope<'_>,
        mut level: Level,
        assigned: &[Variable],
    ) -> Result<Query, Error> {
        let scope = Scope {
            namespace: &namespace,
            parent: Some(outer),
            ctes: outer.ctes,
        };
        let mut targets = Vec::new();
        if let Some(clause) = clause {
            for node in clause.exprs() {
                self.expression(node, &scope, &mut level.loose_subqueries)?;
                if let Node::ResTarget(target) = node {
                    targets.push(target);
                }
            }
        }
        let (mut outputs, positions_known, names_known) = self.outputs(&targets, &scope);
        for output in &mut outputs {
            output.variable = output
                .variable
                .filter(|variable| !assigned.contains(variable));
        }
        Ok(Query {
            kind: QueryKind::Level(Box::new(level)),
            outputs,
            positions_known,
            names_known,
            first_inner: 0,
        })
    }

    /// Columns of a reference table that are left out take their defaults on each copy.
    fn judge_defaults(&mut self, table: &Table, columns: Option<&[String]>) {
        for column in table.columns.iter().filter(|column| column.has_default) {
            if columns.is_some_and(|columns| columns.contains(&column.name)) {
                continue;
            }
            let settled = column
                .default_expression
                .as_deref()
                .is_some_and(|text| self.is_settled(text));
            if !settled {
                self.bound
                    .findings
                    .unsettle(format!("the default of column {}", column.name));
            }
        }
    }

    fn is_settled(&self, expression: &str) -> bool {
        let Ok(tree) = parse(&format!("SELECT {expression}")) else {
            return false;
        };
        let mut stack: Vec<Node<'_>> = tree.only().into_iter().collect();
        if let Some(Node::SelectStmt(select)) = stack.pop() {
            stack.extend(select.target_list().iter().map(Node::ResTarget));
        }
        while let Some(node) = stack.pop() {
            match node {
                Node::SQLValueFunction(_) | Node::SubLink(_) | Node::SelectStmt(_) => return false,
                Node::FuncCall(call) => {
                    let name = call
                        .funcname()
                        .iter()
                        .next_back()
                        .and_then(Node::as_str)
                        .unwrap_or_default();
                    let own = self.context.catalog.functions(name);
                    if classify(name) != Builtin::Settled || !own.is_empty() {
                        return false;
                    }
                }
                _ => {}
            }
            if children(node, &mut stack).is_err() {
                return false;
            }
        }
        true
    }
}

/// VALUES without clauses of its own.
fn is_plain_values(select: &nodes::SelectStmt) -> bool {
    !select.values_lists().is_empty()
        && select.with_clause().is_none()
        && select.sort_clause().is_empty()
        && matches!(
            (select.limit_count(), select.limit_offset()),
            (Node::None, Node::None)
        )
}

fn no_key(table: &Table, column: &str) -> Error {
    Error::unsupported(format!(
        "INSERT into the sharded table {} without a value for its shard key {column}",
        table.name
    ))
    .with_hint(format!(
        "Add {column} to the column list and give it a constant or a parameter."
    ))
}

fn key_update(table: Option<&Table>, column: &str) -> Error {
    let table = table.map_or("", |table| table.name.as_str());
    Error::unsupported(format!("UPDATE of the shard key {column} of {table}"))
        .with_hint("Delete the row and insert it with its new key.")
}

/// Where the shard key's columns stand among those that values are given for.
fn key_positions(
    table: &Table,
    key: &[KeyColumn],
    columns: Option<&[String]>,
    insert: &nodes::InsertStmt,
) -> Result<Vec<usize>, Error> {
    if matches!(insert.select_stmt(), Node::None) {
        return Ok(Vec::new());
    }
    key.iter()
        .map(|key| {
            columns
                .and_then(|columns| columns.iter().position(|column| *column == key.name))
                .ok_or_else(|| no_key(table, &key.name))
        })
        .collect()
}
