//! pgweave answers as PostgreSQL does.
//!
//! `DIFFERENTIAL=joins,types cargo test -p tests --test differential` runs only the scripts with these words in their names;
//! `DIFFERENTIAL_SETTINGS=transactions.consistency=snapshot` runs them through a router that is configured so.

#![allow(
    clippy::unwrap_used,
    reason = "a step of a test that fails is the end of the test"
)]

use std::path::Path;

use router::local::{LocalServer, ServerOptions};
use tests::cluster::{Cluster, Options};
use tests::differential::script::Script;
use tests::differential::{Difference, Reason, Report, Sides, run, scripts};
use tests::endpoint::Endpoint;

async fn plain() -> LocalServer {
    let mut options = ServerOptions {
        durable: false,
        ..ServerOptions::default()
    };
    options.settings.set("max_connections", "200").unwrap();
    LocalServer::scratch(options).await.unwrap()
}

fn endpoint(server: &LocalServer) -> Endpoint {
    Endpoint::local(server.port(), "postgres")
}

fn chosen() -> Vec<Script> {
    let all = scripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sql")).unwrap();
    let Ok(words) = std::env::var("DIFFERENTIAL") else {
        return all;
    };
    let words: Vec<&str> = words.split(',').collect();
    let chosen = |script: &Script| words.iter().any(|word| script.name.contains(word));
    all.into_iter().filter(chosen).collect()
}

/// Statements that are known to be answered otherwise, as `script:line` with the reason behind it. An entry that is not
/// needed any more fails the test, so that the list stays true.
const KNOWN: &str = include_str!("../sql/known_differences.txt");

fn without_unknown_differences(report: &Report) {
    let known: Vec<&str> = KNOWN
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let place = |difference: &Difference| format!("{}:{}", difference.script, difference.line);
    let found: Vec<String> = report.differences.iter().map(place).collect();
    let mut unknown = report.clone();
    unknown
        .differences
        .retain(|difference| !known.contains(&place(difference).as_str()));
    without_differences(&unknown);
    if std::env::var("DIFFERENTIAL").is_err() {
        let stale: Vec<&&str> = known
            .iter()
            .filter(|entry| !found.iter().any(|place| place == **entry))
            .collect();
        assert!(stale.is_empty(), "no difference any more: {stale:?}");
    }
}

fn without_differences(report: &Report) {
    println!("{report}");
    assert!(report.differences.is_empty(), "{report}");
    assert!(report.compared > 0);
}

#[tokio::test]
async fn pgweave_answers_as_postgresql_does() {
    let settings = std::env::var("DIFFERENTIAL_SETTINGS").unwrap_or_default();
    let options = Options {
        settings: settings.split_whitespace().map(str::to_owned).collect(),
        ..Options::default()
    };
    let (server, cluster) = tokio::join!(plain(), Cluster::start(options));
    let cluster = cluster.unwrap();
    let sides = Sides {
        postgres: endpoint(&server),
        pgweave: Endpoint::local(cluster.router.address.port(), "postgres"),
        stand_in: false,
    };
    let report = tokio::task::spawn_blocking(move || run(&sides, &chosen()))
        .await
        .unwrap();
    without_unknown_differences(&report);
    cluster.stop().await.unwrap();
}

/// Reading all shards by one view changes nothing where nobody else is at work.
#[tokio::test]
async fn by_snapshots_too() {
    let options = Options {
        settings: vec!["transactions.consistency=snapshot".to_owned()],
        ..Options::default()
    };
    let (server, cluster) = tokio::join!(plain(), Cluster::start(options));
    let cluster = cluster.unwrap();
    let sides = Sides {
        postgres: endpoint(&server),
        pgweave: Endpoint::local(cluster.router.address.port(), "postgres"),
        stand_in: false,
    };
    let words = [
        "savepoints",
        "scatter",
        "shard_select",
        "shard_with",
        "shard_writes",
    ];
    let mut chosen = chosen();
    chosen.retain(|script| words.contains(&script.name.as_str()));
    let report = tokio::task::spawn_blocking(move || run(&sides, &chosen))
        .await
        .unwrap();
    without_differences(&report);
    cluster.stop().await.unwrap();
}

