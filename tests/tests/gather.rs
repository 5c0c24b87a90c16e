//! Queries over several shards: limits, cancels, servers that die, and what they leave behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use bytes::BytesMut;
use router::wire::encode;
use tests::client::{Client, ask, one, rows, sqlstate};
use tests::cluster::{Cluster, Options};
use tests::several::{direct, nothing_is_left, table, through};
use tests::shared::Shared;

static SHARED: Shared = Shared::new(|| Options {
    shards: 3,
    settings: vec![
        "gather.max_rows=5000".to_owned(),
        "gather.max_bytes=1000000".to_owned(),
        "pool.max_size=4".to_owned(),
    ],
    ..Options::default()
});

/// The number of rows: by rows that are combined, by rows that are merged, by partial results, and by rows on one server.
const EACH_WAY: [&str; 4] = [
    "SELECT count(*) FROM rows",
    "SELECT k FROM rows ORDER BY k DESC LIMIT 1",
    "SELECT count(*) + 0 FROM rows",
    "SELECT count(*) FROM (SELECT k FROM rows LIMIT 1000) AS all_of_them",
];

#[test]
fn rows_beyond_the_limit_are_not_moved() {
    let cluster = SHARED.cluster();
    table(cluster, "many", 6000);
    let mut client = through(cluster);
    let answer = client
        .query("SELECT count(filler) FROM (SELECT * FROM many LIMIT 10000) AS all_of_them")
        .unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("53400"), "{answer:?}");
    let error = answer.iter().find(|message| message.tag == b'E').unwrap();
    assert!(error.field(b'M').unwrap().contains("gather.max_rows"));
    assert!(error.field(b'D').unwrap().contains("many"));
    // The session and its connections are as good as before.
    assert_eq!(one(&mut client, "SELECT filler FROM many WHERE k = 5"), "x");
    let wide = "UPDATE many SET filler = repeat('y', 600000) WHERE k = ";
    table(cluster, "wide", 20);
    for key in [1, 2] {
        ask(
            &mut client,
            &wide
                .replace("many", "wide")
                .replace("k = ", &format!("k = {key}")),
        );
    }
    let answer = client
        .query("SELECT count(filler) FROM (SELECT * FROM wide LIMIT 10000) AS all_of_them")
        .unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("53400"), "{answer:?}");
    nothing_is_left(cluster);
}

/// Each shard keeps within the timeout; all together do not.
#[test]
fn the_statement_timeout_is_for_the_whole() {
    let cluster = SHARED.cluster();
    let names = ["timed_1", "timed_2", "timed_3", "timed_4"];
    for name in names {
        table(cluster, name, 3);
    }
    let sql = "SELECT count(*) FROM timed_1, timed_2, timed_3, timed_4 \
        WHERE timed_1.filler < timed_2.filler AND timed_2.filler < timed_3.filler AND timed_3.filler < timed_4.filler";
    for timeout in [
        "SET statement_timeout = '2500ms'",
        "SET LOCAL statement_timeout = '2500ms'",
    ] {
        let mut client = through(cluster);
        // What a server has to say of the statement is known from here on.
        assert_eq!(one(&mut client, sql), "0");
        if timeout.contains("LOCAL") {
            ask(&mut client, "BEGIN");
        }
        ask(&mut client, timeout);
        let held = std::thread::scope(|scope| {
            let holders = names.map(|name| {
                let mut holder = direct(cluster, 0);
                ask(&mut holder, &format!("BEGIN; LOCK TABLE {name}"));
                scope.spawn(move || {
                    let mut look = direct(cluster, 0);
                    let waiting = format!(
                        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{name}'::regclass"
                    );
                    let over = "SELECT count(*) FROM pg_class WHERE relname = 'timed_over'";
                    while one(&mut look, &waiting) == "0" {
                        if one(&mut look, over) != "0" {
                            return false;
                        }
                    }
                    // This is what takes its time.
                    ask(&mut look, "SELECT pg_sleep(1)");
                    ask(&mut holder, "ROLLBACK");
                    true
                })
            });
            let answer = client.query(sql).unwrap();
            assert_eq!(sqlstate(&answer).as_deref(), Some("57014"), "{answer:?}");
            let error = answer.iter().find(|message| message.tag == b'E').unwrap();
            let message = error.field(b'M').unwrap();
            assert_eq!(message, "canceling statement due to statement timeout");
            ask(&mut direct(cluster, 0), "CREATE TABLE timed_over ()");
            holders.map(|holder| holder.join().unwrap())
        });
        assert!(
            held.contains(&false),
            "no part of it was left when the time was over: {held:?}"
        );
        ask(&mut direct(cluster, 0), "DROP TABLE timed_over");
        ask(&mut client, "ROLLBACK; RESET statement_timeout");
        assert_eq!(one(&mut client, sql), "0");
    }
    nothing_is_left(cluster);
}

