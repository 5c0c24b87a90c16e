//! A transaction's one view over all shards: `pgweave.consistency = 'snapshot'`.
//!
//! Entry point: [`Session::take_snapshot`], before the first statement of a block. What is asked of whom, and when the views fit
//! together, `txn::snapshot` says; this performs it: snapshots over the session's own links, which stay in the block from here
//! on, everything else over the router's own connections (`drive/snapshot.rs`).
//!
//! All shards take part, because a later statement may need any. A statement outside a block that needs several shards gets a
//! block of the router's own. One that needs a single shard has that server's snapshot anyway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use catalog::{Catalog, ShardId};
use futures_util::future::try_join_all;
use planner::{Isolation, Plan, SessionStatement};
use tokio::time::{Instant, sleep, timeout_at};
use txn::ParticipantGid;
use txn::snapshot::{Action, Effort, Input, Request, Taking, View};

use super::block::Block;
use super::links::Need;
use super::report::{Failure, Report};
use super::settings::Assignment;
use super::{Session, Step};
use crate::config::Consistency;
use crate::drive::snapshot::{Gate, Observer};
use crate::execute::expect::Expect;
use crate::store::Error;
use crate::wire::backend;

/// How long a snapshot may wait for transactions to be finished.
const PATIENCE: Duration = Duration::from_secs(5);
/// What takes longer to be finished has perhaps lost its router.
const HEALTHY: Duration = Duration::from_secs(1);
/// Between two looks whether it is finished: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

const HINT: &str =
    "Repeat the transaction; or SET pgweave.consistency = 'default' to read each shard as it is.";

impl Session {
    /// Whether a statement in the open block must wait for its snapshot first.
    pub(super) fn lacks_snapshot(&self) -> bool {
        self.derived.consistency == Consistency::Snapshot
            && self
                .block
                .as_ref()
                .is_some_and(|block| !block.queried && !block.failed)
    }

    /// A query that several shards answer, outside a block: its shards are read in one transaction, if the session wants one
    /// view of them.
    pub(super) fn open_snapshot_block(&mut self, plan: &Plan) {
        if self.derived.consistency != Consistency::Snapshot || self.block.is_some() {
            return;
        }
        let several =
            |plan: &Plan| matches!(plan, Plan::Scatter(_) | Plan::Gather(_) | Plan::CopyOut(_));
        let reads = match plan {
            Plan::Session(SessionStatement::Declare { hold, plan, .. }) => *hold && several(plan),
            plan => several(plan),
        };
        if reads {
            self.open_block(Block::implicit());
        }
    }

    /// Brings all shards into the block, with snapshots that fit together.
    pub(super) async fn take_snapshot(&mut self, catalog: &Catalog) -> Step {
        self.drain().await?;
        let asked = self.block.as_ref().and_then(|block| block.modes.isolation);
        let mut level = match asked {
            Some(Isolation::Serializable) => Isolation::Serializable,
            None if self.is_serializable_by_default() => Isolation::Serializable,
            _ => Isolation::RepeatableRead,
        };
        let shards: Vec<ShardId> = catalog.shards().iter().map(|shard| shard.id).collect();
        // In one order always, so that two sessions do not each wait for a connection that the other has.
        for &shard in &shards {
            let need = Need {
                no_block: true,
                ..Need::shard(shard, planner::Access::Read)
            };
            self.link_as_it_is(need, catalog).await?;
        }
        self.drain().await?;
        loop {
            if let Some(block) = &mut self.block {
                block.modes.isolation = Some(level);
            }
            let higher = self.fit_snapshots(&shards, catalog).await?;
            // The servers may have a default of their own for this role.
            if !higher || asked.is_some() || level == Isolation::Serializable {
                break;
            }
            level = Isolation::Serializable;
        }
        if let Some(block) = &mut self.block {
            block.snapshot = true;
        }
        Ok(())
    }

    fn is_serializable_by_default(&self) -> bool {
        match self.settings.get("default_transaction_isolation") {
            Some(Assignment::Sql(text) | Assignment::Text(text)) => {
                text.trim_matches('\'').eq_ignore_ascii_case("serializable")
            }
            None => false,
        }
    }

