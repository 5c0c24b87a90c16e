//! What the benchmarks have in common: a server that measures well, pgbench, the processes' use of the machine, and the
//! file of results.
//!
//! Entry point: [`main`], from which a benchmark runs until it is done or told to end.

pub mod cluster;
pub mod machine;
pub mod pgbench;
pub mod pipe;
pub mod results;
pub mod server;
pub mod spread;
pub mod usage;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::process::Failure;

/// Runs a benchmark. Whatever ends it ends all that it started.
pub fn main(benchmark: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = benchmark => outcome,
            () = interrupted() => Err(Failure("interrupted".to_owned())),
        }
    });
    // What still runs was ended when `benchmark` was dropped.
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether a measurement of this name was asked for by `words`: no words ask for all.
pub fn wanted(words: &[String], name: &str) -> bool {
    words.is_empty() || words.iter().any(|word| name.contains(word.as_str()))
}

/// Ctrl-C, or a polite request to end.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
