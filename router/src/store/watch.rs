//! Following the catalog: LISTEN, with polling behind it, and this router's heartbeat.
//!
//! Entry point: [`Store::watch`]. Invariants: a lost home leaves the last snapshot in use and is reported once when lost and
//! once when found again; no notification is needed for correctness, since each poll compares epochs.

use std::sync::Arc;
use std::time::Duration;

use catalog::Epoch;
use tokio::task::JoinHandle;

use super::change::CHANNEL;
use super::connection::{Connection, column};
use super::error::Error;
use super::home::Store;
use super::relations::unread;

/// The longest pause between two attempts to reach a lost home.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Between two looks at views whose tables were locked.
const UNREAD_PAUSE: Duration = Duration::from_millis(200);

/// Polls without a heartbeat after which a router is forgotten.
const FORGET_AFTER: u32 = 30;

/// Ends the watch when dropped.
pub struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Store {
    /// Starts following the catalog in the background.
    pub fn watch(self: &Arc<Self>) -> Watch {
        let store = Arc::clone(self);
        Watch(tokio::spawn(async move { store.follow().await }))
    }

    async fn follow(self: &Arc<Self>) {
        let first_pause = Duration::from_millis(100);
        let mut pause = first_pause;
        let mut lost = false;
        loop {
            let error = match self.listen().await {
                Ok(mut connection) => {
                    if lost {
                        tracing::info!(home = %self.settings().home, "the catalog's home is back");
                        lost = false;
                    }
                    pause = first_pause;
                    self.serve(&mut connection).await
                }
                Err(error) => error,
            };
            if !lost {
                tracing::warn!(home = %self.settings().home, %error, epoch = %self.handle().epoch(),
                    "the catalog's home is lost; going on with the last snapshot");
                lost = true;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn listen(&self) -> Result<Connection, Error> {
        let connection = self
            .settings()
            .connector
            .connect(&self.settings().home)
            .await?;
        connection.batch(&format!("LISTEN {CHANNEL}")).await?;
        Ok(connection)
    }

    /// Serves one connection until it fails.
    async fn serve(self: &Arc<Self>, connection: &mut Connection) -> Error {
        loop {
            if let Err(error) = self.poll(connection).await {
                return error;
            }
            // A notification only cuts the wait short; its payload may already be old.
            let pause = match unread(&self.snapshot()) {
                true => UNREAD_PAUSE.min(self.settings().poll_interval),
                false => self.settings().poll_interval,
            };
            match tokio::time::timeout(pause, connection.notification()).await {
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => {
                    return Error::Connect {
                        server: connection.label().to_owned(),
                        sqlstate: None,
                        reason: "connection closed".to_owned(),
                    };
                }
            }
        }
    }

    /// Compares epochs, loads what is new, writes the heartbeat.
    async fn poll(self: &Arc<Self>, connection: &Connection) -> Result<(), Error> {
        let row = connection
            .query_one("SELECT epoch FROM pgweave.cluster", &[])
            .await?;
        let epoch = Epoch(column::<i64>(&row, 0)?.unsigned_abs());
        if epoch > self.handle().epoch() || unread(&self.snapshot()) {
            match self.reload().await {
                Ok(_) => {}
                Err(error) if error.is_connection() => return Err(error),
                // The home is there; a definition is locked by a client, say. The next poll tries again.
                Err(error) => {
                    tracing::warn!(%epoch, %error, "the catalog changed, but its new snapshot cannot be read yet")
                }
            }
        }
        self.heartbeat(connection).await?;
        self.settle_pending(connection).await
    }

    async fn heartbeat(&self, connection: &Connection) -> Result<(), Error> {
        let settings = self.settings();
        let epoch = i64::try_from(self.handle().epoch().0).unwrap_or(i64::MAX);
        connection
            .execute(
                "INSERT INTO pgweave.router (id, address, version, epoch) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (id) DO UPDATE SET address = EXCLUDED.address, epoch = EXCLUDED.epoch, last_seen = clock_timestamp()",
                &[&settings.router_id, &settings.router_address, &env!("CARGO_PKG_VERSION"), &epoch],
            )
            .await?;
        let forget_after = (settings.poll_interval * FORGET_AFTER).max(Duration::from_secs(60));
        connection
            .execute(
                "DELETE FROM pgweave.router WHERE last_seen < clock_timestamp() - $1::double precision * interval '1 second'",
                &[&forget_after.as_secs_f64()],
            )
            .await?;
        Ok(())
    }

    /// Waits until every router that is alive has seen this epoch. Returns the addresses of those that have not.
    pub async fn routers_behind(
        &self,
        epoch: Epoch,
        patience: Duration,
    ) -> Result<Vec<String>, Error> {
        let wanted = i64::try_from(epoch.0).unwrap_or(i64::MAX);
        // One that missed three heartbeats is dead, or cannot reach the home; its own shards' guards are what holds then.
        let alive = (self.settings().poll_interval * 3).as_secs_f64();
        let deadline = tokio::time::Instant::now() + patience;
        let home = self.home().await?;
        loop {
            let rows = home
                .query(
                    "SELECT address FROM pgweave.router \
                      WHERE epoch < $1 AND id <> $2 AND last_seen > clock_timestamp() - $3::double precision * interval '1 second' \
                      ORDER BY address",
                    &[&wanted, &self.settings().router_id, &alive],
                )
                .await?;
            if rows.is_empty() || tokio::time::Instant::now() >= deadline {
                self.give_back(home);
                return rows.iter().map(|row| column(row, 0)).collect();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Removes this router from `pgweave.routers`, at shutdown.
    pub async fn farewell(&self) -> Result<(), Error> {
        let connection = self.home().await?;
        connection
            .execute(
                "DELETE FROM pgweave.router WHERE id = $1",
                &[&self.settings().router_id],
            )
            .await?;
        self.give_back(connection);
        Ok(())
    }
}
