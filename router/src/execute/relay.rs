//! Moving a server's answers to the client: which bytes pass through, and what they mean for the session.
//!
//! [`Link::relay`] reads from one server until everything it owes has come, a COPY FROM STDIN wants the client's data,
//! or the connection breaks. Bytes for the client go through unchanged in whole runs; nothing is allocated or decoded
//! per row. A row larger than the buffer streams through in pieces, so memory does not grow with it.
//!
//! What is not passed on: answers to the router's own messages, ParameterStatus of settings that the client
//! already knows, notifications that this session did not ask for. Errors pass with the shard added to CONTEXT.

use std::collections::VecDeque;
use std::io;

use crate::backend::Backend;
use crate::execute::expect::{Expect, StatementKey, Undo};
use crate::execute::{Link, LinkError};
use crate::session::client::ClientIo;
use crate::wire::backend as message;
use crate::wire::frame::{self, Frame};
use planner::Planned;
use std::sync::Arc;

/// Client output is sent on when it reaches this size, even if the server has more buffered.
const SEND_AT_BYTES: usize = 32 * 1024;
/// An incomplete row of at least this size is passed on in pieces.
const STREAM_AT_BYTES: usize = 8 * 1024;

/// Why [`Link::relay`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The server owes nothing more.
    Finished,
    /// The server waits for COPY data from the client.
    CopyIn,
}

/// What the answers mean for the session; collected over one exchange.
#[derive(Debug, Default)]
pub struct Notes {
    /// SQLSTATE of the last error of a client's statement.
    pub failed: Option<[u8; 5]>,
    /// The body of the ErrorResponse that answered a message of the router's own.
    pub own_error: Option<Vec<u8>>,
    /// Client statements that completed and have effects that the session tracks.
    pub completed: Vec<Arc<Planned>>,
    /// Changes of names by messages that the server skipped, latest first.
    pub undo: Vec<Undo>,
    /// Parse messages that did not succeed.
    pub unprepared: Vec<StatementKey>,
    /// An extended batch failed and no Sync has been sent yet: skip the client's messages up to it.
    pub skip_to_sync: bool,
    /// The server ignored a Sync because a copy was under way; the client sends another.
    pub sync_ignored: bool,
}

/// How far [`Link::advance`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Pause(Pause),
    NeedMore,
    OutputFull,
}

enum Verdict {
    Forward,
    Swallow,
    Capture,
    Error,
    CopyIn,
}

