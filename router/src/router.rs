//! What all sessions of one router share.
//!
//! Entry point: [`Router`]. It is made once at start and handed down as an `Arc`; nothing in it is a global.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use planner::PlanCache;
use quick_cache::sync::Cache;
use tokio::sync::Notify;

use crate::auth::{AuthSettings, Authenticated};
use crate::backend::{AppliedSettings, Credentials};
use crate::cancel::Sessions;
use crate::config::{Config, ServerLogin};
use crate::drive::snapshot::Observers;
use crate::estimates::Estimates;
use crate::health::Health;
use crate::pool::{PoolIdentity, Pools};
use crate::session::budget::Budget;
use crate::session::prepared::StatementRegistry;
use crate::session::shapes::TableShapes;
use crate::session::start::Template;
use crate::store::{CatalogHandle, Connector, Store};
use crate::wire::frame::Limits;
use crate::wire::startup::StartupSettings;

/// One router.
pub struct Router {
    parts: Parts,
    draining: AtomicBool,
    closing: AtomicBool,
    left_behind: Mutex<BTreeSet<txn::Gid>>,
    /// What has happened since the router began.
    pub counters: Counters,
    /// For snapshots over several shards.
    pub observers: Observers,
    /// Somebody has left a prepared transaction behind: recovery need not wait for its next turn.
    pub recovery_wanted: Notify,
    /// A saga has been started: nobody need wait for the next look.
    pub saga_wanted: Notify,
}

/// Events since the router began.
#[derive(Debug, Default)]
pub struct Counters {
    /// Transactions of this router that were failed to end a deadlock over shards.
    pub deadlocks: AtomicU64,
    /// Prepared transactions that were found in doubt for longer than the operator wants, each counted once.
    pub long_in_doubt: AtomicU64,
    /// Snapshots over all shards that were taken.
    pub snapshots: AtomicU64,
    /// Shards' snapshots that were taken again, because they showed a part of a transaction.
    pub snapshot_retakes: AtomicU64,
    /// Snapshots for which writers over several shards had to wait.
    pub snapshot_gates: AtomicU64,
}

/// What a router is made of.
pub struct Parts {
    pub config: Config,
    /// The name of the logical database.
    pub database: String,
    pub catalog: CatalogHandle,
    pub store: Arc<Store>,
    /// For the router's own connections to servers.
    pub connector: Connector,
    pub pools: Arc<Pools>,
    pub health: Arc<Health>,
    pub plans: PlanCache,
    pub statements: StatementRegistry,
    pub sessions: Sessions,
    pub templates: Cache<(Box<str>, u64, AppliedSettings), Template>,
    pub shapes: TableShapes,
    pub estimates: Estimates,
    pub auth: AuthSettings,
    pub startup: StartupSettings,
    /// For clients' unfinished messages.
    pub budget: Arc<Budget>,
    pub client_limits: Limits,
    pub server_limits: Limits,
    pub gids: txn::GidSequence,
}

impl Deref for Router {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Router {
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            draining: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            left_behind: Mutex::default(),
            counters: Counters::default(),
            observers: Observers::default(),
            recovery_wanted: Notify::new(),
            saga_wanted: Notify::new(),
        }
    }

    /// Whether new clients are refused and idle ones sent away.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether sessions are ended even within a transaction.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Begins a graceful shutdown: idle sessions end now, others when their transaction ends.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.terminate_all();
    }

    /// Ends the sessions that still wait for their clients within a transaction.
    pub fn close_all(&self) {
        self.closing.store(true, Ordering::Release);
        self.terminate_all();
    }

    fn terminate_all(&self) {
        for session in self.sessions.list() {
            session.terminate();
        }
    }

    /// Has recovery look after a transaction soon, whatever its age.
    pub fn leave_to_recovery(&self, gid: txn::Gid) {
        tracing::warn!(%gid, "a prepared transaction is left to recovery");
        self.left_behind().insert(gid);
        self.recovery_wanted.notify_one();
    }

    /// What has been left behind since the last call.
    pub fn take_left_behind(&self) -> BTreeSet<txn::Gid> {
        std::mem::take(&mut self.left_behind())
    }

    fn left_behind(&self) -> std::sync::MutexGuard<'_, BTreeSet<txn::Gid>> {
        // A panic while the lock was held leaves the set whole: every change is one call.
        self.left_behind
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whom the router is to the servers on behalf of a client.
    pub fn identity(&self, user: &str, authenticated: &Authenticated) -> PoolIdentity {
        let configured = self.config.users.iter().find(|known| known.name == user);
        let login = configured.map_or(&self.config.servers.login, |known| &known.server);
        let any_server = self.config.servers.password.clone();
        let (credentials, passwords) = match login {
            ServerLogin::PassThrough => {
                let shown = authenticated.password.as_ref();
                let credentials = Credentials {
                    user: user.to_owned(),
                    password: shown.map(|secret| secret.expose().to_owned()),
                    keys: authenticated.keys.clone(),
                };
                (credentials, vec![any_server])
            }
            ServerLogin::As { user, password } => (
                Credentials::new(user, None),
                vec![password.clone(), any_server],
            ),
        };
        PoolIdentity::new(user.to_owned(), credentials).with_passwords(passwords)
    }
}
