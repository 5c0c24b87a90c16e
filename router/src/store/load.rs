//! Reading a snapshot of the catalog.
//!
//! Entry point: [`load`]. The home's tables are read in one repeatable-read transaction. What the catalog does not store itself,
//! columns, views, functions and sequences, is read from the default shard: in that same transaction where the home is
//! its database. A table that is not on the default shard is looked up on a shard that has it.
//!
//! Invariants: a table that the catalog places is never left out, since a table left out would be taken for one on the default
//! shard; if its columns cannot be read, those of the last snapshot stay, and without any the load fails.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use catalog::{
    Catalog, CatalogBuilder, Column, Group, KeyType, Shard, ShardId, Table, TableId, TableKind,
};

use super::connection::{Connection, Connector};
use super::error::Error;
use super::functions;
use super::home_rows::{Listed, auto_shard, groups, heading, listed, shards};
use super::relations::{self, ShardTable};

/// Printing a view's definition waits for whoever has locked its tables. For less than `deadlock_timeout`, which is a
/// second: where a client's DROP waits for the same tables in another order, it is this reading that must give way.
const LOCK_PATIENCE: &str = "500ms";

/// How often a reading that has given way is begun again, and after what pause.
const ATTEMPTS: u32 = 20;

const PAUSE: Duration = Duration::from_millis(100);

/// How often a view's definition that a lock hides is looked for, and after what pause.
const VIEW_ATTEMPTS: u32 = 8;
const VIEW_PAUSE: Duration = Duration::from_millis(25);

/// Tables that the catalog does not list have ids from here on, good for one snapshot only.
pub const FIRST_UNLISTED: TableId = TableId(0x8000_0000);

