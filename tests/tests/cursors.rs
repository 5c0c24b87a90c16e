//! Portals and cursors over several shards that are read in parts: what happens between the parts, and what is left.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use bytes::BytesMut;
use router::wire::encode;
use tests::client::{Client, Message, ask, bind, one, rows, sqlstate};
use tests::cluster::Options;
use tests::several::{direct, nothing_is_left, table, through};
use tests::shared::Shared;

static SHARED: Shared = Shared::new(|| Options {
    shards: 3,
    settings: vec!["pool.max_size=8".to_owned()],
    ..Options::default()
});

/// Binds a query to a portal, and syncs.
fn open(client: &mut Client, portal: &str, sql: &str, binary: bool) -> Vec<Message> {
    let mut out = BytesMut::new();
    encode::parse(&mut out, b"", sql.as_bytes(), &[]);
    bind(&mut out, portal, "", &[], binary);
    encode::sync(&mut out);
    client.send(&out).unwrap();
    client.until_ready().unwrap()
}

/// Executes a portal, and syncs.
fn execute(client: &mut Client, portal: &str, most: i32) -> Vec<Message> {
    let mut out = BytesMut::new();
    encode::execute(&mut out, portal.as_bytes(), most);
    encode::sync(&mut out);
    client.send(&out).unwrap();
    client.until_ready().unwrap()
}

/// The first column of the rows, and how the answer ends.
fn part(client: &mut Client, portal: &str, most: i32) -> (Vec<u32>, String) {
    let answer = execute(client, portal, most);
    assert_eq!(sqlstate(&answer), None, "{answer:?}");
    let numbers = rows(&answer)
        .iter()
        .map(|row| row[0].clone().unwrap().parse().unwrap())
        .collect();
    (numbers, ending(&answer))
}

fn ending(answer: &[Message]) -> String {
    let end = answer
        .iter()
        .find(|message| b"sC".contains(&message.tag))
        .unwrap();
    match end.tag {
        b's' => "suspended".to_owned(),
        _ => String::from_utf8_lossy(&end.body[..end.body.len() - 1]).into_owned(),
    }
}

fn cancel(client: &Client) {
    let mut canceller = Client::open(SHARED.cluster().router.address).unwrap();
    let mut request = BytesMut::new();
    encode::cancel_request(&mut request, client.process_id, &client.key);
    canceller.send(&request).unwrap();
}

#[test]
fn one_part_after_the_other_is_given() {
    let cluster = SHARED.cluster();
    table(cluster, "parts", 20);
    let mut client = through(cluster);
    // In one batch, which is a transaction.
    let mut out = BytesMut::new();
    encode::parse(&mut out, b"", b"SELECT k FROM parts ORDER BY k", &[]);
    bind(&mut out, "p", "", &[], false);
    encode::execute(&mut out, b"p", 2);
    encode::execute(&mut out, b"p", 3);
    encode::execute(&mut out, b"p", 0);
    encode::execute(&mut out, b"p", 2);
    encode::sync(&mut out);
    client.send(&out).unwrap();
    let answer = client.until_ready().unwrap();
    assert_eq!(sqlstate(&answer), None, "{answer:?}");
    let numbers: Vec<Option<String>> = (1..=20).map(|k| Some(k.to_string())).collect();
    assert_eq!(rows(&answer).concat(), numbers);
    let tags: String = answer
        .iter()
        .filter(|message| message.tag != b'D')
        .map(|message| char::from(message.tag))
        .collect();
    assert_eq!(tags, "12ssCCZ");
    // Its portals have ended with it.
    let answer = execute(&mut client, "p", 2);
    assert_eq!(sqlstate(&answer).as_deref(), Some("34000"));
    // What is exactly as much as was asked for does not look like the end.
    ask(&mut client, "BEGIN");
    open(
        &mut client,
        "q",
        "SELECT k FROM parts ORDER BY k LIMIT 4",
        false,
    );
    assert_eq!(
        part(&mut client, "q", 4),
        (vec![1, 2, 3, 4], "suspended".to_owned())
    );
    assert_eq!(part(&mut client, "q", 4), (vec![], "SELECT 0".to_owned()));
    assert_eq!(part(&mut client, "q", 0), (vec![], "SELECT 0".to_owned()));
    ask(&mut client, "COMMIT");
    nothing_is_left(cluster);
}

