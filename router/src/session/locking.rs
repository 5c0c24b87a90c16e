//! FOR UPDATE with LIMIT over several shards: no row is locked that one server would not lock.
//!
//! Rows in any order are taken from one shard after the other. Rows in an order are chosen first, without locks, and then locked by their
//! primary keys. A server that has waited for a lock judges the row anew, as it is then; where that leaves rows out, or
//! SKIP LOCKED does, the next ones in the order are locked instead.

use std::collections::{HashMap, HashSet};

use planner::{Scatter, Turns};
use serde_json::{Map, Value};

use super::bringing::Moved;
use super::gather::Sent;
use super::report::Report;
use super::scatter::{Asked, Question, Ready, Source};
use super::{Session, Step};
use crate::execute::LinkError;
use crate::merge::row::Row;
use crate::wire::frontend::ShardBind;
use crate::wire::{backend, encode, frame};

/// So many rows at most are locked in one round.
const ROUND_ROWS: u64 = 1000;

/// So many rows more are chosen than are wanted, in place of those that are left out.
const SPARE_ROWS: u64 = 8;

/// How many times as many rows are chosen when those were not enough.
const GROWTH: u64 = 8;

/// Rows are sent on to the client when this much has gathered.
const SEND_AT_BYTES: usize = 32 * 1024;

/// `int8`
const BIGINT: u32 = 20;

/// `text`
const TEXT: u32 = 25;

/// A row that may be locked.
struct Chosen {
    /// Its place in the order.
    order: Vec<u8>,
    /// Index of its link.
    link: usize,
    key: Key,
}

/// Texts of a primary key's columns.
type Key = Vec<String>;

/// What all queries of one statement have in common.
struct Asking<'a> {
    scatter: &'a Scatter,
    ready: &'a Ready,
    moment: Option<&'a str>,
    sent: Sent<'a>,
}

impl Asking<'_> {
    /// Of the statement's parameters and one more.
    fn types(&self, last: u32) -> Vec<u32> {
        let own = usize::from(self.scatter.parameters) + usize::from(self.scatter.moment);
        let mut types = self.ready.types.clone();
        types.resize(own, 0);
        types.push(last);
        types
    }
}

impl Session {
    /// Answers a query whose shards take turns. `most`: so many rows at most, and no others later; 0: all.
    pub(super) async fn lock_rows(
        &mut self,
        scatter: &Scatter,
        mut ready: Ready,
        moment: Option<&str>,
        most: u64,
        sent: Sent<'_>,
    ) -> Step {
        let amounts = ready.amounts;
        let limit = match (amounts.limit, most) {
            (limit, 0) => limit,
            (limit, most) => Some(limit.map_or(most, |limit| limit.min(most))),
        };
        // PostgreSQL locks the rows that it leaves out at the beginning, too.
        let wanted = limit.map(|limit| limit.saturating_add(amounts.offset));
        let rows = match &scatter.turns {
            Turns::One { sql } => {
                let links = ready.links.clone();
                let rotated = self.handle.process_id as usize % links.len().max(1);
                let links = [&links[rotated..], &links[..rotated]].concat();
                self.lock_in_turn(scatter, &mut ready, (sql, moment), &links, wanted, sent)
                    .await?
            }
            Turns::Chosen { choose, lock, key } => {
                let asking = Asking {
                    scatter,
                    ready: &ready,
                    moment,
                    sent,
                };
                self.lock_chosen(&asking, choose, (lock, key), wanted)
                    .await?
            }
            Turns::AtOnce => {
                return Err(
                    Report::error("XX000", "shards are to take turns, but in no way").into(),
                );
            }
        };
        if most > 0 && rows == most {
            encode::portal_suspended(&mut self.client.out);
        } else {
            encode::command_complete(&mut self.client.out, &format!("SELECT {rows}"));
        }
        Ok(())
    }

