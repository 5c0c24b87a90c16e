//! One view over all shards: `pgweave.consistency = 'snapshot'`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use catalog::{ClusterId, ShardId};
use router::wire::encode;
use tests::client::{Client, ask, one, rows, sqlstate};
use tests::cluster::{Cluster, Options};
use tests::several::{direct, nothing_is_left, table, through};
use tests::shared::Shared;
use txn::sql::Command;
use txn::{GidSequence, ParticipantGid, ProofKey, RouterId};

static SHARED: Shared = Shared::new(Options::default);

fn cluster() -> &'static Cluster {
    SHARED.cluster()
}

/// A session that reads by snapshots.
fn reader() -> Client {
    let mut client = through(cluster());
    ask(&mut client, "SET pgweave.consistency = 'snapshot'");
    client
}

/// A table of two accounts, one on each shard, with 50 each. Returns their keys.
fn accounts(name: &str) -> [String; 2] {
    table(cluster(), name, 20);
    let mut client = through(cluster());
    ask(&mut client, &format!("ALTER TABLE {name} ADD balance int"));
    let keys = [0, 1].map(|shard| {
        let smallest = format!("SELECT min(k) FROM {name}");
        one(&mut direct(cluster(), shard), &smallest)
    });
    for key in &keys {
        let update = format!("UPDATE {name} SET balance = 50 WHERE k = {key}");
        ask(&mut client, &update);
    }
    keys
}

/// Which ids the row of a decision tells.
#[derive(Clone, Copy, PartialEq)]
enum Row {
    Complete,
    /// As a router from before wrote it.
    Old,
    /// Of a transaction far in the future.
    Lying,
}

/// Moves 10 from the one account to the other, and stops when it is decided: the second shard is not told.
fn decide(name: &str, keys: &[String; 2], row: Row) -> ParticipantGid {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let mut first = direct(cluster(), 0);
    let mut second = direct(cluster(), 1);
    let id = one(
        &mut first,
        "SELECT replace(id::text, '-', '') FROM pgweave.cluster",
    );
    let bytes = (0..16).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap());
    let cluster = ClusterId(bytes.collect::<Vec<u8>>().try_into().unwrap());
    let router = RouterId(u64::from(NEXT.fetch_add(1, Ordering::Relaxed)));
    let named = GidSequence::new(cluster, router, ProofKey([3; 32])).next(ShardId(1));
    let part = named.gid.participant(ShardId(2));
    for (server, key, amount) in [(&mut first, &keys[0], -10), (&mut second, &keys[1], 10)] {
        ask(server, "BEGIN");
        let update = format!("UPDATE {name} SET balance = balance + {amount} WHERE k = {key}");
        ask(server, &update);
    }
    let xid = one(&mut second, &Command::Prepare(part).text());
    let told = match row {
        Row::Complete => Some(xid.parse().unwrap()),
        Row::Old => None,
        Row::Lying => Some(u64::MAX),
    };
    let participants = vec![(ShardId(2), told)];
    let decide = Command::Decide {
        name: named,
        participants,
    };
    ask(&mut first, &decide.text());
    part
}

fn finish(part: ParticipantGid) {
    ask(
        &mut direct(cluster(), 1),
        &Command::CommitPrepared(part).text(),
    );
}

fn count(name: &str) -> u32 {
    let rows = ask(&mut through(cluster()), "SHOW pgweave.counters");
    let row = rows.iter().find(|row| row[0].as_deref() == Some(name));
    row.unwrap()[1].as_deref().unwrap().parse().unwrap()
}

#[test]
fn a_half_told_transaction_is_seen_in_part_without_a_snapshot_and_as_a_whole_with_one() {
    let keys = accounts("halves");
    let total = "SELECT sum(balance) FROM halves";
    for row in [Row::Complete, Row::Old, Row::Lying] {
        let part = decide("halves", &keys, row);
        assert_eq!(one(&mut through(cluster()), total), "90");
        let before = count("snapshot_retakes");
        let waiting = std::thread::spawn(move || {
            let mut reader = reader();
            let started = Instant::now();
            (one(&mut reader, total), started.elapsed())
        });
        std::thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished(), "it must wait for what is decided");
        finish(part);
        let (total, waited) = waiting.join().unwrap();
        assert_eq!(total, "100");
        assert!(waited < Duration::from_secs(3), "{waited:?}");
        assert!(count("snapshot_retakes") > before);
    }
}

#[test]
fn a_transaction_whose_router_is_gone_is_finished_for_the_reader() {
    let keys = accounts("orphans");
    decide("orphans", &keys, Row::Complete);
    assert_eq!(
        one(&mut reader(), "SELECT sum(balance) FROM orphans"),
        "100"
    );
}

