//! COPY TO STDOUT of rows of several shards: one stream with one beginning and one end.
//!
//! What shards can write for themselves is passed on message by message, from whichever has some; a client that reads slowly stops them,
//! because their connections are not read meanwhile. Rows that are merged are written by the router, and those of a query
//! that a server finishes by that server.

use std::sync::Arc;

use bytes::BytesMut;
use catalog::Catalog;
use planner::{Access, CopyFormat, CopyKind, CopyOut, CopyRows, Plan, Scatter};

use super::gather::{Sent, Wanted};
use super::prepared::Statement;
use super::report::{Failure, Report};
use super::scatter::{Asked, Question, Source};
use super::{Session, Step};
use crate::execute::expect::Expect;
use crate::execute::{Link, LinkError};
use crate::merge::copy::{BINARY_END, BINARY_HEADER, CopyWriter};
use crate::wire::{backend, encode, frame};

/// Rows are sent on to the client when this much has gathered.
const SEND_AT_BYTES: usize = 32 * 1024;

/// Bind of nothing to nothing, with one format for all columns of the result.
const BIND_TEXT: &[u8] = b"B\0\0\0\x0e\0\0\0\0\0\0\0\x01\0\0";
const BIND_BINARY: &[u8] = b"B\0\0\0\x0e\0\0\0\0\0\0\0\x01\0\x01";

/// What stands around a query that is copied.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    before: &'a str,
    after: &'a str,
    /// Characters before the end of the query in the client's text.
    end: i32,
}

fn characters(text: &str) -> i32 {
    i32::try_from(text.chars().count()).unwrap_or(i32::MAX)
}

/// One shard's stream.
struct Stream {
    source: Source,
    /// Its first data have come.
    begun: bool,
}

/// What the client has had of the whole stream.
#[derive(Default)]
struct Whole {
    responded: bool,
    /// A line of names.
    begun: bool,
    /// What begins binary data and has not gone yet.
    header: &'static [u8],
    rows: u64,
}

impl Session {
    /// Answers the statement. `whole`: the text that was planned.
    pub(super) async fn run_copy_out(
        &mut self,
        copy: &CopyOut,
        whole: &str,
        offset: i32,
        catalog: &Arc<Catalog>,
    ) -> Step {
        self.allow_several(&Plan::CopyOut(copy.clone()), catalog)?;
        let text = whole.get(copy.statement.clone()).unwrap_or(whole);
        let result = match &copy.rows {
            CopyRows::Shards {
                group,
                shards,
                locks,
            } => {
                let shards = self.shards_of_group(shards.as_deref(), *group, catalog)?;
                let access = match locks {
                    true => Access::LockingRead,
                    false => Access::Read,
                };
                self.drain().await?;
                let links = self.link_all(&shards, access, catalog).await?;
                self.copy_shards(&links, (text, offset), &copy.format).await
            }
            CopyRows::Query(plan) => self.copy_query(copy, plan, whole, offset, catalog).await,
        };
        self.at_rest(result).await
    }

    /// Puts the shards' streams together.
    async fn copy_shards(
        &mut self,
        links: &[usize],
        (text, offset): (&str, i32),
        format: &CopyFormat,
    ) -> Step {
        for &index in links {
            let link = &mut self.links[index];
            link.backend.query(text.as_bytes());
            link.position_offset = offset;
            link.backend.flush().await.map_err(LinkError::Server)?;
        }
        let mut streams: Vec<Stream> = Source::of(links)
            .into_iter()
            .map(|source| Stream {
                source,
                begun: false,
            })
            .collect();
        let mut copied = Whole {
            header: BINARY_HEADER,
            ..Whole::default()
        };
        loop {
            for stream in &mut streams {
                while self.copy_message(stream, format, &mut copied)? {
                    if self.client.out.len() >= SEND_AT_BYTES {
                        self.client.flush().await.map_err(LinkError::Client)?;
                    }
                }
            }
            if streams.iter().all(|stream| stream.source.ready) {
                break;
            }
            self.fill_any(streams.iter().map(|stream| &stream.source))
                .await?;
        }
        if format.kind == CopyKind::Binary {
            let end = [copied.header, BINARY_END].concat();
            encode::copy_data(&mut self.client.out, &end);
        }
        encode::copy_done(&mut self.client.out);
        encode::command_complete(&mut self.client.out, &format!("COPY {}", copied.rows));
        Ok(())
    }

