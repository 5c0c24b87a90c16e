//! Shards that cannot prepare or commit: each has its error, and nothing stays.

use tests::bank::{Answer, Bank, Transfer, commit};
use tests::client::{Client, ask, sqlstate};
use tests::fleet::{Fleet, FleetOptions, eventually};

fn fleet(servers: &[&'static str]) -> (Fleet, Bank) {
    let fleet = Fleet::start(&FleetOptions {
        shards: 2,
        routers: 1,
        servers: servers.to_vec(),
        ..FleetOptions::default()
    });
    let bank = Bank::open(&fleet, 3);
    (fleet, bank)
}

fn refused(code: &str) -> Answer {
    Answer::Refused(code.to_owned())
}

#[test]
fn servers_that_cannot_prepare_refuse() {
    let (fleet, bank) = fleet(&[]);
    let mut answers = Vec::new();
    let mut run = |name: &str| {
        let transfer = bank.transfer(name, &[0, 1]);
        let answer = transfer.run(&mut fleet.routers[0].client());
        answers.push((transfer, answer.clone()));
        answer
    };
    let limit = |count: usize| {
        let sql = format!("ALTER SYSTEM SET max_prepared_transactions = {count}");
        ask(&mut fleet.server(1), &sql);
        fleet.restart_server(1);
    };
    limit(0);
    assert_eq!(run("none may be prepared"), refused("55000"));
    limit(1);
    let mut server = fleet.server(1);
    ask(&mut server, "BEGIN");
    ask(&mut server, "CREATE TABLE held ()");
    ask(&mut server, "PREPARE TRANSACTION 'somebody''s'");
    assert_eq!(run("one is prepared already"), refused("53200"));
    ask(&mut server, "ROLLBACK PREPARED 'somebody''s'");
    assert_eq!(run("now there is room"), Answer::Committed);
    fleet.nothing_is_left();
    bank.audit(&fleet, &answers);
}

#[test]
fn transactions_that_cannot_be_serialized_refuse() {
    let (fleet, bank) = fleet(&[]);
    let mut answers = Vec::new();
    let begins = [
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", ""),
        (
            "BEGIN",
            "SET default_transaction_isolation = 'serializable'",
        ),
    ];
    for (begin, setting) in begins {
        // Each reads what the other writes, on both shards.
        let mut clients = Vec::new();
        for index in 0..2 {
            let parts = (0..2).map(|shard| {
                let account = bank.accounts[shard][index];
                (account, if shard == 0 { -1 } else { 1 })
            });
            let transfer = Transfer {
                name: format!("{begin} {index}"),
                parts: parts.collect(),
                locks: None,
            };
            let mut client = fleet.routers[0].client();
            ask(&mut client, setting);
            ask(&mut client, begin);
            for shard in 0..2 {
                let other = bank.accounts[shard][1 - index];
                ask(
                    &mut client,
                    &format!("SELECT balance FROM account WHERE id = {other}"),
                );
            }
            clients.push((client, transfer));
        }
        for (client, transfer) in &mut clients {
            for statement in &transfer.statements()[1..] {
                ask(client, statement);
            }
        }
        let mut outcomes = Vec::new();
        for (mut client, transfer) in clients {
            let answer = commit(&mut client);
            outcomes.push(answer.clone());
            answers.push((transfer, answer));
        }
        assert_eq!(outcomes, [Answer::Committed, refused("40001")]);
    }
    fleet.nothing_is_left();
    bank.audit(&fleet, &answers);
}

#[test]
fn constraints_that_are_looked_at_last_refuse() {
    let (fleet, bank) = fleet(&[]);
    let mut client = fleet.routers[0].client();
    for sql in [
        "CREATE TABLE late (id int, UNIQUE (id) DEFERRABLE INITIALLY DEFERRED)",
        "SELECT pgweave.shard_table('late', 'id', colocate_with => 'account')",
    ] {
        ask(&mut client, sql);
    }
    let mut answers = Vec::new();
    // At the coordinating shard's COMMIT, and at the other's PREPARE TRANSACTION.
    for shard in 0..2 {
        let transfer = bank.transfer(&format!("late {shard}"), &[0, 1]);
        transfer.prepare(&mut client).unwrap();
        let id = bank.accounts[shard][0];
        ask(
            &mut client,
            &format!("INSERT INTO late VALUES ({id}), ({id})"),
        );
        let answer = commit(&mut client);
        assert_eq!(answer, refused("23505"));
        answers.push((transfer, answer));
    }
    fleet.nothing_is_left();
    bank.audit(&fleet, &answers);
}

#[test]
fn servers_that_are_gone_refuse() {
    let (fleet, bank) = fleet(&[]);
    let mut answers = Vec::new();
    for (name, shards, victim) in [
        ("the coordinating one", &[0, 1][..], 0),
        ("the other", &[0, 1], 1),
        ("the only one", &[1, 1], 1),
    ] {
        let transfer = bank.transfer(name, shards);
        let mut client = fleet.routers[0].client();
        transfer.prepare(&mut client).unwrap();
        fleet.kill_server(victim);
        let answer = commit(&mut client);
        assert_eq!(answer, refused("08006"), "{name}");
        answers.push((transfer, answer));
        fleet.start_server(victim);
        // The session goes on.
        let again = bank.transfer(&format!("{name} again"), shards);
        eventually("the shard to be reached", || {
            let answer = again.run(&mut client);
            let is_committed = answer == Answer::Committed;
            if is_committed {
                answers.push((again.clone(), answer));
            }
            is_committed
        });
    }
    fleet.nothing_is_left();
    bank.audit(&fleet, &answers);
}

#[test]
fn locks_that_are_lost_before_the_decision_refuse() {
    let fleet = Fleet::start(&FleetOptions {
        shards: 3,
        routers: 1,
        ..FleetOptions::default()
    });
    let bank = Bank::open(&fleet, 3);
    let transfer = Transfer {
        locks: Some(bank.accounts[2][0]),
        ..bank.transfer("locks", &[0, 1])
    };
    let mut client = fleet.routers[0].client();
    transfer.prepare(&mut client).unwrap();
    fleet.kill_server(2);
    let answer = commit(&mut client);
    assert_eq!(answer, refused("08006"));
    fleet.start_server(2);
    fleet.nothing_is_left();
    bank.audit(&fleet, &[(transfer, answer)]);
}

#[test]
fn participants_that_servers_end_refuse() {
    let (fleet, bank) = fleet(&[]);
    let mut answers = Vec::new();
    let mut admin = fleet.server(1);
    let in_transaction =
        "FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE '%ledger%'";
    let gone = |admin: &mut Client| {
        eventually("the participant to end", || {
            ask(admin, &format!("SELECT 1 {in_transaction}")).is_empty()
        });
    };
    // An operator ends it, and the client commits, or says something more.
    for more in [false, true] {
        let transfer = bank.transfer(&format!("terminated, {more}"), &[0, 1]);
        let mut client = fleet.routers[0].client();
        transfer.prepare(&mut client).unwrap();
        ask(
            &mut admin,
            &format!("SELECT pg_terminate_backend(pid) {in_transaction}"),
        );
        gone(&mut admin);
        let answer = if more {
            let account = transfer.parts[1].0;
            let sql = format!("SELECT balance FROM account WHERE id = {account}");
            let said = client.query(&sql).unwrap();
            // First the server's own words.
            assert_eq!(sqlstate(&said).as_deref(), Some("57P01"), "{said:?}");
            commit(&mut client)
        } else {
            commit(&mut client)
        };
        let expected = if more { "ROLLBACK" } else { "08006" };
        assert_eq!(answer, refused(expected));
        answers.push((transfer, answer));
    }
    // A server's own limit for idle transactions, and the session's for statements.
    let transfer = bank.transfer("idle", &[0, 1]);
    let mut client = fleet.routers[0].client();
    ask(
        &mut client,
        "SET idle_in_transaction_session_timeout = '100ms'",
    );
    let prepared = transfer.prepare(&mut client);
    gone(&mut admin);
    let answer = match prepared {
        Ok(()) => commit(&mut client),
        Err(answer) => answer,
    };
    assert!(
        matches!(&answer, Answer::Refused(code) if ["08006", "25P03", "25P02"].contains(&code.as_str())),
        "{answer:?}"
    );
    answers.push((transfer, answer));
    let transfer = bank.transfer("slow", &[0, 1]);
    let mut client = fleet.routers[0].client();
    transfer.prepare(&mut client).unwrap();
    ask(&mut client, "SET LOCAL statement_timeout = '50ms'");
    let account = transfer.parts[1].0;
    let slow = format!("SELECT pg_sleep(10) FROM account WHERE id = {account}");
    let said = client.query(&slow).unwrap();
    assert_eq!(sqlstate(&said).as_deref(), Some("57014"), "{said:?}");
    let answer = commit(&mut client);
    assert_eq!(answer, refused("ROLLBACK"));
    answers.push((transfer, answer));
    fleet.nothing_is_left();
    bank.audit(&fleet, &answers);
}
