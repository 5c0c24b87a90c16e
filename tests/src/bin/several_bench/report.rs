//! What was measured, for people: on the screen and in `RESULTS.md`.

use std::fmt::Write;

use ::tests::bench::spread::{Spread, cell};
use ::tests::bench::{machine, results};
use ::tests::process::Failure;

use crate::cluster::Databases;
use crate::measure::{Sample, Subject};
use crate::memory::Memory;
use crate::options::Options;
use crate::pipe::Moved;
use crate::statement::{self, Statement};
use crate::targets;

/// All samples, in the order they were taken.
pub struct Report {
    samples: Vec<(&'static str, u32, Subject, Sample)>,
    moved: Vec<(usize, Moved)>,
    memory: Vec<(usize, Memory)>,
    pub rows: u64,
    conditions: Vec<(String, String)>,
}

/// Numbers of one cluster for one statement, round by round.
pub struct Compared {
    pub latency_ms: Vec<f64>,
    pub by_hand_ms: Vec<f64>,
    /// Both may be empty.
    pub cpu_us: Vec<f64>,
    per_second: Vec<f64>,
}

const INTRODUCTION: &str = "\
## Queries over several shards

Written by `./dev bench several`. Each number is the median of the rounds, with the least and the greatest in parentheses. \"By hand\" \
is the same statement as the shards get it (read from EXPLAIN), sent to all of them at the same time, each by a pgbench of its own with \
as many clients; the slowest counts. With several clients that is more work at a time than they ask of pgweave, whose shards wait for each other. \"Ratio\" and \"beyond\" compare with that in the same round. \"Processor\" is the router's \
user and system time per transaction. All servers, routers and clients share the machine's processors: what one shard more costs \
here is mostly work that elsewhere another machine does. Statements are in `tests/src/bin/several_bench/statement.rs`.

";

impl Report {
    pub fn new(options: &Options, databases: &Databases) -> Report {
        let mut conditions = machine::facts();
        let mut say = |name: &str, value: String| conditions.push((name.to_owned(), value));
        say(
            "Server",
            format!(
                "PostgreSQL {}, one for all, a database for each shard, fsync off, over TCP",
                databases.server.binaries().version()
            ),
        );
        say(
            "Data",
            format!(
                "{} rows in each of two sharded tables, 20 in a reference table",
                options.rows
            ),
        );
        say(
            "Rounds",
            format!(
                "{} of {} s each, interleaved, prepared",
                options.rounds, options.seconds
            ),
        );
        say(
            "Pools",
            format!("at most {} connections to a shard", options.pool),
        );
        say("pgweave", env!("CARGO_PKG_VERSION").to_owned());
        if let Some(load) = machine::load() {
            say("Load when it began", load);
        }
        if let Some(remark) = &options.remark {
            say("Remark", remark.clone());
        }
        Report {
            samples: Vec::new(),
            moved: Vec::new(),
            memory: Vec::new(),
            rows: options.rows,
            conditions,
        }
    }

    pub fn add(&mut self, statement: &Statement, clients: u32, subject: Subject, sample: Sample) {
        self.samples
            .push((statement.name, clients, subject, sample));
    }

    pub fn add_moved(&mut self, shards: usize, moved: Moved) {
        self.moved.push((shards, moved));
    }

    pub fn add_memory(&mut self, shards: usize, memory: Memory) {
        self.memory.push((shards, memory));
    }

    /// The table of one statement.
    pub fn print(&self, statement: &Statement, clients: u32) {
        print!("{}", self.table(&[(statement.name, clients)]));
    }

    /// Prints the targets, and writes the results if everything was measured, or where the options say.
    pub fn finish(&self, options: &Options) -> Result<(), Failure> {
        println!(
            "\n{}{}{}",
            targets::table(self),
            self.moved_table(),
            self.memory_table()
        );
        match &options.output {
            Some(path) => results::write(path, &self.markdown()),
            None if options.is_complete() => results::write(&results::kept(), &self.markdown()),
            None => Ok(()),
        }
    }

    fn markdown(&self) -> String {
        let mut text = INTRODUCTION.to_owned();
        for (name, value) in &self.conditions {
            let _ = writeln!(text, "- {name}: {value}");
        }
        let mut runs: Vec<(&str, u32)> = Vec::new();
        for (name, clients, ..) in &self.samples {
            if !runs.contains(&(name, *clients)) {
                runs.push((name, *clients));
            }
        }
        let _ = write!(
            text,
            "\n### Targets\n\n{}\n### Statements\n\n{}\n### Bringing all rows to one server\n\n{}\n### Memory\n\n{}",
            targets::table(self),
            self.table(&runs),
            self.moved_table(),
            self.memory_table()
        );
        text
    }

