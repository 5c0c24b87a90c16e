//! One connection to one PostgreSQL server, on the data path.
//!
//! Entry points: [`Backend::connect`], then bytes: [`Backend::out`] and [`Backend::flush`] one way, [`Backend::fill`] and
//! [`Backend::input`] the other. What the connection has been brought to (settings, prepared statements) is remembered
//! here, so that the next session on it knows what it finds.
//!
//! Invariant: a connection is clean ([`Backend::is_clean`]) only if its last word was ReadyForQuery outside a
//! transaction, the server owes no answer to anything sent, nothing is unread or unsent, and what has been applied to it
//! is known. Whole messages only are put into [`Backend::out`] between two flushes.

mod cancel;
mod connect;
mod outstanding;
mod prepared;
mod scram;
mod stream;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::execute::expect::{Expect, StatementKey};
use crate::session::client::Parameters;
use crate::session::settings::Assignment;
use crate::wire::encode;
use crate::worker::{WorkerId, WorkerLocal};

pub use cancel::CancelTarget;
pub use connect::{ConnectError, Credentials};
use outstanding::Outstanding;
use prepared::PreparedHere;
pub use scram::ScramKeys;
use stream::ServerStream;

/// Settings that have been made on a connection since it began.
pub type AppliedSettings = Arc<BTreeMap<Box<str>, Assignment>>;

/// Least free room for a read: what a small answer needs.
const READ_BYTES: usize = 8 * 1024;
/// The same while the server sends as fast as it can, so that large results take few system calls.
const MOST_READ_BYTES: usize = 128 * 1024;
/// A buffer larger than this is not kept by an idle connection.
const KEEP_BYTES: usize = 2 * READ_BYTES;
/// How long to wait after each attempt to cancel what nobody waits for.
const ABANDON_PAUSES_MS: [u64; 7] = [20, 50, 100, 200, 500, 1000, 3000];

