//! A plain PostgreSQL and a cluster with the same rows.

use super::schema;
use crate::client::{Client, rows};
use crate::cluster::Cluster;
use crate::endpoint::Endpoint;
use crate::process::Failure;

/// No query takes as long, unless it multiplies too many rows.
const TIMEOUT: &str = "SET statement_timeout = '8s'";

/// Where the two are.
#[derive(Debug, Clone)]
pub struct Pair {
    pub postgres: Endpoint,
    pub pgweave: Endpoint,
    pub shards: usize,
}

impl Pair {
    /// Makes the tables on both. `spare`: the number of a shard that is to have no rows.
    pub fn prepare(
        postgres: Endpoint,
        cluster: &Cluster,
        seed: u64,
        spare: Option<usize>,
    ) -> Result<Pair, Failure> {
        let servers = cluster.local.shards();
        let pair = Pair {
            postgres,
            pgweave: Endpoint::local(cluster.router.address.port(), "postgres"),
            shards: servers.len(),
        };
        let (mut plain, mut weave) = pair.session()?;
        let icu = succeed(
            &mut plain,
            "SELECT 1 FROM pg_collation WHERE collname = 'en-x-icu'",
        )?;
        for statement in schema::definitions(!icu.is_empty()) {
            succeed(&mut plain, &statement)?;
            succeed(&mut weave, &statement)?;
        }
        for statement in schema::placements(pair.shards) {
            succeed(&mut weave, &statement)?;
        }
        for statement in schema::rows(seed) {
            succeed(&mut plain, &statement)?;
            succeed(&mut weave, &statement)?;
        }
        if let Some(spare) = spare {
            let mut server = Endpoint::local(servers[spare].primary.port(), "postgres").client()?;
            for table in schema::TABLES.iter().filter(|table| table.is_sharded()) {
                let (keys, delete) = schema::sparing(table);
                for key in succeed(&mut server, &keys)?.into_iter().flatten() {
                    succeed(&mut server, &delete(&key))?;
                    succeed(&mut plain, &delete(&key))?;
                }
            }
        }
        Ok(pair)
    }

    pub fn session(&self) -> Result<(Client, Client), Failure> {
        let open = |endpoint: &Endpoint| -> Result<Client, Failure> {
            let mut client = endpoint.client()?;
            succeed(&mut client, TIMEOUT)?;
            Ok(client)
        };
        Ok((open(&self.postgres)?, open(&self.pgweave)?))
    }
}

/// The first column's values.
fn succeed(client: &mut Client, sql: &str) -> Result<Vec<Option<String>>, Failure> {
    let answer = client.query(sql)?;
    if let Some(error) = answer.iter().find(|message| message.tag == b'E') {
        return Err(Failure(format!("{sql}: {error:?}")));
    }
    Ok(rows(&answer)
        .into_iter()
        .filter_map(|row| row.into_iter().next())
        .collect())
}
