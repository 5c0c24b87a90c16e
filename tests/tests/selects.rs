//! Queries over tables that are the same for all scripts of a folder: `tests/sql/chapters`, one script for each chapter of
//! PostgreSQL's documentation, `tests/sql/tpch` and `tests/sql/ch` (CH-benCHmark). `tables.sql` in each says what the tables are and how they are placed.
//!
//! `DIFFERENTIAL=json cargo test -p tests --test selects` runs only the scripts with this word in their names.

#![allow(
    clippy::unwrap_used,
    reason = "a step of a test that fails is the end of the test"
)]

use std::path::Path;

use router::local::{LocalServer, ServerOptions};
use tests::cluster::{Cluster, Options};
use tests::differential::script::Script;
use tests::differential::{Sides, run, scripts};
use tests::endpoint::Endpoint;
use tests::load::load;
use tests::tpch;

async fn folder(name: &str) {
    let server_options = ServerOptions {
        durable: false,
        ..ServerOptions::default()
    };
    let options = Options {
        shards: 3,
        // Few rows and many take different ways: here few are many.
        settings: vec!["gather.max_inline_bytes=300".to_owned()],
        ..Options::default()
    };
    let (server, cluster) = tokio::join!(
        LocalServer::scratch(server_options),
        Cluster::start(options)
    );
    let (server, cluster) = (server.unwrap(), cluster.unwrap());
    let local = |port| Endpoint::local(port, "postgres");
    let sides = Sides {
        postgres: local(server.port()),
        pgweave: local(cluster.router.address.port()),
        stand_in: false,
    };
    let shards = cluster.local.shards().iter();
    let shards: Vec<Endpoint> = shards.map(|shard| local(shard.primary.port())).collect();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql").join(name);
    let (tables, mut queries): (Vec<Script>, Vec<Script>) = scripts(&directory)
        .unwrap()
        .into_iter()
        .partition(|script| script.name == "tables");
    for mut script in tables {
        if name == "tpch" {
            script = tpch::tables(0.001).unwrap();
        }
        load(&sides, &shards, &script).unwrap();
    }
    if let Ok(words) = std::env::var("DIFFERENTIAL") {
        queries.retain(|script| words.split(',').any(|word| script.name.contains(word)));
    }
    let report = run(&sides, &queries);
    println!("{report}");
    assert!(report.differences.is_empty(), "the answers above differ");
    assert!(report.compared > 0);
}

#[tokio::test]
async fn the_chapters_of_the_documentation() {
    folder("chapters").await;
}

#[tokio::test]
async fn tpc_h() {
    folder("tpch").await;
}

#[tokio::test]
async fn ch_benchmark() {
    folder("ch").await;
}
