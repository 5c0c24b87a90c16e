//! What becomes of transactions over several shards, as operators and clients are told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use std::time::{Duration, Instant};

use tests::client::{ask, one, sqlstate};
use tests::cluster::{Cluster, Options};
use tests::several::{direct, table, through};
use tests::shared::Shared;

static SHARED: Shared = Shared::new(|| Options {
    settings: vec!["transactions.in_doubt_warning_ms=1".to_owned()],
    ..Options::default()
});

fn cluster() -> &'static Cluster {
    SHARED.cluster()
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

fn status(gid: &str) -> String {
    one(
        &mut through(cluster()),
        &format!("SELECT pgweave.transaction_status('{gid}')"),
    )
}

/// Prepares something on the second shard under a name that the first would decide.
fn prepare(sequence: u32) -> String {
    let mut home = direct(cluster(), 0);
    let id = one(
        &mut home,
        "SELECT replace(id::text, '-', '') FROM pgweave.cluster",
    );
    let gid = format!(
        "pgweave_{id}_00000000000000aa_{sequence:x}_{}_1",
        "ab".repeat(16)
    );
    let mut server = direct(cluster(), 1);
    ask(&mut server, "BEGIN");
    ask(&mut server, &format!("CREATE TABLE left_{sequence} ()"));
    ask(&mut server, &format!("PREPARE TRANSACTION '{gid}_2'"));
    gid
}

#[test]
fn open_transactions_are_shown() {
    let keys = keys("shown");
    let mut client = through(cluster());
    ask(&mut client, "BEGIN");
    for key in &keys {
        ask(
            &mut client,
            &format!("UPDATE shown SET filler = 'y' WHERE k = {key}"),
        );
    }
    let mut other = through(cluster());
    let rows = ask(&mut other, "SHOW pgweave.transactions");
    let pid = client.process_id.to_string();
    let row = rows
        .iter()
        .find(|row| row[0].as_ref() == Some(&pid))
        .unwrap();
    assert_eq!(row[5].as_deref(), Some("s1, s2"));
    assert_eq!(row[6].as_deref(), Some("idle in transaction"));
    assert!(row[3].as_ref().unwrap().ends_with('Z'));
    ask(&mut client, "COMMIT");
    let rows = ask(&mut other, "SHOW TRANSACTIONS");
    assert!(!rows.iter().any(|row| row[0].as_ref() == Some(&pid)));
}

#[test]
fn a_committed_transaction_is_known_by_its_name() {
    let keys = keys("known");
    let mut client = through(cluster());
    ask(&mut client, "BEGIN");
    for key in &keys {
        ask(
            &mut client,
            &format!("UPDATE known SET filler = 'y' WHERE k = {key}"),
        );
    }
    ask(&mut client, "COMMIT");
    let gid = one(
        &mut direct(cluster(), 0),
        "SELECT max(gid) FROM pgweave.decision WHERE outcome = 'commit'",
    );
    assert_eq!(status(&gid), "committed");
    // By the name of one of its prepared transactions too.
    assert_eq!(status(&format!("{gid}_2")), "committed");
    let never = gid.replace("_1", "_2");
    assert_eq!(status(&never), "unknown");
    let answer = client
        .query("SELECT pgweave.transaction_status('nonsense')")
        .unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("22023"));
}

#[test]
fn what_is_prepared_is_in_doubt_until_recovery_has_been_there() {
    let gid = prepare(1);
    assert_eq!(status(&gid), "in progress");
    let mut client = through(cluster());
    let rows = ask(&mut client, "SHOW pgweave.in_doubt");
    let row = rows
        .iter()
        .find(|row| row[0].as_ref() == Some(&gid))
        .unwrap();
    assert_eq!(row[1].as_deref(), Some("s2"));
    assert_eq!(row[2].as_deref(), Some("postgres"));
    assert_eq!(row[4].as_deref(), Some("s1"));
    assert_eq!((&row[5], &row[6]), (&None, &None));
    // Recovery decides after its grace.
    let deadline = Instant::now() + Duration::from_secs(30);
    while status(&gid) != "aborted" {
        assert!(Instant::now() < deadline);
    }
    while !ask(&mut client, "SHOW pgweave.in_doubt").is_empty() {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn the_command_line_finishes_what_it_may() {
    let home = cluster().local.shards()[0].primary.port();
    let file = cluster().local.directory().join("txn.toml");
    let toml = format!(
        "[catalog]\nhost = \"127.0.0.1\"\nport = {home}\ndbname = \"postgres\"\nuser = \"postgres\"\n"
    );
    std::fs::write(&file, toml).unwrap();
    let binary = tests::router_process::binary().unwrap();
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(&binary)
            .arg("txn")
            .arg("--config")
            .arg(&file)
            .args(arguments)
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let gid = prepare(2);
    let (good, text) = run(&["list"]);
    assert!(good && text.contains(&gid), "{text}");
    let (good, text) = run(&["show", &gid]);
    assert!(
        good && text.contains("in progress") && text.contains("s2"),
        "{text}"
    );
    let (good, text) = run(&["resolve", &gid, "--commit"]);
    assert!(!good && text.contains("nothing is decided"), "{text}");
    let (good, text) = run(&["resolve", &gid, "--abort"]);
    assert!(good && text.contains("rolled back"), "{text}");
    assert_eq!(status(&gid), "aborted");
    let (good, text) = run(&["resolve", &gid, "--commit"]);
    assert!(!good && text.contains("it is rolled back"), "{text}");
    let (good, text) = run(&["show", "nonsense"]);
    assert!(!good && text.contains("not the name"), "{text}");
}
