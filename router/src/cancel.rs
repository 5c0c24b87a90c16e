//! Who is connected, and how a CancelRequest reaches the right server connection.
//!
//! Each session has a [`SessionHandle`] in the registry under the process id it was given. The handle knows the server
//! connections that work for the session at this moment. A cancel holds the handle while it is being delivered, and
//! the session does not give a connection back to the pool before the delivery has ended: so a cancel can never hit
//! the next client of that connection.
//!
//! The handle also says whether the session works or waits for its client ([`SessionHandle::moment`]), and takes the verdict
//! that its statement is to fail because of a deadlock ([`SessionHandle::fail_in_deadlock`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use crate::backend::CancelTarget;
use crate::session::report::Report;

/// A statement that goes on in spite of a cancel is cancelled again.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

/// What others may know of a session, and ask of it.
pub struct SessionHandle {
    pub process_id: u32,
    pub user: String,
    pub database: String,
    pub address: String,
    pub started: SystemTime,
    /// Statements answered so far.
    pub statements: AtomicU64,
    secret: Box<[u8]>,
    active: Mutex<Vec<Arc<CancelTarget>>>,
    /// Sessions of this router with several of them.
    with_several: Arc<AtomicUsize>,
    /// Even while the session waits for its client; grows with each change.
    turn: AtomicU64,
    /// Grows when a server connection comes or goes.
    changes: AtomicU64,
    /// When the open block began, in microseconds of the Unix epoch; 0 without a block.
    block_began_us: AtomicU64,
    /// The transaction that is being committed over several shards.
    committing: Mutex<Option<txn::Gid>>,
    verdict: Mutex<Option<Verdict>>,
    /// The session is at work that a client's cancel must not reach.
    uncancellable: AtomicBool,
    deliveries: AtomicUsize,
    delivered: Notify,
    /// Set when a cancel arrives.
    cancel_requested: AtomicBool,
    /// Wakes the session: it is to look at `terminate`, or its wait for a connection is cancelled.
    pub wake: Notify,
    pub terminate: AtomicBool,
}

/// A state of a session. While it stays the same, the same connections work for the same turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    turn: u64,
    changes: u64,
}

impl Moment {
    /// The session does something for its client.
    pub fn is_busy(self) -> bool {
        self.turn % 2 == 1
    }
}

/// Why a statement is cancelled by the router itself.
struct Verdict {
    turn: u64,
    report: Report,
    /// Others wait for what the session holds.
    deadlock: bool,
}

impl SessionHandle {
    /// The session waits for its client from here on, or does not any more.
    pub fn pass_turn(&self) {
        self.turn.fetch_add(1, Ordering::AcqRel);
    }

    pub fn moment(&self) -> Moment {
        Moment {
            turn: self.turn.load(Ordering::Acquire),
            changes: self.changes.load(Ordering::Acquire),
        }
    }

    /// The server connections that work for the session.
    pub fn connections(&self) -> Vec<Arc<CancelTarget>> {
        lock(&self.active).clone()
    }

    /// Whether more than one server connection works for the session.
    pub fn has_several_connections(&self) -> bool {
        lock(&self.active).len() > 1
    }

    /// A block begins.
    pub fn block_begins(&self) {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let began_us = since_epoch.map_or(1, |since| {
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        });
        self.block_began_us.store(began_us, Ordering::Release);
    }

    pub fn block_ends(&self) {
        self.block_began_us.store(0, Ordering::Release);
    }

    /// When the open block began; `None` without one.
    pub fn block_began(&self) -> Option<SystemTime> {
        match self.block_began_us.load(Ordering::Acquire) {
            0 => None,
            began_us => Some(SystemTime::UNIX_EPOCH + Duration::from_micros(began_us)),
        }
    }

    /// A commit over several shards begins under this name, or has ended.
    pub fn commits(&self, gid: Option<txn::Gid>) {
        *lock(&self.committing) = gid;
    }

    pub fn committing(&self) -> Option<txn::Gid> {
        *lock(&self.committing)
    }

