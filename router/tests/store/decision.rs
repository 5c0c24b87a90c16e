//! Who may decide a transaction over several shards: nobody but its coordinator, and recovery.

use std::time::Duration;

use catalog::ShardId;
use router::drive::recovery;
use router::store::{Connection, Store, fresh_name};
use txn::decision::Decision;
use txn::sql::Command;
use txn::{Gid, Named};

use crate::harness::Cluster;

const S1: ShardId = ShardId(1);
const S2: ShardId = ShardId(2);
/// Longer than what these tests prepare is prepared: recovery looks at it because it is told to.
const GRACE: Duration = Duration::from_secs(60);

/// Two shards with a table that everybody may write. `victim` and `forger` may log in and no more.
async fn prepare_cluster() -> Cluster {
    let cluster = Cluster::new(2).await;
    for shard in 0..2 {
        cluster
            .run(
                shard,
                "DO $$ BEGIN CREATE ROLE victim LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$; \
                 DO $$ BEGIN CREATE ROLE forger LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$; \
                 CREATE TABLE t (k int); GRANT ALL ON t TO PUBLIC",
            )
            .await;
    }
    cluster
}

/// A connection to a shard of somebody who is no superuser.
async fn log_in(cluster: &Cluster, user: &str, shard: usize) -> Connection {
    let mut connector = crate::harness::connector();
    connector.user = user.to_owned();
    connector.connect(&cluster.server(shard)).await.unwrap()
}

fn decided_by_first(store: &Store) -> Named {
    let name = fresh_name(store.snapshot().cluster_id());
    let gid = Gid {
        coordinating: S1,
        ..name.gid
    };
    Named { gid, ..name }
}

/// A transaction of `victim` up to its votes: prepared on the second shard, open on the first.
async fn vote(cluster: &Cluster, name: Named) -> Connection {
    let write = "BEGIN; INSERT INTO public.t VALUES (1)";
    let decider = log_in(cluster, "victim", 0).await;
    decider.batch(write).await.unwrap();
    let participant = log_in(cluster, "victim", 1).await;
    participant.batch(write).await.unwrap();
    participant
        .batch(&Command::Prepare(name.gid.participant(S2)).text())
        .await
        .unwrap();
    decider
}

fn decision(name: Named) -> String {
    txn::sql::insert_decision(name, &[(S2, None)])
}

async fn sqlstate(connection: &Connection, sql: &str) -> String {
    let error = connection.batch(sql).await.expect_err(sql);
    error.sqlstate().to_owned()
}

#[tokio::test]
async fn a_user_decides_its_own_transaction_and_recovery_believes_it() {
    let cluster = prepare_cluster().await;
    let store = cluster.store().await;
    let name = decided_by_first(&store);
    let decider = vote(&cluster, name).await;
    decider.batch(&decision(name)).await.unwrap();
    decider.batch("COMMIT").await.unwrap();
    let report = recovery::pass(&store, [name.gid].into(), GRACE).await;
    assert_eq!(report.committed, [name.gid.participant(S2)], "{report:?}");
    assert_eq!(cluster.ask(1, "SELECT k FROM public.t").await, ["1"]);
}

#[tokio::test]
async fn another_user_cannot_decide_it_though_it_sees_the_name() {
    let cluster = prepare_cluster().await;
    let store = cluster.store().await;
    let name = decided_by_first(&store);
    let decider = vote(&cluster, name).await;
    let forger = log_in(&cluster, "forger", 0).await;
    let spy = log_in(&cluster, "forger", 1).await;
    let seen = spy
        .rows("SELECT gid FROM pg_prepared_xacts WHERE owner = 'victim' AND database = current_database()")
        .await
        .unwrap();
    assert_eq!(seen[0][0], Some(name.gid.participant(S2).to_string()));

    let gid = name.gid;
    let guess = txn::Proof::new([1; 32]);
    let other = decided_by_first(&store);
    for (refused, expected) in [
        // A commit without the proof, with a wrong one, or with the proof of another transaction.
        (format!("(gid) VALUES ('{gid}')"), "23514"),
        (format!("(gid, proof) VALUES ('{gid}', NULL)"), "23514"),
        (format!("(gid, proof) VALUES ('{gid}', '')"), "23514"),
        (
            format!("(gid, proof) VALUES ('{gid}', '{}')", guess.text()),
            "23514",
        ),
        (
            format!("(gid, proof) VALUES ('{gid}', '{}')", other.proof.text()),
            "23514",
        ),
        // An abort, or a row that looks old.
        (format!("(gid, outcome) VALUES ('{gid}', 'abort')"), "42501"),
        (
            format!("(gid, decided_at) VALUES ('{gid}', '-infinity')"),
            "42501",
        ),
    ] {
        let sql = format!("INSERT INTO pgweave.decision {refused}");
        assert_eq!(sqlstate(&forger, &sql).await, expected, "{sql}");
    }
    for refused in [
        "SELECT * FROM pgweave.decision",
        "SELECT proof FROM pgweave.decision",
        "UPDATE pgweave.decision SET outcome = 'abort'",
        "DELETE FROM pgweave.decision",
        "TRUNCATE pgweave.decision",
        "DO $$ BEGIN LOCK TABLE pgweave.decision IN ACCESS SHARE MODE; END $$",
        "DO $$ BEGIN LOCK TABLE pgweave.decision; END $$",
        "ALTER TABLE pgweave.decision DROP CONSTRAINT decision_proof",
        "CREATE TRIGGER t BEFORE INSERT ON pgweave.decision FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE TABLE public.f (gid text REFERENCES pgweave.decision)",
        "CREATE TABLE pgweave.f ()",
    ] {
        assert_eq!(sqlstate(&forger, refused).await, "42501", "{refused}");
    }
    // A row of its own making is no obstacle and convinces nobody.
    forger.batch(&decision(other)).await.unwrap();
    // Nor is an open transaction with attempts in it: they fail before they take a place in the index.
    forger.batch("BEGIN").await.unwrap();
    let forged = format!("INSERT INTO pgweave.decision (gid) VALUES ('{gid}')");
    assert_eq!(sqlstate(&forger, &forged).await, "23514");
    decider
        .batch("SET LOCAL lock_timeout = '5s'")
        .await
        .unwrap();
    decider.batch(&decision(name)).await.unwrap();
    decider.batch("ROLLBACK").await.unwrap();
    assert_eq!(
        recovery::resolve(&store, gid).await,
        Some(Decision::Abort),
        "nobody had decided it"
    );
    let report = recovery::pass(&store, [gid].into(), GRACE).await;
    assert_eq!(report.rolled_back, [gid.participant(S2)], "{report:?}");
    assert_eq!(cluster.ask(1, "SELECT k FROM public.t").await, [""; 0]);
}

#[tokio::test]
async fn a_change_of_role_within_the_transaction_changes_nothing() {
    let cluster = prepare_cluster().await;
    let store = cluster.store().await;
    for shard in 0..2 {
        cluster.run(shard, "GRANT forger TO victim").await;
    }
    let name = decided_by_first(&store);
    let decider = vote(&cluster, name).await;
    decider.batch("SET LOCAL ROLE forger").await.unwrap();
    decider.batch(&decision(name)).await.unwrap();
    decider.batch("COMMIT").await.unwrap();
    let report = recovery::pass(&store, [name.gid].into(), GRACE).await;
    assert_eq!(report.committed, [name.gid.participant(S2)], "{report:?}");
}
