//! A connection while it is checked out, and while it rests in a worker's stash.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use deadpool::managed::Object;

use super::ServerPool;
use super::manager::Manager;
use crate::backend::Backend;
use crate::worker::WorkerLocal;

/// A checked-out connection. If it is dropped without [`Pooled::release`], it is closed.
pub struct Pooled {
    object: Option<Object<Manager>>,
    pool: Arc<ServerPool>,
}

/// An idle connection in a worker's stash; it still counts as checked out with deadpool.
pub struct Stashed {
    object: Object<Manager>,
    pool: Arc<ServerPool>,
    since: Instant,
}

impl Pooled {
    pub(super) fn new(object: Object<Manager>, pool: Arc<ServerPool>) -> Self {
        Self {
            object: Some(object),
            pool,
        }
    }

    /// Gives the connection back if it is clean; otherwise closes it.
    pub fn release(mut self, worker: &WorkerLocal) {
        if !self.is_clean() || self.expires <= Instant::now() {
            return self.close();
        }
        self.rest(worker);
        let Some(object) = self.object.take() else {
            return;
        };
        if self.pool.waiters.load(Ordering::SeqCst) > 0 {
            // deadpool hands it to the first who waits.
            drop(object);
        } else {
            worker.stash(Stashed {
                object,
                pool: self.pool.clone(),
                since: Instant::now(),
            });
        }
    }

    /// Takes the connection out of the pool and closes it.
    pub fn close(mut self) {
        if let Some(object) = self.object.take() {
            Object::take(object).terminate();
        }
    }

    /// Brings a connection that a session leaves in whatever state back to clean, and gives it back; closes it where
    /// that cannot be done. `tracked`: everything the session did is known, so that only its transaction has to end.
    pub async fn clean_and_release(mut self, worker: &WorkerLocal, tracked: bool) {
        let quiet = !self.is_broken() && self.input().is_empty() && matches!(self.status(), b'I' | b'T' | b'E');
        if !quiet || !self.out().is_empty() {
            return self.close();
        }
        if self.status() != b'I' && self.run("ROLLBACK").await.is_err() {
            return self.close();
        }
        if !tracked {
            if self.run("DISCARD ALL").await.is_err() {
                return self.close();
            }
            self.discarded_all();
        }
        self.release(worker);
    }

    /// A cancel was delivered to this connection: one round trip makes sure that it has no effect any more.
    pub async fn settle_and_release(mut self, worker: &WorkerLocal) {
        if self.is_clean() && self.run("").await.is_err() {
            // The cancel hit the empty statement, which is as good as having missed.
            if self.is_broken() {
                return self.close();
            }
        }
        self.release(worker);
    }

    /// What is added to the CONTEXT of this connection's errors.
    pub fn context(&self, shard: &str) -> Arc<str> {
        let server = &self.pool.key.server;
        let role = if self.pool.key.replica { "replica" } else { "primary" };
        format!("pgweave: shard {shard}, {role} {}:{}", server.host, server.port).into()
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}

impl Deref for Pooled {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        match &self.object {
            Some(object) => object,
            // The object leaves only in methods that consume the value.
            None => unreachable!("a released connection is not used"),
        }
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Backend {
        match &mut self.object {
            Some(object) => object,
            None => unreachable!("a released connection is not used"),
        }
    }
}

impl Stashed {
    pub fn pool(&self) -> u64 {
        self.pool.id
    }

    pub fn since(&self) -> Instant {
        self.since
    }

    /// Somebody waits for a connection of this pool.
    pub fn is_wanted(&self) -> bool {
        self.pool.waiters.load(Ordering::SeqCst) > 0
    }

    /// Idle or alive for too long.
    pub fn is_stale(&self, now: Instant) -> bool {
        let idle = now.duration_since(self.since) > self.pool.settings.idle_timeout;
        self.object.expires <= now
            || (idle && self.pool.deadpool.status().size > self.pool.settings.min_size)
    }

    pub fn wake(self) -> Pooled {
        Pooled::new(self.object, self.pool)
    }
}
