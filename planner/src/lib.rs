//! SQL text and a catalog in, a plan out. Pure: no IO, no clock, no sockets.
//!
//! Entry points: [`PlanCache`] for the router, [`plan_text`] without a cache, and [`resolve()`], which turns a plan's
//! [`Route`] and the values of one execution into a shard.
//!
//! The road of a statement through this crate: `scan` (lift literals) → `cache` → `parse` (PostgreSQL's grammar) →
//! `build` → `bind` (names to relations, conditions to facts) → `key` (the proof that one shard has all that matters) →
//! [`Plan`] → [`resolve()`]. Statements that are no queries go from `build` to `session`, `utility` and `ddl`; the
//! operator's own language is in `operator` and `admin`.
//!
//! Invariant: a statement is planned [`Plan::Single`] only if its result on that one shard provably equals what one
//! PostgreSQL holding all the rows would return; everything else is an [`Error`]. Deliberately unseen: what triggers, row security
//! policies, rules and user-defined operators do behind a statement.

use std::sync::Arc;

use operand::Source;

mod admin;
mod array;
mod bind;
mod build;
mod cache;
mod combine;
mod context;
mod convert;
mod copy_out;
mod create_as;
mod ddl;
mod display;
mod distribute;
mod error;
mod estimates;
mod facts;
mod functions;
mod gather;
mod key;
mod load;
mod narrow;
mod operand;
mod operator;
mod parameter;
mod parse;
mod parse_error;
mod parts;
mod piece;
mod plan;
mod query;
mod relation;
mod resolve;
mod rewrite;
mod scan;
mod scatter;
mod scope;
mod served;
mod session;
mod several;
mod spread;
mod turns;
mod utility;
mod values;
mod walk;

pub use cache::{LiteralValues, Literals, PlanCache};
pub use context::Context;
pub use display::Work;
pub use error::Error;
pub use estimates::{
    ColumnEstimate, Expected, MOST_VALUES, NoStatistics, Statistics, TableEstimate,
};
pub use plan::*;
pub use resolve::{Target, resolve, resolve_all};
pub use served::Served;
pub use spread::errand::{Errand, RowKey};
pub use values::{Value, Values};

/// Splits a text into statements and plans them, up to one after which the rest must be planned anew (see
/// [`Planned::rest`]). A text without a statement gives an empty list.
pub fn plan_text(sql: &str, context: &Context<'_>) -> Result<Vec<Planned>, Error> {
    plan_lifted(
        Source {
            sql,
            literals: None,
        },
        context,
    )
    .map(|(planned, _)| planned)
}

/// The bytes of each statement of a text, without the `;`.
pub fn statements(sql: &str) -> Result<Vec<std::ops::Range<usize>>, Error> {
    let tree = parse::parse(sql)?;
    let statements = tree.statements(sql);
    let spans = statements.iter().map(|found| found.start..found.end);
    Ok(spans.collect())
}

/// Plans the query or write that starts at this byte of a text for several shards, to which its values have led.
pub fn plan_several(
    sql: &str,
    start: usize,
    shards: Option<Vec<catalog::ShardId>>,
    context: &Context<'_>,
) -> Result<Planned, Error> {
    let source = Source {
        sql,
        literals: None,
    };
    let tree = parse::parse(sql)?;
    let statements = tree.statements(sql);
    let several = statements.len() > 1;
    let statement = statements
        .iter()
        .find(|statement| !several || statement.start == start)
        .ok_or_else(|| Error::internal("a statement is not where it was planned"))?;
    let refusal = Error::unsupported("this statement's shard keys lie on several shards");
    let span = (statement.start, statement.end);
    let plan = match statement.node {
        parse::Node::SelectStmt(_) => {
            several::several(statement.node, span, source, context, shards, refusal)?
        }
        _ => spread::spread(statement.node, span, source, context, shards, refusal)?,
    };
    Ok(Planned {
        part: several.then_some(statement.start..statement.end),
        plan: Arc::new(plan),
        rest: None,
    })
}

