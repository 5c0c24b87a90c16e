//! What the isolation levels prevent, within a shard and over shards: the anomalies of Adya's hierarchy, each as one interleaving
//! on real servers. The table below is that of `docs/transactions.md`.
//!
//! An anomaly is prevented if a session gets 40001, or 40P01, or reads and leaves what some order of the transactions would.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use std::sync::Mutex;

use tests::client::{Client, ask, one, rows, sqlstate};
use tests::cluster::{Cluster, Options};
use tests::several::{direct, table, through};
use tests::shared::Shared;

static SHARED: Shared = Shared::new(Options::default);

/// One table for all, so one after the other.
static TURN: Mutex<()> = Mutex::new(());

fn cluster() -> &'static Cluster {
    SHARED.cluster()
}

/// Read committed, repeatable read, serializable; then the same with one view over all shards.
type Prevented = [bool; 6];

const NEVER: Prevented = [true; 6];
const ALWAYS: Prevented = [false; 6];
const READ_COMMITTED: Prevented = [false, true, true, true, true, true];
const BY_SNAPSHOT: Prevented = [false, false, false, true, true, true];
const SERIALIZABLE: Prevented = [false, false, true, false, false, true];

const LEVELS: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];

/// Rows that are read and written: two of the first shard, one of the second.
struct Keys {
    a: String,
    a2: String,
    b: String,
}

/// One transaction.
struct Session {
    client: Client,
    refused: bool,
}

impl Session {
    fn new(level: &str, consistency: &str) -> Self {
        let mut client = through(cluster());
        ask(
            &mut client,
            &format!("SET pgweave.consistency = '{consistency}'"),
        );
        ask(&mut client, &format!("BEGIN ISOLATION LEVEL {level}"));
        Self {
            client,
            refused: false,
        }
    }

    fn judge(&mut self, answer: &[tests::client::Message]) -> Option<String> {
        if let Some(state) = sqlstate(answer) {
            let known = ["40001", "40P01", "25P02"].contains(&state.as_str());
            assert!(known, "{answer:?}");
            self.refused = true;
        }
        rows(answer).first().and_then(|row| row[0].clone())
    }

    fn run(&mut self, sql: &str) -> Option<String> {
        let answer = self.client.query(sql).unwrap();
        self.judge(&answer)
    }

    /// The number in this row. 0 if it is refused.
    fn read(&mut self, key: &str) -> i32 {
        let value = self.run(&format!("SELECT v FROM iso WHERE k = {key}"));
        value.map_or(0, |value| value.parse().unwrap())
    }

    fn write(&mut self, key: &str, value: i32) {
        self.run(&update(key, value));
    }

    /// Sends an update that has to wait for another session.
    fn begin_write(&mut self, key: &str, value: i32) {
        let sql = update(key, value);
        let mut message = vec![b'Q'];
        message.extend_from_slice(&(sql.len() as u32 + 5).to_be_bytes());
        message.extend_from_slice(sql.as_bytes());
        message.push(0);
        self.client.send(&message).unwrap();
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE iso%'";
        while one(&mut direct(cluster(), 0), waits) == "0" {}
    }

    fn end_write(&mut self) {
        let answer = self.client.until_ready().unwrap();
        self.judge(&answer);
    }

    fn commit(&mut self) {
        self.run("COMMIT");
    }

    fn rollback(&mut self) {
        self.run("ROLLBACK");
    }
}

fn update(key: &str, value: i32) -> String {
    format!("UPDATE iso SET v = {value} WHERE k = {key}")
}

/// What is there in the end.
fn left(key: &str) -> i32 {
    let sql = format!("SELECT v FROM iso WHERE k = {key}");
    one(&mut through(cluster()), &sql).parse().unwrap()
}

/// Runs an interleaving of transactions at every level. It returns whether the anomaly is there.
fn check(expected: Prevented, anomaly: impl Fn(&Keys, &dyn Fn() -> Session) -> bool) {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut client = through(cluster());
    if sqlstate(&client.query("SELECT 1 FROM iso").unwrap()).is_some() {
        table(cluster(), "iso", 20);
        ask(&mut client, "ALTER TABLE iso ADD v int");
    }
    let key = |shard, rank: &str| one(&mut direct(cluster(), shard), rank);
    let keys = Keys {
        a: key(0, "SELECT min(k) FROM iso"),
        a2: key(0, "SELECT max(k) FROM iso"),
        b: key(1, "SELECT min(k) FROM iso"),
    };
    let mut prevented = Vec::new();
    for consistency in ["default", "snapshot"] {
        for level in LEVELS {
            ask(&mut client, "UPDATE iso SET v = 10");
            let session = || Session::new(level, consistency);
            prevented.push(!anomaly(&keys, &session));
        }
    }
    assert_eq!(prevented, expected);
}

#[test]
fn dirty_write() {
    // G0: of two transactions that write the same rows, each has the last word on one.
    check(NEVER, |keys, session| {
        let (mut first, mut second) = (session(), session());
        first.write(&keys.a, 11);
        second.read(&keys.b);
        second.begin_write(&keys.a, 12);
        first.write(&keys.b, 11);
        first.commit();
        second.end_write();
        second.write(&keys.b, 12);
        second.commit();
        left(&keys.a) != left(&keys.b)
    });
}

