//! A change of the catalog together with definitions on the shards, all or nothing.
//!
//! Entry points: [`SchemaChange::begin`]; [`SchemaChange::seal`], once it is known which shards take part under which name;
//! the decision and COMMIT, by [`SchemaChange::decide`] or by whoever runs the two-phase commit; and, once the shards have
//! committed, [`Store::settle`]. `settle_pending` stands in for a router that died between.
//!
//! The home decides: its transaction holds the catalog's rows and the row in `pgweave.decision` (see `txn::decision`), and is never
//! prepared. Every shard that took part, also the one in whose database the home is, is prepared before and
//! committed after, so the catalog and the shards cannot come apart. In the transaction's name the home is [`HOME`].
//! Two epochs go by: the first with the decision; the second when the shards have committed, since until then
//! the definitions that a router reads from them are the old ones.

use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, ClusterId, Epoch, ShardId};
use txn::{Gid, Named, Proof, RouterId};

use super::change::Change;
use super::connection::{Connection, column};
use super::error::Error;
use super::home::{HOME, Store};
use super::quote::array;

/// A change this old is left by its router, or waits for recovery: others may settle it.
const ABANDONED_AFTER: Duration = Duration::from_secs(5);

/// An open change of the catalog that awaits the shards' votes. Other changes wait until it ends.
pub struct SchemaChange {
    change: Change,
    gid: Option<Gid>,
}

impl SchemaChange {
    /// Waits for other changes to end.
    pub async fn begin(store: &Arc<Store>) -> Result<SchemaChange, Error> {
        Ok(SchemaChange {
            change: store.begin_change(None).await?,
            gid: None,
        })
    }

    /// Where the catalog's rows are changed.
    pub fn home(&self) -> &Change {
        &self.change
    }

    /// The transaction's name, once the change is sealed.
    pub fn gid(&self) -> Option<Gid> {
        self.gid
    }

    /// Adds all that must be committed with the decision, and not the decision itself: the new epoch, its announcement,
    /// and a note that `participants` may be behind.
    pub async fn seal(&mut self, gid: Gid, participants: &[ShardId]) -> Result<(), Error> {
        if !participants.is_empty() {
            let numbers: Vec<i64> = participants
                .iter()
                .map(|shard| i64::from(shard.0))
                .collect();
            self.change
                .execute(
                    "INSERT INTO pgweave.pending_change (gid, participants) VALUES ($1, $2)",
                    &[&gid.to_string(), &numbers],
                )
                .await?;
        }
        self.change.announce().await?;
        self.gid = Some(gid);
        Ok(())
    }

    /// Commits the catalog's rows and the decision. From here on the participants must be committed, and the change settled.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] if COMMIT got no answer: leave the participants to recovery. After any other error roll the
    /// participants back.
    pub async fn decide(mut self, name: Named, participants: &[ShardId]) -> Result<(), Error> {
        self.seal(name.gid, participants).await?;
        if !participants.is_empty() {
            let parts: Vec<_> = participants.iter().map(|shard| (*shard, None)).collect();
            let insert = txn::sql::insert_decision(name, &parts);
            self.change.connection().batch(&insert).await?;
        }
        match self.change.commit_announced().await {
            Err(Error::OutcomeUnknown { reason, .. }) => Err(Error::OutcomeUnknown {
                gid: name.gid.to_string(),
                reason,
            }),
            other => other.map(|_| ()),
        }
    }

    /// Ends the change without a trace. Dropping does the same, later.
    pub async fn rollback(self) {
        self.change.rollback().await;
    }
}

/// A name for a change that no session made: with a router of its own, so that the sequence number need not be remembered.
pub fn fresh_name(cluster: ClusterId) -> Named {
    let proof = Proof::new(rand::random());
    let gid = Gid {
        cluster,
        router: RouterId(rand::random()),
        sequence: 1,
        pledge: proof.pledge(),
        coordinating: HOME,
    };
    Named { gid, proof }
}

impl Store {
    /// Ends a change whose participants have all committed: their definitions can be read now, under another epoch, and
    /// the new catalog is taken into use.
    pub async fn settle(self: &Arc<Self>, gid: Gid) -> Result<Epoch, Error> {
        self.settle_named(&gid.to_string()).await
    }

    async fn settle_named(self: &Arc<Self>, gid: &str) -> Result<Epoch, Error> {
        let change = self.begin_change(None).await?;
        if change
            .execute("DELETE FROM pgweave.pending_change WHERE gid = $1", &[&gid])
            .await?
            == 0
        {
            // Somebody else was faster, or there was nothing to wait for.
            change.rollback().await;
            return Ok(self.reload().await?.epoch());
        }
        change.commit().await
    }

    /// Settles changes whose router is gone, once recovery has committed their shards.
    pub(super) async fn settle_pending(self: &Arc<Self>, home: &Connection) -> Result<(), Error> {
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
                self.settle_named(&gid).await?;
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
