//! Replicas that are fit to answer, and reasons not to be.

use std::sync::Arc;
use std::time::Duration;

use catalog::{CatalogBuilder, Server, Shard, ShardId};
use router::config::Replicas;
use router::health::Health;
use router::local::{ClusterOptions, LocalCluster, LocalServer, ServerOptions, Stop};
use router::store::{CatalogHandle, Connector};

use crate::harness::{address, admin, fast, until};

struct Watched {
    cluster: LocalCluster,
    health: Arc<Health>,
    shard: Shard,
    watching: tokio::task::JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Watched {
    async fn start(settings: Replicas) -> Self {
        let options = ClusterOptions {
            shards: 1,
            replicas: 2,
            server: ServerOptions {
                host_rules: None,
                ..fast()
            },
            ..ClusterOptions::default()
        };
        let cluster = LocalCluster::start(options).await.unwrap();
        let local = &cluster.shards()[0];
        let shard = Shard {
            id: ShardId(1),
            name: "s1".to_owned(),
            primary: address(&local.primary),
            replicas: local.replicas.iter().map(address).collect(),
        };
        let catalog = CatalogBuilder::new()
            .shard(shard.clone())
            .default_shard(ShardId(1))
            .build()
            .unwrap();
        let health = Arc::new(Health::new(Replicas {
            check_interval: Duration::from_millis(20),
            ..settings
        }));
        let handle = CatalogHandle::new(Arc::new(catalog));
        let watching = tokio::spawn(health.clone().watch(handle, Connector::new("postgres")));
        Self {
            cluster,
            health,
            shard,
            watching,
        }
    }

    fn primary(&self) -> &LocalServer {
        &self.cluster.shards()[0].primary
    }

    fn replica(&self, index: usize) -> &LocalServer {
        &self.cluster.shards()[0].replicas[index]
    }

    /// The replicas that take part, by their index.
    fn picked(&self) -> Vec<usize> {
        let picks: Vec<&Server> = (0..4)
            .filter_map(|_| self.health.pick_replica(&self.shard))
            .collect();
        (0..2)
            .filter(|index| picks.contains(&&self.shard.replicas[*index]))
            .collect()
    }

    async fn until_picked(&self, expected: &[usize]) {
        until(|| self.picked() == expected).await;
    }
}

#[tokio::test]
async fn a_replica_that_is_gone_takes_no_part_until_it_is_back() {
    let watched = Watched::start(Replicas::default()).await;
    watched.until_picked(&[0, 1]).await;
    let found = watched.health.of(&watched.shard.primary).unwrap();
    assert_eq!(
        (found.up, found.in_recovery, found.problem),
        (true, Some(false), None)
    );
    let before = watched.health.of(&watched.shard.replicas[1]).unwrap();

    watched.replica(1).stop(Stop::Immediate).await.unwrap();
    watched.until_picked(&[0]).await;
    let found = watched.health.of(&watched.shard.replicas[1]).unwrap();
    assert!(
        !found.up && found.problem.is_some() && found.since > before.since,
        "{found:?}"
    );

    watched.replica(1).start().await.unwrap();
    watched.until_picked(&[0, 1]).await;
}

#[tokio::test]
async fn a_replica_that_falls_behind_takes_no_part() {
    let watched = Watched::start(Replicas {
        max_lag_bytes: 100_000,
        ..Replicas::default()
    })
    .await;
    watched.until_picked(&[0, 1]).await;
    admin(watched.replica(0), "SELECT pg_wal_replay_pause()").await;
    let sql = "CREATE TABLE much AS SELECT repeat(n::text, 20) AS text FROM generate_series(1, 5000) AS n";
    admin(watched.primary(), sql).await;
    watched.until_picked(&[1]).await;
    let found = watched.health.of(&watched.shard.replicas[0]).unwrap();
    assert!(found.up && found.lag_bytes.unwrap() > 100_000, "{found:?}");
    admin(watched.replica(0), "SELECT pg_wal_replay_resume()").await;
    watched.until_picked(&[0, 1]).await;
}

/// A replica shows what was true when its primary was seen last, so it may answer for as long as that is good enough.
#[tokio::test]
async fn replicas_outlast_their_primary_by_the_lag_that_is_allowed() {
    let watched = Watched::start(Replicas {
        max_lag: Duration::from_secs(2),
        ..Replicas::default()
    })
    .await;
    watched.until_picked(&[0, 1]).await;
    watched.primary().stop(Stop::Immediate).await.unwrap();
    until(|| !watched.health.of(&watched.shard.primary).unwrap().up).await;
    assert_eq!(watched.picked(), [0, 1]);
    watched.until_picked(&[]).await;
    let found = watched.health.of(&watched.shard.replicas[0]).unwrap();
    assert!(found.up && found.lag_ms.unwrap() > 2000, "{found:?}");
    watched.primary().start().await.unwrap();
    watched.until_picked(&[0, 1]).await;
}

#[tokio::test]
async fn a_promoted_replica_is_none() {
    let watched = Watched::start(Replicas::default()).await;
    watched.until_picked(&[0, 1]).await;
    watched.replica(0).promote().await.unwrap();
    watched.until_picked(&[1]).await;
    let found = watched.health.of(&watched.shard.replicas[0]).unwrap();
    assert_eq!(found.in_recovery, Some(false));
    assert!(found.problem.unwrap().contains("not in recovery"));
}
