//! What is done to a running server by SQL: connecting, promoting, waiting for a position in its log.

use std::time::{Duration, Instant};

use super::{Error, LocalServer};

impl LocalServer {
    /// Makes a replica a primary, and waits until it accepts writes.
    pub async fn promote(&self) -> Result<(), Error> {
        let client = self.connect("postgres").await?;
        client
            .execute("SELECT pg_promote(true)", &[])
            .await
            .map_err(self.database_error("promote"))?;
        Ok(())
    }

    /// Waits until this server has replayed or written everything up to `position`, as in `0/3000148`.
    pub async fn wait_for_replay(&self, position: &str, limit: Duration) -> Result<(), Error> {
        const QUERY: &str = "SELECT position >= $1::text::pg_lsn, position::text FROM (SELECT CASE \
             WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END) p (position)";
        let client = self.connect("postgres").await?;
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let failed = self.database_error("read the replayed position");
            let row = client
                .query_one(QUERY, &[&position])
                .await
                .map_err(failed)?;
            if row.get::<_, Option<bool>>(0) == Some(true) {
                return Ok(());
            }
            let waited = started.elapsed();
            if waited > limit {
                return Err(Error::Lagging {
                    name: self.name().to_owned(),
                    wanted: position.to_owned(),
                    reached: row.get::<_, Option<String>>(1).unwrap_or_default(),
                    waited,
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// The end of this primary's log, as in `0/3000148`.
    pub async fn position(&self) -> Result<String, Error> {
        let client = self.connect("postgres").await?;
        let failed = self.database_error("read the log's position");
        let row = client
            .query_one("SELECT pg_current_wal_lsn()::text", &[])
            .await
            .map_err(failed)?;
        Ok(row.get(0))
    }

    /// A connection as superuser. Its background task belongs to the runtime of the caller.
    pub async fn connect(&self, database: &str) -> Result<tokio_postgres::Client, Error> {
        let (client, connection) =
            tokio_postgres::connect(&self.dsn(database), tokio_postgres::NoTls)
                .await
                .map_err(self.database_error("connect"))?;
        tokio::spawn(async move {
            // Whoever uses the client hears of a broken connection there.
            let _ = connection.await;
        });
        Ok(client)
    }

    /// Key words and values to connect with, as libpq and tokio-postgres read them.
    pub fn dsn(&self, database: &str) -> String {
        format!(
            "host=127.0.0.1 port={} user=postgres dbname={database}",
            self.port()
        )
    }

    pub(super) fn database_error(
        &self,
        action: &'static str,
    ) -> impl FnOnce(tokio_postgres::Error) -> Error {
        let name = self.name().to_owned();
        move |source| Error::Database {
            name,
            action,
            source,
        }
    }
}