/// The parameters that a text names, from 0: `$1` is 0. A text that cannot be read has none.
pub fn parameters_in(sql: &str) -> Vec<u16> {
    let Ok(tree) = parse::parse(sql) else {
        return Vec::new();
    };
    let mut stack: Vec<parse::Node<'_>> = tree
        .statements(sql)
        .iter()
        .map(|statement| statement.node)
        .collect();
    let mut parameters = Vec::new();
    while let Some(node) = stack.pop() {
        if let parse::Node::ParamRef(parameter) = node {
            parameters.extend(u16::try_from(parameter.number - 1));
        }
        if matches!(
            node,
            parse::Node::InsertStmt(_)
                | parse::Node::UpdateStmt(_)
                | parse::Node::DeleteStmt(_)
                | parse::Node::MergeStmt(_)
        ) {
            return Vec::new();
        }
        if !walk::query_children(node, &mut stack) && walk::children(node, &mut stack).is_err() {
            return Vec::new();
        }
    }
    parameters
}

/// Plans a text; the flag tells whether its plan holds for all texts of its shape.
fn plan_lifted(source: Source<'_>, context: &Context<'_>) -> Result<(Vec<Planned>, bool), Error> {
    let sql = source.sql;
    if !context.standard_conforming_strings && sql.contains('\\') {
        return Err(
            Error::unsupported("a backslash while standard_conforming_strings is off")
                .with_hint("SET standard_conforming_strings = on, and write E'…' for escapes."),
        );
    }
    let tree = match parse::parse(sql) {
        Ok(tree) => tree,
        Err(error) => {
            let Some(call) = operator::statement(sql) else {
                return Err(error);
            };
            let plan = Arc::new(Plan::Admin(call?));
            return Ok((
                vec![Planned {
                    part: None,
                    plan,
                    rest: None,
                }],
                false,
            ));
        }
    };
    let statements = tree.statements(sql);
    let several = statements.len() > 1;
    // Literals are numbered over the whole text: one statement may be shared, several are not.
    let source = if several {
        Source {
            literals: None,
            ..source
        }
    } else {
        source
    };
    let mut shareable = !several;
    let mut planned: Vec<Planned> = Vec::with_capacity(statements.len());
    for (index, statement) in statements.iter().enumerate() {
        let span = (statement.start, statement.end);
        let built = match build::statement(statement.node, span, source, context) {
            Ok(built) => built,
            Err(error) => match planned.last_mut() {
                None => return Err(error),
                Some(last) => {
                    last.rest = Some(statement.start);
                    break;
                }
            },
        };
        shareable &= built.shareable;
        let rest = match statements.get(index + 1) {
            Some(next) if changes_meaning(&built.plan) => Some(next.start),
            _ => None,
        };
        let part = several.then_some(statement.start..statement.end);
        planned.push(Planned {
            part,
            plan: Arc::new(built.plan),
            rest,
        });
        if rest.is_some() {
            break;
        }
    }
    Ok((planned, shareable))
}

/// Whether statements after this one may mean something else than before it.
fn changes_meaning(plan: &Plan) -> bool {
    match plan {
        Plan::Single(single) => {
            !single.effects.is_empty()
                || single.pins.contains(Pins::SETTINGS)
                || single.pins.contains(Pins::UNTRACKED)
        }
        Plan::Everywhere(everywhere) => matches!(everywhere.kind, EverywhereKind::Ddl(_)),
        Plan::Session(statement) => !matches!(
            statement,
            SessionStatement::Begin { .. }
                | SessionStatement::Savepoint(_)
                | SessionStatement::Release(_)
                | SessionStatement::Show(_)
                | SessionStatement::Prepare { .. }
                | SessionStatement::Deallocate(_)
                | SessionStatement::Declare { .. }
                | SessionStatement::Fetch { .. }
                | SessionStatement::CloseCursor(_)
                | SessionStatement::Listen(_)
                | SessionStatement::Unlisten(_)
                | SessionStatement::Notify { .. }
        ),
        Plan::Scatter(_)
        | Plan::Gather(_)
        | Plan::CopyOut(_)
        | Plan::Spread(_)
        | Plan::Load(_)
        | Plan::Transfer(_) => false,
        // The rest may name the table.
        Plan::CreateAs(_) => true,
        Plan::Admin(_) => true,
        Plan::Explain(explain) => explain.analyze,
    }
}
