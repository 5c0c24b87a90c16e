//! Queries within a query that ask nothing of what is around them: they could be answered on their own, before the rest.
//!
//! Noted only when rows are to be moved ([`Binder::collect`]).

use super::Binder;
use crate::facts::Variable;
use crate::parse::{Node, nodes};
use crate::query::QueryId;
use crate::rewrite::{Place, place_of};
use crate::scope::{Resolved, Scope};
use crate::walk::children;

/// A query within the statement that reads sharded tables and nothing from outside.
pub(crate) struct Apart {
    pub query: QueryId,
    /// The first of the queries that are within it.
    pub first: QueryId,
    pub place: Place,
}

/// What the expressions that have been bound lately refer to.
#[derive(Clone, Copy)]
pub(super) struct Reach {
    /// The lowest column, and the first query of WITH.
    variable: Variable,
    query: QueryId,
    /// Some name could not be told.
    unclear: bool,
}

impl Default for Reach {
    fn default() -> Reach {
        Reach {
            variable: Variable::MAX,
            query: QueryId::MAX,
            unclear: false,
        }
    }
}

/// How far things had come when a query began.
pub(super) struct Begin {
    variable: Variable,
    query: QueryId,
    sharded: usize,
    around: Reach,
}

impl<'c: 's, 's> Binder<'c, 's> {
    pub(super) fn begin_query(&mut self) -> Begin {
        Begin {
            variable: self.bound.families.len() as Variable,
            query: self.bound.queries.len(),
            sharded: self.bound.findings.sharded.len(),
            around: std::mem::take(&mut self.reach),
        }
    }

    pub(super) fn end_query(&mut self, begin: Begin, select: &nodes::SelectStmt, query: QueryId) {
        let reach = self.reach;
        let around = begin.around;
        self.reach = Reach {
            variable: reach.variable.min(around.variable),
            query: reach.query.min(around.query),
            unclear: reach.unclear || around.unclear,
        };
        let on_its_own =
            reach.variable >= begin.variable && reach.query >= begin.query && !reach.unclear;
        if self.needed.is_some()
            && self.within.is_none()
            && self.lazy == 0
            && on_its_own
            && self.bound.findings.sharded.len() > begin.sharded
            && let Some(place) = place_of(select)
        {
            self.apart.push(Apart {
                query,
                first: begin.query,
                place,
            });
        }
    }

    /// A query of WITH is read.
    pub(super) fn reach_query(&mut self, query: QueryId) {
        self.reach.query = self.reach.query.min(query);
    }

    pub(super) fn reach_column(&mut self, reference: &nodes::ColumnRef, scope: &Scope<'_>) {
        if self.needed.is_none() {
            return;
        }
        let star = matches!(reference.fields().iter().next_back(), Some(Node::A_Star(_)));
        let path: Vec<&str> = reference.fields().iter().filter_map(Node::as_str).collect();
        match (path.as_slice(), star) {
            // Of the level that it stands in.
            ([], _) => {}
            ([.., relation], true) => {
                let mut entries = scope.namespace.entries.iter();
                self.reach.unclear |=
                    !entries.any(|entry| self.relations.0[entry.relation].name == *relation);
            }
            ([merged], false)
                if (scope.namespace.merged.iter()).any(|(name, _)| name == merged) => {}
            (_, false) => match self.relations.resolve(reference, scope) {
                Resolved::Column(variable) => {
                    self.reach.variable = self.reach.variable.min(variable);
                }
                Resolved::Unclear => self.reach.unclear = true,
            },
        }
    }

    /// Whether a name means no column of these relations, for certain: then GROUP BY may mean an output by it.
    pub(super) fn is_no_column(&self, reference: &nodes::ColumnRef, scope: &Scope<'_>) -> bool {
        match reference.fields().iter().next().and_then(Node::as_str) {
            Some(name) if reference.fields().len() == 1 => {
                self.relations.in_namespace(name, scope.namespace).is_none()
            }
            _ => false,
        }
    }

    /// Of CASE and COALESCE: the queries in it may never be evaluated.
    pub(super) fn note_lazy(&mut self, root: Node<'_>) {
        if self.needed.is_none() {
            return;
        }
        let mut stack = vec![root];
        while let Some(node) = stack.pop() {
            match node {
                Node::SubLink(link) => self.lazy_links.push(std::ptr::from_ref(link).addr()),
                Node::SelectStmt(_) => {}
                _ => {
                    // What cannot be gone through fails where it is bound.
                    if children(node, &mut stack).is_err() {
                        return;
                    }
                }
            }
        }
    }
}
