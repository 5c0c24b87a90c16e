//! SELECT, VALUES, set operations and WITH.

use super::Binder;
use crate::facts::{Fact, Known, SetId, Variable};
use crate::operand::{OperandValue, operand};
use crate::parse::{ConstValue, Node, NodeList, SetOperation, nodes};
use crate::query::{Level, Output, Query, QueryId, QueryKind};
use crate::scope::{Columns, Cte, CteBody, CteScope, Namespace, Resolved, Scope};
use crate::{Access, Error};

impl<'c: 's, 's> Binder<'c, 's> {
    /// Binds a query expression with everything in it.
    pub fn select(
        &mut self,
        select: &nodes::SelectStmt,
        scope: &Scope<'_>,
    ) -> Result<QueryId, Error> {
        self.enter()?;
        let ctes = self.with(select.with_clause(), scope)?;
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
        let query = if select.op != SetOperation::SETOP_NONE {
            self.set_operation(select, &inner)
        } else if !select.values_lists().is_empty() {
            self.values(select, &inner)
        } else {
            self.level(select, &inner)
        };
        self.leave();
        Ok(self.add_query(Query {
            first_inner,
            ..query?
        }))
    }

    pub(super) fn add_query(&mut self, query: Query) -> QueryId {
        self.bound.queries.push(query);
        self.bound.queries.len() - 1
    }

    /// The WITH queries, in order. Those nobody refers to must be provable on their own: they are `standalone`.
    pub(super) fn with(
        &mut self,
        with: Option<&nodes::WithClause>,
        scope: &Scope<'_>,
    ) -> Result<Vec<Cte>, Error> {
        let Some(with) = with else {
            return Ok(Vec::new());
        };
        let mut ctes: Vec<Cte> = Vec::new();
        let later: Vec<Cte> = if with.recursive {
            with.ctes()
                .iter()
                .map(|cte| Cte {
                    body: CteBody::Later,
                    ..named(cte)
                })
                .collect()
        } else {
            Vec::new()
        };
        for (index, cte) in with.ctes().iter().enumerate() {
            // Definitions so far hide the placeholders of the same names.
            let mut visible = later.get(index..).unwrap_or_default().to_vec();
            visible.extend(ctes.iter().cloned());
            let names = CteScope {
                ctes: &visible,
                parent: scope.ctes,
            };
            let inner = Scope {
                ctes: Some(&names),
                ..*scope
            };
            let query = match cte.ctequery() {
                Node::SelectStmt(select)
                    if with.recursive && select.op == SetOperation::SETOP_UNION =>
                {
                    self.recursive(cte, select, &inner, &visible)?
                }
                Node::SelectStmt(select) => {
                    let query = self.select(select, &inner)?;
                    self.bound.standalone.push(query);
                    query
                }
                statement => {
                    let query = self.write(statement, &inner)?;
                    self.bound.standalone.push(query);
                    query
                }
            };
            if let Some(cycle) = cte.cycle_clause() {
                let mut subqueries = Vec::new();
                self.expression(cycle.cycle_mark_value(), &inner, &mut subqueries)?;
                self.expression(cycle.cycle_mark_default(), &inner, &mut subqueries)?;
            }
            if cte.cycle_clause().is_some() || cte.search_clause().is_some() {
                self.bound.queries[query].names_known = false;
            }
            ctes.push(Cte {
                body: CteBody::Query(query),
                ..named(cte)
            });
        }
        Ok(ctes)
    }

    /// `base UNION step` under WITH RECURSIVE.
    fn recursive(
        &mut self,
        cte: &nodes::CommonTableExpr,
        select: &nodes::SelectStmt,
        scope: &Scope<'_>,
        visible: &[Cte],
    ) -> Result<QueryId, Error> {
        let (Some(left), Some(right)) = (select.larg(), select.rarg()) else {
            return Err(Error::internal("a set operation without two sides"));
        };
        let first_inner = self.bound.families.len() as Variable;
        let inner_ctes = self.with(select.with_clause(), scope)?;
        let with = CteScope {
            ctes: &inner_ctes,
            parent: scope.ctes,
        };
        let scope = &Scope {
            ctes: Some(&with),
            ..*scope
        };
        let base = self.select(left, scope)?;
        let families: Vec<_> = self.bound.queries[base]
            .outputs
            .iter()
            .map(|output| output.variable.and_then(|variable| self.family(variable)))
            .collect();
        let first = self.allocate(families);
        let mut with_itself = visible.to_vec();
        with_itself.push(Cte {
            body: CteBody::Itself { base, first },
            ..named(cte)
        });
        with_itself.extend(inner_ctes.iter().cloned());
        let names = CteScope {
            ctes: &with_itself,
            parent: scope.ctes,
        };
        let used = std::mem::replace(&mut self.recursion_used, false);
        let step = self.select(
            right,
            &Scope {
                ctes: Some(&names),
                ..*scope
            },
        )?;
        let recursive = std::mem::replace(&mut self.recursion_used, used);
        let subqueries = self.tail(select, scope)?;
        let outputs: Vec<Output> = self.common_outputs(&[base, step]);
        let (positions_known, names_known) = self.known_outputs(&[base, step]);
        let kind = if recursive {
            let facts = self.inductive_facts(base, step, first);
            QueryKind::Recursive {
                base,
                step,
                first,
                facts,
            }
        } else {
            QueryKind::SetOperation {
                branches: vec![base, step],
                pushable: false,
                subqueries,
            }
        };
        let query = self.add_query(Query {
            kind,
            outputs,
            positions_known,
            names_known,
            first_inner,
        });
        self.bound.standalone.push(query);
        Ok(query)
    }

    /// Which sets the outputs of every round are in: assume those of the base, drop what the step does not preserve, repeat.
    fn inductive_facts(
        &self,
        base: QueryId,
        step: QueryId,
        first: Variable,
    ) -> Vec<(usize, SetId)> {
        if !self.bound.queries[base].positions_known || !self.bound.queries[step].positions_known {
            return Vec::new();
        }
        let width = self.bound.queries[base].outputs.len();
        let base_facts = self.lifted_facts(base, 0);
        let mut assumed: Vec<(usize, SetId)> = base_facts
            .iter()
            .filter_map(|fact| match *fact {
                Fact::In(index, set) if (index as usize) < width => Some((index as usize, set)),
                Fact::In(..) | Fact::Same(..) => None,
            })
            .collect();
        let QueryKind::Level(level) = &self.bound.queries[step].kind else {
            return Vec::new();
        };
        loop {
            let known = Known::new([level.item_facts.as_slice(), level.facts.as_slice()].concat())
                .with(
                    assumed
                        .iter()
                        .map(|(index, set)| Fact::In(first + *index as Variable, *set)),
                );
            let kept: Vec<(usize, SetId)> = assumed
                .iter()
                .filter(|(index, set)| {
                    self.bound.queries[step]
                        .outputs
                        .get(*index)
                        .and_then(|output| output.variable)
                        .is_some_and(|variable| {
                            known.sets(variable).any(|other| self.same_set(other, *set))
                        })
                })
                .copied()
                .collect();
            if kept.len() == assumed.len() {
                return kept;
            }
            assumed = kept;
        }
    }

    fn same_set(&self, a: SetId, b: SetId) -> bool {
        a == b || self.bound.sets[a as usize] == self.bound.sets[b as usize]
    }

    /// ORDER BY, LIMIT and locking of a set operation.
    fn tail(
        &mut self,
        select: &nodes::SelectStmt,
        scope: &Scope<'_>,
    ) -> Result<Vec<QueryId>, Error> {
        let mut subqueries = Vec::new();
        self.sort(select, scope, &mut subqueries)?;
        self.limit(select, scope, &mut subqueries)?;
        if !select.locking_clause().is_empty() {
            self.bound.findings.raise(Access::LockingRead);
        }
        Ok(subqueries)
    }

    fn sort(
        &mut self,
        select: &nodes::SelectStmt,
        scope: &Scope<'_>,
        subqueries: &mut Vec<QueryId>,
    ) -> Result<(), Error> {
        for sort in select.sort_clause() {
            self.bound.findings.tied_to_values |= is_position(sort.node());
            self.expression(sort.node(), scope, subqueries)?;
        }
        Ok(())
    }

    fn limit(
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

    /// UNION, INTERSECT, EXCEPT; a chain down the left side is bound without recursion.
    fn set_operation(
        &mut self,
        select: &nodes::SelectStmt,
        scope: &Scope<'_>,
    ) -> Result<Query, Error> {
        let mut branches = Vec::new();
        let mut arms: Vec<&nodes::SelectStmt> = Vec::new();
        let mut left = select;
        loop {
            arms.extend(left.rarg());
            match left.larg() {
                Some(next) if next.op != SetOperation::SETOP_NONE && is_bare(next) => left = next,
                Some(next) => {
                    arms.push(next);
                    break;
                }
                None => break,
            }
        }
        for arm in arms.into_iter().rev() {
            branches.push(self.select(arm, scope)?);
        }
        let subqueries = self.tail(select, scope)?;
        let limited = !matches!(
            (select.limit_count(), select.limit_offset()),
            (Node::None, Node::None)
        );
        let outputs = self.common_outputs(&branches);
        let (positions_known, names_known) = self.known_outputs(&branches);
        Ok(Query {
            kind: QueryKind::SetOperation {
                branches,
                pushable: !limited && positions_known && select.locking_clause().is_empty(),
                subqueries,
            },
            outputs,
            positions_known,
            names_known,
            first_inner: 0,
        })
    }

    /// Output columns of branches together: a column keeps the worth of its equality only if all branches agree on it.
    fn common_outputs(&mut self, branches: &[QueryId]) -> Vec<Output> {
        let Some((first, others)) = branches.split_first() else {
            return Vec::new();
        };
        let mut families = Vec::new();
        let mut names = Vec::new();
        for (index, output) in self.bound.queries[*first].outputs.iter().enumerate() {
            let family_in = |query: QueryId| {
                let output = self.bound.queries[query].outputs.get(index)?;
                self.family(output.variable?)
            };
            let family = family_in(*first);
            families
                .push(family.filter(|_| others.iter().all(|other| family_in(*other) == family)));
            names.push(output.name.clone());
        }
        let first = self.allocate(families);
        names
            .into_iter()
            .enumerate()
            .map(|(index, name)| Output {
                name,
                variable: Some(first + index as Variable),
                operand: None,
            })
            .collect()
    }

    fn known_outputs(&self, branches: &[QueryId]) -> (bool, bool) {
        let positions = branches
            .iter()
            .all(|branch| self.bound.queries[*branch].positions_known);
        let names = branches
            .first()
            .is_some_and(|branch| self.bound.queries[*branch].names_known);
        (positions, names)
    }

    fn values(&mut self, select: &nodes::SelectStmt, scope: &Scope<'_>) -> Result<Query, Error> {
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

    fn level(&mut self, select: &nodes::SelectStmt, outer: &Scope<'_>) -> Result<Query, Error> {
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
        let mut subqueries = Vec::new();
        self.expression(select.where_clause(), &scope, &mut subqueries)?;
        self.conditions(select.where_clause(), &scope, &mut level.facts);
        for target in select.target_list() {
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
        level.subqueries = subqueries;
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
        Ok(Query {
            kind: QueryKind::Level(Box::new(level)),
            outputs,
            positions_known,
            names_known,
            first_inner: 0,
        })
    }

    fn distinct(
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
    fn group(
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
        let mut grouped = Vec::new();
        let mut sets = false;
        for expression in clause {
            self.expression(expression, scope, subqueries)?;
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
    fn lock(
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

    /// The output columns of a target list or RETURNING: the columns, whether positions and whether names are reliable.
    pub(super) fn outputs(
        &self,
        targets: &[&nodes::ResTarget],
        scope: &Scope<'_>,
    ) -> (Vec<Output>, bool, bool) {
        let mut outputs = Vec::with_capacity(targets.len());
        let (mut positions_known, mut names_known) = (true, true);
        for target in targets {
            match target.val() {
                Node::ColumnRef(reference) => {
                    let last = reference.fields().iter().next_back();
                    if matches!(last, Some(Node::A_Star(_))) {
                        let (columns, certain) = self.star(reference, scope.namespace);
                        match columns {
                            Some(columns) => {
                                outputs.extend(columns);
                                positions_known &= certain;
                            }
                            None => (positions_known, names_known) = (false, false),
                        }
                        continue;
                    }
                    let variable = match self.relations.resolve(reference, scope) {
                        Resolved::Column(variable) => Some(variable),
                        Resolved::Unclear => None,
                    };
                    let name = target
                        .name()
                        .or_else(|| last.and_then(Node::as_str))
                        .map(str::to_owned);
                    outputs.push(Output {
                        name,
                        variable,
                        operand: None,
                    });
                }
                Node::A_Indirection(indirection)
                    if matches!(
                        indirection.indirection().iter().next_back(),
                        Some(Node::A_Star(_))
                    ) =>
                {
                    (positions_known, names_known) = (false, false);
                }
                expression => {
                    let operand = operand(expression, self.source)
                        .filter(|operand| !operand.array && operand.value != OperandValue::Null);
                    let name = target
                        .name()
                        .map(str::to_owned)
                        .or_else(|| self.unnamed(expression));
                    names_known &= name.is_some();
                    outputs.push(Output {
                        name,
                        variable: None,
                        operand,
                    });
                }
            }
        }
        (outputs, positions_known, names_known)
    }

    /// What PostgreSQL calls an expression without a name (`FigureColname`), for the common cases.
    fn unnamed(&self, expression: Node<'_>) -> Option<String> {
        match expression {
            Node::FuncCall(call) => call
                .funcname()
                .iter()
                .next_back()
                .and_then(|name| name.as_str().map(str::to_owned)),
            Node::A_Const(_) | Node::A_Expr(_) | Node::BoolExpr(_) | Node::ParamRef(_) => {
                Some("?column?".to_owned())
            }
            Node::CoalesceExpr(_) => Some("coalesce".to_owned()),
            _ => None,
        }
    }

    /// The columns of `*` or `relation.*`; `None` when they are not all known. The flag: their order is certain.
    fn star(
        &self,
        reference: &nodes::ColumnRef,
        namespace: &Namespace,
    ) -> (Option<Vec<Output>>, bool) {
        let path: Vec<&str> = reference.fields().iter().filter_map(Node::as_str).collect();
        let mut columns = Vec::new();
        if let Some(name) = path.last() {
            let mut called = namespace
                .entries
                .iter()
                .filter(|entry| entry.qualified)
                .filter(|entry| {
                    let relation = &self.relations.0[entry.relation];
                    relation.name == *name
                        && (path.len() == 1
                            || relation.schema.as_deref() == path.iter().rev().nth(1).copied())
                });
            let (Some(entry), None) = (called.next(), called.next()) else {
                return (None, false);
            };
            let relation = &self.relations.0[entry.relation];
            if !relation.complete() {
                return (None, false);
            }
            columns.extend(relation.variables().map(column_output));
            return (Some(columns), true);
        }
        if namespace.open {
            return (None, false);
        }
        columns.extend(namespace.merged.iter().map(|(name, variable)| Output {
            name: Some(name.clone()),
            variable: *variable,
            operand: None,
        }));
        for entry in namespace.entries.iter().filter(|entry| entry.unqualified) {
            let relation = &self.relations.0[entry.relation];
            if !relation.complete() {
                return (None, false);
            }
            columns.extend(
                relation
                    .variables()
                    .filter(|(name, _)| {
                        !name.is_some_and(|name| entry.hidden.iter().any(|hidden| hidden == name))
                    })
                    .map(column_output),
            );
        }
        let plain = namespace.merged.is_empty()
            && namespace
                .entries
                .iter()
                .all(|entry| entry.unqualified || !entry.qualified);
        (Some(columns), plain)
    }
}

fn column_output((name, variable): (Option<&str>, Variable)) -> Output {
    Output {
        name: name.map(str::to_owned),
        variable: Some(variable),
        operand: None,
    }
}

pub(super) fn without_variables(outputs: Vec<Output>) -> Vec<Output> {
    outputs
        .into_iter()
        .map(|output| Output {
            variable: None,
            operand: None,
            ..output
        })
        .collect()
}

/// `ORDER BY 1`: the value of the literal names a column.
fn is_position(node: Node<'_>) -> bool {
    matches!(node, Node::A_Const(_))
}

/// A set operation without clauses of its own.
fn is_bare(select: &nodes::SelectStmt) -> bool {
    select.with_clause().is_none()
        && select.sort_clause().is_empty()
        && select.locking_clause().is_empty()
        && matches!(
            (select.limit_count(), select.limit_offset()),
            (Node::None, Node::None)
        )
}

fn named(cte: &nodes::CommonTableExpr) -> Cte {
    Cte {
        name: cte.ctename().unwrap_or_default().to_owned(),
        columns: cte
            .aliascolnames()
            .iter()
            .filter_map(|node| node.as_str().map(str::to_owned))
            .collect(),
        body: CteBody::Later,
    }
}
