//! Statements that are neither queries nor DDL: COPY, EXPLAIN, upkeep, code blocks; the session's own are in `session`.
//!
//! Entry point: [`statement`]; DDL is handed on to `ddl`.

use catalog::{Event, ShardId, TableKind};

use crate::bind::Binder;
use crate::build::{self, To, option_text, route};
use crate::copy_out;
use crate::create_as::{Creation, create_table_as};
use crate::ddl;
use crate::ddl::placement::{Placement, everywhere_of, one, placement_of};
use crate::load::load;
use crate::operand::Source;
use crate::parse::{Node, NodeList, nodes};
use crate::piece::{Piece, piece};
use crate::relation::{Found, full_name, look_up};
use crate::session::{self, parenthesized};
use crate::several::several;
use crate::{
    Access, Context, Effects, Error, EverywhereKind, Explain, ExplainFormat, Pins, Plan, Route,
    Single, StatementTag,
};

/// Plans a utility statement. `span`: its bytes in the source.
pub(crate) fn statement(
    node: Node<'_>,
    span: (usize, usize),
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    if let Some(statement) = session::statement(node, span, source, context) {
        return statement.map(Plan::Session);
    }
    match node {
        Node::ExplainStmt(explain) => explained(explain, span, source, context).map(Plan::Explain),
        Node::CopyStmt(copy) => copied(copy, span, source, context),
        Node::CreateTableAsStmt(create) => match (create.into(), create.query()) {
            (Some(into), query @ Node::SelectStmt(_)) => {
                let creation = Creation {
                    into,
                    view: create.objtype == crate::parse::ObjectType::OBJECT_MATVIEW,
                    if_not_exists: create.if_not_exists,
                    span: Some(span),
                };
                create_table_as(query, creation, source, context)
            }
            _ => Err(Error::unsupported("CREATE TABLE AS EXECUTE")
                .with_hint("Create the table, then INSERT … SELECT.")),
        },
        Node::TruncateStmt(truncate) => truncated(truncate, source, context),
        Node::VacuumStmt(vacuum) => vacuumed(vacuum, source, context),
        Node::LockStmt(lock) => {
            let placement = common(lock.relations(), source, context)?;
            Ok(everywhere_of(placement, "LOCK TABLE", EverywhereKind::Rows))
        }
        Node::ClusterStmt(cluster) => match cluster.relation() {
            Some(relation) => {
                let placement = placement_of(relation, source, context)?;
                Ok(everywhere_of(
                    placement,
                    "CLUSTER",
                    EverywhereKind::Maintenance,
                ))
            }
            None => Ok(outside_block(everywhere_of(
                Placement::All,
                "CLUSTER",
                EverywhereKind::Maintenance,
            ))),
        },
        Node::CheckPointStmt(_) => Ok(everywhere_of(
            Placement::All,
            "CHECKPOINT",
            EverywhereKind::Maintenance,
        )),
        Node::LoadStmt(_) => Ok(Plan::Single(Single {
            pins: Pins::UNTRACKED,
            ..single(Route::Any, "LOAD")
        })),
        Node::DoStmt(_) => opaque_code("DO", context),
        Node::CallStmt(call) => called(call, source, context),
        _ => ddl::statement(node, source, context),
    }
}

/// A statement for one shard that writes and returns nothing.
pub(crate) fn single(route: Route, tag: &'static str) -> Single {
    Single {
        route,
        access: Access::Write,
        parameters: 0,
        pins: Pins::NONE,
        tag: StatementTag(tag),
        returns_rows: false,
        no_block: false,
        effects: Effects::default(),
        recalls: false,
        instead: Default::default(),
    }
}

pub(crate) fn outside_block(mut plan: Plan) -> Plan {
    match &mut plan {
        Plan::Single(single) => single.no_block = true,
        Plan::Everywhere(everywhere) => everywhere.no_block = true,
        Plan::Scatter(_)
        | Plan::Gather(_)
        | Plan::CopyOut(_)
        | Plan::Spread(_)
        | Plan::Load(_)
        | Plan::Transfer(_)
        | Plan::CreateAs(_)
        | Plan::Session(_)
        | Plan::Admin(_)
        | Plan::Explain(_) => {}
    }
    plan
}

