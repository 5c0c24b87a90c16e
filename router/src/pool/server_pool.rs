//! The connections to one server as one user: deadpool's, and the workers' shelves of idle ones.
//!
//! A connection on a shelf counts as checked out with deadpool. The shelf belongs to one worker, whose runtime its
//! connections are registered with; another worker takes from it only when it would have to wait otherwise.
//!
//! Invariant: while somebody waits, no connection stays on a shelf. A waiter first says that it waits and then looks at
//! all shelves; a connection is first put on its shelf and then it is looked whether anybody waits; and the shelf's lock
//! orders the two, so that one of them sees the other.
//!
//! A connection that comes back goes to the first who waits on the same worker: to another it would have to change its
//! runtime, which costs more than a short statement. Only when another worker's first has waited noticeably longer does
//! deadpool decide, which serves in the order of arrival.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use deadpool::managed::{Object, PoolError as DeadpoolError, QueueMode, Timeouts};
use deadpool::{Runtime, Status};
use tokio::sync::oneshot;

use super::manager::Manager;
use super::reach::Reach;
use super::{PoolError, PoolKey, PoolSettings, PoolStatus};
use crate::backend::ConnectError;
use crate::tls::ServerTls;
use crate::worker::WorkerId;

/// How much longer than a neighbour somebody on another worker may wait.
const UNFAIR_US: u64 = 5_000;

/// A connection that counts as checked out with deadpool.
pub(super) type Taken = Object<Manager>;

/// Connections to one server as one user.
pub struct ServerPool {
    pub(super) key: PoolKey,
    pub(super) settings: PoolSettings,
    deadpool: deadpool::managed::Pool<Manager>,
    shelves: Box<[Shelf]>,
    waiters: AtomicUsize,
    waits: AtomicU64,
    waited_us: AtomicU64,
    /// Checkouts that no shelf could serve.
    slow_checkouts: AtomicU64,
    filling: AtomicBool,
    activity: Mutex<Activity>,
    made: Instant,
}

/// One worker's idle connections, the one used last on top. A cache line of its own: workers do not share.
#[repr(align(128))]
#[derive(Default)]
struct Shelf {
    idle: Mutex<Idle>,
    /// Since when the worker's first has been waiting, in microseconds of the pool's life; 0 if nobody is.
    waiting_since_us: AtomicU64,
}

#[derive(Default)]
struct Idle {
    connections: Vec<Taken>,
    checkouts: u64,
    /// Those who wait on this worker, in the order of arrival.
    queue: VecDeque<Place>,
}

/// One who waits.
struct Place {
    since_us: u64,
    /// Closed when nobody waits there any more.
    hand: oneshot::Sender<Taken>,
}

/// When the pool was seen in use last.
struct Activity {
    checkouts: u64,
    seen: Instant,
}

impl ServerPool {
    pub(super) fn new(
        key: PoolKey,
        settings: PoolSettings,
        tls: ServerTls,
        reach: Arc<Reach>,
        workers: usize,
    ) -> Self {
        let manager = Manager::new(key.clone(), tls, reach, &settings);
        let deadpool = deadpool::managed::Pool::builder(manager)
            .max_size(settings.max_size.max(1))
            .runtime(Runtime::Tokio1)
            .queue_mode(QueueMode::Lifo)
            .timeouts(Timeouts {
                wait: Some(settings.wait_timeout),
                // The manager bounds the attempt itself, to learn from its failure.
                create: None,
                recycle: None,
            })
            .build();
        Self {
            key,
            settings,
            // Building fails only where a runtime is missing, and one was given.
            deadpool: deadpool
                .unwrap_or_else(|error| unreachable!("a pool with a runtime: {error}")),
            shelves: (0..workers).map(|_| Shelf::default()).collect(),
            waiters: AtomicUsize::new(0),
            waits: AtomicU64::new(0),
            waited_us: AtomicU64::new(0),
            slow_checkouts: AtomicU64::new(0),
            filling: AtomicBool::new(false),
            activity: Mutex::new(Activity {
                checkouts: 0,
                seen: Instant::now(),
            }),
            made: Instant::now(),
        }
    }

    pub(super) fn reach(&self) -> &Reach {
        self.deadpool.manager().reach()
    }

    pub(super) fn manager(&self) -> &Manager {
        self.deadpool.manager()
    }

