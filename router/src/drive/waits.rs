//! Who waits for whom, read from the servers and from what the routers tell each other.
//!
//! Entry point: [`Waits::read`]. A router that has sessions that wait reads the shards those work on. If they wait for
//! locks, it tells the others in `pgweave.waiting` which server processes are theirs, and reads what the others have told,
//! and the shards of theirs. Nobody waits: nothing is asked.
//!
//! A server that does not answer is left out: a wait that is not seen makes no deadlock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use catalog::{Catalog, ShardId};
use futures_util::future::join_all;
use tokio::time::timeout;
use txn::deadlock::{Process, Reading, SessionId, Transaction, VirtualId, Wait};
use txn::sql;

use crate::backend::CancelTarget;
use crate::cancel::{Moment, SessionHandle};
use crate::store::{Connection, Error, HOME, Rows, Store};

/// Longer than any healthy server takes to tell of its locks.
const PATIENCE: Duration = Duration::from_secs(1);

/// A session that may wait for another transaction.
pub struct Waiting {
    pub handle: Arc<SessionHandle>,
    pub moment: Moment,
    /// Its connections to primaries.
    pub connections: Vec<(ShardId, Arc<CancelTarget>)>,
}

impl Waiting {
    /// `None` unless connections to primaries of several shards work for the session.
    pub fn of(handle: Arc<SessionHandle>, moment: Moment, catalog: &Catalog) -> Option<Self> {
        let connections: Vec<_> = handle
            .connections()
            .into_iter()
            .filter_map(|target| {
                let mut shards = catalog.shards().iter();
                let shard = shards.find(|shard| shard.primary == *target.server())?;
                Some((shard.id, target))
            })
            .collect();
        (connections.len() > 1).then_some(Self {
            handle,
            moment,
            connections,
        })
    }
}

/// What is kept between two readings.
#[derive(Default)]
pub struct Waits {
    connections: HashMap<ShardId, Connection>,
    /// There are rows of this router in `pgweave.waiting`.
    has_told: bool,
    home_is_lost: bool,
    /// Where routers are reached, by their ids.
    addresses: HashMap<String, String>,
}

impl Waits {
    /// Asks every server once, all within one and the same time.
    pub async fn read(&mut self, store: &Store, catalog: &Catalog, waiting: &[Waiting]) -> Reading {
        let mut pids: BTreeMap<ShardId, Vec<u32>> = BTreeMap::new();
        for (shard, target) in waiting.iter().flat_map(|session| &session.connections) {
            pids.entry(*shard).or_default().push(target.process_id());
        }
        let (mut waits, running) = self.ask(store, catalog, &pids).await;
        let asleep: BTreeSet<Process> = waits.iter().map(|wait| wait.waiter).collect();
        let own: Vec<(Transaction, SystemTime)> = waiting
            .iter()
            .filter(|session| session.handle.moment() == session.moment)
            .filter_map(|session| own_transaction(store, session, &running))
            .filter(|(transaction, _)| transaction.processes.iter().any(|one| asleep.contains(one)))
            .collect();
        if own.is_empty() {
            self.take_back(store).await;
            return Reading::default();
        }
        let transactions = match self.exchange(store, &own).await {
            Ok(transactions) => {
                self.home_is_lost = false;
                transactions
            }
            Err(error) => {
                if !std::mem::replace(&mut self.home_is_lost, true) {
                    tracing::warn!(%error, "deadlocks with sessions of other routers are not seen: the catalog's home cannot be asked, or `pgweave init` has not been run since the last upgrade");
                }
                own.into_iter()
                    .map(|(transaction, _)| transaction)
                    .collect()
            }
        };
        let further: BTreeMap<ShardId, Vec<u32>> = transactions
            .iter()
            .flat_map(|transaction| &transaction.processes)
            .filter(|process| !pids.contains_key(&process.shard))
            .map(|process| (process.shard, Vec::new()))
            .collect();
        waits.extend(self.ask(store, catalog, &further).await.0);
        Reading {
            waits,
            transactions,
        }
    }

    /// Nobody of this router waits any more.
    pub async fn fall_silent(&mut self, store: &Store) {
        self.take_back(store).await;
        self.connections.clear();
    }

