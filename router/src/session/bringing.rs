//! Rows on their way from shards to the server that finishes a query.

use std::sync::Arc;

use planner::GatherTable;

use super::gather::{SEND_AT_BYTES, Sent, column_list, qualified, relation};
use super::report::{Failure, Report};
use super::scatter::{Asked, Question, Source};
use super::settings::{Assignment, local_statements_between};
use super::small::Held;
use super::work::Asking;
use super::{Session, Step};
use crate::backend::AppliedSettings;
use crate::execute::{Link, LinkError};
use crate::merge::copy::{BINARY_END, BINARY_HEADER};
use crate::wire::frontend::ShardBind;
use crate::wire::{backend, encode, frame};

/// Settings under which every value's text is read back as the same value.
const EXACT: [(&str, &str); 4] = [
    ("bytea_output", "'hex'"),
    ("datestyle", "'ISO, MDY'"),
    ("extra_float_digits", "'3'"),
    ("intervalstyle", "'postgres'"),
];

/// What has been moved so far, against the limits.
#[derive(Default)]
pub(super) struct Moved {
    pub bytes: u64,
    pub rows: u64,
}

impl Moved {
    pub fn add(&mut self, row: &[u8]) {
        self.rows += 1;
        self.bytes += row.len() as u64;
    }
}

impl Session {
    /// Brings one table's rows from its shards into its temporary table.
    pub(super) async fn bring(
        &mut self,
        merge: &mut Link,
        index: usize,
        (table, columns): (&GatherTable, &[(String, u32)]),
        links: &[usize],
        moved: &mut Moved,
    ) -> Step {
        let columns = column_list(columns);
        let (exact, current) = self.exact_settings();
        let before = local_statements_between(&current, &exact);
        let after = local_statements_between(&exact, &current);
        self.ask_merge(merge, &before).await?;
        merge
            .backend
            .query(format!("COPY {} ({columns}) FROM STDIN", relation(index)).as_bytes());
        let only = if table.only { "ONLY " } else { "" };
        let copy = format!(
            "COPY (SELECT {columns} FROM {only}{}) TO STDOUT",
            qualified(&table.name)
        );
        self.flush_merge(merge).await?;
        self.await_merge(merge, b'G').await?;
        for &at in links {
            let link = &mut self.links[at];
            let mut sql = String::new();
            if !link.in_block {
                sql.push_str("BEGIN;");
            }
            sql.push_str(&before);
            sql.push_str(&copy);
            sql.push(';');
            sql.push_str(if link.in_block { &after } else { "COMMIT" });
            link.backend.query(sql.as_bytes());
            if let Some(measures) = &mut self.measures {
                measures.asked(link.shard, link.backend.consumed_bytes());
            }
            if let Err(error) = link.backend.flush().await {
                return Err(LinkError::Server(error).into());
            }
        }
        for &at in links {
            self.pump(merge, at, table, moved).await?;
        }
        encode::copy_done(merge.backend.out());
        self.flush_merge(merge).await?;
        self.await_merge(merge, b'Z').await?;
        self.ask_merge(merge, &after).await
    }

    /// Asks shards for rows whose values are the same bytes everywhere.
    pub(super) async fn ask_for_rows(
        &mut self,
        asking: &Asking,
        sent: Sent<'_>,
    ) -> Step<Vec<Source>> {
        let question = Question {
            own: ("", 0),
            sql: Some(&asking.sql),
            types: &asking.types,
            bind: ShardBind {
                values: &asking.values,
                hidden: u16::try_from(asking.columns).unwrap_or(u16::MAX),
                ..ShardBind::default()
            },
            asked: Asked::Rows(0),
        };
        self.ask_shards(&asking.links, question, sent).await?;
        Ok(Source::of(&asking.links))
    }

    /// Has the merge session take all rows of the sources by binary COPY, after those that have been read already. `what`
    /// they are, for an error.
    pub(super) async fn copy_rows(
        &mut self,
        merge: &mut Link,
        copy: &str,
        sources: (&mut [Source], &Held),
        what: &str,
        moved: &mut Moved,
    ) -> Step {
        merge.backend.query(copy.as_bytes());
        self.flush_merge(merge).await?;
        self.await_merge(merge, b'G').await?;
        encode::copy_data(merge.backend.out(), BINARY_HEADER);
        self.pour(merge, sources, what, moved).await?;
        let out = merge.backend.out();
        encode::copy_data(out, BINARY_END);
        encode::copy_done(out);
        self.flush_merge(merge).await?;
        self.await_merge(merge, b'Z').await.map(drop)
    }

