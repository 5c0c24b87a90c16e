//! Snapshots over several shards, taken among transactions over several shards that go on meanwhile, under seeded interleavings,
//! crashes of routers, and rows that tell nothing.
//!
//! After each snapshot: every transaction is shown on all the shards in use or on none, and what had been acknowledged before
//! it began is shown. Once the gate is closed it ends soon. `PGWEAVE_SIM_SEED=4711 cargo test -p txn --test snapshot one_seed` replays a
//! seed.

#![allow(clippy::unwrap_used, reason = "a test that cannot be read fails")]

#[path = "model/random.rs"]
mod random;
#[path = "snapshots/reader.rs"]
mod reader;
#[path = "snapshots/servers.rs"]
mod servers;

use std::collections::BTreeMap;

use catalog::{ClusterId, ShardId};
use random::Random;
use reader::Reader;
use servers::{Server, Transaction};
use txn::snapshot::{ATTEMPTS, Action, Decided, Effort, Input, Request, Taking, View};
use txn::{Gid, Proof, RouterId};

/// One rule broken in each. Every one must be caught by some seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// What is prepared is not listed.
    ListOmitted,
    /// … or after the snapshot.
    ListAfterSnapshot,
    /// Horizons are read when decisions are.
    HorizonOfNow,
    /// … or while lists are: before the snapshots, but not before the lists.
    HorizonBesideLists,
    /// Decisions are read before the snapshots are all taken.
    DecisionsReadEarly,
    /// Shards that are not in use are not asked for decisions.
    OnlyShardsInUseAsked,
    /// What lags is taken as finished at once.
    FinishNotAwaited,
    /// The transaction is not rolled back before its snapshot is taken again.
    SnapshotKept,
    /// The gate keeps nobody out.
    GateNotTaken,
}

const ALL: [Mutation; 9] = [
    Mutation::ListOmitted,
    Mutation::ListAfterSnapshot,
    Mutation::HorizonOfNow,
    Mutation::HorizonBesideLists,
    Mutation::DecisionsReadEarly,
    Mutation::OnlyShardsInUseAsked,
    Mutation::FinishNotAwaited,
    Mutation::SnapshotKept,
    Mutation::GateNotTaken,
];

#[derive(Default, Debug)]
struct Counts {
    snapshots: u32,
    looks: u32,
    retakes: u32,
    gates: u32,
    committed: usize,
}

#[test]
fn all_or_nothing_is_shown() {
    let seeds = number("PGWEAVE_SIM_SEEDS").unwrap_or(3_000);
    let mut counts = Counts::default();
    for seed in 0..seeds {
        if let Err(violation) = run(seed, None, &mut counts) {
            panic!(
                "seed {seed}: {violation}\nreplay: PGWEAVE_SIM_SEED={seed} cargo test -p txn --test snapshot one_seed -- --nocapture"
            );
        }
    }
    println!("{seeds} seeds: {counts:?}");
    let seeds = u32::try_from(seeds).unwrap();
    assert!(counts.committed as u32 > seeds * 5, "{counts:?}");
    assert!(
        counts.retakes > seeds && counts.gates * 20 > seeds,
        "{counts:?}"
    );
}

#[test]
fn every_planted_bug_is_caught() {
    for planted in ALL {
        let caught = (0..20_000).find_map(|seed| {
            let violation = run(seed, Some(planted), &mut Counts::default()).err()?;
            Some((seed, violation))
        });
        let (seed, violation) = caught.unwrap_or_else(|| panic!("{planted:?} is not caught"));
        println!("{planted:?}: seed {seed}: {violation}");
    }
}

#[test]
fn one_seed() {
    if let Some(seed) = number("PGWEAVE_SIM_SEED") {
        let mut counts = Counts::default();
        println!("{:?} {counts:?}", run(seed, None, &mut counts));
    }
}