    /// Cancels what one of the session's servers is doing; the client gets `report` instead of the server's answer to that.
    /// Does nothing and returns false if the session has gone on since `moment`.
    pub async fn fail_in_deadlock(
        self: &Arc<Self>,
        moment: Moment,
        target: &Arc<CancelTarget>,
        report: Report,
    ) -> bool {
        let delivery = {
            let active = lock(&self.active);
            if self.moment() != moment || !active.iter().any(|other| Arc::ptr_eq(other, target)) {
                return false;
            }
            self.deliveries.fetch_add(1, Ordering::AcqRel);
            Delivery(self)
        };
        *lock(&self.verdict) = Some(Verdict {
            turn: moment.turn,
            report,
            deadlock: true,
        });
        let delivered = target.cancel().await;
        drop(delivery);
        if let Err(error) = delivered {
            tracing::warn!(%error, server = %target, "a deadlock's victim could not be cancelled");
            return false;
        }
        true
    }

    /// Cancels whatever the session is doing, because its time is over.
    pub async fn time_out(self: &Arc<Self>) {
        *lock(&self.verdict) = Some(Verdict {
            turn: self.moment().turn,
            report: Report::error("57014", "canceling statement due to statement timeout"),
            deadlock: false,
        });
        self.cancel().await;
    }

    /// The error that a statement cancelled by the router is to have, and whether a deadlock was the reason.
    pub fn take_verdict(&self) -> Option<(Report, bool)> {
        let verdict = lock(&self.verdict).take()?;
        let is_now = verdict.turn == self.turn.load(Ordering::Acquire);
        is_now.then_some((verdict.report, verdict.deadlock))
    }

    /// The server connections that a cancel is to reach from now on.
    pub fn working_on(&self, target: &Arc<CancelTarget>) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        let mut active = lock(&self.active);
        active.push(target.clone());
        if active.len() == 2 {
            self.with_several.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The connection no longer works for this session. The caller must await [`Self::settled`] before anybody else
    /// may use it, if this returns true.
    pub fn done_with(&self, target: &Arc<CancelTarget>) -> bool {
        self.changes.fetch_add(1, Ordering::AcqRel);
        let mut active = lock(&self.active);
        let before = active.len();
        active.retain(|other| !Arc::ptr_eq(other, target));
        if before > 1 && active.len() < 2 {
            self.with_several.fetch_sub(1, Ordering::AcqRel);
        }
        self.deliveries.load(Ordering::Acquire) > 0
    }

    /// Waits until no cancel is on its way to a server.
    pub async fn settled(&self) {
        loop {
            let delivered = self.delivered.notified();
            if self.deliveries.load(Ordering::Acquire) == 0 {
                return;
            }
            delivered.await;
        }
    }

    /// Waits for servers, and cancels again what they do if the statement has been cancelled: a server ignores a cancel that
    /// comes before its part of the statement.
    pub async fn cancelling<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            if self.cancel_requested.load(Ordering::Acquire) {
                tokio::select! {
                    biased;
                    done = &mut work => return done,
                    () = tokio::time::sleep(CANCEL_AGAIN) => self.cancel().await,
                }
            } else {
                tokio::select! {
                    biased;
                    done = &mut work => return done,
                    () = self.wake.notified() => {}
                }
            }
        }
    }

    /// Lets no cancel of the client's reach a server from here on, and waits for those on their way. Those that come are lost, as with a server
    /// that is past the point where it looks.
    pub async fn withhold_cancels(&self) {
        {
            let _active = lock(&self.active);
            self.uncancellable.store(true, Ordering::Release);
        }
        self.settled().await;
    }

    /// The end of that.
    pub fn admit_cancels(&self) {
        self.uncancellable.store(false, Ordering::Release);
    }

    /// Takes note of a cancel that came while no server was working.
    pub fn take_cancel(&self) -> bool {
        self.cancel_requested.swap(false, Ordering::AcqRel)
    }

    /// A new statement begins: a cancel that came before it does not concern it.
    pub fn begin_statement(&self) {
        self.cancel_requested.store(false, Ordering::Release);
    }

    /// Asks the session to end; it does so when it is next idle.
    pub fn terminate(&self) {
        self.terminate.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Cancels whatever the session is doing.
    pub async fn cancel(self: &Arc<Self>) {
        let targets = {
            let active = lock(&self.active);
            if self.uncancellable.load(Ordering::Acquire) {
                return;
            }
            self.deliveries.fetch_add(1, Ordering::AcqRel);
            active.clone()
        };
        let delivery = Delivery(self);
        // A session that is between two servers hears of it as well.
        self.cancel_requested.store(true, Ordering::Release);
        self.wake.notify_one();
        for target in targets {
            if let Err(error) = target.cancel().await {
                tracing::warn!(%error, server = %target, "a cancel request could not be delivered");
            }
        }
        drop(delivery);
    }
}

