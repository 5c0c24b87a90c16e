//! Making a cluster out of databases: `pgweave init`.
//!
//! Entry point: [`init()`]. Invariants: running it again with the same request changes nothing; stopped anywhere, the next run
//! goes on; no database ever becomes two shards, or a shard of two clusters, since each keeps a record of what
//! it is (`pgweave.member`) that is compared before anything is registered.

use catalog::{ClusterId, Server};

use super::connection::{Connection, Connector, column};
use super::error::Error;
use super::home::{Settings, Store};
use super::home_rows::FORMAT;
use super::migrate;

/// What `pgweave.toml` says of the cluster.
#[derive(Clone)]
pub struct InitRequest {
    pub connector: Connector,
    /// The database that holds the catalog; usually the first shard's.
    pub home: Server,
    pub shards: Vec<ShardRequest>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRequest {
    pub name: String,
    pub primary: Server,
    pub replicas: Vec<Server>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub cluster: ClusterId,
    /// One line for each thing that changed; none if all was there already.
    pub actions: Vec<String>,
}

/// Creates the catalog and registers the shards.
///
/// # Errors
/// [`Error::Conflict`] if a shard or a database is already registered as something else.
pub async fn init(request: &InitRequest) -> Result<Report, Error> {
    refuse_twins(request)?;
    let mut actions = Vec::new();
    let home = request.connector.connect(&request.home).await?;
    let applied = migrate::shard_side(&home).await? + migrate::home(&home).await?;
    if applied > 0 {
        actions.push(format!(
            "created the catalog's schema on {} ({applied} migrations)",
            request.home
        ));
    }
    let cluster = cluster(&home, &mut actions).await?;
    for shard in &request.shards {
        register(request, &home, cluster, shard, &mut actions).await?;
    }
    settle_home(&home, &mut actions).await?;
    if !actions.is_empty() {
        // Also proves that the catalog can be read, and tells running routers of what is new.
        let store = Store::connect(Settings::new(
            request.home.clone(),
            request.connector.clone(),
        ))
        .await?;
        store.change(None, async |_| Ok::<_, Error>(())).await?;
    }
    Ok(Report { cluster, actions })
}

/// Two shards of one request with one name or one address.
fn refuse_twins(request: &InitRequest) -> Result<(), Error> {
    let mut seen: Vec<(&str, &Server)> = Vec::new();
    for shard in &request.shards {
        for server in std::iter::once(&shard.primary).chain(&shard.replicas) {
            if let Some((other, _)) = seen.iter().find(|(_, known)| *known == server) {
                return Err(Error::Conflict {
                    what: format!("server {server}"),
                    existing: format!("a server of shard {other}"),
                    wanted: format!("a server of shard {}", shard.name),
                });
            }
            seen.push((&shard.name, server));
        }
        let twin = request
            .shards
            .iter()
            .find(|other| other.name == shard.name && other.primary != shard.primary);
        if let Some(twin) = twin {
            return Err(Error::Conflict {
                what: format!("shard {}", shard.name),
                existing: shard.primary.to_string(),
                wanted: twin.primary.to_string(),
            });
        }
    }
    Ok(())
}

async fn cluster(home: &Connection, actions: &mut Vec<String>) -> Result<ClusterId, Error> {
    let made = home
        .execute(
            "INSERT INTO pgweave.cluster (id, format, epoch) VALUES (gen_random_uuid(), $1, 1) ON CONFLICT DO NOTHING",
            &[&FORMAT],
        )
        .await?;
    let row = home
        .query_one("SELECT uuid_send(id) FROM pgweave.cluster", &[])
        .await?;
    let id: Vec<u8> = column(&row, 0)?;
    let cluster = ClusterId(
        id.try_into()
            .map_err(|_| Error::corrupt("a cluster id that is no uuid"))?,
    );
    if made > 0 {
        actions.push(format!("created cluster {cluster}"));
    }
    Ok(cluster)
}

/// What a database says that it is.
struct Member {
    cluster: String,
    shard: i32,
    name: String,
}

async fn member(connection: &Connection) -> Result<Option<Member>, Error> {
    let row = connection
        .query_opt(
            "SELECT replace(cluster::text, '-', ''), shard, name FROM pgweave.member",
            &[],
        )
        .await?;
    row.map(|row| {
        Ok(Member {
            cluster: column(&row, 0)?,
            shard: column(&row, 1)?,
            name: column(&row, 2)?,
        })
    })
    .transpose()
}

async fn register(
    request: &InitRequest,
    home: &Connection,
    cluster: ClusterId,
    shard: &ShardRequest,
    actions: &mut Vec<String>,
) -> Result<(), Error> {
    let connection = request.connector.connect(&shard.primary).await?;
    let applied = migrate::shard_side(&connection).await?;
    if applied > 0 {
        actions.push(format!(
            "created schema pgweave on {} ({applied} migrations)",
            shard.primary
        ));
    }
    let is = member(&connection).await?;
    if let Some(is) = &is
        && (is.cluster != cluster.to_string() || is.name != shard.name)
    {
        return Err(Error::Conflict {
            what: format!("database {}", shard.primary),
            existing: format!("shard {} of cluster {}", is.name, is.cluster),
            wanted: format!("shard {} of cluster {cluster}", shard.name),
        });
    }
    let id = match known(home, &shard.name).await? {
        Some((id, primary)) => {
            if primary != shard.primary {
                let proven = is.as_ref().is_some_and(|is| is.shard == id);
                relocate(request, home, shard, id, &primary, proven, actions).await?;
            }
            id
        }
        None => add_shard(home, shard, actions).await?,
    };
    if is.is_none() {
        connection
            .execute(
                "INSERT INTO pgweave.member (cluster, shard, name) VALUES ($1::text::uuid, $2, $3)",
                &[&cluster.to_string(), &id, &shard.name],
            )
            .await?;
        actions.push(format!("marked {} as shard {}", shard.primary, shard.name));
    }
    add_replicas(home, shard, id, actions).await
}

/// A registered shard's id and primary.
async fn known(home: &Connection, name: &str) -> Result<Option<(i32, Server)>, Error> {
    let row = home
        .query_opt(
            "SELECT shard.id, server.host, server.port, server.dbname \
               FROM pgweave.shard JOIN pgweave.server ON server.shard = shard.id AND server.role = 'primary' \
              WHERE shard.name = $1",
            &[&name],
        )
        .await?;
    row.map(|row| {
        let port = u16::try_from(column::<i32>(&row, 2)?)
            .map_err(|_| Error::corrupt("a port beyond 65535"))?;
        Ok((
            column(&row, 0)?,
            Server {
                host: column(&row, 1)?,
                port,
                dbname: column(&row, 3)?,
            },
        ))
    })
    .transpose()
}

/// A shard's primary has another address than registered: taken over only if the database there is that very shard,
/// and the old address does not serve it for writing any more.
async fn relocate(
    request: &InitRequest,
    home: &Connection,
    shard: &ShardRequest,
    id: i32,
    registered: &Server,
    proven: bool,
    actions: &mut Vec<String>,
) -> Result<(), Error> {
    let conflict = || Error::Conflict {
        what: format!("shard {}", shard.name),
        existing: registered.to_string(),
        wanted: shard.primary.to_string(),
    };
    if !proven || still_primary(&request.connector, registered, &shard.name).await {
        return Err(conflict());
    }
    home.batch("BEGIN").await?;
    home.execute(
        "DELETE FROM pgweave.server WHERE shard = $1 AND (role = 'primary' OR (host, port, dbname) = ($2, $3, $4))",
        &[&id, &shard.primary.host, &i32::from(shard.primary.port), &shard.primary.dbname],
    )
    .await?;
    add_server(home, id, "primary", 0, &shard.primary).await?;
    home.batch("COMMIT").await?;
    actions.push(format!(
        "moved the primary of shard {} from {registered} to {}",
        shard.name, shard.primary
    ));
    Ok(())
}

async fn still_primary(connector: &Connector, server: &Server, name: &str) -> bool {
    let Ok(connection) = connector.connect(server).await else {
        return false;
    };
    let is_it = "SELECT 1 FROM pgweave.member WHERE name = $1 AND NOT pg_is_in_recovery()";
    matches!(connection.query_opt(is_it, &[&name]).await, Ok(Some(_)))
}

async fn add_shard(
    home: &Connection,
    shard: &ShardRequest,
    actions: &mut Vec<String>,
) -> Result<i32, Error> {
    home.batch("BEGIN; LOCK TABLE pgweave.shard IN EXCLUSIVE MODE")
        .await?;
    let row = home
        .query_one(
            "INSERT INTO pgweave.shard (id, name) SELECT coalesce(max(id), 0) + 1, $1 FROM pgweave.shard RETURNING id",
            &[&shard.name],
        )
        .await?;
    let id: i32 = column(&row, 0)?;
    add_server(home, id, "primary", 0, &shard.primary).await?;
    home.batch("COMMIT").await?;
    actions.push(format!(
        "registered shard {} on {}",
        shard.name, shard.primary
    ));
    Ok(id)
}

async fn add_server(
    home: &Connection,
    shard: i32,
    role: &str,
    position: i32,
    server: &Server,
) -> Result<(), Error> {
    home.execute(
        "INSERT INTO pgweave.server (host, port, dbname, shard, role, position) VALUES ($1, $2, $3, $4, $5, $6)",
        &[&server.host, &i32::from(server.port), &server.dbname, &shard, &role, &position],
    )
    .await?;
    Ok(())
}

async fn add_replicas(
    home: &Connection,
    shard: &ShardRequest,
    id: i32,
    actions: &mut Vec<String>,
) -> Result<(), Error> {
    for (position, replica) in (1i32..).zip(&shard.replicas) {
        let row = home
            .query_opt(
                "SELECT server.shard, shard.name, server.role FROM pgweave.server JOIN pgweave.shard ON shard.id = server.shard \
                  WHERE (host, port, dbname) = ($1, $2, $3)",
                &[&replica.host, &i32::from(replica.port), &replica.dbname],
            )
            .await?;
        match row {
            Some(row) if column::<i32>(&row, 0)? == id => {}
            Some(row) => {
                return Err(Error::Conflict {
                    what: format!("server {replica}"),
                    existing: format!(
                        "a {} of shard {}",
                        column::<&str>(&row, 2)?,
                        column::<&str>(&row, 1)?
                    ),
                    wanted: format!("a replica of shard {}", shard.name),
                });
            }
            None => {
                add_server(home, id, "replica", position, replica).await?;
                actions.push(format!(
                    "registered replica {replica} of shard {}",
                    shard.name
                ));
            }
        }
    }
    Ok(())
}

/// The first shard is the default one; the home is a shard if its database says so.
async fn settle_home(home: &Connection, actions: &mut Vec<String>) -> Result<(), Error> {
    let changed = home
        .execute(
            "UPDATE pgweave.cluster \
                SET default_shard = coalesce(default_shard, (SELECT min(id) FROM pgweave.shard)), \
                    home_shard = (SELECT shard FROM pgweave.member) \
              WHERE (default_shard, home_shard) IS DISTINCT FROM \
                    (coalesce(default_shard, (SELECT min(id) FROM pgweave.shard)), (SELECT shard FROM pgweave.member))",
            &[],
        )
        .await?;
    if changed > 0 {
        actions.push("set the default shard and the catalog's home".to_owned());
    }
    Ok(())
}