#[test]
fn a_cancel_stops_it_wherever_it_is() {
    let cluster = SHARED.cluster();
    table(cluster, "slow", 30);
    let mut client = through(cluster);
    // In the middle of the final query, and while a shard is held up by a lock.
    let held = EACH_WAY.map(|sql| (true, sql.replace("rows", "slow")));
    let sleeping = (false, "SELECT count(*), pg_sleep(600) FROM slow".to_owned());
    for (held, sql) in held.into_iter().chain([sleeping]) {
        let mut holder = direct(cluster, 2);
        if held {
            ask(&mut holder, "BEGIN; LOCK TABLE slow");
        }
        let mut out = BytesMut::new();
        encode::query(&mut out, sql.as_bytes());
        client.send(&out).unwrap();
        let mut watcher = direct(cluster, 2);
        let waiting = if held {
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid <> pg_backend_pid()"
        } else {
            "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        };
        let mut others: Vec<Client> = (0..3).map(|shard| direct(cluster, shard)).collect();
        while !others
            .iter_mut()
            .any(|server| !ask(server, waiting).is_empty())
        {}
        let mut canceller = Client::open(cluster.router.address).unwrap();
        let mut request = BytesMut::new();
        encode::cancel_request(&mut request, client.process_id, &client.key);
        canceller.send(&request).unwrap();
        let answer = client.until_ready().unwrap();
        assert_eq!(sqlstate(&answer).as_deref(), Some("57014"), "{answer:?}");
        ask(&mut holder, "ROLLBACK");
        assert_eq!(one(&mut client, "SELECT count(*) FROM slow"), "30");
        ask(&mut watcher, "SELECT 1");
    }
    nothing_is_left(cluster);
}

#[test]
fn many_at_once_share_the_pools() {
    let cluster = SHARED.cluster();
    table(cluster, "shared_rows", 50);
    let address = cluster.router.address;
    let threads: Vec<_> = (0..12)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address, &[]).unwrap();
                for _ in 0..5 {
                    for sql in EACH_WAY {
                        let sql = sql.replace("rows", "shared_rows");
                        assert_eq!(one(&mut client, &sql), "50");
                        ask(&mut client, "BEGIN");
                        assert_eq!(one(&mut client, &sql), "50");
                        ask(&mut client, "ROLLBACK");
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    nothing_is_left(cluster);
}

#[test]
fn a_shard_that_dies_fails_the_query_and_nothing_else() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let cluster = runtime
        .block_on(Cluster::start(Options {
            shards: 3,
            ..Options::default()
        }))
        .unwrap();
    table(&cluster, "dying", 30);
    let mut client = through(&cluster);
    let mut killer = direct(&cluster, 1);
    for sql in EACH_WAY {
        let sql = sql.replace("rows", "dying");
        assert_eq!(one(&mut client, &sql), "30");
        // A backend that is gone in the middle.
        let mut holder = direct(&cluster, 1);
        ask(&mut holder, "BEGIN; LOCK TABLE dying");
        let mut out = BytesMut::new();
        encode::query(&mut out, sql.as_bytes());
        client.send(&out).unwrap();
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid <> pg_backend_pid()";
        while ask(&mut killer, kill).is_empty() {}
        let answer = client.until_ready().unwrap();
        let code = sqlstate(&answer).unwrap();
        assert!(["57P01", "08006"].contains(&code.as_str()), "{answer:?}");
        ask(&mut holder, "ROLLBACK");
        assert_eq!(one(&mut client, &sql), "30");
        // Within a block the block has failed.
        ask(&mut client, "BEGIN");
        assert_eq!(one(&mut client, &sql), "30");
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' AND backend_type = 'client backend'";
        assert!(!ask(&mut killer, kill).is_empty());
        let answer = client.query(&sql).unwrap();
        assert!(sqlstate(&answer).is_some(), "{answer:?}");
        assert_eq!(answer.last().unwrap().body, b"E");
        ask(&mut client, "ROLLBACK");
        assert_eq!(one(&mut client, &sql), "30");
    }
    nothing_is_left(&cluster);
    runtime.block_on(cluster.stop()).unwrap();
}

/// Keys of two shards, one each.
fn keys_apart(cluster: &Cluster, table: &str) -> [String; 2] {
    [0, 1].map(|shard| {
        let sql = format!("SELECT min(k) FROM {table}");
        one(&mut direct(cluster, shard), &sql)
    })
}

#[test]
fn what_a_block_has_written_outlives_a_failure_on_another_shard() {
    let cluster = SHARED.cluster();
    table(cluster, "outliving", 30);
    let [one_key, other] = keys_apart(cluster, "outliving");
    for (slow, failing) in [(&one_key, &other), (&other, &one_key)] {
        // Not pg_sleep: what is volatile runs on one server.
        let sleep =
            "(SELECT max(n) FROM (SELECT generate_series(1, 1000000000000) AS n) AS numbers) = 1";
        let condition = format!(
            "CASE outliving.k WHEN {slow} THEN {sleep} WHEN {failing} THEN 1 / (outliving.k - {failing}) = 1 END"
        );
        let queries = [
            "SELECT k FROM outliving WHERE …",
            "SELECT k FROM outliving WHERE … ORDER BY k",
            "SELECT count(*) FROM outliving WHERE …",
            "SELECT count(*) + 0 FROM outliving WHERE …",
        ];
        for (number, sql) in (0..).zip(queries) {
            fails_in_a_block(&sql.replace('…', &condition), slow, number);
        }
    }
    nothing_is_left(cluster);
}

/// A query that fails on another shard than that of the key, which goes on.
fn fails_in_a_block(sql: &str, key: &str, number: u32) {
    let cluster = SHARED.cluster();
    let mut client = through(cluster);
    let filler = format!("SELECT filler FROM outliving WHERE k = {key}");
    let write = |value: u32| format!("UPDATE outliving SET filler = '{value}' WHERE k = {key}");
    ask(&mut client, "BEGIN");
    ask(&mut client, &write(number));
    ask(&mut client, "SAVEPOINT before");
    ask(&mut client, &write(1000));
    let answer = match number % 2 {
        0 => client.query(sql),
        _ => client.extended(sql, &[], false),
    };
    let answer = answer.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let code = sqlstate(&answer);
    assert_eq!(code.as_deref(), Some("22012"), "{sql}: {answer:?}");
    ask(&mut client, "ROLLBACK TO before");
    assert_eq!(one(&mut client, &filler), number.to_string(), "{sql}");
    ask(&mut client, "COMMIT");
    let mut another = through(cluster);
    assert_eq!(one(&mut another, &filler), number.to_string(), "{sql}");
}

#[test]
fn what_a_block_has_lost_no_savepoint_brings_back() {
    let cluster = SHARED.cluster();
    table(cluster, "losing", 30);
    let [key, _] = keys_apart(cluster, "losing");
    let read = format!("SELECT filler FROM losing WHERE k = {key}");
    for sql in [read.as_str(), "SELECT count(*) FROM losing"] {
        let mut client = through(cluster);
        ask(&mut client, "BEGIN");
        let write = format!("UPDATE losing SET filler = 'lost' WHERE k = {key}");
        ask(&mut client, &write);
        ask(&mut client, "SAVEPOINT before");
        let pid = one(
            &mut client,
            &format!("SELECT pg_backend_pid() FROM losing WHERE k = {key}"),
        );
        let kill = format!("SELECT pg_terminate_backend({pid}, 10000)");
        assert_eq!(one(&mut direct(cluster, 0), &kill), "t");
        let answer = client.query(sql).unwrap();
        assert!(sqlstate(&answer).is_some(), "{answer:?}");
        let answer = client.query("ROLLBACK TO before").unwrap();
        assert_eq!(sqlstate(&answer).as_deref(), Some("25P02"), "{answer:?}");
        let answer = client.query(&read).unwrap();
        assert_eq!(sqlstate(&answer).as_deref(), Some("25P02"), "{answer:?}");
        let answer = client.query("COMMIT").unwrap();
        assert_eq!(answer[0].body, b"ROLLBACK\0");
        assert_eq!(one(&mut client, &read), "x");
    }
}

#[test]
fn what_the_finishing_server_says_before_it_goes_is_of_its_query_alone() {
    let cluster = SHARED.cluster();
    table(cluster, "finishing", 30);
    let mut client = through(cluster);
    let sql = "SELECT k, pg_sleep(0.3) FROM finishing";
    for next in [
        "SET work_mem = '7MB'",
        "INSERT INTO finishing VALUES (1000)",
        "SELECT count(*) FROM finishing",
    ] {
        let mut out = BytesMut::new();
        encode::query(&mut out, sql.as_bytes());
        client.send(&out).unwrap();
        let kill = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.3)%' AND query LIKE '%unnest%' AND state = 'active' AND pid <> pg_backend_pid()";
        let mut shard = 0;
        while ask(&mut direct(cluster, shard), kill).is_empty() {
            shard = (shard + 1) % 3;
        }
        let answer = client.until_ready().unwrap();
        let errors = answer.iter().filter(|message| message.tag == b'E').count();
        assert_eq!(errors, 1, "{answer:?}");
        let answer = client.query(next).unwrap();
        assert!(
            answer.iter().any(|message| message.tag == b'C'),
            "{next}: {answer:?}"
        );
    }
    assert_eq!(one(&mut client, "SELECT count(*) FROM finishing"), "31");
}

