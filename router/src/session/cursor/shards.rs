//! Cursors that the shards keep: a portal on each, and the merge of their rows between two parts.
//!
//! Entry points: [`Session::open_on_shards`], [`Session::read_shards`]. Rows come in rounds: a shard is asked again when all
//! that came of it has been taken, for no more rows than may be needed and for about [`ROUND_BYTES`]. What a round has brought
//! is kept in the session until its turn, so that the links are free between two parts.

use std::sync::Arc;

use bytes::BytesMut;
use planner::{Access, Plan, Scatter, Turns, Types};

use super::{Cursor, LocalPortal, Opening, Sent, Wanted};
use crate::backend::{AppliedSettings, CancelTarget};
use crate::execute::LinkError;
use crate::execute::expect::Expect;
use crate::merge::limit::Clauses;
use crate::merge::tournament::{Tournament, Turn};
use crate::session::links::Need;
use crate::session::merging::Merging;
use crate::session::report::Report;
use crate::session::scatter::{Asked, Question, Ready, Source};
use crate::session::{Session, Step};
use crate::wire::frontend::ShardBind;
use crate::wire::{encode, frame, frontend};

/// What one shard gives in one round, about: rows are kept so long as it takes to show them.
const ROUND_BYTES: usize = 256 * 1024;

/// So many rows at most.
const ROUND_ROWS: u64 = 1024;

/// In the first round, when it is not known how long rows are.
const FIRST_ROUND_ROWS: u64 = 64;

/// Rows are sent on to the client when this much has gathered.
const SEND_AT_BYTES: usize = 32 * 1024;

/// A query that each shard has a portal for.
pub(in crate::session) struct ShardCursor {
    /// Of the portals on the shards.
    name: String,
    sources: Vec<PartSource>,
    merging: Merging,
    tournament: Tournament,
    clauses: Clauses,
    /// Each row of the result is one of a shard's, so that no shard need give more than are wanted.
    row_by_row: bool,
    hidden: u16,
    /// How many columns the client's are, if any are hidden.
    columns: u16,
    types: Option<Arc<Types>>,
    /// The Bind message of the FETCH that first asked, if it wants other formats than the portals have.
    asked: Option<Arc<[u8]>>,
    /// The settings that rows are written by.
    formatting: AppliedSettings,
    pub has_begun: bool,
    /// Rows given so far.
    pub position: u64,
    /// More have been asked for than there were.
    pub is_at_end: bool,
    /// All rows have been taken.
    is_over: bool,
    /// RowDescription, once FETCH has needed it.
    pub description: Option<BytesMut>,
}

/// One shard's part.
struct PartSource {
    server: Arc<CancelTarget>,
    /// Whole DataRow messages that have not been taken.
    rows: BytesMut,
    is_over: bool,
    /// Of the latest round, with its rows.
    seen: (usize, u64),
    /// Where the parts of the first row's key end.
    ends: (usize, usize),
}

/// What becomes of rows.
pub(super) enum Show {
    Rows,
    /// The same, after this RowDescription: PostgreSQL does not send it if the first row fails.
    Described(BytesMut, BytesMut),
    /// They are left out, by way of this buffer.
    Hidden(BytesMut),
}

/// How many rows to ask a shard for, if so many are wanted. `seen`: the bytes of its latest round, and the rows.
fn round_rows(seen: (usize, u64), wanted: u64) -> i32 {
    let fitting = match seen {
        (_, 0) => FIRST_ROUND_ROWS,
        (bytes, rows) => ROUND_BYTES as u64 * rows / (bytes as u64).max(1),
    };
    // Not above a thousand.
    wanted.min(fitting).clamp(1, ROUND_ROWS) as i32
}

impl Session {
    /// Opens the portals on the shards.
    pub(super) async fn open_on_shards(
        &mut self,
        portal: &LocalPortal,
        scatter: &Scatter,
        opening: Opening,
        offset: i32,
    ) -> Step<Cursor> {
        let result = self.open_parts(portal, scatter, opening, offset).await;
        self.at_rest(result).await
    }

