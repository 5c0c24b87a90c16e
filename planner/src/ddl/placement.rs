//! Which shards a relation is on, for statements that go to all of them.
//!
//! Entry points: [`placement_of`] and [`everywhere_of`].

use catalog::{GroupId, ShardId, TableKind};

use crate::build::shard_name;
use crate::operand::Source;
use crate::parse::nodes;
use crate::relation::{Found, FoundSequence, full_name, look_up, look_up_sequence};
use crate::utility::single;
use crate::{
    Access, Context, Error, Everywhere, EverywhereKind, Name, Pins, Plan, Route, Single,
    StatementTag, Where,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placement {
    All,
    Group(GroupId),
    Shard(ShardId),
    /// This session's temporary relation: nobody else needs to know.
    Temporary(ShardId),
    /// Indexes and the like, which the catalog does not list: where they are found.
    Holding(Name),
}

/// Where a relation named in a statement is.
pub(crate) fn placement_of(
    relation: &nodes::RangeVar,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Placement, Error> {
    named(
        relation.schemaname(),
        relation.relname().unwrap_or_default(),
        context,
    )
    .map_err(|error| error.at(source.sql, relation.location))
}

pub(crate) fn named(
    schema: Option<&str>,
    name: &str,
    context: &Context<'_>,
) -> Result<Placement, Error> {
    Ok(match look_up(context, schema, name) {
        Found::Table(table) => match table.kind {
            TableKind::Sharded { group, .. } => Placement::Group(group),
            TableKind::Reference => Placement::All,
            TableKind::Unsharded { shard } => Placement::Shard(shard),
        },
        Found::Temporary(shard) => Placement::Temporary(shard),
        Found::View(view) => crate::ddl::view_placement(view, context)?,
        Found::System => {
            return Err(Error::unsupported(format!(
                "this statement on the system catalog {name}"
            )));
        }
        Found::Pgweave => {
            return Err(
                Error::unsupported(format!("this statement on pgweave.{name}"))
                    .with_hint("Use the functions of schema pgweave."),
            );
        }
        Found::Unknown => {
            let full = full_name(context, schema, name);
            match look_up_sequence(context, Some(&full.schema), &full.name) {
                FoundSequence::OfTable(shard) => Placement::Shard(shard),
                FoundSequence::Known => Placement::Holding(full),
                FoundSequence::Unknown => Placement::Shard(context.catalog.default_shard()),
            }
        }
    })
}

/// The placement that several relations have in common.
pub(crate) fn one(
    placements: Vec<(Placement, &str)>,
    context: &Context<'_>,
) -> Result<Placement, Error> {
    let mut placements = placements.into_iter();
    let Some((first, first_name)) = placements.next() else {
        return Err(Error::internal("a list of no relations"));
    };
    for (placement, name) in placements {
        if shards(&placement, context) != shards(&first, context) {
            return Err(Error::unsupported(format!(
                "{first_name} and {name} are not on the same shards"
            ))
            .with_detail(format!(
                "{first_name} is {}, {name} is {}.",
                describe(&first, context),
                describe(&placement, context)
            ))
            .with_hint("Use one statement for each, in one transaction."));
        }
    }
    Ok(first)
}

/// The set of shards, to compare two placements.
fn shards(placement: &Placement, context: &Context<'_>) -> Option<Vec<ShardId>> {
    match placement {
        Placement::All => Some(
            context
                .catalog
                .shards()
                .iter()
                .map(|shard| shard.id)
                .collect(),
        ),
        Placement::Group(group) => Some(
            context
                .catalog
                .group(*group)?
                .map
                .shards()
                .into_iter()
                .collect(),
        ),
        Placement::Shard(shard) | Placement::Temporary(shard) => Some(vec![*shard]),
        Placement::Holding(_) => None,
    }
}

fn describe(placement: &Placement, context: &Context<'_>) -> String {
    match placement {
        Placement::All => "on all shards".to_owned(),
        Placement::Group(_) => "sharded".to_owned(),
        Placement::Shard(shard) => format!("on shard {}", shard_name(context, *shard)),
        Placement::Temporary(shard) => {
            format!("temporary on shard {}", shard_name(context, *shard))
        }
        Placement::Holding(name) => format!("where {} is", name.name),
    }
}

/// A plan for all shards of a placement; for one shard only when there is nothing the catalog must learn.
pub(crate) fn everywhere_of(placement: Placement, tag: &'static str, kind: EverywhereKind) -> Plan {
    let shards = match (placement, &kind) {
        (Placement::Temporary(shard), _) => {
            return Plan::Single(Single {
                pins: Pins::TEMPORARY,
                ..single(Route::Shard(shard), tag)
            });
        }
        (Placement::Shard(shard), EverywhereKind::Rows | EverywhereKind::Maintenance) => {
            return Plan::Single(single(Route::Shard(shard), tag));
        }
        (Placement::Shard(shard), _) => Where::Shards(vec![shard]),
        (Placement::All, _) => Where::All,
        (Placement::Group(group), _) => Where::Group(group),
        (Placement::Holding(name), _) => Where::Holding(name),
    };
    Plan::Everywhere(Everywhere {
        shards,
        access: Access::Write,
        parameters: 0,
        tag: StatementTag(tag),
        returns_rows: false,
        kind,
        concurrently: false,
        no_block: false,
    })
}
