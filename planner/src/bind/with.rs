//! WITH: common table expressions, recursive and data-modifying ones included.

use super::Binder;
use crate::Error;
use crate::facts::{Fact, Known, SetId, Variable};
use crate::parse::{Node, SetOperation, nodes};
use crate::query::{Output, Query, QueryId, QueryKind};
use crate::scope::{Cte, CteBody, CteScope, Scope};

impl<'c: 's, 's> Binder<'c, 's> {
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
    pub(super) fn recursive(
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
                appends: false,
                limited: false,
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
    pub(super) fn inductive_facts(
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

    pub(super) fn same_set(&self, a: SetId, b: SetId) -> bool {
        a == b || self.bound.sets[a as usize] == self.bound.sets[b as usize]
    }
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
