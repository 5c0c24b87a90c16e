//! The crate's errors. The display text is for the client; no server's words are in it.

use catalog::ShardId;

use crate::gid::Gid;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "connection to shard {shard} was lost before the transaction was committed; it is rolled back"
    )]
    ShardLost { shard: ShardId },

    #[error(
        "shard {shard} had already rolled back its part of the transaction; all of it is rolled back"
    )]
    RolledBackEarly { shard: ShardId },

    #[error("transaction {gid} took too long to commit and was rolled back by recovery")]
    AbortedByRecovery { gid: Gid },

    #[error("the shards did not answer in time; the transaction is rolled back")]
    TimedOut,

    /// Temporary objects and notifications cannot be part of a prepared transaction. One shard may have them, since
    /// the coordinating shard is not prepared; two cannot.
    #[error(
        "shards {first} and {second} both hold changes that PostgreSQL cannot prepare (temporary objects, NOTIFY)"
    )]
    NotPreparable { first: ShardId, second: ShardId },
}

impl Error {
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Error::ShardLost { .. } | Error::TimedOut => "08006",
            Error::RolledBackEarly { .. } => "40000",
            Error::AbortedByRecovery { .. } => "40001",
            Error::NotPreparable { .. } => "0A000",
        }
    }

    /// What to do about it, for the HINT field.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::AbortedByRecovery { .. } | Error::ShardLost { .. } | Error::TimedOut => {
                Some("The transaction can be retried.")
            }
            Error::NotPreparable { .. } => Some(
                "Use temporary tables on one shard only, or commit before using them on another.",
            ),
            Error::RolledBackEarly { .. } => None,
        }
    }
}
