//! Random queries on a plain PostgreSQL and on pgweave: the same rows, or an honest refusal.
//!
//! Entry point: [`run`]. A seed fixes the rows of the tables ([`schema`]) and each query by its number ([`queries`]). Queries are
//! type-correct; their answers are compared as far as the query fixes them ([`compare`]): in order if it sorts by all it
//! shows, else as a bag of rows whose sort keys come in order. On a difference the query is cut down ([`shrink`]) as long as the two
//! still differ in the same way.
//!
//! Deliberately absent: anything whose result depends on the order in which a server happens to look at rows (sums of inexact
//! floats, aggregates of unordered lists, LIMIT without a total order within a query, errors that only some plans run into).

pub mod compare;
pub mod dice;
pub mod expressions;
pub mod groups;
pub mod order;
pub mod queries;
pub mod render;
pub mod report;
pub mod schema;
pub mod shrink;
pub mod sides;
pub mod sources;
pub mod sql;
pub mod subqueries;
pub mod templates;
pub mod types;
pub mod windows;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::differential::Mode;
use crate::process::Failure;
use compare::{Answer, Kind, ask, difference};
use dice::Dice;
use report::{Difference, Report, normalized};
use sides::Pair;
use sql::{Limit, Query};

/// Sessions at the same time.
const WORKERS: usize = 4;
/// Queries that one shrinking may try.
const ATTEMPTS: usize = 1500;
/// After so many differences there is enough to read.
const ENOUGH: usize = 6;

#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    pub queries: u64,
    /// Only the query with this number.
    pub only: Option<u64>,
    /// When to stop, however many are done.
    pub time: Duration,
}

/// Writes of one row each, which some queries see before anybody else.
const WRITES: [&str; 8] = [
    "UPDATE customers SET n2 = 77.00, t = 'new' WHERE k = 1",
    "DELETE FROM orders WHERE k = 1",
    "INSERT INTO orders (k, id, n2) VALUES (3, 900, 5.00)",
    "INSERT INTO empties VALUES (2, 1, 'a', 1.00, 1, NULL)",
    "UPDATE countries SET t = 'new' WHERE i4 = 2",
    "DELETE FROM notes WHERE id = 1",
    "UPDATE tags SET i8 = 5 WHERE t = 'a'",
    "INSERT INTO events (d, id, f) VALUES ('2024-06-15', 901, 0.25)",
];

/// Runs the queries, in turns on each pair of servers.
pub fn run(pairs: &[Pair], options: &Options) -> Report {
    let started = Instant::now();
    let next = AtomicU64::new(options.only.unwrap_or(0));
    let end = options.only.map_or(options.queries, |only| only + 1);
    let all = Mutex::new(Report {
        seed: options.seed,
        ..Report::default()
    });
    let found = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let mut worker = Worker::new(pairs, options.seed);
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let is_over = started.elapsed() > options.time
                        || found.load(Ordering::Relaxed) >= ENOUGH as u64;
                    if index >= end || is_over {
                        break;
                    }
                    worker.query(index);
                    let differences = std::mem::take(&mut worker.found);
                    found.fetch_add(differences as u64, Ordering::Relaxed);
                }
                if let Ok(mut all) = all.lock() {
                    all.merge(worker.report);
                }
            });
        }
    });
    let mut report = all.into_inner().unwrap_or_default();
    report
        .differences
        .sort_by_key(|difference| difference.index);
    report.elapsed = started.elapsed();
    report
}

/// The query with this number, for all who replay it.
pub fn query(seed: u64, index: u64) -> Query {
    queries::generate(Dice::new(seed, index))
}

struct Worker<'a> {
    pairs: &'a [Pair],
    seed: u64,
    /// One for each pair.
    sessions: Vec<Option<Session>>,
    report: Report,
    found: usize,
}

struct Session {
    postgres: Client,
    pgweave: Client,
}

/// How a query is asked.
#[derive(Clone, Copy)]
struct Manner {
    mode: Mode,
    block: Option<&'static str>,
}

