//! On whose behalf a session uses the servers.

use std::sync::{Arc, Mutex};

use catalog::Server;

use super::ServerPool;
use crate::backend::Credentials;

/// A session's user and how it authenticates to servers, with the pools it has met.
pub struct PoolIdentity {
    user: String,
    credentials: Credentials,
    /// The pools this session has used, so that a checkout need not look them up among all.
    met: Mutex<Vec<Arc<ServerPool>>>,
}

impl PoolIdentity {
    pub fn new(user: String, credentials: Credentials) -> Self {
        Self {
            user,
            credentials,
            met: Mutex::default(),
        }
    }

    /// The user that the client authenticated as.
    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(super) fn pool(
        &self,
        server: &Server,
        replica: bool,
        find: impl FnOnce() -> Arc<ServerPool>,
    ) -> Arc<ServerPool> {
        let mut met = self
            .met
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let known = met
            .iter()
            .find(|pool| pool.key.replica == replica && pool.key.server == *server);
        if let Some(pool) = known {
            return pool.clone();
        }
        let pool = find();
        met.push(pool.clone());
        pool
    }
}
