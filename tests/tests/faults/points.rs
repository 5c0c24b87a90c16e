//! A router that dies, or stands still and goes on, at each named point of a commit; and servers that die meanwhile.

use std::collections::BTreeSet;

use router::drive::failpoint;
use tests::bank::{Answer, Bank, Transfer, commit, status};
use tests::client::{ask, one};
use tests::fleet::{Fleet, FleetOptions, eventually};

/// Points at which nothing is decided yet, so that the transaction ends as aborted if its router dies.
const UNDECIDED: &[&str] = &[
    "before_prepare",
    "prepare_sent",
    "prepare_answered",
    "before_decision",
];
/// Points at which it is decided, or the deciding COMMIT is on its way.
const DECIDED: &[&str] = &[
    "decision_answered",
    "before_release",
    "release_sent",
    "release_answered",
    "before_commit_prepared",
    "commit_prepared_sent",
    "commit_prepared_answered",
    "before_reply",
];
/// Points of a commit that is refused.
const REFUSED: &[&str] = &[
    "before_rollback",
    "rollback_sent",
    "rollback_answered",
    "before_rollback_prepared",
    "rollback_prepared_sent",
    "rollback_prepared_answered",
];

#[test]
fn every_point_has_a_test() {
    let tested: BTreeSet<&str> = [UNDECIDED, DECIDED, REFUSED, &["decision_sent"]]
        .concat()
        .into_iter()
        .collect();
    let names = failpoint::names();
    assert_eq!(tested, names.iter().map(String::as_str).collect());
}

/// A bank, and a table whose keys are compared only when a transaction ends.
fn bank(fleet: &Fleet) -> Bank {
    let bank = Bank::open(fleet, 3);
    let mut client = fleet.routers[0].client();
    ask(
        &mut client,
        "CREATE TABLE late (id int, UNIQUE (id) DEFERRABLE INITIALLY DEFERRED)",
    );
    ask(
        &mut client,
        "SELECT pgweave.shard_table('late', 'id', colocate_with => 'account')",
    );
    bank
}

/// Writes on three shards and locks a row of the fourth.
fn transfer(bank: &Bank, name: &str) -> Transfer {
    Transfer {
        locks: Some(bank.accounts[3][0]),
        ..bank.transfer(name, &[0, 1, 2])
    }
}

/// A key twice: the shard refuses to prepare, or to commit.
fn spoil(client: &mut tests::client::Client, bank: &Bank, shard: usize) {
    let id = bank.accounts[shard][0];
    ask(client, &format!("INSERT INTO late VALUES ({id}), ({id})"));
}

#[test]
fn a_router_that_dies_leaves_all_or_nothing() {
    let mut fleet = Fleet::start(&FleetOptions::default());
    let bank = bank(&fleet);
    let mut answers = Vec::new();
    let points = [UNDECIDED, &["decision_sent"], DECIDED, REFUSED].concat();
    for point in points {
        let transfer = transfer(&bank, point);
        let mut client = fleet.routers[0].client();
        transfer.prepare(&mut client).unwrap();
        if REFUSED.contains(&point) {
            spoil(&mut client, &bank, 2);
        }
        fleet.routers[0].arm(point, "kill");
        let answer = commit(&mut client);
        assert_eq!(answer, Answer::Silence, "at {point}");
        assert!(fleet.routers[0].was_hit(), "at {point}");
        let gid = fleet.prepared().first().and_then(|name| {
            let (gid, _participant) = name.rsplit_once('_')?;
            Some(gid.to_owned())
        });
        // The other router finishes it.
        eventually("recovery", || fleet.prepared().is_empty());
        let committed = {
            let entries = "SELECT count(*) FROM ledger WHERE transfer = '";
            let mut other = fleet.routers[1].client();
            one(&mut other, &format!("{entries}{point}'")) == "3"
        };
        if point != "decision_sent" {
            assert_eq!(committed, DECIDED.contains(&point), "at {point}");
        }
        if let Some(gid) = gid {
            let told = status(&fleet, &gid);
            assert_eq!(told == "committed", committed, "at {point}: {told}");
        }
        answers.push((transfer, answer));
        fleet.routers[0].kill();
        fleet.routers[0].start();
    }
    fleet.nothing_is_left();
    bank.audit(&fleet, &answers);
}