impl Link {
    /// Moves answers until nothing is owed or the client's COPY data is wanted. Client output may remain in
    /// `client.out` for the caller to flush, so that one answer is one write.
    pub async fn relay(
        &mut self,
        client: &mut ClientIo,
        notes: &mut Notes,
    ) -> Result<Pause, LinkError> {
        loop {
            let step = self.advance(client, notes)?;
            if let Step::Pause(pause) = step {
                return Ok(pause);
            }
            if self.copying && matches!(step, Step::NeedMore) {
                return Ok(Pause::CopyIn);
            }
            if !client.out.is_empty() {
                client.flush().await.map_err(LinkError::Client)?;
            }
            if matches!(step, Step::OutputFull) {
                continue;
            }
            match self.backend.fill().await {
                Ok(0) => return Err(LinkError::Server(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => return Err(LinkError::Server(error)),
            }
        }
    }

    /// Passes on what a server says while nothing is asked of it.
    pub fn relay_asynchronous(&mut self, client: &mut ClientIo) -> Result<(), LinkError> {
        while let Some(frame) =
            frame::next_frame(self.backend.input(), &self.limits).map_err(LinkError::Protocol)?
        {
            let verdict = asynchronous(&mut self.backend, 0, frame, self.listening, client)?;
            if matches!(verdict, Verdict::Forward) {
                client
                    .out
                    .extend_from_slice(&self.backend.input()[..frame.total]);
            }
            self.backend.consume(frame.total);
        }
        Ok(())
    }

    /// Whether a server of which nothing is asked has ended the connection, as far as the runtime has learned.
    pub async fn has_hung_up(&mut self, client: &mut ClientIo) -> bool {
        self.backend.has_news() && self.reads_end(client).await
    }

    /// The same by asking the socket.
    pub async fn has_hung_up_now(&mut self, client: &mut ClientIo) -> bool {
        self.backend.has_news_now() && self.reads_end(client).await
    }

    /// Reads what has come, which may be messages that say nothing of that.
    async fn reads_end(&mut self, client: &mut ClientIo) -> bool {
        loop {
            if !matches!(self.backend.fill().await, Ok(count) if count > 0)
                || self.relay_asynchronous(client).is_err()
            {
                return true;
            }
            if !self.backend.has_news_now() {
                return false;
            }
        }
    }

    /// Handles the frames that have arrived.
    pub fn advance(&mut self, client: &mut ClientIo, notes: &mut Notes) -> Result<Step, LinkError> {
        self.emit_local(client);
        if self.streaming > 0 {
            self.stream(client);
        }
        let mut position = 0;
        let mut forwarded = 0;
        let step = loop {
            if self.expects.is_empty() && self.streaming == 0 {
                break Step::Pause(Pause::Finished);
            }
            let buffer = &self.backend.input()[position..];
            let Some(frame) =
                frame::next_frame(buffer, &self.limits).map_err(LinkError::Protocol)?
            else {
                // What is for the router itself comes in whole messages.
                let own = matches!(self.expects.front(), Some(Expect::Own | Expect::Captured));
                if let Some(missing) = streamable(buffer).filter(|_| !own) {
                    position += buffer.len();
                    self.streaming = missing;
                }
                break Step::NeedMore;
            };
            if client.out.len() + (position - forwarded) >= SEND_AT_BYTES {
                break Step::OutputFull;
            }
            let verdict = judge(
                &mut self.expects,
                &mut self.backend,
                position,
                frame,
                self.listening,
                self.quiet,
                client,
                notes,
            )?;
            match verdict {
                Verdict::Forward => position += frame.total,
                Verdict::CopyIn => {
                    position += frame.total;
                    self.copying = true;
                    if matches!(self.expects.back(), Some(Expect::Sync { .. })) {
                        // The server takes a Sync that has been sent already for a part of the copy, and ignores it.
                        self.expects.pop_back();
                        self.backend.sync_ignored();
                        self.unsynced = true;
                        notes.sync_ignored = true;
                    }
                    break Step::Pause(Pause::CopyIn);
                }
                Verdict::Swallow | Verdict::Capture => {
                    let input = self.backend.input();
                    client.out.extend_from_slice(&input[forwarded..position]);
                    if matches!(verdict, Verdict::Capture) {
                        let frame = &input[position..position + frame.total];
                        self.captured.extend_from_slice(frame);
                    }
                    position += frame.total;
                    forwarded = position;
                }
                Verdict::Error => {
                    self.copying = false;
                    let input = self.backend.input();
                    client.out.extend_from_slice(&input[forwarded..position]);
                    let body = &input[position + 5..position + frame.total];
                    let body = client.with_own_names(body);
                    message::rewrite_error(
                        &mut client.out,
                        &body,
                        Some(&self.context),
                        self.position_offset,
                    )
                    .map_err(LinkError::Protocol)?;
                    position += frame.total;
                    forwarded = position;
                }
            }
            if matches!(
                self.expects.front(),
                Some(Expect::Local(_) | Expect::Undo(_))
            ) {
                client
                    .out
                    .extend_from_slice(&self.backend.input()[forwarded..position]);
                forwarded = position;
                self.emit_local(client);
            }
        };
        client
            .out
            .extend_from_slice(&self.backend.input()[forwarded..position]);
        self.backend.consume(position);
        Ok(step)
    }

    /// Local answers whose turn has come, and undo marks that are not needed any more.
    fn emit_local(&mut self, client: &mut ClientIo) {
        while let Some(Expect::Local(_) | Expect::Undo(_)) = self.expects.front() {
            if let Some(Expect::Local(bytes)) = self.expects.pop_front() {
                client.out.extend_from_slice(&bytes);
            }
        }
    }

    /// The rest of a large row whose beginning has been passed on.
    fn stream(&mut self, client: &mut ClientIo) {
        let input = self.backend.input();
        let count = input.len().min(self.streaming);
        client.out.extend_from_slice(&input[..count]);
        self.backend.consume(count);
        self.streaming -= count;
    }
}

/// Decides about one frame, whose body starts at `position + 5` of the server's input, and moves the queue on.
#[allow(clippy::too_many_arguments)]
fn judge(
    expects: &mut VecDeque<Expect>,
    backend: &mut Backend,
    position: usize,
    frame: Frame,
    listening: bool,
    quiet: bool,
    client: &mut ClientIo,
    notes: &mut Notes,
) -> Result<Verdict, LinkError> {
    let Some(front) = expects.front_mut() else {
        return asynchronous(backend, position, frame, listening, client);
    };
    let own = matches!(front, Expect::Own | Expect::Captured);
    match frame.tag {
        b'D' | b'd' if !own => return Ok(Verdict::Forward),
        b'N' if !own => return Ok(Verdict::Forward),
        b'N' if matches!(front, Expect::Captured) => return Ok(Verdict::Capture),
        b'N' => return Ok(Verdict::Swallow),
        b'S' if quiet => return Ok(Verdict::Swallow),
        b'S' | b'A' => {
            let verdict = asynchronous(backend, position, frame, listening, client)?;
            if own && matches!(verdict, Verdict::Forward) {
                let message = &backend.input()[position..position + frame.total];
                client.late.extend_from_slice(message);
                return Ok(Verdict::Swallow);
            }
            return Ok(verdict);
        }
        // The server skips what follows: nothing has run outside the block. Nobody could go on from there.
        b'E' if matches!(front, Expect::Opening) => {
            let body = &backend.input()[position + 5..position + frame.total];
            let message = message::error_fields(body).message;
            return Err(LinkError::Server(io::Error::other(message)));
        }
        b'E' => return Ok(failed(expects, backend, position, frame, notes)),
        b'Z' => {
            let status = backend.input()[position + 5];
            backend.set_status(status);
            let forward = match expects.pop_front() {
                Some(Expect::Sync { forward }) => forward,
                Some(Expect::Query { ready, .. }) => ready,
                Some(Expect::Own | Expect::Captured) => false,
                _ => return Err(LinkError::unexpected(frame.tag)),
            };
            return Ok(if forward {
                Verdict::Forward
            } else {
                Verdict::Swallow
            });
        }
        _ => {}
    }
    let (done, verdict) = match (front, frame.tag) {
        (Expect::Own | Expect::Captured, b'G') => return Err(LinkError::unexpected(frame.tag)),
        (Expect::Own, _) => (false, Verdict::Swallow),
        (Expect::Swallowed, b'1' | b'2' | b'3') => (true, Verdict::Swallow),
        (Expect::Opening, b'1' | b'2') => (false, Verdict::Swallow),
        (Expect::Opening, b'C') => (true, Verdict::Swallow),
        (Expect::Captured, _) => (false, Verdict::Capture),
        (Expect::Query { .. } | Expect::Execute { .. }, b'G') => (false, Verdict::CopyIn),
        (Expect::Query { planned, .. }, b'C') => {
            notes.completed.extend(planned.take());
            (false, Verdict::Forward)
        }
        (Expect::Query { .. }, b'T' | b'I' | b'H' | b'c') => (false, Verdict::Forward),
        (Expect::Execute { planned }, b'C') => {
            notes.completed.extend(planned.take());
            (true, Verdict::Forward)
        }
        (Expect::Execute { .. }, b'I' | b's') => (true, Verdict::Forward),
        (Expect::Execute { .. }, b'H' | b'c') => (false, Verdict::Forward),
        (Expect::Parse { forward: true, .. }, b'1') => (true, Verdict::Forward),
        (Expect::Parse { forward: false, .. }, b'1') => (true, Verdict::Swallow),
        (Expect::Bind, b'2') => (true, Verdict::Forward),
        (Expect::Close { forward: true }, b'3') => (true, Verdict::Forward),
        (Expect::Close { forward: false }, b'3') => (true, Verdict::Swallow),
        (Expect::DescribeStatement(_), b't') => (false, Verdict::Forward),
        (Expect::DescribeStatement(shape), b'T' | b'n') => {
            let body = &backend.input()[position + 5..position + frame.total];
            shape.note(body);
            (true, Verdict::Forward)
        }
        (Expect::DescribePortal, b'T' | b'n') => (true, Verdict::Forward),
        _ => return Err(LinkError::unexpected(frame.tag)),
    };
    if done {
        expects.pop_front();
    }
    Ok(verdict)
}

/// An error ends the batch up to the next Sync, or the simple query.
fn failed(
    expects: &mut VecDeque<Expect>,
    backend: &mut Backend,
    position: usize,
    frame: Frame,
    notes: &mut Notes,
) -> Verdict {
    let body = &backend.input()[position + 5..position + frame.total];
    match expects.front() {
        Some(Expect::Own | Expect::Captured) => {
            // The first error is the one that says what went wrong.
            notes.own_error.get_or_insert_with(|| body.to_vec());
            return Verdict::Swallow;
        }
        Some(Expect::Query { .. }) => {
            notes.failed = message::sqlstate(body);
            return Verdict::Error;
        }
        _ => {}
    }
    notes.failed = message::sqlstate(body);
    while let Some(expect) = expects.front() {
        if expect.resumes_after_error() {
            return Verdict::Error;
        }
        match expects.pop_front() {
            Some(Expect::Parse { statement, .. }) => notes.unprepared.push(statement),
            Some(Expect::Undo(undo)) => notes.undo.push(undo),
            _ => {}
        }
    }
    notes.skip_to_sync = true;
    Verdict::Error
}

/// Messages that PostgreSQL may send at any time.
fn asynchronous(
    backend: &mut Backend,
    position: usize,
    frame: Frame,
    listening: bool,
    client: &mut ClientIo,
) -> Result<Verdict, LinkError> {
    match frame.tag {
        b'S' => {
            let body = &backend.input()[position + 5..position + frame.total];
            let (name, value) =
                message::parse_parameter_status(body).map_err(LinkError::Protocol)?;
            let (name, value) = (name.to_owned(), value.to_owned());
            let news = client.reported.update(&name, &value);
            backend.parameters.update(&name, &value);
            Ok(if news {
                Verdict::Forward
            } else {
                Verdict::Swallow
            })
        }
        b'A' if listening => Ok(Verdict::Forward),
        b'A' | b'N' => Ok(Verdict::Swallow),
        tag => Err(LinkError::unexpected(tag)),
    }
}

/// How many bytes are missing from an incomplete DataRow or CopyData that is worth passing on in pieces.
fn streamable(buffer: &[u8]) -> Option<usize> {
    let &[b'D' | b'd', a, b, c, d, ..] = buffer else {
        return None;
    };
    let total = 1 + u32::from_be_bytes([a, b, c, d]) as usize;
    (total >= STREAM_AT_BYTES).then(|| total.saturating_sub(buffer.len()))
}
