//! Ends deadlocks over shards, which no single server sees.
//!
//! Entry point: [`watch`]. It looks a few times a second whether some session with connections to several shards has been
//! at one and the same work since the look before; that costs no server anything. Only then are servers asked
//! ([`super::waits`]), and `txn::deadlock` says whether there is a deadlock and who is to fail. The victim's statement is
//! cancelled on the server where it waits, and its client gets PostgreSQL's own error, 40P01.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use catalog::Catalog;
use tokio::time::sleep;
use txn::deadlock::{Action, Deadlock, Detector, Process, READINGS, Reading};

use super::waits::{Waiting, Waits};
use crate::cancel::Moment;
use crate::router::Router;
use crate::session::report::Report;

/// Between two looks: a session waits once or twice as long before servers are asked. PostgreSQL waits a second
/// (`deadlock_timeout`) before it looks into one of its own.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Between two readings of one suspicion.
const READING_INTERVAL: Duration = Duration::from_millis(20);

/// Looks until dropped.
pub async fn watch(router: Arc<Router>) {
    let mut seen = HashMap::new();
    let mut waits = Waits::default();
    loop {
        sleep(LOOK_INTERVAL).await;
        seen = look(&router, seen, &mut waits).await;
    }
}

/// What every busy session was at.
type Seen = HashMap<u32, Moment>;

async fn look(router: &Router, before: Seen, waits: &mut Waits) -> Seen {
    let mut seen = Seen::new();
    let mut waiting = Vec::new();
    let catalog = router.store.snapshot();
    let sessions = match router.sessions.with_several_connections() {
        0 => Vec::new(),
        _ => router.sessions.list(),
    };
    for handle in sessions {
        let moment = handle.moment();
        if !moment.is_busy() || !handle.has_several_connections() {
            continue;
        }
        seen.insert(handle.process_id, moment);
        if before.get(&handle.process_id) == Some(&moment) {
            waiting.extend(Waiting::of(handle, moment, &catalog));
        }
    }
    if waiting.is_empty() {
        waits.fall_silent(&router.store).await;
        return seen;
    }
    let mut detector = Detector::default();
    for _ in 0..READINGS {
        let reading = waits.read(&router.store, &catalog, &waiting).await;
        let mut actions = Vec::new();
        detector = detector.step(&reading, &mut actions);
        let mut again = false;
        for action in actions {
            match action {
                Action::ReadAgain => again = true,
                Action::Fail(deadlock) => {
                    fail(router, &catalog, &deadlock, &reading, &waiting, waits).await;
                }
            }
        }
        if !again {
            break;
        }
        sleep(READING_INTERVAL).await;
    }
    seen
}

/// Fails the victim, if it is a session of this router.
async fn fail(
    router: &Router,
    catalog: &Catalog,
    deadlock: &Deadlock,
    reading: &Reading,
    waiting: &[Waiting],
    waits: &Waits,
) {
    let victim = &deadlock.victim;
    if victim.router != router.store.settings().router_id {
        return;
    }
    let mut sessions = waiting.iter();
    let Some(session) = sessions.find(|session| session.handle.process_id == victim.session) else {
        return;
    };
    let Some(wait) = deadlock.waits.first() else {
        return;
    };
    let mut connections = session.connections.iter();
    let Some((_, target)) = connections.find(|(shard, target)| {
        *shard == wait.waiter.shard && target.process_id() == wait.waiter.pid
    }) else {
        return;
    };
    let detail = describe(catalog, deadlock, reading, waits);
    let report = Report::error("40P01", "deadlock detected")
        .detail(detail.clone())
        .hint("Repeat the transaction. Transactions that take their locks in the same order everywhere do not get into deadlocks.");
    if session
        .handle
        .fail_in_deadlock(session.moment, target, report)
        .await
    {
        router.counters.deadlocks.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            session = victim.session,
            detail,
            "a deadlock over shards is ended"
        );
    }
}

/// Who waits for whom, one line for each.
fn describe(catalog: &Catalog, deadlock: &Deadlock, reading: &Reading, waits: &Waits) -> String {
    let name = |process: &Process| {
        let shard = catalog
            .shard(process.shard)
            .map_or_else(|| process.shard.to_string(), |shard| shard.name.clone());
        let mut transactions = reading.transactions.iter();
        let place = format!("process {} on shard {shard}", process.pid);
        match transactions.find(|transaction| transaction.processes.contains(process)) {
            Some(transaction) => format!("{} ({place})", waits.name(&transaction.session)),
            None => place,
        }
    };
    let line = |wait: &txn::deadlock::Wait| {
        let waiter = name(&wait.waiter);
        let (first, rest) = waiter.split_at(1);
        format!(
            "{}{rest} waits for {}; blocked by {}.",
            first.to_uppercase(),
            wait.lock,
            name(&wait.blocker)
        )
    };
    let lines: Vec<String> = deadlock.waits.iter().map(line).collect();
    lines.join("\n")
}
