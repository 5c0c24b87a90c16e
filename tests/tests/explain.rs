//! EXPLAIN of queries over several shards: its tree in every format, and what ANALYZE measures.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use serde_json::Value;
use tests::client::{Client, ask, rows, sqlstate};
use tests::cluster::Options;
use tests::shared::Shared;

static SHARED: Shared = Shared::new(|| Options {
    shards: 2,
    ..Options::default()
});

/// Keys from 1 to 100, on both shards; a reference table.
const SETUP: &str = "
    CREATE TABLE NAME (k int PRIMARY KEY, note text COLLATE \"C\", price numeric);
    SELECT pgweave.shard_table('NAME', 'k');
    CREATE TABLE NAME_kinds (id int PRIMARY KEY, title text);
    SELECT pgweave.reference_table('NAME_kinds');";

#[track_caller]
fn lines(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = ask(client, sql);
    rows.into_iter()
        .filter_map(|mut row| row.remove(0))
        .collect()
}

#[track_caller]
fn json(client: &mut Client, sql: &str) -> Value {
    let lines = lines(client, sql);
    let value: Value = serde_json::from_str(&lines.concat()).unwrap();
    value[0].clone()
}

/// A session with a sharded table of this name.
fn with_table(name: &str) -> Client {
    let mut client = Client::connect(SHARED.cluster().router.address, &[]).unwrap();
    for statement in SETUP.split_inclusive(';') {
        ask(&mut client, &statement.replace("NAME", name));
    }
    for key in 1..=100 {
        let sql = format!("INSERT INTO {name} VALUES ({key}, 'n{key}', {key}.5)");
        ask(&mut client, &sql);
    }
    client
}

/// All nodes of this type below a node, itself included.
fn nodes<'v>(node: &'v Value, kind: &str) -> Vec<&'v Value> {
    let mut found = Vec::new();
    if node["Node Type"] == kind {
        found.push(node);
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        found.extend(nodes(child, kind));
    }
    found
}

fn sum(nodes: &[&Value], field: &str) -> u64 {
    nodes.iter().map(|node| node[field].as_u64().unwrap()).sum()
}

#[test]
fn the_tree_names_shards_and_what_they_are_asked() {
    let mut client = with_table("trees");
    let shown = lines(
        &mut client,
        "EXPLAIN SELECT k FROM trees ORDER BY price LIMIT 3",
    );
    assert_eq!(
        shown,
        [
            "Without the first 1 columns",
            "└─ Limit 3",
            "   └─ Merge by column 1",
            "      └─ Scatter: 2 shards",
            "         ├─ Shard s1: SELECT price AS pgweave_1, k FROM trees ORDER BY price LIMIT 3",
            "         └─ Shard s2: SELECT price AS pgweave_1, k FROM trees ORDER BY price LIMIT 3",
        ]
    );
    let shown = lines(
        &mut client,
        "EXPLAIN SELECT k % 3, avg(price) + 1 FROM trees GROUP BY 1",
    );
    assert!(shown[0].starts_with("Combine on s"), "{shown:?}");
    assert_eq!(shown[1], "└─ Scatter: 2 shards");
    let shown = lines(
        &mut client,
        "EXPLAIN SELECT rank() OVER (ORDER BY title) FROM trees JOIN trees_kinds ON id = k WHERE price > 5",
    );
    assert!(shown[0].starts_with("Gather on s"), "{shown:?}");
    assert!(shown[0].contains("FROM pg_temp.pgweave_1"), "{shown:?}");
    assert_eq!(
        shown[1],
        "├─ Bring public.trees as pgweave_1 (k, price) where (price > 5)"
    );
    let asked =
        "│  ├─ Shard s1: SELECT \"k\", \"price\" FROM \"public\".\"trees\" AS \"trees\" WHERE";
    assert!(shown[2].starts_with(asked), "{shown:?}");
    assert_eq!(shown[4], "└─ Read in place: public.trees_kinds");
}

#[test]
fn keys_of_several_shards_are_explained_as_they_run() {
    let mut client = with_table("keys");
    let all: Vec<String> = (1..=100).map(|key| key.to_string()).collect();
    let sql = format!(
        "EXPLAIN (ANALYZE, FORMAT JSON) SELECT k FROM keys WHERE k IN ({})",
        all.join(", ")
    );
    let shown = json(&mut client, &sql);
    assert_eq!(shown["Route"], "Scatter");
    assert_eq!(shown["Plan"]["Actual Rows"], 100);
    let shown = json(
        &mut client,
        "EXPLAIN (FORMAT JSON) SELECT k FROM keys WHERE k = 5",
    );
    assert_eq!(shown["Route"], "Single");
    assert!(shown["Shard"].as_str().unwrap().starts_with('s'));
    assert!(shown["Plan"]["Node Type"].is_string(), "{shown}");
}