fn run(seed: u64, mutation: Option<Mutation>, counts: &mut Counts) -> Result<(), String> {
    let mut random = Random::new(seed);
    let mut servers: Vec<Server> = (0..2 + random.below(3))
        .map(|_| Server::default())
        .collect();
    let mut transactions: Vec<Transaction> = Vec::new();
    let mut readers: Vec<Reader> = Vec::new();
    let mut remembered: BTreeMap<ShardId, View> = BTreeMap::new();
    let hot = random.below(3);
    for _ in 0..400 {
        match random.below(12) {
            0 => {
                let server = random.below(servers.len());
                servers[server].write(&mut random);
            }
            1 if transactions.iter().filter(|one| !one.is_over()).count() < 2 + 4 * hot => {
                let number = transactions.len();
                transactions.push(Transaction::begin(number, &mut servers, &mut random));
            }
            2 if random.one_in(4) && readers.iter().all(|reader| reader.effort.is_some()) => {
                let number = readers.len();
                let known = match random.one_in(2) {
                    true => remembered.clone(),
                    false => BTreeMap::new(),
                };
                readers.push(Reader::begin(
                    number,
                    &servers,
                    &transactions,
                    known,
                    mutation,
                    &mut random,
                ));
            }
            3 if random.one_in(10) => {
                let views = (1u32..).zip(&servers);
                remembered = views
                    .map(|(id, server)| (ShardId(id), server.view()))
                    .collect();
            }
            4..8 => step_readers(&mut readers, &mut servers, &mut random),
            _ => step_transactions(&mut transactions, &mut servers, &mut random),
        }
        check(&mut readers, &transactions)?;
    }
    // No new ones; what is under way comes to its end.
    for _ in 0..200_000 {
        if readers.iter().all(|reader| reader.effort.is_some()) {
            break;
        }
        step_readers(&mut readers, &mut servers, &mut random);
        step_transactions(&mut transactions, &mut servers, &mut random);
        check(&mut readers, &transactions)?;
    }
    for reader in &readers {
        let Some(effort) = reader.effort else {
            return Err("a snapshot is never taken".into());
        };
        counts.snapshots += 1;
        counts.looks += effort.looks;
        counts.retakes += effort.retakes;
        counts.gates += u32::from(effort.gate);
    }
    counts.committed += transactions
        .iter()
        .filter(|one| one.is_acknowledged())
        .count();
    Ok(())
}

fn step_readers(readers: &mut [Reader], servers: &mut [Server], random: &mut Random) {
    for reader in readers.iter_mut().filter(|reader| reader.effort.is_none()) {
        reader.advance(servers, random);
    }
}

fn step_transactions(
    transactions: &mut [Transaction],
    servers: &mut [Server],
    random: &mut Random,
) {
    let open: Vec<usize> = (0..transactions.len())
        .filter(|&number| !transactions[number].is_over())
        .collect();
    if let Some(number) = random.pick(&open) {
        transactions[number].advance(number, servers, random);
    }
}

