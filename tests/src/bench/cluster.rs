//! A cluster whose shards are databases of one server, with a router process of its own.

use router::local::Scratch;

use crate::endpoint::Endpoint;
use crate::process::Failure;
use crate::router_process::{RouterProcess, ShardServers};

/// A router and its shards.
pub struct Cluster {
    pub shards: Vec<Endpoint>,
    pub router: RouterProcess,
    /// Removed after the router has ended.
    scratch: Scratch,
}

impl Cluster {
    /// Makes a cluster of databases. `pool`: how many connections the router may open to each.
    pub async fn start(shards: Vec<Endpoint>, pool: u32) -> Result<Cluster, Failure> {
        let scratch = Scratch::create()?;
        let servers: Vec<ShardServers> = shards
            .iter()
            .map(|shard| ShardServers {
                name: shard.database.clone(),
                primary: shard.clone(),
                replicas: Vec::new(),
            })
            .collect();
        let settings = format!("[pool]\nmax_size = {pool}\n");
        let router = RouterProcess::start(&servers, &settings, scratch.path()).await?;
        Ok(Cluster {
            shards,
            router,
            scratch,
        })
    }

    pub fn pid(&self) -> u32 {
        self.router.child().pid()
    }

    pub async fn stop(self) {
        self.router.stop().await;
        drop(self.scratch);
    }
}
