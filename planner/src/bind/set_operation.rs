//! UNION, INTERSECT and EXCEPT.

use super::Binder;
use crate::facts::Variable;
use crate::parse::{Node, SetOperation, nodes};
use crate::query::{Output, Query, QueryId, QueryKind};
use crate::scope::Scope;
use crate::{Access, Error};

impl<'c: 's, 's> Binder<'c, 's> {
    /// UNION, INTERSECT, EXCEPT; a chain down the left side is bound without recursion.
    pub(super) fn set_operation(
        &mut self,
        select: &nodes::SelectStmt,
        scope: &Scope<'_>,
    ) -> Result<Query, Error> {
        let mut branches = Vec::new();
        let mut arms: Vec<&nodes::SelectStmt> = Vec::new();
        let mut left = select;
        let mut appends = true;
        loop {
            appends &= left.op == SetOperation::SETOP_UNION && left.all;
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
                appends: appends && select.locking_clause().is_empty(),
                limited,
                subqueries,
            },
            outputs,
            positions_known,
            names_known,
            first_inner: 0,
        })
    }

    /// ORDER BY, LIMIT and locking of a set operation.
    pub(super) fn tail(
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

    /// Output columns of branches together: a column keeps the worth of its equality only if all branches agree on it.
    pub(super) fn common_outputs(&mut self, branches: &[QueryId]) -> Vec<Output> {
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

    pub(super) fn known_outputs(&self, branches: &[QueryId]) -> (bool, bool) {
        let positions = branches
            .iter()
            .all(|branch| self.bound.queries[*branch].positions_known);
        let names = branches
            .first()
            .is_some_and(|branch| self.bound.queries[*branch].names_known);
        (positions, names)
    }
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