#[test]
fn aborted_read() {
    // G1a
    check(NEVER, |keys, session| {
        let (mut writer, mut reader) = (session(), session());
        writer.write(&keys.a, 11);
        writer.write(&keys.b, 11);
        let seen = [reader.read(&keys.a), reader.read(&keys.b)];
        writer.rollback();
        let later = [reader.read(&keys.a), reader.read(&keys.b)];
        reader.commit();
        seen.contains(&11) || later.contains(&11)
    });
}

#[test]
fn intermediate_read() {
    // G1b
    check(NEVER, |keys, session| {
        let (mut writer, mut reader) = (session(), session());
        writer.write(&keys.a, 99);
        writer.write(&keys.b, 99);
        let seen = [reader.read(&keys.a), reader.read(&keys.b)];
        writer.write(&keys.a, 11);
        writer.write(&keys.b, 11);
        writer.commit();
        let later = [reader.read(&keys.a), reader.read(&keys.b)];
        reader.commit();
        seen.contains(&99) || later.contains(&99)
    });
}

#[test]
fn circular_information_flow() {
    // G1c: each reads what the other has written.
    check(NEVER, |keys, session| {
        let (mut first, mut second) = (session(), session());
        first.write(&keys.a, 11);
        second.write(&keys.b, 12);
        let (seen_by_first, seen_by_second) = (first.read(&keys.b), second.read(&keys.a));
        first.commit();
        second.commit();
        seen_by_first == 12 && seen_by_second == 11
    });
}

#[test]
fn lost_update() {
    // P4: both add to what they have read.
    for of_second_shard in [false, true] {
        check(READ_COMMITTED, |keys, session| {
            let (mut first, mut second) = (session(), session());
            let (before, after) = (first.read(&keys.a), second.read(&keys.a));
            if of_second_shard {
                first.read(&keys.b);
                second.read(&keys.b);
            }
            first.write(&keys.a, before + 1);
            second.begin_write(&keys.a, after + 1);
            first.commit();
            second.end_write();
            second.commit();
            !second.refused && left(&keys.a) == 11
        });
    }
}

#[test]
fn read_skew_within_a_shard() {
    // G-single
    check(READ_COMMITTED, |keys, session| {
        let (mut reader, mut writer) = (session(), session());
        let first = reader.read(&keys.a);
        writer.write(&keys.a, 11);
        writer.write(&keys.a2, 11);
        writer.commit();
        let second = reader.read(&keys.a2);
        reader.commit();
        !reader.refused && first != second
    });
}

#[test]
fn read_skew_over_shards() {
    check(BY_SNAPSHOT, |keys, session| {
        let (mut reader, mut writer) = (session(), session());
        let first = reader.read(&keys.a);
        writer.write(&keys.a, 11);
        writer.write(&keys.b, 11);
        writer.commit();
        let second = reader.read(&keys.b);
        reader.commit();
        !reader.refused && first != second
    });
}

#[test]
fn phantoms() {
    // G2 with a predicate, of one reader.
    check(READ_COMMITTED, |keys, session| {
        let count = "SELECT count(*) FROM iso WHERE v = 11";
        let (mut reader, mut writer) = (session(), session());
        let first = reader.run(count);
        writer.write(&keys.a, 11);
        writer.write(&keys.b, 11);
        writer.commit();
        let second = reader.run(count);
        reader.commit();
        !reader.refused && first != second
    });
}

#[test]
fn long_fork_within_a_shard() {
    // Two readers see two writers in opposite orders.
    check(READ_COMMITTED, |keys, session| {
        long_fork(&keys.a, &keys.a2, session)
    });
}

#[test]
fn long_fork_over_shards() {
    // Between statements. While snapshots are being taken it is possible with them too.
    check(BY_SNAPSHOT, |keys, session| {
        long_fork(&keys.a, &keys.b, session)
    });
}

fn long_fork(x: &str, y: &str, session: &dyn Fn() -> Session) -> bool {
    let (mut one, mut other) = (session(), session());
    let (mut first, mut second) = (session(), session());
    let one_early = one.read(y);
    let other_early = other.read(x);
    first.write(x, 11);
    first.commit();
    second.write(y, 11);
    second.commit();
    let (one_late, other_late) = (one.read(x), other.read(y));
    one.commit();
    other.commit();
    !one.refused
        && !other.refused
        && (one_early, one_late, other_early, other_late) == (10, 11, 10, 11)
}

#[test]
fn write_skew_within_a_shard() {
    // G2-item
    check(SERIALIZABLE, |keys, session| {
        write_skew(&keys.a, &keys.a2, session)
    });
}

#[test]
fn write_skew_over_shards() {
    check(ALWAYS, |keys, session| {
        write_skew(&keys.a, &keys.b, session)
    });
}

fn write_skew(x: &str, y: &str, session: &dyn Fn() -> Session) -> bool {
    let (mut first, mut second) = (session(), session());
    for reader in [&mut first, &mut second] {
        reader.read(x);
        reader.read(y);
    }
    first.write(x, 11);
    second.write(y, 11);
    first.commit();
    second.commit();
    !first.refused && !second.refused && left(x) == 11 && left(y) == 11
}
