//! One round of checks: every shard at the same time, its primary first, so that its replicas are compared with a
//! position that is not newer than theirs. A server that does not answer delays nobody but its own shard's replicas.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use catalog::{Catalog, Server, Shard};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::ServerHealth;
use super::lag::{History, Position, parse_position};
use crate::store::{Connection, Connector};

const ASK_PRIMARY: &str = "SELECT pg_is_in_recovery()::text, \
    CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_lsn()::text END";
const ASK_REPLICA: &str = "SELECT pg_is_in_recovery()::text, pg_last_wal_replay_lsn()::text, \
    (extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)::bigint::text";

/// One row of text, or what went wrong.
type Answer = Result<Vec<Option<String>>, String>;

pub struct Checker {
    connector: Connector,
    patience: Duration,
    /// For how long a primary's positions are of use.
    needed: Duration,
    connections: HashMap<Server, Connection>,
    histories: HashMap<Server, History>,
}

/// What was asked of one shard, and the connections for the next time.
struct Round {
    shard: Shard,
    primary: Answer,
    asked: Instant,
    replicas: Vec<(Server, Answer, Instant)>,
    connections: Vec<(Server, Connection)>,
}

impl Checker {
    pub fn new(connector: Connector, patience: Duration, needed: Duration) -> Self {
        Self {
            connector,
            patience,
            needed,
            connections: HashMap::new(),
            histories: HashMap::new(),
        }
    }

    /// What every server of the catalog is found to be.
    pub async fn check(&mut self, catalog: &Catalog) -> HashMap<Server, ServerHealth> {
        let mut rounds = JoinSet::new();
        for shard in catalog.shards() {
            let primary = self.ask(&shard.primary, ASK_PRIMARY);
            let replicas: Vec<_> = shard
                .replicas
                .iter()
                .map(|replica| self.ask(replica, ASK_REPLICA))
                .collect();
            rounds.spawn(round(shard.clone(), primary, replicas));
        }
        // A connection that was not given to a round belongs to a server that has left.
        self.connections.clear();
        let mut found = HashMap::new();
        while let Some(round) = rounds.join_next().await {
            // A round neither panics nor is aborted; if it were, its servers would be missing, which makes them unfit.
            if let Ok(round) = round {
                self.judge(round, &mut found);
            }
        }
        self.histories
            .retain(|server, _| found.contains_key(server));
        found
    }

    /// A question that can be asked apart from the others.
    fn ask(&mut self, server: &Server, sql: &'static str) -> Question {
        Question {
            server: server.clone(),
            sql,
            connection: self.connections.remove(server),
            connector: self.connector.clone(),
            patience: self.patience,
        }
    }

    fn judge(&mut self, round: Round, found: &mut HashMap<Server, ServerHealth>) {
        self.connections.extend(round.connections);
        let history = self
            .histories
            .entry(round.shard.primary.clone())
            .or_default();
        if let Some(position) = position(&round.primary) {
            history.note(position, round.asked, self.needed);
        }
        let mut primary = basic_health(&round.primary);
        if primary.in_recovery == Some(true) {
            primary.problem = Some("registered as a primary, but in recovery".to_owned());
        }
        found.insert(round.shard.primary, primary);
        for (server, answer, asked) in round.replicas {
            found.insert(server, replica_health(&answer, history, asked));
        }
    }
}

struct Question {
    server: Server,
    sql: &'static str,
    connection: Option<Connection>,
    connector: Connector,
    patience: Duration,
}

impl Question {
    /// The answer, and the connection if it is good for another question.
    async fn answer(self) -> (Server, Answer, Instant, Option<Connection>) {
        // Before the question: what comes is at least as new.
        let asked = Instant::now();
        let (answer, connection) = match timeout(
            self.patience,
            exchange(self.connection, &self.connector, &self.server, self.sql),
        )
        .await
        {
            Ok(Ok((row, connection))) => (Ok(row), Some(connection)),
            Ok(Err(error)) => (Err(error), None),
            Err(_) => (
                Err(format!("no answer within {} ms", self.patience.as_millis())),
                None,
            ),
        };
        (self.server, answer, asked, connection)
    }
}