    async fn open_parts(
        &mut self,
        portal: &LocalPortal,
        scatter: &Scatter,
        opening: Opening,
        offset: i32,
    ) -> Step<Cursor> {
        if scatter.turns != Turns::AtOnce {
            return Err(Report::error(
                "0A000",
                "rows of several shards that are locked with a LIMIT cannot be read in parts",
            )
            .hint("Fetch all rows at once, without a cursor: LIMIT says how many they are.")
            .into());
        }
        let catalog = self.catalog();
        let statement = &portal.statement;
        let sent = Sent::Bound(statement, &portal.bind, Wanted::Cursor(&opening));
        let own = statement
            .sql
            .get(scatter.statement.clone())
            .unwrap_or(&statement.sql);
        let ready = self
            .make_ready(scatter, (own, offset), sent, &catalog)
            .await?;
        let Some(ready) = ready else {
            let Some(gather) = &scatter.otherwise else {
                self.other_way(scatter, own, offset, sent, &catalog).await?;
                return Err(Report::error("XX000", "a query has no other way").into());
            };
            return self.open_on_merge(portal, gather, opening, offset).await;
        };
        let row_by_row = ready.enough(scatter, 1).is_some();
        let moment = self.moment_of(scatter, ready.links[0]).await?;
        let bind = ready.bind(scatter, moment.as_deref());
        let Ready {
            links,
            types,
            amounts,
            merging,
            learned,
        } = ready;
        let name = format!("pgweave_p{}", portal.number);
        let question = Question {
            own: (own, offset),
            sql: scatter.sql.as_deref(),
            types: &types,
            bind,
            asked: Asked::Portal(&name),
        };
        self.ask_shards(&links, question, sent).await?;
        let mut sources = Source::of(&links);
        self.read_to_end(&mut sources, &mut true, 0).await?;
        let sources: Vec<PartSource> = links
            .iter()
            .map(|&index| PartSource {
                server: self.links[index].backend.cancel_target().clone(),
                rows: BytesMut::new(),
                is_over: false,
                seen: (0, 0),
                ends: (0, 0),
            })
            .collect();
        Ok(Cursor::Shards(Box::new(ShardCursor {
            name,
            tournament: Tournament::new(sources.len()),
            sources,
            merging,
            clauses: Clauses {
                offset: amounts.offset,
                count: amounts.limit,
                with_ties: scatter.merge.with_ties,
                distinct: scatter.merge.distinct.is_some(),
            },
            row_by_row,
            hidden: scatter.hidden,
            columns: scatter.columns,
            types: learned,
            asked: None,
            formatting: self.settings.formatting(),
            has_begun: false,
            position: 0,
            is_at_end: false,
            is_over: false,
            description: None,
        })))
    }

    /// Chooses the formats of a cursor's rows, by the first FETCH. `wanted`: its Bind message.
    pub(super) fn choose_formats(
        &self,
        cursor: &mut ShardCursor,
        portal: &LocalPortal,
        wanted: &Arc<[u8]>,
    ) -> Step {
        let chosen = cursor.asked.as_ref().unwrap_or(&portal.bind);
        let chosen = frontend::parse_bind(&chosen[5..])?;
        let bind = frontend::parse_bind(&wanted[5..])?;
        if bind.has_formats_of(&chosen) {
            return Ok(());
        }
        let other = || {
            Report::error(
                "0A000",
                "the rows of a cursor over several shards cannot be fetched in this format",
            )
            .hint("Fetch all rows of the cursor in one format: all as text, or all in binary.")
        };
        let Some(Plan::Scatter(scatter)) = portal.statement.plan() else {
            return Err(other().into());
        };
        let utf8 = self.reads_text_bytes();
        let types = cursor.types.as_deref();
        match Merging::new(scatter, types, cursor.clauses, Some(&bind), utf8)? {
            Some(merging) if !cursor.has_begun => {
                cursor.merging = merging;
                cursor.asked = Some(wanted.clone());
                Ok(())
            }
            _ => Err(other().into()),
        }
    }

