//! On whose behalf a session uses the servers.

use std::sync::{Arc, Mutex};

use catalog::Server;

use super::ServerPool;
use crate::backend::Credentials;
use crate::config::Password;

/// A session's user and how it authenticates to servers, with the pools it has met.
pub struct PoolIdentity {
    user: String,
    credentials: Credentials,
    /// Where a password is looked for if the credentials have none; the first that has one for the server counts.
    passwords: Vec<Password>,
    /// The pools this session has used, so that a checkout need not look them up among all.
    met: Mutex<Vec<Arc<ServerPool>>>,
}

impl PoolIdentity {
    pub fn new(user: String, credentials: Credentials) -> Self {
        Self {
            user,
            credentials,
            passwords: Vec::new(),
            met: Mutex::default(),
        }
    }

    /// With passwords of the configuration, which may differ between servers.
    pub fn with_passwords(self, passwords: Vec<Password>) -> Self {
        Self { passwords, ..self }
    }

    /// The user that the client authenticated as.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// As whom to connect to this server.
    pub fn credentials(&self, server: &Server) -> Credentials {
        let mut credentials = self.credentials.clone();
        if credentials.password.is_none() {
            credentials.password = self.passwords.iter().find_map(|password| {
                let (host, dbname) = (&server.host, &server.dbname);
                let secret = password.for_server(host, server.port, dbname, &credentials.user)?;
                Some(secret.expose().to_owned())
            });
        }
        credentials
    }

    pub(super) fn pool(
        &self,
        server: &Server,
        (replica, merge): (bool, bool),
        find: impl FnOnce() -> Arc<ServerPool>,
    ) -> Arc<ServerPool> {
        let mut met = self
            .met
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let known = met.iter().find(|pool| {
            (pool.key.replica, pool.key.merge) == (replica, merge) && pool.key.server == *server
        });
        if let Some(pool) = known {
            return pool.clone();
        }
        let pool = find();
        met.push(pool.clone());
        pool
    }
}
