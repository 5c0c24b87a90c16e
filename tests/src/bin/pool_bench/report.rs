//! What was measured, for people: on the screen and in `RESULTS.md`.

use std::fmt::Write;
use std::path::PathBuf;

use ::tests::bench::spread::cell;
use ::tests::bench::{machine, results};
use ::tests::process::Failure;

use crate::database::Database;
use crate::options::Options;
use crate::subject::{Sample, Subject};
use crate::workload::Workload;

/// All samples, in the order they were taken.
pub struct Report {
    subjects: Vec<(&'static str, String)>,
    samples: Vec<(Workload, &'static str, Sample)>,
    idle: Vec<(&'static str, f64)>,
    conditions: Vec<(String, String)>,
}

impl Report {
    pub fn new(options: &Options, subjects: &[Subject], database: &Database) -> Report {
        let mut conditions = machine::facts();
        conditions.extend([
            (
                "Server".to_owned(),
                format!(
                    "PostgreSQL {}, one for all, scale {}, fsync off, on the same machine as the proxies and pgbench, over TCP",
                    database.server().binaries().version(),
                    options.scale
                ),
            ),
            (
                "Rounds".to_owned(),
                format!("{} of {} s each, interleaved", options.rounds, options.seconds),
            ),
            (
                "Pools".to_owned(),
                format!("at most {} connections to a database, transaction mode", options.pool),
            ),
            (
                "Build".to_owned(),
                if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
            ),
        ]);
        Report {
            subjects: subjects
                .iter()
                .map(|subject| (subject.name, subject.about.clone()))
                .collect(),
            samples: Vec::new(),
            idle: Vec::new(),
            conditions,
        }
    }

    pub fn add(&mut self, workload: &Workload, subject: &Subject, sample: Sample) {
        self.samples.push((workload.clone(), subject.name, sample));
    }

    pub fn add_idle(&mut self, subject: &Subject, bytes: f64) {
        self.idle.push((subject.name, bytes));
    }

    /// The table of one workload.
    pub fn print(&self, workload: &Workload) {
        print!("{}", self.table(std::slice::from_ref(workload)));
    }

    /// Writes the results if everything was measured, or where the options say.
    pub fn finish(&self, options: &Options) -> Result<(), Failure> {
        let path: PathBuf = match &options.output {
            Some(path) => path.clone(),
            None if options.is_complete() => results::kept(),
            None => return Ok(()),
        };
        results::write(&path, &self.markdown())
    }

    fn markdown(&self) -> String {
        let mut text = String::from(
            "# What a proxy costs\n\n\
             Written by `./dev bench pool`. Each number is the median of the rounds, with the least and the greatest in \
             parentheses. \"Ratio\" compares throughput with direct access in the same round. \"Processor\" is the \
             proxy's user and system time per transaction. A workload is pgbench's: one SELECT by key, or a TPC-B \
             transaction of seven statements, on tables that pgweave has on one shard (unsharded) or sharded by branch, \
             each transaction within one branch (sharded).\n\n",
        );
        for (name, value) in &self.conditions {
            let _ = writeln!(text, "- {name}: {value}");
        }
        for (name, about) in &self.subjects {
            let _ = writeln!(text, "- {name}: {about}");
        }
        let mut workloads: Vec<Workload> = Vec::new();
        for (workload, ..) in &self.samples {
            if !workloads.contains(workload) {
                workloads.push(workload.clone());
            }
        }
        let _ = write!(text, "\n{}", self.table(&workloads));
        if !self.idle.is_empty() {
            text.push_str("\n| idle client | KiB of the proxy's memory |\n|---|---:|\n");
            for (name, _) in &self.subjects {
                let bytes = self.idle.iter().filter(|(known, _)| known == name);
                let spread = cell(bytes.map(|(_, bytes)| bytes / 1024.0), 1);
                if !spread.is_empty() {
                    let _ = writeln!(text, "| {name} | {spread} |");
                }
            }
        }
        text
    }

    fn table(&self, workloads: &[Workload]) -> String {
        let mut text = String::from(
            "| workload, protocol, clients | | transactions a second | ratio | latency, ms | processor, µs |\n\
             |---|---|---:|---:|---:|---:|\n",
        );
        for workload in workloads {
            for (name, _) in &self.subjects {
                let samples = self.samples_of(workload, name);
                let direct = self.samples_of(workload, "direct");
                let ratios = samples
                    .iter()
                    .zip(&direct)
                    .map(|(sample, direct)| sample.per_second / direct.per_second);
                let cpu = samples.iter().filter_map(|s| s.cpu_us_per_transaction);
                let _ = writeln!(
                    text,
                    "| {workload} | {name} | {} | {} | {} | {} |",
                    cell(samples.iter().map(|s| s.per_second), 0),
                    cell(ratios, 2),
                    cell(samples.iter().map(|s| s.latency_ms), 3),
                    cell(cpu, 1),
                );
            }
        }
        text
    }

    fn samples_of(&self, workload: &Workload, subject: &str) -> Vec<Sample> {
        let of =
            |(known, name, _): &&(Workload, &str, Sample)| known == workload && *name == subject;
        let samples = self.samples.iter().filter(of);
        samples.map(|(_, _, sample)| *sample).collect()
    }
}