#[test]
fn a_router_that_stands_still_is_told_the_truth_afterwards() {
    let fleet = Fleet::start(&FleetOptions::default());
    let bank = bank(&fleet);
    let mut answers = Vec::new();
    let points = [UNDECIDED, &["decision_sent"], DECIDED, REFUSED].concat();
    for point in points {
        let transfer = transfer(&bank, point);
        let mut client = fleet.routers[0].client();
        transfer.prepare(&mut client).unwrap();
        if REFUSED.contains(&point) {
            spoil(&mut client, &bank, 2);
        }
        fleet.routers[0].arm(point, "freeze");
        let answer = std::thread::scope(|scope| {
            let answer = scope.spawn(|| commit(&mut client));
            fleet.routers[0].frozen();
            // The other router's recovery finishes it, or waits for the decision that is not made.
            eventually("recovery", || {
                fleet.prepared().is_empty() || recovery_waits(&fleet)
            });
            fleet.routers[0].thaw();
            answer.join().unwrap()
        });
        if REFUSED.contains(&point) {
            assert_eq!(answer, Answer::Refused("23505".to_owned()), "at {point}");
        }
        if DECIDED.contains(&point) {
            assert_eq!(answer, Answer::Committed, "at {point}");
        }
        assert_ne!(answer, Answer::Silence, "at {point}");
        answers.push((transfer, answer));
    }
    fleet.nothing_is_left();
    bank.audit(&fleet, &answers);
}

/// Recovery asks for a decision and finds one in the making.
fn recovery_waits(fleet: &Fleet) -> bool {
    (0..fleet.shards()).any(|shard| {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%pgweave.decision%'";
        one(&mut fleet.server(shard), sql) != "0"
    })
}

#[test]
fn a_server_that_dies_during_a_commit_loses_nothing() {
    let fleet = Fleet::start(&FleetOptions {
        routers: 1,
        ..FleetOptions::default()
    });
    let bank = bank(&fleet);
    let mut answers = Vec::new();
    let points = [UNDECIDED, &["decision_sent"], DECIDED, REFUSED].concat();
    // The coordinating shard, one that is prepared, and one that holds a lock.
    for (shard, role) in [(0, "decider"), (1, "prepared"), (3, "holder")] {
        for point in &points {
            if role == "holder" && !matches!(*point, "prepare_answered" | "before_release") {
                continue;
            }
            let name = format!("{point}, {role}");
            let transfer = transfer(&bank, &name);
            let mut client = fleet.routers[0].client();
            transfer.prepare(&mut client).unwrap();
            if REFUSED.contains(point) {
                spoil(&mut client, &bank, 2);
            }
            fleet.routers[0].arm(point, "freeze");
            let answer = std::thread::scope(|scope| {
                let answer = scope.spawn(|| commit(&mut client));
                fleet.routers[0].frozen();
                fleet.kill_server(shard);
                fleet.start_server(shard);
                fleet.routers[0].thaw();
                answer.join().unwrap()
            });
            let refused = |code: &str| Answer::Refused(code.to_owned());
            if UNDECIDED.contains(point) && role == "decider"
                || *point == "before_prepare" && role == "prepared"
                || *point == "prepare_answered" && role == "holder"
            {
                assert_eq!(answer, refused("08006"), "at {name}");
            }
            if REFUSED.contains(point) {
                assert_eq!(answer, refused("23505"), "at {name}");
            }
            if DECIDED.contains(point) {
                assert_eq!(answer, Answer::Committed, "at {name}");
                // This session sees what it has committed, or an error.
                let account = transfer.parts[1].0;
                let sql = format!(
                    "SELECT count(*) FROM ledger WHERE account = {account} AND transfer = '{name}'"
                );
                assert_eq!(one(&mut client, &sql), "1", "at {name}");
            }
            assert!(
                !matches!(answer, Answer::Silence | Answer::Unknown(_)),
                "at {name}: {answer:?}"
            );
            answers.push((transfer, answer));
        }
    }
    fleet.nothing_is_left();
    bank.audit(&fleet, &answers);
}
