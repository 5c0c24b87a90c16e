//! FOR UPDATE with LIMIT over several shards while others hold rows.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use tests::client::{Client, ask, one, sqlstate};
use tests::cluster::{Cluster, Options};
use tests::several::{direct, nothing_is_left, table, through};
use tests::shared::Shared;

static SHARED: Shared = Shared::new(|| Options {
    shards: 3,
    ..Options::default()
});

/// Rows of a column, in order.
fn column(client: &mut Client, sql: &str) -> Vec<String> {
    let answer = client.query(sql).unwrap();
    assert_eq!(sqlstate(&answer), None, "{sql}: {answer:?}");
    let rows = answer.iter().filter(|message| message.tag == b'D');
    rows.map(|row| String::from_utf8(row.body[6..].to_vec()).unwrap())
        .collect()
}

/// How many rows of a table are locked, on all shards.
fn locked(cluster: &Cluster, table: &str) -> usize {
    let all = format!("SELECT count(*) FROM {table}");
    let free = format!("SELECT count(*) FROM (SELECT FROM {table} FOR UPDATE SKIP LOCKED) AS free");
    (0..cluster.local.shards().len())
        .map(|shard| {
            let mut server = direct(cluster, shard);
            let count = |server: &mut Client, sql: &str| one(server, sql).parse::<usize>().unwrap();
            count(&mut server, &all) - count(&mut server, &free)
        })
        .sum()
}

/// Waits until a session waits for a lock on a row.
fn await_waiting(cluster: &Cluster) {
    let waiting = |shard| {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        one(&mut direct(cluster, shard), sql) != "0"
    };
    while !(0..cluster.local.shards().len()).any(waiting) {}
}

#[test]
fn so_many_rows_are_locked_as_are_returned() {
    let cluster = SHARED.cluster();
    table(cluster, "queue", 40);
    let ordered = "SELECT k FROM queue ORDER BY k LIMIT 5 FOR UPDATE SKIP LOCKED";
    let unordered = "SELECT k FROM queue LIMIT 5 FOR UPDATE SKIP LOCKED";
    for (sql, in_order) in [(ordered, true), (unordered, false)] {
        let mut workers: Vec<Client> = (0..9).map(|_| through(cluster)).collect();
        let mut taken: Vec<u32> = Vec::new();
        for (before, worker) in workers.iter_mut().enumerate() {
            ask(worker, "BEGIN");
            let rows = column(worker, sql);
            // The ninth finds nothing: each of eight has five.
            assert_eq!(rows.len(), if before < 8 { 5 } else { 0 }, "{sql}");
            taken.extend(rows.iter().map(|row| row.parse::<u32>().unwrap()));
            assert_eq!(locked(cluster, "queue"), taken.len(), "{sql}");
        }
        if !in_order {
            taken.sort_unstable();
        }
        assert_eq!(taken, (1..=40).collect::<Vec<u32>>(), "{sql}");
        for worker in &mut workers {
            ask(worker, "COMMIT");
        }
    }
    nothing_is_left(cluster);
}

#[test]
fn rows_that_are_skipped_are_locked_as_well() {
    let cluster = SHARED.cluster();
    table(cluster, "skipped", 20);
    let mut client = through(cluster);
    ask(&mut client, "BEGIN");
    let rows = column(
        &mut client,
        "SELECT k FROM skipped ORDER BY k LIMIT 2 OFFSET 3 FOR UPDATE",
    );
    assert_eq!(rows, ["4", "5"]);
    assert_eq!(locked(cluster, "skipped"), 5);
    ask(&mut client, "COMMIT");
    nothing_is_left(cluster);
}

#[test]
fn who_waits_for_a_row_sees_it_as_it_is_then() {
    let cluster = SHARED.cluster();
    table(cluster, "awaited", 20);
    let sql = "SELECT k, filler FROM awaited WHERE filler <> 'gone' ORDER BY k LIMIT 3 FOR UPDATE";
    let cases = [
        (
            "UPDATE awaited SET filler = 'new' WHERE k = 2",
            "COMMIT",
            ["1x", "2new", "3x"],
        ),
        (
            "UPDATE awaited SET filler = 'gone' WHERE k = 2",
            "ROLLBACK",
            ["1x", "2new", "3x"],
        ),
        (
            "UPDATE awaited SET filler = 'gone' WHERE k = 2",
            "COMMIT",
            ["1x", "3x", "4x"],
        ),
        (
            "DELETE FROM awaited WHERE k = 3",
            "COMMIT",
            ["1x", "4x", "5x"],
        ),
    ];
    for (write, end, expected) in cases {
        let mut writer = through(cluster);
        ask(&mut writer, "BEGIN");
        ask(&mut writer, write);
        let mut nowait = through(cluster);
        let answer = nowait.query(&format!("{sql} NOWAIT")).unwrap();
        assert_eq!(sqlstate(&answer).as_deref(), Some("55P03"), "{answer:?}");
        let rows = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let mut client = through(cluster);
                let sql = sql.replace("k, filler FROM", "k || filler FROM");
                column(&mut client, &sql)
            });
            await_waiting(cluster);
            ask(&mut writer, end);
            waiter.join().unwrap()
        });
        assert_eq!(rows, expected, "{write}; {end}");
    }
    nothing_is_left(cluster);
}
