//! Pools of server connections: one per server, role and user, each bounded by deadpool.
//!
//! Entry point: [`Pools::checkout`]. deadpool is the authority on how many connections there are, who waits, and when one
//! is made. On top of it each worker keeps a stash of idle connections that it used last, already registered with its
//! runtime: taking one from there costs tens of nanoseconds and wakes nobody. When somebody waits for a connection, the
//! workers hand their stashes back, and connections return to deadpool until nobody waits any more.
//!
//! A connection returns only if it is clean; anything else is closed.

mod error;
mod identity;
mod manager;
mod pooled;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use catalog::Server;
use deadpool::Runtime;
use deadpool::managed::{PoolError as DeadpoolError, QueueMode, Timeouts};

use crate::tls::ServerTls;
use crate::worker::WorkerLocal;

pub use error::PoolError;
pub use identity::PoolIdentity;
use manager::Manager;
pub use pooled::{Pooled, Stashed};

/// Limits of one pool.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    pub max_size: usize,
    pub min_size: usize,
    pub wait_timeout: Duration,
    pub connect_timeout: Duration,
    pub idle_timeout: Duration,
    pub lifetime: Duration,
    pub max_prepared_statements: usize,
}

/// All pools of one router.
pub struct Pools {
    settings: PoolSettings,
    tls: ServerTls,
    workers: Vec<Arc<WorkerLocal>>,
    next: AtomicU64,
    by_key: Mutex<HashMap<PoolKey, Arc<ServerPool>>>,
}

/// What a pool's connections have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PoolKey {
    server: Server,
    replica: bool,
    credentials: crate::backend::Credentials,
}

/// Connections to one server as one user.
pub struct ServerPool {
    id: u64,
    key: PoolKey,
    deadpool: deadpool::managed::Pool<Manager>,
    waiters: AtomicUsize,
    checkouts: AtomicU64,
    settings: PoolSettings,
}

/// Figures of one pool.
#[derive(Clone, Debug)]
pub struct PoolStatus {
    pub server: Server,
    pub replica: bool,
    pub user: String,
    pub max_size: usize,
    pub size: usize,
    pub idle: usize,
    pub waiting: usize,
    pub checkouts: u64,
}

impl Pools {
    pub fn new(settings: PoolSettings, tls: ServerTls, workers: Vec<Arc<WorkerLocal>>) -> Self {
        Self {
            settings,
            tls,
            workers,
            next: AtomicU64::new(0),
            by_key: Mutex::default(),
        }
    }

    /// A clean connection to `server` for the user of `identity`, registered with the calling worker's runtime.
    ///
    /// # Errors
    /// 53300 when none became free in time, 08006 when the server cannot be reached, or the server's own refusal.
    pub async fn checkout(
        &self,
        identity: &PoolIdentity,
        server: &Server,
        replica: bool,
        worker: &WorkerLocal,
    ) -> Result<Pooled, PoolError> {
        let pool = identity.pool(server, replica, || self.pool(identity, server, replica));
        pool.checkouts.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        while let Some(stashed) = worker.unstash(pool.id) {
            let mut pooled = stashed.wake();
            if pooled.expires > now && !pooled.has_news() {
                pooled.wake(worker);
                return Ok(pooled);
            }
            pooled.close();
        }
        // Boxed: waiting is rare and its future is large, and every session would carry it.
        Box::pin(self.wait_for(&pool, worker)).await
    }

    async fn wait_for(&self, pool: &Arc<ServerPool>, worker: &WorkerLocal) -> Result<Pooled, PoolError> {
        let _waiting = Waiting::new(pool);
        let status = pool.deadpool.status();
        if status.size >= status.max_size && status.available == 0 {
            for other in &self.workers {
                other.wanted.notify_one();
            }
        }
        loop {
            let object = pool.deadpool.get().await.map_err(|error| pool.error(error))?;
            let mut pooled = Pooled::new(object, pool.clone());
            if pooled.rehome(worker).is_ok() && !pooled.has_news() {
                pooled.wake(worker);
                return Ok(pooled);
            }
            pooled.close();
        }
    }