    /// Reads a shard's next message. `false`: there is none yet, or no more.
    fn copy_message(
        &mut self,
        stream: &mut Stream,
        format: &CopyFormat,
        copied: &mut Whole,
    ) -> Step<bool> {
        let link = &mut self.links[stream.source.link];
        if stream.source.ready {
            return Ok(false);
        }
        let Some(frame) =
            frame::next_frame(link.backend.input(), &link.limits).map_err(LinkError::Protocol)?
        else {
            return Ok(false);
        };
        let message = &link.backend.input()[..frame.total];
        let body = &message[5..];
        let out = &mut self.client.out;
        match frame.tag {
            b'H' => {
                if !std::mem::replace(&mut copied.responded, true) {
                    out.extend_from_slice(message);
                }
            }
            b'd' => {
                let is_first = !std::mem::replace(&mut stream.begun, true);
                if format.kind == CopyKind::Binary {
                    copy_binary(body, is_first, &mut copied.header, out)?;
                } else if !(is_first && format.header && std::mem::replace(&mut copied.begun, true))
                {
                    out.extend_from_slice(message);
                }
            }
            b'C' => {
                let tag = std::str::from_utf8(body).unwrap_or_default();
                let number = tag.trim_end_matches('\0').rsplit(' ').next();
                let rows: u64 = number.and_then(|number| number.parse().ok()).unwrap_or(0);
                copied.rows += rows;
            }
            b'E' => {
                let own = self.client.with_own_names(body).into_owned();
                let context = link.context.clone();
                let offset = std::mem::take(&mut link.position_offset);
                backend::rewrite_error(&mut self.client.out, &own, Some(&context), offset)
                    .map_err(LinkError::Protocol)?;
                return Err(Failure::Sent);
            }
            b'N' => out.extend_from_slice(message),
            b'S' => {
                let (name, value) =
                    backend::parse_parameter_status(body).map_err(LinkError::Protocol)?;
                let (name, value) = (name.to_owned(), value.to_owned());
                link.backend.parameters.update(&name, &value);
            }
            b'Z' => {
                stream.source.ready = true;
                link.position_offset = 0;
                let status = body.first().copied().unwrap_or(b'E');
                link.backend.set_status(status);
            }
            b'c' | b'A' => {}
            other => return Err(LinkError::unexpected(other).into()),
        }
        link.backend.consume(frame.total);
        Ok(true)
    }

    /// Copies the rows of a query that is put together.
    async fn copy_query(
        &mut self,
        copy: &CopyOut,
        plan: &Plan,
        whole: &str,
        offset: i32,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let statement = match plan {
            Plan::Scatter(scatter) => &scatter.statement,
            Plan::Gather(gather) => &gather.statement,
            _ => return Err(Report::error("XX000", "a query of no rows is to be copied").into()),
        };
        let part = |range| whole.get(range).unwrap_or_default();
        let own = part(statement.clone());
        let before = part(copy.statement.start..statement.start);
        let after = part(statement.end..copy.statement.end);
        let copy_offset = offset;
        let offset = offset + characters(before);
        let message = match copy.format.kind {
            CopyKind::Binary => BIND_BINARY,
            CopyKind::Text | CopyKind::Csv => BIND_TEXT,
        };
        let statement = Arc::new(Statement {
            sql: own.into(),
            ..Statement::empty(
                self.router.statements.next_key(false),
                catalog.epoch(),
                self.reading(),
            )
        });
        let around = Around {
            before,
            after,
            end: copy_offset + characters(before) + characters(own),
        };
        let sent = Sent::Bound(&statement, message, Wanted::Copy(around));
        let gather = match plan {
            Plan::Scatter(scatter) => {
                let is_written_here = copy.format.is_known
                    && (copy.format.kind == CopyKind::Binary || self.derived.utf8);
                if is_written_here
                    && self
                        .copy_scatter(scatter, (own, offset), sent, &copy.format, catalog)
                        .await?
                {
                    return Ok(());
                }
                scatter.otherwise.as_deref()
            }
            Plan::Gather(gather) => Some(gather),
            _ => None,
        };
        match gather {
            Some(gather) => self
                .run_gather(gather, whole, offset, sent, catalog)
                .await
                .map(drop),
            None => Err(Report::error(
                "0A000",
                "rows of several shards cannot be copied in this form by the router, nor brought to one server",
            )
            .hint("Order by columns of PostgreSQL's own types, in a client encoding of UTF8.")
            .into()),
        }
    }

