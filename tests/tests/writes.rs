//! Writes over several shards: all or nothing whatever dies, and in good time however many rows there are.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use router::wire::encode;
use tests::client::{Client, Message, ask, one, sqlstate};
use tests::cluster::{Cluster, Options};
use tests::several::{direct, nothing_is_left, table, through};
use tests::shared::Shared;

static SHARED: Shared = Shared::new(|| Options {
    shards: 3,
    ..Options::default()
});

/// More than enough for what takes a second in a debug build, and too little for what takes quadratic time.
const GOOD_TIME: Duration = Duration::from_secs(60);

/// The ends of backends that wait for a lock.
const KILL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid <> pg_backend_pid()";

fn tag(answer: &[Message]) -> String {
    let found = answer.iter().rfind(|message| message.tag == b'C');
    let found = found.unwrap_or_else(|| panic!("{answer:?}"));
    String::from_utf8_lossy(&found.body)
        .trim_end_matches('\0')
        .to_owned()
}

fn explained(client: &mut Client, sql: &str) -> String {
    let lines = ask(client, &format!("EXPLAIN {sql}"));
    let lines = lines.into_iter().map(|row| row[0].clone().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_shard_that_dies_undoes_the_write_on_all() {
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
    let rows: Vec<String> = (100..130).map(|k| format!("({k}, 'new')")).collect();
    let insert = format!("INSERT INTO dying VALUES {}", rows.join(", "));
    let writes = [
        "UPDATE dying SET filler = 'y'",
        "DELETE FROM dying RETURNING k",
        insert.as_str(),
    ];
    for sql in writes {
        for in_block in [false, true] {
            if in_block {
                ask(&mut client, "BEGIN");
                ask(&mut client, "UPDATE dying SET filler = 'z'");
            }
            let mut holder = direct(&cluster, 1);
            if !in_block {
                ask(&mut holder, "BEGIN; LOCK TABLE dying");
            }
            let mut out = BytesMut::new();
            encode::query(&mut out, sql.as_bytes());
            if in_block {
                let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' AND backend_type = 'client backend'";
                assert!(!ask(&mut killer, kill).is_empty());
            }
            client.send(&out).unwrap();
            if !in_block {
                while ask(&mut killer, KILL).is_empty() {}
            }
            let answer = client.until_ready().unwrap();
            let code = sqlstate(&answer).unwrap();
            assert!(["57P01", "08006"].contains(&code.as_str()), "{answer:?}");
            if in_block {
                assert_eq!(answer.last().unwrap().body, b"E");
                ask(&mut client, "ROLLBACK");
            } else {
                assert_eq!(answer.last().unwrap().body, b"I");
                ask(&mut holder, "ROLLBACK");
            }
            assert_eq!(
                one(&mut client, "SELECT count(*) FROM dying WHERE filler = 'x'"),
                "30",
                "{sql}"
            );
            assert_eq!(one(&mut client, "SELECT count(*) FROM dying"), "30");
        }
    }
    nothing_is_left(&cluster);
    runtime.block_on(cluster.stop()).unwrap();
}

#[test]
fn a_cancel_undoes_the_write_on_all() {
    let cluster = SHARED.cluster();
    table(cluster, "cancelled", 30);
    let mut client = through(cluster);
    let mut holder = direct(cluster, 2);
    ask(&mut holder, "BEGIN; LOCK TABLE cancelled");
    let mut out = BytesMut::new();
    encode::query(&mut out, b"UPDATE cancelled SET filler = 'y'");
    client.send(&out).unwrap();
    let waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'cancelled'::regclass";
    let mut watcher = direct(cluster, 2);
    while ask(&mut watcher, waiting).is_empty() {}
    let mut canceller = Client::open(cluster.router.address).unwrap();
    let mut request = BytesMut::new();
    encode::cancel_request(&mut request, client.process_id, &client.key);
    canceller.send(&request).unwrap();
    let answer = client.until_ready().unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("57014"), "{answer:?}");
    ask(&mut holder, "ROLLBACK");
    let changed = "SELECT count(*) FROM cancelled WHERE filler = 'y'";
    assert_eq!(one(&mut client, changed), "0");
    nothing_is_left(cluster);
}

#[test]
fn ten_thousand_rows_take_no_quadratic_time() {
    let cluster = SHARED.cluster();
    table(cluster, "bulk", 0);
    let mut client = through(cluster);
    let started = Instant::now();
    let mut sql = String::from("INSERT INTO bulk VALUES ");
    for k in 0..10_000 {
        let comma = if k > 0 { "," } else { "" };
        write!(sql, "{comma}({k}, 'row {k}')").unwrap();
    }
    sql.push_str(" RETURNING k");
    let answer = client.query(&sql).unwrap();
    assert_eq!(tag(&answer), "INSERT 0 10000");
    let keys: Vec<String> = tests::client::rows(&answer)
        .into_iter()
        .map(|row| row[0].clone().unwrap())
        .collect();
    let expected: Vec<String> = (0..10_000).map(|k| k.to_string()).collect();
    assert_eq!(keys, expected);
    // The same with parameters, by the extended protocol, twice.
    let rows: Vec<String> = (0..10_000)
        .map(|row| format!("(${}, ${})", 2 * row + 1, 2 * row + 2))
        .collect();
    let sql = format!("INSERT INTO bulk VALUES {}", rows.join(", "));
    for round in 1..3 {
        let values: Vec<String> = (0..10_000)
            .flat_map(|k| [(k + round * 10_000).to_string(), format!("row {k}")])
            .collect();
        let values: Vec<Option<&[u8]>> = values.iter().map(|v| Some(v.as_bytes())).collect();
        let answer = client.extended(&sql, &values, false).unwrap();
        assert_eq!(tag(&answer), "INSERT 0 10000");
    }
    assert_eq!(one(&mut client, "SELECT count(*) FROM bulk"), "30000");
    assert_eq!(
        tag(&client.query("UPDATE bulk SET filler = 'y'").unwrap()),
        "UPDATE 30000"
    );
    assert_eq!(
        tag(&client.query("DELETE FROM bulk RETURNING *").unwrap()),
        "DELETE 30000"
    );
    assert!(started.elapsed() < GOOD_TIME, "{:?}", started.elapsed());
    nothing_is_left(cluster);
}

/// COPY data in messages of this size, as the client sends them after the server has asked.
fn copy(client: &mut Client, sql: &str, data: &[u8], size: usize, end: &[u8]) -> Vec<Message> {
    let mut out = BytesMut::new();
    encode::query(&mut out, sql.as_bytes());
    client.send(&out).unwrap();
    loop {
        let message = client.receive().unwrap();
        if message.tag == b'G' {
            break;
        }
        assert_ne!(message.tag, b'E', "{message:?}");
    }
    for chunk in data.chunks(size) {
        let mut out = BytesMut::new();
        encode::copy_data(&mut out, chunk);
        client.send(&out).unwrap();
    }
    client.send(end).unwrap();
    client.until_ready().unwrap()
}

const DONE: &[u8] = b"c\0\0\0\x04";

#[test]
fn copy_splits_rows_however_they_come() {
    let cluster = SHARED.cluster();
    table(cluster, "copied", 0);
    let mut client = through(cluster);
    let mut data = String::new();
    for k in 0..200 {
        writeln!(data, "{k}\trow\\t{k}").unwrap();
    }
    for size in [1, 2, 3, 7, 100, 100_000] {
        let answer = copy(
            &mut client,
            "COPY copied FROM STDIN",
            data.as_bytes(),
            size,
            DONE,
        );
        assert_eq!(tag(&answer), "COPY 200");
        let sum = "SELECT count(*) || ' ' || sum(k) || ' ' || min(filler) FROM copied";
        assert_eq!(one(&mut client, sum), "200 19900 row\t0");
        assert_eq!(
            tag(&client.query("DELETE FROM copied").unwrap()),
            "DELETE 200"
        );
    }
    // What a server gives in binary it takes in binary.
    let mut binary = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for k in 0..200i32 {
        binary.extend_from_slice(&[0, 2, 0, 0, 0, 4]);
        binary.extend_from_slice(&k.to_be_bytes());
        binary.extend_from_slice(&[0, 0, 0, 1, b'b']);
    }
    binary.extend_from_slice(&[0xff, 0xff]);
    for size in [1, 5, 1000] {
        let answer = copy(
            &mut client,
            "COPY copied FROM STDIN (FORMAT binary)",
            &binary,
            size,
            DONE,
        );
        assert_eq!(tag(&answer), "COPY 200");
        assert_eq!(one(&mut client, "SELECT sum(k) FROM copied"), "19900");
        ask(&mut client, "TRUNCATE copied");
    }
    // A tuple that is cut short.
    let answer = copy(
        &mut client,
        "COPY copied FROM STDIN (FORMAT binary)",
        &binary[..binary.len() - 10],
        1000,
        DONE,
    );
    assert_eq!(sqlstate(&answer).as_deref(), Some("22P04"), "{answer:?}");
    assert_eq!(one(&mut client, "SELECT count(*) FROM copied"), "0");
    nothing_is_left(cluster);
}

#[test]
fn copy_that_fails_leaves_nothing() {
    let cluster = SHARED.cluster();
    table(cluster, "failing", 0);
    let mut client = through(cluster);
    let rows: String = (0..50_000).map(|k| format!("{k}\tx\n")).collect();
    // The client gives up.
    let mut fail = BytesMut::new();
    encode::copy_fail(&mut fail, "no more");
    let answer = copy(
        &mut client,
        "COPY failing FROM STDIN",
        rows.as_bytes(),
        8192,
        &fail,
    );
    assert_eq!(sqlstate(&answer).as_deref(), Some("57014"), "{answer:?}");
    let error = answer.iter().find(|message| message.tag == b'E').unwrap();
    assert_eq!(
        error.field(b'M').unwrap(),
        "COPY from stdin failed: no more"
    );
    assert!(
        error
            .field(b'W')
            .unwrap()
            .contains("COPY failing, line 50001"),
        "{answer:?}"
    );
    // The last row is wrong: the line is the client's.
    let wrong = format!("{rows}7\tagain\n");
    let answer = copy(
        &mut client,
        "COPY failing FROM STDIN",
        wrong.as_bytes(),
        8192,
        DONE,
    );
    assert_eq!(sqlstate(&answer).as_deref(), Some("23505"), "{answer:?}");
    let error = answer.iter().find(|message| message.tag == b'E').unwrap();
    assert!(
        error
            .field(b'W')
            .unwrap()
            .contains("COPY failing, line 50001"),
        "{answer:?}"
    );
    // So is one in the middle, while the client goes on.
    let wrong = rows.replace("\n25000\t", "\nx\t");
    let answer = copy(
        &mut client,
        "COPY failing FROM STDIN",
        wrong.as_bytes(),
        8192,
        DONE,
    );
    assert_eq!(sqlstate(&answer).as_deref(), Some("22P02"), "{answer:?}");
    let error = answer.iter().find(|message| message.tag == b'E').unwrap();
    assert!(
        error
            .field(b'W')
            .unwrap()
            .contains("COPY failing, line 25001, column k: \"x\""),
        "{answer:?}"
    );
    assert_eq!(one(&mut client, "SELECT count(*) FROM failing"), "0");
    // A client that goes away in the middle.
    let mut leaving = through(cluster);
    let mut out = BytesMut::new();
    encode::query(&mut out, b"COPY failing FROM STDIN");
    encode::copy_data(&mut out, rows.as_bytes());
    leaving.send(&out).unwrap();
    drop(leaving);
    nothing_is_left(cluster);
    let answer = copy(
        &mut client,
        "COPY failing FROM STDIN",
        rows.as_bytes(),
        65536,
        DONE,
    );
    assert_eq!(tag(&answer), "COPY 50000");
    assert_eq!(one(&mut client, "SELECT count(*) FROM failing"), "50000");
    nothing_is_left(cluster);
}

#[test]
fn a_shard_that_dies_during_copy_undoes_it() {
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
    table(&cluster, "loaded", 0);
    let mut client = through(&cluster);
    let rows: String = (0..1000).map(|k| format!("{k}\tx\n")).collect();
    let mut out = BytesMut::new();
    encode::query(&mut out, b"COPY loaded FROM STDIN");
    encode::copy_data(&mut out, rows.as_bytes());
    client.send(&out).unwrap();
    let mut killer = direct(&cluster, 1);
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY loaded%' AND state = 'active' AND pid <> pg_backend_pid()";
    while ask(&mut killer, kill).is_empty() {}
    let answer = client.until_ready().unwrap();
    let code = sqlstate(&answer).unwrap();
    assert!(["57P01", "08006"].contains(&code.as_str()), "{answer:?}");
    assert_eq!(one(&mut client, "SELECT count(*) FROM loaded"), "0");
    let answer = copy(
        &mut client,
        "COPY loaded FROM STDIN",
        rows.as_bytes(),
        100,
        DONE,
    );
    assert_eq!(tag(&answer), "COPY 1000");
    nothing_is_left(&cluster);
    runtime.block_on(cluster.stop()).unwrap();
}

#[test]
fn explain_shows_each_shard_and_its_part() {
    let cluster = SHARED.cluster();
    table(cluster, "shown", 30);
    let mut client = through(cluster);
    let plan = explained(&mut client, "UPDATE shown SET filler = 'y'");
    assert!(
        plan.starts_with("Spread: 3 shards, all or nothing"),
        "{plan}"
    );
    assert_eq!(
        plan.matches("UPDATE shown SET filler = 'y'").count(),
        3,
        "{plan}"
    );
    let plan = explained(
        &mut client,
        "INSERT INTO shown VALUES (101, 'a'), (102, 'b'), (103, 'c'), (104, 'd'), (105, 'e'), (106, 'f')",
    );
    assert!(plan.starts_with("Spread: "), "{plan}");
    assert_eq!(
        plan.matches("INSERT INTO shown VALUES (").count(),
        plan.lines().count() - 1
    );
    for row in ["(101, 'a')", "(106, 'f')"] {
        assert_eq!(plan.matches(row).count(), 1, "{plan}");
    }
    let plan = explained(&mut client, "UPDATE shown SET filler = now()::text");
    assert!(
        plan.contains("($1::pg_catalog.timestamptz)::text"),
        "{plan}"
    );
    // Rows of one shard are one shard's statement.
    let plan = explained(
        &mut client,
        "INSERT INTO shown VALUES (101, 'a'), (101, 'b')",
    );
    assert!(plan.starts_with("Single: "), "{plan}");
    let answer = client
        .query("EXPLAIN ANALYZE UPDATE shown SET filler = 'y'")
        .unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("0A000"), "{answer:?}");
    let untouched = "SELECT count(*) FROM shown WHERE filler = 'x'";
    assert_eq!(one(&mut client, untouched), "30");
}