/// The answer to a named statement without parameters.
fn named(client: &mut Client, name: &[u8], sql: &str) -> Vec<Vec<Option<String>>> {
    let mut out = BytesMut::new();
    encode::parse(&mut out, name, sql.as_bytes(), &[]);
    encode::bind(&mut out, b"", name);
    encode::describe(&mut out, b'P', b"");
    encode::execute(&mut out, b"", 0);
    encode::sync(&mut out);
    client.send(&out).unwrap();
    rows(&client.until_ready().unwrap())
}

#[test]
fn what_shards_are_asked_means_something_else_from_a_client() {
    let cluster = SHARED.cluster();
    table(cluster, "twice", 30);
    let mut client = through(cluster);
    let sql = "SELECT k FROM twice ORDER BY k LIMIT 3 OFFSET 2";
    let numbers = |numbers: std::ops::RangeInclusive<u32>| -> Vec<Vec<Option<String>>> {
        numbers.map(|n| vec![Some(n.to_string())]).collect()
    };
    assert_eq!(named(&mut client, b"one", sql), numbers(3..=5));
    let explained = ask(&mut client, &format!("EXPLAIN {sql}"));
    let lines = explained.iter().filter_map(|row| row[0].as_deref());
    let mut asked = lines.filter_map(|line| line.split_once("Shard s1: "));
    let (_, asked) = asked.next().unwrap();
    assert_ne!(asked, sql);
    assert_eq!(named(&mut client, b"other", asked), numbers(1..=5));
    assert_eq!(named(&mut client, b"again", sql), numbers(3..=5));
}
