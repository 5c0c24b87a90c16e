//! COPY FROM STDIN into a table that is on several shards: the client's data are cut into rows, each of which goes to the COPY on
//! its own shard; all of them stay, or none.
//!
//! Entry point: [`Session::run_load`]. A shard's COPY begins with the first row for it; one begins at once, because it judges the
//! statement, and gets what cannot be routed. What has gathered for a shard is sent on before more is read of the client, so
//! a slow shard slows the client down. Errors name the line of the client's data.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, BytesMut};
use catalog::{Catalog, ShardId};
use planner::{Access, Load, LoadTarget, Where};

use super::block::Block;
use super::everywhere::{copies_differ, turn_text};
use super::report::{End, Failure, Report};
use super::scatter::Source;
use super::{Session, Step, client_end, protocol_end};
use crate::execute::{Link, LinkError};
use crate::load::{Fields, Lines, Piece, Rows, with_client_lines};
use crate::wire::{backend, encode, frame};

/// Rows for a shard are sent when so much has gathered.
const SEND_AT_BYTES: usize = 64 * 1024;

/// The longest row.
const ROW_LIMIT_BYTES: usize = 256 << 20;

/// One shard's COPY.
pub(super) struct Part {
    shard: ShardId,
    source: Source,
    begun: bool,
    /// Data that have not been sent.
    pending: BytesMut,
    lines: Lines,
}

/// A COPY over several shards.
pub(super) struct Loading<'a> {
    load: &'a Load,
    /// The client's statement, and how many characters come before it.
    sql: &'a str,
    offset: i32,
    rows: Rows,
    fields: Option<Fields<'a>>,
    /// Of the client's, as far as no whole row has been found in them.
    data: BytesMut,
    /// What every shard gets before its rows, and how many lines that is.
    header: Vec<u8>,
    header_lines: u64,
    /// Lines of the client's data that have been cut so far.
    lines: u64,
    parts: Vec<Part>,
    /// The router's own COPY, of which errors do not speak.
    is_own: bool,
}

impl Session {
    /// Runs the COPY and leaves its answer in the client's output.
    pub(super) async fn run_load(
        &mut self,
        load: &Load,
        sql: &str,
        offset: i32,
        catalog: &Arc<Catalog>,
    ) -> Step {
        if !self.derived.utf8 {
            return Err(Report::error(
                "0A000",
                format!(
                    "COPY into {} with another client_encoding than UTF8",
                    load.table
                ),
            )
            .hint("SET client_encoding TO 'UTF8'.")
            .into());
        }
        self.drain().await?;
        let own_block = self.block.is_none();
        if own_block {
            self.open_block(Block::implicit());
        }
        let result = self.load_rows(load, sql, offset, catalog).await;
        let rows = self.at_rest(result).await?;
        if own_block {
            self.end_implicit_block().await?;
        }
        encode::command_complete(&mut self.client.out, &format!("COPY {rows}"));
        Ok(())
    }

    async fn load_rows(
        &mut self,
        load: &Load,
        sql: &str,
        offset: i32,
        catalog: &Arc<Catalog>,
    ) -> Step<u64> {
        let (shards, fields) = match &load.target {
            LoadTarget::Rows { group, key } => (
                self.shards_of_group(None, *group, catalog)?,
                Some(Fields::new(&load.format, key)),
            ),
            LoadTarget::Copies(_) => (self.shards_of(&Where::All, catalog), None),
            LoadTarget::Shard(shard) => (vec![*shard], None),
        };
        // Who is sent no row has not written.
        let links = self.link_all(&shards, Access::LockingRead, catalog).await?;
        if let LoadTarget::Copies(write) = &load.target {
            for &index in &links {
                self.run_own(index, &turn_text(write)).await?;
            }
        }
        let mut loading = Loading {
            load,
            sql,
            offset,
            rows: Rows::new(load.format.clone(), load.header),
            fields,
            data: BytesMut::new(),
            header: Vec::new(),
            header_lines: 0,
            lines: 0,
            parts: parts(&shards, &links),
            is_own: false,
        };
        let result = self.load_parts(&mut loading, catalog).await;
        self.stop_parts(&loading, &result);
        result
    }

