//! One round of one statement: on the plain server, through a router, and by hand on the shards.
//!
//! By hand, all shards that pgweave would ask are asked at the same time, each by a pgbench of its own with as many clients, and the
//! slowest counts. On a machine that all shards share, one shard alone would have the processors to itself.

use ::tests::bench::pgbench::{Length, Outcome, Run};
use ::tests::bench::usage;
use ::tests::endpoint::Endpoint;
use ::tests::process::Failure;
use router::local::Scratch;
use tokio::task::JoinSet;

use crate::asked::asked_of_shards;
use ::tests::bench::cluster::Cluster;

use crate::cluster::Databases;
use crate::options::Options;
use crate::statement::{Road, Statement};

/// One way of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Plain,
    /// Through the router of the cluster of so many shards.
    Pgweave(usize),
    /// That cluster's shards themselves.
    ByHand(usize),
}

/// One run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub per_second: f64,
    pub latency_ms: f64,
    /// The router's processor time, if there is one.
    pub cpu_us_per_transaction: Option<f64>,
}

/// All ways to ask one statement.
pub struct Ways {
    pub all: Vec<(Subject, Vec<Run>, Option<u32>)>,
}

impl Ways {
    pub fn new(
        statement: &Statement,
        clients: u32,
        databases: &Databases,
        scratch: &Scratch,
        options: &Options,
    ) -> Result<Ways, Failure> {
        let run = |endpoint: &Endpoint, script: &str, statements: &[String]| {
            let path = scratch.path().join(script);
            std::fs::write(&path, statement.script(statements))?;
            Ok::<Run, Failure>(Run {
                name: statement.name.to_owned(),
                endpoint: endpoint.clone(),
                script: path,
                protocol: "prepared",
                clients,
                length: Length::Seconds(options.seconds),
                variables: vec![("rows", options.rows)],
            })
        };
        let own = [statement.sql.to_owned()];
        let mut all = vec![(
            Subject::Plain,
            vec![run(&databases.plain, "own.sql", &own)?],
            None,
        )];
        for cluster in &databases.clusters {
            let count = cluster.shards.len();
            let router = run(cluster.router.endpoint(), "own.sql", &own)?;
            all.push((Subject::Pgweave(count), vec![router], Some(cluster.pid())));
            let (shards, asked) = by_hand(statement, cluster)?;
            let script = format!("asked_of_{count}.sql");
            let shards = shards.iter().map(|shard| run(shard, &script, &asked));
            all.push((
                Subject::ByHand(count),
                shards.collect::<Result<_, _>>()?,
                None,
            ));
        }
        Ok(Ways { all })
    }

    /// Opens the connections that the measurement will use, and fills caches.
    pub async fn warm_up(&self) -> Result<(), Failure> {
        for (_, runs, _) in &self.all {
            for run in runs {
                let length = Length::Transactions(10);
                Run {
                    length,
                    ..run.clone()
                }
                .outcome()
                .await?;
            }
        }
        Ok(())
    }
}

/// Which shards are asked, and what.
fn by_hand<'a>(
    statement: &Statement,
    cluster: &'a Cluster,
) -> Result<(&'a [Endpoint], Vec<String>), Failure> {
    let own = vec![statement.sql.to_owned()];
    match (statement.road, &cluster.shards[..]) {
        (Road::One, [first, ..]) => Ok((std::slice::from_ref(first), own)),
        (_, [only]) => Ok((std::slice::from_ref(only), own)),
        (_, all) => {
            let asked = asked_of_shards(cluster.router.endpoint(), statement.sql)?;
            Ok((all, asked))
        }
    }
}

/// Runs all at once; the slowest counts. `router`: whose processor time is taken.
pub async fn measure(runs: &[Run], router: Option<u32>) -> Result<Sample, Failure> {
    let cpu = || router.map(usage::cpu_us).transpose();
    let before = cpu()?;
    let mut tasks = JoinSet::new();
    for run in runs {
        let run = run.clone();
        tasks.spawn(async move { run.outcome().await });
    }
    let outcomes: Vec<Outcome> = tasks
        .join_all()
        .await
        .into_iter()
        .collect::<Result<_, _>>()?;
    let used = cpu()?.zip(before).map(|(after, before)| after - before);
    let slowest = outcomes
        .iter()
        .max_by(|a, b| a.latency_ms.total_cmp(&b.latency_ms))
        .ok_or_else(|| Failure("a cluster without shards".to_owned()))?;
    Ok(Sample {
        per_second: slowest.per_second,
        latency_ms: slowest.latency_ms,
        cpu_us_per_transaction: used.map(|us| us as f64 / slowest.transactions.max(1) as f64),
    })
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Subject::Plain => f.write_str("PostgreSQL"),
            Subject::Pgweave(shards) => write!(f, "pgweave, {shards}"),
            Subject::ByHand(shards) => write!(f, "by hand, {shards}"),
        }
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:>8.0} a second  {:>8.3} ms",
            self.per_second, self.latency_ms
        )?;
        match self.cpu_us_per_transaction {
            Some(us) => write!(f, "  {us:>8.1} µs of the router's processor each"),
            None => Ok(()),
        }
    }
}