/// Counts a delivery down even if the task that carries it is dropped.
struct Delivery<'a>(&'a SessionHandle);

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        self.0.deliveries.fetch_sub(1, Ordering::AcqRel);
        self.0.delivered.notify_waiters();
    }
}

/// All sessions of this router.
#[derive(Default)]
pub struct Sessions {
    next: AtomicU32,
    by_process_id: Mutex<HashMap<u32, Arc<SessionHandle>>>,
    with_several: Arc<AtomicUsize>,
}

impl Sessions {
    /// Registers a session under a process id that no other session has. `None` if there are `most` already.
    pub fn register(
        &self,
        user: &str,
        database: &str,
        address: String,
        secret: Box<[u8]>,
        most: usize,
    ) -> Option<Arc<SessionHandle>> {
        let mut sessions = lock(&self.by_process_id);
        if sessions.len() >= most {
            return None;
        }
        let process_id = loop {
            // Process ids are positive 32-bit integers to every client.
            let candidate = self.next.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff;
            if candidate != 0 && !sessions.contains_key(&candidate) {
                break candidate;
            }
        };
        let handle = Arc::new(SessionHandle {
            process_id,
            user: user.to_owned(),
            database: database.to_owned(),
            address,
            started: SystemTime::now(),
            statements: AtomicU64::new(0),
            secret,
            active: Mutex::default(),
            with_several: self.with_several.clone(),
            // Its first turn is the startup.
            turn: AtomicU64::new(1),
            changes: AtomicU64::new(0),
            block_began_us: AtomicU64::new(0),
            committing: Mutex::default(),
            verdict: Mutex::default(),
            uncancellable: AtomicBool::new(false),
            deliveries: AtomicUsize::new(0),
            delivered: Notify::new(),
            cancel_requested: AtomicBool::new(false),
            wake: Notify::new(),
            terminate: AtomicBool::new(false),
        });
        sessions.insert(process_id, handle.clone());
        Some(handle)
    }

    pub fn remove(&self, process_id: u32) {
        lock(&self.by_process_id).remove(&process_id);
    }

    /// The session that a CancelRequest names, if the secret is its own.
    pub fn find(&self, process_id: u32, secret: &[u8]) -> Option<Arc<SessionHandle>> {
        let handle = self.get(process_id)?;
        same_bytes(&handle.secret, secret).then_some(handle)
    }

    pub fn get(&self, process_id: u32) -> Option<Arc<SessionHandle>> {
        lock(&self.by_process_id).get(&process_id).cloned()
    }

    /// All sessions, in the order of their process ids.
    pub fn list(&self) -> Vec<Arc<SessionHandle>> {
        let mut list: Vec<_> = lock(&self.by_process_id).values().cloned().collect();
        list.sort_by_key(|handle| handle.process_id);
        list
    }

    /// How many sessions work on several server connections.
    pub fn with_several_connections(&self) -> usize {
        self.with_several.load(Ordering::Acquire)
    }

    pub fn len(&self) -> usize {
        lock(&self.by_process_id).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Compares secrets in a time that does not depend on where they differ.
fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}

/// A panic while one of these locks was held leaves its data whole: every change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