    /// Deletes what has been told.
    async fn take_back(&mut self, store: &Store) {
        if !std::mem::take(&mut self.has_told) {
            return;
        }
        let sql = format!(
            "DELETE FROM pgweave.waiting WHERE router = {}",
            sql::quote_literal(&store.settings().router_id)
        );
        if let Err(error) = self.at_home(store, || sql).await {
            // Such rows name transactions that are over, so they mislead nobody; they go after a minute.
            tracing::debug!(%error, "the catalog's home was not told that nobody waits any more");
        }
    }

    /// How people know a session.
    pub fn name(&self, session: &SessionId) -> String {
        match self.addresses.get(&session.router) {
            Some(address) => format!("session {} of router {address}", session.session),
            None => format!("session {}", session.session),
        }
    }

    /// The waits on these shards, and the transactions of these processes.
    async fn ask(
        &mut self,
        store: &Store,
        catalog: &Catalog,
        shards: &BTreeMap<ShardId, Vec<u32>>,
    ) -> (Vec<Wait>, Vec<Process>) {
        let asked = shards.iter().map(|(&shard, pids)| {
            let kept = self.connections.remove(&shard);
            async move {
                let work = async {
                    let connection = match kept.filter(|kept| !kept.is_closed()) {
                        Some(kept) => kept,
                        None => super::recovery::connect(store, catalog, shard).await?,
                    };
                    let rows = connection.rows(&sql::list_waits(pids)).await?;
                    Ok::<_, Error>((connection, rows))
                };
                (shard, timeout(PATIENCE, work).await)
            }
        });
        let answers = join_all(asked.collect::<Vec<_>>()).await;
        let (mut waits, mut running) = (Vec::new(), Vec::new());
        for (shard, answer) in answers {
            match answer {
                Ok(Ok((connection, rows))) => {
                    self.connections.insert(shard, connection);
                    for row in &rows {
                        match read_row(shard, row) {
                            Some(Row::Wait(wait)) => waits.push(wait),
                            Some(Row::Running(process)) => running.push(process),
                            None => {}
                        }
                    }
                }
                Ok(Err(error)) => tracing::debug!(%error, %shard, "waits could not be read"),
                Err(_) => tracing::debug!(%shard, "waits were not told in time"),
            }
        }
        (waits, running)
    }

    /// Tells of own transactions, and returns those of all routers.
    async fn exchange(
        &mut self,
        store: &Store,
        own: &[(Transaction, SystemTime)],
    ) -> Result<Vec<Transaction>, Error> {
        let rows = self.at_home(store, || exchange_text(store, own)).await?;
        self.has_told = true;
        self.addresses.clear();
        let mut transactions = Vec::new();
        for row in rows {
            let [
                Some(router),
                Some(session),
                Some(address),
                Some(began_us),
                Some(processes),
            ] = &row[..]
            else {
                continue;
            };
            let processes: Option<Vec<Process>> = processes.split(' ').map(read_process).collect();
            let (Ok(session), Ok(began_us), Some(processes)) =
                (session.parse(), began_us.parse(), processes)
            else {
                return Err(Error::corrupt("a row of pgweave.waiting of another shape"));
            };
            self.addresses.insert(router.clone(), address.clone());
            transactions.push(Transaction {
                session: SessionId {
                    router: router.clone(),
                    session,
                },
                began_us,
                processes,
            });
        }
        Ok(transactions)
    }

    /// The text is made when it can be sent, because ages are in it.
    async fn at_home(
        &mut self,
        store: &Store,
        sql: impl FnOnce() -> String,
    ) -> Result<Rows, Error> {
        let kept = self.connections.remove(&HOME);
        let work = async {
            let home = match kept.filter(|kept| !kept.is_closed()) {
                Some(kept) => kept,
                None => store.home().await?,
            };
            let rows = home.rows(&sql()).await?;
            Ok((home, rows))
        };
        let Ok(answer) = timeout(PATIENCE, work).await else {
            return Err(Error::Connect {
                server: store.settings().home.to_string(),
                sqlstate: None,
                reason: format!("no answer within {} ms", PATIENCE.as_millis()),
            });
        };
        let (home, rows) = answer?;
        self.connections.insert(HOME, home);
        Ok(rows)
    }
}