/// Scripts that depend on chance would differ here too, and so would a comparison of what must differ.
#[tokio::test]
async fn postgresql_answers_as_postgresql_does() {
    let (one, other) = tokio::join!(plain(), plain());
    let sides = Sides {
        postgres: endpoint(&one),
        pgweave: endpoint(&other),
        stand_in: true,
    };
    let report = tokio::task::spawn_blocking(move || run(&sides, &chosen()))
        .await
        .unwrap();
    without_differences(&report);
}

/// A comparison that sees nothing would pass everything.
#[tokio::test]
async fn differences_are_seen() {
    let server = plain().await;
    let client = server.connect("postgres").await.unwrap();
    client.batch_execute("CREATE DATABASE other").await.unwrap();
    let sides = Sides {
        postgres: endpoint(&server),
        pgweave: Endpoint::local(server.port(), "other"),
        stand_in: false,
    };
    // (what only the second side gets, what both get, how many modes see it)
    let cases = [
        ("SELECT 1", "SELECT 1;", 0),
        ("CREATE TABLE t AS SELECT 1 AS a", "SELECT * FROM t;", 3),
        ("CREATE TEMP TABLE pg_class AS SELECT 1", "SELECT 1;", 0),
        ("SET bytea_output = escape", "SELECT '\\x00'::bytea;", 2),
        ("SET search_path = nowhere", "CREATE TABLE t (a int);", 3),
        ("SET standard_conforming_strings = off", "SELECT 1;", 0),
        (
            "SET standard_conforming_strings = off",
            "SET standard_conforming_strings = on;",
            3,
        ),
        (
            "SET client_min_messages = error",
            "DO $$ BEGIN RAISE NOTICE 'n'; END $$;",
            3,
        ),
        ("BEGIN", "SELECT 1;", 3),
        (
            "SET IntervalStyle = iso_8601",
            "SELECT '1 day'::interval;",
            2,
        ),
        (
            "CREATE FUNCTION now2() RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
            "SELECT now2();",
            3,
        ),
    ];
    for (number, (setup, sql, seen)) in cases.into_iter().enumerate() {
        let text = format!("-- setup pgweave: {setup}\n{sql}\n");
        let script = Script::parse(&format!("case{number}"), &text).unwrap();
        let sides = sides.clone();
        let report = tokio::task::spawn_blocking(move || run(&sides, &[script]))
            .await
            .unwrap();
        assert_eq!(report.differences.len(), seen, "{setup} / {sql}: {report}");
    }
}

#[tokio::test]
async fn refusals_must_be_as_the_script_expects() {
    let server = plain().await;
    let client = server.connect("postgres").await.unwrap();
    client.batch_execute("CREATE DATABASE other").await.unwrap();
    let sides = Sides {
        postgres: endpoint(&server),
        pgweave: Endpoint::local(server.port(), "other"),
        stand_in: false,
    };
    let refuse = "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE '0A000'; END $$";
    let accept = "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'";
    let play = async |name: &str, text: &str| {
        let script = Script::parse(name, text).unwrap();
        let sides = sides.clone();
        tokio::task::spawn_blocking(move || run(&sides, &[script]))
            .await
            .unwrap()
    };
    let expected = format!(
        "-- setup pgweave: {refuse}\nBEGIN;\n-- expect-refusal 0A000\nSELECT f();\nSELECT 1;\nROLLBACK;\nSELECT 2;"
    );
    let report = play("expected", &expected).await;
    assert_eq!(
        (report.refused, report.differences.len()),
        (3, 0),
        "{report}"
    );
    let stale = format!("-- setup pgweave: {accept}\n-- expect-refusal 0A000\nSELECT f();");
    let report = play("stale", &stale).await;
    assert!(
        matches!(&report.differences[..], [one, ..] if matches!(one.reason, Reason::NotRefused(_))),
        "{report}"
    );
    let unexpected = format!(
        "{accept};\n-- setup pgweave: DROP FUNCTION f\n-- setup pgweave: {refuse}\nSELECT f();"
    );
    let report = play("unexpected", &unexpected).await;
    assert!(
        matches!(&report.differences[..], [one, ..] if matches!(one.reason, Reason::Refused(_))),
        "{report}"
    );
}