    /// Moves the rows of one shard, whose COPY has begun.
    async fn pump(
        &mut self,
        merge: &mut Link,
        at: usize,
        table: &GatherTable,
        moved: &mut Moved,
    ) -> Step {
        loop {
            let mut done = false;
            let mut failed = None;
            let link = &mut self.links[at];
            while let Some(frame) = frame::next_frame(link.backend.input(), &link.limits)
                .map_err(LinkError::Protocol)?
            {
                let body = &link.backend.input()[5..frame.total];
                match frame.tag {
                    b'd' => {
                        encode::copy_data(merge.backend.out(), body);
                        moved.add(body);
                    }
                    b'E' => failed = Some(body.to_vec()),
                    b'S' => {
                        let (name, value) =
                            backend::parse_parameter_status(body).map_err(LinkError::Protocol)?;
                        let (name, value) = (name.to_owned(), value.to_owned());
                        link.backend.parameters.update(&name, &value);
                    }
                    b'Z' => {
                        let status = body.first().copied().unwrap_or(b'E');
                        link.backend.set_status(status);
                        done = true;
                    }
                    b'C' if body.starts_with(b"COPY") => {
                        if let Some(measures) = &mut self.measures {
                            measures.answered(link.shard, link.backend.consumed_bytes(), body);
                        }
                    }
                    b'H' | b'c' | b'C' | b'N' | b'A' | b'D' | b'T' => {}
                    other => return Err(LinkError::unexpected(other).into()),
                }
                link.backend.consume(frame.total);
                if done {
                    break;
                }
            }
            if let Some(body) = failed {
                let context = link.context.clone();
                let body = self.client.with_own_names(&body).into_owned();
                backend::rewrite_error(&mut self.client.out, &body, Some(&context), 0)
                    .map_err(LinkError::Protocol)?;
                return Err(Failure::Sent);
            }
            self.check_moved(&table.name.name, moved)?;
            if merge.backend.out().len() >= SEND_AT_BYTES {
                self.flush_merge(merge).await?;
            }
            if done {
                return Ok(());
            }
            match self.links[at].backend.fill().await {
                Ok(0) => {
                    return Err(LinkError::Server(std::io::ErrorKind::UnexpectedEof.into()).into());
                }
                Ok(_) => {}
                Err(error) => return Err(LinkError::Server(error).into()),
            }
        }
    }

    pub(super) fn check_moved(&self, what: &str, moved: &Moved) -> Step {
        let limits = &self.router.config.gather;
        let crossed = if moved.bytes > limits.max_bytes {
            format!("{} bytes (gather.max_bytes)", limits.max_bytes)
        } else if moved.rows > limits.max_rows {
            format!("{} rows (gather.max_rows)", limits.max_rows)
        } else {
            return Ok(());
        };
        Err(Report::error(
            "53400",
            format!("this query would bring more than {crossed} to one server"),
        )
        .detail(format!(
            "{} rows and {} bytes had been moved when {} crossed the limit.",
            moved.rows, moved.bytes, what
        ))
        .hint("Name the shard key in the query, so that one shard can answer it; or raise the limit in the configuration.")
        .into())
    }

    /// The settings for exact texts, and what the session has of them.
    fn exact_settings(&self) -> (AppliedSettings, AppliedSettings) {
        let exact = EXACT
            .iter()
            .map(|(name, value)| ((*name).into(), Assignment::Sql((*value).into())))
            .collect();
        let current = EXACT
            .iter()
            .filter_map(|(name, _)| Some(((*name).into(), self.settings.get(name)?.clone())))
            .collect();
        (Arc::new(exact), Arc::new(current))
    }

    /// Moves all rows of the sources, in binary, from whichever has some. `held`: those that have been read.
    /// `what` they are, for an error.
    pub(super) async fn pour(
        &mut self,
        merge: &mut Link,
        (sources, held): (&mut [Source], &Held),
        what: &str,
        moved: &mut Moved,
    ) -> Step {
        for row in held.rows() {
            encode::copy_data(merge.backend.out(), row);
            moved.add(row);
        }
        // Nothing of the shards' own descriptions is for the client.
        let mut described = true;
        loop {
            let mut live = false;
            for source in sources.iter_mut() {
                while !source.ready && self.head(source, &mut described, 0)? {
                    let input = self.links[source.link].backend.input();
                    let total = frame::total_length(input).unwrap_or(0);
                    let row = input.get(5..total).unwrap_or_default();
                    encode::copy_data(merge.backend.out(), row);
                    moved.add(row);
                    self.links[source.link].backend.consume(total);
                    if merge.backend.out().len() >= SEND_AT_BYTES {
                        self.check_moved(what, moved)?;
                        self.flush_merge(merge).await?;
                    }
                }
                live |= !source.ready;
            }
            self.check_moved(what, moved)?;
            if !live {
                return Ok(());
            }
            self.fill_any(sources.iter()).await?;
        }
    }
}
