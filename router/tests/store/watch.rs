//! Snapshots, epochs, several routers, and a home that goes away.

use std::time::Duration;

use catalog::Epoch;
use router::local::{LocalServer, Stop};
use router::store::{Error, InitRequest, Settings, ShardRequest, Store, init};

use crate::harness::{Cluster, connector, fast, has_all, version};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_change_reaches_every_router() {
    let cluster = Cluster::new(1).await;
    let (first, second) = (cluster.store().await, cluster.store().await);
    let (_one, _two) = (first.watch(), second.watch());
    let (epoch, ()) = first
        .change(None, async |change| {
            change
                .execute(
                    "INSERT INTO pgweave.auto_shard (column_name) VALUES ('tenant_id')",
                    &[],
                )
                .await?;
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    // This router has it before the change returns; the other hears of it.
    assert_eq!(first.snapshot().epoch(), epoch);
    let snapshot = second.wait_for_epoch(epoch, LIMIT).await.unwrap();
    assert_eq!(snapshot.auto_shard()[0].column, "tenant_id");
    let error = second
        .wait_for_epoch(Epoch(epoch.0 + 1), Duration::from_millis(10))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::EpochTimeout { .. }));
}

#[tokio::test]
async fn without_notifications_polling_finds_it() {
    let cluster = Cluster::new(1).await;
    let settings = Settings {
        poll_interval: Duration::from_millis(50),
        ..Settings::new(cluster.server(0), connector())
    };
    let store = Store::connect(settings).await.unwrap();
    let _watch = store.watch();
    let next = Epoch(store.snapshot().epoch().0 + 1);
    cluster
        .run(0, "UPDATE pgweave.cluster SET epoch = epoch + 1")
        .await;
    store.wait_for_epoch(next, LIMIT).await.unwrap();
}

