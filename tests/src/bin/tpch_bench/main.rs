//! The 22 queries of TPC-H: a plain PostgreSQL, and pgweave with 1, 2 and 4 shards, measured in one run. Fails if any answer differs.
//!
//! All have the same rows on one server. For each query the subjects take turns, round by round. Prints as it goes, and writes its part of
//! `tests/bench/RESULTS.md` when everything was measured.
//!
//! Entry point: [`run`].

mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use ::tests::bench::cluster::Cluster;
use ::tests::bench::pipe::pipe;
use ::tests::bench::server;
use ::tests::client::rows;
use ::tests::differential::script::{Action, Script};
use ::tests::endpoint::Endpoint;
use ::tests::load::succeed;
use ::tests::process::Failure;
use ::tests::tpch;
use clap::Parser;
use router::local::{LocalServer, Stop};

use report::Report;

/// Measures the queries of TPC-H.
#[derive(Debug, Clone, Parser)]
#[command(name = "tpch_bench")]
struct Options {
    /// How large the tables are; at 1 the largest has six million rows.
    #[arg(long, default_value_t = 0.05)]
    scale: f64,
    /// How often everything is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Clusters of so many shards.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4])]
    shards: Vec<usize>,
    /// Only these queries, by their numbers.
    #[arg(long, value_delimiter = ',')]
    only: Vec<usize>,
    /// A sentence for the results, of what else this machine was doing.
    #[arg(long)]
    remark: Option<String>,
    /// Writes the results there; a partial run writes nothing unless this is given.
    #[arg(long)]
    output: Option<PathBuf>,
}

impl Options {
    fn is_complete(&self) -> bool {
        self.only.is_empty()
            && [1, 2, 4].iter().all(|count| self.shards.contains(count))
            && self.scale >= 0.05
            && self.rounds >= 3
    }
}

fn main() -> ExitCode {
    tests::bench::main(run(Options::parse()))
}

/// Measures what the options choose.
async fn run(options: Options) -> Result<(), Failure> {
    tests::process::raise_file_limit();
    let queries = queries()?;
    let names: Vec<Vec<String>> = (options.shards.iter())
        .map(|count| {
            (1..=*count)
                .map(|n| format!("shard_{n}_of_{count}"))
                .collect()
        })
        .collect();
    let mut all: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
    all.push("plain");
    let server = server::start(&all).await?;
    let plain = Endpoint::local(server.port(), "plain");
    println!("loading tables at scale {}", options.scale);
    let script = tpch::tables(options.scale)?;
    let tables = load_plain(&server, &script).await?;
    let mut clusters = Vec::new();
    for names in &names {
        let shards = (names.iter())
            .map(|name| Endpoint::local(server.port(), name))
            .collect();
        let cluster = Cluster::start(shards, 20).await?;
        load(&cluster, &script, &plain, &tables).await?;
        clusters.push(cluster);
    }
    for name in all {
        server::settle(&server, name).await?;
    }
    let mut report = Report::new(&options);
    for (number, sql) in (1..).zip(&queries) {
        if !options.only.is_empty() && !options.only.contains(&number) {
            continue;
        }
        // Once unmeasured: types are learned, connections are opened.
        let (wanted, _) = ask(&plain, sql)?;
        for cluster in &clusters {
            let (found, _) = ask(cluster.router.endpoint(), sql)?;
            if found != wanted {
                let shards = cluster.shards.len();
                return Err(Failure(format!(
                    "query {number} is answered otherwise over {shards} shards:\n{wanted:?}\n{found:?}"
                )));
            }
        }
        for _ in 0..options.rounds {
            let (_, ms) = ask(&plain, sql)?;
            report.add(number, 0, ms);
            for cluster in &clusters {
                let (_, ms) = ask(cluster.router.endpoint(), sql)?;
                report.add(number, cluster.shards.len(), ms);
            }
        }
        println!("{}", report.line(number));
    }
    report.finish(&options)?;
    for cluster in clusters {
        cluster.stop().await;
    }
    Ok(server.stop(Stop::Fast).await?)
}

/// The 22 queries, in their order.
fn queries() -> Result<Vec<String>, Failure> {
    let script = Script::read(&tpch::directory().join("queries.sql"))?;
    let sql = |action: Action| match action {
        Action::Run(statement) => Some(statement.sql),
        Action::SetUp(_) | Action::Connect(_) | Action::Disconnect(_) => None,
    };
    let all = script.steps.into_iter().filter_map(|step| sql(step.action));
    Ok(all.take(22).collect())
}

/// Makes and fills the tables on a plain server. Gives their names.
async fn load_plain(server: &LocalServer, script: &Script) -> Result<Vec<String>, Failure> {
    let client = server.connect("plain").await?;
    let mut tables = Vec::new();
    for step in &script.steps {
        if let Action::Run(statement) = &step.action {
            client.batch_execute(&statement.sql).await?;
            let insert = statement.sql.strip_prefix("INSERT INTO ");
            tables.extend(
                insert
                    .and_then(|rest| rest.split(' ').next())
                    .map(str::to_owned),
            );
        }
    }
    Ok(tables)
}

/// Makes the tables through a router, and brings the plain server's rows by COPY.
async fn load(
    cluster: &Cluster,
    script: &Script,
    plain: &Endpoint,
    tables: &[String],
) -> Result<(), Failure> {
    let router = cluster.router.endpoint();
    let mut client = router.client()?;
    for step in &script.steps {
        match &step.action {
            Action::Run(statement) if statement.sql.starts_with("INSERT") => {}
            Action::Run(statement) => {
                succeed(&mut client, &statement.sql)?;
            }
            Action::SetUp(sql) => {
                succeed(&mut client, sql)?;
            }
            Action::Connect(_) | Action::Disconnect(_) => {}
        }
    }
    for table in tables {
        pipe((plain, table), (router, table)).await?;
    }
    Ok(())
}

type Rows = Vec<Vec<Option<String>>>;

/// A query's rows, and how long it took, in milliseconds.
fn ask(endpoint: &Endpoint, sql: &str) -> Result<(Rows, f64), Failure> {
    let mut client = endpoint.client()?;
    let started = Instant::now();
    let answer = client.query(sql)?;
    let ms = started.elapsed().as_secs_f64() * 1e3;
    match answer.iter().find(|message| message.tag == b'E') {
        Some(error) => Err(Failure(format!("{sql}: {error:?}"))),
        None => Ok((rows(&answer), ms)),
    }
}
