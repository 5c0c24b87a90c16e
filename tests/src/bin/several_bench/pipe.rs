//! Bringing all rows to one server: by a query of pgweave's, and by psql's COPY from each shard into a table there.

use std::time::Instant;

use ::tests::bench::cluster::Cluster;
use ::tests::bench::pipe::pipe;
use ::tests::load::succeed;
use ::tests::process::Failure;
use tokio::task::JoinSet;

/// Rows a second.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    pub gathered: f64,
    pub piped: f64,
}

/// A window function over whole rows needs them all in one place; no row is left for the client.
fn query(rows: u64) -> String {
    format!("SELECT *, row_number() OVER () FROM accounts OFFSET {rows}")
}

/// Errors if the query's rows would not be brought.
pub fn check(cluster: &Cluster, rows: u64) -> Result<(), Failure> {
    let mut client = cluster.router.endpoint().client()?;
    let plan = succeed(&mut client, &format!("EXPLAIN {}", query(rows)))?;
    match plan
        .iter()
        .flatten()
        .any(|line| line.contains("Bring public.accounts"))
    {
        true => Ok(()),
        false => Err(Failure(format!("no rows are brought: {plan:?}"))),
    }
}

pub async fn measure(cluster: &Cluster, rows: u64) -> Result<Moved, Failure> {
    let mut client = cluster.router.endpoint().client()?;
    let started = Instant::now();
    succeed(&mut client, &query(rows))?;
    let gathered = rows as f64 / started.elapsed().as_secs_f64();
    let target = cluster
        .shards
        .first()
        .ok_or_else(|| Failure("a cluster without shards".to_owned()))?;
    let mut server = target.client()?;
    // Without a log of changes, as temporary tables are.
    succeed(
        &mut server,
        "CREATE UNLOGGED TABLE moved AS SELECT * FROM accounts LIMIT 0",
    )?;
    let started = Instant::now();
    let mut pipes = JoinSet::new();
    for shard in cluster.shards.clone() {
        let target = target.clone();
        pipes.spawn(async move { pipe((&shard, "accounts"), (&target, "moved")).await });
    }
    pipes
        .join_all()
        .await
        .into_iter()
        .collect::<Result<(), _>>()?;
    let piped = rows as f64 / started.elapsed().as_secs_f64();
    let arrived = succeed(&mut server, "SELECT count(*) FROM moved")?;
    if arrived != [Some(rows.to_string())] {
        return Err(Failure(format!(
            "{arrived:?} of {rows} rows went through the pipe"
        )));
    }
    succeed(&mut server, "DROP TABLE moved")?;
    Ok(Moved { gathered, piped })
}
