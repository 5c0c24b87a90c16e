//! How deadpool makes and judges connections of one pool.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool::managed::{Metrics, RecycleError, RecycleResult};
use rand::Rng;
use tokio::time::timeout;

use super::reach::Reach;
use super::{PoolKey, PoolSettings};
use crate::backend::{Backend, ConnectError};
use crate::tls::ServerTls;
use crate::worker::WorkerId;

/// A home that no worker has, so that a new connection is registered with the worker that takes it.
const NO_WORKER: WorkerId = WorkerId(usize::MAX);

/// A connection of a pool.
pub struct Member {
    pub backend: Backend,
    /// Moment after which the connection is replaced.
    pub expires: Instant,
    pub last_used: Instant,
    /// [`Reach::losses`] when it was used last.
    pub losses: u64,
}

pub struct Manager {
    key: PoolKey,
    tls: ServerTls,
    reach: Arc<Reach>,
    connect_timeout: Duration,
    lifetime: Duration,
    max_prepared_statements: usize,
    connects: AtomicU64,
    failures: AtomicU64,
}

impl Manager {
    pub(super) fn new(
        key: PoolKey,
        tls: ServerTls,
        reach: Arc<Reach>,
        settings: &PoolSettings,
    ) -> Self {
        Self {
            key,
            tls,
            reach,
            connect_timeout: settings.connect_timeout,
            lifetime: settings.lifetime,
            max_prepared_statements: settings.max_prepared_statements,
            connects: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Connections made so far, and attempts that failed.
    pub(super) fn totals(&self) -> (u64, u64) {
        (
            self.connects.load(Ordering::Relaxed),
            self.failures.load(Ordering::Relaxed),
        )
    }

    pub(super) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Whether an idle connection may serve again.
    pub(super) fn is_fit(&self, member: &Member, now: Instant) -> bool {
        member.expires > now && member.losses == self.reach.losses() && member.backend.is_clean()
    }

    async fn connect(&self) -> Result<Backend, ConnectError> {
        let unreachable = |error| ConnectError::Unreachable {
            server: format!("{}:{}", self.key.server.host, self.key.server.port),
            error,
        };
        if let Some(cause) = self.reach.refusal(Instant::now()) {
            return Err(unreachable(io::Error::other(cause)));
        }
        let attempt = Backend::connect(
            &self.key.server,
            &self.key.credentials,
            &self.tls,
            self.max_prepared_statements,
            NO_WORKER,
        );
        let result = timeout(self.connect_timeout, attempt)
            .await
            .unwrap_or_else(|_| {
                let reason = format!("no answer within {} ms", self.connect_timeout.as_millis());
                Err(unreachable(io::Error::new(io::ErrorKind::TimedOut, reason)))
            });
        let server = &self.key.server;
        match &result {
            Err(ConnectError::Unreachable { error, .. }) => {
                if self.reach.failed(Instant::now(), error.to_string()) {
                    tracing::warn!(%server, %error, "a server cannot be reached; its idle connections are given up");
                }
            }
            Ok(_) | Err(ConnectError::Refused { .. } | ConnectError::Authentication { .. }) => {
                if self.reach.answered() {
                    tracing::info!(%server, "a server answers again");
                }
            }
        }
        result
    }
}

impl deadpool::managed::Manager for Manager {
    /// Boxed, because it changes hands at every checkout and check-in.
    type Type = Box<Member>;
    type Error = ConnectError;

    async fn create(&self) -> Result<Box<Member>, ConnectError> {
        let losses = self.reach.losses();
        let result = self.connect().await;
        let total = if result.is_ok() {
            &self.connects
        } else {
            &self.failures
        };
        total.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        // Spread by a tenth, so that connections made together are not replaced together.
        let spread = rand::rng().random_range(0.9..=1.0);
        Ok(Box::new(Member {
            backend: result?,
            expires: now + self.lifetime.mul_f64(spread),
            last_used: now,
            losses,
        }))
    }

    async fn recycle(&self, member: &mut Box<Member>, _: &Metrics) -> RecycleResult<ConnectError> {
        if self.is_fit(member, Instant::now()) {
            Ok(())
        } else {
            Err(RecycleError::message(
                "the connection is not clean, or too old",
            ))
        }
    }
}