    fn table(&self, runs: &[(&str, u32)]) -> String {
        let mut text = String::from(
            "| statement, clients | | transactions a second | latency, ms | by hand, ms | ratio | beyond, µs | processor, µs |\n\
             |---|---|---:|---:|---:|---:|---:|---:|\n",
        );
        for (name, clients) in runs {
            let mut subjects: Vec<Subject> = Vec::new();
            for (known, with, subject, _) in &self.samples {
                let by_hand = matches!(subject, Subject::ByHand(_));
                if known == name && with == clients && !by_hand && !subjects.contains(subject) {
                    subjects.push(*subject);
                }
            }
            for subject in subjects {
                let compared = self.compared(name, *clients, subject);
                let _ = writeln!(
                    text,
                    "| {name}, {clients} | {subject} | {} | {} | {} | {} | {} | {} |",
                    cell(compared.per_second.iter().copied(), 0),
                    cell(compared.latency_ms.iter().copied(), 3),
                    cell(compared.by_hand_ms.iter().copied(), 3),
                    cell(compared.ratios(), 2),
                    cell(compared.beyond_us(), 0),
                    cell(compared.cpu_us.iter().copied(), 1),
                );
            }
        }
        text
    }

    /// Of one subject, with its cluster by hand.
    pub fn compared(&self, name: &str, clients: u32, subject: Subject) -> Compared {
        let of = |subject: Option<Subject>| {
            self.samples
                .iter()
                .filter(move |(known, with, who, _)| {
                    *known == name && *with == clients && Some(*who) == subject
                })
                .map(|(.., sample)| sample)
        };
        let by_hand = match subject {
            Subject::Pgweave(shards) => Some(Subject::ByHand(shards)),
            Subject::Plain | Subject::ByHand(_) => None,
        };
        Compared {
            latency_ms: of(Some(subject)).map(|sample| sample.latency_ms).collect(),
            by_hand_ms: of(by_hand).map(|sample| sample.latency_ms).collect(),
            cpu_us: of(Some(subject))
                .filter_map(|sample| sample.cpu_us_per_transaction)
                .collect(),
            per_second: of(Some(subject)).map(|sample| sample.per_second).collect(),
        }
    }

    /// How much faster than the pipe a cluster's gathering is.
    pub fn gathering(&self, shards: usize) -> Option<Spread> {
        let of = self.moved.iter().filter(|(count, _)| *count == shards);
        Spread::of(of.map(|(_, moved)| moved.gathered / moved.piped))
    }

    /// Rows that the router merges in a second of processor time.
    pub fn merging(&self, shards: usize) -> Option<Spread> {
        let compared = self.compared(statement::STREAM, 1, Subject::Pgweave(shards));
        let rows = self.rows as f64;
        Spread::of(compared.cpu_us.iter().map(|us| rows * 1e6 / us.max(1.0)))
    }

    fn moved_table(&self) -> String {
        let mut text = String::from(
            "| shards | gathered, rows a second | psql COPY to psql COPY, rows a second | ratio |\n|---:|---:|---:|---:|\n",
        );
        for shards in counts(&self.moved) {
            let of = || self.moved.iter().filter(move |(count, _)| *count == shards);
            let _ = writeln!(
                text,
                "| {shards} | {} | {} | {} |",
                cell(of().map(|(_, moved)| moved.gathered), 0),
                cell(of().map(|(_, moved)| moved.piped), 0),
                cell(of().map(|(_, moved)| moved.gathered / moved.piped), 2),
            );
        }
        text
    }

    fn memory_table(&self) -> String {
        let mut text = String::from(
            "| shards | answer, MiB | router's memory before, MiB (the least: as it starts) | most while a slow client reads | after |\n|---:|---:|---:|---:|---:|\n",
        );
        let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
        for shards in counts(&self.memory) {
            let of = || {
                self.memory
                    .iter()
                    .filter(move |(count, _)| *count == shards)
            };
            let _ = writeln!(
                text,
                "| {shards} | {} | {} | {} | {} |",
                cell(of().map(|(_, memory)| mebibytes(memory.answer)), 1),
                cell(of().map(|(_, memory)| mebibytes(memory.before)), 1),
                cell(of().map(|(_, memory)| mebibytes(memory.most)), 1),
                cell(of().map(|(_, memory)| mebibytes(memory.after)), 1),
            );
        }
        text
    }
}

impl Compared {
    pub fn ratios(&self) -> impl Iterator<Item = f64> {
        let rounds = self.latency_ms.iter().zip(&self.by_hand_ms);
        rounds.map(|(through, by_hand)| through / by_hand)
    }

    pub fn beyond_us(&self) -> impl Iterator<Item = f64> {
        let rounds = self.latency_ms.iter().zip(&self.by_hand_ms);
        rounds.map(|(through, by_hand)| (through - by_hand) * 1000.0)
    }

    /// What is left of the latency after the shards' time and 15 % more.
    pub fn beyond_share_us(&self) -> impl Iterator<Item = f64> {
        let rounds = self.latency_ms.iter().zip(&self.by_hand_ms);
        rounds.map(|(through, by_hand)| (through - by_hand * 1.15) * 1000.0)
    }
}

fn counts<T>(measured: &[(usize, T)]) -> Vec<usize> {
    let mut counts: Vec<usize> = measured.iter().map(|(count, _)| *count).collect();
    counts.sort_unstable();
    counts.dedup();
    counts
}
