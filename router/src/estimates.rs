//! What the servers' statistics say of the tables in the catalog, all shards of a table together.
//!
//! Entry points: [`watch`] reads `pg_class` and `pg_stats` of every shard at each epoch of the catalog and on a schedule; planning asks
//! [`Estimates`]. What a server has not looked at yet (ANALYZE), or does not show to the router's own role, is not known, and a server
//! that does not answer leaves what was known before.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use catalog::{Catalog, ShardId, Table, TableKind};
use planner::{ColumnEstimate, Statistics, TableEstimate};
use tokio::time::{sleep, timeout};

use crate::drive::recovery::{bounded, connect};
use crate::router::Router;
use crate::store::Error;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(60);
/// Epochs that follow one another so fast are looked at together.
const PAUSE: Duration = Duration::from_secs(1);
/// A table that has grown or shrunk by this factor may be planned otherwise.
const MATERIAL: f64 = 2.0;

/// `NOT inherited`: of the rows of a table without those of its partitions, but partitioned tables have no others.
const QUERY: &str = "SELECT n.nspname, c.relname, c.reltuples, s.attname, s.n_distinct, s.null_frac, s.avg_width \
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
      LEFT JOIN pg_catalog.pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.inherited = (c.relkind = 'p') \
     WHERE c.relkind IN ('r', 'p') AND c.reltuples >= 0 \
       AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'pgweave')";

/// By schema and name.
type Tables = HashMap<(String, String), Arc<TableEstimate>>;

/// What is known now. Readers never wait.
#[derive(Default)]
pub struct Estimates {
    tables: ArcSwap<Tables>,
    generation: AtomicU64,
}

