//! COPY TO STDOUT of rows of several shards: clients that read slowly, cancel, and shards that fail in the middle.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use bytes::BytesMut;
use router::wire::encode;
use tests::client::{Client, ask, one, sqlstate};
use tests::cluster::Options;
use tests::several::{direct, nothing_is_left, table, through};
use tests::shared::Shared;

static SHARED: Shared = Shared::new(|| Options {
    shards: 3,
    ..Options::default()
});

const EACH_WAY: [&str; 3] = [
    "COPY rows TO STDOUT",
    "COPY (SELECT k, filler FROM rows ORDER BY k) TO STDOUT",
    "COPY (SELECT k, filler FROM (SELECT * FROM rows LIMIT 100000) AS some_rows) TO STDOUT",
];

#[test]
fn all_rows_come_by_either_protocol() {
    let cluster = SHARED.cluster();
    table(cluster, "many", 3000);
    let mut client = through(cluster);
    for sql in EACH_WAY {
        let sql = sql
            .replace("rows", "many")
            .replace("some_many", "some_rows");
        for answer in [client.query(&sql), client.extended(&sql, &[], false)] {
            let answer = answer.unwrap();
            let tags: Vec<u8> = answer.iter().map(|message| message.tag).collect();
            let data = tags.iter().filter(|tag| **tag == b'd').count();
            assert_eq!(data, 3000, "{sql}");
            let framed: Vec<u8> = tags
                .into_iter()
                .filter(|tag| b"HcCEZ".contains(tag))
                .collect();
            assert_eq!(framed, b"HcCZ", "{sql}");
            let mut keys: Vec<u32> = answer
                .iter()
                .filter(|message| message.tag == b'd')
                .map(|message| {
                    let line = std::str::from_utf8(&message.body).unwrap();
                    line.split('\t').next().unwrap().parse().unwrap()
                })
                .collect();
            keys.sort_unstable();
            assert_eq!(keys, (1..=3000).collect::<Vec<u32>>(), "{sql}");
        }
    }
    nothing_is_left(cluster);
}

#[test]
fn a_failure_of_one_shard_ends_the_stream() {
    let cluster = SHARED.cluster();
    table(cluster, "failing", 300);
    let last = one(&mut direct(cluster, 1), "SELECT max(k) FROM failing");
    let mut client = through(cluster);
    for order in ["", " ORDER BY k"] {
        let sql = format!("COPY (SELECT k, 1 / (k - {last}) FROM failing{order}) TO STDOUT");
        let answer = client.query(&sql).unwrap();
        assert_eq!(
            sqlstate(&answer).as_deref(),
            Some("22012"),
            "{sql}: {answer:?}"
        );
        assert!(!answer.iter().any(|message| message.tag == b'C'), "{sql}");
        assert_eq!(one(&mut client, "SELECT count(*) FROM failing"), "300");
        ask(&mut client, "BEGIN");
        let answer = client.query(&sql).unwrap();
        assert_eq!(
            sqlstate(&answer).as_deref(),
            Some("22012"),
            "{sql}: {answer:?}"
        );
        ask(&mut client, "ROLLBACK");
    }
    nothing_is_left(cluster);
}

#[test]
fn a_cancel_stops_it() {
    let cluster = SHARED.cluster();
    table(cluster, "held", 30);
    let mut client = through(cluster);
    for sql in EACH_WAY {
        let sql = sql
            .replace("rows", "held")
            .replace("some_held", "some_rows");
        let mut holder = direct(cluster, 2);
        ask(&mut holder, "BEGIN; LOCK TABLE held");
        let mut out = BytesMut::new();
        encode::query(&mut out, sql.as_bytes());
        client.send(&out).unwrap();
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        let mut observer = direct(cluster, 2);
        while one(&mut observer, waiting) == "0" {}
        let mut canceller = Client::open(cluster.router.address).unwrap();
        let mut request = BytesMut::new();
        encode::cancel_request(&mut request, client.process_id, &client.key);
        canceller.send(&request).unwrap();
        let answer = client.until_ready().unwrap();
        assert_eq!(
            sqlstate(&answer).as_deref(),
            Some("57014"),
            "{sql}: {answer:?}"
        );
        ask(&mut holder, "ROLLBACK");
        assert_eq!(one(&mut client, "SELECT count(*) FROM held"), "30");
    }
    nothing_is_left(cluster);
}