#[test]
fn a_block_sees_one_moment_on_all_shards() {
    let keys = accounts("moments");
    let mut reader = reader();
    let mut writer = through(cluster());
    ask(&mut reader, "BEGIN");
    // Only one shard is named, but all belong to the view.
    let first = format!("SELECT balance FROM moments WHERE k = {}", keys[0]);
    assert_eq!(one(&mut reader, &first), "50");
    for key in &keys {
        ask(
            &mut writer,
            &format!("UPDATE moments SET balance = 7 WHERE k = {key}"),
        );
    }
    ask(&mut reader, "SAVEPOINT s");
    for sql in [
        "SELECT sum(balance) FROM moments",
        "SELECT sum(m.balance) FROM moments m WHERE m.balance >= (SELECT avg(balance) FROM moments)",
        "SELECT sum(b) FROM (SELECT balance AS b FROM moments WHERE balance > 0 ORDER BY k LIMIT 10) AS t",
        "SELECT max(running) FROM (SELECT sum(balance) OVER (ORDER BY k) AS running FROM moments) AS t",
    ] {
        assert_eq!(one(&mut reader, sql), "100", "{sql}");
    }
    let list = "SELECT balance FROM moments WHERE balance IS NOT NULL";
    let scattered = ask(&mut reader, list);
    assert_eq!(
        scattered,
        [[Some("50".to_owned())], [Some("50".to_owned())]]
    );
    ask(&mut reader, "ROLLBACK TO SAVEPOINT s");
    assert_eq!(one(&mut reader, "SELECT sum(balance) FROM moments"), "100");
    assert_eq!(
        one(&mut reader, "SHOW transaction_isolation"),
        "repeatable read"
    );
    // Who changes what has changed since is too late, as in any transaction of this level.
    let late = format!("UPDATE moments SET balance = 0 WHERE k = {}", keys[1]);
    assert_eq!(
        sqlstate(&reader.query(&late).unwrap()).as_deref(),
        Some("40001")
    );
    ask(&mut reader, "ROLLBACK");
    assert_eq!(one(&mut reader, "SELECT sum(balance) FROM moments"), "14");
    nothing_is_left(cluster());
}

#[test]
fn a_block_may_write_and_sees_what_it_wrote() {
    let keys = accounts("written");
    let mut client = reader();
    ask(&mut client, "BEGIN");
    assert_eq!(one(&mut client, "SELECT sum(balance) FROM written"), "100");
    for key in &keys {
        ask(
            &mut client,
            &format!("UPDATE written SET balance = balance + 5 WHERE k = {key}"),
        );
    }
    assert_eq!(one(&mut client, "SELECT sum(balance) FROM written"), "110");
    assert_eq!(
        one(&mut through(cluster()), "SELECT sum(balance) FROM written"),
        "100"
    );
    ask(&mut client, "COMMIT");
    assert_eq!(
        one(&mut reader(), "SELECT sum(balance) FROM written"),
        "110"
    );
    // One statement that writes on several shards.
    ask(
        &mut client,
        "UPDATE written SET balance = 1 WHERE balance IS NOT NULL",
    );
    assert_eq!(one(&mut client, "SELECT sum(balance) FROM written"), "2");
}

#[test]
fn levels_and_modes_that_the_client_asks_for_stay() {
    accounts("levels");
    let mut client = reader();
    let mut level = |begin: &str, more: &str| {
        ask(&mut client, begin);
        if !more.is_empty() {
            ask(&mut client, more);
        }
        ask(&mut client, "SELECT count(*) FROM levels");
        let level = one(&mut client, "SHOW transaction_isolation");
        let read_only = one(&mut client, "SHOW transaction_read_only");
        let memory = one(&mut client, "SHOW work_mem");
        ask(&mut client, "COMMIT");
        format!("{level} {read_only} {memory}")
    };
    for (begin, more, expected) in [
        ("BEGIN", "", "repeatable read off 4MB"),
        (
            "BEGIN ISOLATION LEVEL READ COMMITTED",
            "",
            "repeatable read off 4MB",
        ),
        (
            "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY, DEFERRABLE",
            "",
            "serializable on 4MB",
        ),
        (
            "BEGIN",
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "serializable off 4MB",
        ),
        // A shard has joined already, by a statement that is no query.
        (
            "BEGIN",
            "SET LOCAL work_mem = '5MB'",
            "repeatable read off 5MB",
        ),
        ("BEGIN", "SAVEPOINT a", "repeatable read off 4MB"),
    ] {
        assert_eq!(level(begin, more), expected, "{begin}; {more}");
    }
    ask(
        &mut client,
        "SET default_transaction_isolation = 'serializable'",
    );
    ask(&mut client, "BEGIN");
    ask(&mut client, "SELECT count(*) FROM levels");
    assert_eq!(
        one(&mut client, "SHOW transaction_isolation"),
        "serializable"
    );
    ask(&mut client, "COMMIT");
    ask(&mut client, "RESET default_transaction_isolation");
    // A default of the role, of which the router does not know.
    ask(
        &mut through(cluster()),
        "CREATE ROLE strict LOGIN IN ROLE pg_read_all_data",
    );
    for shard in 0..2 {
        let set = "ALTER ROLE strict SET default_transaction_isolation = 'serializable'";
        ask(&mut direct(cluster(), shard), set);
    }
    let parameters = [
        ("user", "strict"),
        ("options", "-c pgweave.consistency=snapshot"),
    ];
    let mut strict = Client::connect(cluster().router.address, &parameters).unwrap();
    ask(&mut strict, "BEGIN");
    ask(&mut strict, "SELECT count(*) FROM levels");
    assert_eq!(
        one(&mut strict, "SHOW transaction_isolation"),
        "serializable"
    );
    ask(&mut strict, "COMMIT");
}