impl<'a> Worker<'a> {
    fn new(pairs: &'a [Pair], seed: u64) -> Worker<'a> {
        Worker {
            pairs,
            seed,
            sessions: pairs.iter().map(|_| None).collect(),
            report: Report::default(),
            found: 0,
        }
    }

    fn query(&mut self, index: u64) {
        let query = query(self.seed, index);
        let mut dice = Dice::new(!self.seed, index);
        let manner = Manner {
            mode: *dice.pick(&[Mode::Simple, Mode::Text, Mode::Binary]),
            block: dice.percent(10).then(|| *dice.pick(&WRITES)),
        };
        let place = (index % self.pairs.len() as u64) as usize;
        let text = render::render(&query, manner.mode != Mode::Simple).sql;
        let asked = match self.both(place, &query, manner) {
            Ok(asked) => asked,
            Err(failure) => panic!("query {index} of seed {}: {failure}\n{text}", self.seed),
        };
        let (expected, found, kind) = asked;
        // The time limit holds for the write before it as well, which leaves the block failed.
        let slow = |answer: &Answer| matches!(answer.sqlstate().as_str(), "57014" | "25P02");
        if slow(&expected) || slow(&found) {
            self.report.slow += 1;
            return;
        }
        if let (Answer::Error { sqlstate, message }, true) =
            (&found, expected.sqlstate() != "0A000")
            && sqlstate == "0A000"
        {
            self.report
                .refused
                .entry(normalized(message))
                .or_default()
                .keep(&text);
            return;
        }
        let Some(kind) = kind else {
            match &expected {
                Answer::Error { sqlstate, message } => {
                    let message = format!("{sqlstate} {}", normalized(message));
                    self.report.failed.entry(message).or_default().keep(&text);
                }
                Answer::Rows { .. } => self.report.compared += 1,
            }
            return;
        };
        let shrunk = shrink::shrink(
            &query,
            ATTEMPTS,
            |candidate| matches!(self.both(place, candidate, manner), Ok((_, _, Some(again))) if again == kind),
        );
        let rendered = render::render(&shrunk, manner.mode != Mode::Simple);
        // The last word is the shrunk query's, unless it does not differ every time.
        let (postgres, pgweave) = match self.both(place, &shrunk, manner) {
            Ok((postgres, pgweave, _)) => (postgres, pgweave),
            Err(_) => (expected, found),
        };
        self.found += 1;
        self.report.differences.push(Difference {
            index,
            shards: self.pairs[place].shards,
            mode: manner.mode,
            block: manner.block,
            kind,
            sql: rendered.sql,
            parameters: rendered
                .parameters
                .into_iter()
                .map(|literal| literal.text)
                .collect(),
            original: text,
            postgres,
            pgweave,
        });
    }

    /// Both answers, and whether they differ.
    fn both(
        &mut self,
        place: usize,
        query: &Query,
        manner: Manner,
    ) -> Result<(Answer, Answer, Option<Kind>), Failure> {
        let mut session = match self.sessions[place].take() {
            Some(session) => session,
            None => self.pairs[place]
                .session()
                .map(|(postgres, pgweave)| Session { postgres, pgweave })?,
        };
        if let Some(write) = manner.block {
            for client in [&mut session.postgres, &mut session.pgweave] {
                client.query("BEGIN")?;
                client.query(write)?;
            }
        }
        let expected = ask(&mut session.postgres, query, manner.mode)?;
        let found = ask(&mut session.pgweave, query, manner.mode)?;
        let kind = difference(query, &expected, &found, || {
            let unlimited = Query {
                limit: Limit::None,
                ..query.clone()
            };
            ask(&mut session.postgres, &unlimited, manner.mode).ok()
        });
        if manner.block.is_some() {
            for client in [&mut session.postgres, &mut session.pgweave] {
                client.query("ROLLBACK")?;
            }
        }
        self.sessions[place] = Some(session);
        Ok((expected, found, kind))
    }
}
