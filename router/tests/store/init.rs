//! `pgweave init`: idempotent, and refusing contradictions.

use router::store::{Error, InitRequest, Settings, ShardRequest, Store, init};

use crate::harness::{Cluster, connector};

#[tokio::test]
async fn a_second_run_changes_nothing() {
    let cluster = Cluster::bare(2).await;
    let report = init(&cluster.request()).await.unwrap();
    assert!(
        report
            .actions
            .iter()
            .any(|action| action.contains("registered shard s2")),
        "{:?}",
        report.actions
    );
    let catalog = cluster.store().await.snapshot();
    assert_eq!(catalog.cluster_id(), report.cluster);
    assert_eq!(
        catalog
            .shards()
            .iter()
            .map(|shard| shard.name.as_str())
            .collect::<Vec<_>>(),
        ["s1", "s2"]
    );
    assert_eq!(catalog.shards()[1].primary, cluster.server(1));
    assert_eq!(catalog.default_shard(), catalog.shards()[0].id);
    assert_eq!(catalog.catalog_shard(), Some(catalog.shards()[0].id));

    let again = init(&cluster.request()).await.unwrap();
    assert_eq!(again.cluster, report.cluster);
    assert_eq!(again.actions, Vec::<String>::new());
    assert_eq!(cluster.store().await.snapshot().epoch(), catalog.epoch());
    // All bookkeeping is in schema pgweave.
    for index in 0..2 {
        let strays = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
        assert_eq!(cluster.ask(index, strays).await, ["0"]);
    }
    // The decision table is on every shard, the catalog on the home only.
    assert_eq!(cluster.ask(1, "SELECT to_regclass('pgweave.decision') IS NULL, to_regclass('pgweave.cluster') IS NULL").await, ["f|t"]);
}

#[tokio::test]
async fn a_home_of_its_own() {
    let cluster = Cluster::bare(3).await;
    let mut request = cluster.request();
    request.shards.remove(0);
    init(&request).await.unwrap();
    let store = cluster.store().await;
    let catalog = store.snapshot();
    assert_eq!(catalog.catalog_shard(), None);
    assert_eq!(catalog.shard(catalog.default_shard()).unwrap().name, "s2");
    assert_eq!(init(&request).await.unwrap().actions, Vec::<String>::new());
}

#[tokio::test]
async fn contradictions_name_both() {
    let cluster = Cluster::bare(3).await;
    init(&InitRequest {
        shards: cluster.request().shards[..2].to_vec(),
        ..cluster.request()
    })
    .await
    .unwrap();
    let conflict = async |change: &dyn Fn(&mut Vec<ShardRequest>)| {
        let mut request = cluster.request();
        request.shards.truncate(2);
        change(&mut request.shards);
        let error = init(&request).await.unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error}");
        assert_eq!(error.sqlstate(), "42710");
        error.to_string()
    };
    let (second, third) = (cluster.server(1), cluster.server(2));
    // A shard elsewhere.
    let text = conflict(&|shards| shards[1].primary = third.clone()).await;
    assert!(
        text.contains(&second.to_string()) && text.contains(&third.to_string()),
        "{text}"
    );
    // One database as two shards, under one address or two.
    let text = conflict(&|shards| {
        shards.push(ShardRequest {
            name: "s3".into(),
            primary: second.clone(),
            replicas: vec![],
        })
    })
    .await;
    assert!(text.contains("s2") && text.contains("s3"), "{text}");
    let alias = catalog::Server {
        host: "localhost".into(),
        ..second.clone()
    };
    let text = conflict(&|shards| {
        shards.push(ShardRequest {
            name: "s3".into(),
            primary: alias.clone(),
            replicas: vec![],
        })
    })
    .await;
    assert!(text.contains("s2") && text.contains("s3"), "{text}");
    // A database of another cluster.
    let other = Cluster::new(1).await;
    let text = conflict(&|shards| {
        shards.push(ShardRequest {
            name: "s3".into(),
            primary: other.server(0),
            replicas: vec![],
        })
    })
    .await;
    assert!(text.contains("s1 of cluster"), "{text}");
}

#[tokio::test]
async fn no_catalog_is_an_error_that_says_what_to_do() {
    let cluster = Cluster::bare(1).await;
    let error = Store::connect(Settings::new(cluster.server(0), connector()))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::NotInitialized { .. }));
    assert!(error.to_string().contains("pgweave init"));
}

#[tokio::test]
async fn a_catalog_of_another_format_is_refused() {
    let cluster = Cluster::new(1).await;
    cluster
        .run(0, "UPDATE pgweave.cluster SET format = 99")
        .await;
    let error = Store::connect(Settings::new(cluster.server(0), connector()))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::Format { found: 99, .. }), "{error}");
}

#[tokio::test]
async fn anybody_reads_and_only_the_owner_writes() {
    let cluster = Cluster::new(1).await;
    let connection = cluster.shard(0).await;
    connection
        .batch("DROP ROLE IF EXISTS store_reader; CREATE ROLE store_reader; SET ROLE store_reader")
        .await
        .unwrap();
    for view in ["shards", "tables", "placements", "sequences", "routers"] {
        connection
            .rows(&format!("SELECT * FROM pgweave.{view}"))
            .await
            .unwrap();
    }
    let refused = connection
        .rows("INSERT INTO pgweave.shard VALUES (9, 'x')")
        .await
        .unwrap_err();
    assert_eq!(refused.sqlstate(), "42501");
}

#[tokio::test]
async fn a_moved_primary_is_recognized_by_what_it_holds() {
    let cluster = Cluster::new(2).await;
    // The same database under another address, as after a failover; the old address no longer answers.
    let renamed = format!("{}_moved", cluster.database);
    let admin = connector()
        .connect(&crate::harness::server(1, "postgres"))
        .await
        .unwrap();
    admin
        .batch(&format!(
            "ALTER DATABASE {} RENAME TO {renamed}",
            cluster.database
        ))
        .await
        .unwrap();
    let mut request = cluster.request();
    request.shards[1].primary.dbname = renamed;
    let report = init(&request).await.unwrap();
    assert!(
        report
            .actions
            .iter()
            .any(|action| action.contains("moved the primary of shard s2")),
        "{:?}",
        report.actions
    );
    assert_eq!(
        cluster.store().await.snapshot().shards()[1].primary,
        request.shards[1].primary
    );
}