#[test]
fn portals_and_other_statements_take_turns_on_the_links() {
    let cluster = SHARED.cluster();
    table(cluster, "turns", 300);
    let mut client = through(cluster);
    ask(&mut client, "BEGIN");
    let ways = [
        ("up", "SELECT k FROM turns ORDER BY k"),
        ("down", "SELECT k FROM turns ORDER BY k DESC"),
        (
            "merged",
            "SELECT k, rank() OVER (ORDER BY k) FROM turns ORDER BY k",
        ),
        (
            "grouped",
            "SELECT k / 2, count(*) FROM turns GROUP BY 1 ORDER BY 1",
        ),
    ];
    for (portal, sql) in ways {
        let answer = open(&mut client, portal, sql, false);
        assert_eq!(sqlstate(&answer), None, "{answer:?}");
    }
    // Portals do not see what comes after them.
    ask(&mut client, "DELETE FROM turns WHERE k = 150");
    let mut seen: [Vec<u32>; 4] = Default::default();
    for round in 0..60 {
        for (at, (portal, _)) in ways.iter().enumerate() {
            seen[at].extend(part(&mut client, portal, 7).0);
        }
        let key = round * 5 + 1;
        let found = one(
            &mut client,
            &format!("SELECT filler FROM turns WHERE k = {key}"),
        );
        assert_eq!(found, "x");
        if round % 10 == 0 {
            assert_eq!(one(&mut client, "SELECT count(*) FROM turns"), "299");
            assert_eq!(
                one(&mut client, "SELECT sum(k) FROM turns WHERE k < 100"),
                "4950"
            );
        }
    }
    let up: Vec<u32> = (1..=300).collect();
    let down: Vec<u32> = (1..=300).rev().collect();
    let halves: Vec<u32> = (0..=150).collect();
    assert_eq!(seen, [up.clone(), down, up, halves]);
    // On this shard no portal of theirs is left when they are closed.
    let known = "SELECT count(*) FROM pg_cursors WHERE name LIKE 'pgweave_p%'";
    assert_ne!(one(&mut client, known), "0");
    let mut out = BytesMut::new();
    for (portal, _) in ways {
        encode::close(&mut out, b'P', portal.as_bytes());
    }
    encode::sync(&mut out);
    client.send(&out).unwrap();
    client.until_ready().unwrap();
    assert_eq!(one(&mut client, known), "0");
    ask(&mut client, "ROLLBACK");
    nothing_is_left(cluster);
}

#[test]
fn a_cursor_has_one_format_and_portals_theirs() {
    let cluster = SHARED.cluster();
    table(cluster, "formats", 30);
    let mut client = through(cluster);
    ask(&mut client, "BEGIN");
    open(&mut client, "b", "SELECT k FROM formats ORDER BY k", true);
    let answer = execute(&mut client, "b", 2);
    let first = answer.iter().find(|message| message.tag == b'D').unwrap();
    assert_eq!(first.body, [0, 1, 0, 0, 0, 4, 0, 0, 0, 1]);
    ask(
        &mut client,
        "DECLARE c CURSOR FOR SELECT k FROM formats ORDER BY k",
    );
    let answer = client.extended("FETCH 2 FROM c", &[], true).unwrap();
    let first = answer.iter().find(|message| message.tag == b'D').unwrap();
    assert_eq!(first.body, [0, 1, 0, 0, 0, 4, 0, 0, 0, 1]);
    // MOVE has none.
    ask(&mut client, "MOVE 3 FROM b");
    let answer = execute(&mut client, "b", 1);
    let next = answer.iter().find(|message| message.tag == b'D').unwrap();
    assert_eq!(next.body, [0, 1, 0, 0, 0, 4, 0, 0, 0, 6]);
    let answer = client.query("FETCH 2 FROM c").unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("0A000"), "{answer:?}");
    ask(&mut client, "ROLLBACK");
    // Values that are in the session already are not written again.
    ask(&mut client, "BEGIN");
    ask(
        &mut client,
        "DECLARE c CURSOR FOR SELECT k FROM formats ORDER BY k",
    );
    ask(&mut client, "FETCH 2 FROM c");
    ask(&mut client, "SET LOCAL datestyle = 'German'");
    let answer = client.query("FETCH 2 FROM c").unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("0A000"), "{answer:?}");
    ask(&mut client, "ROLLBACK");
    nothing_is_left(cluster);
}

