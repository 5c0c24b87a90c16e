//! What the servers' statistics say of tables is read in the background, and EXPLAIN shows what is expected.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::client::{Client, ask, one};
use tests::cluster::Options;
use tests::shared::Shared;

static SHARED: Shared = Shared::new(|| Options {
    shards: 2,
    ..Options::default()
});

/// Longer than the router waits between two looks after an epoch.
const PATIENCE: Duration = Duration::from_secs(30);

const QUERY: &str =
    "SELECT count(*) OVER (), l.note, s.id FROM large l JOIN small s ON s.other = l.other";

fn plan(client: &mut Client, sql: &str) -> Value {
    let text: String = ask(client, &format!("EXPLAIN (FORMAT JSON) {sql}"))
        .into_iter()
        .filter_map(|mut row| row.remove(0))
        .collect();
    let value: Value = serde_json::from_str(&text).unwrap();
    value[0]["Plan"].clone()
}

/// Each table that is brought: its name, how many rows are expected, and whether it is narrowed.
fn brought(plan: &Value) -> Vec<(String, Option<u64>, bool)> {
    let nodes = plan["Plans"].as_array().unwrap().iter();
    nodes
        .filter(|node| node["Node Type"] == "Bring")
        .map(|node| {
            let name = node["Relation"].as_str().unwrap().to_owned();
            (
                name,
                node["Plan Rows"].as_u64(),
                !node["Narrowed By"].is_null(),
            )
        })
        .collect()
}

#[test]
fn statistics_decide_the_order_in_which_tables_are_brought() {
    let mut client = Client::connect(SHARED.cluster().router.address, &[]).unwrap();
    let create = "CREATE TABLE large (id int PRIMARY KEY, other int, note text); \
                  CREATE TABLE small (id int PRIMARY KEY, other int); \
                  CREATE TABLE kinds (id int PRIMARY KEY, title text);";
    for statement in create.split_inclusive(';') {
        ask(&mut client, statement);
    }
    ask(&mut client, "SELECT pgweave.shard_table('large', 'id')");
    ask(
        &mut client,
        "SELECT pgweave.shard_table('small', 'id', colocate_with => 'none')",
    );
    let rows = |table: &str, from: &str, count: u32| {
        format!("INSERT INTO {table} SELECT i, i % 100{from} FROM generate_series(1, {count}) i")
    };
    ask(&mut client, &rows("large", ", 'note'", 2000));
    ask(&mut client, &rows("small", "", 20));
    let unknown = brought(&plan(&mut client, QUERY));
    assert_eq!(
        unknown,
        [
            ("public.large".to_owned(), None, false),
            ("public.small".to_owned(), None, true)
        ]
    );
    ask(&mut client, "ANALYZE large");
    ask(&mut client, "ANALYZE small");
    // A new epoch, at which routers look anew.
    ask(&mut client, "SELECT pgweave.reference_table('kinds')");
    let started = Instant::now();
    let known = loop {
        let known = brought(&plan(&mut client, QUERY));
        if known.iter().all(|(_, rows, _)| rows.is_some()) {
            break known;
        }
        assert!(started.elapsed() < PATIENCE, "{known:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    // Of 100 different values 20 are asked for.
    assert_eq!(
        known,
        [
            ("public.small".to_owned(), Some(20), false),
            ("public.large".to_owned(), Some(400), true)
        ]
    );
    let lines = ask(&mut client, &format!("EXPLAIN {QUERY}"));
    let lines: Vec<String> = lines
        .into_iter()
        .filter_map(|mut row| row.remove(0))
        .collect();
    let small = lines
        .iter()
        .find(|line| line.contains("Bring public.small"))
        .unwrap();
    assert!(small.ends_with("(estimated rows=20 width=8)"), "{small}");
    let large = lines
        .iter()
        .find(|line| line.contains("Bring public.large"))
        .unwrap();
    assert!(large.ends_with("(estimated rows=400 width=13)"), "{large}");
    let counted = format!("SELECT count(*) FROM ({QUERY}) AS q");
    assert_eq!(one(&mut client, &counted), "400");
}
