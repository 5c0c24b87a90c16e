//! From one parsed statement to its plan.
//!
//! Entry point: [`statement`]. Queries and writes are bound, proved and given a route here; everything else goes to `utility` and `ddl`.

use std::collections::BTreeSet;

use catalog::{Catalog, GroupId, ShardId};

use crate::bind::Binder;
use crate::create_as::{Creation, create_table_as};
use crate::key::pin;
use crate::operand::Source;
use crate::parse::{Node, nodes};
use crate::query::{Findings, QueryId};
use crate::scope::{Namespace, Scope};
use crate::several::several;
use crate::spread::spread;
use crate::{
    Access, Context, Error, Everywhere, EverywhereKind, KeyRoute, KeyTuple, Plan, ReferenceWrite,
    Route, Single, StatementTag, Where, admin, utility,
};

/// A plan, and whether it holds for every text of the same shape.
pub(crate) struct Built {
    pub plan: Plan,
    pub shareable: bool,
}

impl Built {
    pub fn only(plan: Plan) -> Built {
        Built {
            plan,
            shareable: false,
        }
    }
}

/// Plans one statement. `start..end` are its bytes in the source.
pub(crate) fn statement(
    node: Node<'_>,
    span: (usize, usize),
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Built, Error> {
    match node {
        Node::SelectStmt(select) => {
            if let Some(call) = admin::call(select, source)? {
                return Ok(Built::only(Plan::Admin(call)));
            }
            if let Some(into) = select.into_clause() {
                let creation = Creation {
                    into,
                    view: false,
                    if_not_exists: false,
                    span: None,
                };
                return create_table_as(node, creation, source, context).map(Built::only);
            }
            match query(node, source, context) {
                // No single shard: bring the rows together. Without its literals a text may only seem so.
                Err(refusal @ (Error::Unsupported { .. } | Error::SeveralShards { .. }))
                    if source.literals.is_none() =>
                {
                    several(node, span, source, context, None, refusal).map(Built::only)
                }
                other => other,
            }
        }
        Node::InsertStmt(_) | Node::UpdateStmt(_) | Node::DeleteStmt(_) | Node::MergeStmt(_) => {
            match query(node, source, context) {
                Err(refusal @ (Error::Unsupported { .. } | Error::SeveralShards { .. }))
                    if source.literals.is_none() =>
                {
                    spread(node, span, source, context, None, refusal).map(Built::only)
                }
                other => other,
            }
        }
        _ => utility::statement(node, span, source, context).map(Built::only),
    }
}

/// A query or a data-modifying statement.
pub(crate) fn query(
    node: Node<'_>,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Built, Error> {
    let routed = route(node, source, context)?;
    let findings = routed.findings;
    let (tag, returns_rows) = match node {
        Node::SelectStmt(_) => ("SELECT", true),
        Node::InsertStmt(insert) => ("INSERT", insert.returning_clause().is_some()),
        Node::UpdateStmt(update) => ("UPDATE", update.returning_clause().is_some()),
        Node::DeleteStmt(delete) => ("DELETE", delete.returning_clause().is_some()),
        Node::MergeStmt(merge) => ("MERGE", merge.returning_clause().is_some()),
        _ => {
            return Err(Error::internal(
                "a query of a kind that no text can ask for",
            ));
        }
    };
    let tag = StatementTag(tag);
    let access = findings.access.unwrap_or(Access::Read);
    let parameters = u16::try_from(findings.parameters.len()).unwrap_or(u16::MAX);
    let shareable = !findings.tied_to_values
        && findings.reference_writes.is_empty()
        && findings.harmless.iter().all(|harmless| *harmless);
    let plan = match routed.to {
        To::Route(route) => Plan::Single(Single {
            route,
            access,
            parameters,
            pins: findings.pins,
            tag,
            returns_rows,
            no_block: false,
            recalls: findings.recalls_earlier(),
            instead: Default::default(),
            effects: findings.effects,
        }),
        To::EveryCopy => Plan::Everywhere(Everywhere {
            shards: Where::All,
            access,
            parameters,
            tag,
            returns_rows,
            kind: EverywhereKind::ReferenceWrite(reference_write(findings)),
            concurrently: false,
            no_block: false,
        }),
    };
    Ok(Built { plan, shareable })
}

fn reference_write(findings: Findings) -> ReferenceWrite {
    let mut tables = findings.reference_tables;
    let appearances = tables.len();
    tables.sort();
    tables.dedup();
    ReferenceWrite {
        tables,
        reads: appearances > 1,
    }
}

/// Where a query goes.
pub(crate) enum To {
    Route(Route),
    /// A write to reference tables.
    EveryCopy,
}

pub(crate) struct Routed<'c> {
    pub to: To,
    pub findings: Findings<'c>,
    /// Names of the result's columns, as far as they are known.
    pub columns: Vec<String>,
}

