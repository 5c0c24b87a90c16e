//! Pools of server connections: one per server, role and user, each bounded by deadpool.
//!
//! Entry point: [`Pools::checkout`]. deadpool is the authority on how many connections there are, who waits, and when one
//! is made. On top of it each worker keeps a shelf of idle connections that it used last, already registered with its
//! runtime: taking one from there costs tens of nanoseconds and wakes nobody. While somebody waits for a connection, they
//! return to deadpool, which serves in the order of arrival.
//!
//! A connection returns only if it is clean; anything else is closed.

mod error;
mod identity;
mod manager;
mod pooled;
mod reach;
mod server_pool;
mod upkeep;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use catalog::Server;

use crate::backend::Credentials;
use crate::tls::ServerTls;
use crate::worker::WorkerLocal;

pub use error::PoolError;
pub use identity::PoolIdentity;
pub use pooled::Pooled;
use reach::Reach;
pub use server_pool::ServerPool;
pub use upkeep::housekeeping;

/// A pool that nobody uses is forgotten after its connections' idle timeout, and not before this.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Limits of one pool.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    pub max_size: usize,
    /// Opened ahead of demand, and kept when idle.
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
    workers: usize,
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    by_key: HashMap<PoolKey, Arc<ServerPool>>,
    /// By host and port: one for all users and databases of a server.
    reaches: HashMap<(String, u16), Arc<Reach>>,
}

/// What a pool's connections have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PoolKey {
    server: Server,
    replica: bool,
    /// For queries that are finished over gathered rows.
    merge: bool,
    credentials: Credentials,
}

/// Figures of one pool.
#[derive(Clone, Debug)]
pub struct PoolStatus {
    pub server: Server,
    pub replica: bool,
    pub user: String,
    pub max_size: usize,
    /// Open connections, whatever they do.
    pub size: usize,
    pub idle: usize,
    /// Those of the idle ones that a worker keeps within reach.
    pub stashed: usize,
    pub in_use: usize,
    /// Sessions that wait for a connection.
    pub waiting: usize,
    // Totals since the pool was made.
    pub checkouts: u64,
    /// Checkouts that had to wait, and for how long together.
    pub waits: u64,
    pub waited: Duration,
    pub connects: u64,
    pub failures: u64,
}

impl Pools {
    /// Pools for this many workers, whose ids count from 0.
    pub fn new(settings: PoolSettings, tls: ServerTls, workers: usize) -> Self {
        Self {
            settings,
            tls,
            workers,
            registry: Mutex::default(),
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
        let pool = identity.pool(server, (replica, false), || {
            self.pool(identity, server, (replica, false))
        });
        Self::take(pool, worker).await
    }

    /// The same of a pool that serves nothing but the end of queries over gathered rows.
    pub async fn checkout_merge(
        &self,
        identity: &PoolIdentity,
        server: &Server,
        worker: &WorkerLocal,
    ) -> Result<Pooled, PoolError> {
        let pool = identity.pool(server, (false, true), || {
            self.pool(identity, server, (false, true))
        });
        Self::take(pool, worker).await
    }

    async fn take(pool: Arc<ServerPool>, worker: &WorkerLocal) -> Result<Pooled, PoolError> {
        while let Some(mut taken) = pool.take_idle(worker.id()) {
            if taken.losses == pool.reach().losses() && !taken.backend.has_news() {
                taken.backend.wake(worker);
                return Ok(Pooled::new(taken, pool));
            }
            upkeep::close(taken);
        }
        // Boxed: waiting is rare and its future is large, and every session would carry it.
        Box::pin(take_fit(pool, worker)).await
    }

    fn pool(
        &self,
        identity: &PoolIdentity,
        server: &Server,
        (replica, merge): (bool, bool),
    ) -> Arc<ServerPool> {
        let key = PoolKey {
            server: server.clone(),
            replica,
            merge,
            credentials: identity.credentials(server),
        };
        let mut registry = self.lock();
        if let Some(pool) = registry.by_key.get(&key) {
            return pool.clone();
        }
        let reach = registry
            .reaches
            .entry((server.host.clone(), server.port))
            .or_default()
            .clone();
        let (settings, tls) = (self.settings.clone(), self.tls.clone());
        let pool = Arc::new(ServerPool::new(
            key.clone(),
            settings,
            tls,
            reach,
            self.workers,
        ));
        registry.by_key.insert(key, pool.clone());
        drop(registry);
        upkeep::fill(&pool);
        pool
    }

    fn forget_after(&self) -> Duration {
        self.settings.idle_timeout.max(FORGET_AFTER)
    }

    /// Figures of all pools.
    pub fn status(&self) -> Vec<PoolStatus> {
        let pools: Vec<_> = self.lock().by_key.values().cloned().collect();
        let mut list: Vec<PoolStatus> = pools.iter().map(|pool| pool.status()).collect();
        list.sort_by_key(|status| {
            (
                status.server.to_string(),
                status.replica,
                status.user.clone(),
            )
        });
        list
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        // A panic while the lock was held leaves the maps whole: every change is one call.
        self.registry
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A connection that this worker has no idle one for, once it has been seen to be fit.
async fn take_fit(pool: Arc<ServerPool>, worker: &WorkerLocal) -> Result<Pooled, PoolError> {
    pool.count_slow_checkout();
    loop {
        let mut taken = pool.take_or_wait(worker.id()).await?;
        let at_home = taken.backend.is_at_home(worker);
        let fit = if at_home {
            !taken.backend.has_news()
        } else {
            taken.backend.rehome(worker).is_ok() && !taken.backend.has_news_now()
        };
        if fit {
            taken.backend.wake(worker);
            return Ok(Pooled::new(taken, pool));
        }
        upkeep::close(taken);
    }
}
