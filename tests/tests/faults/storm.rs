//! Transfers of several clients through two routers over four servers, while routers and servers are killed, frozen and started
//! again at random.
//!
//! `PGWEAVE_SEED` chooses the faults, and `PGWEAVE_FAULT_SECONDS` how long they go on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::bank::{Answer, Bank, Transfer};
use tests::client::Client;
use tests::fleet::{Fleet, FleetOptions, eventually};

const CLIENTS: usize = 6;

#[test]
fn the_bank_survives_kills_at_random() {
    let seed = number("PGWEAVE_SEED").unwrap_or(1);
    let seconds = number("PGWEAVE_FAULT_SECONDS").unwrap_or(15);
    eprintln!(
        "faults of seed {seed} for {seconds} s; PGWEAVE_SEED and PGWEAVE_FAULT_SECONDS choose others"
    );
    let mut random = StdRng::seed_from_u64(seed);
    let mut fleet = Fleet::start(&FleetOptions::default());
    let bank = Bank::open(&fleet, 5);
    let addresses: Vec<_> = fleet
        .routers
        .iter()
        .map(|router| router.address())
        .collect();
    let (over, committed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut answers = Vec::new();
    let mut faults = [0; 3];
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let random = StdRng::seed_from_u64(random.random());
                let (bank, addresses) = (&bank, &addresses);
                let (over, committed) = (&over, &committed);
                scope.spawn(move || transfer(number, random, bank, addresses, over, committed))
            })
            .collect();
        // Ends the clients also when the test fails.
        let ending = Ending(&over);
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < deadline {
            // Some transfers succeed between two faults, however slow the machine is.
            let goal = committed.load(Ordering::Relaxed) + random.random_range(1..40);
            eventually("transfers to go on", || {
                committed.load(Ordering::Relaxed) >= goal
            });
            let victim = random.random_range(0..fleet.routers.len());
            let fault = random.random_range(0..3);
            faults[fault] += 1;
            match fault {
                0 => {
                    fleet.routers[victim].kill();
                    fleet.routers[victim].start();
                }
                1 => {
                    let shard = random.random_range(0..fleet.shards());
                    fleet.kill_server(shard);
                    fleet.start_server(shard);
                }
                _ => {
                    let point = ["before_decision", "decision_sent", "decision_answered"];
                    fleet.routers[victim].arm(point[random.random_range(0..3)], "kill");
                    eventually("a commit over several shards", || {
                        fleet.routers[victim].was_hit()
                    });
                    fleet.routers[victim].kill();
                    fleet.routers[victim].start();
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
        "{} transfers, {known} acknowledged, {took_effect} took effect; faults: {faults:?}",
        answers.len()
    );
}

struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One client: transfers on one shard and on several, through whichever router answers.
fn transfer(
    number: usize,
    mut random: StdRng,
    bank: &Bank,
    addresses: &[std::net::SocketAddr],
    over: &AtomicBool,
    committed: &AtomicUsize,
) -> Vec<(Transfer, Answer)> {
    let mut answers = Vec::new();
    let mut router = number;
    let mut connected: Option<Client> = None;
    while !over.load(Ordering::Relaxed) {
        let Some(client) = &mut connected else {
            router += 1;
            connected = Client::connect(addresses[router % addresses.len()], &[]).ok();
            continue;
        };
        let transfer = random_transfer(&mut random, bank, format!("t{number}-{}", answers.len()));
        let answer = transfer.run(client);
        if answer == Answer::Committed {
            committed.fetch_add(1, Ordering::Relaxed);
        }
        answers.push((transfer, answer));
        // From time to time to the other router, so that none is left without clients.
        if answers.len().is_multiple_of(20) || client.query("").is_err() {
            connected = None;
        }
    }
    answers
}

fn random_transfer(random: &mut StdRng, bank: &Bank, name: String) -> Transfer {
    let mut account = |shard: usize| {
        let accounts = &bank.accounts[shard];
        accounts[random.random_range(0..accounts.len())]
    };
    let mut parts: Vec<i32> = (0..bank.accounts.len()).map(&mut account).collect();
    let wanted = random.random_range(1..4);
    while parts.len() > wanted {
        parts.remove(random.random_range(0..parts.len()));
    }
    if let [only] = parts[..] {
        // On one shard alone.
        let mates = bank
            .accounts
            .iter()
            .find(|accounts| accounts.contains(&only));
        let mate = mates.unwrap().iter().find(|mate| **mate != only);
        parts.extend(mate);
    }
    // Most transfers take rows in one order; some make deadlocks.
    if random.random_range(0..10) > 0 {
        parts.sort_unstable();
    }
    let amount = random.random_range(1..100);
    let last = parts.len() - 1;
    Transfer {
        name,
        parts: parts
            .iter()
            .enumerate()
            .map(|(index, account)| match index == last {
                true => (*account, -amount * last as i64),
                false => (*account, amount),
            })
            .collect(),
        locks: None,
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
