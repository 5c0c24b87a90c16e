//! What queries over several shards cost: a plain PostgreSQL, and pgweave with 1, 2 and 4 shards, measured in one run.
//!
//! All have the same rows on one server. For each statement the subjects take turns, round by round, so that whatever else the machine
//! does falls on all alike. Beside each cluster its shards are asked by hand, with what pgweave asks them. Before that a slow client reads
//! a whole table, and after it all rows of a table are brought to one server, by pgweave and by psql. Prints as it goes, and writes its
//! part of `tests/bench/RESULTS.md` when everything was measured.
//!
//! Entry point: [`run`].

mod asked;
mod cluster;
mod measure;
mod memory;
mod options;
mod pipe;
mod report;
mod statement;
mod targets;

use std::process::ExitCode;

use ::tests::process::Failure;
use clap::Parser;
use router::local::Scratch;

use cluster::Databases;
use measure::Ways;
use options::Options;
use report::Report;

fn main() -> ExitCode {
    tests::bench::main(run(Options::parse()))
}

/// Measures everything that the options choose.
async fn run(options: Options) -> Result<(), Failure> {
    tests::process::raise_file_limit();
    let scratch = Scratch::create()?;
    let databases = Databases::start(&options).await?;
    let mut report = Report::new(&options, &databases);
    // A cluster of one shard has nothing to bring or to merge.
    let several = || {
        databases
            .clusters
            .iter()
            .filter(|cluster| cluster.shards.len() > 1)
    };
    // First, before other work has given the routers memory that they keep.
    for round in 1..=options.rounds {
        for cluster in several().filter(|_| options.wants("memory")) {
            let memory = memory::measure(cluster).await?;
            println!("round {round}, {} shards: {memory:?}", cluster.shards.len());
            report.add_memory(cluster.shards.len(), memory);
        }
    }
    for statement in statement::ALL.iter().filter(|s| options.wants(s.name)) {
        for &clients in options
            .clients
            .iter()
            .filter(|count| statement.suits(**count))
        {
            println!("\n{}, clients: {clients}", statement.name);
            let ways = Ways::new(statement, clients, &databases, &scratch, &options)?;
            ways.warm_up().await?;
            for round in 1..=options.rounds {
                for (subject, runs, router) in &ways.all {
                    let sample = measure::measure(runs, *router).await?;
                    println!("  round {round}  {:<12} {sample}", subject.to_string());
                    report.add(statement, clients, *subject, sample);
                }
            }
            report.print(statement, clients);
        }
    }
    for round in 1..=options.rounds {
        for cluster in several().filter(|_| options.wants("pipe")) {
            pipe::check(cluster, options.rows)?;
            let moved = pipe::measure(cluster, options.rows).await?;
            println!(
                "round {round}, {} shards: {moved:.0?}",
                cluster.shards.len()
            );
            report.add_moved(cluster.shards.len(), moved);
        }
    }
    report.finish(&options)?;
    databases.stop().await
}
