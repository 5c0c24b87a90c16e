//! SELECT and VALUES: one level of a query.

use super::Binder;
use super::output::without_variables;
use crate::facts::Variable;
use crate::functions::is_aggregate;
use crate::parse::{ConstValue, Node, NodeList, SetOperation, names, nodes};
use crate::query::{Computes, Level, Output, Query, QueryId, QueryKind};
use crate::scope::{Columns, CteScope, Namespace, Resolved, Scope};
use crate::walk::children;
use crate::{Access, Error};

impl<'c: 's, 's> Binder<'c, 's> {
    /// Binds a query expression with everything in it.
    pub fn select(
        &mut self,
        select: &nodes::SelectStmt,
        scope: &Scope<'_>,
    ) -> Result<QueryId, Error> {
        self.enter()?;
        let begin = self.begin_query();
        let ctes = self.with(select.with_clause(), scope)?;
        let with = CteScope {
            ctes: &ctes,
            parent: scope.ctes,
        };
        let inner = scope.with(&with);
        let first_inner = self.bound.families.len() as Variable;
        let query = if select.op != SetOperation::SETOP_NONE {
            self.set_operation(select, &inner)
        } else if !select.values_lists().is_empty() {
            self.values(select, &inner)
        } else {
            self.level(select, &inner)
        };
        self.leave();
        let query = self.add_query(Query {
            first_inner,
            ..query?
        });
        self.end_query(begin, select, query);
        Ok(query)
    }

    pub(super) fn add_query(&mut self, query: Query) -> QueryId {
        self.bound.queries.push(query);
        self.bound.queries.len() - 1
    }

    pub(super) fn level(
        &mut self,
        select: &nodes::SelectStmt,
        outer: &Scope<'_>,
    ) -> Result<Query, Error> {
        let mut level = Level::default();
        let references = self.bound.findings.references.len();
        let namespace = self.bind_from_list(
            select.from_clause(),
            outer,
            &mut level,
            Namespace::default(),
        )?;
        let scope = Scope {
            namespace: &namespace,
            parent: Some(outer),
            ctes: outer.ctes,
        };
        let windows = self.bound.findings.windows;
        self.expression(select.where_clause(), &scope, &mut level.subqueries)?;
        self.conditions(select.where_clause(), &scope, &mut level.facts);
        self.note_conditions(select.where_clause(), &level.items, &scope);
        let mut subqueries = Vec::new();
        let outside = self.aggregates_outside;
        let outer_aggregates = self.outer_aggregates;
        for target in select.target_list() {
            self.note_output(target);
            self.expression(Node::ResTarget(target), &scope, &mut subqueries)?;
        }
        self.expression(select.having_clause(), &scope, &mut subqueries)?;
        for window in select.window_clause() {
            self.expression(window, &scope, &mut subqueries)?;
        }
        self.sort(select, &scope, &mut subqueries)?;
        let limited = self.limit(select, &scope, &mut subqueries)?;
        let targets: Vec<&nodes::ResTarget> = select.target_list().iter().collect();
        let (outputs, positions_known, names_known) = self.outputs(&targets, &scope);
        let distinct_on = self.distinct(select.distinct_clause(), &scope, &mut subqueries)?;
        let grouping_sets = self.group(
            select.group_clause(),
            &scope,
            &outputs,
            &mut level,
            &mut subqueries,
        )?;
        let locking = self.lock(select, references, &namespace);
        level.sorted = (select.sort_clause().iter())
            .map(|sort| match sort.node() {
                Node::ColumnRef(reference) => match self.relations.resolve(reference, &scope) {
                    Resolved::Column(variable) => Some(variable),
                    Resolved::Unclear => None,
                },
                _ => None,
            })
            .collect();
        level.computes = Computes {
            aggregates: self.aggregates(select)?
                || self.outer_aggregates > outer_aggregates
                || !matches!(select.having_clause(), Node::None),
            grouping_sets,
            windows: self.bound.findings.windows > windows,
            distinct: !select.distinct_clause().is_empty() && !distinct_on,
            distinct_on,
            limited,
            locks: locking,
        };
        level.computed = subqueries;
        level.unconditional = grouping_sets
            || level.grouped.is_none()
                && (!matches!(select.having_clause(), Node::None)
                    || self.aggregates_outside > outside
                    || calls_a_function(select)?);
        level.barrier = limited
            || distinct_on
            || grouping_sets
            || locking
            || self.bound.findings.windows > windows
            || level.grouped.is_none() && !matches!(select.having_clause(), Node::None);
        let outputs = if grouping_sets {
            without_variables(outputs)
        } else {
            outputs
        };
        self.last_namespace = namespace;
        Ok(Query {
            kind: QueryKind::Level(Box::new(level)),
            outputs,
            positions_known,
            names_known,
            first_inner: 0,
        })
    }

    pub(super) fn values(
        &mut self,
        select: &nodes::SelectStmt,
        scope: &Scope<'_>,
    ) -> Result<Query, Error> {
        let mut level = Level::default();
        let mut width = 0;
        for row in select.values_lists() {
            if let Node::NodeList(row) = row {
                width = width.max(row.len());
            }
            self.expression(row, scope, &mut level.subqueries)?;
        }
        level.subqueries.extend(self.tail(select, scope)?);
        level.barrier = true;
        let outputs = (1..=width)
            .map(|number| Output {
                name: Some(format!("column{number}")),
                ..Output::default()
            })
            .collect();
        Ok(Query {
            kind: QueryKind::Level(Box::new(level)),
            outputs,
            positions_known: true,
            names_known: true,
            first_inner: 0,
        })
    }

    pub(super) fn sort(
        &mut self,
        select: &nodes::SelectStmt,
        scope: &Scope<'_>,
        subqueries: &mut Vec<QueryId>,
    ) -> Result<(), Error> {
        for sort in select.sort_clause() {
            self.bound.findings.tied_to_values |= is_position(sort.node());
            let reach = self.reach;
            self.expression(sort.node(), scope, subqueries)?;
            // A name of an output's own.
            if let Node::ColumnRef(reference) = sort.node()
                && reference.fields().len() == 1
                && let name @ Some(_) = reference.fields().iter().next().and_then(Node::as_str)
                && select
                    .target_list()
                    .iter()
                    .any(|target| target.name() == name)
            {
                self.reach = reach;
            }
        }
        Ok(())
    }

    pub(super) fn limit(
        &mut self,
        select: &nodes::SelectStmt,
        scope: &Scope<'_>,
        subqueries: &mut Vec<QueryId>,
    ) -> Result<bool, Error> {
        let limited = !matches!(
            (select.limit_count(), select.limit_offset()),
            (Node::None, Node::None)
        );
        if limited {
            self.bound.findings.unsettle("LIMIT");
        }
        self.expression(select.limit_count(), scope, subqueries)?;
        self.expression(select.limit_offset(), scope, subqueries)?;
        Ok(limited)
    }

    pub(super) fn distinct(
        &mut self,
        clause: &NodeList,
        scope: &Scope<'_>,
        subqueries: &mut Vec<QueryId>,
    ) -> Result<bool, Error> {
        let mut on = false;
        for expression in clause {
            // Plain DISTINCT is a list with a null in it.
            if !matches!(expression, Node::None) {
                on = true;
                self.bound.findings.unsettle("DISTINCT ON");
                self.bound.findings.tied_to_values |= is_position(expression);
                self.expression(expression, scope, subqueries)?;
            }
        }
        Ok(on)
    }

    /// GROUP BY: notes the grouped columns; tells whether there are grouping sets.
    pub(super) fn group(
        &mut self,
        clause: &NodeList,
        scope: &Scope<'_>,
        outputs: &[Output],
        level: &mut Level,
        subqueries: &mut Vec<QueryId>,
    ) -> Result<bool, Error> {
        if clause.is_empty() {
            return Ok(false);
        }
        self.bound.findings.groups_rows = true;
        let mut grouped = Vec::new();
        let mut sets = false;
        for expression in clause {
            let reach = self.reach;
            self.expression(expression, scope, subqueries)?;
            if let Node::ColumnRef(reference) = expression
                && self.is_no_column(reference, scope)
                && let name = reference.fields().iter().next().and_then(Node::as_str)
                && outputs.iter().any(|output| output.name.as_deref() == name)
            {
                self.reach = reach;
            }
            match expression {
                Node::GroupingSet(_) => sets = true,
                Node::A_Const(constant) => {
                    self.bound.findings.tied_to_values = true;
                    if let Some(ConstValue::Integer(position)) = constant.val() {
                        let output = usize::try_from(position)
                            .ok()
                            .and_then(|position| outputs.get(position.checked_sub(1)?));
                        grouped.extend(output.and_then(|output| output.variable));
                    }
                }
                Node::ColumnRef(reference) => match self.relations.resolve(reference, scope) {
                    Resolved::Column(variable) => grouped.push(variable),
                    Resolved::Unclear => {}
                },
                _ => {}
            }
        }
        level.grouped = Some(grouped);
        Ok(sets)
    }

    /// FOR UPDATE and its kin. Rows of reference tables would be locked on one copy only: noted.
    pub(super) fn lock(
        &mut self,
        select: &nodes::SelectStmt,
        references: usize,
        namespace: &Namespace,
    ) -> bool {
        let mut locking = false;
        for clause in select.locking_clause() {
            locking = true;
            self.bound.findings.raise(Access::LockingRead);
            if clause.locked_rels().is_empty() {
                let locked = self.bound.findings.references[references..].to_vec();
                self.bound.findings.reference_locks.extend(locked);
                continue;
            }
            for relation in clause.locked_rels() {
                let Node::RangeVar(relation) = relation else {
                    continue;
                };
                let name = relation.relname().unwrap_or_default();
                let locked = namespace
                    .entries
                    .iter()
                    .map(|entry| &self.relations.0[entry.relation])
                    .find(|r| r.name == name);
                match locked.map(|relation| &relation.columns) {
                    Some(Columns::Table(table))
                        if matches!(table.kind, catalog::TableKind::Reference) =>
                    {
                        self.bound.findings.reference_locks.push(table.name.clone());
                    }
                    Some(Columns::Table(_) | Columns::Open) => {}
                    Some(Columns::Listed { .. }) | None => {
                        let locked = self.bound.findings.references[references..].to_vec();
                        self.bound.findings.reference_locks.extend(locked);
                    }
                }
            }
        }
        locking
    }
}

