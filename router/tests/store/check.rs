//! `pgweave check`: what it finds and what it says to do.

use router::local::{LocalServer, Settings};
use router::store::{Finding, InitRequest, Severity, ShardRequest, check, init};

use crate::harness::{Cluster, connector, fast, server};

fn has(findings: &[Finding], severity: Severity, what: &str) -> bool {
    findings.iter().any(|finding| {
        finding.severity == severity && finding.what.contains(what) && !finding.remedy.is_empty()
    })
}

#[tokio::test]
async fn good_servers_have_nothing_to_say() {
    let cluster = Cluster::new(2).await;
    let findings = check(&cluster.request()).await;
    assert!(
        !findings
            .iter()
            .any(|finding| finding.severity == Severity::Error),
        "{findings:?}"
    );
}

#[tokio::test]
async fn settings_that_do_not_do() {
    let mut options = fast();
    options.settings = Settings::default();
    for setting in ["max_prepared_transactions=0", "wal_level=replica"] {
        options.settings.parse(setting).unwrap();
    }
    let poor = LocalServer::scratch(options).await.unwrap();
    let primary = catalog::Server {
        host: "127.0.0.1".into(),
        port: poor.port(),
        dbname: "postgres".into(),
    };
    let shard = ShardRequest {
        name: "s1".into(),
        primary: primary.clone(),
        replicas: vec![],
    };
    let request = InitRequest {
        connector: connector(),
        home: primary,
        shards: vec![shard],
    };
    let findings = check(&request).await;
    assert!(
        has(&findings, Severity::Error, "max_prepared_transactions is 0"),
        "{findings:?}"
    );
    assert!(
        has(&findings, Severity::Warning, "wal_level is replica"),
        "{findings:?}"
    );
    assert!(
        findings[0]
            .to_string()
            .contains("ALTER SYSTEM SET max_prepared_transactions"),
        "{}",
        findings[0]
    );
}

#[tokio::test]
async fn servers_that_do_not_match() {
    let cluster = Cluster::bare(2).await;
    let odd = format!("{}_odd", cluster.database);
    let admin = connector().connect(&server(1, "postgres")).await.unwrap();
    admin
        .batch(&format!(
            "CREATE DATABASE {odd} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
        ))
        .await
        .unwrap();
    let mut request = cluster.request();
    request.shards[1].primary.dbname = odd;
    // One database under two addresses, a primary listed as a replica, and a server that is not there.
    request.shards.push(ShardRequest {
        name: "s3".into(),
        primary: catalog::Server {
            host: "localhost".into(),
            ..cluster.server(0)
        },
        replicas: vec![
            cluster.server(1),
            catalog::Server {
                port: 1,
                ..cluster.server(0)
            },
        ],
    });
    let findings = check(&request).await;
    for what in [
        "encoding is LATIN1",
        "is the same database as",
        "is no standby",
        "cannot connect to",
    ] {
        assert!(
            has(&findings, Severity::Error, what),
            "{what}: {findings:?}"
        );
    }
}

#[tokio::test]
async fn privileges_that_are_missing() {
    let cluster = Cluster::new(1).await;
    let admin = cluster.shard(0).await;
    admin
        .batch("DROP ROLE IF EXISTS store_poor; CREATE ROLE store_poor LOGIN")
        .await
        .unwrap();
    let mut request = cluster.request();
    request.connector.user = "store_poor".into();
    let findings = check(&request).await;
    for what in ["may not create schemas", "belongs to postgres"] {
        assert!(
            has(&findings, Severity::Error, what),
            "{what}: {findings:?}"
        );
    }
    assert!(init(&request).await.is_err());
}

#[tokio::test]
async fn replicas_are_told_apart() {
    use router::local::{ClusterOptions, LocalCluster};
    let options = ClusterOptions {
        shards: 2,
        replicas: 1,
        server: fast(),
        ..ClusterOptions::default()
    };
    let cluster = LocalCluster::start(options).await.unwrap();
    let address = |server: &LocalServer| catalog::Server {
        host: "127.0.0.1".into(),
        port: server.port(),
        dbname: "postgres".into(),
    };
    let mut shards: Vec<ShardRequest> = cluster
        .shards()
        .iter()
        .map(|shard| ShardRequest {
            name: shard.name.clone(),
            primary: address(&shard.primary),
            replicas: shard.replicas.iter().map(address).collect(),
        })
        .collect();
    let request = |shards: &[ShardRequest]| InitRequest {
        connector: connector(),
        home: shards[0].primary.clone(),
        shards: shards.to_vec(),
    };
    init(&request(&shards)).await.unwrap();
    for shard in cluster.shards() {
        shard
            .catch_up(std::time::Duration::from_secs(20))
            .await
            .unwrap();
    }
    let findings = check(&request(&shards)).await;
    assert_eq!(findings, []);
    // Each other's replicas, and a replica for a primary.
    let (first, second) = shards.split_at_mut(1);
    std::mem::swap(&mut first[0].replicas, &mut second[0].replicas);
    let findings = check(&request(&shards)).await;
    assert!(
        has(&findings, Severity::Error, "is a copy of shard s1"),
        "{findings:?}"
    );
    assert!(
        has(&findings, Severity::Error, "is a copy of shard s2"),
        "{findings:?}"
    );
    shards[1].primary = shards[0].replicas[0].clone();
    let findings = check(&request(&shards)).await;
    assert!(
        has(
            &findings,
            Severity::Error,
            "is listed as a primary, but is a standby"
        ),
        "{findings:?}"
    );
    cluster.stop().await.unwrap();
}
