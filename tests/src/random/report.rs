//! What came of many queries.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::compare::{Answer, Kind};
use crate::differential::Mode;

#[derive(Debug, Default)]
pub struct Report {
    pub seed: u64,
    /// Queries that both answered.
    pub compared: usize,
    /// Queries that both refused with one SQLSTATE, by PostgreSQL's message.
    pub failed: BTreeMap<String, Sample>,
    /// Queries that only pgweave refused, by message.
    pub refused: BTreeMap<String, Sample>,
    /// Queries that took too long on one side.
    pub slow: usize,
    pub differences: Vec<Difference>,
    pub elapsed: Duration,
}

/// How often, and the shortest one.
#[derive(Debug, Default)]
pub struct Sample {
    pub count: usize,
    pub sql: String,
}

/// A query that the two answer otherwise.
#[derive(Debug)]
pub struct Difference {
    pub index: u64,
    pub shards: usize,
    pub mode: Mode,
    /// What was written before it in the same transaction.
    pub block: Option<&'static str>,
    pub kind: Kind,
    /// As small as it got.
    pub sql: String,
    pub parameters: Vec<Option<String>>,
    pub original: String,
    pub postgres: Answer,
    pub pgweave: Answer,
}

impl Report {
    pub fn total(&self) -> usize {
        self.compared
            + count(&self.failed)
            + count(&self.refused)
            + self.slow
            + self.differences.len()
    }

    pub fn refused_percent(&self) -> f64 {
        count(&self.refused) as f64 * 100.0 / self.total().max(1) as f64
    }

    pub fn failed_percent(&self) -> f64 {
        count(&self.failed) as f64 * 100.0 / self.total().max(1) as f64
    }

    pub fn merge(&mut self, other: Report) {
        self.compared += other.compared;
        self.slow += other.slow;
        self.differences.extend(other.differences);
        for (mine, others) in [
            (&mut self.failed, other.failed),
            (&mut self.refused, other.refused),
        ] {
            for (message, sample) in others {
                let known = mine.entry(message).or_default();
                known.keep(&sample.sql);
                known.count += sample.count - 1;
            }
        }
    }
}

impl Sample {
    pub fn keep(&mut self, sql: &str) {
        self.count += 1;
        if self.sql.is_empty() || sql.len() < self.sql.len() {
            sql.clone_into(&mut self.sql);
        }
    }
}

fn count(samples: &BTreeMap<String, Sample>) -> usize {
    samples.values().map(|sample| sample.count).sum()
}

/// The message without names and numbers, so that alike ones count as one.
pub fn normalized(message: &str) -> String {
    let mut normalized = String::new();
    let mut quoted = false;
    for letter in message.chars() {
        match letter {
            '"' => {
                quoted = !quoted;
                normalized.push_str(if quoted { "\"…" } else { "\"" });
            }
            _ if quoted => {}
            _ if letter.is_ascii_digit() => {
                if !normalized.ends_with('#') {
                    normalized.push('#');
                }
            }
            _ => normalized.push(letter),
        }
    }
    normalized
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            writeln!(
                f,
                "{difference}\n  replay     PGWEAVE_SEED={} PGWEAVE_QUERY={} cargo test -p tests --test random\n",
                self.seed, difference.index
            )?;
        }
        for (what, samples) in [("failed", &self.failed), ("refused", &self.refused)] {
            for (message, sample) in samples {
                writeln!(
                    f,
                    "{what} {} times: {message}\n  {}",
                    sample.count, sample.sql
                )?;
            }
        }
        let seconds = self.elapsed.as_secs_f64();
        write!(
            f,
            "seed {}: {} queries in {seconds:.0} s ({:.0} per second); {} compared, {} fail on both ({:.1} %), {} refused ({:.1} %), {} too slow, {} differences",
            self.seed,
            self.total(),
            self.total() as f64 / seconds.max(0.001),
            self.compared,
            count(&self.failed),
            self.failed_percent(),
            count(&self.refused),
            self.refused_percent(),
            self.slow,
            self.differences.len(),
        )
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "query {} [{} shards, {}]: {:?}",
            self.index, self.shards, self.mode, self.kind
        )?;
        if let Some(block) = self.block {
            writeln!(f, "  after      BEGIN; {block}")?;
        }
        writeln!(f, "  shrunk     {}", self.sql)?;
        if !self.parameters.is_empty() {
            writeln!(f, "  parameters {:?}", self.parameters)?;
        }
        for (side, answer) in [("postgres", &self.postgres), ("pgweave ", &self.pgweave)] {
            for line in answer.lines() {
                writeln!(f, "  {side}   {line}")?;
            }
        }
        write!(f, "  original   {}", self.original)
    }
}