    /// Takes snapshots until they fit. Returns whether a server's default level is SERIALIZABLE.
    async fn fit_snapshots(&mut self, shards: &[ShardId], catalog: &Catalog) -> Step<bool> {
        let deadline = Instant::now() + PATIENCE;
        let observers = match shards {
            [_] => BTreeMap::new(),
            several => self.observers(several, catalog, deadline).await?,
        };
        let cached = observers
            .iter()
            .map(|(shard, observer)| async { Ok::<_, Error>((*shard, observer.horizon().await?)) });
        let horizons: Vec<(ShardId, View)> = self
            .in_time(deadline, try_join_all(cached), catalog)
            .await?;
        let mut actions = Vec::new();
        let mut machine = Taking::start(
            Request {
                shards: shards.to_vec(),
                coordinators: observers.keys().copied().collect(),
                home: catalog.catalog_shard(),
                horizons: horizons.into_iter().collect(),
            },
            &mut actions,
        );
        let mut gate: Option<Gate> = None;
        let mut serializable = false;
        while !machine.is_done() {
            let mut inputs = Vec::new();
            let mut takes = Vec::new();
            let mut reads = Vec::new();
            for action in std::mem::take(&mut actions) {
                match action {
                    Action::Take { shard, .. } => takes.push(shard),
                    Action::ReadDecisions { shard, since, gids } => {
                        if let Some(observer) = observers.get(&shard) {
                            reads.push((shard, observer, since, gids));
                        }
                    }
                    Action::AwaitFinished { parts } => {
                        self.await_finished(&parts, &observers, deadline, catalog)
                            .await?;
                        inputs.push(Input::Finished);
                    }
                    Action::CloseGate => {
                        let ids: Vec<ShardId> = observers.keys().copied().collect();
                        let closing = Gate::close(&self.router.connector, catalog, &ids);
                        gate = self.in_time(deadline, closing, catalog).await?;
                        inputs.push(match gate {
                            Some(_) => Input::GateClosed,
                            None => Input::GateRefused,
                        });
                    }
                    Action::ReadHorizon { .. } | Action::OpenGate | Action::Done(_) => {}
                }
            }
            if !takes.is_empty() {
                for (shard, default, input) in self.take_on_links(&takes, catalog).await? {
                    tracing::trace!(%shard, default, "a snapshot has been taken");
                    serializable |= default.eq_ignore_ascii_case("serializable");
                    inputs.push(input);
                }
            }
            let cluster = catalog.cluster_id();
            let read = reads
                .into_iter()
                .map(|(shard, observer, since, gids)| async move {
                    let rows = observer.decisions(cluster, &since, &gids).await?;
                    Ok::<_, Error>(Input::Decisions { shard, rows })
                });
            inputs.extend(self.in_time(deadline, try_join_all(read), catalog).await?);
            if inputs.is_empty() {
                return Err(
                    Report::error("XX000", "a snapshot over several shards stands still").into(),
                );
            }
            for input in inputs {
                machine = machine.step(input, &mut actions);
            }
        }
        if let Some(gate) = gate {
            gate.open().await;
        }
        for action in actions {
            if let Action::Done(effort) = action {
                self.count_snapshot(effort);
            }
        }
        Ok(serializable)
    }

    fn count_snapshot(&self, effort: Effort) {
        let counters = &self.router.counters;
        counters.snapshots.fetch_add(1, Ordering::Relaxed);
        let retakes = u64::from(effort.retakes);
        counters
            .snapshot_retakes
            .fetch_add(retakes, Ordering::Relaxed);
        let gates = u64::from(effort.gate);
        counters.snapshot_gates.fetch_add(gates, Ordering::Relaxed);
    }

    async fn observers(
        &self,
        shards: &[ShardId],
        catalog: &Catalog,
        deadline: Instant,
    ) -> Step<BTreeMap<ShardId, Arc<Observer>>> {
        let router = &self.router;
        let all = shards.iter().map(|&shard| async move {
            let observer = router.observers.observer(&router.connector, catalog, shard);
            Ok::<_, Error>((shard, observer.await?))
        });
        let all = self.in_time(deadline, try_join_all(all), catalog).await?;
        Ok(all.into_iter().collect())
    }

