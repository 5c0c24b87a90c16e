//! What can go wrong between the router and the servers that hold the catalog and the shards.

use std::fmt;
use std::time::Duration;

use catalog::Epoch;

/// An error of the catalog's home or of a control connection to a shard.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to {server}: {reason}")]
    Connect {
        server: String,
        sqlstate: Option<String>,
        reason: String,
    },
    #[error("{0}")]
    Server(Box<ServerError>),
    #[error("{server} holds no pgweave catalog: run \"pgweave init\" first")]
    NotInitialized { server: String },
    #[error(
        "the catalog on {server} has format {found}, this router knows format {known}: use routers of one version"
    )]
    Format {
        server: String,
        found: i32,
        known: i32,
    },
    #[error("cannot bring the catalog's schema on {server} up to date: {reason}")]
    Migration { server: String, reason: String },
    #[error("the catalog changed meanwhile: expected epoch {expected}, found {found}")]
    Stale { expected: Epoch, found: Epoch },
    #[error("the catalog holds {what}")]
    Corrupt { what: String },
    #[error("{what} is already defined as {existing}, which differs from {wanted}")]
    Conflict {
        what: String,
        existing: String,
        wanted: String,
    },
    #[error("this router did not see epoch {wanted} within {waited:?}; it has epoch {seen}")]
    EpochTimeout {
        wanted: Epoch,
        seen: Epoch,
        waited: Duration,
    },
    #[error("the outcome of transaction {gid} is unknown: {reason}")]
    OutcomeUnknown { gid: String, reason: String },
    #[error("no values are left in sequence {sequence}")]
    SequenceExhausted { sequence: String },
}

/// What a server answered, with the place it came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerError {
    /// A shard's name, or an address.
    pub server: String,
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub context: Option<String>,
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.server, self.message)?;
        if let Some(detail) = &self.detail {
            write!(formatter, " ({detail})")?;
        }
        Ok(())
    }
}

impl ServerError {
    /// The fields of an error response; a broken connection becomes 08006.
    pub fn new(server: &str, error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(response) => ServerError {
                server: server.to_owned(),
                sqlstate: response.code().code().to_owned(),
                message: response.message().to_owned(),
                detail: response.detail().map(str::to_owned),
                hint: response.hint().map(str::to_owned),
                context: response.where_().map(str::to_owned),
            },
            None => ServerError {
                server: server.to_owned(),
                sqlstate: "08006".to_owned(),
                message: reason(error),
                ..ServerError::default()
            },
        }
    }
}

impl Error {
    pub fn server(server: &str, error: &tokio_postgres::Error) -> Self {
        Error::Server(Box::new(ServerError::new(server, error)))
    }

    pub fn corrupt(what: impl Into<String>) -> Self {
        Error::Corrupt { what: what.into() }
    }

    pub fn sqlstate(&self) -> &str {
        match self {
            Error::Connect { .. } => "08006",
            Error::Server(error) => &error.sqlstate,
            Error::NotInitialized { .. } => "55000",
            Error::Format { .. } => "55000",
            Error::Migration { .. } => "55000",
            Error::Stale { .. } => "40001",
            Error::Corrupt { .. } => "XX001",
            Error::Conflict { .. } => "42710",
            Error::EpochTimeout { .. } => "55000",
            Error::OutcomeUnknown { .. } => "08007",
            Error::SequenceExhausted { .. } => "2200H",
        }
    }

    /// The server could not be reached or hung up: worth another attempt later.
    pub fn is_connection(&self) -> bool {
        match self {
            Error::Connect { .. } => true,
            Error::Server(error) => {
                error.sqlstate.starts_with("08") || error.sqlstate.starts_with("57P")
            }
            _ => false,
        }
    }
}

/// The innermost cause too, which tokio-postgres leaves out of its own text.
pub(crate) fn reason(error: &tokio_postgres::Error) -> String {
    let mut text = match error.as_db_error() {
        Some(response) => return response.message().to_owned(),
        None => error.to_string(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
