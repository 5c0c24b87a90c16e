//! Committing edits of the catalog together with the transaction that made them.
//!
//! A session does one of two things at COMMIT, by [`Edits::need_decision`]:
//!
//! - no: it commits its shards as always and calls [`record`] then. If the router dies between, what is lost is the record of
//!   an unsharded table on the default shard, which is where unrecorded tables are looked for anyway.
//! - yes: the catalog's home takes part in the two-phase commit, as the one that decides. [`Recording::begin`] opens its
//!   transaction with the edits in it. In the commit's request the home is a participant [`crate::store::HOME`] that writes and cannot be
//!   prepared, so all others are prepared. [`Recording::seal`] takes the request's gid; then the commands for
//!   [`crate::store::HOME`] are sent by [`Recording::send`]. When all is committed, [`Recording::settle`] takes the new
//!   catalog into use. Dropping it rolls the home back.

use std::sync::Arc;

use catalog::ShardId;
use txn::Gid;

use super::edit::Edits;
use super::error::Error;
use crate::store::{Error as StoreError, SchemaChange, ServerError, Store};

/// Writes edits that need no decision, after their transaction has committed.
pub async fn record(store: &Arc<Store>, edits: &Edits) -> Result<(), Error> {
    if edits.is_empty() {
        return Ok(());
    }
    store
        .change(None, async |change| edits.write(change).await)
        .await?;
    Ok(())
}

/// The home's part in a two-phase commit.
pub struct Recording {
    store: Arc<Store>,
    change: SchemaChange,
}

impl Recording {
    /// Opens the home's transaction and writes the edits into it. Other changes of the catalog wait until it ends.
    pub async fn begin(store: &Arc<Store>, edits: &Edits) -> Result<Recording, Error> {
        let change = SchemaChange::begin(store).await?;
        edits.write(change.home()).await?;
        Ok(Recording {
            store: Arc::clone(store),
            change,
        })
    }

    /// Adds what must be committed with the decision, but for the decision itself. `shards` are those that will be prepared.
    pub async fn seal(&mut self, gid: Gid, shards: &[ShardId]) -> Result<(), Error> {
        Ok(self.change.seal(gid, shards).await?)
    }

    /// Runs one of the commit's commands on the home.
    pub async fn send(&self, sql: &str) -> Result<(), ServerError> {
        self.change
            .home()
            .connection()
            .batch(sql)
            .await
            .map_err(|error| match error {
                StoreError::Server(error) => *error,
                other => ServerError {
                    server: "catalog".to_owned(),
                    sqlstate: other.sqlstate().to_owned(),
                    message: other.to_string(),
                    ..ServerError::default()
                },
            })
    }

    /// Takes the new catalog into use; to be called when all participants have committed. If some have not, the watch
    /// of any router settles once recovery has committed them. An error changes nothing of that.
    pub async fn settle(self, all_committed: bool) {
        let result = match (all_committed, self.change.gid()) {
            (true, Some(gid)) => self.store.settle(gid).await.map(|_| ()),
            _ => self.store.reload().await.map(|_| ()),
        };
        if let Err(error) = result {
            tracing::warn!(%error, "the catalog changed, but its new snapshot cannot be read yet");
        }
    }
}
