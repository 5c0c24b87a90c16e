//! The one server that all subjects use, and its data.

use ::tests::bench::{results, server};
use ::tests::endpoint::Endpoint;
use ::tests::process::Failure;
use router::local::LocalServer;
use tokio_postgres::error::SqlState;

use crate::options::Options;

/// A server with the database `plain` for direct access and pgbouncer, and one database for each shard of pgweave.
pub struct Database {
    server: LocalServer,
    scale: u32,
}

/// pgweave's shards. Databases of one server, so that all subjects have the same server to themselves.
pub const SHARDS: [&str; 2] = ["s1", "s2"];

const TELLERS_OF_A_BRANCH: &str = "INSERT INTO {prefix}_tellers (tid, bid, tbalance) \
     SELECT t, {bid}, 0 FROM generate_series(({bid} - 1) * 10 + 1, {bid} * 10) t";
const ACCOUNTS_OF_A_BRANCH: &str = "INSERT INTO {prefix}_accounts (aid, bid, abalance, filler) \
     SELECT a, {bid}, 0, '' FROM generate_series(({bid} - 1) * 100000 + 1, {bid} * 100000) a";

impl Database {
    /// Starts the server and loads the database `plain`. The shards' databases stay empty.
    pub async fn start(options: &Options) -> Result<Database, Failure> {
        let databases: Vec<&str> = SHARDS.into_iter().chain(["plain"]).collect();
        let server = server::start(&databases).await?;
        let database = Database {
            server,
            scale: options.scale,
        };
        println!("loading {} accounts", 100_000 * options.scale);
        let plain = database.connect("plain").await?;
        plain.batch_execute(&script("schema.sql")?).await?;
        for branch in 1..=database.scale {
            database.load_branch(&plain, "pgbench", branch).await?;
            database.load_branch(&plain, "sharded", branch).await?;
        }
        server::settle(&database.server, "plain").await?;
        Ok(database)
    }

    /// Loads the shards' databases behind the router's back, once it has made the tables. Each shard is offered each
    /// branch; the placement guard takes it on exactly one.
    pub async fn load_shards(&self) -> Result<(), Failure> {
        let default = self.connect(SHARDS[0]).await?;
        for branch in 1..=self.scale {
            self.load_branch(&default, "pgbench", branch).await?;
            let mut homes = 0;
            for shard in SHARDS {
                let client = self.connect(shard).await?;
                match self.load_branch(&client, "sharded", branch).await {
                    Ok(()) => homes += 1,
                    Err(error) if error.code() == Some(&SqlState::CHECK_VIOLATION) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if homes != 1 {
                return Err(Failure(format!("branch {branch} went to {homes} shards")));
            }
        }
        for shard in SHARDS {
            server::settle(&self.server, shard).await?;
        }
        Ok(())
    }

    /// One of the databases, without a proxy.
    pub fn endpoint(&self, database: &str) -> Endpoint {
        Endpoint::local(self.server.port(), database)
    }

    pub fn server(&self) -> &LocalServer {
        &self.server
    }

    pub async fn stop(self) -> Result<(), Failure> {
        Ok(self.server.stop(router::local::Stop::Fast).await?)
    }

    async fn connect(&self, database: &str) -> Result<tokio_postgres::Client, Failure> {
        Ok(self.server.connect(database).await?)
    }

    async fn load_branch(
        &self,
        client: &tokio_postgres::Client,
        prefix: &str,
        branch: u32,
    ) -> Result<(), tokio_postgres::Error> {
        let fill = |text: &str| {
            text.replace("{prefix}", prefix)
                .replace("{bid}", &branch.to_string())
        };
        let branches = "INSERT INTO {prefix}_branches (bid, bbalance) VALUES ({bid}, 0)";
        client.batch_execute(&fill(branches)).await?;
        client.batch_execute(&fill(TELLERS_OF_A_BRANCH)).await?;
        client.batch_execute(&fill(ACCOUNTS_OF_A_BRANCH)).await
    }
}

/// A script of the benchmark.
pub fn script(name: &str) -> Result<String, Failure> {
    let path = results::directory().join(name);
    std::fs::read_to_string(&path)
        .map_err(|error| Failure(format!("cannot read {}: {error}", path.display())))
}