#[test]
fn analyze_measures_every_rung() {
    let mut client = with_table("measured");
    let prefix = "EXPLAIN (ANALYZE, FORMAT JSON) ";
    for (sql, route, rows, moved) in [
        ("SELECT k FROM measured ORDER BY k", "Scatter", 100, 100),
        ("SELECT k FROM measured WHERE price > 90", "Scatter", 11, 11),
        (
            "SELECT note FROM measured ORDER BY note LIMIT 7",
            "Scatter",
            7,
            14,
        ),
        ("SELECT count(*) FROM measured", "Scatter", 1, 2),
        (
            "SELECT k, now() FROM measured WHERE k < date_part('year', now()) ORDER BY k",
            "Scatter",
            100,
            100,
        ),
        (
            "SELECT now(), avg(price) + 1 FROM measured WHERE now() IS NOT NULL",
            "Combine",
            1,
            2,
        ),
        (
            "SELECT k % 3, avg(price) + 1 FROM measured GROUP BY 1",
            "Combine",
            3,
            6,
        ),
        (
            "SELECT k, rank() OVER (ORDER BY price) FROM measured WHERE k <= 40",
            "Gather",
            40,
            40,
        ),
    ] {
        let shown = json(&mut client, &format!("{prefix}{sql}"));
        assert_eq!(shown["Route"], route, "{sql}: {shown}");
        let plan = &shown["Plan"];
        assert_eq!(plan["Actual Rows"], rows, "{sql}: {shown}");
        let shards = nodes(plan, "Shard");
        assert_eq!(shards.len(), 2, "{sql}: {shown}");
        assert_eq!(sum(&shards, "Actual Rows"), moved, "{sql}: {shown}");
        assert!(sum(&shards, "Actual Bytes") >= 4 * moved, "{sql}: {shown}");
        for shard in &shards {
            assert!(shard["Plan Rows"].is_u64(), "{sql}: {shown}");
            let total = plan["Actual Total Time"].as_f64().unwrap();
            assert!(
                shard["Actual Total Time"].as_f64().unwrap() <= total,
                "{sql}: {shown}"
            );
        }
        assert!(shown["Execution Time"].is_f64(), "{sql}: {shown}");
        // The session goes on as before.
        assert_eq!(
            ask(&mut client, "SELECT k FROM measured WHERE k = 1").len(),
            1
        );
    }
}

#[test]
fn verbose_shows_the_shards_own_plans() {
    let mut client = with_table("own");
    let shown = lines(
        &mut client,
        "EXPLAIN (VERBOSE, COSTS OFF) SELECT k FROM own WHERE note = 'x'",
    );
    let scans = shown
        .iter()
        .filter(|line| line.contains("Seq Scan on public.own"));
    assert_eq!(scans.count(), 2, "{shown:?}");
    assert!(
        !shown.iter().any(|line| line.contains("cost=")),
        "{shown:?}"
    );
    let shown = json(
        &mut client,
        "EXPLAIN (VERBOSE, FORMAT JSON) SELECT k FROM own WHERE note = 'x'",
    );
    assert_eq!(nodes(&shown["Plan"], "Seq Scan").len(), 2, "{shown}");
    for format in ["YAML", "XML"] {
        let sql = format!("EXPLAIN (VERBOSE, FORMAT {format}) SELECT k FROM own");
        let shown = lines(&mut client, &sql).concat();
        assert!(shown.contains("Seq Scan"), "{shown}");
        let sql = format!("EXPLAIN (FORMAT {format}) SELECT k FROM own WHERE k = 1");
        let shown = lines(&mut client, &sql).concat();
        assert!(shown.contains("Route"), "{shown}");
    }
    let answer = client
        .query("EXPLAIN (NONSENSE) SELECT k FROM own")
        .unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("42601"));
}

#[test]
fn within_a_block_what_it_has_written_is_measured() {
    let mut client = with_table("written");
    ask(&mut client, "BEGIN");
    ask(&mut client, "DELETE FROM written WHERE k = 1");
    for sql in [
        "SELECT k FROM written",
        "SELECT k, rank() OVER (ORDER BY note) FROM written",
    ] {
        let shown = json(
            &mut client,
            &format!("EXPLAIN (ANALYZE, FORMAT JSON) {sql}"),
        );
        assert_eq!(shown["Plan"]["Actual Rows"], 99, "{shown}");
    }
    ask(&mut client, "ROLLBACK");
    assert_eq!(ask(&mut client, "SELECT k FROM written").len(), 100);
}

#[test]
fn errors_of_a_measured_query_reach_the_client_and_nothing_else_does() {
    let mut client = with_table("failing");
    let answer = client
        .query("EXPLAIN ANALYZE SELECT 1 / (k - 50) FROM failing")
        .unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("22012"), "{answer:?}");
    assert!(
        !answer.iter().any(|message| message.tag == b'D'),
        "{answer:?}"
    );
    let answer = client.query("EXPLAIN ANALYZE SELECT nothing FROM failing");
    let answer = answer.unwrap();
    let error = answer.iter().find(|message| message.tag == b'E').unwrap();
    assert_eq!(error.field(b'C').as_deref(), Some("42703"));
    assert_eq!(error.field(b'P').as_deref(), Some("24"), "{answer:?}");
    assert_eq!(ask(&mut client, "SELECT k FROM failing").len(), 100);
}

