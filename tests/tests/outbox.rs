//! Messages that commit with their transaction, and are given at least once, in order per key.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use std::time::{Duration, Instant};

use tests::client::{Client, ask, one, rows, sqlstate};
use tests::cluster::{Cluster, Options};
use tests::several::{direct, nothing_is_left, table, through};
use tests::shared::Shared;

static SHARED: Shared = Shared::new(Options::default);

fn cluster() -> &'static Cluster {
    SHARED.cluster()
}

fn publish(client: &mut Client, topic: &str, key: &str, payload: &str) -> String {
    let sql = format!("SELECT pgweave.outbox_publish('{topic}', {key}, '{payload}')");
    one(client, &sql)
}

/// Ids and payloads of what a poll gives.
fn poll(client: &mut Client, topic: &str, most: u32) -> Vec<(String, String)> {
    let sql = format!("SELECT * FROM pgweave.outbox_poll('{topic}', {most})");
    ask(client, &sql)
        .into_iter()
        .map(|row| (row[0].clone().unwrap(), row[3].clone().unwrap()))
        .collect()
}

fn payloads(messages: &[(String, String)]) -> Vec<&str> {
    messages
        .iter()
        .map(|(_, payload)| payload.as_str())
        .collect()
}

fn ack(client: &mut Client, id: &str) -> String {
    one(client, &format!("SELECT pgweave.outbox_ack('{id}')"))
}

fn keys(name: &str) -> Vec<String> {
    table(cluster(), name, 20);
    (0..2)
        .map(|shard| {
            let mut server = direct(cluster(), shard);
            one(&mut server, &format!("SELECT min(k) FROM {name}"))
        })
        .collect()
}

#[test]
fn a_message_shares_its_transactions_fate() {
    let keys = keys("fate");
    let mut client = through(cluster());
    let mut other = through(cluster());
    for (end, expected) in [("ROLLBACK", 0), ("COMMIT", 2)] {
        ask(&mut client, "BEGIN");
        for key in &keys {
            ask(
                &mut client,
                &format!("UPDATE fate SET filler = 'y' WHERE k = {key}"),
            );
            publish(&mut client, "fate", "NULL", "{}");
        }
        assert_eq!(poll(&mut other, "fate", 10), []);
        ask(&mut client, end);
        assert_eq!(poll(&mut other, "fate", 10).len(), expected, "{end}");
    }
    // Where the transaction is anyway, so that one shard's transaction stays one.
    ask(&mut client, "BEGIN");
    ask(
        &mut client,
        &format!("UPDATE fate SET filler = 'z' WHERE k = {}", keys[1]),
    );
    let id = publish(&mut client, "fate", "'some key'", "{}");
    assert!(id.starts_with("2-"), "{id}");
    ask(&mut client, "COMMIT");
    // In a failed transaction it is refused like anything else.
    ask(&mut client, "BEGIN");
    client.query("SELECT 1/0").unwrap();
    let answer = client
        .query("SELECT pgweave.outbox_publish('fate', 'k', '1')")
        .unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("25P02"));
    ask(&mut client, "ROLLBACK");
    let answer = client
        .query("SELECT pgweave.outbox_publish('fate', 'k', 'no json')")
        .unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("22P02"));
    nothing_is_left(cluster());
}

#[test]
fn a_key_keeps_its_order() {
    let keys = keys("ordered");
    let mut client = through(cluster());
    // One key on both shards.
    for (number, shard) in [0, 1, 1, 0].into_iter().enumerate() {
        ask(&mut client, "BEGIN");
        ask(
            &mut client,
            &format!("UPDATE ordered SET filler = 'y' WHERE k = {}", keys[shard]),
        );
        publish(&mut client, "ordered", "'k'", &number.to_string());
        ask(&mut client, "COMMIT");
    }
    publish(&mut client, "ordered", "'other'", "9");
    let first = poll(&mut client, "ordered", 10);
    assert_eq!(payloads(&first), ["0", "9"]);
    // What is given to somebody holds back what follows.
    assert_eq!(poll(&mut client, "ordered", 10), []);
    assert_eq!(ack(&mut client, &first[1].0), "t");
    assert_eq!(poll(&mut client, "ordered", 10), []);
    let mut current = first.into_iter().next().unwrap();
    for expected in ["1", "2", "3"] {
        // Together with what the message asked for.
        ask(&mut client, "BEGIN");
        assert_eq!(ack(&mut client, &current.0), "t");
        assert_eq!(poll(&mut through(cluster()), "ordered", 10), []);
        ask(&mut client, "COMMIT");
        let next = poll(&mut client, "ordered", 10);
        assert_eq!(payloads(&next), [expected]);
        current = next.into_iter().next().unwrap();
    }
    assert_eq!(ack(&mut client, &current.0), "t");
    assert_eq!(ack(&mut client, &current.0), "f");
}

