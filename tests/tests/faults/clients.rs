//! Clients that leave or cancel during COMMIT.

use std::net::Shutdown;

use bytes::BytesMut;
use router::wire::encode;
use tests::bank::{Answer, Bank, Transfer};
use tests::client::{Client, ask, one};
use tests::fleet::{Fleet, FleetOptions, eventually};

fn fleet() -> Fleet {
    Fleet::start(&FleetOptions {
        shards: 2,
        routers: 1,
        ..FleetOptions::default()
    })
}

fn send(client: &mut Client, sql: &str) {
    let mut out = BytesMut::new();
    encode::query(&mut out, sql.as_bytes());
    client.send(&out).unwrap();
}

/// Asks the router to cancel, without waiting for it.
fn cancel(fleet: &Fleet, client: &Client) -> Client {
    let mut out = BytesMut::new();
    encode::cancel_request(&mut out, client.process_id, &client.key);
    let mut messenger = Client::open(fleet.routers[0].address()).unwrap();
    messenger.send(&out).unwrap();
    messenger
}

#[test]
fn what_a_client_that_leaves_has_sent_is_committed() {
    let fleet = fleet();
    let bank = Bank::open(&fleet, 3);
    let mut answers = Vec::new();
    for point in [
        "before_prepare",
        "prepare_answered",
        "decision_sent",
        "commit_prepared_sent",
    ] {
        let transfer = bank.transfer(point, &[0, 1]);
        let mut client = fleet.routers[0].client();
        transfer.prepare(&mut client).unwrap();
        fleet.routers[0].arm(point, "freeze");
        send(&mut client, "COMMIT");
        fleet.routers[0].frozen();
        client.shutdown(Shutdown::Both).unwrap();
        drop(client);
        fleet.routers[0].thaw();
        let entries = format!("SELECT count(*) FROM ledger WHERE transfer = '{point}'");
        eventually("the commit to end", || {
            (0..2).all(|shard| one(&mut fleet.server(shard), &entries) == "1")
        });
        answers.push((transfer, Answer::Committed));
    }
    fleet.nothing_is_left();
    bank.audit(&fleet, &answers);
}

#[test]
fn cancels_during_commits_tell_no_lies() {
    let fleet = fleet();
    let bank = Bank::open(&fleet, 3);
    let mut answers: Vec<(Transfer, Answer)> = Vec::new();
    let mut client = fleet.routers[0].client();
    for number in 0..60 {
        let transfer = bank.transfer(
            &format!("cancelled {number}"),
            &[number % 2, 1 - number % 2],
        );
        transfer.prepare(&mut client).unwrap();
        send(&mut client, "COMMIT");
        let messengers: Vec<Client> = (0..=number % 4).map(|_| cancel(&fleet, &client)).collect();
        let answer = tests::bank::read_answer(&client.until_ready().unwrap());
        for mut messenger in messengers {
            assert!(messenger.is_closed_by_server());
        }
        // A cancel that came late is for no later statement.
        if answer == Answer::Committed {
            let account = transfer.parts[1].0;
            let sql = format!(
                "SELECT count(*) FROM ledger WHERE account = {account} AND transfer = '{}'",
                transfer.name
            );
            assert_eq!(one(&mut client, &sql), "1");
        }
        assert!(
            matches!(&answer, Answer::Committed)
                || matches!(&answer, Answer::Refused(code) if code == "57014"),
            "{answer:?}"
        );
        answers.push((transfer, answer));
    }
    fleet.nothing_is_left();
    bank.audit(&fleet, &answers);
}

#[test]
fn a_decision_that_waits_for_its_standby_is_not_hurried() {
    let fleet = fleet();
    let bank = Bank::open(&fleet, 3);
    let mut admin = fleet.server(0);
    let standby = |admin: &mut Client, name: &str| {
        ask(
            admin,
            &format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"),
        );
        ask(admin, "SELECT pg_reload_conf()");
        eventually("the setting", || {
            one(admin, "SHOW synchronous_standby_names") == name
        });
    };
    let transfer = bank.transfer("not replicated", &[0, 1]);
    let mut client = fleet.routers[0].client();
    transfer.prepare(&mut client).unwrap();
    standby(&mut admin, "nobody");
    send(&mut client, "COMMIT");
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '%; COMMIT'";
    eventually("COMMIT to wait", || one(&mut admin, waits) == "1");
    // Neither the client nor the router's own patience makes the server give up waiting.
    let mut messenger = cancel(&fleet, &client);
    assert!(messenger.is_closed_by_server());
    let answer = tests::bank::read_answer(&client.until_ready().unwrap());
    assert!(matches!(answer, Answer::Unknown(Some(_))), "{answer:?}");
    let entries = "SELECT count(*) FROM ledger";
    assert_eq!(
        one(&mut admin, entries),
        "0",
        "seen before it is replicated"
    );
    assert_eq!(one(&mut admin, waits), "1");
    standby(&mut admin, "");
    eventually("the decision", || one(&mut admin, entries) == "1");
    fleet.nothing_is_left();
    bank.audit(&fleet, &[(transfer, answer)]);
}