async fn round(shard: Shard, primary: Question, replicas: Vec<Question>) -> Round {
    let mut connections = Vec::new();
    let (server, answer, asked, connection) = primary.answer().await;
    connections.extend(connection.map(|connection| (server, connection)));
    let mut round = Round {
        shard,
        primary: answer,
        asked,
        replicas: Vec::new(),
        connections,
    };
    let mut questions: JoinSet<_> = replicas.into_iter().map(Question::answer).collect();
    while let Some(answered) = questions.join_next().await {
        if let Ok((server, answer, asked, connection)) = answered {
            round
                .connections
                .extend(connection.map(|connection| (server.clone(), connection)));
            round.replicas.push((server, answer, asked));
        }
    }
    round
}

/// A connection that failed is opened anew, once: its server may have been restarted since the last question.
async fn exchange(
    connection: Option<Connection>,
    connector: &Connector,
    server: &Server,
    sql: &str,
) -> Result<(Vec<Option<String>>, Connection), String> {
    if let Some(connection) = connection.filter(|connection| !connection.is_closed())
        && let Ok(rows) = connection.rows(sql).await
    {
        return Ok((first(rows)?, connection));
    }
    let connection = connector
        .connect(server)
        .await
        .map_err(|error| error.to_string())?;
    let rows = connection
        .rows(sql)
        .await
        .map_err(|error| error.to_string())?;
    Ok((first(rows)?, connection))
}

fn first(rows: Vec<Vec<Option<String>>>) -> Answer {
    rows.into_iter()
        .next()
        .ok_or_else(|| "the server gave no answer".to_owned())
}

fn field(answer: &Answer, index: usize) -> Option<&str> {
    answer.as_ref().ok()?.get(index)?.as_deref()
}

fn position(answer: &Answer) -> Option<Position> {
    field(answer, 1).and_then(parse_position)
}

fn replica_health(answer: &Answer, history: &History, asked: Instant) -> ServerHealth {
    let mut health = basic_health(answer);
    if health.in_recovery == Some(false) {
        health.problem = Some("registered as a replica, but not in recovery".to_owned());
        return health;
    }
    // Where the servers' clocks differ so much that it is negative, it says nothing, and does not parse.
    let commit_age = field(answer, 2)
        .and_then(|ms| ms.parse().ok())
        .map(Duration::from_millis);
    let lag = position(answer).and_then(|replayed| history.lag(replayed, commit_age, asked));
    health.lag_bytes = lag.map(|lag| lag.bytes);
    health.lag_ms = lag
        .and_then(|lag| lag.time)
        .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    health
}

fn basic_health(answer: &Answer) -> ServerHealth {
    let now = SystemTime::now();
    ServerHealth {
        up: answer.is_ok(),
        in_recovery: field(answer, 0).map(|text| matches!(text, "true" | "t")),
        lag_bytes: None,
        lag_ms: None,
        problem: answer.as_ref().err().cloned(),
        checked: now,
        since: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(values: [Option<&str>; 3]) -> Answer {
        Ok(values.map(|value| value.map(str::to_owned)).into())
    }

    #[test]
    fn a_replica_is_compared_with_its_primary() {
        let (now, mut history) = (Instant::now(), History::default());
        let replica = answer([Some("true"), Some("0/10"), Some("90000")]);
        let health = replica_health(&replica, &history, now);
        assert_eq!(
            (health.up, health.lag_bytes, health.lag_ms),
            (true, None, None)
        );
        history.note(16, now, Duration::from_secs(1));
        let health = replica_health(&replica, &history, now);
        assert_eq!((health.lag_bytes, health.lag_ms), (Some(0), Some(0)));
        history.note(20, now, Duration::from_secs(1));
        let slow_clock = answer([Some("true"), Some("0/10"), Some("-5")]);
        let later = now + Duration::from_millis(700);
        let health = replica_health(&slow_clock, &history, later);
        assert_eq!((health.lag_bytes, health.lag_ms), (Some(4), Some(700)));
    }

    #[test]
    fn a_promoted_replica_is_a_problem() {
        let health = replica_health(
            &answer([Some("false"), Some("0/10"), None]),
            &History::default(),
            Instant::now(),
        );
        assert!(health.up && health.problem.is_some() && health.lag_bytes.is_none());
    }
}
