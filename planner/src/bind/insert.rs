//! INSERT: the keys of the rows that go in.

use catalog::{KeyColumn, Table, TableKind};

use super::Binder;
use super::write::{Target, key_update};
use crate::Error;
use crate::convert::family;
use crate::facts::Fact;
use crate::functions::{Builtin, classify};
use crate::operand::{Operand, operand};
use crate::parse::{Node, NodeList, OverridingKind, nodes, parse};
use crate::query::{Insert, InsertRows, Level, Query, QueryId};
use crate::scope::{Namespace, Resolved, Scope};
use crate::walk::children;

impl<'c: 's, 's> Binder<'c, 's> {
    pub(super) fn insert(
        &mut self,
        insert: &nodes::InsertStmt,
        outer: &Scope<'_>,
    ) -> Result<Query, Error> {
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
            // With OVERRIDING USER VALUE an identity column takes its next value, whatever is given.
            match insert.override_ {
                OverridingKind::OVERRIDING_USER_VALUE => self.judge_defaults(table, Some(&[])),
                _ => self.judge_defaults(table, columns.as_deref()),
            }
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
                        let rows = self.inserted_rows(
                            table,
                            key,
                            (&positions, columns.as_deref()),
                            select,
                            outer,
                            &mut level,
                        )?;
                        self.note_inserted(&rows, key, &target, &mut level);
                        InsertRows::Values(rows)
                    }
                    Node::SelectStmt(select) => {
                        // The rows of the SELECT are those that are written, each evaluated once.
                        let within = self.row_depth;
                        if self.depth == 1 {
                            self.row_depth = 2;
                        }
                        let query = self.select(select, outer);
                        self.row_depth = within;
                        let query = query?;
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
                    type_modifiers: key.iter().map(|key| type_modifier(table, key)).collect(),
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
    pub(super) fn insert_columns(
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

    pub(super) fn inserted_rows(
        &mut self,
        table: &Table,
        key: &[KeyColumn],
        columns: (&[usize], Option<&[String]>),
        select: &nodes::SelectStmt,
        outer: &Scope<'_>,
        level: &mut Level,
    ) -> Result<Vec<Vec<Operand>>, Error> {
        let (positions, columns) = columns;
        let mut rows = Vec::with_capacity(select.values_lists().len());
        for row in select.values_lists() {
            let words = self.bound.findings.moment_words.len();
            self.expression(row, outer, &mut level.subqueries)?;
            let Node::NodeList(row) = row else {
                return Err(Error::internal("a row of VALUES that is no list"));
            };
            self.forget_plain_words(words, table, columns, row);
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

    /// Of the words since `from` that dates and times read as the moment, those that go into columns of other types are plain.
    fn forget_plain_words(
        &mut self,
        from: usize,
        table: &Table,
        columns: Option<&[String]>,
        row: &NodeList,
    ) {
        let words = &mut self.bound.findings.moment_words;
        if words.len() == from {
            return;
        }
        let plain = |(index, node): (usize, Node<'_>)| {
            let Node::A_Const(constant) = node else {
                return None;
            };
            let name = columns.and_then(|columns| columns.get(index))?;
            let column = table.column(name)?;
            let plain =
                column.type_oid < FIRST_OF_USERS && !DATES_AND_TIMES.contains(&column.type_oid);
            plain.then_some(constant.location)
        };
        let plain: Vec<i32> = row.iter().enumerate().filter_map(plain).collect();
        let mut at = 0;
        words.retain(|word| {
            at += 1;
            at <= from || !plain.contains(word)
        });
    }

    pub(super) fn inserted_value(
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
    pub(super) fn note_inserted(
        &mut self,
        rows: &[Vec<Operand>],
        key: &[KeyColumn],
        target: &Target<'c>,
        level: &mut Level,
    ) {
        for (column, key) in key.iter().enumerate() {
            let modifier = target
                .table
                .map(|table| type_modifier(table, key))
                .filter(|modifier| *modifier >= 0);
            let set: Vec<Operand> = rows
                .iter()
                .filter_map(|row| row.get(column).cloned())
                .map(|operand| Operand {
                    stored: modifier,
                    ..operand
                })
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
    pub(super) fn note_selected(&mut self, key: &[KeyColumn], positions: &[usize], query: QueryId) {
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

    pub(super) fn on_conflict(
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

    /// Columns of a reference table that are left out take their defaults on each copy.
    pub(crate) fn judge_defaults(&mut self, table: &Table, columns: Option<&[String]>) {
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

    pub(super) fn is_settled(&self, expression: &str) -> bool {
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

/// Types that users made, perhaps domains, have numbers from here on.
const FIRST_OF_USERS: u32 = 16384;

/// date, time, timestamp, timestamptz, timetz, by `pg_type.oid`.
const DATES_AND_TIMES: [u32; 5] = [1082, 1083, 1114, 1184, 1266];

fn type_modifier(table: &Table, key: &KeyColumn) -> i32 {
    table
        .column(&key.name)
        .map_or(-1, |column| column.type_modifier)
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
    if insert.override_ == OverridingKind::OVERRIDING_USER_VALUE
        && let Some(column) = key
            .iter()
            .filter_map(|key| table.column(&key.name))
            .find(|column| column.has_default)
    {
        return Err(Error::unsupported(format!(
            "OVERRIDING USER VALUE on the sharded table {}, whose shard key {} has values of its own",
            table.name, column.name
        ))
        .with_hint("Leave it out, or use OVERRIDING SYSTEM VALUE: the given key decides the shard."));
    }
    key.iter()
        .map(|key| {
            columns
                .and_then(|columns| columns.iter().position(|column| *column == key.name))
                .ok_or_else(|| no_key(table, &key.name))
        })
        .collect()
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