    /// Copies merged rows. `false`: the router does not put them in order.
    async fn copy_scatter(
        &mut self,
        scatter: &Scatter,
        own: (&str, i32),
        sent: Sent<'_>,
        format: &CopyFormat,
        catalog: &Arc<Catalog>,
    ) -> Step<bool> {
        let Some(ready) = self.make_ready(scatter, own, sent, catalog).await? else {
            return Ok(false);
        };
        let learned = ready.learned.as_ref();
        let description = learned.map_or(&[][..], |learned| &learned.description);
        let names: Vec<&[u8]> = backend::columns(description)
            .map(|(name, _)| name)
            .collect();
        let writer = CopyWriter::new(format, &names).map_err(|column| {
            Report::error("42703", format!("column \"{column}\" does not exist"))
        })?;
        writer.begin(&names, &mut self.client.out);
        let moment = self.moment_of(scatter, ready.links[0]).await?;
        let bind = ready.bind(scatter, moment.as_deref());
        let question = Question {
            own,
            sql: scatter.sql.as_deref(),
            types: &ready.types,
            bind,
            asked: Asked::Rows(0),
        };
        self.ask_shards(&ready.links, question, sent).await?;
        let mut sources = Source::of(&ready.links);
        let mut merging = ready.merging;
        merging.copy = Some(writer);
        let mut described = true;
        if merging.is_ordered() {
            self.merge(&mut sources, &mut merging, 0, &mut described)
                .await?;
        } else {
            self.append(&mut sources, &mut merging, 0, &mut described)
                .await?;
        }
        self.read_to_end(&mut sources, &mut described, scatter.hidden)
            .await?;
        if let Some(writer) = &merging.copy {
            writer.end(&mut self.client.out);
        }
        encode::command_complete(&mut self.client.out, &format!("COPY {}", merging.rows));
        Ok(true)
    }

    /// Has the server that finishes a query copy its rows to the client.
    pub(super) async fn copy_from_merge(
        &mut self,
        merge: &mut Link,
        sql: &str,
        around: Around<'_>,
    ) -> Step {
        let Around { before, after, end } = around;
        let copy = format!("{before}{sql}{after}");
        merge.backend.query(copy.as_bytes());
        // The query has been judged; errors are about the options behind it.
        merge.position_offset = end - characters(before) - characters(sql);
        merge.expects.push_back(Expect::Query {
            ready: false,
            planned: None,
        });
        self.exchange_merge(merge).await
    }
}

/// Appends what is in a message of binary COPY, without the end of the stream. `is_first`: the message begins a shard's stream;
/// `header`: of the whole one, until it has gone with the first data.
fn copy_binary(
    body: &[u8],
    is_first: bool,
    header: &mut &'static [u8],
    out: &mut BytesMut,
) -> Step {
    let data = match is_first {
        false => body,
        true => body.strip_prefix(BINARY_HEADER).ok_or_else(|| {
            let strange = "a shard begins binary COPY in a way that is not known";
            Report::error("XX000", strange)
        })?,
    };
    if data.is_empty() || data == BINARY_END {
        return Ok(());
    }
    match std::mem::take(header) {
        [] => encode::copy_data(out, data),
        header => encode::copy_data(out, &[header, data].concat()),
    }
    Ok(())
}