impl Statistics for Estimates {
    fn table(&self, schema: &str, name: &str) -> Option<Arc<TableEstimate>> {
        let key = (schema.to_owned(), name.to_owned());
        self.tables.load().get(&key).cloned()
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

impl Estimates {
    fn publish(&self, tables: Tables) {
        let changed = differ(&self.tables.load(), &tables);
        self.tables.store(Arc::new(tables));
        if changed {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Whether plans may be others.
fn differ(before: &Tables, now: &Tables) -> bool {
    let same = |(key, estimate): (&(String, String), &Arc<TableEstimate>)| {
        before.get(key).is_some_and(|before| {
            let (one, other) = (before.rows.max(1.0), estimate.rows.max(1.0));
            one.max(other) < MATERIAL * one.min(other)
                && before.columns.len() == estimate.columns.len()
        })
    };
    before.len() != now.len() || !now.iter().all(same)
}

/// Looks until dropped.
pub async fn watch(router: Arc<Router>) {
    let mut epochs = router.catalog.subscribe();
    loop {
        let catalog = router.catalog.snapshot();
        if let Some(tables) = read(&router, &catalog).await {
            router.estimates.publish(tables);
        }
        match timeout(INTERVAL, epochs.changed()).await {
            Ok(Ok(())) => sleep(PAUSE).await,
            // The sender lives as long as the router.
            Ok(Err(_)) => return,
            Err(_) => {}
        }
        epochs.mark_unchanged();
    }
}

/// `None`: a server has not answered.
async fn read(router: &Router, catalog: &Catalog) -> Option<Tables> {
    // With one shard nothing is planned by it.
    if catalog.shards().len() < 2 {
        return Some(Tables::new());
    }
    let mut parts: HashMap<(String, String), Vec<(ShardId, TableEstimate)>> = HashMap::new();
    for shard in catalog.shards() {
        let rows = bounded(rows_of(router, catalog, shard.id)).await?;
        for row in &rows {
            let Some(found) = Found::of(row) else {
                continue;
            };
            let key = (found.schema.to_owned(), found.table.to_owned());
            let parts = parts.entry(key).or_default();
            if parts.last().is_none_or(|(last, _)| *last != shard.id) {
                let estimate = TableEstimate {
                    rows: found.rows,
                    columns: Vec::new(),
                };
                parts.push((shard.id, estimate));
            }
            if let Some((_, part)) = parts.last_mut() {
                part.columns.extend(found.column);
            }
        }
    }
    let tables = parts.into_iter().filter_map(|(key, parts)| {
        let table = catalog.table(&key.0, &key.1)?;
        Some((key, Arc::new(together(catalog, table, parts)?)))
    });
    Some(tables.collect())
}

async fn rows_of(
    router: &Router,
    catalog: &Catalog,
    shard: ShardId,
) -> Result<Vec<Vec<Option<String>>>, Error> {
    let connection = connect(&router.store, catalog, shard).await?;
    connection.rows(QUERY).await
}

/// A row of [`QUERY`].
struct Found<'r> {
    schema: &'r str,
    table: &'r str,
    rows: f64,
    column: Option<ColumnEstimate>,
}

impl Found<'_> {
    fn of(row: &[Option<String>]) -> Option<Found<'_>> {
        let [
            Some(schema),
            Some(table),
            Some(rows),
            name,
            distinct,
            null_fraction,
            width,
        ] = row
        else {
            return None;
        };
        let rows: f64 = rows.parse().ok()?;
        let number = |text: &Option<String>| text.as_ref()?.parse::<f64>().ok();
        let column = || {
            let distinct = number(distinct)?;
            Some(ColumnEstimate {
                name: name.clone()?,
                // A negative number is a share of the rows, and 0 is not known.
                distinct: match distinct {
                    share if share < 0.0 => -share * rows,
                    0.0 => rows,
                    distinct => distinct,
                },
                null_fraction: number(null_fraction)?,
                width_bytes: number(width)?,
            })
        };
        Some(Found {
            schema,
            table,
            rows,
            column: column(),
        })
    }
}

/// All of a table. `None`: nothing is known of it where it is.
fn together(
    catalog: &Catalog,
    table: &Table,
    mut parts: Vec<(ShardId, TableEstimate)>,
) -> Option<TableEstimate> {
    let TableKind::Sharded { group, key } = &table.kind else {
        // A copy is like the others; what shards other than its own have of that name is not this table.
        if let TableKind::Unsharded { shard } = &table.kind {
            parts.retain(|(of, _)| of == shard);
        }
        return parts.pop().map(|(_, estimate)| estimate);
    };
    let shards = catalog.group(*group)?.map.shards();
    parts.retain(|(of, _)| shards.contains(of));
    if parts.is_empty() {
        return None;
    }
    // Of shards that nobody has analyzed, as much is expected as of the others.
    let scale = shards.len() as f64 / parts.len() as f64;
    let rows: f64 = parts.iter().map(|(_, part)| part.rows).sum::<f64>() * scale;
    let known: f64 = parts.iter().map(|(_, part)| part.rows).sum();
    let mut columns: Vec<ColumnEstimate> = Vec::new();
    for (_, part) in &parts {
        let weight = match known > 0.0 {
            true => part.rows / known,
            false => 1.0 / parts.len() as f64,
        };
        for column in &part.columns {
            // Keys are on one shard each, and what is nearly unique here is so everywhere; other values may be the same.
            let is_apart =
                key.iter().any(|key| key.name == column.name) || column.distinct > 0.5 * part.rows;
            let distinct = match is_apart {
                true => column.distinct * scale,
                false => column.distinct,
            };
            let (nulls, width) = (column.null_fraction * weight, column.width_bytes * weight);
            match columns.iter_mut().find(|known| known.name == column.name) {
                Some(known) => {
                    known.null_fraction += nulls;
                    known.width_bytes += width;
                    known.distinct = match is_apart {
                        true => known.distinct + distinct,
                        false => known.distinct.max(distinct),
                    };
                }
                None => columns.push(ColumnEstimate {
                    name: column.name.clone(),
                    distinct,
                    null_fraction: nulls,
                    width_bytes: width,
                }),
            }
        }
    }
    Some(TableEstimate { rows, columns })
}
