//! Connections between the router and a shard that break at one message: before the server has got it, or after it has acted on it
//! and before it could say so.

use tests::bank::{Answer, Bank, Transfer, commit, status};
use tests::client::{one, sqlstate};
use tests::fleet::{Fleet, FleetOptions};
use tests::proxy::Cut;

fn fleet() -> Fleet {
    Fleet::start(&FleetOptions {
        shards: 2,
        routers: 1,
        proxied: true,
        ..FleetOptions::default()
    })
}

fn refused() -> Answer {
    Answer::Refused("08006".to_owned())
}

#[test]
fn a_connection_that_breaks_in_any_phase_has_its_answer() {
    let fleet = fleet();
    let bank = Bank::open(&fleet, 3);
    let mut answers: Vec<(Transfer, Answer)> = Vec::new();
    let mut check = |name: &str, shards: &[usize], text: &str, shard: usize, cut, expected| {
        let name = format!("{name}, {cut:?}");
        let transfer = bank.transfer(&name, shards);
        let mut client = fleet.routers[0].client();
        transfer.prepare(&mut client).unwrap();
        fleet.proxies[shard].cut(text, cut);
        let answer = commit(&mut client);
        fleet.proxies[shard].has_cut();
        assert_eq!(answer, expected, "{name}");
        if answer == Answer::Committed {
            // The session sees what it has committed, also where recovery must finish it first.
            for (account, _) in &transfer.parts {
                let sql = format!(
                    "SELECT count(*) FROM ledger WHERE account = {account} AND transfer = '{name}'"
                );
                assert_eq!(one(&mut client, &sql), "1", "{name}");
            }
        }
        answers.push((transfer, answer));
    };
    let both = [0, 1];
    for cut in [Cut::Before, Cut::AnswerLost] {
        check("vote", &both, "PREPARE TRANSACTION", 1, cut, refused());
        let told = Answer::Committed;
        check("told", &both, "COMMIT PREPARED", 1, cut, told);
    }
    // The coordinating shard is asked what became of its COMMIT.
    check("decision", &both, "COMMIT\0", 0, Cut::Before, refused());
    let known = Answer::Committed;
    check("decision", &both, "COMMIT\0", 0, Cut::AnswerLost, known);
    // One shard's own COMMIT leaves nothing to ask for.
    for cut in [Cut::Before, Cut::AnswerLost] {
        let unknown = Answer::Unknown(None);
        check("alone", &[0, 0], "COMMIT\0", 0, cut, unknown);
    }
    fleet.nothing_is_left();
    bank.audit(&fleet, &answers);
}

#[test]
fn what_cannot_be_known_now_can_be_asked_for_later() {
    let fleet = fleet();
    let bank = Bank::open(&fleet, 3);
    let mut answers = Vec::new();
    for cut in [Cut::BeforeAndClosed, Cut::AnswerLostAndClosed] {
        let transfer = bank.transfer(&format!("{cut:?}"), &[0, 1]);
        let mut client = fleet.routers[0].client();
        transfer.prepare(&mut client).unwrap();
        fleet.proxies[0].cut("COMMIT\0", cut);
        let answer = commit(&mut client);
        let Answer::Unknown(Some(gid)) = &answer else {
            panic!("{answer:?}");
        };
        let sql = format!("SELECT pgweave.transaction_status('{gid}')");
        let asked = client.query(&sql).unwrap();
        assert_eq!(sqlstate(&asked).as_deref(), Some("08006"), "{asked:?}");
        // The part that is prepared keeps its locks meanwhile.
        assert_eq!(fleet.prepared().len(), 1);
        fleet.proxies[0].open();
        let expected = match cut {
            Cut::BeforeAndClosed => "aborted",
            _ => "committed",
        };
        assert_eq!(status(&fleet, gid), expected);
        answers.push((transfer, answer));
    }
    fleet.nothing_is_left();
    bank.audit(&fleet, &answers);
}

