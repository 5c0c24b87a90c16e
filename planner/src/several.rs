//! A SELECT that no single shard answers: the rungs of the ladder from the second on, the first that is provably right.
//!
//! Entry point: [`several`]. The statement is bound once; each rung looks at the same bound query.

use catalog::ShardId;

use crate::bind::Binder;
use crate::distribute::split;
use crate::gather::gather;
use crate::operand::Source;
use crate::parse::Node;
use crate::query::Findings;
use crate::rewrite::is_shallow;
use crate::scatter::{is_query, scatter};
use crate::scope::{Namespace, Scope};
use crate::{Access, Context, Error, Plan, Scatter};

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
    let root = binder.select(select, &scope)?;
    if let Some(error) = &binder.bound.findings.refusal {
        return Err(error.clone());
    }
    let gathered = gather(&binder.bound.findings, span, source.sql, context, &refusal);
    if is_query(select)
        && may_be_split(&binder.bound.findings, context)
        && is_shallow(select)
        && let Some(split) = split(&binder.bound, root)
        && let Some(plan) = scatter(select, root, &split, &binder, span.0..span.1)?
    {
        return Ok(Plan::Scatter(Scatter {
            shards,
            otherwise: gathered.ok().map(Box::new),
            ..plan
        }));
    }
    gathered.map(Plan::Gather)
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
