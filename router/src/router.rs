//! What all sessions of one router share.
//!
//! Entry point: [`Router`]. It is made once at start and handed down as an `Arc`; nothing in it is a global.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use catalog::Catalog;
use planner::PlanCache;
use quick_cache::sync::Cache;

use crate::auth::AuthSettings;
use crate::backend::AppliedSettings;
use crate::cancel::Sessions;
use crate::config::Config;
use crate::health::Health;
use crate::pool::Pools;
use crate::session::prepared::StatementRegistry;
use crate::session::start::Template;
use crate::store::Store;
use crate::wire::frame::Limits;
use crate::wire::startup::StartupSettings;

/// One router.
pub struct Router {
    pub config: Config,
    /// The name of the logical database.
    pub database: String,
    pub catalog: Arc<ArcSwap<Catalog>>,
    pub store: Arc<Store>,
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