#[test]
fn what_nobody_can_do_is_laid_aside() {
    let mut client = through(cluster());
    let id = publish(&mut client, "poison", "'k'", "1");
    publish(&mut client, "poison", "'k'", "2");
    let poll_twice = "SELECT * FROM pgweave.outbox_poll('poison', 5, most_tries => 2)";
    for tries in ["1", "2"] {
        let given = ask(&mut client, poll_twice);
        assert_eq!(given.len(), 1);
        assert_eq!(given[0][0].as_deref(), Some(id.as_str()));
        assert_eq!(given[0][5].as_deref(), Some(tries));
        let sql = format!("SELECT pgweave.outbox_retry('{id}', '0 s', 'too hard')");
        assert_eq!(one(&mut client, &sql), "t");
    }
    assert_eq!(ask(&mut client, poll_twice), Vec::<Vec<_>>::new());
    let dead = ask(&mut client, "SELECT * FROM pgweave.outbox_dead('poison')");
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0][0].as_deref(), Some(id.as_str()));
    assert_eq!(dead[0][6].as_deref(), Some("too hard"));
    // It holds nobody back any more.
    assert_eq!(payloads(&poll(&mut client, "poison", 5)), ["2"]);
    assert_eq!(
        one(
            &mut client,
            &format!("SELECT pgweave.outbox_revive('{id}')")
        ),
        "t"
    );
    assert_eq!(payloads(&poll(&mut client, "poison", 5)), ["1"]);
}

#[test]
fn later_and_again() {
    let mut client = through(cluster());
    let sql = "SELECT pgweave.outbox_publish('later', 'k', '1', delay => '700 ms')";
    let began = Instant::now();
    ask(&mut client, sql);
    assert_eq!(poll(&mut client, "later", 1), []);
    let lease = "SELECT * FROM pgweave.outbox_poll('later', 1, lease => '300 ms')";
    while ask(&mut client, lease).is_empty() {}
    assert!(began.elapsed() >= Duration::from_millis(700));
    // Nobody has acknowledged it in time.
    let began = Instant::now();
    let again = loop {
        let again = ask(&mut client, lease);
        if !again.is_empty() {
            break again;
        }
    };
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(again[0][5].as_deref(), Some("2"));
}

#[test]
fn by_the_extended_protocol() {
    let mut client = through(cluster());
    let answer = client
        .extended(
            "SELECT pgweave.outbox_publish($1, $2, $3)",
            &[Some(b"extended"), Some(b"k"), Some(b"{\"a\": 1}")],
            false,
        )
        .unwrap();
    assert_eq!(rows(&answer).len(), 1, "{answer:?}");
    let answer = client
        .extended(
            "SELECT * FROM pgweave.outbox_poll($1)",
            &[Some(b"extended")],
            false,
        )
        .unwrap();
    assert_eq!(
        rows(&answer)[0][3].as_deref(),
        Some("{\"a\": 1}"),
        "{answer:?}"
    );
}

#[test]
fn many_consumers_get_each_message_once_and_in_order() {
    let mut client = through(cluster());
    for number in 0..60 {
        publish(
            &mut client,
            "many",
            &format!("'k{}'", number % 6),
            &number.to_string(),
        );
    }
    let consumers: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                let mut client = through(cluster());
                let mut seen = Vec::new();
                let mut idle = 0;
                while idle < 5 {
                    let given = poll(&mut client, "many", 3);
                    idle = if given.is_empty() { idle + 1 } else { 0 };
                    for (id, payload) in given {
                        seen.push((Instant::now(), payload.parse::<u32>().unwrap()));
                        assert_eq!(ack(&mut client, &id), "t");
                    }
                }
                seen
            })
        })
        .collect();
    let mut seen: Vec<_> = consumers
        .into_iter()
        .flat_map(|consumer| consumer.join().unwrap())
        .collect();
    // The last may all have given up while one message was on its way.
    let given = poll(&mut client, "many", 100);
    seen.sort();
    let mut all: Vec<u32> = seen.iter().map(|(_, number)| *number).collect();
    for key in 0..6 {
        let of_key: Vec<u32> = all
            .iter()
            .copied()
            .filter(|number| number % 6 == key)
            .collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
    all.extend(
        given
            .iter()
            .map(|(_, payload)| payload.parse::<u32>().unwrap()),
    );
    all.sort_unstable();
    all.dedup();
    assert_eq!(seen.len() + given.len(), all.len());
}

#[test]
fn others_may_publish_but_not_read() {
    let mut server = direct(cluster(), 0);
    let mut second = direct(cluster(), 1);
    for server in [&mut server, &mut second] {
        ask(server, "CREATE ROLE clerk LOGIN");
    }
    let mut clerk = Client::connect(cluster().router.address, &[("user", "clerk")]).unwrap();
    publish(&mut clerk, "private", "'k'", "1");
    let answer = clerk
        .query("SELECT * FROM pgweave.outbox_poll('private', 1)")
        .unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("42501"), "{answer:?}");
    let answer = clerk.query("SELECT * FROM pgweave.outbox").unwrap();
    assert!(sqlstate(&answer).is_some());
}
