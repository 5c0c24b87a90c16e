//! What a server answered to one command, and what the client is told at the end.
//!
//! The distinction that matters is *refused* against *lost*. An ERROR says that the command had no effect. A
//! closed connection, or a FATAL or PANIC error, says nothing: the server may have done the work and died
//! before it could say so. [`Completion::is_lost`] draws the line, in one place.

use std::fmt;

use catalog::ShardId;

use crate::error::Error;
use crate::gid::Gid;

/// The end of one command on one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// CommandComplete with the tag that the command asked for.
    Done,
    /// The same for PREPARE TRANSACTION, with the transaction's id on that shard; 0 if it wrote nothing, `None` if that is not known.
    Prepared { xid: Option<u64> },
    /// CommandComplete with the tag ROLLBACK. PostgreSQL answers so, without an error, to COMMIT and to PREPARE
    /// TRANSACTION in a failed transaction and (PREPARE TRANSACTION) outside any.
    RolledBack,
    /// ErrorResponse.
    Failed(ServerError),
    /// The connection closed, or no answer is going to be awaited any more. The effect is unknown.
    Lost,
}

/// An ErrorResponse. The machines look at the code only; the body goes to the client as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerError {
    pub sqlstate: [u8; 5],
    /// Severity (field V) FATAL or PANIC: the server closes the connection after it.
    pub fatal: bool,
    /// The fields of the message, verbatim.
    pub body: Box<[u8]>,
}

/// The answer to the client's COMMIT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Committed, durably, everywhere.
    Committed {
        /// Shards where COMMIT PREPARED was not seen to succeed. Recovery finishes them; until then the rows
        /// written there are locked and not visible, so this session must not read them as if they were.
        unfinished: Vec<ShardId>,
    },
    /// Rolled back everywhere, now or as soon as recovery reaches what was lost. It cannot commit any more.
    Aborted(Failure),
    /// Not known to this router in time (SQLSTATE 08007). With a gid the outcome can be asked for later; without,
    /// it was a plain COMMIT on one shard, whose connection was lost.
    Unknown { gid: Option<Gid> },
}

/// Why a transaction was rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A shard's own error, to be passed on verbatim.
    Server { shard: ShardId, error: ServerError },
    /// Ours.
    Own(Error),
}

impl Completion {
    /// Reads a command tag: `PREPARE TRANSACTION`, `COMMIT`, `ROLLBACK` … For the command ROLLBACK, whose own tag
    /// this is, the difference does not matter.
    pub fn of_tag(tag: &str) -> Self {
        if tag == "ROLLBACK" {
            Completion::RolledBack
        } else {
            Completion::Done
        }
    }

    /// Whether the effect of the command is unknown.
    pub fn is_lost(&self) -> bool {
        match self {
            Completion::Lost => true,
            Completion::Failed(error) => error.fatal,
            Completion::Done | Completion::Prepared { .. } | Completion::RolledBack => false,
        }
    }

    /// Whether a command on a prepared transaction found that somebody had finished it already: undefined_object.
    pub fn is_already_finished(&self) -> bool {
        matches!(self, Completion::Failed(error) if !error.fatal && &error.sqlstate == b"42704")
    }
}

impl Failure {
    pub fn sqlstate(&self) -> &str {
        match self {
            Failure::Server { error, .. } => error.sqlstate_text(),
            Failure::Own(error) => error.sqlstate(),
        }
    }
}

impl ServerError {
    /// Whether the decision's key was taken: a unique violation (23505) of `pgweave.decision`, by the fields `s` and `t`.
    pub fn is_key_of_decision(&self) -> bool {
        let mut fields = self.body.split(|byte| *byte == 0);
        let mut says = |wanted: &[u8]| fields.any(|field| field == wanted);
        // PostgreSQL sends the schema before the table.
        &self.sqlstate == b"23505" && says(b"spgweave") && says(b"tdecision")
    }

    /// The code as text; XX000 for bytes that are none.
    pub fn sqlstate_text(&self) -> &str {
        std::str::from_utf8(&self.sqlstate).unwrap_or("XX000")
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {}",
            if self.fatal { "FATAL" } else { "ERROR" },
            self.sqlstate_text()
        )
    }
}

impl Outcome {
    pub fn sqlstate(&self) -> &str {
        match self {
            Outcome::Committed { .. } => "00000",
            Outcome::Aborted(failure) => failure.sqlstate(),
            Outcome::Unknown { .. } => "08007",
        }
    }
}