/// One connection to one server.
pub struct Backend {
    stream: ServerStream,
    out: BytesMut,
    input: BytesMut,
    /// The transaction status of the last ReadyForQuery.
    status: u8,
    outstanding: Outstanding,
    /// Free room for the next read.
    read_bytes: usize,
    /// Input that has been consumed, since the connection began.
    consumed_bytes: u64,
    pub parameters: Parameters,
    cancel_target: Arc<CancelTarget>,
    applied: AppliedSettings,
    applied_known: bool,
    prepared: PreparedHere,
    broken: bool,
    home: WorkerId,
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
        self.consumed_bytes += count as u64;
        if count == self.input.len() {
            self.input.clear();
        } else {
            bytes::Buf::advance(&mut self.input, count);
        }
    }

    /// How much input has been consumed since the connection began.
    pub fn consumed_bytes(&self) -> u64 {
        self.consumed_bytes
    }

    /// Sends what waits in `out`.
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.outstanding.sent(&self.out);
        self.send().await
    }

    /// Sends what waits in `out`, whatever it is.
    async fn send(&mut self) -> io::Result<()> {
        // Until everything is sent, in case this future is dropped half-way: nobody could go on from there.
        let was_broken = std::mem::replace(&mut self.broken, true);
        self.stream.write_all(&self.out).await?;
        self.stream.flush().await?;
        self.out.clear();
        self.broken = was_broken;
        Ok(())
    }

    /// Waits for more input; 0 means that the server has closed the connection.
    pub async fn fill(&mut self) -> io::Result<usize> {
        self.input.reserve(self.read_bytes);
        let room = self.input.capacity() - self.input.len();
        let result = self.stream.read_buf(&mut self.input).await;
        match result {
            Ok(0) | Err(_) => self.broken = true,
            // There was more than fitted: the server is ahead.
            Ok(count) if count == room => {
                self.read_bytes = (self.read_bytes * 4).min(MOST_READ_BYTES)
            }
            Ok(count) if count < READ_BYTES => self.read_bytes = READ_BYTES,
            Ok(_) => {}
        }
        result
    }

    /// ReadyForQuery has come, with this transaction status.
    pub fn set_status(&mut self, status: u8) {
        self.status = status;
        self.outstanding.ready();
    }

    /// The server has begun to take COPY data after a Sync had been sent, which it therefore ignores.
    pub fn sync_ignored(&mut self) {
        self.outstanding.sync_ignored();
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

    /// Whether the server has this statement prepared, which is about to be used.
    pub fn knows(&mut self, statement: StatementKey) -> bool {
        self.prepared.touch(statement)
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
        !self.broken && self.applied_known && self.status == b'I' && self.is_settled()
    }

    /// Whether the server has answered everything that was sent, and all of it has been read. It may be in a transaction.
    pub fn is_settled(&self) -> bool {
        !self.broken && self.outstanding.is_none() && self.out.is_empty() && self.input.is_empty()
    }

    /// Whether the server may be working on something that was sent.
    pub fn is_working(&self) -> bool {
        !self.broken && !self.outstanding.is_none()
    }

    /// Whether something waits to be sent.
    pub fn has_unsent(&self) -> bool {
        !self.out.is_empty()
    }

    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the socket is registered with the runtime of the calling thread.
    pub fn is_at_home(&self, worker: &WorkerLocal) -> bool {
        self.home == worker.id()
    }

    /// Registers the socket with the runtime of the calling thread, if it was another's.
    pub fn rehome(&mut self, worker: &WorkerLocal) -> io::Result<()> {
        if self.home != worker.id() {
            self.stream.reregister()?;
            self.home = worker.id();
        }
        Ok(())
    }

    /// Lets go of buffers that have grown, so that an idle connection holds little.
    pub fn shrink(&mut self) {
        for buffer in [&mut self.out, &mut self.input] {
            if buffer.is_empty() && buffer.capacity() > KEEP_BYTES {
                *buffer = BytesMut::new();
            }
        }
        self.read_bytes = READ_BYTES;
    }

    /// Gives buffers back while the connection is idle.
    pub fn rest(&mut self, worker: &WorkerLocal) {
        for buffer in [&mut self.out, &mut self.input] {
            if buffer.is_empty() && buffer.capacity() > 0 {
                worker.give_buffer(std::mem::take(buffer));
            }
        }
    }

    /// Takes buffers for work, where they had been given back.
    pub fn wake(&mut self, worker: &WorkerLocal) {
        for buffer in [&mut self.out, &mut self.input] {
            if buffer.capacity() == 0 {
                *buffer = worker.take_buffer();
            }
        }
    }

    /// Whether this thread's runtime has learned that the server has hung up or said something while the connection was
    /// idle. Does not wait.
    pub fn has_news(&mut self) -> bool {
        !self.input.is_empty() || self.stream.is_readable()
    }

    /// The same for a connection that has just come to this thread's runtime.
    pub fn has_news_now(&mut self) -> bool {
        !self.input.is_empty() || self.stream.is_readable_now()
    }

    /// The same for a connection that is on no worker's shelf, from any thread.
    pub fn has_arrivals(&self) -> bool {
        self.stream.has_arrivals()
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
                        if let Ok((name, value)) =
                            crate::wire::backend::parse_parameter_status(body)
                        {
                            let (name, value) = (name.to_owned(), value.to_owned());
                            self.parameters.update(&name, &value);
                        }
                    }
                    b'Z' => {
                        self.set_status(self.input[5]);
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

    /// Ends a connection on which the server may be working: it finds the connection closed when it next reads, and what it
    /// does until then is cancelled. Returns when the server has hung up, or when that takes too long.
    pub async fn abandon(&mut self) {
        self.broken = true;
        // A failure shows below, as the end of the input.
        let _ = self.stream.shutdown().await;
        for pause_ms in ABANDON_PAUSES_MS {
            // Again and again, because a server ignores a cancel that comes before the statement.
            if let Err(error) = self.cancel_target.cancel().await {
                tracing::debug!(server = %self.cancel_target, %error, "a statement that nobody waits for could not be cancelled");
            }
            let pause = Duration::from_millis(pause_ms);
            if timeout(pause, self.read_to_end()).await.is_ok() {
                return;
            }
        }
    }

    async fn read_to_end(&mut self) {
        self.input.clear();
        while matches!(self.fill().await, Ok(count) if count > 0) {
            self.input.clear();
        }
    }

    /// Says goodbye without waiting for it to be heard.
    pub fn terminate(mut self) {
        if self.is_settled() {
            let mut goodbye = BytesMut::new();
            encode::terminate(&mut goodbye);
            self.stream.try_write(&goodbye);
        }
    }
}
