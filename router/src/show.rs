//! What `SHOW pgweave.…` shows: tables of text about this router and its cluster.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use catalog::{Catalog, TableKind};

use crate::cancel::SessionHandle;
use crate::drive::doubt;
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
        "transactions" => &[
            "session", "user", "client", "began", "age_ms", "shards", "state", "gid",
        ],
        "in_doubt" => &[
            "gid",
            "shard",
            "owner",
            "age_ms",
            "coordinating_shard",
            "decision",
            "problem",
        ],
        "counters" => &["counter", "value"],
        "epoch" => &["epoch"],
        _ => return None,
    };
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

/// `SHOW pgweave.name`; `None` if there is no such thing.
pub async fn show(name: &str, router: &Router, catalog: &Catalog) -> Option<Table> {
    let rows = match name {
        "shards" => shards(catalog),
        "servers" => servers(router, catalog),
        "tables" => tables(catalog),
        "placements" => placements(catalog),
        "pools" => pools(router),
        "sessions" => sessions(router),
        "transactions" => transactions(router, catalog),
        "in_doubt" => in_doubt(router, catalog).await,
        "counters" => counters(router),
        "epoch" => vec![vec![Some(catalog.epoch().to_string())]],
        _ => return None,
    };
    Some(Table {
        columns: columns(name)?,
        rows,
    })
}

/// The open transactions of this router's sessions that have come to several shards.
fn transactions(router: &Router, catalog: &Catalog) -> Vec<Vec<Option<String>>> {
    let now = SystemTime::now();
    let row = |session: &std::sync::Arc<SessionHandle>| {
        let gid = session.committing();
        let mut shards = Vec::new();
        for target in session.connections() {
            let mut known = catalog.shards().iter();
            if let Some(shard) = known.find(|shard| shard.primary == *target.server())
                && !shards.contains(&shard.name.as_str())
            {
                shards.push(shard.name.as_str());
            }
        }
        if shards.len() < 2 && gid.is_none() {
            return None;
        }
        let began = session.block_began();
        let age = began.map(|began| now.duration_since(began).unwrap_or_default());
        let state = match gid {
            Some(_) => "committing",
            None if session.moment().is_busy() => "active",
            None => "idle in transaction",
        };
        Some(vec![
            Some(session.process_id.to_string()),
            Some(session.user.clone()),
            Some(session.address.clone()),
            began.map(utc),
            age.map(|age| age.as_millis().to_string()),
            Some(shards.join(", ")),
            Some(state.to_owned()),
            gid.map(|gid| gid.to_string()),
        ])
    };
    router.sessions.list().iter().filter_map(row).collect()
}

/// What is prepared on any shard and belongs to this cluster.
async fn in_doubt(router: &Router, catalog: &Catalog) -> Vec<Vec<Option<String>>> {
    let shards = doubt::prepared(&router.store).await;
    let mut rows = Vec::new();
    for (shard, found) in shards {
        let shard = doubt::shard_name(catalog, shard);
        let Some(found) = found else {
            let mut row = vec![None; 7];
            row[1] = Some(shard);
            row[6] = Some("the shard does not answer".to_owned());
            rows.push(row);
            continue;
        };
        rows.extend(found.into_iter().map(|one| {
            let (decision, problem) = match one.decision {
                doubt::Known::Decided(decision) => (Some(decision.as_str().to_owned()), None),
                doubt::Known::Nothing => (None, None),
                doubt::Known::NoAnswer => {
                    let problem = "the coordinating shard does not answer";
                    (None, Some(problem.to_owned()))
                }
            };
            vec![
                Some(one.gid.gid.to_string()),
                Some(shard.clone()),
                Some(one.owner),
                Some(one.age_ms.to_string()),
                Some(doubt::shard_name(catalog, one.gid.gid.coordinating)),
                decision,
                problem,
            ]
        }));
    }
    rows
}

fn counters(router: &Router) -> Vec<Vec<Option<String>>> {
    let counters = [
        ("deadlocks", &router.counters.deadlocks),
        ("long_in_doubt", &router.counters.long_in_doubt),
        ("snapshots", &router.counters.snapshots),
        ("snapshot_retakes", &router.counters.snapshot_retakes),
        ("snapshot_gates", &router.counters.snapshot_gates),
    ];
    let row = |(name, value): (&str, &std::sync::atomic::AtomicU64)| {
        vec![
            Some(name.to_owned()),
            Some(value.load(Ordering::Relaxed).to_string()),
        ]
    };
    counters.into_iter().map(row).collect()
}

/// A moment as `2026-01-31 23:59:59Z`. By Howard Hinnant's `civil_from_days`.
fn utc(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.unwrap_or_default().as_secs();
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02}Z",
        second % 60
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let check = |seconds, text: &str| {
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            assert_eq!(utc(time), text);
        };
        check(0, "1970-01-01 00:00:00Z");
        check(951_782_399, "2000-02-28 23:59:59Z");
        check(951_782_400, "2000-02-29 00:00:00Z");
        check(1_767_225_599, "2025-12-31 23:59:59Z");
    }
}