#[test]
fn the_extended_protocol_explains_too() {
    let mut client = with_table("extended");
    let answer = client
        .extended(
            "EXPLAIN (ANALYZE, FORMAT JSON) SELECT k FROM extended",
            &[],
            false,
        )
        .unwrap();
    assert_eq!(sqlstate(&answer), None, "{answer:?}");
    let shown = rows(&answer)[0][0].clone().unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown[0]["Plan"]["Actual Rows"], 100);
    let answer = client
        .extended(
            "EXPLAIN SELECT k FROM extended LIMIT $1",
            &[Some(b"1")],
            false,
        )
        .unwrap();
    assert_eq!(sqlstate(&answer), None, "{answer:?}");
    // With values it is measured as well: by each rung, rows in text and in binary.
    for (sql, value, returned) in [
        (
            "SELECT k FROM extended WHERE k > $1::int ORDER BY k",
            "40",
            60,
        ),
        ("SELECT avg(price) FROM extended WHERE k > $1::int", "40", 1),
        (
            "SELECT k, rank() OVER (ORDER BY price) FROM extended WHERE k > $1",
            "40",
            60,
        ),
        ("SELECT k FROM extended ORDER BY k LIMIT $1", "7", 7),
    ] {
        for binary in [false, true] {
            let explain = format!("EXPLAIN (ANALYZE, FORMAT JSON) {sql}");
            let answer = client
                .extended(&explain, &[Some(value.as_bytes())], binary)
                .unwrap();
            assert_eq!(sqlstate(&answer), None, "{sql}: {answer:?}");
            let shown = rows(&answer)[0][0].clone().unwrap();
            let shown: Value = serde_json::from_str(&shown).unwrap();
            assert_eq!(shown[0]["Plan"]["Actual Rows"], returned, "{sql}: {shown}");
            let shards = nodes(&shown[0]["Plan"], "Shard");
            assert_eq!(shards.len(), 2, "{sql}: {shown}");
            let measured = shards.iter().all(|shard| shard["Actual Bytes"].is_u64());
            assert!(measured, "{sql}: {shown}");
        }
    }
    // The session goes on as before.
    assert_eq!(
        tests::client::one(&mut client, "SELECT count(*) FROM extended"),
        "100"
    );
}

#[test]
fn a_join_off_the_key_brings_what_can_match() {
    let mut client = with_table("narrow");
    for statement in [
        "CREATE TABLE narrow_notes (note text PRIMARY KEY, k bigint)",
        "SELECT pgweave.shard_table('narrow_notes', 'note')",
    ] {
        ask(&mut client, statement);
    }
    for key in 1..=100 {
        ask(
            &mut client,
            &format!("INSERT INTO narrow_notes VALUES ('{key}', {key})"),
        );
    }
    let sql = "SELECT price FROM narrow JOIN narrow_notes AS n ON narrow.k = n.k WHERE n.note IN ('7', '8')";
    let asked = |client: &mut Client, sql: &str| {
        let tree = json(client, &format!("EXPLAIN (ANALYZE, FORMAT JSON) {sql}"));
        let mut all = Vec::new();
        for bring in nodes(&tree["Plan"], "Bring") {
            let name = bring["Relation"].as_str().unwrap().to_owned();
            all.push((name, sum(&nodes(bring, "Shard"), "Actual Rows")));
        }
        all
    };
    assert_eq!(
        asked(&mut client, sql),
        [
            ("public.narrow_notes".to_owned(), 2),
            ("public.narrow".to_owned(), 2),
        ]
    );
    // Rows that find nothing are shown as well: all are needed.
    let outer = sql.replace("JOIN", "FULL JOIN").replace("WHERE", "AND");
    assert_eq!(
        asked(&mut client, &outer),
        [
            ("public.narrow".to_owned(), 100),
            ("public.narrow_notes".to_owned(), 100),
        ]
    );
    let shown = lines(&mut client, &format!("EXPLAIN {sql}"));
    let narrowed = "with k in pgweave_1.k, if those are few, on the shards of these keys";
    assert!(
        shown.iter().any(|line| line.contains(narrowed)),
        "{shown:?}"
    );
}

#[test]
fn queries_are_finished_where_the_configuration_says() {
    let _ = with_table("finished");
    let options = Options {
        settings: vec!["gather.servers=[\"s2\"]".to_owned()],
        ..Options::default()
    };
    let router = SHARED.cluster().another_router(&options).unwrap();
    for _ in 0..4 {
        let mut client = Client::connect(router.address, &[]).unwrap();
        for sql in [
            "SELECT rank() OVER (ORDER BY price) FROM finished",
            "SELECT avg(price) FROM finished",
        ] {
            let shown = lines(&mut client, &format!("EXPLAIN {sql}"));
            assert!(shown[0].contains(" on s2: "), "{shown:?}");
        }
        let port = SHARED.cluster().local.shards()[1].primary.port();
        let sql = "SELECT inet_server_port() FROM (SELECT price FROM finished LIMIT 1) AS one";
        assert_eq!(lines(&mut client, sql), [port.to_string()]);
    }
}
