//! Commits over servers that a router loses: by networks that are cut without a word, pauses, kills.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use containers::bank::{Answer, Bank, Transfer};
use containers::docker::eventually;
use containers::fleet::{Fleet, connect};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const CLIENTS: usize = 4;

#[test]
fn commits_over_networks_that_are_cut() {
    let fleet = Fleet::start();
    let bank = Bank::open(&fleet);
    let mut answers = Vec::new();
    // The coordinating shard is the first that a transfer writes on.
    for (point, cut, possible) in [
        ("before_prepare", 1, "08006"),
        ("prepare_answered", 0, "08006 or 08007"),
        ("before_decision", 0, "08007"),
        // The answer may come before the network is cut.
        ("decision_sent", 0, "COMMIT or 08007"),
        ("decision_answered", 0, "COMMIT"),
        ("before_commit_prepared", 1, "COMMIT"),
        ("commit_prepared_sent", 1, "COMMIT"),
    ] {
        let transfer = bank.transfer(point, 0, 1);
        let client = fleet.connect(&fleet.routers[0]).unwrap();
        let began = Instant::now();
        fleet.routers[0].freeze_at(point);
        let answer = std::thread::scope(|scope| {
            let running = scope.spawn(|| fleet.runtime.block_on(transfer.run(&client)));
            fleet.routers[0].frozen();
            fleet.routers[0].cut_off(&fleet.servers[cut]);
            fleet.routers[0].thaw();
            running.join().unwrap()
        });
        eprintln!(
            "{point}, server {cut}: {answer:?} after {:?}",
            began.elapsed()
        );
        let word = match &answer {
            Answer::Committed => "COMMIT",
            Answer::Refused(code) => code,
            Answer::Unknown(_) => "08007",
            Answer::Silence => "nothing",
        };
        assert!(possible.contains(word), "at {point}: {answer:?}");
        // The other router, which reaches all servers, finishes what is left, though the network stays cut.
        eventually("recovery", || fleet.prepared().is_empty());
        fleet.routers[0].join(&fleet.servers[cut]);
        answers.push((transfer, answer));
    }
    fleet.nothing_is_left();
    bank.audit(&fleet, &answers);
}

#[test]
fn the_bank_survives_networks_pauses_and_kills_at_random() {
    let seed = number("PGWEAVE_SEED").unwrap_or(1);
    let seconds = number("PGWEAVE_FAULT_SECONDS").unwrap_or(60);
    eprintln!(
        "faults of seed {seed} for {seconds} s; PGWEAVE_SEED and PGWEAVE_FAULT_SECONDS choose others"
    );
    let mut random = StdRng::seed_from_u64(seed);
    let fleet = Fleet::start();
    let bank = Bank::open(&fleet);
    let ports: Vec<u16> = fleet.routers.iter().map(|router| router.port).collect();
    let (over, committed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut faults = [0; 4];
    let mut answers = Vec::new();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let random = StdRng::seed_from_u64(random.random());
                let (fleet, bank, ports) = (&fleet, &bank, &ports);
                let (over, committed) = (&over, &committed);
                scope.spawn(move || {
                    let work = transfers(number, random, bank, ports, over, committed);
                    fleet.runtime.block_on(work)
                })
            })
            .collect();
        // Ends the clients also when the test fails.
        let ending = Ending(&over);
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let go_on = |least: usize| {
            let goal = committed.load(Ordering::Relaxed) + least;
            eventually("transfers to go on", || {
                committed.load(Ordering::Relaxed) >= goal
            });
        };
        while Instant::now() < deadline {
            go_on(random.random_range(1..20));
            let router = &fleet.routers[random.random_range(0..fleet.routers.len())];
            let server = &fleet.servers[random.random_range(0..fleet.servers.len())];
            let fault = random.random_range(0..4);
            faults[fault] += 1;
            match fault {
                0 => {
                    router.cut_off(server);
                    // The other router, and other shards, go on meanwhile.
                    go_on(random.random_range(1..5));
                    router.join(server);
                }
                1 => {
                    server.pause();
                    server.resume();
                }
                2 => {
                    server.kill();
                    server.start();
                }
                _ => {
                    router.kill();
                    router.start();
                    fleet.is_ready(router);
                }
            }
        }
        drop(ending);
        for client in clients {
            answers.extend(client.join().unwrap());
        }
    });
    fleet.nothing_is_left();
    let took_effect = bank.audit(&fleet, &answers);
    let known = answers
        .iter()
        .filter(|(_, answer)| *answer == Answer::Committed)
        .count();
    eprintln!(
        "{} transfers, {known} acknowledged, {took_effect} took effect; cuts, pauses, kills of servers and of routers: {faults:?}",
        answers.len()
    );
}

struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn transfers(
    number: usize,
    mut random: StdRng,
    bank: &Bank,
    ports: &[u16],
    over: &AtomicBool,
    committed: &AtomicUsize,
) -> Vec<(Transfer, Answer)> {
    let mut answers = Vec::new();
    let mut router = number;
    let mut connected = None;
    while !over.load(Ordering::Relaxed) {
        let Some(client) = &connected else {
            router += 1;
            connected = connect(ports[router % ports.len()]).await;
            continue;
        };
        let from = random.random_range(0..bank.accounts.len());
        let to = random.random_range(0..bank.accounts.len());
        let mut account = |shard: usize| {
            let accounts = &bank.accounts[shard];
            accounts[random.random_range(0..accounts.len())]
        };
        let (from, to) = (account(from), account(to));
        if from == to {
            continue;
        }
        let transfer = Transfer {
            name: format!("t{number}-{}", answers.len()),
            parts: vec![(from.min(to), -1), (from.max(to), 1)],
        };
        let answer = transfer.run(client).await;
        if answer == Answer::Committed {
            committed.fetch_add(1, Ordering::Relaxed);
        }
        answers.push((transfer, answer));
        if answers.len() % 20 == 0 || client.batch_execute("").await.is_err() {
            connected = None;
        }
    }
    answers
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