    /// Gives the next rows, `most` of them unless there are fewer; how many.
    pub(super) async fn read_shards(
        &mut self,
        cursor: &mut ShardCursor,
        most: u64,
        show: &mut Show,
    ) -> Step<u64> {
        let formatting = self.settings.formatting();
        if cursor.has_begun && cursor.formatting != formatting {
            return Err(Report::error(
                "0A000",
                "a setting by which values are written has changed since this cursor over several shards was first read",
            )
            .hint("Set it back, or open the cursor anew.")
            .into());
        }
        cursor.formatting = formatting;
        cursor.has_begun = true;
        let before = cursor.merging.rows;
        while !cursor.is_over {
            let given = cursor.merging.rows - before;
            if given == most {
                break;
            }
            if cursor.merging.is_done() {
                cursor.is_over = true;
                break;
            }
            let wanted = match cursor.row_by_row {
                true => (most - given).saturating_add(cursor.clauses.offset),
                false => ROUND_ROWS,
            };
            let needy = match show {
                Show::Hidden(scratch) => {
                    scratch.clear();
                    cursor.step(scratch)?
                }
                Show::Rows => cursor.step(&mut self.client.out)?,
                Show::Described(scratch, description) => {
                    let needy = cursor.step(scratch)?;
                    if !scratch.is_empty() {
                        self.client.out.extend_from_slice(description);
                        self.client.out.extend_from_slice(scratch);
                        *show = Show::Rows;
                    }
                    needy
                }
            };
            if let Some(needy) = needy {
                self.next_round(cursor, &needy, wanted).await?;
            } else if self.client.out.len() >= SEND_AT_BYTES {
                self.client.flush().await.map_err(LinkError::Client)?;
            }
        }
        let given = cursor.merging.rows - before;
        cursor.position = cursor.position.saturating_add(given);
        cursor.is_at_end |= given < most;
        if let Show::Described(_, description) = show {
            self.client.out.extend_from_slice(description);
        }
        Ok(given)
    }

    /// Asks these sources for more rows, and takes what they say to the end.
    async fn next_round(&mut self, cursor: &mut ShardCursor, needy: &[usize], wanted: u64) -> Step {
        self.drain().await?;
        let mut links = Vec::with_capacity(needy.len());
        for &at in needy {
            let index = self.link_of(&cursor.sources[at])?;
            let shard = self.links[index].shard;
            // Only to bring it to the session's settings: it is there.
            self.prepare_link(index, Need::shard(shard, Access::Read))
                .await?;
            links.push(index);
        }
        let mut rounds = Vec::with_capacity(needy.len());
        for (&at, &index) in needy.iter().zip(&links) {
            let round = round_rows(cursor.sources[at].seen, wanted);
            let link = &mut self.links[index];
            let out = link.backend.out();
            match &cursor.asked {
                None => encode::execute(out, cursor.name.as_bytes(), round),
                Some(message) => {
                    let client = frontend::parse_bind(&message[5..])?;
                    let fetch = format!("FETCH FORWARD {round} FROM \"{}\"", cursor.name);
                    encode::parse(out, b"", fetch.as_bytes(), &[]);
                    let formats = ShardBind {
                        hidden: cursor.hidden,
                        columns: cursor.columns,
                        ..ShardBind::default()
                    };
                    formats.write(out, b"", Some(&client), b"");
                    encode::execute(out, b"", 0);
                    link.backend.forget_unnamed();
                }
            }
            encode::sync(link.backend.out());
            link.unsynced = false;
            rounds.push(u64::from(round.unsigned_abs()));
        }
        let mut sources = Source::of(&links);
        let result = self.take_round(cursor, needy, &rounds, &mut sources).await;
        self.at_rest(result).await
    }

    async fn take_round(
        &mut self,
        cursor: &mut ShardCursor,
        needy: &[usize],
        rounds: &[u64],
        sources: &mut [Source],
    ) -> Step {
        for source in sources.iter() {
            let flushed = self.links[source.link].backend.flush().await;
            flushed.map_err(LinkError::Server)?;
        }
        for ((source, &at), &round) in sources.iter_mut().zip(needy).zip(rounds) {
            let part = &mut cursor.sources[at];
            part.seen = (0, 0);
            loop {
                while self.head(source, &mut true, 0)? {
                    let backend = &mut self.links[source.link].backend;
                    let total = frame::total_length(backend.input()).unwrap_or(0);
                    part.rows.extend_from_slice(&backend.input()[..total]);
                    part.seen.0 += total;
                    part.seen.1 += 1;
                    backend.consume(total);
                }
                if source.ready {
                    break;
                }
                self.fill_any(std::iter::once(&*source)).await?;
            }
            part.is_over = part.seen.1 < round;
        }
        Ok(())
    }

