//! What a proxy costs: PostgreSQL directly, behind pgbouncer and behind pgweave, measured in one run.
//!
//! One server serves all of them. For each workload the subjects take turns, round by round, so that whatever else
//! the machine does falls on all alike. Prints as it goes, and writes `tests/bench/RESULTS.md` when everything was
//! measured.
//!
//! Entry point: [`run`]. Whatever ends this program ends all that it started.

mod database;
mod idle;
mod options;
mod report;
mod subject;
mod workload;

use std::process::ExitCode;

use ::tests::process::Failure;
use clap::Parser;

use database::Database;
use options::Options;
use report::Report;
use subject::Subject;
use workload::Workload;

fn main() -> ExitCode {
    tests::bench::main(run(Options::parse()))
}

/// Measures everything that the options choose.
async fn run(options: Options) -> Result<(), Failure> {
    tests::process::raise_file_limit();
    let database = Database::start(&options).await?;
    let mut subjects = Subject::start_all(&options, &database).await?;
    let mut report = Report::new(&options, &subjects, &database);
    for workload in Workload::chosen(&options) {
        println!("\n{workload}");
        for subject in &subjects {
            subject.warm_up(&workload, &options).await?;
        }
        for round in 1..=options.rounds {
            for subject in &subjects {
                let sample = subject.measure(&workload, &options).await?;
                println!("  round {round}  {:<10} {sample}", subject.name);
                report.add(&workload, subject, sample);
            }
        }
        report.print(&workload);
    }
    if options.idle > 0 && options.wants("idle") {
        println!("\n{} idle clients", options.idle);
        for round in 1..=options.rounds {
            for subject in subjects.iter_mut().filter(|subject| subject.is_proxy()) {
                let bytes = idle::bytes_per_client(subject, &options, &database).await?;
                println!(
                    "  round {round}  {:<10} {:.1} KiB a client",
                    subject.name,
                    bytes / 1024.0
                );
                report.add_idle(subject, bytes);
            }
        }
    }
    report.finish(&options)?;
    for subject in subjects {
        subject.stop().await;
    }
    database.stop().await
}
