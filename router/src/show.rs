//! What `SHOW pgweave.…` shows: tables of text about this router and its cluster.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use catalog::{Catalog, TableKind};

use crate::router::Router;

/// Rows of text; `None` is NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
}

/// The columns of `SHOW pgweave.name`.
pub fn columns(name: &str) -> Option<Vec<String>> {
    let names: &[&str] = match name {
        "shards" => &["shard", "primary", "replicas"],
        "servers" => &[
            "shard",
            "server",
            "role",
            "up",
            "lag_bytes",
            "lag_ms",
            "problem",
        ],
        "tables" => &[
            "schema",
            "table",
            "kind",
            "shard_key",
            "colocation_group",
            "shard",
        ],
        "placements" => &["colocation_group", "shard", "placement"],
        "pools" => &[
            "server",
            "role",
            "user",
            "max_size",
            "size",
            "idle",
            "stashed",
            "in_use",
            "waiting",
            "checkouts",
            "waits",
            "waited_ms",
            "connects",
            "failures",
        ],
        "sessions" => &[
            "pid",
            "user",
            "database",
            "client",
            "connected_s",
            "statements",
        ],
        "epoch" => &["epoch"],
        _ => return None,
    };
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

/// `SHOW pgweave.name`; `None` if there is no such thing.
pub fn show(name: &str, router: &Router, catalog: &Catalog) -> Option<Table> {
    let rows = match name {
        "shards" => shards(catalog),
        "servers" => servers(router, catalog),
        "tables" => tables(catalog),
        "placements" => placements(catalog),
        "pools" => pools(router),
        "sessions" => sessions(router),
        "epoch" => vec![vec![Some(catalog.epoch().to_string())]],
        _ => return None,
    };
    Some(Table {
        columns: columns(name)?,
        rows,
    })
}

fn shards(catalog: &Catalog) -> Vec<Vec<Option<String>>> {
    let row = |shard: &catalog::Shard| {
        let replicas: Vec<String> = shard.replicas.iter().map(ToString::to_string).collect();
        vec![
            Some(shard.name.clone()),
            Some(shard.primary.to_string()),
            Some(replicas.join(", ")),
        ]
    };
    catalog.shards().iter().map(row).collect()
}

fn servers(router: &Router, catalog: &Catalog) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    for shard in catalog.shards() {
        let primary = std::iter::once((&shard.primary, "primary"));
        for (server, role) in primary.chain(shard.replicas.iter().map(|server| (server, "replica")))
        {
            let health = router.health.of(server);
            let health = health.as_ref();
            rows.push(vec![
                Some(shard.name.clone()),
                Some(server.to_string()),
                Some(role.to_owned()),
                health.map(|health| if health.up { "yes" } else { "no" }.to_owned()),
                health
                    .and_then(|health| health.lag_bytes)
                    .map(|bytes| bytes.to_string()),
                health
                    .and_then(|health| health.lag_ms)
                    .map(|ms| ms.to_string()),
                health.and_then(|health| health.problem.clone()),
            ]);
        }
    }
    rows
}

fn tables(catalog: &Catalog) -> Vec<Vec<Option<String>>> {
    let mut rows: Vec<_> = catalog
        .tables()
        .iter()
        .map(|table| {
            let (kind, key, group, shard) = match &table.kind {
                TableKind::Sharded { group, key } => {
                    let columns: Vec<&str> =
                        key.iter().map(|column| column.name.as_str()).collect();
                    (
                        "sharded",
                        Some(columns.join(", ")),
                        Some(group.to_string()),
                        None,
                    )
                }
                TableKind::Reference => ("reference", None, None, None),
                TableKind::Unsharded { shard } => (
                    "unsharded",
                    None,
                    None,
                    catalog.shard(*shard).map(|shard| shard.name.clone()),
                ),
            };
            vec![
                Some(table.schema.clone()),
                Some(table.name.clone()),
                Some(kind.to_owned()),
                key,
                group,
                shard,
            ]
        })
        .collect();
    rows.sort();
    rows
}

fn placements(catalog: &Catalog) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    for group in catalog.groups() {
        for placement in group.map.placements() {
            let shard = catalog
                .shard(placement.shard)
                .map(|shard| shard.name.clone());
            rows.push(vec![
                Some(group.id.to_string()),
                shard,
                Some(placement.to_string()),
            ]);
        }
    }
    rows
}

fn pools(router: &Router) -> Vec<Vec<Option<String>>> {
    router
        .pools
        .status()
        .into_iter()
        .map(|pool| {
            vec![
                Some(pool.server.to_string()),
                Some(if pool.replica { "replica" } else { "primary" }.to_owned()),
                Some(pool.user),
                Some(pool.max_size.to_string()),
                Some(pool.size.to_string()),
                Some(pool.idle.to_string()),
                Some(pool.stashed.to_string()),
                Some(pool.in_use.to_string()),
                Some(pool.waiting.to_string()),
                Some(pool.checkouts.to_string()),
                Some(pool.waits.to_string()),
                Some(pool.waited.as_millis().to_string()),
                Some(pool.connects.to_string()),
                Some(pool.failures.to_string()),
            ]
        })
        .collect()
}

fn sessions(router: &Router) -> Vec<Vec<Option<String>>> {
    let now = SystemTime::now();
    router
        .sessions
        .list()
        .iter()
        .map(|session| {
            let connected = now.duration_since(session.started).unwrap_or_default();
            vec![
                Some(session.process_id.to_string()),
                Some(session.user.clone()),
                Some(session.database.clone()),
                Some(session.address.clone()),
                Some(connected.as_secs().to_string()),
                Some(session.statements.load(Ordering::Relaxed).to_string()),
            ]
        })
        .collect()
}