    /// Asks one shard after the other for the rows that are missing. Returns how many have been shown.
    async fn lock_in_turn(
        &mut self,
        scatter: &Scatter,
        ready: &mut Ready,
        (sql, moment): (&str, Option<&str>),
        links: &[usize],
        wanted: Option<u64>,
        sent: Sent<'_>,
    ) -> Step<u64> {
        let asking = Asking {
            scatter,
            ready,
            moment,
            sent,
        };
        let types = asking.types(BIGINT);
        let mut missing = wanted;
        let mut described = !matches!(sent, Sent::Simple);
        for (turn, link) in links.iter().enumerate() {
            // The first one says what the rows are like.
            if turn > 0 && missing == Some(0) {
                break;
            }
            let bind = ShardBind {
                limit: Some(missing.and_then(|missing| i64::try_from(missing).ok())),
                ..ready.bind(scatter, moment)
            };
            let question = Question {
                own: ("", 0),
                sql: Some(sql),
                types: &types,
                bind,
                asked: Asked::Rows(0),
            };
            self.ask_shards(&[*link], question, sent).await?;
            let mut source = Source {
                link: *link,
                exhausted: false,
                ready: false,
                affected: 0,
            };
            while !source.ready {
                while self.head(&mut source, &mut described, scatter.hidden)? {
                    let input = self.links[*link].backend.input();
                    let total = frame::total_length(input).unwrap_or(0);
                    let row = (&[][..], 0, 0);
                    ready
                        .merging
                        .take(&input[..total], row, &mut self.client.out)?;
                    self.links[*link].backend.consume(total);
                    missing = missing.map(|missing| missing.saturating_sub(1));
                    if self.client.out.len() >= SEND_AT_BYTES {
                        self.client.flush().await.map_err(LinkError::Client)?;
                    }
                }
                if !source.ready {
                    self.fill_any(std::iter::once(&source)).await?;
                }
            }
        }
        Ok(ready.merging.rows)
    }

    /// Locks the first rows in the order. Returns how many have been shown.
    async fn lock_chosen(
        &mut self,
        asking: &Asking<'_>,
        choose: &str,
        (lock, key): (&str, &[String]),
        wanted: Option<u64>,
    ) -> Step<u64> {
        if let (Sent::Simple, Some(learned)) = (asking.sent, &asking.ready.learned) {
            backend::row_description_without(&mut self.client.out, &learned.description, 0)
                .map_err(LinkError::Protocol)?;
        }
        let mut tried: HashSet<(usize, Key)> = HashSet::new();
        let mut asked = wanted.map(|wanted| wanted.saturating_add(SPARE_ROWS));
        let mut skip = asking.ready.amounts.offset;
        let mut missing = wanted.unwrap_or(u64::MAX);
        let mut shown = 0;
        loop {
            let (chosen, are_all) = self.choose(asking, choose, key.len(), asked).await?;
            let mut next = chosen
                .into_iter()
                .filter(|row| tried.insert((row.link, row.key.clone())))
                .peekable();
            while missing > 0 && next.peek().is_some() {
                let round = usize::try_from(missing.min(ROUND_ROWS)).unwrap_or(1);
                let round: Vec<Chosen> = next.by_ref().take(round).collect();
                let mut locked = self.lock_these(asking, (lock, key), &round).await?;
                for row in &round {
                    let Some(message) = locked.remove(&(row.link, row.key.clone())) else {
                        continue;
                    };
                    missing -= 1;
                    if skip > 0 {
                        skip -= 1;
                        continue;
                    }
                    shown += 1;
                    let hidden = u16::try_from(key.len()).unwrap_or(u16::MAX);
                    Row::new(&message)
                        .and_then(|row| row.write_without(hidden, &mut self.client.out))
                        .map_err(|error| Report::error(error.sqlstate(), error.to_string()))?;
                }
                if self.client.out.len() >= SEND_AT_BYTES {
                    self.client.flush().await.map_err(LinkError::Client)?;
                }
            }
            if missing == 0 || are_all {
                return Ok(shown);
            }
            asked = asked.map(|asked| asked.saturating_mul(GROWTH));
        }
    }