    /// The connection that this worker used last.
    #[inline]
    pub(super) fn take_idle(&self, worker: WorkerId) -> Option<Taken> {
        let mut idle = self.shelf(worker)?;
        let taken = idle.connections.pop()?;
        idle.checkouts += 1;
        Some(taken)
    }

    /// A connection from anywhere: deadpool's idle ones, a new one, another worker's, or the first that comes back.
    pub(super) async fn take_or_wait(&self, worker: WorkerId) -> Result<Taken, PoolError> {
        match self.take_now().await {
            Ok(taken) => return Ok(taken),
            Err(DeadpoolError::Timeout(_)) => {}
            // A server that takes no more connections may still have served another worker with one.
            Err(error @ DeadpoolError::Backend(ConnectError::Refused { .. })) => {
                return self.take_from_any().ok_or_else(|| self.error(error));
            }
            Err(error) => return Err(self.error(error)),
        }
        let (waiting, handed) = Waiting::new(self, worker);
        if let Some(taken) = self.take_from_any() {
            return Ok(taken);
        }
        // What is handed over in the moment that the other branch wins goes back to deadpool with the channel.
        let taken = tokio::select! {
            biased;
            Ok(taken) = handed => Ok(taken),
            taken = self.deadpool.get() => taken,
        };
        drop(waiting);
        taken.map_err(|error| self.error(error))
    }

    /// One of deadpool's idle connections or a new one, if that needs no wait for others. Does not overtake those who wait.
    pub(super) async fn take_now(&self) -> Result<Taken, DeadpoolError<ConnectError>> {
        let at_once = Timeouts {
            wait: Some(Duration::ZERO),
            ..Timeouts::new()
        };
        self.deadpool.timeout_get(&at_once).await
    }

    fn take_from_any(&self) -> Option<Taken> {
        (0..self.shelves.len()).find_map(|worker| self.shelf(WorkerId(worker))?.connections.pop())
    }

    /// A clean connection is free again.
    #[inline]
    pub(super) fn give_back(&self, taken: Taken, worker: WorkerId) {
        let Some(mut idle) = self.shelf(worker) else {
            return;
        };
        if self.has_waiters() {
            let taken = self.hand_over(taken, worker, &mut idle);
            drop(idle);
            // deadpool hands it to the first who waits.
            return drop(taken);
        }
        idle.connections.push(taken);
        drop(idle);
        if self.has_waiters() {
            let taken = self
                .shelf(worker)
                .and_then(|mut idle| idle.connections.pop());
            drop(taken);
        }
    }

    /// To the first who waits on this worker, unless another's has waited too long.
    fn hand_over(&self, taken: Taken, worker: WorkerId, idle: &mut Idle) -> Option<Taken> {
        let longest_us = self
            .shelves
            .iter()
            .map(|shelf| shelf.waiting_since_us.load(Ordering::Relaxed))
            .filter(|since_us| *since_us > 0)
            .min()
            .unwrap_or(u64::MAX);
        let mut taken = Some(taken);
        while let Some(unserved) = taken.take() {
            match idle.queue.front() {
                Some(place) if place.since_us <= longest_us.saturating_add(UNFAIR_US) => {}
                _ => return Some(unserved),
            }
            taken = idle
                .queue
                .pop_front()
                .and_then(|place| place.hand.send(unserved).err());
        }
        self.note_first(worker, idle);
        None
    }

    /// Tells the other workers since when this one's first has been waiting. Call with the shelf locked.
    fn note_first(&self, worker: WorkerId, idle: &Idle) {
        if let Some(shelf) = self.shelves.get(worker.0) {
            let since_us = idle.queue.front().map_or(0, |place| place.since_us);
            shelf.waiting_since_us.store(since_us, Ordering::Relaxed);
        }
    }

