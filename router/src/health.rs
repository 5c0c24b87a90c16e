//! Which servers are fit to answer: background checks of every primary and replica.
//!
//! Entry points: [`Health::watch`], which checks, and [`Health::pick_replica`], which reads what was found and never waits.
//! A primary must be out of recovery. A replica must be in recovery and close behind its primary: at most so many bytes
//! of WAL, and at most so long. See [`lag`] for what "long" means.

mod checker;
mod lag;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use catalog::{Catalog, Server, Shard, ShardId};

use crate::config::Replicas;
use crate::store::{CatalogHandle, Connector};
use checker::Checker;

/// What is known of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHealth {
    pub up: bool,
    pub in_recovery: Option<bool>,
    /// Behind the primary; replicas only.
    pub lag_bytes: Option<u64>,
    pub lag_ms: Option<u64>,
    pub problem: Option<String>,
    pub checked: SystemTime,
    /// Since when the server has been up, or down.
    pub since: SystemTime,
}

/// The newest findings, for readers that must not wait.
pub struct Health {
    settings: Replicas,
    findings: ArcSwap<Findings>,
}

/// What one round of checks has found.
#[derive(Default)]
struct Findings {
    servers: HashMap<Server, ServerHealth>,
    /// By shard, in the order of their ids.
    fit: Vec<FitReplicas>,
}

/// The replicas of one shard that may answer, taking turns.
struct FitReplicas {
    shard: ShardId,
    replicas: Vec<Server>,
    turn: AtomicUsize,
}

impl Health {
    pub fn new(settings: Replicas) -> Self {
        Self {
            settings,
            findings: ArcSwap::default(),
        }
    }

    /// A replica of the shard that is fit to answer; fit ones take turns.
    pub fn pick_replica<'a>(&self, shard: &'a Shard) -> Option<&'a Server> {
        let findings = self.findings.load();
        let at = findings
            .fit
            .binary_search_by_key(&shard.id, |fit| fit.shard)
            .ok()?;
        let fit = &findings.fit[at];
        let turn = fit.turn.fetch_add(1, Ordering::Relaxed);
        // The catalog may have changed since the check: a server that is no longer the shard's is passed over.
        (0..fit.replicas.len()).find_map(|step| {
            let replica = &fit.replicas[turn.wrapping_add(step) % fit.replicas.len()];
            shard.replicas.iter().find(|server| *server == replica)
        })
    }

    /// The findings of one server.
    pub fn of(&self, server: &Server) -> Option<ServerHealth> {
        self.findings.load().servers.get(server).cloned()
    }

    fn is_fit(&self, health: &ServerHealth) -> bool {
        health.up
            && health.in_recovery == Some(true)
            && health.problem.is_none()
            && health
                .lag_bytes
                .is_some_and(|bytes| bytes <= self.settings.max_lag_bytes)
            && health
                .lag_ms
                .is_some_and(|ms| u128::from(ms) <= self.settings.max_lag.as_millis())
    }

    /// Checks all servers of the catalog, again and again, until dropped.
    pub async fn watch(self: Arc<Self>, catalog: CatalogHandle, connector: Connector) {
        let interval = self.settings.check_interval.max(Duration::from_millis(1));
        let patience = interval.max(Duration::from_secs(1));
        let mut checker = Checker::new(connector, patience, self.settings.max_lag);
        let mut epochs = catalog.subscribe();
        let mut tick = tokio::time::interval(interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                // Servers that have just been registered need not wait for their turn.
                Ok(()) = epochs.changed() => {}
            }
            let snapshot = catalog.snapshot();
            let found = checker.check(&snapshot).await;
            self.publish(&snapshot, found);
        }
    }

    fn publish(&self, catalog: &Catalog, mut servers: HashMap<Server, ServerHealth>) {
        let before = self.findings.load();
        for (server, health) in &mut servers {
            let known = before.servers.get(server);
            if let Some(known) = known.filter(|known| known.up == health.up) {
                health.since = known.since;
            }
            report_change(server, known, health);
        }
        let is_fit = |server: &&Server| {
            servers
                .get(*server)
                .is_some_and(|health| self.is_fit(health))
        };
        let mut fit: Vec<FitReplicas> = catalog
            .shards()
            .iter()
            .map(|shard| FitReplicas {
                shard: shard.id,
                replicas: shard.replicas.iter().filter(is_fit).cloned().collect(),
                // Not always the first one, however few reads there are between two checks.
                turn: AtomicUsize::new(rand::random::<u32>() as usize),
            })
            .collect();
        fit.sort_by_key(|fit| fit.shard);
        self.findings.store(Arc::new(Findings { servers, fit }));
    }
}

