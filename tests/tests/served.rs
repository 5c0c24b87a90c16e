//! What schema `pgweave` tells of the cluster, together with users' tables: with the catalog on a shard, and on none.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use tests::client::{Client, ask, one, rows, sqlstate};
use tests::cluster::{Cluster, Options};
use tests::several::{direct, nothing_is_left, table, through};
use tests::shared::Shared;

static ON_A_SHARD: Shared = Shared::new(|| Options {
    shards: 2,
    ..Options::default()
});

static ELSEWHERE: Shared = Shared::new(|| Options {
    shards: 2,
    home_apart: true,
    ..Options::default()
});

/// By both protocols.
fn both(client: &mut Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let simple = ask(client, sql);
    let extended = client.extended(sql, &[], false).unwrap();
    assert_eq!(sqlstate(&extended), None, "{sql}: {extended:?}");
    assert_eq!(rows(&extended), simple, "{sql}");
    simple
}

fn texts(rows: &[Vec<Option<String>>]) -> Vec<Vec<&str>> {
    let text = |value: &Option<String>| {
        value.as_deref().map_or("-", |text| text).to_owned().leak() as &str
    };
    rows.iter()
        .map(|row| row.iter().map(text).collect())
        .collect()
}

fn views_join_with_tables(cluster: &Cluster) {
    table(cluster, "things", 50);
    let mut client = through(cluster);
    ask(
        &mut client,
        "CREATE TABLE kinds (name text PRIMARY KEY, note text)",
    );
    ask(
        &mut client,
        "INSERT INTO kinds VALUES ('sharded', 'split'), ('unsharded', 'whole')",
    );
    let found = both(
        &mut client,
        "SELECT t.table_name, t.shard_key, t.shards, k.note FROM pgweave.tables t JOIN kinds k ON k.name = t.kind ORDER BY 1",
    );
    assert_eq!(
        texts(&found),
        [
            ["kinds", "-", "{s1}", "whole"],
            ["things", "{k}", "{s1,s2}", "split"]
        ]
    );
    let found = both(
        &mut client,
        "SELECT s.name, count(*), min(t.k) FROM pgweave.shards AS s CROSS JOIN things t WHERE t.k > 10 GROUP BY s.name ORDER BY 1",
    );
    assert_eq!(texts(&found), [["s1", "40", "11"], ["s2", "40", "11"]]);
    let found = both(
        &mut client,
        "SELECT (SELECT count(*) FROM things), table_name FROM pgweave.tables x WHERE x.table_name LIKE 'th%'",
    );
    assert_eq!(texts(&found), [["50", "things"]]);
    let found = both(
        &mut client,
        "SELECT name, is_default FROM pgweave.shards ORDER BY id",
    );
    assert_eq!(texts(&found), [["s1", "t"], ["s2", "f"]]);
    let found = both(
        &mut client,
        "SELECT count(*) > 0, bool_and(last_seen >= started_at) FROM pgweave.routers, things",
    );
    assert_eq!(texts(&found), [["t", "t"]]);
    let found = both(
        &mut client,
        "SELECT pgweave.tables.kind FROM pgweave.tables, things WHERE things.k = 1 AND tables.table_name = 'things'",
    );
    assert_eq!(texts(&found), [["sharded"]]);
    let answer = client
        .query("COPY (SELECT t.shards, k FROM pgweave.tables t, things WHERE k < 3 AND t.table_name = 'things' ORDER BY k) TO STDOUT")
        .unwrap();
    let lines: Vec<_> = answer
        .iter()
        .filter(|message| message.tag == b'd')
        .collect();
    assert_eq!(lines[1].body, b"{s1,s2}\t2\n", "{answer:?}");
    // Parameters.
    let sql =
        "SELECT t.table_name FROM pgweave.tables t, things WHERE k = $1::int AND t.table_name = $2";
    let answer = client
        .extended(sql, &[Some(b"7"), Some(b"things")], false)
        .unwrap();
    assert_eq!(texts(&rows(&answer)), [["things"]], "{answer:?}");
    // What a block has done is seen.
    ask(&mut client, "BEGIN");
    ask(&mut client, "INSERT INTO things VALUES (1000, 'y')");
    let found = both(
        &mut client,
        "SELECT count(*) FROM things JOIN pgweave.tables ON table_name = 'things'",
    );
    assert_eq!(texts(&found), [["51"]]);
    ask(&mut client, "ROLLBACK");
    nothing_is_left(cluster);
}

