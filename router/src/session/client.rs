//! The client's side of a session: its socket, its two buffers, and the parameters it has been told.
//!
//! An idle client holds no buffers: input is taken from the worker's spare buffers when the socket has something to
//! read and handed back when everything has been processed, so that ten thousand idle clients cost little.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::budget::{Budget, Charge};
use super::prepared::{ServerName, Statement};
use crate::cancel::SessionHandle;
use crate::tls::ClientStream;
use crate::wire::ProtocolError;
use crate::wire::backend::sqlstate;
use crate::wire::encode;
use crate::wire::frame::{self, Frame, Limits};
use crate::worker::WorkerLocal;

/// What a server answers to a cancel.
const QUERY_CANCELED: &[u8; 5] = b"57014";

/// A buffer that has grown beyond this is not kept for an idle session.
const KEEP_BYTES: usize = 16 * 1024;

/// One client's connection.
pub struct ClientIo {
    pub stream: ClientStream,
    /// Bytes to be sent to the client.
    pub out: BytesMut,
    /// How many have been sent.
    flushed: u64,
    /// What ParameterStatus messages have told this client.
    pub reported: Parameters,
    /// The client's named statements.
    pub statements: HashMap<Box<[u8]>, Arc<Statement>>,
    /// ParameterStatus messages of statements that the router ran itself: PostgreSQL sends them before ReadyForQuery.
    pub late: BytesMut,
    /// A statement has failed because of a deadlock: others wait for what the session still holds.
    pub deadlocked: bool,
    handle: Option<Arc<SessionHandle>>,
    /// Rows are not for the client: EXPLAIN ANALYZE.
    discarding: Option<Box<Discarding>>,
    input: BytesMut,
    limits: Limits,
    worker: Arc<WorkerLocal>,
    charge: Charge,
}

impl ClientIo {
    pub fn new(
        stream: ClientStream,
        limits: Limits,
        worker: Arc<WorkerLocal>,
        budget: Arc<Budget>,
    ) -> Self {
        Self {
            stream,
            out: BytesMut::new(),
            reported: Parameters::default(),
            statements: HashMap::new(),
            late: BytesMut::new(),
            deadlocked: false,
            flushed: 0,
            handle: None,
            discarding: None,
            input: BytesMut::new(),
            limits,
            worker,
            charge: Charge::nothing(budget),
        }
    }

    /// The session that the connection serves; it may be told of a deadlock.
    pub fn serves(&mut self, handle: Arc<SessionHandle>) {
        self.handle = Some(handle);
    }

    /// The next whole message in the input, if it is there.
    pub fn next_frame(&self) -> Result<Option<Frame>, ProtocolError> {
        frame::next_frame(&self.input, &self.limits)
    }