    /// A COPY of the router's own into a sharded table, of which nothing has begun.
    pub(super) async fn loading<'a>(
        &mut self,
        load: &'a Load,
        sql: &'a str,
        catalog: &Arc<Catalog>,
    ) -> Step<Loading<'a>> {
        let shards = match &load.target {
            LoadTarget::Rows { group, .. } => self.shards_of_group(None, *group, catalog)?,
            LoadTarget::Shard(shard) => vec![*shard],
            LoadTarget::Copies(_) => {
                return Err(Report::error("XX000", "rows are to be sent to copies").into());
            }
        };
        let links = self.link_all(&shards, Access::LockingRead, catalog).await?;
        Ok(Loading {
            load,
            sql,
            offset: 0,
            rows: Rows::new(load.format.clone(), false),
            fields: None,
            data: BytesMut::new(),
            header: Vec::new(),
            header_lines: 0,
            lines: 0,
            parts: parts(&shards, &links),
            is_own: true,
        })
    }

    /// Ends what has begun, if the whole has failed.
    pub(super) fn stop_parts(&mut self, loading: &Loading<'_>, result: &Step<u64>) {
        if let Err(Failure::Report(_) | Failure::Sent) = result {
            for part in &loading.parts {
                // Those that have failed throw it away.
                if part.begun && !part.source.exhausted {
                    let out = self.links[part.source.link].backend.out();
                    encode::copy_fail(out, "the data of another shard have failed");
                }
            }
        }
    }

    async fn load_parts(&mut self, loading: &mut Loading<'_>, catalog: &Arc<Catalog>) -> Step<u64> {
        self.begin_part(loading, 0);
        self.flush_part(loading, 0).await?;
        let asked = self.wait_until_asked(loading).await?;
        if loading.fields.is_none() {
            for at in 1..loading.parts.len() {
                self.begin_part(loading, at);
            }
        }
        self.client.out.extend_from_slice(&asked);
        self.client.flush().await.map_err(End::Client)?;
        self.take_data(loading, catalog).await?;
        loading.cut(true, catalog)?;
        self.finish_parts(loading).await
    }

    /// Sends what is left, and waits until all shards have stored it. How many rows there are.
    pub(super) async fn finish_parts(&mut self, loading: &mut Loading<'_>) -> Step<u64> {
        for at in 0..loading.parts.len() {
            self.send_part(loading, at).await?;
        }
        for part in loading.parts.iter().filter(|part| part.begun) {
            encode::copy_done(self.links[part.source.link].backend.out());
        }
        for at in 0..loading.parts.len() {
            self.flush_part(loading, at).await?;
        }
        loop {
            let mut is_over = true;
            for at in 0..loading.parts.len() {
                self.hear_part(loading, at)?;
                let part = &loading.parts[at];
                is_over &= part.source.ready || !part.begun;
            }
            if is_over {
                break;
            }
            let waiting = loading.parts.iter().filter(|part| part.begun);
            self.fill_any(waiting.map(|part| &part.source)).await?;
        }
        let counts = loading.parts.iter().map(|part| part.source.affected);
        if matches!(loading.load.target, LoadTarget::Rows { .. }) {
            return Ok(counts.sum());
        }
        let first = loading.parts[0].source.affected;
        match counts.into_iter().all(|count| count == first) {
            true => Ok(first),
            false => Err(copies_differ()),
        }
    }

    /// Sends a shard the statement; its data may follow at once.
    fn begin_part(&mut self, loading: &mut Loading<'_>, at: usize) {
        let part = &mut loading.parts[at];
        part.begun = true;
        let link = &mut self.links[part.source.link];
        link.wrote = true;
        link.backend.query(loading.sql.as_bytes());
        if !loading.header.is_empty() {
            encode::copy_data(link.backend.out(), &loading.header);
        }
    }

    /// Waits until the first shard asks for the data: its message for the client.
    async fn wait_until_asked(&mut self, loading: &mut Loading<'_>) -> Step<Vec<u8>> {
        loop {
            let link = &self.links[loading.parts[0].source.link];
            let input = link.backend.input();
            if let Some(frame) =
                frame::next_frame(input, &link.limits).map_err(LinkError::Protocol)?
                && frame.tag == b'G'
            {
                let message = input[..frame.total].to_vec();
                let columns = message.get(6..8).and_then(|count| count.first_chunk::<2>());
                let columns = columns.map_or(0, |count| usize::from(u16::from_be_bytes(*count)));
                if loading.load.all_columns.is_some_and(|all| all != columns) {
                    let table = &loading.load.table;
                    return Err(Report::error(
                        "0A000",
                        format!("COPY into {table}, which has generated columns, without a list of columns"),
                    )
                    .hint(format!("Name the columns that the data have: COPY {table} (…) FROM STDIN."))
                    .into());
                }
                return Ok(message);
            }
            self.hear_part(loading, 0)?;
            let part = &loading.parts[0];
            if part.source.exhausted {
                return Err(
                    Report::error("XX000", "a shard has not asked for the data of COPY").into(),
                );
            }
            self.fill_any(std::iter::once(&loading.parts[0].source))
                .await?;
        }
    }

    /// Reads the client's data up to their end, and sends them on.
    async fn take_data(&mut self, loading: &mut Loading<'_>, catalog: &Arc<Catalog>) -> Step {
        loop {
            while let Some(frame) = self.client.next_frame().map_err(protocol_end)? {
                let message = self.client.take(frame);
                match frame.tag {
                    b'd' => {
                        loading.data.extend_from_slice(&message[5..]);
                        loading.cut(false, catalog)?;
                        for at in 0..loading.parts.len() {
                            if loading.parts[at].pending.len() >= SEND_AT_BYTES {
                                self.send_part(loading, at).await?;
                            }
                        }
                    }
                    b'c' => return Ok(()),
                    b'f' => return self.pass_failure_on(loading, &message).await,
                    // PostgreSQL ignores these while it takes data.
                    b'H' | b'S' => {}
                    b'X' => return Err(End::Closed.into()),
                    other => {
                        let text =
                            format!("unexpected message type 0x{other:02X} during COPY from stdin");
                        encode::error_response(&mut self.client.out, &Report::error("08P01", text));
                        let lost =
                            "terminating connection because protocol synchronization was lost";
                        return Err(End::Fatal(Box::new(Report::fatal("08P01", lost))).into());
                    }
                }
            }
            for at in 0..loading.parts.len() {
                self.send_part(loading, at).await?;
                self.hear_part(loading, at)?;
            }
            let begun = loading.parts.iter().filter(|part| part.begun);
            let begun = begun.map(|part| part.source.link);
            tokio::select! {
                biased;
                read = any_says(&mut self.links, begun) => {
                    if read.map_err(LinkError::Server)? == 0 {
                        return Err(LinkError::Server(io::ErrorKind::UnexpectedEof.into()).into());
                    }
                }
                read = self.client.fill() => {
                    if read.map_err(client_end)? == 0 {
                        return Err(End::Closed.into());
                    }
                }
            }
        }
    }

    /// The client gives up: the first shard answers.
    async fn pass_failure_on(&mut self, loading: &mut Loading<'_>, message: &[u8]) -> Step {
        self.send_part(loading, 0).await?;
        let index = loading.parts[0].source.link;
        self.links[index].backend.out().extend_from_slice(message);
        self.flush_part(loading, 0).await?;
        loop {
            self.hear_part(loading, 0)?;
            if loading.parts[0].source.exhausted {
                return Err(Report::error("57014", "COPY from stdin failed").into());
            }
            self.fill_any(std::iter::once(&loading.parts[0].source))
                .await?;
        }
    }

    /// Sends what has gathered for a shard.
    pub(super) async fn send_part(&mut self, loading: &mut Loading<'_>, at: usize) -> Step {
        if loading.parts[at].pending.is_empty() {
            return Ok(());
        }
        if !loading.parts[at].begun {
            self.begin_part(loading, at);
        }
        let part = &mut loading.parts[at];
        let out = self.links[part.source.link].backend.out();
        encode::copy_data(out, &part.pending);
        part.pending.clear();
        self.flush_part(loading, at).await
    }

    async fn flush_part(&mut self, loading: &Loading<'_>, at: usize) -> Step {
        let link = &mut self.links[loading.parts[at].source.link];
        // A server that has reported an error goes on reading and throws the data away, so this cannot block for ever.
        link.backend.flush().await.map_err(LinkError::Server)?;
        Ok(())
    }

    /// Reads what a shard has said. Its error is the client's, with the client's lines.
    fn hear_part(&mut self, loading: &mut Loading<'_>, at: usize) -> Step {
        let part = &mut loading.parts[at];
        loop {
            let link = &mut self.links[part.source.link];
            let Some(found) = frame::next_frame(link.backend.input(), &link.limits)
                .map_err(LinkError::Protocol)?
            else {
                return Ok(());
            };
            match found.tag {
                b'G' => link.backend.consume(found.total),
                b'E' => {
                    let body = link.backend.input()[5..found.total].to_vec();
                    link.backend.consume(found.total);
                    let body = self.client.with_own_names(&body).into_owned();
                    part.source.exhausted = true;
                    let next = loading.lines + 1;
                    let lines = &part.lines;
                    let is_split = loading.fields.is_some();
                    let is_own = loading.is_own;
                    let body = with_context(&body, |context| {
                        if is_own {
                            return without_copy(context, &loading.load.table);
                        }
                        with_client_lines(context, &loading.load.table, |line| match is_split {
                            true => lines.client_line(line, next),
                            false => Some(line),
                        })
                    });
                    let context = link.context.clone();
                    backend::rewrite_error(
                        &mut self.client.out,
                        &body,
                        Some(&context),
                        loading.offset,
                    )
                    .map_err(LinkError::Protocol)?;
                    if backend::sqlstate(&body) == Some(*b"2200H") {
                        self.lease_sequences();
                    }
                    return Err(Failure::Sent);
                }
                tag => {
                    let message = &link.backend.input()[..found.total];
                    let body = &message[5..];
                    match tag {
                        b'N' => self.client.out.extend_from_slice(message),
                        b'C' => {
                            part.source.exhausted = true;
                            part.source.affected = backend::rows_of_tag(body);
                        }
                        b'S' => {
                            let (name, value) = backend::parse_parameter_status(body)
                                .map_err(LinkError::Protocol)?;
                            let (name, value) = (name.to_owned(), value.to_owned());
                            link.backend.parameters.update(&name, &value);
                        }
                        b'Z' => {
                            part.source.ready = true;
                            let status = body.first().copied().unwrap_or(b'E');
                            link.backend.set_status(status);
                        }
                        b'A' => {}
                        other => return Err(LinkError::unexpected(other).into()),
                    }
                    link.backend.consume(found.total);
                }
            }
        }
    }
}