impl Binder<'_, '_> {
    /// Whether the level's own expressions call an aggregate.
    fn aggregates(&self, select: &nodes::SelectStmt) -> Result<bool, Error> {
        let mut stack: Vec<Node<'_>> = vec![select.having_clause()];
        stack.extend(select.target_list().iter().map(Node::ResTarget));
        stack.extend(select.sort_clause().iter().map(Node::SortBy));
        stack.extend(select.distinct_clause());
        stack.extend(select.window_clause());
        while let Some(node) = stack.pop() {
            match node {
                Node::JsonObjectAgg(_) | Node::JsonArrayAgg(_) => return Ok(true),
                Node::FuncCall(call) if self.is_aggregate(call) => return Ok(true),
                // What its calls mean for this level, the binder has noted.
                Node::SelectStmt(_) => {}
                _ => children(node, &mut stack)?,
            }
        }
        Ok(false)
    }

    /// Whether a call is one of an aggregate. A window function is none.
    pub fn is_aggregate(&self, call: &nodes::FuncCall) -> bool {
        let path = names(call.funcname());
        let (Some(name), schema) = (path.last(), path.iter().rev().nth(1)) else {
            return false;
        };
        let of_user = (self.context.catalog.functions(name).iter()).any(|function| {
            function.aggregate && schema.is_none_or(|schema| function.schema == *schema)
        });
        let of_system = is_aggregate(name) && schema.is_none_or(|schema| *schema == "pg_catalog");
        call.over().is_none() && (of_user || of_system || call.agg_star || call.agg_within_group)
    }
}

/// Whether the level's own expressions call a function, which may be an aggregate: only the server knows them all.
fn calls_a_function(select: &nodes::SelectStmt) -> Result<bool, Error> {
    let mut stack: Vec<Node<'_>> = vec![select.having_clause()];
    stack.extend(select.target_list().iter().map(Node::ResTarget));
    stack.extend(select.sort_clause().iter().map(Node::SortBy));
    stack.extend(select.distinct_clause());
    while let Some(node) = stack.pop() {
        match node {
            Node::FuncCall(_) | Node::JsonObjectAgg(_) | Node::JsonArrayAgg(_) => return Ok(true),
            // What its calls mean for this level, the binder has noted.
            Node::SelectStmt(_) => {}
            _ => children(node, &mut stack)?,
        }
    }
    Ok(false)
}

/// `ORDER BY 1`: the value of the literal names a column.
fn is_position(node: Node<'_>) -> bool {
    matches!(node, Node::A_Const(_))
}
