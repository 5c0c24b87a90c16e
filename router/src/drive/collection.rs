//! Deletes the decisions of transactions over several shards that nobody can need any more.
//!
//! Entry points: [`watch`] runs passes on a schedule, [`pass`] is one of them. Which rows may go, and why, is
//! `txn::collection`; in short: a `commit` row when none of its participants is prepared any more, an `abort` row when no
//! transaction that is older than it is open on its shard, so that the coordinator it stops is gone; both after [`RETENTION_MS`] by the
//! clock of the server that holds the row, and only where every shard concerned has answered. Both conditions stay true
//! once they are, so any number of routers may do this at once.
//!
//! What the machine cannot know is whether the servers it listed are the ones in force: a router that missed a failover
//! would list a primary that was. So nothing is deleted unless the catalog's home still has the epoch of the
//! snapshot that the pass went by, after all lists have been made.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, ShardId};
use tokio::time::sleep;
use txn::collection::{Action, Collection, Input, RETENTION_MS_MINIMUM, Report};
use txn::decision::{Decision, DecisionRow};
use txn::{Gid, sql};

use super::recovery::{PATIENCE, bounded, connect, everywhere, list};
use crate::store::{Error, Store, connection::truth};

/// How long a decision stays at least: an hour, so that a replica that takes over and had not yet heard of a COMMIT PREPARED,
/// or a person who looks for an outcome, still finds it. A row takes about 200 bytes.
pub const RETENTION_MS: u64 = 60 * 60 * 1000;
/// Between two rounds over all decisions.
const INTERVAL: Duration = Duration::from_secs(60);
/// Between two passes of one round.
const PAUSE: Duration = Duration::from_secs(1);
/// Decisions of one shard that one pass looks at: with [`PAUSE`], the rate up to which collection keeps pace.
const BATCH: u32 = 5_000;

/// A commit waits for four things in turn (`super::recovery::deadline`), and nothing may be forgotten that it still asks for.
const LONGEST_COMMIT_MS: u64 = 4 * PATIENCE.as_millis() as u64;
const _: () = assert!(RETENTION_MS >= RETENTION_MS_MINIMUM && RETENTION_MS > 3 * LONGEST_COMMIT_MS);

/// How far a round has come: the name of the row seen last, for each shard that may have more.
pub type Places = BTreeMap<ShardId, String>;

/// Runs passes until dropped.
pub async fn watch(store: Arc<Store>) {
    let mut places = Places::new();
    loop {
        let report = pass(&store, &mut places).await;
        if report.deleted > 0 {
            tracing::debug!(
                deleted = report.deleted,
                kept = report.kept,
                "decisions were collected"
            );
        }
        let round_is_over = places.is_empty();
        sleep(if round_is_over { INTERVAL } else { PAUSE }).await;
    }
}

/// One pass: the next batch of each shard's decisions. A shard whose batch was its last is not in `places` afterwards, and
/// begins anew with the next pass.
pub async fn pass(store: &Store, places: &mut Places) -> Report {
    let catalog = store.snapshot();
    let mut actions = Vec::new();
    let mut inputs = VecDeque::new();
    let mut in_force = None;
    let mut machine = Collection::start(catalog.cluster_id(), everywhere(&catalog), &mut actions);
    loop {
        for action in std::mem::take(&mut actions) {
            match action {
                Action::ListDecisions { shard } => {
                    let place = places.remove(&shard).unwrap_or_default();
                    let batch = bounded(decisions(store, &catalog, shard, &place)).await;
                    let rows = batch.map(|batch| {
                        places.extend(batch.place.map(|place| (shard, place)));
                        batch.rows
                    });
                    inputs.push_back(Input::Decisions { shard, rows });
                }
                Action::ListPrepared { shard } => inputs.push_back(Input::Prepared {
                    shard,
                    rows: bounded(list(store, &catalog, shard)).await,
                }),
                Action::Delete { shard, gids } => {
                    if in_force.is_none() {
                        in_force = bounded(store.is_in_force(catalog.epoch())).await;
                    }
                    let succeeded = in_force == Some(true)
                        && bounded(delete(store, &catalog, shard, &gids))
                            .await
                            .is_some();
                    inputs.push_back(Input::Deleted { shard, succeeded });
                }
                Action::Report(report) => return report,
            }
        }
        // Every action has been answered, so the machine has something to go on with; the deadline ends it otherwise.
        let input = inputs.pop_front().unwrap_or(Input::DeadlinePassed);
        machine = machine.step(input, &mut actions);
    }
}

struct Batch {
    rows: Vec<DecisionRow>,
    /// Where the next batch begins; `None` if this was the last.
    place: Option<String>,
}

async fn decisions(
    store: &Store,
    catalog: &Catalog,
    shard: ShardId,
    place: &str,
) -> Result<Batch, Error> {
    let connection = connect(store, catalog, shard).await?;
    let found = connection
        .rows(&sql::list_decisions(
            catalog.cluster_id(),
            shard,
            RETENTION_MS,
            place,
            BATCH,
        ))
        .await?;
    let place = match found.last().map(Vec::as_slice) {
        Some([Some(gid), ..]) if found.len() >= BATCH as usize => Some(gid.clone()),
        _ => None,
    };
    let rows = found.iter().filter_map(|row| decision(row)).collect();
    Ok(Batch { rows, place })
}

/// `None` for a row that is not of our making; such rows stay.
fn decision(row: &[Option<String>]) -> Option<DecisionRow> {
    let [Some(gid), Some(outcome), Some(participants), _] = row else {
        return None;
    };
    let numbers = participants.strip_prefix('{')?.strip_suffix('}')?;
    let participants = numbers
        .split(',')
        .filter(|number| !number.is_empty())
        .map(|number| number.parse().map(ShardId).ok())
        .collect::<Option<_>>()?;
    Some(DecisionRow {
        gid: Gid::parse(gid)?,
        outcome: Decision::parse(outcome)?,
        participants,
        settled: truth(row, 3),
    })
}

async fn delete(
    store: &Store,
    catalog: &Catalog,
    shard: ShardId,
    gids: &[Gid],
) -> Result<(), Error> {
    let connection = connect(store, catalog, shard).await?;
    connection.batch(&sql::delete_decisions(gids)).await
}
