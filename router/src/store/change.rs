//! A change of the catalog: one transaction on its home that ends with a new epoch.
//!
//! Entry points: `Store::begin_change`, [`Change::commit`]. Invariants: changes take turns (an advisory lock), so a change sees all
//! before it; whoever listens learns of an epoch only once it is committed; a dropped change never happened.
//!
//! A change that goes with work on the shards is a [`super::SchemaChange`].

use std::sync::Arc;

use catalog::{Catalog, Epoch};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::connection::{Connection, column};
use super::error::Error;
use super::home::Store;

/// The lock under which the catalog changes. "pgweave" in ASCII.
const CHANGE_LOCK: i64 = 0x70_6777_6561_7665;

/// How often a new snapshot is tried to be read, and how long to wait in between.
const RELOAD_ATTEMPTS: usize = 5;
const RELOAD_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// The channel on which a new epoch is announced.
pub(super) const CHANNEL: &str = "pgweave_epoch";

/// An open change. Other changes wait until it ends.
pub struct Change {
    store: Arc<Store>,
    connection: Connection,
    base: Epoch,
}

impl Change {
    pub(super) async fn begin(
        store: Arc<Store>,
        connection: Connection,
        expected: Option<Epoch>,
    ) -> Result<Change, Error> {
        connection.batch(&format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock({CHANGE_LOCK})")).await?;
        let row = connection
            .query_one("SELECT epoch FROM pgweave.cluster", &[])
            .await?;
        let base = Epoch(column::<i64>(&row, 0)?.unsigned_abs());
        match expected {
            Some(expected) if expected != base => Err(Error::Stale {
                expected,
                found: base,
            }),
            _ => Ok(Change {
                store,
                connection,
                base,
            }),
        }
    }

    /// The epoch that this change starts from.
    pub fn base(&self) -> Epoch {
        self.base
    }

    /// The epoch that this change makes.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.base.0 + 1)
    }

    /// The home's connection, in the change's transaction.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    pub async fn execute(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        self.connection.execute(sql, parameters).await
    }

    pub async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.connection.query(sql, parameters).await
    }

    /// The catalog as committed, at [`Change::base`]; what this change wrote is not in it.
    pub async fn catalog(&self) -> Result<Arc<Catalog>, Error> {
        let current = self.store.snapshot();
        if current.epoch() == self.base {
            return Ok(current);
        }
        self.store.reload().await
    }

    /// Commits under a new epoch, tells all routers, and takes the new snapshot into use here.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] if the connection broke during COMMIT. An unreadable new snapshot is no error: the change is
    /// made, and the watch loads it when it can.
    pub async fn commit(self) -> Result<Epoch, Error> {
        let store = Arc::clone(&self.store);
        self.announce().await?;
        let epoch = self.commit_announced().await?;
        // Reading fails while somebody drops what is read. Whoever made this change must see it in the next statement.
        let mut attempt = 1;
        while let Err(error) = store.reload().await {
            if attempt == RELOAD_ATTEMPTS {
                tracing::warn!(%epoch, %error, "the catalog changed, but its new snapshot cannot be read yet");
                break;
            }
            attempt += 1;
            tokio::time::sleep(RELOAD_PAUSE).await;
        }
        Ok(epoch)
    }

    /// Writes the new epoch and its announcement, which is sent at COMMIT.
    pub(super) async fn announce(&self) -> Result<(), Error> {
        let epoch = self.epoch();
        let bumped = i64::try_from(epoch.0)
            .map_err(|_| Error::corrupt("an epoch beyond the range of bigint"))?;
        self.connection
            .execute("UPDATE pgweave.cluster SET epoch = $1", &[&bumped])
            .await?;
        self.connection
            .execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &epoch.to_string()])
            .await?;
        Ok(())
    }

    /// Commits after [`Change::announce`], and leaves the snapshot in use here as it is.
    pub(super) async fn commit_announced(self) -> Result<Epoch, Error> {
        let epoch = self.epoch();
        if let Err(error) = self.connection.batch("COMMIT").await {
            return Err(match error.is_connection() {
                true => Error::OutcomeUnknown {
                    gid: format!("of epoch {epoch}"),
                    reason: error.to_string(),
                },
                false => error,
            });
        }
        self.store.give_back(self.connection);
        Ok(epoch)
    }

    /// Ends the change without a trace. Dropping does the same, later.
    pub async fn rollback(self) {
        if self.connection.batch("ROLLBACK").await.is_ok() {
            self.store.give_back(self.connection);
        }
    }
}