fn report_change(server: &Server, before: Option<&ServerHealth>, now: &ServerHealth) {
    let was_up = before.is_none_or(|health| health.up);
    let problem = now.problem.as_deref();
    match (was_up, now.up) {
        (true, false) => {
            let problem = problem.unwrap_or("unknown");
            tracing::warn!(%server, problem, "a server cannot be reached");
        }
        (false, true) => tracing::info!(%server, "a server can be reached again"),
        (true, true)
            if problem.is_some() && before.is_none_or(|health| health.problem != now.problem) =>
        {
            tracing::warn!(%server, problem, "a server is not what it is registered as");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(port: u16) -> Server {
        Server {
            host: "h".to_owned(),
            port,
            dbname: "d".to_owned(),
        }
    }

    fn good() -> ServerHealth {
        ServerHealth {
            up: true,
            in_recovery: Some(true),
            lag_bytes: Some(0),
            lag_ms: Some(0),
            problem: None,
            checked: SystemTime::UNIX_EPOCH,
            since: SystemTime::now(),
        }
    }

    fn catalog() -> Catalog {
        let shard = |id: u32, replicas: &[u16]| Shard {
            id: ShardId(id),
            name: format!("s{id}"),
            primary: server(1000 + id as u16),
            replicas: replicas.iter().map(|port| server(*port)).collect(),
        };
        catalog::CatalogBuilder::new()
            .shard(shard(1, &[11, 12, 13]))
            .shard(shard(2, &[21, 22]))
            .default_shard(ShardId(1))
            .build()
            .unwrap()
    }

    #[test]
    fn only_what_is_well_and_close_is_fit() {
        let health = Health::new(Replicas::default());
        assert!(health.is_fit(&good()));
        for spoil in [
            |health: &mut ServerHealth| health.up = false,
            |health: &mut ServerHealth| health.in_recovery = Some(false),
            |health: &mut ServerHealth| health.in_recovery = None,
            |health: &mut ServerHealth| health.lag_bytes = None,
            |health: &mut ServerHealth| health.lag_bytes = Some((16 << 20) + 1),
            |health: &mut ServerHealth| health.lag_ms = None,
            |health: &mut ServerHealth| health.lag_ms = Some(10_001),
            |health: &mut ServerHealth| health.problem = Some(String::new()),
        ] {
            let mut spoilt = good();
            spoil(&mut spoilt);
            assert!(!health.is_fit(&spoilt), "{spoilt:?}");
        }
    }

    /// Shards that are read in alternation must not always meet the same replica.
    #[test]
    fn fit_replicas_of_each_shard_take_turns() {
        let (health, catalog) = (Health::new(Replicas::default()), catalog());
        assert_eq!(health.pick_replica(&catalog.shards()[0]), None);
        let mut servers: HashMap<_, _> = [11, 12, 13, 21, 22]
            .map(|port| (server(port), good()))
            .into();
        servers.get_mut(&server(12)).unwrap().up = false;
        health.publish(&catalog, servers);
        let mut counts: HashMap<u16, u32> = HashMap::new();
        for _ in 0..4 {
            for shard in catalog.shards() {
                *counts
                    .entry(health.pick_replica(shard).unwrap().port)
                    .or_default() += 1;
            }
        }
        assert_eq!(counts, [(11, 2), (13, 2), (21, 2), (22, 2)].into());
        // The shard has lost one of them since the check.
        let mut changed = catalog.shards()[0].clone();
        changed.replicas.retain(|replica| replica.port != 11);
        assert!((0..4).all(|_| health.pick_replica(&changed) == Some(&server(13))));
    }

    #[test]
    fn the_time_of_the_last_change_is_kept() {
        let (health, catalog) = (Health::new(Replicas::default()), catalog());
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let round = |up, seconds| {
            let found = ServerHealth {
                up,
                since: at(seconds),
                ..good()
            };
            health.publish(&catalog, [(server(11), found)].into());
            health.of(&server(11)).unwrap().since
        };
        let times = [
            round(true, 1),
            round(true, 2),
            round(false, 3),
            round(false, 4),
        ];
        assert_eq!(times, [1, 1, 3, 3].map(at));
    }
}
