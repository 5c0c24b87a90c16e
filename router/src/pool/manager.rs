//! How deadpool makes and judges connections of one pool.

use std::time::{Duration, Instant};

use deadpool::managed::{Metrics, RecycleError, RecycleResult};
use rand::Rng;

use super::{PoolKey, PoolSettings};
use crate::backend::{Backend, ConnectError};
use crate::tls::ServerTls;
use crate::worker::WorkerId;

/// A home that no worker has, so that a new connection is registered with the worker that takes it.
const NO_WORKER: WorkerId = WorkerId(usize::MAX);

pub struct Manager {
    key: PoolKey,
    tls: ServerTls,
    lifetime: Duration,
    max_prepared_statements: usize,
}

impl Manager {
    pub(super) fn new(key: PoolKey, tls: ServerTls, settings: &PoolSettings) -> Self {
        Self {
            key,
            tls,
            lifetime: settings.lifetime,
            max_prepared_statements: settings.max_prepared_statements,
        }
    }
}

impl deadpool::managed::Manager for Manager {
    type Type = Backend;
    type Error = ConnectError;

    async fn create(&self) -> Result<Backend, ConnectError> {
        let mut backend = Backend::connect(
            &self.key.server,
            &self.key.credentials,
            &self.tls,
            self.max_prepared_statements,
            NO_WORKER,
        )
        .await?;
        // Spread by a tenth, so that connections made together are not replaced together.
        let spread = rand::rng().random_range(0.9..=1.0);
        backend.expires = Instant::now() + self.lifetime.mul_f64(spread);
        Ok(backend)
    }

    async fn recycle(&self, backend: &mut Backend, _: &Metrics) -> RecycleResult<ConnectError> {
        if backend.is_clean() && backend.expires > Instant::now() {
            Ok(())
        } else {
            Err(RecycleError::message("the connection is not clean, or too old"))
        }
    }
}
