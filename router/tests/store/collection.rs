//! Decisions are deleted when nobody can need them any more, and not before.

use std::time::{Duration, Instant};

use catalog::ShardId;
use router::drive::collection::{Places, RETENTION_MS, pass};
use router::drive::recovery;
use router::store::{Connection, HOME, Settings, Store, fresh_name, init};
use txn::{Gid, Named};

use crate::harness::{Cluster, connector, server};

const S1: ShardId = ShardId(1);
const S2: ShardId = ShardId(2);
/// Longer than what these tests prepare is prepared: recovery looks at it because it is told to.
const GRACE: Duration = Duration::from_secs(60);

/// The name of a transaction that `coordinating` decides.
fn name(store: &Store, coordinating: ShardId) -> Named {
    let name = fresh_name(store.snapshot().cluster_id());
    let gid = Gid {
        coordinating,
        ..name.gid
    };
    Named { gid, ..name }
}

/// Writes a decision that is `age_ms` old.
async fn decide(
    on: &Connection,
    Named { gid, proof }: Named,
    outcome: &str,
    participants: &str,
    age_ms: u64,
) {
    on.batch(&format!(
        "INSERT INTO pgweave.decision (gid, outcome, participants, proof) VALUES ('{gid}', '{outcome}', '{participants}', '{}'); \
         UPDATE pgweave.decision SET decided_at = clock_timestamp() - {age_ms} * interval '1 ms' WHERE gid = '{gid}'",
        proof.text()
    ))
    .await
    .unwrap();
}

async fn is_there(on: &Connection, gid: Gid) -> bool {
    let sql = format!("SELECT FROM pgweave.decision WHERE gid = '{gid}'");
    !on.rows(&sql).await.unwrap().is_empty()
}

/// Whether a shard takes connections.
async fn answers(cluster: &Cluster, index: usize, allowed: bool) {
    let admin = connector()
        .connect(&server(index, "postgres"))
        .await
        .unwrap();
    let sql = format!(
        "ALTER DATABASE {} ALLOW_CONNECTIONS {allowed}",
        cluster.database
    );
    admin.batch(&sql).await.unwrap();
}

async fn collect(store: &Store) -> (usize, usize) {
    let report = pass(store, &mut Places::new()).await;
    (report.deleted, report.kept)
}

const OLD: u64 = RETENTION_MS + 60_000;
const YOUNG: u64 = RETENTION_MS - 60_000;

#[tokio::test]
async fn what_is_old_and_finished_goes_wherever_it_was_decided() {
    // The catalog's home is a database that is no shard's.
    let cluster = Cluster::bare(3).await;
    let mut request = cluster.request();
    request.home = request.shards.remove(2).primary;
    init(&request).await.unwrap();
    let store = Store::connect(Settings::new(request.home, connector()))
        .await
        .unwrap();
    let (first, home) = (cluster.shard(0).await, cluster.shard(2).await);
    let mut expected = Vec::new();
    for (on, coordinating) in [(&first, S1), (&home, HOME)] {
        for outcome in ["commit", "abort"] {
            for (age_ms, stays) in [(OLD, false), (YOUNG, true)] {
                let participants = if outcome == "commit" { "{2}" } else { "{}" };
                let name = name(&store, coordinating);
                decide(on, name, outcome, participants, age_ms).await;
                expected.push((on, name.gid, stays));
            }
        }
    }
    // Not of this cluster, not of this shard, not of our making at all.
    let mut elsewhere = name(&store, S1);
    elsewhere.gid.cluster = catalog::ClusterId([7; 16]);
    for foreign in [elsewhere, name(&store, S2)] {
        decide(&first, foreign, "commit", "{}", OLD).await;
        expected.push((&first, foreign.gid, true));
    }
    assert_eq!(collect(&store).await, (4, 0));
    for (on, gid, stays) in expected {
        assert_eq!(is_there(on, gid).await, stays, "{gid}");
    }
}

