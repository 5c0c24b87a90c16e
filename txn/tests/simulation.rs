//! Coordinator, recovery and collection against model servers, under seeded crashes, delays, reordering and
//! suspended routers.
//!
//! - `PGWEAVE_SIM_SEEDS=100000 cargo test -p txn --test simulation` runs more seeds.
//! - `PGWEAVE_SIM_SEED=4711 cargo test -p txn --test simulation one_seed -- --nocapture` replays one, with its history.
//!
//! After each seed: every transaction is committed on all the shards it wrote on or on none, no client was told
//! otherwise, nothing of ours is left prepared, nothing of others was touched, and no decision was lost on the way.

mod model;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use model::mutation::{self, Mutation};
use model::world::{Counts, World};

#[test]
fn nothing_is_half_done() {
    let seeds = number("PGWEAVE_SIM_SEEDS").unwrap_or(5_000);
    let counts = run_all(seeds, None, true).unwrap_or_else(|(seed, violation)| {
        panic!("seed {seed}: {violation}\nreplay: PGWEAVE_SIM_SEED={seed} cargo test -p txn --test simulation one_seed -- --nocapture")
    });
    println!("{seeds} seeds: {counts:?}");
    // A simulation in which nothing happens proves nothing.
    let Counts {
        committed,
        unfinished,
        aborted,
        unknown,
        recovered,
        in_doubt,
        collected,
    } = counts;
    for (what, count) in [
        ("committed", committed),
        ("committed but unfinished", unfinished),
        ("aborted", aborted),
        ("unknown", unknown),
        ("recovered", recovered),
        ("in doubt", in_doubt),
        ("collected", collected),
    ] {
        assert!(
            count as u64 * 20 >= seeds,
            "hardly anything was {what}: {count}"
        );
    }
}

#[test]
fn without_faults_everything_commits() {
    let counts = run_all(200, None, false)
        .unwrap_or_else(|(seed, violation)| panic!("seed {seed}: {violation}"));
    assert!(counts.committed > 0);
    assert_eq!(
        (
            counts.aborted,
            counts.unknown,
            counts.unfinished,
            counts.recovered
        ),
        (0, 0, 0, 0)
    );
}

#[test]
fn every_planted_bug_is_caught() {
    let mut missed = Vec::new();
    for planted in mutation::ALL {
        match run_all(20_000, Some(planted), true) {
            Err((seed, violation)) => println!("{planted:?}: seed {seed}: {violation}"),
            Ok(_) => missed.push(planted),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

#[test]
fn one_seed() {
    let Some(seed) = number("PGWEAVE_SIM_SEED") else {
        return;
    };
    let wanted = std::env::var("PGWEAVE_SIM_BUG").ok();
    let planted = mutation::ALL
        .into_iter()
        .find(|planted| Some(format!("{planted:?}")) == wanted);
    println!("{:?}", World::new(seed, planted, true, true).run());
}

/// Runs seeds until one fails.
fn run_all(seeds: u64, planted: Option<Mutation>, faulty: bool) -> Result<Counts, (u64, String)> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut counts = Counts::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return Ok(counts);
            }
            match World::new(seed, planted, faulty, false).run() {
                Ok(more) => counts.add(more),
                Err(violation) => {
                    next.store(seeds, Ordering::Relaxed);
                    return Err((seed, violation));
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut counts = Counts::default();
        for worker in workers {
            match worker.join() {
                Ok(result) => counts.add(result?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(counts)
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