fn shards_tell_of_themselves(cluster: &Cluster) {
    table(cluster, "counted", 100);
    let mut client = through(cluster);
    for shard in 0..2 {
        ask(&mut direct(cluster, shard), "ANALYZE counted");
    }
    let own = |sql: &str| -> Vec<u64> {
        (0..2)
            .map(|shard| one(&mut direct(cluster, shard), sql).parse().unwrap())
            .collect()
    };
    for function in [
        "pg_relation_size",
        "pg_table_size",
        "pg_indexes_size",
        "pg_total_relation_size",
    ] {
        let sizes = own(&format!("SELECT {function}('counted')"));
        let sum = sizes.iter().sum::<u64>().to_string();
        let found = both(
            &mut client,
            &format!("SELECT pgweave.{function}('counted')"),
        );
        assert_eq!(texts(&found), [[sum.as_str()]], "{function}");
    }
    let total: u64 = own("SELECT pg_total_relation_size('counted')").iter().sum();
    let pretty = one(
        &mut direct(cluster, 0),
        &format!("SELECT pg_size_pretty({total}::bigint)"),
    );
    let found = both(
        &mut client,
        "SELECT t.table_name, pg_size_pretty(pgweave.pg_total_relation_size(t.table_name::regclass)) AS size \
           FROM pgweave.tables t WHERE t.table_name = 'counted'",
    );
    assert_eq!(texts(&found), [["counted", pretty.as_str()]]);
    let found = both(
        &mut client,
        "SELECT c.relname, pgweave.pg_relation_size(c.oid) > 0 FROM pg_class c WHERE c.relname = 'counted'",
    );
    assert_eq!(texts(&found), [["counted", "t"]]);
    assert!(
        sqlstate(
            &client
                .query("SELECT pgweave.pg_table_size('not_there')")
                .unwrap()
        )
        .is_some()
    );
    let found = both(
        &mut client,
        "SELECT shard, relname FROM pgweave.pg_stat_user_tables WHERE relname = 'counted' ORDER BY shard",
    );
    assert_eq!(texts(&found), [["s1", "counted"], ["s2", "counted"]]);
    let found = both(
        &mut client,
        "SELECT relname, count(DISTINCT shard), sum(n_live_tup) FROM pgweave.pg_stat_user_tables WHERE relname = 'counted' GROUP BY 1",
    );
    assert_eq!(texts(&found), [["counted", "2", "100"]]);
    let found = both(
        &mut client,
        "SELECT shard, indexrelname FROM pgweave.pg_stat_user_indexes WHERE relname = 'counted' ORDER BY 1",
    );
    assert_eq!(
        texts(&found),
        [["s1", "counted_pkey"], ["s2", "counted_pkey"]]
    );
    let found = both(
        &mut client,
        "SELECT count(DISTINCT a.shard), bool_or(a.query_start <= now()) FROM pgweave.pg_stat_activity a JOIN pgweave.shards s ON s.name = a.shard",
    );
    assert_eq!(texts(&found), [["2", "t"]]);
    nothing_is_left(cluster);
}

#[test]
fn with_the_catalog_on_a_shard() {
    let cluster = ON_A_SHARD.cluster();
    views_join_with_tables(cluster);
    shards_tell_of_themselves(cluster);
}

#[test]
fn with_the_catalog_elsewhere() {
    let cluster = ELSEWHERE.cluster();
    views_join_with_tables(cluster);
    shards_tell_of_themselves(cluster);
    let mut client = through(cluster);
    assert_eq!(one(&mut client, "SELECT count(*) FROM pgweave.shards"), "2");
}
