//! Who may read what through a view whose tables' rows are brought to one server.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use tests::client::{Client, ask, one, sqlstate};
use tests::cluster::{Cluster, Options};
use tests::several::{direct, nothing_is_left, table, through};
use tests::shared::Shared;

static SHARED: Shared = Shared::new(|| Options {
    shards: 2,
    ..Options::default()
});

/// A session of a role that all servers know, and that owns nothing.
fn stranger(cluster: &Cluster, role: &str) -> Client {
    for shard in 0..cluster.local.shards().len() {
        ask(&mut direct(cluster, shard), &format!("CREATE ROLE {role}"));
    }
    let mut client = through(cluster);
    ask(&mut client, &format!("SET ROLE {role}"));
    client
}

#[test]
fn a_view_is_read_by_those_who_may() {
    let cluster = SHARED.cluster();
    table(cluster, "kept", 20);
    let mut owner = through(cluster);
    ask(
        &mut owner,
        "CREATE VIEW low AS SELECT k, filler FROM kept WHERE k <= 5",
    );
    ask(
        &mut owner,
        "CREATE VIEW counted AS SELECT filler, count(*) AS n FROM kept GROUP BY filler",
    );
    let mut client = stranger(cluster, "reader");
    let codes = |client: &mut Client, sql: &str| sqlstate(&client.query(sql).unwrap());
    let pairs = "SELECT count(*) FROM low a JOIN low b ON a.filler = b.filler";
    let whole = "SELECT n FROM counted";
    for sql in [pairs, whole] {
        assert_eq!(codes(&mut client, sql).as_deref(), Some("42501"), "{sql}");
    }
    ask(&mut owner, "GRANT SELECT ON low TO reader");
    assert_eq!(one(&mut client, pairs), "25");
    // The view may be read, the table not: its rows are the view's owner's to read.
    ask(&mut owner, "GRANT SELECT ON counted TO reader");
    assert_eq!(codes(&mut client, whole).as_deref(), Some("42501"));
    ask(&mut owner, "GRANT SELECT ON kept TO reader");
    assert_eq!(one(&mut client, whole), "20");
    // The table may be read, the view not.
    ask(&mut owner, "REVOKE SELECT ON counted FROM reader");
    let answer = client.query(whole).unwrap();
    let error = answer.iter().find(|message| message.tag == b'E').unwrap();
    assert_eq!(
        error.field(b'M').unwrap(),
        "permission denied for view counted"
    );
    nothing_is_left(cluster);
}

#[test]
fn policies_of_tables_hold_for_views_or_stop_them() {
    let cluster = SHARED.cluster();
    table(cluster, "guarded", 20);
    let mut owner = through(cluster);
    ask(
        &mut owner,
        "CREATE VIEW few_rows AS SELECT k, filler FROM guarded WHERE k <= 5",
    );
    ask(
        &mut owner,
        "CREATE VIEW counts AS SELECT filler, count(*) AS n FROM guarded GROUP BY filler",
    );
    let mut client = stranger(cluster, "guest");
    ask(
        &mut owner,
        "GRANT SELECT ON guarded, few_rows, counts TO guest",
    );
    ask(&mut owner, "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY");
    ask(&mut owner, "CREATE POLICY few ON guarded USING (k < 3)");
    assert_eq!(one(&mut client, "SELECT count(*) FROM guarded"), "2");
    let pairs = "SELECT count(*) FROM few_rows a JOIN few_rows b ON a.filler = b.filler";
    assert_eq!(one(&mut client, pairs), "25");
    let answer = client.query("SELECT n FROM counts").unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("0A000"), "{answer:?}");
    nothing_is_left(cluster);
}

#[test]
fn what_is_read_and_locked_is_explained() {
    let cluster = SHARED.cluster();
    table(cluster, "explained", 20);
    let mut client = through(cluster);
    ask(
        &mut client,
        "CREATE VIEW totals AS SELECT filler, count(*) AS n FROM explained GROUP BY filler",
    );
    let cases = [
        (
            "SELECT n FROM totals JOIN explained USING (filler) ORDER BY k",
            "pgweave_view_1",
        ),
        (
            "SELECT k FROM explained ORDER BY k LIMIT 2 FOR UPDATE",
            "Lock what is chosen",
        ),
        (
            "SELECT k FROM explained LIMIT 2 FOR UPDATE",
            "One shard after the other",
        ),
        (
            "SELECT shard FROM pgweave.pg_locks JOIN explained ON true",
            "pgweave.pg_locks",
        ),
        ("SELECT tableoid, k FROM explained ORDER BY k", "ctid"),
    ];
    for (sql, word) in cases {
        for how in [
            "EXPLAIN",
            "EXPLAIN (VERBOSE)",
            "EXPLAIN (ANALYZE)",
            "EXPLAIN (FORMAT json)",
        ] {
            let plan: Vec<String> = ask(&mut client, &format!("{how} {sql}"))
                .into_iter()
                .filter_map(|mut row| row.remove(0))
                .collect();
            let plan = plan.join("\n");
            assert!(plan.contains(word), "{how} {sql}: {plan}");
        }
    }
    nothing_is_left(cluster);
}