#[tokio::test]
async fn what_is_still_prepared_keeps_its_decision() {
    let cluster = Cluster::new(2).await;
    cluster.run(1, "CREATE TABLE t (k int)").await;
    let store = cluster.store().await;
    let coordinator = cluster.shard(0).await;
    let (committed, aborted) = (name(&store, S1), name(&store, S1));
    for (name, outcome) in [(committed, "commit"), (aborted, "abort")] {
        let prepared = name.gid.participant(S2);
        cluster
            .run(
                1,
                &format!("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION '{prepared}'"),
            )
            .await;
        decide(&coordinator, name, outcome, "{2}", OLD).await;
    }
    let (committed, aborted) = (committed.gid, aborted.gid);
    assert_eq!(collect(&store).await, (0, 2));

    // A shard that cannot be asked may hold anything.
    answers(&cluster, 1, false).await;
    assert_eq!(collect(&store).await, (0, 2));
    answers(&cluster, 1, true).await;

    // Recovery still finds what it needs; with that the rows have served.
    let report = recovery::pass(&store, [committed, aborted].into(), GRACE).await;
    assert_eq!(report.committed, [committed.participant(S2)], "{report:?}");
    assert_eq!(report.rolled_back, [aborted.participant(S2)], "{report:?}");
    assert_eq!(cluster.ask(1, "SELECT k FROM public.t").await, ["1"]);
    assert_eq!(collect(&store).await, (2, 0));
}

#[tokio::test]
async fn an_unreachable_shard_keeps_what_may_concern_it() {
    let cluster = Cluster::new(3).await;
    let store = cluster.store().await;
    let coordinator = cluster.shard(0).await;
    answers(&cluster, 2, false).await;
    let [concerned, unconcerned, aborted] = [(); 3].map(|()| name(&store, S1));
    decide(&coordinator, concerned, "commit", "{2,3}", OLD).await;
    decide(&coordinator, unconcerned, "commit", "{2}", OLD).await;
    decide(&coordinator, aborted, "abort", "{}", OLD).await;
    assert_eq!(collect(&store).await, (1, 2));
    assert!(is_there(&coordinator, concerned.gid).await);
    assert!(is_there(&coordinator, aborted.gid).await);
}

#[tokio::test]
async fn an_abort_stays_while_its_coordinator_may_be_there() {
    let cluster = Cluster::new(2).await;
    let store = cluster.store().await;
    let coordinator = cluster.shard(0).await;
    // A coordinator that began before the row was written, and may still try to insert its own.
    let late = cluster.shard(0).await;
    late.batch("BEGIN").await.unwrap();
    let name = name(&store, S1);
    decide(&coordinator, name, "abort", "{}", 0).await;
    let list = txn::sql::list_decisions(name.gid.cluster, S1, 0, "", 9);
    let is_settled = async || {
        let rows = coordinator.rows(&list).await.unwrap();
        rows[0][3].as_deref() == Some("t")
    };
    assert!(!is_settled().await);
    late.batch("COMMIT").await.unwrap();
    // Other tests' transactions count as well: the server tells of all its databases.
    let patience = Instant::now() + Duration::from_secs(20);
    while !is_settled().await {
        assert!(Instant::now() < patience);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_router_with_an_old_catalog_deletes_nothing() {
    let cluster = Cluster::new(2).await;
    let store = cluster.store().await;
    let coordinator = cluster.shard(0).await;
    let name = name(&store, S1);
    decide(&coordinator, name, "commit", "{2}", OLD).await;
    cluster
        .run(0, "UPDATE pgweave.cluster SET epoch = epoch + 1")
        .await;
    assert_eq!(collect(&store).await, (0, 1));
    assert!(is_there(&coordinator, name.gid).await);
    store.reload().await.unwrap();
    assert_eq!(collect(&store).await, (1, 0));
}

#[tokio::test]
async fn several_routers_collect_at_once() {
    let cluster = Cluster::new(2).await;
    let (one, other) = (cluster.store().await, cluster.store().await);
    let Named { gid: kept, proof } = name(&one, S1);
    // More than two batches, and one row among them that must stay.
    cluster
        .run(
            0,
            &format!(
                "INSERT INTO pgweave.decision (gid, proof, participants) \
                 SELECT replace('{kept}', '_1_', '_' || to_hex(n + 1) || '_'), '{proof}', '{{2}}' FROM generate_series(1, 12000) AS n; \
                 INSERT INTO pgweave.decision (gid, proof, participants) VALUES ('{kept}', '{proof}', '{{9}}'); \
                 UPDATE pgweave.decision SET decided_at = clock_timestamp() - interval '1 day'",
                proof = proof.text()
            ),
        )
        .await;
    let round = |store| async move {
        let mut places = Places::new();
        let mut passes = 0;
        loop {
            pass(store, &mut places).await;
            passes += 1;
            if places.is_empty() {
                return passes;
            }
        }
    };
    let (passes, _) = tokio::join!(round(&*one), round(&*other));
    assert!(passes >= 3, "{passes}");
    assert_eq!(
        cluster.ask(0, "SELECT gid FROM pgweave.decision").await,
        [kept.to_string()]
    );
}
