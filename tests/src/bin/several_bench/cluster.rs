//! What is measured: a server with all the rows, and clusters that have them in parts.

use ::tests::bench::cluster::Cluster;
use ::tests::bench::{results, server};
use ::tests::endpoint::Endpoint;
use ::tests::load::{fill, succeed};
use ::tests::process::Failure;
use router::local::LocalServer;

use crate::options::Options;

/// Databases of one server, so that none has more of the machine than another, and a router for each cluster.
pub struct Databases {
    pub server: LocalServer,
    pub plain: Endpoint,
    pub clusters: Vec<Cluster>,
}

impl Databases {
    /// Starts everything and loads the rows.
    pub async fn start(options: &Options) -> Result<Databases, Failure> {
        let names: Vec<Vec<String>> = options
            .shards
            .iter()
            .map(|count| {
                (1..=*count)
                    .map(|n| format!("shard_{n}_of_{count}"))
                    .collect()
            })
            .collect();
        let mut all: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
        all.push("plain");
        let server = server::start(&all).await?;
        let endpoint = |name: &str| Endpoint::local(server.port(), name);
        println!(
            "loading {} rows into each of plain and {:?} shards",
            options.rows, options.shards
        );
        let plain = endpoint("plain");
        run_script(&plain, "schema.sql")?;
        load(std::slice::from_ref(&plain), options.rows)?;
        let mut clusters = Vec::new();
        for names in &names {
            let shards = names.iter().map(|name| endpoint(name)).collect();
            let cluster = Cluster::start(shards, options.pool).await?;
            run_script(cluster.router.endpoint(), "schema.sql")?;
            run_script(cluster.router.endpoint(), "shard.sql")?;
            load(&cluster.shards, options.rows)?;
            clusters.push(cluster);
        }
        for name in all {
            server::settle(&server, name).await?;
        }
        Ok(Databases {
            plain,
            clusters,
            server,
        })
    }

    pub async fn stop(self) -> Result<(), Failure> {
        for cluster in self.clusters {
            cluster.stop().await;
        }
        Ok(self.server.stop(router::local::Stop::Fast).await?)
    }
}

fn run_script(endpoint: &Endpoint, name: &str) -> Result<(), Failure> {
    let path = results::directory().join("several").join(name);
    let script = std::fs::read_to_string(&path)
        .map_err(|error| Failure(format!("cannot read {}: {error}", path.display())))?;
    let mut client = endpoint.client()?;
    for statement in script.split_inclusive(";\n") {
        succeed(&mut client, statement)?;
    }
    Ok(())
}

/// The rows, all by arithmetic, so that everybody has the same.
fn load(shards: &[Endpoint], rows: u64) -> Result<(), Failure> {
    fill(
        shards,
        "regions SELECT n, 'region ' || n FROM generate_series(0, 19) n",
    )?;
    fill(
        shards,
        &format!(
            "accounts SELECT n, n % 20, n % 5000, n * 7919 % 1000, '' FROM generate_series(1, {rows}) n"
        ),
    )?;
    fill(
        shards,
        &format!(
            "entries SELECT n, 1, (n / 2) * 2 + 1, n * 7907 % 1000 FROM generate_series(1, {rows}) n"
        ),
    )
}
