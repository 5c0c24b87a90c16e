//! CREATE TABLE AS, SELECT INTO and CREATE MATERIALIZED VIEW.
//!
//! Entry point: [`create_table_as`].

use crate::build::{To, route};
use crate::ddl;
use crate::operand::Source;
use crate::parse::{Node, OnCommitAction, nodes};
use crate::relation::creation_schema;
use crate::utility::single;
use crate::{
    Access, Change, Context, DdlEffect, Error, Everywhere, EverywhereKind, Name, NewTable, Pins,
    Plan, Route, Single, StatementTag, Where,
};

/// CREATE TABLE AS, SELECT INTO and CREATE MATERIALIZED VIEW.
pub(crate) fn create_table_as(
    query: Node<'_>,
    into: &nodes::IntoClause,
    materialized_view: bool,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let what = if materialized_view {
        "CREATE MATERIALIZED VIEW"
    } else {
        "CREATE TABLE AS"
    };
    let Some(relation) = into.rel() else {
        return Err(Error::internal("CREATE TABLE AS without a name"));
    };
    let name = relation.relname().unwrap_or_default().to_owned();
    let routed = route(
        query,
        Source {
            literals: None,
            ..source
        },
        context,
    )?;
    let To::Route(to) = routed.to else {
        return Err(Error::unsupported(format!(
            "{what} from a write to a reference table"
        )));
    };
    let tag = StatementTag("SELECT");
    if ddl::is_temporary(relation) {
        let to = match to {
            Route::Any => Route::Shard(ddl::temporary_shard(context)),
            other => other,
        };
        let mut effects = routed.findings.effects;
        effects.creates_temporary.push(name);
        effects.until_commit = into.on_commit == OnCommitAction::ONCOMMIT_DROP;
        return Ok(Plan::Single(Single {
            pins: routed.findings.pins | Pins::TEMPORARY,
            effects,
            tag,
            parameters: u16::try_from(routed.findings.parameters.len()).unwrap_or(u16::MAX),
            ..single(to, "SELECT")
        }));
    }
    let default = context.catalog.default_shard();
    if !matches!(to, Route::Any) && to != Route::Shard(default) {
        return Err(Error::unsupported(format!(
            "{what} from rows that are not on the default shard"
        ))
        .with_detail(format!(
            "The new table {name} would be on the default shard."
        ))
        .with_hint("Create the table, then INSERT … SELECT; or make it a temporary table."));
    }
    let named = into.col_names().iter().filter_map(Node::as_str);
    let mut columns: Vec<&str> = named.collect();
    columns.extend(routed.columns.iter().map(String::as_str));
    if !materialized_view
        && let Some(auto) = context
            .catalog
            .auto_shard()
            .iter()
            .find(|auto| columns.contains(&auto.column.as_str()))
    {
        return Err(Error::unsupported(format!(
            "{what} of a table that is sharded by its column {}",
            auto.column
        ))
        .with_hint("Create the table, then INSERT … SELECT."));
    }
    let table = Name {
        schema: relation
            .schemaname()
            .map_or_else(|| creation_schema(context), str::to_owned),
        name,
    };
    let change = if materialized_view {
        Change::View { view: table }
    } else {
        Change::TableCreated {
            table,
            if_not_exists: false,
            sharding: NewTable::Unsharded { shard: default },
        }
    };
    Ok(Plan::Everywhere(Everywhere {
        shards: Where::Shards(vec![default]),
        access: Access::Write,
        parameters: u16::try_from(routed.findings.parameters.len()).unwrap_or(u16::MAX),
        tag,
        returns_rows: false,
        kind: EverywhereKind::Ddl(DdlEffect {
            changes: vec![change],
        }),
        concurrently: false,
        no_block: false,
    }))
}