#[test]
fn a_session_cannot_have_all_merge_connections() {
    let cluster = SHARED.cluster();
    table(cluster, "held", 30);
    let mut client = through(cluster);
    let sql = "SELECT k, rank() OVER (ORDER BY k) FROM held ORDER BY k";
    ask(&mut client, "BEGIN");
    for portal in ["a", "b", "c", "d"] {
        let answer = open(&mut client, portal, sql, false);
        assert_eq!(sqlstate(&answer), None, "{answer:?}");
    }
    ask(&mut client, "SAVEPOINT s");
    let answer = open(&mut client, "e", sql, false);
    let error = answer.iter().find(|message| message.tag == b'E').unwrap();
    assert_eq!(error.field(b'C').as_deref(), Some("53400"));
    assert!(error.field(b'H').unwrap().contains("Close one"));
    ask(&mut client, "ROLLBACK TO s");
    assert_eq!(
        part(&mut client, "d", 2),
        (vec![1, 2], "suspended".to_owned())
    );
    ask(&mut client, "CLOSE a");
    let answer = open(&mut client, "e", sql, false);
    assert_eq!(sqlstate(&answer), None, "{answer:?}");
    assert_eq!(part(&mut client, "e", 1), (vec![1], "suspended".to_owned()));
    ask(&mut client, "COMMIT");
    // Those that are held count as well, and are given back by CLOSE and at the end of the session.
    for cursor in ["a", "b", "c", "d"] {
        ask(
            &mut client,
            &format!("DECLARE {cursor} CURSOR WITH HOLD FOR {sql}"),
        );
    }
    let answer = client
        .query(&format!("DECLARE e CURSOR WITH HOLD FOR {sql}"))
        .unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("53400"));
    assert_eq!(ask(&mut client, "FETCH 2 FROM a").len(), 2);
    ask(&mut client, "CLOSE b");
    ask(
        &mut client,
        &format!("DECLARE e CURSOR WITH HOLD FOR {sql}"),
    );
    drop(client);
    nothing_is_left(cluster);
}