    /// The tags of the whole messages that wait in the input.
    pub fn upcoming_tags(&self) -> impl Iterator<Item = u8> + '_ {
        let mut rest = &self.input[..];
        std::iter::from_fn(move || {
            let frame = frame::next_frame(rest, &self.limits).ok()??;
            rest = &rest[frame.total..];
            Some(frame.tag)
        })
    }

    /// Takes one message out of the input.
    pub fn take(&mut self, frame: Frame) -> BytesMut {
        self.input.split_to(frame.total)
    }

    /// Waits until the client has sent something or closed. Holds no buffer meanwhile.
    pub async fn wait(&mut self) -> io::Result<()> {
        if self.input.is_empty() {
            self.release_buffers();
        }
        self.stream.readable().await
    }

    /// Reads what is there; 0 means that the client has closed the connection.
    ///
    /// # Errors
    /// `OutOfMemory` if all clients' unfinished messages together have become too long.
    pub async fn fill(&mut self) -> io::Result<usize> {
        if self.input.capacity() == 0 {
            self.input = self.worker.take_buffer();
        }
        // A buffer grows by doubling, not at once to what the message claims to need.
        self.input.reserve(4096);
        if self.input.capacity() > KEEP_BYTES && !self.charge.set(self.input.capacity()) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.stream.read_buf(&mut self.input).await
    }

    /// Sends everything that is waiting.
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        if let Some(discarding) = &mut self.discarding {
            discarding.take(&mut self.out);
            return Ok(());
        }
        self.stream.write_all(&self.out).await?;
        self.flushed += self.out.len() as u64;
        self.out.clear();
        self.stream.flush().await
    }

    /// Where the next byte comes, counted from the first that the client was sent.
    pub fn position(&self) -> u64 {
        self.flushed + self.out.len() as u64
    }

    /// Where in `out` the byte of a position is, or the first if that has been sent: messages are sent whole.
    pub fn offset_of(&self, position: u64) -> usize {
        usize::try_from(position.saturating_sub(self.flushed)).unwrap_or(usize::MAX)
    }

    /// Takes back what has been said since that position, if it is an error about values and nothing else, and nothing of it has been
    /// sent: division by zero, a text that is no number, a subquery with several rows.
    pub fn take_back_data_error(&mut self, since: u64) -> bool {
        let at = self.offset_of(since);
        let said = self.out.get(at..).unwrap_or_default();
        let is_one = self.flushed <= since
            && said.first() == Some(&b'E')
            && frame::total_length(said) == Some(said.len());
        let about_data = said
            .get(5..)
            .and_then(sqlstate)
            .is_some_and(|code| matches!(&code[..2], b"22" | b"21"));
        if is_one && about_data {
            self.out.truncate(at);
        }
        is_one && about_data
    }

    /// From now on results are counted and thrown away; what else is for the client waits.
    pub fn discard_results(&mut self) {
        let held = std::mem::take(&mut self.out);
        self.discarding = Some(Box::new(Discarding {
            held,
            ..Discarding::default()
        }));
    }

    /// From now on rows are kept, up to so many bytes; what else is for the client waits.
    pub fn collect_rows(&mut self, limit_bytes: u64) {
        let held = std::mem::take(&mut self.out);
        self.discarding = Some(Box::new(Discarding {
            held,
            limit_bytes,
            ..Discarding::default()
        }));
    }

    /// Ends that.
    pub fn collected_rows(&mut self) -> Collected {
        let Some(mut discarding) = self.discarding.take() else {
            return Collected::default();
        };
        discarding.take(&mut self.out);
        self.out = discarding.held;
        Collected {
            messages: discarding.kept,
            rows: discarding.rows,
            bytes: discarding.bytes,
        }
    }

    /// Ends that; returns how many rows there were.
    pub fn keep_results(&mut self) -> u64 {
        let Some(mut discarding) = self.discarding.take() else {
            return 0;
        };
        discarding.take(&mut self.out);
        self.out = discarding.held;
        discarding.rows
    }

    /// The body of a server's error with the client's own names of its statements in place of the server's. The answer to a
    /// cancel of the router's own says what that was for.
    pub fn with_own_names<'a>(&mut self, body: &'a [u8]) -> Cow<'a, [u8]> {
        if sqlstate(body) == Some(*QUERY_CANCELED)
            && let Some((report, deadlock)) = self
                .handle
                .as_ref()
                .and_then(|handle| handle.take_verdict())
        {
            self.deadlocked |= deadlock;
            return Cow::Owned(encode::error_body(&report));
        }
        let prefix = b"pgweave_";
        if memchr::memmem::find(body, prefix).is_none() {
            return Cow::Borrowed(body);
        }
        let mut renamed = body.to_vec();
        for (name, statement) in &self.statements {
            let server_name = ServerName::of(statement.key);
            let quoted = [b"\"", server_name.as_bytes(), b"\""].concat();
            while let Some(at) = memchr::memmem::find(&renamed, &quoted) {
                renamed.splice(at + 1..at + quoted.len() - 1, name.iter().copied());
            }
        }
        Cow::Owned(renamed)
    }

    /// Puts what waited for ReadyForQuery in front of it.
    pub fn report_late(&mut self) {
        if !self.late.is_empty() {
            self.out.extend_from_slice(&self.late);
            self.late.clear();
        }
    }

    fn release_buffers(&mut self) {
        self.charge.set(0);
        for buffer in [&mut self.input, &mut self.out] {
            if buffer.is_empty() && buffer.capacity() > 0 {
                let mut spare = std::mem::take(buffer);
                spare.clear();
                if spare.capacity() <= KEEP_BYTES {
                    self.worker.give_buffer(spare);
                }
            }
        }
    }
}

/// The rows of a result.
#[derive(Debug, Default)]
pub struct Collected {
    /// DataRow messages; not all of them, if they are more than was asked for.
    pub messages: Vec<u8>,
    pub rows: u64,
    pub bytes: u64,
}

/// Takes results out of what is for a client.
#[derive(Default)]
struct Discarding {
    /// What is not of a result.
    held: BytesMut,
    rows: u64,
    /// So many bytes of the message at hand are still to come: a long one comes in pieces.
    missing: usize,
    /// The message at hand is not of a result.
    keeps: bool,
    /// Rows that are wanted, up to so many bytes.
    kept: Vec<u8>,
    limit_bytes: u64,
    /// The bytes of all rows.
    bytes: u64,
    is_row: bool,
}

impl Discarding {
    fn take(&mut self, out: &mut BytesMut) {
        while !out.is_empty() {
            if self.missing == 0 {
                let Some(total) = frame::total_length(out) else {
                    return;
                };
                self.missing = total;
                self.is_row = out[0] == b'D';
                self.rows += u64::from(self.is_row);
                self.bytes += if self.is_row { total as u64 } else { 0 };
                self.keeps = !matches!(out[0], b'T' | b'D' | b'C' | b's' | b'I');
            }
            let piece = out.split_to(self.missing.min(out.len()));
            self.missing -= piece.len();
            if self.keeps {
                self.held.extend_from_slice(&piece);
            } else if self.is_row && self.bytes <= self.limit_bytes {
                self.kept.extend_from_slice(&piece);
            }
        }
    }
}

/// Values of the settings that PostgreSQL reports to clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(Box<str>, Box<str>)>);

impl Parameters {
    /// Notes a value; returns whether it is news.
    pub fn update(&mut self, name: &str, value: &str) -> bool {
        match self.0.iter_mut().find(|(known, _)| &**known == name) {
            Some((_, known)) if &**known == value => false,
            Some((_, known)) => {
                *known = value.into();
                true
            }
            None => {
                self.0.push((name.into(), value.into()));
                true
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| &**known == name)
            .map(|(_, value)| &**value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}