#[test]
fn what_a_session_has_committed_it_never_misses() {
    let fleet = fleet();
    let bank = Bank::open(&fleet, 3);
    let transfer = bank.transfer("told late", &[0, 1]);
    let mut client = fleet.routers[0].client();
    transfer.prepare(&mut client).unwrap();
    fleet.proxies[1].cut("COMMIT PREPARED", Cut::BeforeAndClosed);
    let answer = commit(&mut client);
    assert_eq!(answer, Answer::Committed);
    let entries = format!(
        "SELECT count(*) FROM ledger WHERE account = {}",
        transfer.parts[1].0
    );
    let asked = client.query(&entries).unwrap();
    assert_eq!(sqlstate(&asked).as_deref(), Some("08006"), "{asked:?}");
    // Nor over all shards.
    let asked = client.query("SELECT count(*) FROM ledger").unwrap();
    assert_eq!(sqlstate(&asked).as_deref(), Some("08006"), "{asked:?}");
    // The other shard is not concerned.
    let other = format!(
        "SELECT count(*) FROM ledger WHERE account = {}",
        transfer.parts[0].0
    );
    assert_eq!(one(&mut client, &other), "1");
    fleet.proxies[1].open();
    tests::fleet::eventually("the shard to be reached", || {
        let answer = client.query(&entries).unwrap();
        let rows = tests::client::rows(&answer);
        assert_ne!(
            rows,
            [[Some("0".to_owned())]],
            "rows from before the commit"
        );
        rows == [[Some("1".to_owned())]]
    });
    fleet.nothing_is_left();
    bank.audit(&fleet, &[(transfer, answer)]);
}

#[test]
fn nor_over_a_connection_that_stays() {
    let fleet = fleet();
    let bank = Bank::open(&fleet, 3);
    let transfer = bank.transfer("told late", &[0, 1]);
    let account = transfer.parts[0].0;
    let mut client = fleet.routers[0].client();
    // What is the session's own keeps its connections. The one with the temporary table cannot be prepared, so it coordinates.
    for sql in [
        "SET pgweave.shard = 's1'",
        "SELECT pg_advisory_lock(7)",
        "SET pgweave.shard = 's2'",
        "CREATE TEMPORARY TABLE own ()",
        "RESET pgweave.shard",
    ] {
        tests::client::ask(&mut client, sql);
    }
    transfer.prepare(&mut client).unwrap();
    fleet.proxies[0].cut("COMMIT PREPARED", Cut::Refused);
    let answer = commit(&mut client);
    fleet.proxies[0].has_cut();
    assert_eq!(answer, Answer::Committed);
    let links = tests::client::ask(&mut client, "SHOW pgweave.session");
    assert!(
        links.iter().any(|link| link[0].as_deref() == Some("s1")),
        "{links:?}"
    );
    let entries = format!("SELECT count(*) FROM ledger WHERE account = {account}");
    assert_eq!(one(&mut client, &entries), "1");
    drop(client);
    fleet.nothing_is_left();
    bank.audit(&fleet, &[(transfer, answer)]);
}

#[test]
fn a_router_that_vanishes_without_a_word_is_not_waited_for() {
    let fleet = fleet();
    let bank = Bank::open(&fleet, 3);
    let transfer = bank.transfer("vanished", &[0, 1]);
    let mut client = fleet.routers[0].client();
    transfer.prepare(&mut client).unwrap();
    // The coordinating shard waits for a COMMIT that never comes, and for the end of a connection that does not end. It has not
    // heard of the decision, so nobody has to wait for it.
    fleet.proxies[0].cut("COMMIT\0", Cut::Silent);
    let answer = commit(&mut client);
    assert_eq!(answer, refused());
    // What it has open ends when it learns that nobody is there; nothing else waits for that.
    assert!(fleet.prepared().is_empty());
    bank.audit(&fleet, &[(transfer, answer)]);
}
