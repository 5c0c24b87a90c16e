//! Why a session gets no server connection.

use catalog::Server;
use deadpool::Status;
use deadpool::managed::{PoolError as DeadpoolError, TimeoutType};

use super::PoolSettings;
use crate::backend::ConnectError;
use crate::session::report::{Report, known_sqlstate};

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("no connection to {server} became free within {wait_ms} ms")]
    Exhausted {
        server: String,
        wait_ms: u128,
        max_size: usize,
        waiting: usize,
    },
    #[error("connecting to {server} took longer than {connect_ms} ms")]
    Slow { server: String, connect_ms: u128 },
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
        status: Status,
    ) -> Self {
        let server = format!("{}:{}", server.host, server.port);
        match error {
            DeadpoolError::Timeout(TimeoutType::Wait) => Self::Exhausted {
                server,
                wait_ms: settings.wait_timeout.as_millis(),
                max_size: status.max_size,
                waiting: status.waiting,
            },
            DeadpoolError::Timeout(_) => Self::Slow {
                server,
                connect_ms: settings.connect_timeout.as_millis(),
            },
            DeadpoolError::Backend(error) => Self::Connect(error),
            DeadpoolError::Closed | DeadpoolError::NoRuntimeSpecified | DeadpoolError::PostCreateHook(_) => {
                Self::Closed { server }
            }
        }
    }

    /// What the client is told.
    pub fn report(self, shard: &str) -> Report {
        let context = format!("pgweave: shard {shard}");
        let mut report = match &self {
            Self::Exhausted { max_size, waiting, .. } => Report::error("53300", self.to_string())
                .detail(format!("All {max_size} connections of the pool are in use, {waiting} clients wait."))
                .hint("Raise pool.max_size (and max_connections of the server), or shorten transactions. SHOW pgweave.pools shows the pools."),
            Self::Connect(ConnectError::Refused { fields, .. }) => {
                let mut report = Report::error(known_sqlstate(&fields.sqlstate), fields.message.clone());
                report.detail = fields.detail.clone();
                report.hint = fields.hint.clone();
                report
            }
            Self::Connect(ConnectError::Authentication { .. }) => Report::error("28000", self.to_string())
                .hint("Give the router this user's password for the servers ([[users]] in its configuration)."),
            Self::Slow { .. } | Self::Connect(ConnectError::Unreachable { .. }) | Self::Closed { .. } => {
                Report::error("08006", self.to_string())
                    .hint("The shard is down or cannot be reached from the router. Nothing was done there; repeat the transaction later.")
            }
        };
        report.context = Some(context);
        report
    }
}