fn explained(
    explain: &nodes::ExplainStmt,
    span: (usize, usize),
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Explain, Error> {
    let start = explained_start(source.sql, span, !explain.options().is_empty())
        .ok_or_else(|| Error::internal("EXPLAIN whose parts cannot be told apart"))?;
    let statement = start..span.1;
    let inner = build::statement(
        explain.query(),
        (start, span.1),
        Source {
            literals: None,
            ..source
        },
        context,
    )?
    .plan;
    let options: Vec<(String, Option<String>)> = explain
        .options()
        .iter()
        .map(|option| {
            (
                option.defname().unwrap_or_default().to_ascii_lowercase(),
                option_text(option),
            )
        })
        .collect();
    let on =
        |value: &Option<String>| !matches!(value.as_deref(), Some("off" | "false" | "0" | "no"));
    let format = match options
        .iter()
        .find(|(name, _)| name == "format")
        .and_then(|(_, value)| value.as_deref())
    {
        Some("json") => ExplainFormat::Json,
        Some("xml") => ExplainFormat::Xml,
        Some("yaml") => ExplainFormat::Yaml,
        _ => ExplainFormat::Text,
    };
    Ok(Explain {
        inner: Box::new(inner),
        statement,
        analyze: options
            .iter()
            .any(|(name, value)| name == "analyze" && on(value)),
        has_options: !options.is_empty(),
        options,
        format,
    })
}

/// Where the explained statement begins: the tree does not say, the tokens do.
fn explained_start(sql: &str, span: (usize, usize), has_options: bool) -> Option<usize> {
    let text = sql.get(..span.1)?.as_bytes();
    let (_, keyword) = piece(text, span.0)?;
    let (mut next, mut range) = piece(text, keyword.end)?;
    if has_options && next == Piece::Mark(b'(') {
        let (_, end) = parenthesized(text, range.start)?;
        return piece(text, end).map(|(_, range)| range.start);
    }
    // The options without parentheses. A query in parentheses may follow them.
    while has_options && next == Piece::Word && is_old_option(&text[range.clone()]) {
        (next, range) = piece(text, range.end)?;
    }
    Some(range.start)
}

fn is_old_option(word: &[u8]) -> bool {
    ["analyze", "analyse", "verbose"]
        .iter()
        .any(|option| word.eq_ignore_ascii_case(option.as_bytes()))
}

fn copied(
    copy: &nodes::CopyStmt,
    span: (usize, usize),
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let access = if copy.is_from {
        Access::Write
    } else {
        Access::Read
    };
    let copy_single = |route, access| {
        Plan::Single(Single {
            access,
            ..single(route, "COPY")
        })
    };
    let Some(relation) = copy.relation() else {
        let source = Source {
            literals: None,
            ..source
        };
        let of_several = |shards, refusal: Error| {
            let query = copy_out::query_span(source.sql, span).ok_or_else(|| refusal.clone())?;
            let plan = several(copy.query(), query, source, context, shards, refusal)?;
            copy_out::query(copy, span, plan)
        };
        let routed = match route(copy.query(), source, context) {
            Err(refusal @ (Error::Unsupported { .. } | Error::SeveralShards { .. })) => {
                return of_several(None, refusal);
            }
            routed => routed?,
        };
        return match routed.to {
            To::Route(to) => match copy_out::several_shards(&to, context.catalog) {
                Some((shards, refusal)) => of_several(Some(shards), refusal),
                None => Ok(Plan::Single(Single {
                    access: routed.findings.access.unwrap_or(Access::Read),
                    pins: routed.findings.pins,
                    effects: routed.findings.effects,
                    ..single(to, "COPY")
                })),
            },
            To::EveryCopy => Err(Error::unsupported("COPY of a write to a reference table")),
        };
    };
    let name = relation.relname().unwrap_or_default();
    let placement = placement_of(relation, source, context)?;
    stays(relation, &placement, access, source, context)?;
    match placement {
        Placement::Shard(shard) | Placement::Temporary(shard) => {
            Ok(copy_single(Route::Shard(shard), access))
        }
        Placement::Group(group) => match context.chosen_shard() {
            Some(shard) => Ok(copy_single(Route::Shard(shard), access)),
            None if copy.is_from => loaded(copy, relation, source, context),
            None => copy_out::table(copy, span, group),
        },
        Placement::All if !copy.is_from => Ok(copy_single(Route::Any, access)),
        Placement::All if context.catalog.shards().len() == 1 => Ok(copy_single(
            Route::Shard(context.catalog.default_shard()),
            access,
        )),
        Placement::All => loaded(copy, relation, source, context),
        Placement::Holding(_) => {
            Err(Error::unsupported(format!("COPY of {name}")).at(source.sql, relation.location))
        }
    }
}

fn loaded(
    copy: &nodes::CopyStmt,
    relation: &nodes::RangeVar,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let name = relation.relname().unwrap_or_default();
    match look_up(context, relation.schemaname(), name) {
        Found::Table(table) => load(copy, table, source, context),
        _ => Err(
            Error::unsupported(format!("COPY into {name}, which is no table"))
                .at(source.sql, relation.location),
        ),
    }
}

/// What COPY and TRUNCATE set off must find all that it uses on the table's own shard; on any, if the table is on all.
fn stays(
    relation: &nodes::RangeVar,
    placement: &Placement,
    access: Access,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<(), Error> {
    if context.chosen_shard().is_some() || matches!(placement, Placement::Temporary(_)) {
        return Ok(());
    }
    let name = full_name(
        context,
        relation.schemaname(),
        relation.relname().unwrap_or_default(),
    );
    let mut binder = Binder::new(
        *context,
        Source {
            literals: None,
            ..source
        },
    );
    binder.reactions(&name.schema, &name.name, Event::Use, relation.location);
    if access == Access::Write {
        binder.reactions(&name.schema, &name.name, Event::Write, relation.location);
    }
    let findings = binder.bound.findings;
    if let Some(refusal) = findings.refusal {
        return Err(refusal);
    }
    let elsewhere = |(home, _): &&(ShardId, String)| !matches!(placement, Placement::Shard(shard) if shard == home);
    match findings.homes.iter().find(elsewhere) {
        None => Ok(()),
        Some((_, what)) => Err(Error::unsupported(format!(
            "{} runs code that uses {what}, which is on another shard",
            name.name
        ))
        .at(source.sql, relation.location)),
    }
}

/// The placement that all tables of a list share.
fn common(list: &NodeList, source: Source<'_>, context: &Context<'_>) -> Result<Placement, Error> {
    let mut placements = Vec::new();
    for node in list {
        if let Node::RangeVar(relation) = node {
            placements.push((
                placement_of(relation, source, context)?,
                relation.relname().unwrap_or_default(),
            ));
        }
    }
    one(placements, context)
}

fn truncated(
    truncate: &nodes::TruncateStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let placement = common(truncate.relations(), source, context)?;
    for node in truncate.relations() {
        if let Node::RangeVar(relation) = node {
            stays(relation, &placement, Access::Write, source, context)?;
        }
    }
    if truncate.restart_seqs && !matches!(placement, Placement::Shard(_) | Placement::Temporary(_))
    {
        return Err(Error::unsupported(
            "TRUNCATE … RESTART IDENTITY of a sharded or reference table",
        )
        .with_hint("Leave out RESTART IDENTITY: sequences of the cluster only go forward."));
    }
    Ok(everywhere_of(
        placement,
        "TRUNCATE TABLE",
        EverywhereKind::Rows,
    ))
}

fn vacuumed(
    vacuum: &nodes::VacuumStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let mut placements = Vec::new();
    for relation in vacuum
        .rels()
        .iter()
        .filter_map(nodes::VacuumRelation::relation)
    {
        placements.push((
            placement_of(relation, source, context)?,
            relation.relname().unwrap_or_default(),
        ));
    }
    let placement = if placements.is_empty() {
        Placement::All
    } else {
        one(placements, context)?
    };
    let tag = if vacuum.is_vacuumcmd {
        "VACUUM"
    } else {
        "ANALYZE"
    };
    let plan = everywhere_of(placement, tag, EverywhereKind::Maintenance);
    Ok(if vacuum.is_vacuumcmd {
        outside_block(plan)
    } else {
        plan
    })
}

/// Code that may do anything goes where it is told to, or to the default shard if that is all there is.
fn opaque_code(tag: &'static str, context: &Context<'_>) -> Result<Plan, Error> {
    let default = context.catalog.default_shard();
    let shard = match context.chosen_shard() {
        Some(shard) => shard,
        None if all_on(context, default) => default,
        None => {
            return Err(Error::unsupported(format!(
                "{tag}: the router cannot see which tables it reads or writes"
            ))
            .with_hint("SET pgweave.shard to say where it runs."));
        }
    };
    Ok(Plan::Single(Single {
        pins: Pins::UNTRACKED,
        ..single(Route::Shard(shard), tag)
    }))
}

/// Every table that the catalog knows is on this shard and nowhere else.
pub(crate) fn all_on(context: &Context<'_>, shard: catalog::ShardId) -> bool {
    context
        .catalog
        .tables()
        .iter()
        .all(|table| matches!(table.kind, TableKind::Unsharded { shard: on } if on == shard))
}

fn called(
    call: &nodes::CallStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let Some(function) = call.funccall() else {
        return Err(Error::internal("CALL without a procedure"));
    };
    let mut binder = crate::bind::Binder::new(
        *context,
        Source {
            literals: None,
            ..source
        },
    );
    let namespace = crate::scope::Namespace::default();
    let scope = crate::scope::Scope {
        namespace: &namespace,
        parent: None,
        ctes: None,
    };
    let mut subqueries = Vec::new();
    binder.expression(Node::FuncCall(function), &scope, &mut subqueries)?;
    let findings = binder.bound.findings;
    let default = context.catalog.default_shard();
    let shard = match (
        context.chosen_shard(),
        &findings.refusal,
        findings.homes.as_slice(),
    ) {
        (Some(shard), ..) => shard,
        (None, Some(_), _) if all_on(context, default) => default,
        (None, Some(error), _) => return Err(error.clone()),
        (None, None, [(shard, _)]) if subqueries.is_empty() => *shard,
        (None, None, []) if subqueries.is_empty() => default,
        (None, None, _) => {
            return Err(Error::unsupported("CALL that reaches for several shards")
                .with_hint("SET pgweave.shard to say where it runs."));
        }
    };
    Ok(Plan::Single(Single {
        pins: findings.pins | Pins::UNTRACKED,
        returns_rows: true,
        parameters: u16::try_from(findings.parameters.len()).unwrap_or(u16::MAX),
        ..single(Route::Shard(shard), "CALL")
    }))
}
