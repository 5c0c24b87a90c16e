//! `pgweave.shard_table`: splits an empty table over shards.
//!
//! ```sql
//! pgweave.shard_table(table, key
//!     [, colocate_with => 'table' | 'none'] [, by => 'hash' | 'range' | 'list'] [, shards => array['s1', …]]
//!     [, layout => 'even' | 'consistent'] [, virtual_nodes => 32]
//!     [, bounds => array[…]] [, "values" => array[…]] [, default_shard => 's1'])
//! ```
//!
//! `key` is a column, or several: `'a, b'` or `array['a', 'b']`. Without further wishes all tables with keys of the same types
//! share one hash map over all shards, so that equal keys meet. `colocate_with` names a table to meet instead, or `none`.
//!
//! - range: `bounds` are the points between the shards. With n shards, n - 1 bounds leave both ends open: `shards =>
//!   array['s1', 's2'], bounds => array['2025-01-01']`. n + 1 bounds give the ends, NULL for an open one. A key outside is
//!   refused (23514). With a key of several columns each bound is an array.
//! - list: `values` and `shards` go in pairs; a shard may stand several times. `default_shard` takes all other
//!   keys; without it they are refused.

use std::sync::Arc;

use catalog::{Catalog, GroupId, KeyColumn, KeyType, ShardMap, TableKind};

use super::arguments::Arguments;
use super::atomic::AtomicChange;
use super::shard_map::new_map;
use super::subject::{self, parse_name};
use super::{Caller, Output};
use crate::ddl::distribute::Distribution;
use crate::ddl::edit::GroupChoice;
use crate::ddl::error::{Answer, Error};
use crate::ddl::requirements;
use crate::store::Store;
use crate::store::default_groups::{default_group, divided_sequences};

pub const PARAMETERS: &[&str] = &[
    "table",
    "key",
    "colocate_with",
    "by",
    "shards",
    "layout",
    "virtual_nodes",
    "bounds",
    "values",
    "default_shard",
];

pub async fn shard_table(
    store: &Arc<Store>,
    arguments: &Arguments<'_>,
    caller: &Caller,
) -> Result<Output, Error> {
    let name = arguments.required("table")?;
    let key = key_names(arguments)?;
    let mut change = AtomicChange::begin(store).await?;
    let catalog = change.catalog().clone();
    let subject = subject::find(&mut change, &catalog, caller, &name).await?;
    // The key's types are needed to choose the group, and the group to judge foreign keys.
    let types = key_types(&subject.table, &key)?;
    let choice = choose_group(&change, &catalog, caller, arguments, &types).await?;
    let group = choice
        .group(&catalog)
        .ok_or_else(|| Answer::new("the colocation group is gone").conflict())?;
    let existing = match &choice {
        GroupChoice::Existing(id) => Some(*id),
        GroupChoice::New { .. } => None,
    };
    let key = requirements::sharded(&subject.table, &key, existing, &catalog)?;
    let divided = divided_sequences(change.home().connection()).await?;
    let table = subject.table.display_name();
    let notices = waiting_notices(&subject.table, &catalog);
    let summary = summary(&table, &key, &group.map, &catalog);
    let distribution = Distribution {
        participants: &mut change,
        source: subject.source,
        made_on: vec![subject.source],
        table: subject.table,
        divided,
    };
    let edits = distribution.sharded(key, choice, &group).await?;
    change.commit(&edits).await?;
    Ok(Output {
        notices,
        ..Output::line(summary)
    })
}

/// Tables with foreign keys to this one that are still on one shard.
fn waiting_notices(
    table: &crate::ddl::definition::TableDefinition,
    catalog: &Catalog,
) -> Vec<String> {
    let whole = |schema: &str, name: &str| {
        !matches!(
            catalog.table(schema, name).map(|table| &table.kind),
            Some(TableKind::Sharded { .. })
        )
    };
    table
        .inbound
        .iter()
        .filter(|foreign| whole(&foreign.from_schema, &foreign.from_table))
        .map(|foreign| {
            format!(
                "table {}.{} refers to {} and is on one shard: shard it too, by ({}), or it can refer only to rows of that shard",
                foreign.from_schema,
                foreign.from_table,
                table.display_name(),
                foreign.from_columns.join(", ")
            )
        })
        .collect()
}