    /// The first rows in the order of all shards, and whether there are no others. `width`: of the primary key.
    async fn choose(
        &mut self,
        asking: &Asking<'_>,
        sql: &str,
        width: usize,
        most: Option<u64>,
    ) -> Step<(Vec<Chosen>, bool)> {
        let most = most.and_then(|most| i64::try_from(most).ok());
        let question = Question {
            own: ("", 0),
            sql: Some(sql),
            types: &asking.types(BIGINT),
            bind: ShardBind {
                limit: Some(most),
                ..asking.ready.bind(asking.scatter, asking.moment)
            },
            asked: Asked::Rows(0),
        };
        self.ask_shards(&asking.ready.links, question, asking.sent)
            .await?;
        let first = usize::from(asking.scatter.hidden).saturating_sub(width);
        let mut rows: Vec<Chosen> = Vec::new();
        // Where a shard's rows end that has more of them.
        let mut ends: Vec<Vec<u8>> = Vec::new();
        let mut moved = Moved::default();
        for mut source in Source::of(&asking.ready.links) {
            let before = rows.len();
            while !source.ready {
                while self.head(&mut source, &mut true, 0)? {
                    let input = self.links[source.link].backend.input();
                    let total = frame::total_length(input).unwrap_or(0);
                    let body = input.get(5..total).unwrap_or_default();
                    let mut order = Vec::new();
                    asking.ready.merging.append_key(body, &mut order)?;
                    rows.push(Chosen {
                        order,
                        link: source.link,
                        key: key_of(body, first, width)?,
                    });
                    moved.rows += 1;
                    moved.bytes += body.len() as u64;
                    self.links[source.link].backend.consume(total);
                }
                self.check_moved("the rows to be locked", &moved)?;
                if !source.ready {
                    self.fill_any(std::iter::once(&source)).await?;
                }
            }
            let came = i64::try_from(rows.len() - before).unwrap_or(i64::MAX);
            if most.is_some_and(|most| came >= most) {
                ends.extend(rows.last().map(|row| row.order.clone()));
            }
        }
        let are_all = ends.is_empty();
        if let Some(end) = ends.into_iter().min() {
            rows.retain(|row| row.order <= end);
        }
        let mut seen = HashSet::new();
        if !rows.iter().all(|row| seen.insert((row.link, &row.key))) {
            return Err(not_told_apart().into());
        }
        rows.sort_by(|one, other| one.order.cmp(&other.order));
        Ok((rows, are_all))
    }

    /// Locks these rows where they are. Gives the bodies of their DataRows, as far as they are still rows of the query.
    async fn lock_these(
        &mut self,
        asking: &Asking<'_>,
        (sql, columns): (&str, &[String]),
        rows: &[Chosen],
    ) -> Step<HashMap<(usize, Key), Vec<u8>>> {
        let types = asking.types(TEXT);
        let mut links: Vec<usize> = rows.iter().map(|row| row.link).collect();
        links.sort_unstable();
        links.dedup();
        for &link in &links {
            let of_link = rows.iter().filter(|row| row.link == link);
            let keys: Vec<Value> = of_link
                .map(|row| {
                    let values = row.key.iter().map(|text| Value::from(text.as_str()));
                    let object: Map<String, Value> = columns.iter().cloned().zip(values).collect();
                    Value::Object(object)
                })
                .collect();
            let keys = Value::Array(keys).to_string();
            let bind = ShardBind {
                limit: None,
                rows: Some(&keys),
                hidden: u16::try_from(columns.len()).unwrap_or(u16::MAX),
                ..asking.ready.bind(asking.scatter, asking.moment)
            };
            let question = Question {
                own: ("", 0),
                sql: Some(sql),
                types: &types,
                bind,
                asked: Asked::Rows(0),
            };
            self.ask_shards(&[link], question, asking.sent).await?;
        }
        let mut locked = HashMap::new();
        for mut source in Source::of(&links) {
            while !source.ready {
                while self.head(&mut source, &mut true, 0)? {
                    let input = self.links[source.link].backend.input();
                    let total = frame::total_length(input).unwrap_or(0);
                    let body = input.get(5..total).unwrap_or_default();
                    let key = (source.link, key_of(body, 0, columns.len())?);
                    if locked.insert(key, body.to_vec()).is_some() {
                        return Err(not_told_apart().into());
                    }
                    self.links[source.link].backend.consume(total);
                }
                if !source.ready {
                    self.fill_any(std::iter::once(&source)).await?;
                }
            }
        }
        Ok(locked)
    }
}

/// Of tables that inherit from one another, or of a function that gives several rows for one.
fn not_told_apart() -> Report {
    Report::error(
        "0A000",
        "rows of several shards that are to be locked cannot be told apart by their primary key",
    )
    .hint("Name the shard key in the query, so that one shard can answer it; or leave out LIMIT or ORDER BY.")
}

/// The texts of so many columns of a row from the first on.
fn key_of(body: &[u8], first: usize, width: usize) -> Step<Key> {
    let read = || -> Option<Key> {
        let row = Row::new(body).ok()?;
        (first..first + width)
            .map(|column| {
                let cell = row.cell(u16::try_from(column).ok()?).ok()??;
                Some(std::str::from_utf8(cell).ok()?.to_owned())
            })
            .collect()
    };
    read().ok_or_else(|| {
        Report::error("XX000", "a row to be locked comes without its primary key").into()
    })
}