/// Binds a query, proves its keys and finds its route.
pub(crate) fn route<'c>(
    node: Node<'_>,
    source: Source<'_>,
    context: &Context<'c>,
) -> Result<Routed<'c>, Error> {
    let mut binder = Binder::new(*context, source);
    let namespace = Namespace::default();
    let scope = Scope {
        namespace: &namespace,
        parent: None,
        ctes: None,
    };
    let root: QueryId = match node {
        Node::SelectStmt(select) => binder.select(select, &scope)?,
        _ => binder.write(node, &scope)?,
    };
    let mut findings = std::mem::take(&mut binder.bound.findings);
    let columns = binder.bound.queries[root]
        .outputs
        .iter()
        .filter_map(|output| output.name.clone())
        .collect();
    let alone = context.catalog.shards().len() == 1;
    if !findings.reference_writes.is_empty() && !alone {
        every_copy(&findings)?;
        return Ok(Routed {
            to: To::EveryCopy,
            findings,
            columns,
        });
    }
    if !findings.reference_locks.is_empty() && !alone {
        lock_one_copy(&mut findings, context)?;
    }
    if let Some(route) = manual(&findings, context) {
        return Ok(Routed {
            to: To::Route(route),
            findings,
            columns,
        });
    }
    if let Some(error) = findings.refusal.take() {
        return Err(error);
    }
    let home = one_home(&findings, context)?;
    if let Some(error) = &findings.moves
        && only_shard(&findings, home, context.catalog).is_none()
    {
        return Err(error.clone());
    }
    let keys = if findings.sharded.is_empty() {
        Vec::new()
    } else {
        // The proof asks how parameters are used.
        binder.bound.findings = std::mem::take(&mut findings);
        let pinned = pin(&binder.bound, root, source.sql);
        findings = std::mem::take(&mut binder.bound.findings);
        match (pinned, only_shard(&findings, home, context.catalog)) {
            (Ok(keys), _) => keys,
            (Err(_), Some(shard)) => {
                return Ok(Routed {
                    to: To::Route(Route::Shard(shard)),
                    findings,
                    columns,
                });
            }
            (Err(error), None) => return Err(error),
        }
    };
    let to = To::Route(compose(keys, home, &findings, context)?);
    Ok(Routed {
        to,
        findings,
        columns,
    })
}

/// Manual routing takes what would be refused or routed by key, and what may run anywhere.
fn manual(findings: &Findings<'_>, context: &Context<'_>) -> Option<Route> {
    let shard = context.chosen_shard()?;
    if findings.is_served {
        return None;
    }
    if context.manual.is_none()
        && findings.uses_pgweave
        && context.catalog.catalog_shard() != Some(shard)
    {
        return None;
    }
    let placed = findings.sharded.is_empty()
        && findings.refusal.is_none()
        && (findings.uses_pgweave || findings.homes.len() == 1);
    (!placed).then_some(Route::Shard(shard))
}

/// The shard that alone holds all rows of all the tables, whatever their keys are.
fn only_shard(
    findings: &Findings<'_>,
    home: Option<ShardId>,
    catalog: &Catalog,
) -> Option<ShardId> {
    if findings.uses_pgweave || findings.sharded.is_empty() {
        return None;
    }
    let groups = findings.groups.iter().map(|group| catalog.group(*group));
    let mut shards: BTreeSet<ShardId> = home.into_iter().collect();
    for group in groups {
        shards.extend(group?.map.shards());
    }
    let only = *shards.first()?;
    (shards.len() == 1).then_some(only)
}

/// The one shard that all unsharded tables of the statement live on.
fn one_home(findings: &Findings<'_>, context: &Context<'_>) -> Result<Option<ShardId>, Error> {
    match findings.homes.as_slice() {
        [] => Ok(None),
        [(shard, _)] => Ok(Some(*shard)),
        [(one, first), (other, second), ..] => Err(Error::unsupported(format!(
            "{first} is on shard {} and {second} is on shard {}",
            shard_name(context, *one),
            shard_name(context, *other)
        ))
        .with_hint("Send one statement per shard, or place both on one shard.")),
    }
}