    pub(super) fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::SeqCst) > 0
    }

    /// Takes out of a worker's shelf what `wanted` selects; it may change those that stay.
    pub(super) fn take_where(
        &self,
        worker: WorkerId,
        mut wanted: impl FnMut(&mut Taken) -> bool,
    ) -> Vec<Taken> {
        match self.shelf(worker) {
            Some(mut idle) => idle
                .connections
                .extract_if(.., |taken| wanted(taken))
                .collect(),
            None => Vec::new(),
        }
    }

    /// Empties all shelves.
    pub(super) fn take_all(&self) -> Vec<Taken> {
        (0..self.shelves.len())
            .flat_map(|worker| self.take_where(WorkerId(worker), |_| true))
            .collect()
    }

    pub(super) fn count_slow_checkout(&self) {
        self.slow_checkouts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn deadpool(&self) -> &deadpool::managed::Pool<Manager> {
        &self.deadpool
    }

    pub(super) fn size(&self) -> usize {
        self.deadpool.status().size
    }

    /// Whether the caller is now the one to fill the pool; it must call [`Self::filled`].
    pub(super) fn begin_filling(&self) -> bool {
        !self.filling.swap(true, Ordering::AcqRel)
    }

    pub(super) fn filled(&self) {
        self.filling.store(false, Ordering::Release);
    }

    /// For how long nobody has checked out a connection, as far as these calls have seen.
    pub(super) fn unused_for(&self, now: Instant) -> Duration {
        let checkouts = self.checkouts();
        let mut activity = lock(&self.activity);
        if activity.checkouts != checkouts {
            *activity = Activity {
                checkouts,
                seen: now,
            };
        }
        now.saturating_duration_since(activity.seen)
    }

    fn checkouts(&self) -> u64 {
        let shelves: u64 = self
            .shelves
            .iter()
            .map(|shelf| lock(&shelf.idle).checkouts)
            .sum();
        shelves + self.slow_checkouts.load(Ordering::Relaxed)
    }

    pub(super) fn status(&self) -> PoolStatus {
        let Status {
            max_size,
            size,
            available,
            ..
        } = self.deadpool.status();
        let stashed: usize = self
            .shelves
            .iter()
            .map(|shelf| lock(&shelf.idle).connections.len())
            .sum();
        let (connects, failures) = self.manager().totals();
        // The figures are of slightly different moments.
        let idle = (available + stashed).min(size);
        PoolStatus {
            server: self.key.server.clone(),
            replica: self.key.replica,
            user: self.key.credentials.user.clone(),
            max_size,
            size,
            idle,
            stashed,
            in_use: size - idle,
            waiting: self.waiters.load(Ordering::Relaxed),
            checkouts: self.checkouts(),
            waits: self.waits.load(Ordering::Relaxed),
            waited: Duration::from_micros(self.waited_us.load(Ordering::Relaxed)),
            connects,
            failures,
        }
    }

    fn shelf(&self, worker: WorkerId) -> Option<MutexGuard<'_, Idle>> {
        self.shelves.get(worker.0).map(|shelf| lock(&shelf.idle))
    }

    fn error(&self, error: DeadpoolError<ConnectError>) -> PoolError {
        PoolError::from_deadpool(error, &self.key.server, &self.settings, || self.status())
    }
}

/// One who waits, as long as it waits: counted, and in its worker's queue.
struct Waiting<'a> {
    pool: &'a ServerPool,
    worker: WorkerId,
    since: Instant,
}

impl<'a> Waiting<'a> {
    fn new(pool: &'a ServerPool, worker: WorkerId) -> (Self, oneshot::Receiver<Taken>) {
        pool.waiters.fetch_add(1, Ordering::SeqCst);
        pool.waits.fetch_add(1, Ordering::Relaxed);
        let since = Instant::now();
        let (hand, handed) = oneshot::channel();
        if let Some(mut idle) = pool.shelf(worker) {
            let since_us = since.duration_since(pool.made).as_micros();
            idle.queue.push_back(Place {
                since_us: u64::try_from(since_us).unwrap_or(u64::MAX).max(1),
                hand,
            });
            pool.note_first(worker, &idle);
        }
        let waiting = Self {
            pool,
            worker,
            since,
        };
        (waiting, handed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.waiters.fetch_sub(1, Ordering::SeqCst);
        if let Some(mut idle) = self.pool.shelf(self.worker) {
            // One that has left from the middle goes when it has come to the front.
            while idle
                .queue
                .pop_front_if(|place| place.hand.is_closed())
                .is_some()
            {}
            self.pool.note_first(self.worker, &idle);
        }
        let us = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.pool.waited_us.fetch_add(us, Ordering::Relaxed);
    }
}

/// A panic while one of these locks was held leaves its data whole: every change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
