//! Reading a snapshot of the catalog.
//!
//! Entry point: [`load`]. The home's tables are read in one repeatable-read transaction. What the catalog does not store itself,
//! columns, views, functions and sequences, is read from the default shard: in that same transaction where the home is
//! its database. A table that is not on the default shard is looked up on a shard that has it.
//!
//! Invariants: a table that the catalog places is never left out, since a table left out would be taken for one on the default
//! shard; if its columns cannot be read, those of the last snapshot stay, and without any the load fails.

use std::collections::{BTreeMap, HashMap, HashSet};

use catalog::{
    AutoShard, Catalog, CatalogBuilder, ClusterId, Column, Epoch, Group, GroupId, KeyColumn,
    KeyType, Server, Shard, ShardId, Table, TableId, TableKind,
};

use super::connection::{Connection, Connector, column};
use super::error::Error;
use super::functions;
use super::map_rows::{PlacementRow, read_map};
use super::relations::{self, ShardTable};

/// The meaning of the home's tables that this router knows.
pub const FORMAT: i32 = 1;

/// Tables that the catalog does not list have ids from here on, good for one snapshot only.
pub const FIRST_UNLISTED: TableId = TableId(0x8000_0000);

pub(super) async fn load(
    home: &Connection,
    connector: &Connector,
    last: Option<&Catalog>,
) -> Result<Catalog, Error> {
    home.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
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

/// The row of `pgweave.cluster`.
struct Heading {
    cluster: ClusterId,
    epoch: Epoch,
    default_shard: Option<ShardId>,
    home_shard: Option<ShardId>,
}

async fn heading(home: &Connection) -> Result<Heading, Error> {
    let not_initialized = || Error::NotInitialized {
        server: home.label().to_owned(),
    };
    let there = home
        .query_one("SELECT to_regclass('pgweave.cluster') IS NOT NULL", &[])
        .await?;
    if !column::<bool>(&there, 0)? {
        return Err(not_initialized());
    }
    let row = home
        .query_opt(
            "SELECT format, uuid_send(id), epoch, default_shard, home_shard FROM pgweave.cluster",
            &[],
        )
        .await?
        .ok_or_else(not_initialized)?;
    let found: i32 = column(&row, 0)?;
    if found != FORMAT {
        return Err(Error::Format {
            server: home.label().to_owned(),
            found,
            known: FORMAT,
        });
    }
    let id: Vec<u8> = column(&row, 1)?;
    let id: [u8; 16] = id
        .try_into()
        .map_err(|_| Error::corrupt("a cluster id that is no uuid"))?;
    Ok(Heading {
        cluster: ClusterId(id),
        epoch: Epoch(column::<i64>(&row, 2)?.unsigned_abs()),
        default_shard: column::<Option<i32>>(&row, 3)?.map(shard_id),
        home_shard: column::<Option<i32>>(&row, 4)?.map(shard_id),
    })
}

fn shard_id(number: i32) -> ShardId {
    ShardId(number.unsigned_abs())
}

async fn shards(home: &Connection) -> Result<Vec<Shard>, Error> {
    let rows = home
        .query(
            "SELECT shard.id, shard.name, server.role = 'primary', server.host, server.port, server.dbname \
               FROM pgweave.shard JOIN pgweave.server ON server.shard = shard.id \
              ORDER BY shard.id, server.role, server.position",
            &[],
        )
        .await?;
    let mut shards: Vec<Shard> = Vec::new();
    for row in rows {
        let id = shard_id(column(&row, 0)?);
        let port = u16::try_from(column::<i32>(&row, 4)?)
            .map_err(|_| Error::corrupt("a port beyond 65535"))?;
        let server = Server {
            host: column(&row, 3)?,
            port,
            dbname: column(&row, 5)?,
        };
        let is_primary: bool = column(&row, 2)?;
        match shards.last_mut() {
            Some(shard) if shard.id == id => shard.replicas.push(server),
            _ if is_primary => shards.push(Shard {
                id,
                name: column(&row, 1)?,
                primary: server,
                replicas: Vec::new(),
            }),
            _ => return Err(Error::corrupt(format!("shard {id} without a primary"))),
        }
    }
    Ok(shards)
}

async fn groups(home: &Connection) -> Result<Vec<Group>, Error> {
    let mut placements: BTreeMap<i32, Vec<PlacementRow>> = BTreeMap::new();
    let rows = home
        .query(
            "SELECT colocation_group, start_point, lower_bound, upper_bound, value, shard \
               FROM pgweave.placement ORDER BY colocation_group, position",
            &[],
        )
        .await?;
    for row in rows {
        placements
            .entry(column(&row, 0)?)
            .or_default()
            .push(PlacementRow {
                start_point: column(&row, 1)?,
                lower_bound: column(&row, 2)?,
                upper_bound: column(&row, 3)?,
                value: column(&row, 4)?,
                shard: shard_id(column(&row, 5)?),
            });
    }
    let mut groups = Vec::new();
    for row in home
        .query(
            "SELECT id, method, key_types FROM pgweave.colocation_group ORDER BY id",
            &[],
        )
        .await?
    {
        let id: i32 = column(&row, 0)?;
        let mut types = Vec::new();
        for name in column::<Vec<String>>(&row, 2)? {
            types.push(
                KeyType::from_name(&name)
                    .ok_or_else(|| Error::corrupt(format!("the key type {name:?}")))?,
            );
        }
        let rows = placements.remove(&id).unwrap_or_default();
        let map = read_map(column(&row, 1)?, &types, &rows)?;
        groups.push(Group {
            id: GroupId(id.unsigned_abs()),
            types,
            map,
        });
    }
    Ok(groups)
}

/// A row of `pgweave.relation`.
struct Listed {
    id: TableId,
    schema: String,
    name: String,
    kind: TableKind,
}

async fn listed(home: &Connection, groups: &[Group]) -> Result<Vec<Listed>, Error> {
    let rows = home
        .query("SELECT id, schema_name, table_name, kind, key_columns, colocation_group, shard FROM pgweave.relation ORDER BY id", &[])
        .await?;
    rows.iter()
        .map(|row| {
            let kind = match column(row, 3)? {
                "reference" => TableKind::Reference,
                "unsharded" => TableKind::Unsharded {
                    shard: shard_id(column(row, 6)?),
                },
                _ => {
                    let id = GroupId(column::<i32>(row, 5)?.unsigned_abs());
                    let group = groups.iter().find(|group| group.id == id);
                    let types = group
                        .map(|group| group.types.as_slice())
                        .unwrap_or_default();
                    let names: Vec<String> = column(row, 4)?;
                    // The group's types stand in until the columns are known: integers of other widths may share it.
                    let key = names
                        .into_iter()
                        .zip(types)
                        .map(|(name, key_type)| KeyColumn {
                            name,
                            key_type: *key_type,
                        });
                    TableKind::Sharded {
                        group: id,
                        key: key.collect(),
                    }
                }
            };
            Ok(Listed {
                id: TableId(column::<i32>(row, 0)?.unsigned_abs()),
                schema: column(row, 1)?,
                name: column(row, 2)?,
                kind,
            })
        })
        .collect()
}

async fn auto_shard(home: &Connection) -> Result<Vec<AutoShard>, Error> {
    let rows = home
        .query(
            "SELECT column_name, colocation_group FROM pgweave.auto_shard ORDER BY column_name",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let group = column::<Option<i32>>(row, 1)?.map(|id| GroupId(id.unsigned_abs()));
            Ok(AutoShard {
                column: column(row, 0)?,
                group,
            })
        })
        .collect()
}

