//! The home's own tables, as rows become parts of a catalog.
//!
//! Entry points: [`heading`], [`shards`], [`groups`], [`listed`], [`auto_shard`]; to be called in one repeatable-read transaction.

use std::collections::BTreeMap;

use catalog::{
    AutoShard, ClusterId, Epoch, Group, GroupId, KeyColumn, KeyType, Server, Shard, ShardId,
    TableId, TableKind,
};

use super::connection::{Connection, column};
use super::error::Error;
use super::map_rows::{PlacementRow, read_map};

/// The meaning of the home's tables that this router knows.
pub const FORMAT: i32 = 1;

/// The row of `pgweave.cluster`.
pub(super) struct Heading {
    pub cluster: ClusterId,
    pub epoch: Epoch,
    pub default_shard: Option<ShardId>,
    pub home_shard: Option<ShardId>,
}

pub(super) async fn heading(home: &Connection) -> Result<Heading, Error> {
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

pub(super) async fn shards(home: &Connection) -> Result<Vec<Shard>, Error> {
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

pub(super) async fn groups(home: &Connection) -> Result<Vec<Group>, Error> {
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
pub(super) struct Listed {
    pub id: TableId,
    pub schema: String,
    pub name: String,
    pub kind: TableKind,
}

pub(super) async fn listed(home: &Connection, groups: &[Group]) -> Result<Vec<Listed>, Error> {
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

pub(super) async fn auto_shard(home: &Connection) -> Result<Vec<AutoShard>, Error> {
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
