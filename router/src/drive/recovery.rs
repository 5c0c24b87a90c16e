//! Finishes prepared transactions whose coordinator is gone.
//!
//! [`watch`] runs passes of the machine in `txn::recovery`: at start, on a schedule, and when a session has left one
//! behind. Any number of routers may do so at once. [`resolve`] asks how one transaction was decided.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use catalog::{Catalog, ShardId};
use tokio::time::{Instant, sleep, timeout};
use txn::decision::Decision;
use txn::outcome::{Completion, ServerError};
use txn::recovery::{Action, Input, PreparedRow, Recovery, Report, Scan};
use txn::{Gid, ParticipantGid, sql};

use crate::router::Router;
use crate::store::{Connection, Error, HOME, Store};

/// Between two passes, whatever the configuration says.
const PAUSE_LEAST: Duration = Duration::from_millis(100);
/// How long a decision may wait for a commit in flight.
const LOCK_TIMEOUT_MS: u32 = 2_000;
/// Longer than any step of a pass takes on a healthy server.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks whether a transaction is finished.
const FINISH_POLL: Duration = Duration::from_millis(100);

/// Runs passes until dropped.
pub async fn watch(router: Arc<Router>) {
    // Without a pause between them, passes would do nothing else.
    let interval = router
        .config
        .transactions
        .recovery_interval
        .max(PAUSE_LEAST);
    let mut long = BTreeSet::new();
    loop {
        let urgent = router.take_left_behind();
        let report = pass(&router.store, urgent, interval / 2).await;
        log(&report);
        long = warn(&router, &report, &long);
        tokio::select! {
            () = sleep(interval) => {}
            () = router.recovery_wanted.notified() => {
                // What was left behind may be on a server that is just restarting.
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// One pass over all shards. Transactions prepared for less than `grace` are left to their coordinators, but for the urgent ones.
pub async fn pass(store: &Store, urgent: BTreeSet<Gid>, grace: Duration) -> Report {
    let catalog = store.snapshot();
    let scan = Scan {
        cluster: catalog.cluster_id(),
        shards: everywhere(&catalog),
        grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
        urgent,
    };
    let mut actions = Vec::new();
    let mut inputs = std::collections::VecDeque::new();
    let mut machine = Recovery::start(scan, &mut actions);
    loop {
        for action in std::mem::take(&mut actions) {
            match action {
                Action::List { shard } => inputs.push_back(Input::Listed {
                    shard,
                    rows: bounded(list(store, &catalog, shard)).await,
                }),
                Action::Decide { gid } => inputs.push_back(Input::Decided {
                    gid,
                    decision: resolve(store, gid).await,
                }),
                Action::Finish {
                    gid,
                    owner,
                    decision,
                } => inputs.push_back(Input::Finished {
                    gid,
                    completion: finish(store, &catalog, gid, &owner, decision).await,
                }),
                Action::Report(report) => return report,
            }
        }
        // Every action has been answered, so the machine has something to go on with; the deadline ends it otherwise.
        let input = inputs.pop_front().unwrap_or(Input::DeadlinePassed);
        machine = machine.step(input, &mut actions);
    }
}

/// How a transaction was decided; decides for abort if nothing was. `None`: the coordinating shard gives no answer now.
pub async fn resolve(store: &Store, gid: Gid) -> Option<Decision> {
    let catalog = store.snapshot();
    bounded(async {
        let connection = connect(store, &catalog, gid.coordinating).await?;
        let rows = connection
            .rows(&sql::decide_abort(gid, LOCK_TIMEOUT_MS))
            .await?;
        let decision = rows
            .iter()
            .filter_map(|row| row.first().cloned().flatten())
            .find_map(|text| Decision::parse(&text));
        Ok(decision)
    })
    .await
    .flatten()
}

/// Waits until the server does not hold this prepared transaction any more. False if it still does when `patience` ends,
/// or cannot be asked.
pub async fn is_finished(
    router: &Router,
    server: &catalog::Server,
    gid: ParticipantGid,
    patience: Duration,
) -> bool {
    let gone = async {
        loop {
            if !is_prepared(router, server, gid).await? {
                return Ok::<_, Error>(());
            }
            router.recovery_wanted.notify_one();
            sleep(FINISH_POLL).await;
        }
    };
    matches!(timeout(patience, gone).await, Ok(Ok(())))
}

async fn is_prepared(
    router: &Router,
    server: &catalog::Server,
    gid: ParticipantGid,
) -> Result<bool, Error> {
    let connection = router.connector.connect(server).await?;
    let gid = sql::quote_literal(&gid.to_string());
    let rows = connection
        .rows(&format!(
            "SELECT 1 FROM pg_catalog.pg_prepared_xacts WHERE gid = {gid}"
        ))
        .await?;
    Ok(!rows.is_empty())
}

/// The shards, and the catalog's home, which may have coordinated too: changes of schema are decided there.
pub(super) fn everywhere(catalog: &Catalog) -> Vec<ShardId> {
    let shards = catalog.shards().iter().map(|shard| shard.id);
    shards.chain(std::iter::once(HOME)).collect()
}

/// This cluster's transactions that are prepared in the database of a shard's primary.
pub(super) async fn list(
    store: &Store,
    catalog: &Catalog,
    shard: ShardId,
) -> Result<Vec<PreparedRow>, Error> {
    let connection = connect(store, catalog, shard).await?;
    let rows = connection
        .rows(&sql::list_prepared(catalog.cluster_id()))
        .await?;
    let mut prepared = Vec::new();
    for row in rows {
        let [standby, gid, owner, age_ms] = &row[..] else {
            return Err(Error::corrupt(
                "the list of prepared transactions has another shape",
            ));
        };
        if standby.as_deref() != Some("f") {
            return Err(Error::corrupt("the shard's primary is in recovery"));
        }
        if let (Some(gid), Some(owner), Some(age_ms)) = (gid, owner, age_ms) {
            prepared.push(PreparedRow {
                gid: gid.clone(),
                owner: owner.clone(),
                age_ms: age_ms.parse().unwrap_or(0),
            });
        }
    }
    Ok(prepared)
}

pub(super) async fn finish(
    store: &Store,
    catalog: &Catalog,
    gid: ParticipantGid,
    owner: &str,
    decision: Decision,
) -> Completion {
    let work = async {
        let connection = connect(store, catalog, gid.shard).await?;
        if owner != store.settings().connector.user {
            // A superuser may end it as itself; others must become its owner, and may if they are a member.
            if let Err(error) = connection.batch(&sql::set_role(owner)).await {
                tracing::debug!(%error, owner, "recovery cannot become the owner of a prepared transaction");
            }
        }
        connection.batch(&sql::finish_prepared(gid, decision)).await
    };
    match timeout(PATIENCE, work).await {
        Ok(Ok(())) => Completion::Done,
        Ok(Err(error)) if !error.is_connection() => Completion::Failed(ServerError {
            sqlstate: error.sqlstate().as_bytes().try_into().unwrap_or(*b"XX000"),
            fatal: false,
            body: error.to_string().into_bytes().into(),
        }),
        Ok(Err(_)) | Err(_) => Completion::Lost,
    }
}

pub(crate) async fn connect(
    store: &Store,
    catalog: &Catalog,
    shard: ShardId,
) -> Result<Connection, Error> {
    let settings = store.settings();
    let server = catalog
        .shard(shard)
        .map_or(&settings.home, |shard| &shard.primary);
    settings.connector.connect(server).await
}

/// `None` for an error or a wait that is too long; the machine knows what to make of it.
pub(crate) async fn bounded<T>(work: impl Future<Output = Result<T, Error>>) -> Option<T> {
    match timeout(PATIENCE, work).await {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a background pass could not ask a server");
            None
        }
        Err(_) => None,
    }
}

fn log(report: &Report) {
    for gid in &report.committed {
        tracing::info!(%gid, "recovery committed a prepared transaction");
    }
    for gid in &report.rolled_back {
        tracing::info!(%gid, "recovery rolled a prepared transaction back");
    }
}

/// Speaks of what is in doubt for longer than the operator wants, and counts what was not among `before`. Returns those.
fn warn(router: &Router, report: &Report, before: &BTreeSet<String>) -> BTreeSet<String> {
    let limit_ms = router.config.transactions.in_doubt_warning.as_millis();
    let mut long = BTreeSet::new();
    for doubt in &report.in_doubt {
        if u128::from(doubt.age_ms) < limit_ms {
            continue;
        }
        tracing::warn!(gid = %doubt.gid, age_ms = doubt.age_ms, reason = ?doubt.reason, "a prepared transaction is still in doubt");
        let gid = doubt.gid.to_string();
        if !before.contains(&gid) {
            router
                .counters
                .long_in_doubt
                .fetch_add(1, Ordering::Relaxed);
        }
        long.insert(gid);
    }
    long
}

/// The moments at which a commit stops waiting, counted from its start.
pub(super) fn deadline(start: Instant, phase: u32) -> Instant {
    start + PATIENCE * (phase + 1)
}
