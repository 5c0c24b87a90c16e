//! A SELECT that no single shard answers: the rungs of the ladder from the second on, the first that is provably right.
//!
//! Entry point: [`several`]. The statement is bound once; each rung looks at the same bound query.

use catalog::ShardId;

use crate::bind::Binder;
use crate::combine::{Combining, combine};
use crate::distribute::split;
use crate::gather::{gather, servers};
use crate::operand::Source;
use crate::parse::Node;
use crate::query::Findings;
use crate::rewrite::is_shallow;
use crate::scatter::{is_query, scatter};
use crate::scope::{Namespace, Scope};
use crate::{Access, Combine, Context, Error, Gather, Plan, Scatter};

/// Plans a SELECT. `refusal`: why one shard cannot answer it, for queries that several cannot answer either. `shards`: those
/// that its values have led to, if they have.
pub(crate) fn several(
    node: Node<'_>,
    span: (usize, usize),
    source: Source<'_>,
    context: &Context<'_>,
    shards: Option<Vec<ShardId>>,
    refusal: Error,
) -> Result<Plan, Error> {
    let Node::SelectStmt(select) = node else {
        return Err(refusal);
    };
    let source = Source {
        literals: None,
        ..source
    };
    let mut binder = Binder::new(*context, source);
    let namespace = Namespace::default();
    let scope = Scope {
        namespace: &namespace,
        parent: None,
        ctes: None,
    };
    let shallow = is_shallow(select);
    if shallow {
        binder.collect();
    }
    let root = binder.select(select, &scope)?;
    if let Some(error) = &binder.bound.findings.refusal {
        return Err(error.clone());
    }
    let findings = &binder.bound.findings;
    let gathered = gather(
        findings,
        binder.needed.as_ref(),
        span,
        source.sql,
        context,
        &refusal,
    );
    let statement = span.0..span.1;
    if !is_query(select) || !may_be_split(findings, context) || !shallow {
        return gathered.map(Plan::Gather);
    }
    let Some(split) = split(&binder.bound, root) else {
        return gathered.map(Plan::Gather);
    };
    let gathered = gathered.map(Box::new);
    let scattered = possible(scatter(select, root, &split, &binder, statement.clone()))?;
    if let Some(plan) = scattered.flatten() {
        return Ok(Plan::Scatter(Scatter {
            shards,
            otherwise: gathered.ok(),
            ..plan
        }));
    }
    let mut rows = None;
    let mut last = gathered;
    let ways = possible(combine(select, root, &split, &binder, statement.clone()))?;
    for way in ways.unwrap_or_default() {
        match way {
            Combining::Rows(scatter) => rows = Some(scatter),
            Combining::Query(combine) => {
                last = Ok(Box::new(Gather {
                    statement: statement.clone(),
                    tables: Vec::new(),
                    mentions: Vec::new(),
                    servers: servers(findings, context)?,
                    in_place: false,
                    groups: false,
                    parameters: u16::try_from(findings.parameters.len()).unwrap_or(u16::MAX),
                    learned: Default::default(),
                    combine: Some(Combine {
                        shards: shards.clone(),
                        otherwise: last.ok(),
                        ..combine
                    }),
                }));
            }
        }
    }
    match rows {
        Some(rows) => Ok(Plan::Scatter(Scatter {
            shards,
            otherwise: last.ok(),
            ..rows
        })),
        None => last.map(|gather| Plan::Gather(*gather)),
    }
}

/// A statement that cannot be written again takes a lower rung.
fn possible<T>(plan: Result<T, Error>) -> Result<Option<T>, Error> {
    match plan {
        Ok(plan) => Ok(Some(plan)),
        Err(Error::Internal { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether each shard may be asked for its part of the answer.
fn may_be_split(findings: &Findings<'_>, context: &Context<'_>) -> bool {
    findings.not_gathered.is_none()
        && context.manual.is_none()
        && findings
            .access
            .is_none_or(|access| access <= Access::LockingRead)
        && findings.reference_locks.is_empty()
        && !findings.uses_pgweave
        && !findings.uses_system
        && findings.homes.is_empty()
        && findings.varies.is_none()
        && findings.pins.is_empty()
        && findings.effects.is_empty()
}