/// What the default shard's system catalogs say.
struct Found {
    shard: ShardId,
    tables: Vec<ShardTable>,
    views: Vec<catalog::View>,
    functions: Vec<functions::FunctionSource>,
    sequences: Vec<catalog::Sequence>,
    schemas: Vec<String>,
}

impl Found {
    async fn read(connection: &Connection, shard: ShardId) -> Result<Found, Error> {
        let mut functions = relations::function_sources(connection).await?;
        functions.extend(relations::attached_sources(connection).await?);
        Ok(Found {
            shard,
            tables: relations::tables(connection, None).await?,
            views: relations::views(connection).await?,
            functions,
            sequences: relations::sequences(connection).await?,
            schemas: relations::schemas(connection).await?,
        })
    }
}

/// Any server of a shard: definitions are the same on its replicas, a moment later.
async fn reach(connector: &Connector, shard: &Shard) -> Result<Connection, Error> {
    let mut first_error = None;
    for server in std::iter::once(&shard.primary).chain(&shard.replicas) {
        match connector.connect(server).await {
            Ok(connection) => return Ok(connection),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error
        .unwrap_or_else(|| Error::corrupt(format!("shard {} without servers", shard.name))))
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

    let mut elsewhere: BTreeMap<ShardId, Vec<(String, String)>> = BTreeMap::new();
    for table in &listed {
        if let Some(shard) = look_up_on(table, groups, found.shard) {
            columns.remove(&(table.schema.clone(), table.name.clone()));
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
            Ok(connection) => relations::tables(&connection, Some(&names)).await,
            Err(error) => Err(error),
        };
        match there {
            Ok(tables) => columns.extend(
                tables
                    .into_iter()
                    .map(|table| ((table.schema, table.name), table.columns)),
            ),
            Err(error) => {
                for (schema, name) in names {
                    let known = last
                        .and_then(|last| last.table(&schema, &name))
                        .map(|table| table.columns.clone());
                    let Some(known) = known else {
                        return Err(error);
                    };
                    tracing::warn!(shard = %shard.name, %error, "columns of {schema}.{name} cannot be read; the last known ones stay");
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
                not_null: true,
                has_default: false,
                default_expression: None,
            }),
        }
    }
    (TableKind::Sharded { group, key }, columns)
}
