//! A SELECT that no single shard answers: the rungs of the ladder from the second on, the first that is provably right.
//!
//! Entry point: [`several`]. The statement is bound once; each rung looks at the same bound query.

use catalog::ShardId;

use crate::bind::Binder;
use crate::combine::{Combining, combine};
use crate::distribute::split;
use crate::gather::{gather, servers};
use crate::narrow::narrowing;
use crate::operand::Source;
use crate::parse::{Node, nodes, parse};
use crate::parts::{Parts, parts};
use crate::query::{Computes, Findings, Item, QueryId, QueryKind};
use crate::rewrite::{is_shallow, with_moment};
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
    let narrowing = narrowing(&binder, root, source.sql);
    let gathered = gather(
        &binder.bound,
        binder.needed.as_ref(),
        &narrowing,
        (source.sql, span),
        context,
        &refusal,
        None,
    );
    let gathered = gathered.map(|plain| {
        let apart = if shallow {
            parts(select, root, &binder, context)
        } else {
            None
        };
        match apart.and_then(|parts| in_parts(&parts, span, context, &refusal)) {
            Some(gather) => Gather {
                otherwise: Some(Box::new(plain)),
                parameters: u16::try_from(findings.parameters.len()).unwrap_or(u16::MAX),
                ..gather
            },
            None => plain,
        }
    });
    if !is_query(select) || !may_be_split(findings, context) || !shallow {
        return gathered.map(Plan::Gather);
    }
    let ladder = Ladder {
        statement: span.0..span.1,
        shards,
        parameters: u16::try_from(findings.parameters.len()).unwrap_or(u16::MAX),
        servers: servers(findings, context)?,
        last: gathered.map(Box::new),
    };
    if !findings.moments {
        return ladder.climb(select, root, &binder, None);
    }
    // All shards are told one time.
    let text = match possible(with_moment(select, ladder.parameters.saturating_add(1)))? {
        Some(Some(text)) => text,
        _ => return ladder.last.map(|gather| Plan::Gather(*gather)),
    };
    let tree = parse(&text)?;
    let Some(Node::SelectStmt(select)) = tree.only() else {
        return Err(Error::internal("a query that is told the time is none"));
    };
    let mut binder = Binder::new(
        *context,
        Source {
            sql: &text,
            literals: None,
        },
    );
    let root = binder.select(select, &scope)?;
    ladder.climb(select, root, &binder, Some(&text))
}

/// What is left of a statement besides its parts, with these as tables.
fn in_parts(
    parts: &Parts,
    span: (usize, usize),
    context: &Context<'_>,
    refusal: &Error,
) -> Option<Gather> {
    let tree = parse(&parts.rest).ok()?;
    let Some(Node::SelectStmt(select)) = tree.only() else {
        return None;
    };
    let source = Source {
        sql: &parts.rest,
        literals: None,
    };
    let mut binder = Binder::new(*context, source);
    binder.parts = &parts.tables;
    binder.collect();
    let namespace = Namespace::default();
    let scope = Scope {
        namespace: &namespace,
        parent: None,
        ctes: None,
    };
    let root = binder.select(select, &scope).ok()?;
    let narrowing = narrowing(&binder, root, source.sql);
    let needed = binder.needed.as_ref();
    let (bound, sql) = (&binder.bound, source.sql);
    gather(
        bound,
        needed,
        &narrowing,
        (sql, span),
        context,
        refusal,
        Some(parts),
    )
    .ok()
}

/// What all rungs have in common.
struct Ladder {
    statement: std::ops::Range<usize>,
    shards: Option<Vec<ShardId>>,
    /// How many the client has.
    parameters: u16,
    servers: Vec<ShardId>,
    last: Result<Box<Gather>, Error>,
}

impl Ladder {
    /// The highest rung that holds. `moment`: the statement's text with the time as a parameter.
    fn climb(
        self,
        select: &nodes::SelectStmt,
        root: QueryId,
        binder: &Binder<'_, '_>,
        moment: Option<&str>,
    ) -> Result<Plan, Error> {
        let Some(split) = split(&binder.bound, root).filter(|_| !self.shows_order(root, binder))
        else {
            return self.last.map(|gather| Plan::Gather(*gather));
        };
        let finished = |plan: Scatter, otherwise: Option<Box<Gather>>| {
            Plan::Scatter(Scatter {
                shards: self.shards.clone(),
                sql: plan.sql.or(moment.map(str::to_owned)),
                moment: moment.is_some(),
                parameters: self.parameters,
                otherwise,
                ..plan
            })
        };
        let scattered = scatter(select, root, &split, binder, self.statement.clone());
        if let Some(plan) = possible(scattered)?.flatten() {
            return Ok(finished(plan, self.last.ok()));
        }
        let mut rows = None;
        let mut last = self.last;
        let ways = combine(select, root, &split, binder, self.statement.clone());
        for way in possible(ways)?.unwrap_or_default() {
            match way {
                Combining::Rows(scatter) => rows = Some(scatter),
                Combining::Query(combine) => {
                    last = Ok(Box::new(Gather {
                        statement: self.statement.clone(),
                        rest: None,
                        tables: Vec::new(),
                        views: Vec::new(),
                        served: Vec::new(),
                        numbers: Vec::new(),
                        sizes: false,
                        mentions: Vec::new(),
                        also_locked: Vec::new(),
                        servers: self.servers.clone(),
                        in_place: false,
                        groups: false,
                        over_subqueries: None,
                        parameters: self.parameters,
                        learned: Default::default(),
                        combine: Some(Combine {
                            shards: self.shards.clone(),
                            moment: moment.is_some(),
                            otherwise: last.ok(),
                            ..combine
                        }),
                        otherwise: None,
                    }));
                }
            }
        }
        match rows {
            Some(rows) => Ok(finished(rows, last.ok())),
            None => last.map(|gather| Plan::Gather(*gather)),
        }
    }
}

impl Ladder {
    /// Whether rows are shown in the order of a subquery or a view: nothing promises it, but everybody sees it.
    fn shows_order(&self, root: QueryId, binder: &Binder<'_, '_>) -> bool {
        let level = |query: QueryId| match &binder.bound.queries[query].kind {
            QueryKind::Level(level) => Some(level),
            QueryKind::SetOperation { .. } | QueryKind::Recursive { .. } => None,
        };
        let mut query = root;
        // Each of them is the only one in FROM of the one around it.
        while let Some(level) = level(query) {
            let Computes {
                aggregates,
                windows,
                distinct,
                ..
            } = level.computes;
            if aggregates || windows || distinct || level.grouped.is_some() {
                return false;
            }
            if !level.sorted.is_empty() {
                return query != root && self.last.is_ok();
            }
            match level.items.as_slice() {
                [item] => match &binder.bound.items[*item] {
                    Item::Derived { query: inner, .. } => query = *inner,
                    _ => return false,
                },
                _ => return false,
            }
        }
        false
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
pub(crate) fn may_be_split(findings: &Findings<'_>, context: &Context<'_>) -> bool {
    findings.not_gathered.is_none()
        && findings.system_column.is_none()
        && !findings.tableoid
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
