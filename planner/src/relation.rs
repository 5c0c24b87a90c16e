//! From a name in FROM to what stands behind it.
//!
//! Entry point: [`look_up`]. The order is PostgreSQL's: temporary relations first, then the system's, then the search path;
//! a search path that names `pg_temp` puts temporary relations there.

use catalog::{Relation, ShardId, Table, TableKind, View};

use crate::served::{Served, view};
use crate::{Context, Name};

/// What a session calls the schema of its temporary relations.
const TEMPORARY_SCHEMA: &str = "pg_temp";

pub(crate) enum Found<'c> {
    Table(&'c Table),
    View(&'c View),
    /// This session's temporary relation.
    Temporary(ShardId),
    /// `pg_catalog`, `information_schema`: alike on every shard.
    System,
    /// Schema `pgweave`.
    Pgweave,
    /// The catalog does not know it: it lives on the default shard, or nowhere.
    Unknown,
}

pub(crate) fn look_up<'c>(context: &Context<'c>, schema: Option<&str>, name: &str) -> Found<'c> {
    match schema {
        Some(schema) => look_up_qualified(context, schema, name),
        None => look_up_unqualified(context, name),
    }
}

fn look_up_qualified<'c>(context: &Context<'c>, schema: &str, name: &str) -> Found<'c> {
    match schema {
        "pg_catalog" | "information_schema" | "pg_toast" => Found::System,
        "pgweave" => Found::Pgweave,
        _ if schema == "pg_temp" || schema.starts_with("pg_temp_") => temporary(context, name),
        _ => {
            if let Some(table) = context.catalog.table(schema, name) {
                Found::Table(table)
            } else if let Some(view) = context.catalog.view(schema, name) {
                Found::View(view)
            } else {
                Found::Unknown
            }
        }
    }
}

fn temporary<'c>(context: &Context<'c>, name: &str) -> Found<'c> {
    match context
        .temporary
        .iter()
        .find(|(temporary, _)| temporary == name)
    {
        Some((_, shard)) => Found::Temporary(*shard),
        None => Found::Unknown,
    }
}

fn look_up_unqualified<'c>(context: &Context<'c>, name: &str) -> Found<'c> {
    let before_temporary = context
        .search_path
        .iter()
        .position(|schema| schema == TEMPORARY_SCHEMA)
        .and_then(|at| context.search_path.get(..at))
        .unwrap_or_default();
    if let Found::Temporary(shard) = temporary(context, name)
        && context
            .catalog
            .resolve_table(before_temporary, name)
            .is_none()
    {
        return Found::Temporary(shard);
    }
    match context.catalog.resolve_table(context.search_path, name) {
        Some(Relation::Table(table)) => Found::Table(table),
        Some(Relation::View(view)) => Found::View(view),
        None if name.starts_with("pg_") => Found::System,
        None if context.search_path.iter().any(|schema| schema == "pgweave")
            && is_pgweave_view(name) =>
        {
            Found::Pgweave
        }
        None => Found::Unknown,
    }
}

pub(crate) enum FoundSequence {
    /// It feeds a column of an unsharded table on this shard.
    OfTable(ShardId),
    Known,
    Unknown,
}

pub(crate) fn look_up_sequence(
    context: &Context<'_>,
    schema: Option<&str>,
    name: &str,
) -> FoundSequence {
    let in_schema = |candidate: &str| match schema {
        Some(schema) => schema == candidate,
        None => context.search_path.iter().any(|schema| schema == candidate),
    };
    let feeds = |table: &Table| {
        table.columns.iter().any(|column| {
            let by_default = column
                .default_expression
                .as_deref()
                .is_some_and(|expression| {
                    expression.contains(&format!("nextval('{name}'"))
                        || expression.contains(&format!("nextval('{}.{name}'", table.schema))
                });
            by_default
                || column.has_default && name == format!("{}_{}_seq", table.name, column.name)
        })
    };
    for table in context.catalog.tables() {
        if let TableKind::Unsharded { shard } = table.kind
            && in_schema(&table.schema)
            && feeds(table)
        {
            return FoundSequence::OfTable(shard);
        }
    }
    let known = context
        .catalog
        .sequences()
        .iter()
        .any(|sequence| sequence.name == name && in_schema(&sequence.schema));
    if known {
        FoundSequence::Known
    } else {
        FoundSequence::Unknown
    }
}

fn is_pgweave_view(name: &str) -> bool {
    name == "decision" || matches!(view(name), Some((_, Served::Home)))
}

/// The full name of a relation that exists, or of one that an unqualified CREATE would make.
pub(crate) fn full_name(context: &Context<'_>, schema: Option<&str>, name: &str) -> Name {
    let schema = match schema {
        Some(schema) => schema.to_owned(),
        None => match context.catalog.resolve_table(context.search_path, name) {
            Some(Relation::Table(table)) => table.schema.clone(),
            Some(Relation::View(view)) => view.schema.clone(),
            None => creation_schema(context),
        },
    };
    Name {
        schema,
        name: name.to_owned(),
    }
}

/// Where an unqualified CREATE puts things: the first schema of the path that exists.
pub(crate) fn creation_schema(context: &Context<'_>) -> String {
    let mut path = context
        .search_path
        .iter()
        .filter(|schema| *schema != "pg_catalog" && *schema != TEMPORARY_SCHEMA);
    let first = path.clone().next();
    path.find(|schema| context.catalog.has_schema(schema))
        .or(first)
        .cloned()
        .unwrap_or_else(|| "public".to_owned())
}