impl Loading<'_> {
    /// The part of a row with these values of its key. What no shard can have, the first one refuses.
    fn place(&self, values: &[Option<&[u8]>], catalog: &Catalog) -> Step<usize> {
        let shard = self.load.shard(catalog, values).map_err(|error| {
            let mut report = Report::from(error);
            if !self.is_own {
                let table = &self.load.table;
                report.context = Some(format!("COPY {table}, line {}", self.lines));
            }
            Failure::from(report)
        })?;
        let known = shard.and_then(|shard| self.parts.iter().position(|part| part.shard == shard));
        Ok(known.unwrap_or(0))
    }

    /// The part of a row whose columns are these, by their positions.
    pub(super) fn place_of<'v>(
        &self,
        column: impl Fn(usize) -> Option<&'v [u8]>,
        catalog: &Catalog,
    ) -> Step<usize> {
        let LoadTarget::Rows { key, .. } = &self.load.target else {
            return Ok(0);
        };
        let values: smallvec::SmallVec<[Option<&[u8]>; 2]> =
            key.iter().map(|key| column(key.position)).collect();
        self.place(&values, catalog)
    }

    /// Adds a row to a part; so many bytes wait there now.
    pub(super) fn add(&mut self, at: usize, row: &[u8]) -> usize {
        let pending = &mut self.parts[at].pending;
        pending.extend_from_slice(row);
        pending.len()
    }

    /// Cuts what is there into rows and puts them to the shards that they are for.
    fn cut(&mut self, finished: bool, catalog: &Catalog) -> Step {
        let Some(fields) = &self.fields else {
            for part in &mut self.parts {
                part.pending.extend_from_slice(&self.data);
            }
            self.data.clear();
            return Ok(());
        };
        while let Some(piece) = self.rows.next(&self.data, finished) {
            match piece {
                Piece::Beyond { length } => self.data.advance(length),
                Piece::ForAll { length, lines } => {
                    self.lines += lines;
                    let is_header = self.header.is_empty() && self.lines == lines;
                    if is_header {
                        self.header.extend_from_slice(&self.data[..length]);
                        self.header_lines = lines;
                    }
                    for part in &mut self.parts {
                        // Who begins later gets the header then; who has no rows needs no end.
                        if part.begun || !part.pending.is_empty() {
                            part.pending.extend_from_slice(&self.data[..length]);
                            part.lines.note(lines, self.lines);
                        }
                    }
                    self.data.advance(length);
                }
                Piece::Row { length, lines } => {
                    self.lines += lines;
                    let row = &self.data[..length];
                    let at = match fields.key(row) {
                        None => 0,
                        Some(values) => {
                            let values: smallvec::SmallVec<[Option<&[u8]>; 2]> =
                                values.iter().map(Option::as_deref).collect();
                            self.place(&values, catalog)?
                        }
                    };
                    let part = &mut self.parts[at];
                    if !part.begun && part.pending.is_empty() {
                        part.lines.note(self.header_lines, self.header_lines);
                    }
                    part.pending.extend_from_slice(row);
                    part.lines.note(lines, self.lines);
                    self.data.advance(length);
                }
            }
        }
        if self.data.len() > ROW_LIMIT_BYTES {
            return Err(Report::error(
                "54000",
                format!("a row of COPY is longer than {ROW_LIMIT_BYTES} bytes"),
            )
            .hint("Check the quotes and the lengths in the data, or INSERT such a row.")
            .into());
        }
        Ok(())
    }
}

