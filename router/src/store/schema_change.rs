//! A change of the catalog together with definitions on the shards, all or nothing.
//!
//! Entry points: [`SchemaChange::begin`] once the work on the shards is done, [`SchemaChange::decide`] once all shards are prepared
//! under [`SchemaChange::gid`], [`Decided::settle`] once they are committed. [`Store::settle_pending`] stands in for a router
//! that died between.
//!
//! The home decides: its transaction holds the catalog's rows and the row in `pgweave.decision` (see `txn::decision`), and is never
//! prepared. Every shard that took part, also the one in whose database the home is, is prepared before and
//! committed after, so the catalog and the shards cannot come apart. Two epochs go by: the first with the decision; the
//! second when the shards have committed, since until then the definitions that a router reads from them are the old ones.

use std::time::Duration;

use catalog::{Catalog, Epoch, ShardId};
use txn::sql::Command;
use txn::{Gid, RouterId};

use super::change::Change;
use super::connection::{Connection, column};
use super::error::Error;
use super::home::Store;
use super::quote::array;

/// A change this old is left by its router, or waits for recovery: others may settle it.
const ABANDONED_AFTER: Duration = Duration::from_secs(5);

/// An open change of the catalog that awaits the shards' votes. Other changes wait until it ends.
pub struct SchemaChange<'a> {
    change: Change<'a>,
    gid: Gid,
    store: &'a Store,
}

/// A decided change whose shards are still prepared.
#[must_use = "the new catalog is in use only once the change is settled"]
pub struct Decided<'a> {
    store: &'a Store,
    gid: Gid,
}

impl<'a> SchemaChange<'a> {
    /// Waits for other changes to end.
    pub async fn begin(store: &'a Store) -> Result<SchemaChange<'a>, Error> {
        let change = store.begin_change(None).await?;
        let catalog = change.catalog().await?;
        // A router of its own for each change: never used before, so the sequence number need not be remembered.
        let gid = Gid {
            cluster: catalog.cluster_id(),
            router: RouterId(rand::random()),
            sequence: 1,
            coordinating: Store::home_in_gid(&catalog),
        };
        Ok(SchemaChange { change, gid, store })
    }

    /// The transaction's name; participants are prepared under `gid().participant(shard)`.
    pub fn gid(&self) -> Gid {
        self.gid
    }

    /// Where the catalog's rows are changed.
    pub fn home(&self) -> &Change<'a> {
        &self.change
    }

    /// Commits the catalog's rows and the decision. From here on the participants must be committed.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] if COMMIT got no answer: leave the participants to recovery. After any other error roll the
    /// participants back.
    pub async fn decide(self, participants: &[ShardId]) -> Result<Decided<'a>, Error> {
        let SchemaChange { change, gid, store } = self;
        let name = gid.to_string();
        if !participants.is_empty() {
            let numbers: Vec<i64> = participants
                .iter()
                .map(|shard| i64::from(shard.0))
                .collect();
            change
                .connection()
                .batch(
                    &Command::Decide {
                        gid,
                        participants: participants.to_vec(),
                    }
                    .text(),
                )
                .await?;
            change
                .execute(
                    "INSERT INTO pgweave.pending_change (gid, participants) VALUES ($1, $2)",
                    &[&name, &numbers],
                )
                .await?;
        }
        match change.commit_quietly().await {
            Ok(_) => Ok(Decided { store, gid }),
            Err(Error::OutcomeUnknown { reason, .. }) => {
                Err(Error::OutcomeUnknown { gid: name, reason })
            }
            Err(error) => Err(error),
        }
    }

    /// Ends the change without a trace. Dropping does the same, later.
    pub async fn rollback(self) {
        self.change.rollback().await;
    }
}

impl Decided<'_> {
    /// To be called when all participants are committed: the definitions can be read, and the new catalog is taken into use.
    /// An error does not undo anything; the watch settles later.
    pub async fn settle(self) -> Result<Epoch, Error> {
        settle(self.store, &self.gid.to_string()).await
    }

    /// To be called when a participant could not be committed yet: recovery will, and the watch settles then. The catalog's
    /// own rows are taken into use.
    pub async fn leave(self) -> Result<Epoch, Error> {
        Ok(self.store.reload().await?.epoch())
    }
}

async fn settle(store: &Store, gid: &str) -> Result<Epoch, Error> {
    let change = store.begin_change(None).await?;
    if change
        .execute("DELETE FROM pgweave.pending_change WHERE gid = $1", &[&gid])
        .await?
        == 0
    {
        // Somebody else was faster, or there was nothing to wait for.
        change.rollback().await;
        return Ok(store.reload().await?.epoch());
    }
    change.commit().await
}

impl Store {
    /// Settles changes whose router is gone, once recovery has committed their shards.
    pub(super) async fn settle_pending(&self, home: &Connection) -> Result<(), Error> {
        let rows = home
            .query(
                "SELECT gid, participants FROM pgweave.pending_change \
                  WHERE decided_at < clock_timestamp() - $1::double precision * interval '1 second'",
                &[&ABANDONED_AFTER.as_secs_f64()],
            )
            .await?;
        for row in rows {
            let gid: String = column(&row, 0)?;
            let participants: Vec<i64> = column(&row, 1)?;
            if self
                .is_committed_everywhere(&self.snapshot(), &gid, &participants)
                .await?
            {
                settle(self, &gid).await?;
                tracing::info!(gid, "settled a change whose router is gone");
            }
        }
        Ok(())
    }

    /// Whether no participant is prepared any more.
    async fn is_committed_everywhere(
        &self,
        catalog: &Catalog,
        gid: &str,
        participants: &[i64],
    ) -> Result<bool, Error> {
        for number in participants {
            let id = u32::try_from(*number)
                .map(ShardId)
                .map_err(|_| Error::corrupt("a participant that is no shard"))?;
            // A shard that was removed has nothing prepared.
            let Some(shard) = catalog.shard(id) else {
                continue;
            };
            let names = array(&[format!("{gid}_{id}")]);
            let connection = self.connect_shard(shard).await?;
            if !connection
                .rows(&format!(
                    "SELECT FROM pg_prepared_xacts WHERE gid = ANY ({names})"
                ))
                .await?
                .is_empty()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
