//! What a server connection still owes, in the order in which it will answer.
//!
//! The router sends a server some messages of its own (BEGIN for a shard that joins late, Parse for a statement that
//! this connection has not seen) between those of the client. PostgreSQL answers strictly in order, so one queue says
//! for every frame that arrives whether it is the client's or the router's.

use std::sync::Arc;

use planner::Planned;

/// One outstanding answer.
#[derive(Debug)]
pub enum Expect {
    /// A simple query of the router's own, up to its ReadyForQuery. Nothing of it reaches the client; an error is kept.
    Own,
    /// One answer to Parse, Bind or Close that is not for the client.
    Swallowed,
    /// A BEGIN of the router's own, which the next message follows without waiting.
    Opening,
    /// Answers up to ReadyForQuery are kept in the link, in place of being forwarded.
    Captured,
    /// A simple query of the client's, up to ReadyForQuery, which is forwarded only if `ready`.
    Query {
        ready: bool,
        planned: Option<Arc<Planned>>,
    },
    Parse {
        forward: bool,
        statement: StatementKey,
    },
    Bind,
    Close {
        forward: bool,
    },
    /// The result's shape is noted there.
    DescribeStatement(crate::session::prepared::Shape),
    DescribePortal,
    Execute {
        planned: Option<Arc<Planned>>,
    },
    Sync {
        forward: bool,
    },
    /// Bytes of the router's own for the client, in turn.
    Local(bytes::BytesMut),
    /// Not an answer: what to take back if the batch fails before this point, because PostgreSQL would have skipped
    /// the message that did it.
    Undo(Undo),
}

/// Names one prepared statement on server connections: interned for named ones, per Parse message for unnamed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatementKey {
    pub id: u64,
    pub named: bool,
}

/// A change of the session's names that a failed batch takes back.
#[derive(Debug)]
pub enum Undo {
    Statement {
        name: Box<[u8]>,
        previous: Option<Arc<crate::session::prepared::Statement>>,
    },
}

impl StatementKey {
    /// The router's own BEGIN; clients' statements count from 1.
    pub const BEGIN: StatementKey = StatementKey { id: 0, named: true };
}

impl Expect {
    /// Whether answers after an error in the extended protocol resume here.
    pub fn resumes_after_error(&self) -> bool {
        matches!(
            self,
            Self::Sync { .. } | Self::Own | Self::Captured | Self::Query { .. }
        )
    }
}
