//! One connection to one PostgreSQL server, on the data path.
//!
//! Entry points: [`Backend::connect`], then bytes: [`Backend::out`] and [`Backend::flush`] one way, [`Backend::fill`] and
//! [`Backend::input`] the other. What the connection has been brought to (settings, prepared statements) is remembered
//! here, so that the next session on it knows what it finds.
//!
//! Invariant: a connection is clean ([`Backend::is_clean`]) only if its last word was ReadyForQuery outside a
//! transaction, nothing is unread or unsent, and what has been applied to it is known.

mod cancel;
mod connect;
mod prepared;
mod stream;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::execute::expect::{Expect, StatementKey};
use crate::session::client::Parameters;
use crate::session::settings::Assignment;
use crate::wire::encode;
use crate::worker::{WorkerId, WorkerLocal};

pub use cancel::CancelTarget;
pub use connect::{ConnectError, Credentials};
use prepared::PreparedHere;
use stream::ServerStream;

/// Settings that have been made on a connection since it began.
pub type AppliedSettings = Arc<BTreeMap<Box<str>, Assignment>>;

/// Least free room for a read.
const READ_BYTES: usize = 8 * 1024;

/// One connection to one server.
pub struct Backend {
    stream: ServerStream,
    out: BytesMut,
    input: BytesMut,
    /// The transaction status of the last ReadyForQuery.
    status: u8,
    pub parameters: Parameters,
    cancel_target: Arc<CancelTarget>,
    applied: AppliedSettings,
    applied_known: bool,
    prepared: PreparedHere,
    broken: bool,
    home: WorkerId,
    pub created: Instant,
    /// Moment after which the connection is replaced.
    pub expires: Instant,
}

impl Backend {
    /// Bytes to be sent to the server.
    pub fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// Bytes that have come and are not consumed.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// Drops the first `count` bytes of the input.
    pub fn consume(&mut self, count: usize) {
        if count == self.input.len() {
            self.input.clear();
        } else {
            bytes::Buf::advance(&mut self.input, count);
        }
    }

    /// Sends what waits in `out`.
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let result = async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        }
        .await;
        self.out.clear();
        self.broken |= result.is_err();
        result
    }

    /// Waits for more input; 0 means that the server has closed the connection.
    pub async fn fill(&mut self) -> io::Result<usize> {
        self.input.reserve(READ_BYTES);
        let result = self.stream.read_buf(&mut self.input).await;
        self.broken |= !matches!(result, Ok(count) if count > 0);
        result
    }

    pub fn set_status(&mut self, status: u8) {
        self.status = status;
    }

    /// `I` idle, `T` in a transaction, `E` in a failed one.
    pub fn status(&self) -> u8 {
        self.status
    }

    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    pub fn cancel_target(&self) -> &Arc<CancelTarget> {
        &self.cancel_target
    }

    pub fn process_id(&self) -> u32 {
        self.cancel_target.process_id()
    }

    /// What has been set on the connection.
    pub fn applied(&self) -> &AppliedSettings {
        &self.applied
    }

    pub fn set_applied(&mut self, applied: AppliedSettings) {
        self.applied = applied;
        self.applied_known = true;
    }

    /// What has been set is not known until [`Self::set_applied`].
    pub fn forget_applied(&mut self) {
        self.applied_known = false;
    }

    /// A simple query is to be sent. On the server it ends the unnamed statement.
    pub fn query(&mut self, sql: &[u8]) {
        self.prepared.forget_unnamed();
        encode::query(&mut self.out, sql);
    }

    /// The same with a whole message of a client's.
    pub fn send_query(&mut self, message: &[u8]) {
        self.prepared.forget_unnamed();
        self.out.extend_from_slice(message);
    }

    /// Whether the server has this statement prepared.
    pub fn knows(&self, statement: StatementKey) -> bool {
        self.prepared.contains(statement)
    }

    /// The statement is about to be prepared here. One that must make room for it is closed first.
    pub fn note_prepared(&mut self, statement: StatementKey, expects: &mut VecDeque<Expect>) {
        if let Some(evicted) = self.prepared.insert(statement) {
            let name = crate::session::prepared::ServerName::of(evicted);
            encode::close(&mut self.out, b'S', name.as_bytes());
            expects.push_back(Expect::Close { forward: false });
        }
    }

    pub fn forget_prepared(&mut self, statement: StatementKey) {
        self.prepared.remove(statement);
    }

    /// The unnamed statement has been replaced by one that no session knows.
    pub fn forget_unnamed(&mut self) {
        self.prepared.forget_unnamed();
    }

    /// DISCARD ALL has run here.
    pub fn discarded_all(&mut self) {
        self.prepared.clear();
        self.applied = AppliedSettings::default();
        self.applied_known = true;
    }

    /// Whether another session may use the connection as it is.
    pub fn is_clean(&self) -> bool {
        !self.broken
            && self.applied_known
            && self.status == b'I'
            && self.out.is_empty()
            && self.input.is_empty()
    }

    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Registers the socket with the runtime of the calling thread, if it was another's.
    pub fn rehome(&mut self, worker: &WorkerLocal) -> io::Result<()> {
        if self.home != worker.id() {
            self.stream.reregister()?;
            self.home = worker.id();
        }
        Ok(())
    }

    /// Gives buffers back while the connection is idle.
    pub fn rest(&mut self, worker: &WorkerLocal) {
        for buffer in [&mut self.out, &mut self.input] {
            if buffer.is_empty() && buffer.capacity() > 0 {
                worker.give_buffer(std::mem::take(buffer));
            }
        }
    }

    /// Takes buffers for work.
    pub fn wake(&mut self, worker: &WorkerLocal) {
        for buffer in [&mut self.out, &mut self.input] {
            if buffer.capacity() == 0 {
                *buffer = worker.take_buffer();
            }
        }
    }

    /// Whether the server has hung up or said something while the connection was idle. Does not wait.
    pub fn has_news(&mut self) -> bool {
        !self.input.is_empty() || self.stream.is_readable()
    }

    /// Runs a simple query whose rows do not matter. Used to clean a connection, never on the hot path.
    pub async fn run(&mut self, sql: &str) -> io::Result<()> {
        self.query(sql.as_bytes());
        self.flush().await?;
        let limits = crate::wire::frame::Limits::server();
        let mut failed = None;
        loop {
            while let Some(frame) = crate::wire::frame::next_frame(&self.input, &limits)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
            {
                let body = &self.input[5..frame.total];
                match frame.tag {
                    b'E' => failed = Some(crate::wire::backend::error_fields(body).message),
                    b'S' => {
                        if let Ok((name, value)) = crate::wire::backend::parse_parameter_status(body) {
                            let (name, value) = (name.to_owned(), value.to_owned());
                            self.parameters.update(&name, &value);
                        }
                    }
                    b'Z' => {
                        self.status = self.input[5];
                        self.consume(frame.total);
                        return match failed {
                            Some(message) => Err(io::Error::other(message)),
                            None => Ok(()),
                        };
                    }
                    _ => {}
                }
                self.consume(frame.total);
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Says goodbye without waiting for it to be heard.
    pub fn terminate(mut self) {
        if !self.broken && self.status == b'I' {
            let mut goodbye = BytesMut::new();
            encode::terminate(&mut goodbye);
            self.stream.try_write(&goodbye);
        }
    }
}