fn compose(
    keys: Vec<KeyTuple>,
    home: Option<ShardId>,
    findings: &Findings<'_>,
    context: &Context<'_>,
) -> Result<Route, Error> {
    if findings.uses_pgweave {
        let catalog_shard = context.catalog.catalog_shard();
        return match home {
            _ if !findings.sharded.is_empty() => Err(with_pgweave()),
            _ if findings.is_served => Err(Error::unsupported(
                "this query asks for rows of schema pgweave that no single server has",
            )),
            _ if catalog_shard.is_none() => Err(Error::unsupported(
                "the catalog of this cluster is not on one of its shards",
            )
            .with_hint("Read its views: pgweave.shards, pgweave.tables, pgweave.placements …")),
            None => Ok(Route::Catalog),
            Some(home) if Some(home) == catalog_shard => Ok(Route::Catalog),
            Some(_) => Err(with_pgweave()),
        };
    }
    if !keys.is_empty() {
        return Ok(Route::Key(KeyRoute { keys, also: home }));
    }
    Ok(match home {
        Some(home) => Route::Shard(home),
        // No key can match: any shard will do that has the tables.
        None if !findings.groups.is_empty() => {
            match common_shard(&findings.groups, context.catalog) {
                Some(shard) => Route::Shard(shard),
                None => Route::Any,
            }
        }
        // Object identifiers differ between shards: questions about them all go to one.
        None if findings.uses_system => Route::Shard(context.catalog.default_shard()),
        None => Route::Any,
    })
}

/// The first shard that all these groups are on.
fn common_shard(groups: &[GroupId], catalog: &Catalog) -> Option<ShardId> {
    let mut common: Option<BTreeSet<ShardId>> = None;
    for group in groups.iter().filter_map(|group| catalog.group(*group)) {
        let shards = group.map.shards();
        common = Some(match common {
            Some(common) => common.intersection(&shards).copied().collect(),
            None => shards,
        });
    }
    common?.first().copied()
}

fn with_pgweave() -> Error {
    Error::unsupported("a query of schema pgweave together with tables of other shards")
}

/// A write to reference tables must do the same on every copy.
fn every_copy(findings: &Findings<'_>) -> Result<(), Error> {
    let table = findings.reference_writes.first().map_or("", String::as_str);
    let refused =
        |why: String| Error::unsupported(format!("a write to the reference table {table} {why}"));
    if let Some(name) = findings.sharded.first().or(findings.other_writes.first()) {
        return Err(refused(format!(
            "in one statement with {name}, which is not a reference table"
        ))
        .with_hint("Use two statements in one transaction."));
    }
    if let Some((_, name)) = findings.homes.first() {
        return Err(
            refused(format!("that uses {name}, which exists on one shard only"))
                .with_hint("Give the values as constants or parameters."),
        );
    }
    if findings.uses_pgweave {
        return Err(with_pgweave());
    }
    if let Some(what) = &findings.unsettled {
        return Err(refused(format!(
            "whose result may differ between its copies: {what}"
        ))
        .with_hint("Compute the value first and give it as a constant or a parameter."));
    }
    match &findings.refusal {
        Some(error) => Err(error.clone()),
        None => Ok(()),
    }
}

/// Rows of a reference table are locked on the default shard's copy, so that all lockers meet; writers reach it too.
fn lock_one_copy(findings: &mut Findings<'_>, context: &Context<'_>) -> Result<(), Error> {
    let table = findings
        .reference_locks
        .first()
        .cloned()
        .unwrap_or_default();
    if let Some(name) = findings
        .sharded
        .first()
        .filter(|_| context.manual.is_none())
    {
        return Err(Error::unsupported(format!(
            "rows of the reference table {table} are locked together with rows of {name}"
        ))
        .with_hint(format!("Lock only {name}: FOR UPDATE OF {name}.")));
    }
    findings.home(
        context.catalog.default_shard(),
        format!("the lock on {table}"),
    );
    Ok(())
}

pub(crate) fn shard_name(context: &Context<'_>, shard: ShardId) -> String {
    context
        .catalog
        .shard(shard)
        .map_or_else(|| shard.to_string(), |shard| shard.name.clone())
}

/// The options of a utility statement by name, values as text.
pub(crate) fn option_text(option: &nodes::DefElem) -> Option<String> {
    match option.arg() {
        Node::String(text) => text.sval().map(str::to_owned),
        Node::Integer(number) => Some(number.ival.to_string()),
        Node::Float(number) => number.fval().map(str::to_owned),
        Node::Boolean(value) => Some(value.boolval.to_string()),
        Node::TypeName(name) => name
            .names()
            .iter()
            .next_back()
            .and_then(|name| name.sval().map(str::to_owned)),
        _ => None,
    }
}
