//! An operator's change: the catalog and any number of shards, all or nothing.
//!
//! Entry points: [`AtomicChange::begin`], then [`Participants::query`] on any shards, then [`AtomicChange::commit`]. The shards are
//! reached over control connections of its own; how the catalog decides is [`SchemaChange`]'s matter.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::{Catalog, Epoch, ShardId};
use txn::Gid;
use txn::sql::Command;

use crate::ddl::edit::Edits;
use crate::ddl::error::Error;
use crate::ddl::participants::{Participants, Reply};
use crate::store::{
    Change, Connection, Error as StoreError, Rows, SchemaChange, ServerError, Store, fresh_name,
};

/// How long a statement may wait for a lock that a client holds: whoever comes later waits behind it.
const LOCK_PATIENCE: &str = "10s";

/// An open change with the shards that joined it. Dropping it rolls everything back.
pub struct AtomicChange {
    store: Arc<Store>,
    change: SchemaChange,
    catalog: Arc<Catalog>,
    shards: BTreeMap<ShardId, Connection>,
}

impl AtomicChange {
    /// Waits for other changes of the catalog to end.
    pub async fn begin(store: &Arc<Store>) -> Result<AtomicChange, Error> {
        let change = SchemaChange::begin(store).await?;
        let catalog = change.home().catalog().await?;
        Ok(AtomicChange {
            store: Arc::clone(store),
            change,
            catalog,
            shards: BTreeMap::new(),
        })
    }

    /// The catalog that the change starts from.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The home's side of the change.
    pub fn home(&self) -> &Change {
        self.change.home()
    }

    /// Writes the edits, prepares the shards, decides, and commits them.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] if the decision's COMMIT got no answer: recovery will finish it one way or the other.
    pub async fn commit(self, edits: &Edits) -> Result<Epoch, Error> {
        let AtomicChange {
            store,
            change,
            catalog,
            shards,
        } = self;
        if let Err(error) = edits.write(change.home()).await {
            change.rollback().await;
            return Err(error);
        }
        let name = fresh_name(catalog.cluster_id());
        let gid = name.gid;
        let mut prepared: Vec<(ShardId, &Connection)> = Vec::new();
        for (shard, connection) in &shards {
            if let Err(error) = connection
                .batch(&Command::Prepare(gid.participant(*shard)).text())
                .await
            {
                change.rollback().await;
                end(gid, &prepared, false).await;
                return Err(error.into());
            }
            prepared.push((*shard, connection));
        }
        let ids: Vec<ShardId> = prepared.iter().map(|(shard, _)| *shard).collect();
        let epoch = match change.decide(name, &ids).await {
            Ok(()) if end(gid, &prepared, true).await => store.settle(gid).await,
            // Recovery will commit the rest, and the watch settles then.
            Ok(()) => store.reload().await.map(|catalog| catalog.epoch()),
            // The shards stay prepared: only recovery may judge now.
            Err(error @ StoreError::OutcomeUnknown { .. }) => return Err(error.into()),
            Err(error) => {
                end(gid, &prepared, false).await;
                return Err(error.into());
            }
        };
        // The change is made; a snapshot that cannot be read now is read later.
        epoch.or_else(|error| {
            tracing::warn!(%gid, %error, "the catalog changed, but its new snapshot cannot be read yet");
            Ok(store.snapshot().epoch())
        })
    }
}

impl Participants for AtomicChange {
    fn query<'a>(&'a mut self, shard: ShardId, sql: &'a str) -> Reply<'a> {
        Box::pin(self.ask(shard, sql))
    }
}

impl AtomicChange {
    async fn ask(&mut self, shard: ShardId, sql: &str) -> Result<Rows, ServerError> {
        if !self.shards.contains_key(&shard) {
            let connection = join(&self.store, &self.catalog, shard)
                .await
                .map_err(|error| as_server_error(shard, error))?;
            self.shards.insert(shard, connection);
        }
        match self.shards.get(&shard) {
            Some(connection) => connection
                .rows(sql)
                .await
                .map_err(|error| as_server_error(shard, error)),
            None => Ok(Rows::new()),
        }
    }
}

async fn join(store: &Store, catalog: &Catalog, shard: ShardId) -> Result<Connection, StoreError> {
    let shard = catalog
        .shard(shard)
        .ok_or_else(|| StoreError::corrupt(format!("no shard {shard}")))?;
    let connection = store.connect_shard(shard).await?;
    connection
        .batch(&format!(
            "BEGIN; SET LOCAL lock_timeout = '{LOCK_PATIENCE}'"
        ))
        .await?;
    Ok(connection)
}

/// Ends prepared transactions. What cannot be ended now is left to recovery, which comes to the same end. Returns whether all
/// were ended.
async fn end(gid: Gid, prepared: &[(ShardId, &Connection)], commit: bool) -> bool {
    let mut all = true;
    for (shard, connection) in prepared {
        let participant = gid.participant(*shard);
        let command = if commit {
            Command::CommitPrepared(participant)
        } else {
            Command::RollbackPrepared(participant)
        };
        if let Err(error) = connection.batch(&command.text()).await {
            tracing::warn!(gid = %participant, %error, "a prepared transaction is left to recovery");
            all = false;
        }
    }
    all
}

fn as_server_error(shard: ShardId, error: StoreError) -> ServerError {
    match error {
        StoreError::Server(error) => *error,
        other => ServerError {
            server: shard.to_string(),
            sqlstate: other.sqlstate().to_owned(),
            message: other.to_string(),
            ..ServerError::default()
        },
    }
}