/// Looks at the snapshots that have just been finished.
fn check(readers: &mut [Reader], transactions: &[Transaction]) -> Result<(), String> {
    for reader in readers {
        let Some(effort) = reader.effort else {
            continue;
        };
        if effort.gate && !reader.refused && effort.looks > ATTEMPTS + 2 {
            return Err(format!("{} looks in spite of the gate", effort.looks));
        }
        let shown = std::mem::take(&mut reader.shown);
        if shown.is_empty() {
            continue;
        }
        for (number, transaction) in transactions.iter().enumerate() {
            let parts: Vec<bool> = transaction
                .shards()
                .filter_map(|shard| Some(shown.get(&shard)?.contains(&number)))
                .collect();
            if parts.contains(&true) && parts.contains(&false) {
                return Err(format!("transaction {number} is shown in part"));
            }
            if reader.acknowledged.contains(&number) && parts.contains(&false) {
                return Err(format!(
                    "transaction {number} was acknowledged before and is not shown"
                ));
            }
        }
    }
    Ok(())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn view(text: &str) -> View {
    View::parse(text).unwrap()
}

fn decided(participants: &[(u32, Option<u64>)], xid: u64) -> Decided {
    Decided {
        gid: Gid {
            cluster: ClusterId([7; 16]),
            router: RouterId(1),
            sequence: 1,
            pledge: Proof::new([0; 32]).pledge(),
            coordinating: ShardId(1),
        },
        xid: Some(xid),
        participants: participants
            .iter()
            .map(|&(id, xid)| (ShardId(id), xid))
            .collect(),
    }
}

fn start(shards: &[u32], actions: &mut Vec<Action>) -> Taking {
    let shards: Vec<ShardId> = shards.iter().copied().map(ShardId).collect();
    let horizons = shards
        .iter()
        .map(|&shard| (shard, view("10:10:")))
        .collect();
    let request = Request {
        coordinators: shards.clone(),
        shards,
        home: None,
        horizons,
    };
    Taking::start(request, actions)
}

fn taken(shard: u32, text: &str) -> Input {
    Input::Taken {
        shard: ShardId(shard),
        prepared: Vec::new(),
        view: view(text),
    }
}

fn rows(shard: u32, rows: &[Decided]) -> Input {
    Input::Decisions {
        shard: ShardId(shard),
        rows: rows.to_vec(),
    }
}

#[test]
fn what_a_view_shows() {
    let text = "10:20:10,14";
    let some = view(text);
    assert_eq!(some.to_string(), text);
    let shown: Vec<u64> = (8..22).filter(|&xid| some.shows(xid)).collect();
    assert_eq!(shown, [8, 9, 11, 12, 13, 15, 16, 17, 18, 19]);
    assert!(some.shows(0) && view("3:3:").shows(2) && !view("3:3:").shows(3));
    for bad in ["", "1", "1:2", "1:2:3,", "1:2:x", "1:2:3:4", "-1:2:"] {
        assert_eq!(View::parse(bad), None, "{bad:?}");
    }
}

#[test]
fn one_shard_needs_no_look() {
    let mut actions = Vec::new();
    let machine = start(&[1], &mut actions);
    assert_eq!(
        actions,
        [Action::Take {
            shard: ShardId(1),
            again: false
        }]
    );
    actions.clear();
    assert!(machine.step(taken(1, "10:20:"), &mut actions).is_done());
    assert_eq!(actions, [Action::Done(Effort::default())]);
}

#[test]
fn the_shard_that_lags_is_waited_for_and_all_are_taken_again() {
    let mut actions = Vec::new();
    let mut machine = start(&[1, 2], &mut actions);
    machine = machine.step(taken(1, "20:20:"), &mut actions);
    machine = machine.step(taken(2, "15:20:15"), &mut actions);
    actions.clear();
    let row = decided(&[(2, Some(15))], 12);
    machine = machine.step(rows(2, &[]), &mut actions);
    machine = machine.step(rows(1, std::slice::from_ref(&row)), &mut actions);
    let parts = vec![row.gid.participant(ShardId(2))];
    assert_eq!(actions, [Action::AwaitFinished { parts }]);
    actions.clear();
    machine = machine.step(Input::Finished, &mut actions);
    let again = |shard| Action::Take { shard, again: true };
    assert_eq!(actions, [ShardId(1), ShardId(2)].map(again));
    machine = machine.step(taken(1, "21:21:"), &mut actions);
    machine = machine.step(taken(2, "21:21:"), &mut actions);
    actions.clear();
    machine = machine.step(rows(2, &[]), &mut actions);
    machine = machine.step(rows(1, &[row]), &mut actions);
    assert!(machine.is_done());
    let effort = Effort {
        looks: 2,
        retakes: 2,
        gate: false,
    };
    assert_eq!(actions, [Action::Done(effort)]);
}

#[test]
fn a_row_that_lies_costs_one_look() {
    let mut actions = Vec::new();
    let mut machine = start(&[1, 2], &mut actions);
    let row = decided(&[(2, Some(u64::MAX))], 12);
    machine = machine.step(taken(1, "20:20:"), &mut actions);
    machine = machine.step(taken(2, "20:20:"), &mut actions);
    machine = machine.step(rows(1, std::slice::from_ref(&row)), &mut actions);
    machine = machine.step(rows(2, &[]), &mut actions);
    machine = machine.step(Input::Finished, &mut actions);
    machine = machine.step(taken(1, "20:20:"), &mut actions);
    machine = machine.step(taken(2, "20:20:"), &mut actions);
    machine = machine.step(rows(1, &[row]), &mut actions);
    assert!(machine.step(rows(2, &[]), &mut actions).is_done());
}

#[test]
fn what_wrote_nothing_on_a_shard_is_shown_there() {
    let mut actions = Vec::new();
    let mut machine = start(&[1, 2], &mut actions);
    machine = machine.step(taken(1, "20:20:"), &mut actions);
    machine = machine.step(taken(2, "20:20:"), &mut actions);
    machine = machine.step(rows(1, &[decided(&[(2, Some(0))], 12)]), &mut actions);
    assert!(machine.step(rows(2, &[]), &mut actions).is_done());
}
