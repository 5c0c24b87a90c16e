//! Execution: a session's links to servers, and the movement of bytes over them.
//!
//! Entry point: [`Link`], one server connection while it works for one session. What it owes is a queue of
//! [`expect::Expect`]; [`relay`] moves the answers.

pub mod expect;
pub mod relay;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use catalog::ShardId;
use planner::Pins;

use crate::backend::AppliedSettings;
use crate::pool::Pooled;
use crate::session::client::ClientIo;
use crate::session::prepared::ServerName;
use crate::wire::frame::Limits;
use crate::wire::{ProtocolError, encode};

use expect::{Expect, StatementKey};

/// One server connection while it works for one session.
pub struct Link {
    pub shard: ShardId,
    /// A replica serves; otherwise the primary.
    pub replica: bool,
    pub backend: Pooled,
    pub expects: VecDeque<Expect>,
    /// Bytes of a large row that are still to pass through.
    pub streaming: usize,
    pub limits: Limits,
    /// Settings are changed and put back for the router's own questions: the client is not told.
    pub quiet: bool,
    /// Notifications are for this session.
    pub listening: bool,
    /// Added to the CONTEXT of errors.
    pub context: Arc<str>,
    /// Added to the position of errors, because the server saw only a part of the client's text.
    pub position_offset: i32,
    /// The same for the error of the next statement of the router's own.
    pub own_offset: i32,
    /// The session's open block has been begun here.
    pub in_block: bool,
    /// A statement that may write has been sent within the block.
    pub wrote: bool,
    /// Why the connection must stay with the session.
    pub pins: Pins,
    /// Extended messages have been sent since the last Sync.
    pub unsynced: bool,
    /// What was applied to the connection when the block began, which its rollback returns to.
    pub applied_at_begin: Option<AppliedSettings>,
    /// The server takes COPY data.
    pub copying: bool,
    /// Bytes captured instead of being forwarded.
    pub captured: Vec<u8>,
}

impl Link {
    pub fn new(shard: ShardId, backend: Pooled, limits: Limits, context: Arc<str>) -> Self {
        Self {
            shard,
            replica: false,
            backend,
            expects: VecDeque::new(),
            streaming: 0,
            limits,
            quiet: false,
            listening: false,
            context,
            position_offset: 0,
            own_offset: 0,
            in_block: false,
            wrote: false,
            pins: Pins::NONE,
            unsynced: false,
            applied_at_begin: None,
            copying: false,
            captured: Vec::new(),
        }
    }

    /// Opens a block, by messages that ask for no answer of their own: it comes with that of the statement that follows. If
    /// the BEGIN fails, to a late cancel for example, the server skips that statement.
    pub fn begin(&mut self) {
        let name = ServerName::of(StatementKey::BEGIN);
        if !self.backend.knows(StatementKey::BEGIN) {
            self.backend
                .note_prepared(StatementKey::BEGIN, &mut self.expects);
            encode::parse(self.backend.out(), name.as_bytes(), b"BEGIN", &[]);
        }
        encode::bind(self.backend.out(), b"", name.as_bytes());
        encode::execute(self.backend.out(), b"", 0);
        self.expects.push_back(Expect::Opening);
    }

    /// An answer of the router's own for the client, in its turn.
    pub fn local(&mut self, client: &mut ClientIo, encode: impl FnOnce(&mut BytesMut)) {
        if self.expects.is_empty() {
            encode(&mut client.out);
        } else {
            let mut bytes = BytesMut::new();
            encode(&mut bytes);
            self.expects.push_back(Expect::Local(bytes));
        }
    }
}

/// What can go wrong between a client and a server.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the connection to the client broke: {0}")]
    Client(io::Error),
    #[error("the connection to the shard broke: {0}")]
    Server(io::Error),
    #[error("the shard's answer cannot be understood: {0}")]
    Protocol(ProtocolError),
}

impl LinkError {
    pub fn unexpected(tag: u8) -> Self {
        Self::Protocol(ProtocolError::invalid_message_type(tag))
    }
}
