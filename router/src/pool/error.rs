//! Why a session gets no server connection.

use catalog::Server;
use deadpool::managed::PoolError as DeadpoolError;

use super::{PoolSettings, PoolStatus};
use crate::backend::ConnectError;
use crate::session::report::{Report, known_sqlstate};

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("no connection to {server} became free within {wait_ms} ms")]
    Exhausted {
        server: String,
        wait_ms: u128,
        status: Box<PoolStatus>,
    },
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the pool of {server} is closed")]
    Closed { server: String },
}

impl PoolError {
    pub(super) fn from_deadpool(
        error: DeadpoolError<ConnectError>,
        server: &Server,
        settings: &PoolSettings,
        status: impl FnOnce() -> PoolStatus,
    ) -> Self {
        let server = format!("{}:{}", server.host, server.port);
        match error {
            // Waiting is the only thing that deadpool bounds here.
            DeadpoolError::Timeout(_) => Self::Exhausted {
                server,
                wait_ms: settings.wait_timeout.as_millis(),
                status: Box::new(status()),
            },
            DeadpoolError::Backend(error) => Self::Connect(error),
            DeadpoolError::Closed
            | DeadpoolError::NoRuntimeSpecified
            | DeadpoolError::PostCreateHook(_) => Self::Closed { server },
        }
    }

    /// What the client is told, where the server belongs to this shard.
    pub fn report(self, shard: &str) -> Report {
        let gone = |message: String| {
            Report::error("08006", message)
                .hint("The shard is down or cannot be reached from the router. Nothing was done there; repeat the transaction later.")
        };
        let mut report = match &self {
            Self::Exhausted { wait_ms, status, .. } => Report::error(
                "53300",
                format!("pgweave: no connection to shard {shard} became free within {wait_ms} ms"),
            )
            .detail(format!(
                "The pool of user \"{}\" at {}:{} holds {} of at most {} connections, {} of them in use; {} sessions wait.",
                status.user,
                status.server.host,
                status.server.port,
                status.size,
                status.max_size,
                status.in_use,
                status.waiting,
            ))
            .hint("Raise pool.max_size (and max_connections of the server), or shorten transactions. SHOW pgweave.pools shows the pools."),
            Self::Connect(ConnectError::Refused { fields, .. }) => {
                let mut report = Report::error(known_sqlstate(&fields.sqlstate), fields.message.clone());
                report.detail = fields.detail.clone();
                report.hint = fields.hint.clone();
                report
            }
            Self::Connect(ConnectError::Authentication { .. }) => Report::error("28000", self.to_string())
                .hint("Give the router this user's password for the servers ([[users]] in its configuration)."),
            Self::Connect(ConnectError::Unreachable { server, error }) => {
                gone(format!("pgweave: cannot reach shard {shard} at {server}: {error}"))
            }
            Self::Closed { .. } => gone(self.to_string()),
        };
        report.context = Some(format!("pgweave: shard {shard}"));
        report
    }
}