    /// Lists what is prepared on these shards, begins the block there and takes its snapshot, on all side by side. Gives the default
    /// level of each server too.
    async fn take_on_links(
        &mut self,
        shards: &[ShardId],
        catalog: &Catalog,
    ) -> Step<Vec<(ShardId, String, Input)>> {
        let mut indices = Vec::with_capacity(shards.len());
        for &shard in shards {
            let at = self
                .links
                .iter()
                .position(|link| link.shard == shard && !link.replica);
            indices.push(
                at.ok_or_else(|| Report::error("XX000", "a shard of a snapshot is not linked"))?,
            );
        }
        let opening: Vec<String> = self
            .block
            .as_ref()
            .map(|block| block.opening().collect())
            .unwrap_or_default();
        let list = txn::sql::list_prepared_names(catalog.cluster_id());
        let wanted = self.settings.wanted().clone();
        for &index in &indices {
            let link = &mut self.links[index];
            if link.in_block {
                link.backend.query(b"ROLLBACK");
                link.expects.push_back(Expect::Own);
                if let Some(applied) = link.applied_at_begin.take() {
                    link.backend.set_applied(applied);
                }
            }
            link.captured.clear();
            link.backend.query(list.as_bytes());
            link.expects.push_back(Expect::Captured);
            for sql in &opening {
                link.backend.query(sql.as_bytes());
                link.expects.push_back(Expect::Own);
            }
            link.backend.query(TAKE.as_bytes());
            link.expects.push_back(Expect::Captured);
            link.applied_at_begin = Some(link.backend.applied().clone());
            link.in_block = true;
            link.wrote = false;
            // Whatever comes of it shows when the answer is read.
            if let Err(error) = link.backend.flush().await {
                tracing::debug!(%error, "a link broke before its snapshot was taken");
            }
        }
        // A link that breaks gives its place to the last one: go from the back. All are read, also after a failure, so that none
        // stays in the middle of its answers.
        indices.sort_unstable();
        let mut taken = Vec::with_capacity(indices.len());
        let mut failure = None;
        for &index in indices.iter().rev() {
            let result = match self.exchange(index).await {
                Ok(()) => self.own_error(index),
                failed => failed,
            };
            match result {
                Ok(()) => {
                    let link = &mut self.links[index];
                    link.backend.set_applied(wanted.clone());
                    let captured = std::mem::take(&mut link.captured);
                    taken.push(read_taken(link.shard, &captured)?);
                }
                // One error is enough for the client.
                Err(Failure::Sent) if failure.is_some() => {}
                Err(end @ Failure::End(_)) => return Err(end),
                Err(other) => failure = Some(failure.unwrap_or(other)),
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None => Ok(taken),
        }
    }

    /// Waits until none of these is prepared any more.
    async fn await_finished(
        &self,
        parts: &[ParticipantGid],
        observers: &BTreeMap<ShardId, Arc<Observer>>,
        deadline: Instant,
        catalog: &Catalog,
    ) -> Step {
        let mut by_shard: BTreeMap<ShardId, Vec<ParticipantGid>> = BTreeMap::new();
        for part in parts {
            by_shard.entry(part.shard).or_default().push(*part);
        }
        let router = &self.router;
        let waits = by_shard.into_iter().filter_map(|(shard, parts)| {
            let observer = observers.get(&shard)?;
            Some(async move {
                let (start, mut pause, mut urged) = (Instant::now(), FIRST_PAUSE, false);
                while observer.holds(&parts).await? {
                    if !urged && start.elapsed() > HEALTHY {
                        urged = true;
                        parts
                            .iter()
                            .for_each(|part| router.leave_to_recovery(part.gid));
                    }
                    sleep(pause).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
                Ok::<_, Error>(())
            })
        });
        self.in_time(deadline, try_join_all(waits), catalog).await?;
        Ok(())
    }

    /// The result of a question on the router's own connections, unless it takes too long or the client cancels.
    async fn in_time<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, Error>>,
        catalog: &Catalog,
    ) -> Step<T> {
        let work = timeout_at(deadline, work);
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                result = &mut work => return match result {
                    Ok(Ok(value)) => Ok(value),
                    Ok(Err(error)) => Err(not_taken(&error.to_string(), &error)),
                    Err(_) => {
                        let shards = catalog.shards().len();
                        let seconds = PATIENCE.as_secs();
                        let late = format!("no snapshot over {shards} shards could be taken within {seconds} s");
                        let detail = "A transaction over several shards is committed, and not finished on all of them; or a shard does not answer.";
                        Err(Report::error("40001", late).detail(detail).hint(HINT).into())
                    }
                },
                () = self.handle.wake.notified() => {
                    if self.handle.take_cancel() {
                        return Err(Report::error("57014", "canceling statement due to user request").into());
                    }
                }
            }
        }
    }
}

/// A snapshot of the transaction that has just begun, and the level that it would have had.
const TAKE: &str = "SELECT pg_catalog.pg_current_snapshot(), pg_catalog.current_setting('default_transaction_isolation')";

/// The names of what is prepared, one in each row, and then the snapshot.
fn read_taken(shard: ShardId, captured: &[u8]) -> Step<(ShardId, String, Input)> {
    let unreadable = || {
        Report::error(
            "XX000",
            "a shard has told its snapshot in a way that cannot be read",
        )
    };
    let mut rows = backend::text_rows(captured)?;
    let last = rows.pop().ok_or_else(unreadable)?;
    let [Some(view), Some(default)] = &last[..] else {
        return Err(unreadable().into());
    };
    let names = rows.iter().filter_map(|row| row.first()?.as_deref());
    let prepared = names
        .filter_map(ParticipantGid::parse)
        .filter(|part| part.shard == shard)
        .collect();
    let input = Input::Taken {
        shard,
        prepared,
        view: View::parse(view).ok_or_else(unreadable)?,
    };
    Ok((shard, default.clone(), input))
}

fn not_taken(reason: &str, error: &Error) -> Failure {
    let sqlstate = match error.is_connection() {
        true => "08006",
        // What else goes wrong there passes: a lock that was not to be had, a server that restarts.
        false => "40001",
    };
    Report::error(sqlstate, "no snapshot over all shards could be taken")
        .detail(reason)
        .hint(HINT)
        .into()
}