#[test]
fn many_writers_leave_sums_as_they_are() {
    let cluster = SHARED.cluster();
    table(cluster, "sums", 0);
    let mut client = through(cluster);
    let rows: Vec<String> = (0..60).map(|k| format!("({k}, '0')")).collect();
    ask(
        &mut client,
        &format!("INSERT INTO sums VALUES {}", rows.join(", ")),
    );
    let address = cluster.router.address;
    // Each has rows of its own, so that nobody waits in a circle.
    let threads: Vec<_> = (0..6)
        .map(|writer| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address, &[]).unwrap();
                for round in 0..20 {
                    let sql = format!(
                        "UPDATE sums SET filler = (filler::int + 1)::text WHERE k % 6 = {writer}"
                    );
                    let answer = match round % 3 {
                        0 => client.query(&sql).unwrap(),
                        1 => client.extended(&sql, &[], false).unwrap(),
                        _ => {
                            ask(&mut client, "BEGIN");
                            client.query(&sql).unwrap();
                            ask(&mut client, "ROLLBACK");
                            client.query(&sql).unwrap()
                        }
                    };
                    assert_eq!(tag(&answer), "UPDATE 10");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(
        one(&mut client, "SELECT count(*) FROM sums WHERE filler = '20'"),
        "60"
    );
    nothing_is_left(cluster);
}
