//! Connections that are open before anybody asks for one: `pool.min_size`.
//!
//! A pool fills itself up to its least size once it exists. Here is where pools come to exist ahead of demand:
//!
//! - [`keep`]: for users of `[[users]]` to whom the configuration gives all that a login needs, on every shard, from the start
//!   on and at each new epoch. They are kept for as long as the router runs.
//! - [`begin`]: for any other user with its first session, on every shard. Such pools are forgotten when nobody has used
//!   them for a while, as all others.

use std::sync::Arc;

use catalog::Catalog;

use crate::auth::Authenticated;
use crate::config::{ReadPreference, ServerLogin};
use crate::pool::PoolIdentity;
use crate::router::Router;

/// Keeps pools of configured users warm until dropped.
pub async fn keep(router: Arc<Router>) {
    if router.config.pool.min_size == 0 {
        return;
    }
    let mut epochs = router.catalog.subscribe();
    let mut kept = Vec::new();
    loop {
        // Whoever holds an identity holds its pools: the new ones are taken before the old ones are let go.
        let fresh = configured(&router);
        for identity in &fresh {
            prewarm(&router, identity, &router.catalog.snapshot());
        }
        kept.clear();
        kept.extend(fresh);
        if epochs.changed().await.is_err() {
            return;
        }
    }
}

/// Has a session's user meet a connection wherever its statements go.
pub fn begin(router: &Router, identity: &PoolIdentity, catalog: &Catalog) {
    if router.config.pool.min_size > 0 {
        prewarm(router, identity, catalog);
    }
}

/// Users that can log in to the servers although no client has told a password.
fn configured(router: &Router) -> Vec<PoolIdentity> {
    let users = &router.config.users;
    users
        .iter()
        .filter_map(|user| {
            let authenticated = Authenticated {
                password: router.auth.secrets.plain(&user.name),
                keys: None,
            };
            let is_whole = match user.server {
                ServerLogin::As { .. } => true,
                // Otherwise what the client proves itself by is part of the login.
                ServerLogin::PassThrough => authenticated.password.is_some(),
            };
            is_whole.then(|| router.identity(&user.name, &authenticated))
        })
        .collect()
}

fn prewarm(router: &Router, identity: &PoolIdentity, catalog: &Catalog) {
    let replicas = router.config.replicas.read_preference != ReadPreference::Primary;
    for shard in catalog.shards() {
        router.pools.prewarm(identity, &shard.primary, false);
        for replica in shard.replicas.iter().filter(|_| replicas) {
            router.pools.prewarm(identity, replica, true);
        }
    }
}
