//! Queries over several shards: limits, cancels, servers that die, and what they leave behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use std::net::SocketAddr;

use bytes::BytesMut;
use router::wire::encode;
use tests::client::{Client, ask, one, rows, sqlstate};
use tests::cluster::{Cluster, Options};
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

fn through(cluster: &Cluster) -> Client {
    Client::connect(cluster.router.address, &[]).unwrap()
}

fn direct(cluster: &Cluster, shard: usize) -> Client {
    let port = cluster.local.shards()[shard].primary.port();
    Client::connect(SocketAddr::from(([127, 0, 0, 1], port)), &[]).unwrap()
}

/// A sharded table with as many rows as there are numbers, each shard's put there directly.
fn table(cluster: &Cluster, name: &str, numbers: u32) {
    let mut client = through(cluster);
    ask(
        &mut client,
        &format!("CREATE TABLE {name} (k int PRIMARY KEY, filler text)"),
    );
    ask(
        &mut client,
        &format!("SELECT pgweave.shard_table('{name}', 'k')"),
    );
    for shard in 0..cluster.local.shards().len() {
        let mut server = direct(cluster, shard);
        // The guard tells whose row it is.
        ask(
            &mut server,
            &format!(
                "DO $$ DECLARE n int; BEGIN FOR n IN 1..{numbers} LOOP \
                   BEGIN INSERT INTO {name} VALUES (n, 'x'); EXCEPTION WHEN check_violation THEN NULL; END; \
                 END LOOP; END $$"
            ),
        );
    }
}

/// The number of rows: by rows that are combined, by rows that are merged, by partial results, and by rows on one server.
const EACH_WAY: [&str; 4] = [
    "SELECT count(*) FROM rows",
    "SELECT k FROM rows ORDER BY k DESC LIMIT 1",
    "SELECT count(*) + 0 FROM rows",
    "SELECT count(*) FROM (SELECT k FROM rows LIMIT 1000) AS all_of_them",
];

/// What gathers leave on the servers: nothing.
fn nothing_is_left(cluster: &Cluster) {
    for shard in 0..cluster.local.shards().len() {
        let mut server = direct(cluster, shard);
        let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'pgweave\\_%' AND relpersistence = 't'";
        let busy = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
        // Other tests gather at the same time, and end.
        for sql in [left, busy] {
            while one(&mut server, sql) != "0" {}
        }
        assert_eq!(
            one(&mut server, "SELECT count(*) FROM pg_prepared_xacts"),
            "0"
        );
    }
}

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
fn the_first_rows_can_be_asked_for_but_not_the_next() {
    let cluster = SHARED.cluster();
    table(cluster, "parts", 20);
    let mut client = through(cluster);
    let mut out = BytesMut::new();
    encode::parse(&mut out, b"", b"SELECT k FROM parts ORDER BY k", &[]);
    tests::client::bind(&mut out, "p", "", &[], false);
    encode::execute(&mut out, b"p", 2);
    encode::execute(&mut out, b"p", 2);
    encode::sync(&mut out);
    client.send(&out).unwrap();
    let answer = client.until_ready().unwrap();
    assert_eq!(
        rows(&answer),
        [[Some("1".to_owned())], [Some("2".to_owned())]]
    );
    assert!(answer.iter().any(|message| message.tag == b's'));
    assert_eq!(sqlstate(&answer).as_deref(), Some("0A000"));
    assert_eq!(one(&mut client, "SELECT count(*) FROM parts"), "20");
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