#[test]
fn the_setting() {
    let mut client = through(cluster());
    let shown = |client: &mut Client| one(client, "SHOW pgweave.consistency");
    assert_eq!(shown(&mut client), "default");
    let wrong = client.query("SET pgweave.consistency = 'strict'").unwrap();
    assert_eq!(sqlstate(&wrong).as_deref(), Some("22023"));
    ask(&mut client, "BEGIN");
    ask(&mut client, "SET LOCAL pgweave.consistency = 'snapshot'");
    assert_eq!(shown(&mut client), "snapshot");
    ask(&mut client, "SELECT 1");
    let linked = ask(&mut client, "SHOW pgweave.session");
    assert_eq!(linked.len(), 2, "both shards have joined: {linked:?}");
    ask(&mut client, "COMMIT");
    assert_eq!(shown(&mut client), "default");
    ask(&mut client, "BEGIN");
    ask(&mut client, "SELECT 1");
    let late = client
        .query("SET LOCAL pgweave.consistency = 'snapshot'")
        .unwrap();
    assert_eq!(sqlstate(&late).as_deref(), Some("25001"));
    ask(&mut client, "ROLLBACK");
    ask(&mut client, "SET pgweave.consistency = 'snapshot'");
    // One statement on one shard needs no block.
    accounts("single");
    let before = count("snapshots");
    ask(&mut client, "SELECT * FROM single WHERE k = 3");
    assert_eq!(count("snapshots"), before);
}

#[test]
fn by_the_extended_protocol_too() {
    let keys = accounts("extended");
    let part = decide("extended", &keys, Row::Complete);
    let mut client = reader();
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        finish(part);
    });
    for sql in [
        "SELECT sum(balance) FROM extended",
        "SELECT max(r) FROM (SELECT sum(balance) OVER (ORDER BY k) AS r FROM extended) AS t",
    ] {
        let answer = client.extended(sql, &[], false).unwrap();
        assert_eq!(
            rows(&answer),
            [[Some("100".to_owned())]],
            "{sql}: {answer:?}"
        );
    }
    later.join().unwrap();
    let part = decide("extended", &keys, Row::Complete);
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        finish(part);
    });
    ask(
        &mut client,
        "PREPARE p AS SELECT sum(balance) FROM extended",
    );
    assert_eq!(one(&mut client, "EXECUTE p"), "100");
    later.join().unwrap();
    nothing_is_left(cluster());
}

#[test]
fn copies_and_cursors_too() {
    let keys = accounts("copied");
    let part = decide("copied", &keys, Row::Complete);
    let mut client = reader();
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        finish(part);
    });
    let copy =
        "COPY (SELECT balance FROM copied WHERE balance IS NOT NULL ORDER BY balance) TO STDOUT";
    let answer = client.query(copy).unwrap();
    let data: Vec<u8> = answer
        .iter()
        .filter(|message| message.tag == b'd')
        .flat_map(|message| message.body.to_vec())
        .collect();
    assert_eq!(String::from_utf8_lossy(&data), "40\n60\n");
    later.join().unwrap();
    ask(&mut client, "BEGIN");
    let declare = "DECLARE c CURSOR FOR SELECT balance FROM copied WHERE balance IS NOT NULL ORDER BY balance";
    ask(&mut client, declare);
    let mut writer = through(cluster());
    ask(
        &mut writer,
        "UPDATE copied SET balance = 1 WHERE balance IS NOT NULL",
    );
    assert_eq!(ask(&mut client, "FETCH ALL FROM c").len(), 2);
    assert_eq!(one(&mut client, "SELECT sum(balance) FROM copied"), "100");
    ask(&mut client, "COMMIT");
}

#[test]
fn a_cancel_ends_the_wait() {
    let keys = accounts("never");
    let part = decide("never", &keys, Row::Complete);
    let mut client = reader();
    let mut request = BytesMut::new();
    encode::cancel_request(&mut request, client.process_id, &client.key);
    let waiting = std::thread::spawn(move || {
        let answer = client.query("SELECT sum(balance) FROM never").unwrap();
        (sqlstate(&answer), client)
    });
    while !waiting.is_finished() {
        std::thread::sleep(Duration::from_millis(50));
        let mut stream = TcpStream::connect(cluster().router.address).unwrap();
        stream.write_all(&request).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    let (sqlstate, mut client) = waiting.join().unwrap();
    assert_eq!(sqlstate.as_deref(), Some("57014"));
    finish(part);
    assert_eq!(one(&mut client, "SELECT sum(balance) FROM never"), "100");
}
