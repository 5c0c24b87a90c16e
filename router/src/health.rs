//! Which servers are fit to answer: background checks of every primary and replica.
//!
//! A primary must be out of recovery. A replica must be in recovery and close behind its primary: at most so many bytes
//! of WAL, and at most so long behind, where time counts only while bytes are missing (an idle primary sends nothing, and
//! a replica that has replayed everything is not late).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use catalog::{Catalog, Server, Shard};
use tokio::time::timeout;

use crate::config::Replicas;
use crate::store::{CatalogHandle, Connection, Connector};

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
}

/// The newest findings, for readers that must not wait.
pub struct Health {
    settings: Replicas,
    servers: ArcSwap<HashMap<Server, ServerHealth>>,
    turn: AtomicUsize,
}

impl Health {
    pub fn new(settings: Replicas) -> Self {
        Self {
            settings,
            servers: ArcSwap::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// A replica of the shard that is fit to answer; fit ones take turns.
    pub fn pick_replica<'a>(&self, shard: &'a Shard) -> Option<&'a Server> {
        let servers = self.servers.load();
        let fit = |server: &&Server| servers.get(*server).is_some_and(|health| self.is_fit(health));
        let count = shard.replicas.iter().filter(fit).count();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(count)?;
        shard.replicas.iter().filter(fit).nth(turn)
    }

    /// The findings of one server.
    pub fn of(&self, server: &Server) -> Option<ServerHealth> {
        self.servers.load().get(server).cloned()
    }

    fn is_fit(&self, health: &ServerHealth) -> bool {
        health.up
            && health.in_recovery == Some(true)
            && health.problem.is_none()
            && health.lag_bytes.is_some_and(|bytes| bytes <= self.settings.max_lag_bytes)
            && health.lag_ms.is_some_and(|ms| u128::from(ms) <= self.settings.max_lag.as_millis())
    }

    /// Checks all servers of the catalog, again and again, until dropped.
    pub async fn watch(self: Arc<Self>, catalog: CatalogHandle, connector: Connector) {
        let mut checker = Checker {
            connector,
            patience: self.settings.check_interval.max(Duration::from_secs(1)),
            connections: HashMap::new(),
        };
        let mut tick = tokio::time::interval(self.settings.check_interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let found = checker.check(&catalog.snapshot()).await;
            self.report_changes(&found);
            self.servers.store(Arc::new(found));
        }
    }

    fn report_changes(&self, found: &HashMap<Server, ServerHealth>) {
        let before = self.servers.load();
        for (server, health) in found {
            let was_up = before.get(server).is_none_or(|health| health.up);
            match (was_up, health.up) {
                (true, false) => {
                    let problem = health.problem.as_deref().unwrap_or("unknown");
                    tracing::warn!(%server, problem, "a server cannot be reached");
                }
                (false, true) => tracing::info!(%server, "a server can be reached again"),
                _ => {}
            }
        }
    }
}

struct Checker {
    connector: Connector,
    patience: Duration,
    connections: HashMap<Server, Connection>,
}

impl Checker {
    async fn check(&mut self, catalog: &Catalog) -> HashMap<Server, ServerHealth> {
        let mut found = HashMap::new();
        for shard in catalog.shards() {
            let primary = self
                .ask(&shard.primary, "SELECT pg_is_in_recovery()::text, CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_lsn()::text END")
                .await;
            let position = primary
                .as_ref()
                .ok()
                .and_then(|row| row.get(1).cloned().flatten())
                .and_then(|lsn| parse_lsn(&lsn));
            found.insert(shard.primary.clone(), primary_health(primary));
            for replica in &shard.replicas {
                let row = self
                    .ask(replica, "SELECT pg_is_in_recovery()::text, pg_last_wal_replay_lsn()::text, (extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)::bigint::text")
                    .await;
                found.insert(replica.clone(), replica_health(row, position));
            }
        }
        self.connections.retain(|server, _| found.contains_key(server));
        found
    }

    /// One row of text. A connection that fails is opened anew at the next check.
    async fn ask(&mut self, server: &Server, sql: &str) -> Result<Vec<Option<String>>, String> {
        let connection = match self.connections.remove(server) {
            Some(connection) if !connection.is_closed() => connection,
            _ => timeout(self.patience, self.connector.connect(server))
                .await
                .map_err(|_| "connecting took too long".to_owned())?
                .map_err(|error| error.to_string())?,
        };
        let rows = timeout(self.patience, connection.rows(sql))
            .await
            .map_err(|_| "the server did not answer in time".to_owned())?
            .map_err(|error| error.to_string())?;
        self.connections.insert(server.clone(), connection);
        rows.into_iter().next().ok_or_else(|| "the server gave no answer".to_owned())
    }
}

fn primary_health(row: Result<Vec<Option<String>>, String>) -> ServerHealth {
    let mut health = health_of(&row);
    if health.in_recovery == Some(true) {
        health.problem = Some("registered as a primary, but in recovery".to_owned());
    }
    health
}

fn replica_health(row: Result<Vec<Option<String>>, String>, primary: Option<u64>) -> ServerHealth {
    let mut health = health_of(&row);
    let Ok(row) = row else {
        return health;
    };
    let replayed = row.get(1).cloned().flatten().and_then(|lsn| parse_lsn(&lsn));
    if let (Some(primary), Some(replayed)) = (primary, replayed) {
        health.lag_bytes = Some(primary.saturating_sub(replayed));
    }
    let since = row.get(2).cloned().flatten().and_then(|ms| ms.parse::<u64>().ok());
    health.lag_ms = match health.lag_bytes {
        Some(0) => Some(0),
        _ => since,
    };
    if health.in_recovery == Some(false) {
        health.problem = Some("registered as a replica, but not in recovery".to_owned());
    }
    health
}

fn health_of(row: &Result<Vec<Option<String>>, String>) -> ServerHealth {
    let in_recovery = row
        .as_ref()
        .ok()
        .and_then(|row| row.first().cloned().flatten())
        .map(|text| text == "true" || text == "t");
    ServerHealth {
        up: row.is_ok(),
        in_recovery,
        lag_bytes: None,
        lag_ms: None,
        problem: row.as_ref().err().cloned(),
        checked: SystemTime::now(),
    }
}

/// A WAL position such as `0/16B3748` in bytes.
fn parse_lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some((u64::from_str_radix(high, 16).ok()? << 32) | u64::from_str_radix(low, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: [Option<&str>; 3]) -> Result<Vec<Option<String>>, String> {
        Ok(values.map(|value| value.map(str::to_owned)).into())
    }

    #[test]
    fn a_replica_that_has_everything_is_not_late() {
        let health = replica_health(row([Some("true"), Some("0/10"), Some("90000")]), Some(16));
        assert_eq!((health.lag_bytes, health.lag_ms), (Some(0), Some(0)));
        let health = replica_health(row([Some("true"), Some("0/10"), Some("90000")]), Some(20));
        assert_eq!((health.lag_bytes, health.lag_ms), (Some(4), Some(90_000)));
    }

    #[test]
    fn a_promoted_replica_is_not_fit() {
        let health = replica_health(row([Some("false"), Some("0/10"), None]), Some(16));
        assert!(!Health::new(Replicas::default()).is_fit(&health));
    }

    #[test]
    fn positions_are_hexadecimal() {
        assert_eq!(parse_lsn("1/A"), Some((1 << 32) + 10));
        assert_eq!(parse_lsn("x"), None);
    }
}