    fn pool(&self, identity: &PoolIdentity, server: &Server, replica: bool) -> Arc<ServerPool> {
        let key = PoolKey {
            server: server.clone(),
            replica,
            credentials: identity.credentials().clone(),
        };
        let mut pools = self.lock();
        if let Some(pool) = pools.get(&key) {
            return pool.clone();
        }
        let pool = Arc::new(self.make(key.clone()));
        pools.insert(key, pool.clone());
        if self.settings.min_size > 0 {
            tokio::spawn(prewarm(pool.clone()));
        }
        pool
    }

    fn make(&self, key: PoolKey) -> ServerPool {
        let settings = self.settings.clone();
        let manager = Manager::new(key.clone(), self.tls.clone(), &settings);
        let deadpool = deadpool::managed::Pool::builder(manager)
            .max_size(settings.max_size.max(1))
            .runtime(Runtime::Tokio1)
            .queue_mode(QueueMode::Lifo)
            .timeouts(Timeouts {
                wait: Some(settings.wait_timeout),
                create: Some(settings.connect_timeout),
                recycle: None,
            })
            .build();
        ServerPool {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            key,
            // Building fails only where a runtime is missing, and one was given.
            deadpool: deadpool.unwrap_or_else(|error| unreachable!("a pool with a runtime: {error}")),
            waiters: AtomicUsize::new(0),
            checkouts: AtomicU64::new(0),
            settings,
        }
    }

    /// Figures of all pools.
    pub fn status(&self) -> Vec<PoolStatus> {
        let mut list: Vec<PoolStatus> = self
            .lock()
            .values()
            .map(|pool| {
                let status = pool.deadpool.status();
                let stashed: usize = self.workers.iter().map(|worker| worker.stashed(pool.id)).sum();
                PoolStatus {
                    server: pool.key.server.clone(),
                    replica: pool.key.replica,
                    user: pool.key.credentials.user.clone(),
                    max_size: status.max_size,
                    size: status.size,
                    idle: status.available + stashed,
                    waiting: status.waiting,
                    checkouts: pool.checkouts.load(Ordering::Relaxed),
                }
            })
            .collect();
        list.sort_by_key(|status| (status.server.to_string(), status.replica, status.user.clone()));
        list
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PoolKey, Arc<ServerPool>>> {
        // A panic while the lock was held leaves the map whole: every change is one call.
        self.by_key.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl ServerPool {
    fn error(&self, error: DeadpoolError<crate::backend::ConnectError>) -> PoolError {
        PoolError::from_deadpool(error, &self.key.server, &self.settings, self.deadpool.status())
    }
}

/// Counts one who waits, as long as it waits.
struct Waiting<'a>(&'a ServerPool);

impl<'a> Waiting<'a> {
    fn new(pool: &'a ServerPool) -> Self {
        pool.waiters.fetch_add(1, Ordering::SeqCst);
        Self(pool)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiters.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Opens a new pool's least number of connections ahead of demand.
async fn prewarm(pool: Arc<ServerPool>) {
    let mut held = Vec::new();
    while held.len() < pool.settings.min_size.min(pool.settings.max_size) {
        match pool.deadpool.get().await {
            Ok(object) => held.push(object),
            Err(error) => {
                tracing::warn!(server = %pool.key.server, %error, "a pool could not be filled ahead of demand");
                return;
            }
        }
    }
}

/// A worker's upkeep of its stash: hands it over when somebody waits, and closes what was idle or alive too long.
pub async fn housekeeping(pools: Arc<Pools>, worker: Arc<WorkerLocal>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = worker.wanted.notified() => {
                // Dropping the object returns it to deadpool, which gives it to the first who waits.
                drop(worker.unstash_where(Stashed::is_wanted));
            }
            _ = tick.tick() => {
                let now = Instant::now();
                for idle in worker.unstash_where(|idle| idle.is_stale(now)) {
                    idle.wake().close();
                }
                for pool in pools.lock().values() {
                    let idle_timeout = pool.settings.idle_timeout;
                    let least = pool.settings.min_size;
                    let mut size = pool.deadpool.status().size;
                    pool.deadpool.retain(|backend, metrics| {
                        let stale = backend.expires <= now || (metrics.last_used() > idle_timeout && size > least);
                        size -= usize::from(stale);
                        !stale
                    });
                }
            }
        }
    }
}