/// Nothing has begun on any of these shards.
fn parts(shards: &[ShardId], links: &[usize]) -> Vec<Part> {
    shards
        .iter()
        .zip(Source::of(links))
        .map(|(shard, source)| Part {
            shard: *shard,
            source,
            begun: false,
            pending: BytesMut::new(),
            lines: Lines::default(),
        })
        .collect()
}

/// CONTEXT up to where it tells of the COPY, which is the outermost of what it tells of.
fn without_copy(context: &str, table: &str) -> String {
    let mark = format!("COPY {table}, line ");
    let inner = match context.strip_prefix(&mark) {
        Some(_) => "",
        None => context
            .rfind(&format!("\n{mark}"))
            .map_or(context, |at| &context[..at]),
    };
    inner.to_owned()
}

/// Waits until one of the servers says something.
async fn any_says(
    links: &mut [Link],
    indices: impl Iterator<Item = usize> + Clone,
) -> io::Result<usize> {
    std::future::poll_fn(|context| {
        for index in indices.clone() {
            // Dropped when there is nothing yet; the connection remembers who waits.
            let fill = std::pin::pin!(links[index].backend.fill());
            if let Poll::Ready(filled) = fill.poll(context) {
                return Poll::Ready(filled);
            }
        }
        Poll::Pending
    })
    .await
}

/// The body of an error with another CONTEXT.
fn with_context(body: &[u8], change: impl Fn(&str) -> String) -> Vec<u8> {
    let mut changed = Vec::with_capacity(body.len() + 8);
    for (code, text) in backend::fields(body) {
        let text = match code {
            b'W' => Cow::Owned(change(&String::from_utf8_lossy(text)).into_bytes()),
            _ => Cow::Borrowed(text),
        };
        if code == b'W' && text.is_empty() {
            continue;
        }
        changed.push(code);
        changed.extend_from_slice(&text);
        changed.push(0);
    }
    changed.push(0);
    changed
}