#[test]
fn an_error_or_a_cancel_in_the_middle_ends_the_block() {
    let cluster = SHARED.cluster();
    table(cluster, "middle", 400);
    let mut client = through(cluster);
    for sql in [
        "SELECT k, 1 / (k - 350) FROM middle ORDER BY k",
        "SELECT k, 1 / (k - 350), rank() OVER (ORDER BY k) FROM middle ORDER BY k",
    ] {
        ask(&mut client, "BEGIN");
        ask(&mut client, "SAVEPOINT s");
        open(&mut client, "p", sql, false);
        let mut answers = (0..400).map(|_| execute(&mut client, "p", 10));
        let failed = answers.find(|answer| sqlstate(answer).is_some()).unwrap();
        assert_eq!(sqlstate(&failed).as_deref(), Some("22012"), "{failed:?}");
        drop(answers);
        let answer = execute(&mut client, "p", 10);
        assert_eq!(sqlstate(&answer).as_deref(), Some("25P02"), "{answer:?}");
        let answer = client.query("SELECT count(*) FROM middle").unwrap();
        assert_eq!(sqlstate(&answer).as_deref(), Some("25P02"));
        ask(&mut client, "ROLLBACK TO s");
        let answer = execute(&mut client, "p", 10);
        assert_eq!(sqlstate(&answer).as_deref(), Some("34000"));
        ask(&mut client, "ROLLBACK");
        // All rows at once, and again in a later batch.
        ask(&mut client, "BEGIN");
        open(&mut client, "p", sql, false);
        let answer = execute(&mut client, "p", 0);
        assert_eq!(sqlstate(&answer).as_deref(), Some("22012"), "{answer:?}");
        let answer = execute(&mut client, "p", 0);
        assert_eq!(sqlstate(&answer).as_deref(), Some("25P02"), "{answer:?}");
        ask(&mut client, "ROLLBACK");
    }
    for sql in [
        "SELECT k, CASE WHEN k > 350 THEN pg_sleep(600)::text END FROM middle ORDER BY k",
        "SELECT k, CASE WHEN k > 350 THEN pg_sleep(600)::text END, rank() OVER (ORDER BY k) FROM middle ORDER BY k",
    ] {
        ask(&mut client, "BEGIN");
        ask(&mut client, &format!("DECLARE c CURSOR FOR {sql}"));
        let mut out = BytesMut::new();
        encode::query(&mut out, b"FETCH ALL FROM c");
        client.send(&out).unwrap();
        let mut servers: Vec<Client> = (0..3).map(|shard| direct(cluster, shard)).collect();
        let waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        while !servers
            .iter_mut()
            .any(|server| !ask(server, waiting).is_empty())
        {}
        cancel(&client);
        let answer = client.until_ready().unwrap();
        assert_eq!(sqlstate(&answer).as_deref(), Some("57014"), "{answer:?}");
        ask(&mut client, "ROLLBACK");
    }
    assert_eq!(one(&mut client, "SELECT count(*) FROM middle"), "400");
    nothing_is_left(cluster);
}

#[test]
fn a_shard_that_dies_between_parts_fails_the_block() {
    let cluster = SHARED.cluster();
    table(cluster, "dying", 300);
    let mut client = through(cluster);
    for sql in [
        "SELECT k FROM dying ORDER BY k",
        "SELECT k, rank() OVER (ORDER BY k) FROM dying ORDER BY k",
    ] {
        ask(&mut client, "BEGIN");
        open(&mut client, "p", sql, false);
        assert_eq!(part(&mut client, "p", 3).0, [1, 2, 3]);
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE '%dying%'";
        let killed: usize = (0..3)
            .map(|shard| ask(&mut direct(cluster, shard), kill).len())
            .sum();
        assert!(killed > 0);
        let mut answers = (0..300).map(|_| execute(&mut client, "p", 100));
        let failed = answers.find(|answer| sqlstate(answer).is_some()).unwrap();
        let code = sqlstate(&failed).unwrap();
        assert!(["57P01", "08006"].contains(&code.as_str()), "{failed:?}");
        assert_eq!(failed.last().unwrap().body, b"E");
        drop(answers);
        ask(&mut client, "ROLLBACK");
        assert_eq!(one(&mut client, "SELECT count(*) FROM dying"), "300");
    }
    nothing_is_left(cluster);
}

#[test]
fn a_client_that_leaves_leaves_nothing() {
    let cluster = SHARED.cluster();
    table(cluster, "left_open", 30);
    for end in ["COMMIT", "ROLLBACK", ""] {
        let mut client = through(cluster);
        ask(&mut client, "BEGIN");
        open(
            &mut client,
            "p",
            "SELECT k FROM left_open ORDER BY k",
            false,
        );
        part(&mut client, "p", 2);
        let sql = "SELECT k, rank() OVER (ORDER BY k) FROM left_open ORDER BY k";
        open(&mut client, "q", sql, false);
        ask(&mut client, &format!("DECLARE s SCROLL CURSOR FOR {sql}"));
        ask(&mut client, "FETCH LAST FROM s");
        if !end.is_empty() {
            ask(&mut client, end);
            let answer = client.query("FETCH s").unwrap();
            assert_eq!(sqlstate(&answer).as_deref(), Some("34000"));
        }
        drop(client);
        nothing_is_left(cluster);
    }
}