/// A waiting session's transaction as its own servers tell it, and when it began by this machine's clock. `None` if its processes are in none.
fn own_transaction(
    store: &Store,
    session: &Waiting,
    running: &[Process],
) -> Option<(Transaction, SystemTime)> {
    let processes: Vec<Process> = session
        .connections
        .iter()
        .filter_map(|(shard, target)| {
            let mut running = running.iter();
            running.find(|one| one.shard == *shard && one.pid == target.process_id())
        })
        .copied()
        .collect();
    // Without a block it is a statement over several shards.
    let began = session.handle.block_began().unwrap_or_else(SystemTime::now);
    let began_us = began
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    (!processes.is_empty()).then(|| {
        let transaction = Transaction {
            session: SessionId {
                router: store.settings().router_id.clone(),
                session: session.handle.process_id,
            },
            began_us: i64::try_from(began_us.as_micros()).unwrap_or(i64::MAX),
            processes,
        };
        (transaction, began)
    })
}

/// What has been told is committed before others' rows are read, so that of two routers at least one sees both.
fn exchange_text(store: &Store, own: &[(Transaction, SystemTime)]) -> String {
    let router = sql::quote_literal(&store.settings().router_id);
    let address = sql::quote_literal(&store.settings().router_address);
    let sessions: Vec<String> = own
        .iter()
        .map(|(transaction, _)| transaction.session.session.to_string())
        .collect();
    let mut text = format!(
        "BEGIN; SET LOCAL synchronous_commit TO off; \
         DELETE FROM pgweave.waiting WHERE ctid = ANY (ARRAY(SELECT ctid FROM pgweave.waiting \
         WHERE router = {router} AND session <> ALL ('{{{}}}'::bigint[]) \
         OR seen_at < pg_catalog.clock_timestamp() - interval '1 minute' FOR UPDATE SKIP LOCKED));",
        sessions.join(",")
    );
    for (transaction, began) in own {
        let age = began.elapsed().unwrap_or_default();
        let processes: Vec<String> = transaction
            .processes
            .iter()
            .map(|one| format!("{}:{}:{}", one.shard, one.pid, one.transaction))
            .collect();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "INSERT INTO pgweave.waiting AS known (router, session, address, began, processes) VALUES \
             ({router}, {}, {address}, pg_catalog.clock_timestamp() - {} * interval '1 microsecond', '{{{}}}') \
             ON CONFLICT (router, session) DO UPDATE SET processes = EXCLUDED.processes, seen_at = EXCLUDED.seen_at, \
             began = CASE WHEN known.processes = EXCLUDED.processes THEN known.began ELSE EXCLUDED.began END;",
            transaction.session.session,
            age.as_micros(),
            processes.join(",")
        );
    }
    text.push_str(
        "COMMIT; SELECT router, session, address, (extract(epoch FROM began) * 1000000)::bigint, \
         pg_catalog.array_to_string(processes, ' ') FROM pgweave.waiting",
    );
    text
}

enum Row {
    Wait(Wait),
    Running(Process),
}

/// A row of [`sql::list_waits`]; `None` for a wait that has only just begun and has no time yet.
fn read_row(shard: ShardId, row: &[Option<String>]) -> Option<Row> {
    let process = |pid: &Option<String>, transaction: &Option<String>| {
        Some(Process {
            shard,
            pid: pid.as_ref()?.parse().ok()?,
            transaction: VirtualId::parse(transaction.as_ref()?)?,
        })
    };
    let [
        pid,
        transaction,
        since_us,
        blocker,
        blocker_transaction,
        lock,
    ] = row
    else {
        return None;
    };
    let waiter = process(pid, transaction)?;
    let Some(blocker) = process(blocker, blocker_transaction) else {
        return Some(Row::Running(waiter));
    };
    Some(Row::Wait(Wait {
        waiter,
        blocker,
        since_us: since_us.as_ref()?.parse().ok()?,
        lock: lock.clone().unwrap_or_default(),
    }))
}

/// `shard:pid:virtual id`.
fn read_process(text: &str) -> Option<Process> {
    let mut parts = text.splitn(3, ':');
    Some(Process {
        shard: ShardId(parts.next()?.parse().ok()?),
        pid: parts.next()?.parse().ok()?,
        transaction: VirtualId::parse(parts.next()?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_read_as_they_are_written() {
        let process = read_process("2:4711:3/99").unwrap();
        assert_eq!((process.shard, process.pid), (ShardId(2), 4711));
        assert_eq!(process.transaction.to_string(), "3/99");
        assert_eq!(process.shard.to_string(), "2");
        for wrong in ["", "2:4711", "2:x:3/9", "2:1:9"] {
            assert_eq!(read_process(wrong), None, "{wrong}");
        }
    }
}