    /// The link that a source's portal is on.
    fn link_of(&self, source: &PartSource) -> Step<usize> {
        self.links
            .iter()
            .position(|link| Arc::ptr_eq(link.backend.cancel_target(), &source.server))
            .ok_or_else(|| {
                Report::error(
                    "08006",
                    "the connection that this cursor was read over is gone",
                )
                .into()
            })
    }

    /// Closes the portals, on the links that are still there.
    pub(super) async fn close_on_shards(&mut self, cursor: ShardCursor) -> Step {
        self.drain().await?;
        for source in &cursor.sources {
            let Ok(index) = self.link_of(source) else {
                continue;
            };
            let link = &mut self.links[index];
            encode::close(link.backend.out(), b'P', cursor.name.as_bytes());
            encode::sync(link.backend.out());
            link.unsynced = false;
            link.expects
                .extend([Expect::Swallowed, Expect::Sync { forward: false }]);
            self.exchange(index).await?;
        }
        Ok(())
    }
}

impl ShardCursor {
    /// Takes the next row into `out`, or finds that there is none. `Some`: these sources must give more first.
    fn step(&mut self, out: &mut BytesMut) -> Step<Option<Vec<usize>>> {
        if !self.merging.is_ordered() {
            let full = |source: &PartSource| !source.rows.is_empty();
            if let Some(source) = self.sources.iter_mut().find(|source| full(source)) {
                let total = frame::total_length(&source.rows).unwrap_or(source.rows.len());
                let row = source.rows.split_to(total);
                self.merging.take(&row, (&[], 0, 0), out)?;
                return Ok(None);
            }
            let sources = self.sources.iter().enumerate();
            let needy: Vec<usize> = sources
                .filter(|(_, source)| !source.is_over)
                .map(|(at, _)| at)
                .collect();
            if needy.is_empty() {
                self.merging.end_group(out)?;
                self.is_over = true;
                return Ok(None);
            }
            return Ok(Some(needy));
        }
        match self.tournament.turn() {
            Turn::Over => {
                self.merging.end_group(out)?;
                self.is_over = true;
                Ok(None)
            }
            Turn::Of(at) => {
                let source = &mut self.sources[at];
                let total = frame::total_length(&source.rows).unwrap_or(source.rows.len());
                let row = source.rows.split_to(total);
                let key = (self.tournament.key(at), source.ends.0, source.ends.1);
                self.merging.take(&row, key, out)?;
                Ok(None)
            }
            Turn::Awaited => {
                let mut needy = Vec::new();
                for (at, source) in self.sources.iter_mut().enumerate() {
                    if !self.tournament.awaits(at) {
                        continue;
                    }
                    if let Some(total) = frame::total_length(&source.rows) {
                        let key = self.tournament.offer(at);
                        source.ends = self.merging.append_key(&source.rows[5..total], key)?;
                    } else if source.is_over {
                        self.tournament.exhausted(at);
                    } else {
                        needy.push(at);
                    }
                }
                Ok((!needy.is_empty()).then_some(needy))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ALL;
    use super::*;

    #[test]
    fn a_round_is_as_large_as_it_may_be() {
        // Of rows whose length is not known, few.
        assert_eq!(round_rows((0, 0), ALL), 64);
        assert_eq!(round_rows((0, 0), 10), 10);
        // Of short rows as many as are wanted, up to a limit.
        assert_eq!(round_rows((64 * 20, 64), 500), 500);
        assert_eq!(round_rows((64 * 20, 64), ALL), 1024);
        // Of long ones as many as fit, but one at least.
        assert_eq!(round_rows((64 * 16 * 1024, 64), ALL), 16);
        assert_eq!(round_rows((64 * 1024 * 1024, 64), ALL), 1);
        assert_eq!(round_rows((64, 64), 0), 1);
    }
}