#[tokio::test]
async fn changes_take_turns_and_notice_what_came_between() {
    let cluster = Cluster::new(1).await;
    let (first, second) = (cluster.store().await, cluster.store().await);
    let base = first.snapshot().epoch();
    let held = first.begin_change(Some(base)).await.unwrap();
    let mut waiting = Box::pin(second.begin_change(Some(base)));
    assert!(
        tokio::time::timeout(Duration::from_millis(200), &mut waiting)
            .await
            .is_err(),
        "two changes at once"
    );
    held.commit().await.unwrap();
    let error = waiting.await.err().unwrap();
    assert!(
        matches!(error, Error::Stale { expected, found } if expected == base && found > base),
        "{error}"
    );
    assert_eq!(error.sqlstate(), "40001");

    // A dropped change never happened, and blocks nobody.
    let dropped = first.begin_change(None).await.unwrap();
    let epoch = dropped.epoch();
    dropped
        .execute(
            "INSERT INTO pgweave.auto_shard (column_name) VALUES ('gone')",
            &[],
        )
        .await
        .unwrap();
    drop(dropped);
    let change = second.begin_change(None).await.unwrap();
    assert_eq!(change.epoch(), epoch);
    assert!(
        change
            .query("SELECT FROM pgweave.auto_shard", &[])
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn routers_are_seen() {
    let cluster = Cluster::new(1).await;
    let mut settings = Settings::new(cluster.server(0), connector());
    settings.router_address = "10.0.0.1:6432".into();
    settings.poll_interval = Duration::from_millis(20);
    let store = Store::connect(settings).await.unwrap();
    let watch = store.watch();
    loop {
        let rows = cluster
            .ask(0, "SELECT address, epoch FROM pgweave.routers")
            .await;
        if rows == [format!("10.0.0.1:6432|{}", store.snapshot().epoch())] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(watch);
    store.farewell().await.unwrap();
    assert_eq!(
        cluster.ask(0, "SELECT count(*) FROM pgweave.routers").await,
        ["0"]
    );
}

#[tokio::test]
async fn a_lost_home_leaves_the_last_snapshot_in_use() {
    let server = LocalServer::scratch(fast()).await.unwrap();
    let home = catalog::Server {
        host: "127.0.0.1".into(),
        port: server.port(),
        dbname: "postgres".into(),
    };
    let shard = ShardRequest {
        name: "s1".into(),
        primary: home.clone(),
        replicas: vec![],
    };
    init(&InitRequest {
        connector: connector(),
        home: home.clone(),
        shards: vec![shard],
    })
    .await
    .unwrap();
    let settings = Settings {
        poll_interval: Duration::from_millis(50),
        ..Settings::new(home, connector())
    };
    let store = Store::connect(settings).await.unwrap();
    let _watch = store.watch();
    let before = store.snapshot();
    server.stop(Stop::Fast).await.unwrap();
    assert!(store.load().await.unwrap_err().is_connection());
    assert_eq!(store.snapshot().epoch(), before.epoch());
    assert_eq!(store.snapshot().shards(), before.shards());
    server.start().await.unwrap();
    let client = server.connect("postgres").await.unwrap();
    client
        .batch_execute("UPDATE pgweave.cluster SET epoch = epoch + 1")
        .await
        .unwrap();
    store
        .wait_for_epoch(Epoch(before.epoch().0 + 1), LIMIT)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_snapshot_knows_relations_and_functions() {
    use catalog::{Touches, Volatility};
    let cluster = Cluster::new(2).await;
    cluster
        .run(
            0,
            "CREATE TABLE plain (id int PRIMARY KEY, note text DEFAULT 'x', n int GENERATED ALWAYS AS IDENTITY);
             CREATE VIEW seen AS SELECT id AS number FROM plain;
             CREATE SEQUENCE counter;
             CREATE FUNCTION counts() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM plain';
             CREATE FUNCTION pure(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
             CREATE FUNCTION dynamic() RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE ''SELECT 1''; END';
             CREATE AGGREGATE summed(int) (SFUNC = int4pl, STYPE = int)",
        )
        .await;
    let has_parsed_bodies = version().await >= 14;
    if has_parsed_bodies {
        cluster.run(0, "CREATE FUNCTION parsed() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM plain; END").await;
    }
    let has_extension = has_all(&["pgcrypto"], false).await;
    if has_extension {
        cluster.run(0, "CREATE EXTENSION pgcrypto").await;
    }
    let catalog = cluster.store().await.snapshot();
    let plain = catalog.table("public", "plain").unwrap();
    assert_eq!(
        plain.kind,
        catalog::TableKind::Unsharded {
            shard: catalog.default_shard()
        }
    );
    assert_eq!(
        plain
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect::<Vec<_>>(),
        ["id", "note", "n"]
    );
    assert_eq!(
        plain.columns[1].default_expression.as_deref(),
        Some("'x'::text")
    );
    assert_eq!(
        plain.columns[2].default_expression.as_deref(),
        Some("nextval('public.plain_n_seq'::regclass)")
    );
    assert_eq!(catalog.view("public", "seen").unwrap().columns, ["number"]);
    assert!(
        catalog
            .view("public", "seen")
            .unwrap()
            .definition
            .contains("FROM public.plain")
    );
    assert!(catalog.sequence("public", "counter").is_some());
    let touches = |name: &str| catalog.functions(name)[0].touches.clone();
    let plain_only = Touches::Tables(vec![("public".into(), "plain".into())]);
    assert_eq!(touches("counts"), plain_only);
    if has_parsed_bodies {
        assert_eq!(touches("parsed"), plain_only);
    }
    assert_eq!(touches("pure"), Touches::Nothing);
    assert_eq!(
        catalog.functions("pure")[0].volatility,
        Volatility::Immutable
    );
    assert_eq!(touches("dynamic"), Touches::Unknown);
    assert_eq!(touches("summed"), Touches::Nothing);
    if has_extension {
        assert_eq!(touches("gen_salt"), Touches::Nothing);
    }
}
