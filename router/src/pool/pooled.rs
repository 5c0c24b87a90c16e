//! A connection while it is checked out.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::ServerPool;
use super::server_pool::Taken;
use crate::backend::Backend;
use crate::worker::WorkerLocal;

/// How long cleaning a connection may take. Closing it cleans it as well.
const PATIENCE: Duration = Duration::from_secs(5);

/// A checked-out connection. If it is dropped without [`Pooled::release`], it is closed.
pub struct Pooled {
    taken: Option<Taken>,
    pool: Arc<ServerPool>,
}

impl Pooled {
    pub(super) fn new(taken: Taken, pool: Arc<ServerPool>) -> Self {
        Self {
            taken: Some(taken),
            pool,
        }
    }

    /// Gives the connection back if it is clean; otherwise closes it.
    pub fn release(mut self, worker: &WorkerLocal) {
        let now = Instant::now();
        let Some(mut taken) = self.taken.take() else {
            return;
        };
        // It has served just now, so the server is there, whatever connection attempts have shown.
        taken.losses = self.pool.reach().losses();
        taken.last_used = now;
        if self.pool.manager().is_fit(&taken, now) {
            taken.backend.shrink();
            self.pool.give_back(taken, worker.id());
        } else {
            close(taken);
        }
    }

    /// Takes the connection out of the pool and closes it. What the server may still be doing for it is cancelled.
    pub fn close(mut self) {
        self.close_taken();
    }

    /// Closes the connection and lets the server finish what it is doing.
    pub fn hang_up(mut self) {
        if let Some(taken) = self.taken.take() {
            super::upkeep::close(taken);
        }
    }

    /// Brings a connection that a session leaves in whatever state back to clean, and gives it back; closes it where
    /// that cannot be done. `tracked`: everything the session did is known, so that only its transaction has to end.
    pub async fn clean_and_release(mut self, worker: &WorkerLocal, tracked: bool) {
        if !self.is_settled() || !matches!(self.status(), b'I' | b'T' | b'E') {
            return self.close();
        }
        if self.status() != b'I' && !self.runs("ROLLBACK").await {
            return self.close();
        }
        if !tracked {
            if !self.runs("DISCARD ALL").await {
                return self.close();
            }
            self.discarded_all();
        }
        self.release(worker);
    }

    /// A cancel was delivered to this connection: one round trip makes sure that it has no effect any more.
    pub async fn settle_and_release(mut self, worker: &WorkerLocal) {
        if self.is_clean() {
            // If the cancel hits the empty statement, that is as good as having missed; anything else is seen below.
            self.runs("").await;
        }
        self.release(worker);
    }

    /// What is added to the CONTEXT of this connection's errors.
    pub fn context(&self, shard: &str) -> Arc<str> {
        let server = &self.pool.key.server;
        let role = if self.pool.key.replica {
            "replica"
        } else {
            "primary"
        };
        format!(
            "pgweave: shard {shard}, {role} {}:{}",
            server.host, server.port
        )
        .into()
    }

    async fn runs(&mut self, sql: &str) -> bool {
        matches!(timeout(PATIENCE, self.run(sql)).await, Ok(Ok(())))
    }

    fn close_taken(&mut self) {
        if let Some(taken) = self.taken.take() {
            close(taken);
        }
    }
}

/// Closes a connection in whatever state. While the server may be working on it, it counts as one, because it burdens the
/// server like one.
fn close(mut taken: Taken) {
    match Handle::try_current() {
        Ok(runtime) if taken.backend.is_working() => {
            runtime.spawn(async move {
                taken.backend.abandon().await;
                super::upkeep::close(taken);
            });
        }
        _ => super::upkeep::close(taken),
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.close_taken();
    }
}

impl Deref for Pooled {
    type Target = Backend;

    #[inline]
    fn deref(&self) -> &Backend {
        match &self.taken {
            Some(taken) => &taken.backend,
            // It leaves only in methods that consume the value.
            None => unreachable!("a released connection is not used"),
        }
    }
}

impl DerefMut for Pooled {
    #[inline]
    fn deref_mut(&mut self) -> &mut Backend {
        match &mut self.taken {
            Some(taken) => &mut taken.backend,
            None => unreachable!("a released connection is not used"),
        }
    }
}