fn summary(table: &str, key: &[KeyColumn], map: &ShardMap, catalog: &Catalog) -> String {
    let columns: Vec<&str> = key.iter().map(|column| column.name.as_str()).collect();
    let shards: Vec<&str> = map
        .shards()
        .iter()
        .filter_map(|id| catalog.shard(*id))
        .map(|shard| shard.name.as_str())
        .collect();
    let method = match map {
        ShardMap::Hash(_) => "hash",
        ShardMap::Range(_) => "range",
        ShardMap::List(_) => "list",
    };
    format!(
        "{table} is sharded by {method} ({}) over {}",
        columns.join(", "),
        shards.join(", ")
    )
}

fn key_names(arguments: &Arguments<'_>) -> Result<Vec<String>, Error> {
    let names = arguments.names("key")?.unwrap_or_default();
    if names.is_empty() {
        return Err(Answer::new("pgweave.shard_table needs the argument key")
            .hint("Name the column to shard by.")
            .invalid_argument());
    }
    names
        .iter()
        .map(|name| parse_name(name).map(|(_, column)| column))
        .collect()
}

fn key_types(
    table: &crate::ddl::definition::TableDefinition,
    key: &[String],
) -> Result<Vec<KeyType>, Error> {
    key.iter()
        .map(|name| {
            let column = table.column(name).ok_or_else(|| {
                let names: Vec<&str> = table
                    .columns
                    .iter()
                    .map(|column| column.name.as_str())
                    .collect();
                Answer::new(format!(
                    "column \"{name}\" of table {} does not exist",
                    table.display_name()
                ))
                .hint(format!("Its columns are: {}.", names.join(", ")))
                .undefined_column()
            })?;
            // One that cannot be a key is reported with the other requirements.
            Ok(KeyType::from_oid(column.type_oid).unwrap_or(KeyType::Text))
        })
        .collect()
}

async fn choose_group(
    change: &AtomicChange,
    catalog: &Catalog,
    caller: &Caller,
    arguments: &Arguments<'_>,
    types: &[KeyType],
) -> Result<GroupChoice, Error> {
    let by = arguments
        .text("by")?
        .unwrap_or_else(|| "hash".to_owned())
        .to_lowercase();
    let wishes = [
        "shards",
        "layout",
        "virtual_nodes",
        "bounds",
        "values",
        "default_shard",
    ];
    let wishes: Vec<&str> = wishes
        .into_iter()
        .filter(|name| arguments.has(name))
        .collect();
    match arguments.text("colocate_with")? {
        Some(other) if !other.eq_ignore_ascii_case("none") => {
            if let Some(wish) = wishes.first() {
                return Err(
                    Answer::new(format!("{wish} and colocate_with contradict each other"))
                        .detail("Colocated tables have one shard map.")
                        .invalid_argument(),
                );
            }
            colocated(catalog, caller, &other, types)
        }
        None if by == "hash" && wishes.is_empty() => {
            match default_group(change.home().connection(), catalog, types).await? {
                Some(id) => Ok(GroupChoice::Existing(id)),
                None => GroupChoice::new_default(catalog, types),
            }
        }
        _ => Ok(GroupChoice::New {
            types: types.to_vec(),
            map: new_map(catalog, arguments, &by, types)?,
            layout: (by == "hash").then(|| {
                arguments
                    .text("layout")
                    .ok()
                    .flatten()
                    .unwrap_or_else(|| "even".to_owned())
                    .to_lowercase()
            }),
            is_default: false,
        }),
    }
}

fn colocated(
    catalog: &Catalog,
    caller: &Caller,
    other: &str,
    types: &[KeyType],
) -> Result<GroupChoice, Error> {
    let (schema, name) = parse_name(other)?;
    let table = match &schema {
        Some(schema) => catalog.table(schema, &name),
        None => caller
            .search_path
            .iter()
            .find_map(|schema| catalog.table(schema, &name)),
    };
    let table = table.ok_or_else(|| {
        Answer::new(format!("relation \"{other}\" does not exist")).undefined_table()
    })?;
    let TableKind::Sharded { group: id, key } = &table.kind else {
        return Err(Answer::new(format!("table {other} is not sharded"))
            .hint("Name a sharded table, or 'none'.")
            .wrong_state());
    };
    let fits = key.len() == types.len()
        && key
            .iter()
            .zip(types)
            .all(|(own, other)| own.key_type.colocates_with(*other));
    if !fits {
        let theirs: Vec<&str> = key.iter().map(|column| column.key_type.name()).collect();
        return Err(Answer::new(format!(
            "table {other} is sharded by a key of other types ({})",
            theirs.join(", ")
        ))
        .hint("Equal keys meet only if they have the same types.")
        .invalid_argument());
    }
    Ok(GroupChoice::Existing(GroupId(id.0)))
}
