//! What is done for pools now and then: closing what was idle or alive too long, filling up to the least size, and
//! forgetting pools that nobody uses.
//!
//! Entry points: [`housekeeping`], one task on each worker, and [`Pools::tidy`], one round of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::Server;
use deadpool::managed::Object;
use tokio::runtime::Handle;

use super::server_pool::{ServerPool, Taken};
use super::{PoolIdentity, Pools};
use crate::worker::{WorkerId, WorkerLocal};

const INTERVAL: Duration = Duration::from_secs(1);
/// After this long on a shelf a connection holds no buffers.
const REST_AFTER: Duration = Duration::from_secs(1);
/// The worker that looks after what belongs to none.
const CARETAKER: WorkerId = WorkerId(0);

/// A worker's upkeep of the pools, until the task is aborted.
pub async fn housekeeping(pools: Arc<Pools>, worker: Arc<WorkerLocal>) {
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        pools.tidy(&worker, Instant::now());
    }
}

impl Pools {
    /// One round of upkeep by one worker, as of `now`.
    pub fn tidy(&self, worker: &WorkerLocal, now: Instant) {
        let pools: Vec<_> = self.lock().by_key.values().cloned().collect();
        for pool in &pools {
            pool.tidy_shelf(worker, now);
        }
        if worker.id() == CARETAKER {
            for pool in &pools {
                pool.tidy_idle(now);
                fill(pool);
            }
            drop(pools);
            self.forget_unused(now);
        }
    }

    /// Opens the least number of connections for this user and server ahead of demand.
    pub fn prewarm(&self, identity: &PoolIdentity, server: &Server, replica: bool) {
        identity.pool(server, (replica, false), || {
            self.pool(identity, server, (replica, false))
        });
    }

    fn forget_unused(&self, now: Instant) {
        let after = self.forget_after();
        let mut registry = self.lock();
        // Whoever could still use a pool holds it, be it a session, a checked-out connection or a filling task. New
        // holders take it from this map, which is locked.
        let unused: Vec<_> = registry
            .by_key
            .extract_if(|_, pool| pool.unused_for(now) > after && Arc::strong_count(pool) == 1)
            .collect();
        // Those of the pools above go the next time.
        registry
            .reaches
            .retain(|_, reach| Arc::strong_count(reach) > 1);
        drop(registry);
        for (_, pool) in unused {
            pool.close_idle();
        }
    }
}

impl ServerPool {
    fn tidy_shelf(&self, worker: &WorkerLocal, now: Instant) {
        let mut surplus = self.surplus();
        let stale = self.take_where(worker.id(), |taken| {
            let idle = now.saturating_duration_since(taken.last_used);
            let old = surplus > 0 && idle > self.settings.idle_timeout;
            if old || !self.manager().is_fit(taken, now) || taken.backend.has_news() {
                surplus = surplus.saturating_sub(1);
                return true;
            }
            if idle >= REST_AFTER {
                taken.backend.rest(worker);
            }
            false
        });
        for taken in stale {
            close(taken);
        }
    }

    fn tidy_idle(&self, now: Instant) {
        let mut surplus = self.surplus();
        let result = self.deadpool().retain(|member, _| {
            let idle = now.saturating_duration_since(member.last_used);
            let old = surplus > 0 && idle > self.settings.idle_timeout;
            let stale = old || !self.manager().is_fit(member, now) || member.backend.has_arrivals();
            surplus = surplus.saturating_sub(usize::from(stale));
            !stale
        });
        for member in result.removed {
            member.backend.terminate();
        }
    }

    fn close_idle(&self) {
        for taken in self.take_all() {
            close(taken);
        }
        for member in self.deadpool().retain(|_, _| false).removed {
            member.backend.terminate();
        }
    }

    /// How many connections there are beyond those that are kept when idle.
    fn surplus(&self) -> usize {
        self.size().saturating_sub(self.settings.min_size)
    }
}

/// Closes an idle connection.
pub(super) fn close(taken: Taken) {
    Object::take(taken).backend.terminate();
}

/// Brings a pool to its least size in the background.
pub(super) fn fill(pool: &Arc<ServerPool>) {
    let least = pool.settings.min_size.min(pool.settings.max_size);
    if pool.size() >= least
        || pool.reach().refusal(Instant::now()).is_some()
        || !pool.begin_filling()
    {
        return;
    }
    let Ok(runtime) = Handle::try_current() else {
        return pool.filled();
    };
    let pool = pool.clone();
    runtime.spawn(async move {
        // deadpool gives idle connections before it makes one, so they are held until there are enough.
        let mut held = Vec::new();
        while pool.size() < least && !pool.has_waiters() {
            match pool.take_now().await {
                Ok(taken) => held.push(taken),
                Err(error) => {
                    tracing::debug!(server = %pool.key.server, %error, "a pool could not be filled ahead of demand");
                    break;
                }
            }
        }
        drop(held);
        pool.filled();
    });
}