pub(super) async fn load(
    home: &Connection,
    connector: &Connector,
    last: Option<&Catalog>,
) -> Result<Catalog, Error> {
    let mut attempt = 1;
    loop {
        match load_once(home, connector, last).await {
            // lock_not_available, deadlock_detected
            Err(error) if attempt < ATTEMPTS && matches!(error.sqlstate(), "55P03" | "40P01") => {
                tracing::debug!(%error, attempt, "reading the catalog again");
                attempt += 1;
            }
            result => return result,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn load_once(
    home: &Connection,
    connector: &Connector,
    last: Option<&Catalog>,
) -> Result<Catalog, Error> {
    home.batch(&format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = '{LOCK_PATIENCE}'"
    ))
    .await?;
    let catalog = load_in_transaction(home, connector, last).await;
    let ended = home.batch("ROLLBACK").await;
    let catalog = catalog?;
    ended?;
    Ok(catalog)
}

async fn load_in_transaction(
    home: &Connection,
    connector: &Connector,
    last: Option<&Catalog>,
) -> Result<Catalog, Error> {
    let heading = heading(home).await?;
    let shards = shards(home).await?;
    let groups = groups(home).await?;
    let listed = listed(home, &groups).await?;
    let auto_shard = auto_shard(home).await?;

    let mut builder = CatalogBuilder::new()
        .epoch(heading.epoch)
        .cluster_id(heading.cluster)
        .catalog_shard(heading.home_shard);
    if let Some(shard) = heading.default_shard {
        builder = builder.default_shard(shard);
    }
    for shard in &shards {
        builder = builder.shard(shard.clone());
    }
    let found = match heading
        .default_shard
        .and_then(|id| shards.iter().find(|shard| shard.id == id))
    {
        Some(shard) if heading.home_shard == heading.default_shard => {
            Some(Found::read(home, shard.id).await?)
        }
        Some(shard) => Some(Found::read(&reach(connector, shard).await?, shard.id).await?),
        // Between `init` creating the catalog and registering the first shard.
        None => None,
    };
    builder = place(builder, connector, &shards, &groups, listed, found, last).await?;
    for group in groups {
        builder = builder.group(group);
    }
    for rule in auto_shard {
        builder = builder.auto_shard(rule);
    }
    builder
        .build()
        .map_err(|error| Error::corrupt(format!("an inconsistency: {error}")))
}

/// What the default shard's system catalogs say.
struct Found {
    shard: ShardId,
    tables: Vec<ShardTable>,
    views: Vec<catalog::View>,
    functions: Vec<functions::FunctionSource>,
    reactions: Vec<catalog::Reaction>,
    sequences: Vec<catalog::Sequence>,
    schemas: Vec<String>,
}

impl Found {
    async fn read(connection: &Connection, shard: ShardId) -> Result<Found, Error> {
        Ok(Found {
            shard,
            tables: relations::tables(connection, None).await?,
            views: views(connection).await?,
            functions: relations::function_sources(connection).await?,
            reactions: relations::reactions(connection, None).await?,
            sequences: relations::sequences(connection).await?,
            schemas: relations::schemas(connection).await?,
        })
    }
}

/// All views. Most locks that hide a definition are gone in a moment, and without it the view's users are refused.
async fn views(connection: &Connection) -> Result<Vec<catalog::View>, Error> {
    let mut attempt = 1;
    loop {
        let views = relations::views(connection).await?;
        if attempt == VIEW_ATTEMPTS || views.iter().all(|view| !view.definition.is_empty()) {
            return Ok(views);
        }
        attempt += 1;
        tokio::time::sleep(VIEW_PAUSE).await;
    }
}

/// Any server of a shard: definitions are the same on its replicas, a moment later.
async fn reach(connector: &Connector, shard: &Shard) -> Result<Connection, Error> {
    let mut first_error = None;
    for server in std::iter::once(&shard.primary).chain(&shard.replicas) {
        match connector.connect(server).await {
            Ok(connection) => {
                connection
                    .batch(&format!("SET lock_timeout = '{LOCK_PATIENCE}'"))
                    .await?;
                return Ok(connection);
            }
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error
        .unwrap_or_else(|| Error::corrupt(format!("shard {} without servers", shard.name))))
}

async fn read_named(
    connection: &Connection,
    names: &[(String, String)],
) -> Result<(Vec<ShardTable>, Vec<catalog::Reaction>), Error> {
    Ok((
        relations::tables(connection, Some(names)).await?,
        relations::reactions(connection, Some(names)).await?,
    ))
}

/// Adds tables, views, functions and sequences to the snapshot.
async fn place(
    mut builder: CatalogBuilder,
    connector: &Connector,
    shards: &[Shard],
    groups: &[Group],
    listed: Vec<Listed>,
    found: Option<Found>,
    last: Option<&Catalog>,
) -> Result<CatalogBuilder, Error> {
    let Some(found) = found else {
        return Ok(builder);
    };
    let mut columns: HashMap<(String, String), Vec<Column>> = found
        .tables
        .iter()
        .map(|table| {
            (
                (table.schema.clone(), table.name.clone()),
                table.columns.clone(),
            )
        })
        .collect();

    let mut reactions = found.reactions;
    let mut elsewhere: BTreeMap<ShardId, Vec<(String, String)>> = BTreeMap::new();
    for table in &listed {
        if let Some(shard) = look_up_on(table, groups, found.shard) {
            columns.remove(&(table.schema.clone(), table.name.clone()));
            reactions
                .retain(|reaction| reaction.schema != table.schema || reaction.name != table.name);
            elsewhere
                .entry(shard)
                .or_default()
                .push((table.schema.clone(), table.name.clone()));
        }
    }
    for (id, names) in elsewhere {
        let shard = shards
            .iter()
            .find(|shard| shard.id == id)
            .ok_or_else(|| Error::corrupt(format!("no shard {id}")))?;
        let there = match reach(connector, shard).await {
            Ok(connection) => read_named(&connection, &names).await,
            Err(error) => Err(error),
        };
        match there {
            Ok((tables, found)) => {
                reactions.extend(found);
                columns.extend(
                    tables
                        .into_iter()
                        .map(|table| ((table.schema, table.name), table.columns)),
                );
            }
            Err(error) => {
                for (schema, name) in names {
                    let known = last
                        .and_then(|last| last.table(&schema, &name))
                        .map(|table| table.columns.clone());
                    let Some(known) = known else {
                        return Err(error);
                    };
                    tracing::warn!(shard = %shard.name, %error, "columns of {schema}.{name} cannot be read; the last known ones stay");
                    if let Some(last) = last {
                        reactions.extend_from_slice(last.reactions(&schema, &name));
                    }
                    columns.insert((schema, name), known);
                }
            }
        }
    }

    let mut names: HashSet<(String, String)> = HashSet::new();
    let mut relation_names: Vec<(String, String)> = Vec::new();
    for table in listed {
        let name = (table.schema, table.name);
        let table_columns = columns.remove(&name).unwrap_or_default();
        let (kind, table_columns) = fit(table.kind, table_columns);
        names.insert(name.clone());
        relation_names.push(name.clone());
        builder = builder.table(Table {
            id: table.id,
            schema: name.0,
            name: name.1,
            kind,
            columns: table_columns,
        });
    }
    for (id, table) in (FIRST_UNLISTED.0..).zip(found.tables) {
        let name = (table.schema, table.name);
        if names.insert(name.clone()) {
            relation_names.push(name.clone());
            let kind = TableKind::Unsharded { shard: found.shard };
            builder = builder.table(Table {
                id: TableId(id),
                schema: name.0,
                name: name.1,
                kind,
                columns: table.columns,
            });
        }
    }
    for view in found.views {
        if names.insert((view.schema.clone(), view.name.clone())) {
            relation_names.push((view.schema.clone(), view.name.clone()));
            builder = builder.view(view);
        }
    }
    for sequence in found.sequences {
        if names.insert((sequence.schema.clone(), sequence.name.clone())) {
            builder = builder.sequence(sequence);
        }
    }
    for reaction in reactions {
        builder = builder.reaction(reaction);
    }
    for schema in found.schemas {
        builder = builder.schema(schema);
    }
    for function in functions::classify(found.functions, &relation_names) {
        builder = builder.function(function);
    }
    Ok(builder)
}

/// The shard to ask for a table's columns, if the default shard does not hold it.
fn look_up_on(table: &Listed, groups: &[Group], default_shard: ShardId) -> Option<ShardId> {
    match &table.kind {
        TableKind::Reference => None,
        TableKind::Unsharded { shard } => (*shard != default_shard).then_some(*shard),
        TableKind::Sharded { group, .. } => {
            let shards = groups.iter().find(|each| each.id == *group)?.map.shards();
            if shards.contains(&default_shard) {
                None
            } else {
                shards.first().copied()
            }
        }
    }
}

/// Brings a table's key and its columns as the shard has them together.
///
/// Somebody may have changed the table on a shard directly. A key column that is missing or nullable there is reported by
/// `pgweave check`; here it must not keep every router from every table.
fn fit(kind: TableKind, mut columns: Vec<Column>) -> (TableKind, Vec<Column>) {
    let TableKind::Sharded { group, mut key } = kind else {
        return (kind, columns);
    };
    for key_column in &mut key {
        match columns
            .iter_mut()
            .find(|column| column.name == key_column.name)
        {
            Some(column) => {
                column.not_null = true;
                let own = KeyType::from_oid(column.type_oid);
                if let Some(own) = own.filter(|own| own.colocates_with(key_column.key_type)) {
                    key_column.key_type = own;
                }
            }
            None => columns.push(Column {
                name: key_column.name.clone(),
                type_oid: key_column.key_type.oid(),
                type_modifier: -1,
                not_null: true,
                has_default: false,
                default_expression: None,
                sorts_by_bytes: false,
                equal_by_bytes: false,
                in_primary_key: false,
            }),
        }
    }
    (TableKind::Sharded { group, key }, columns)
}
