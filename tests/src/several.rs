//! Tables over several shards for tests of queries over them, and a look at what those leave behind.

use std::net::SocketAddr;

use crate::client::{Client, ask, one};
use crate::cluster::Cluster;

/// A session through the router.
pub fn through(cluster: &Cluster) -> Client {
    Client::connect(cluster.router.address, &[]).unwrap()
}

/// A session with a shard's own server.
pub fn direct(cluster: &Cluster, shard: usize) -> Client {
    let port = cluster.local.shards()[shard].primary.port();
    Client::connect(SocketAddr::from(([127, 0, 0, 1], port)), &[]).unwrap()
}

/// A sharded table with as many rows as there are numbers, each shard's put there directly.
pub fn table(cluster: &Cluster, name: &str, numbers: u32) {
    let mut client = through(cluster);
    ask(
        &mut client,
        &format!("CREATE TABLE {name} (k int PRIMARY KEY, filler text)"),
    );
    ask(
        &mut client,
        &format!("SELECT pgweave.shard_table('{name}', 'k')"),
    );
    for shard in 0..cluster.local.shards().len() {
        let mut server = direct(cluster, shard);
        // The guard tells whose row it is.
        ask(
            &mut server,
            &format!(
                "DO $$ DECLARE n int; BEGIN FOR n IN 1..{numbers} LOOP \
                   BEGIN INSERT INTO {name} VALUES (n, 'x'); EXCEPTION WHEN check_violation THEN NULL; END; \
                 END LOOP; END $$"
            ),
        );
    }
}

/// What gathers leave on the servers: nothing.
pub fn nothing_is_left(cluster: &Cluster) {
    for shard in 0..cluster.local.shards().len() {
        let mut server = direct(cluster, shard);
        let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'pgweave\\_%' AND relpersistence = 't'";
        let busy = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
        let prepared = "SELECT count(*) FROM pg_prepared_xacts";
        // Other tests gather and make tables at the same time, and end.
        for sql in [left, busy, prepared] {
            while one(&mut server, sql) != "0" {}
        }
    }
}
