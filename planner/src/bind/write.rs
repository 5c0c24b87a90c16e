//! UPDATE, DELETE and MERGE, and what all writes have in common.

use catalog::{Event, KeyColumn, Table, TableKind};

use super::Binder;
use super::from::alias_of;
use crate::facts::{Known, Variable};
use crate::operand::{Operand, OperandValue, operand};
use crate::parse::{CmdType, MergeMatchKind, Node, NodeList, nodes};
use crate::query::{Item, Join, JoinKind, Level, Query, QueryId, QueryKind};
use crate::relation::{Found, look_up};
use crate::scope::{CteScope, Namespace, RelationId, Scope};
use crate::{Access, Error};

/// The table that a statement changes.
pub(super) struct Target<'c> {
    pub(super) item: usize,
    pub(super) relation: RelationId,
    pub(super) namespace: Namespace,
    pub(super) table: Option<&'c Table>,
}

impl<'c> Target<'c> {
    pub(super) fn key(&self) -> &'c [KeyColumn] {
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
        let inner = scope.with(&with);
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

    pub(super) fn target(
        &mut self,
        relation: Option<&nodes::RangeVar>,
    ) -> Result<Target<'c>, Error> {
        let Some(relation) = relation else {
            return Err(Error::internal("a write without a target"));
        };
        let name = relation.relname().unwrap_or_default();
        let (alias, _) = alias_of(relation.alias());
        self.bound.findings.raise(Access::Write);
        let found = look_up(&self.context, relation.schemaname(), name);
        if let Found::Table(table) = found {
            self.written(table, relation.location);
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
            Found::View(view) => {
                self.written_view(view, relation)?;
                self.reactions(&view.schema, &view.name, Event::Write, relation.location);
            }
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
    pub(super) fn written_view(
        &mut self,
        view: &'c catalog::View,
        relation: &nodes::RangeVar,
    ) -> Result<(), Error> {
        let before = (
            self.bound.findings.sharded.len(),
            self.bound.findings.references.len(),
        );
        self.view(view, relation, None, Vec::new())?;
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

    /// Which rows of the target UPDATE and DELETE are about: a join with the other relations, and a condition.
    fn rows_to_write(
        &mut self,
        target: &Target<'c>,
        others: &NodeList,
        condition: Node<'_>,
        outer: &Scope<'_>,
    ) -> Result<(Level, Namespace), Error> {
        let mut level = Level {
            barrier: true,
            writes: true,
            items: vec![target.item],
            ..Level::default()
        };
        let namespace = self.bind_from_list(others, outer, &mut level, target.namespace.clone())?;
        let scope = Scope {
            namespace: &namespace,
            parent: Some(outer),
            ctes: outer.ctes,
        };
        let mut subqueries = Vec::new();
        self.expression(condition, &scope, &mut subqueries)?;
        self.conditions(condition, &scope, &mut level.facts);
        level.subqueries = subqueries;
        Ok((level, namespace))
    }

    pub(super) fn update(
        &mut self,
        update: &nodes::UpdateStmt,
        outer: &Scope<'_>,
    ) -> Result<Query, Error> {
        let target = self.target(update.relation())?;
        let (mut level, namespace) =
            self.rows_to_write(&target, update.from_clause(), update.where_clause(), outer)?;
        let scope = Scope {
            namespace: &namespace,
            parent: Some(outer),
            ctes: outer.ctes,
        };
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
            self.expression(Node::ResTarget(assignment), &scope, &mut level.subqueries)?;
            let Some(name) = assignment.name() else {
                continue;
            };
            let variable = self.relations.0[target.relation].column(name);
            if target.key().iter().any(|key| key.name == name)
                && !self.keeps_key(assignment, variable, &known, &scope)
            {
                let error = key_update(target.table, name).at(self.source.sql, assignment.location);
                // Of the statement itself, the rows may be moved.
                match self.depth {
                    1 => {
                        self.bound.findings.moves.get_or_insert(error);
                    }
                    _ => self.bound.findings.refuse(error),
                }
            }
        }
        self.returning(
            update.returning_clause(),
            namespace,
            outer,
            level,
            &assigned,
        )
    }

    /// Whether `SET key = value` provably leaves the key as it is.
    pub(super) fn keeps_key(
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

    pub(super) fn same_value(&self, a: &Operand, b: &Operand) -> bool {
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

    pub(super) fn delete(
        &mut self,
        delete: &nodes::DeleteStmt,
        outer: &Scope<'_>,
    ) -> Result<Query, Error> {
        let target = self.target(delete.relation())?;
        let (level, namespace) =
            self.rows_to_write(&target, delete.using_clause(), delete.where_clause(), outer)?;
        self.returning(delete.returning_clause(), namespace, outer, level, &[])
    }

    /// MERGE is a join of its source with the target; the rows that it inserts are proved like those of the target.
    pub(super) fn merge_statement(
        &mut self,
        merge: &nodes::MergeStmt,
        outer: &Scope<'_>,
    ) -> Result<Query, Error> {
        let target = self.target(merge.relation())?;
        if let Some(table) = target.table
            && matches!(table.kind, TableKind::Reference)
        {
            let error =
                Error::unsupported(format!("MERGE into the reference table {}", table.name))
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
        let mut facts = Vec::new();
        self.conditions(merge.join_condition(), &scope, &mut facts);
        let mut inserts = false;
        for clause in merge.merge_when_clauses() {
            self.expression(clause.condition(), &scope, &mut loose)?;
            for node in clause.target_list().iter().chain(clause.values()) {
                self.expression(node, &scope, &mut loose)?;
            }
            inserts |= clause.command_type == CmdType::CMD_INSERT;
            self.merge_action(clause, &target, &scope, &mut level);
        }
        level.loose_subqueries.extend(loose);
        let sources = std::mem::take(&mut level.items);
        if let ([source], false) = (sources.as_slice(), target.key().is_empty()) {
            self.bound.items.push(Item::Join(Join {
                kind: if inserts {
                    JoinKind::Left
                } else {
                    JoinKind::Inner
                },
                left: *source,
                right: target.item,
                facts,
                left_facts: level.item_facts.clone(),
                right_facts: Vec::new(),
                subqueries: Vec::new(),
            }));
            level.items.push(self.bound.items.len() - 1);
        } else {
            level.items = sources;
        }
        self.returning(merge.returning_clause(), namespace, outer, level, &[])
            .map(|mut query| {
                query.outputs.clear();
                (query.names_known, query.positions_known) = (false, false);
                query
            })
    }

    /// What one WHEN clause does to a sharded target: it must leave its keys alone, and insert rows with keys of its source.
    fn merge_action(
        &mut self,
        clause: &nodes::MergeWhenClause,
        target: &Target<'c>,
        scope: &Scope<'_>,
        level: &mut Level,
    ) {
        let key = target.key();
        let Some(table) = target.table.filter(|_| !key.is_empty()) else {
            return;
        };
        let refused = |what: &str| {
            Error::unsupported(format!(
                "MERGE into the sharded table {} {what}",
                table.name
            ))
            .with_hint(format!(
                "Insert rows whose {} is a column of the source, and leave it as it is.",
                key[0].name
            ))
        };
        if clause.match_kind == MergeMatchKind::MERGE_WHEN_NOT_MATCHED_BY_SOURCE {
            self.bound
                .findings
                .refuse(refused("with WHEN NOT MATCHED BY SOURCE"));
        }
        let columns: Vec<&str> = clause
            .target_list()
            .iter()
            .filter_map(|node| match node {
                Node::ResTarget(column) => column.name(),
                _ => None,
            })
            .collect();
        match clause.command_type {
            CmdType::CMD_UPDATE => {
                let changed = key.iter().find(|key| columns.contains(&key.name.as_str()));
                if let Some(column) = changed {
                    let error = key_update(target.table, &column.name);
                    self.bound.findings.refuse(error);
                }
            }
            CmdType::CMD_INSERT => {
                let position = |name: &str| match columns.is_empty() {
                    true => table.columns.iter().position(|column| column.name == name),
                    false => columns.iter().position(|column| *column == name),
                };
                let variables: Option<Vec<Variable>> = key
                    .iter()
                    .map(|key| {
                        let value = clause.values().get(position(&key.name)?)?;
                        self.column(value, scope)
                    })
                    .collect();
                match variables {
                    Some(variables) => level.merge_keys.push(variables),
                    None => {
                        let error = refused("that inserts a key which is no column of its source");
                        self.bound.findings.refuse(error);
                    }
                }
            }
            _ => {}
        }
    }

    /// RETURNING, and the query that the statement is to those who refer to it. Columns in `assigned` come out changed.
    pub(super) fn returning(
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
}

pub(super) fn key_update(table: Option<&Table>, column: &str) -> Error {
    let table = table.map_or("", |table| table.name.as_str());
    Error::unsupported(format!("UPDATE of the shard key {column} of {table}"))
        .with_hint("Delete the row and insert it with its new key.")
}
