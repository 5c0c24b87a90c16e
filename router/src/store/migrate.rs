//! Bringing schema `pgweave` up to date, by sqlx's migrations run over a control connection.
//!
//! Entry points: [`shard_side`], for every shard's database, and [`home`], for the database that holds the catalog. Both
//! keep their own table of applied migrations in schema `pgweave`, so nothing is left in `public` and the two can share
//! a database. sqlx brings the files, the order and the checksums; the statements travel over tokio-postgres, so that TLS and
//! accounts are set in one place.

use std::pin::Pin;
use std::time::{Duration, Instant};

use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, Migrator};

use super::connection::{Connection, column};
use super::error::Error;

static SHARD_SIDE: Migrator = sqlx::migrate!("migrations/shard");
static HOME: Migrator = sqlx::migrate!("migrations/home");

/// Held while migrations run: two `pgweave init` at once take turns. "pgwm" in ASCII.
const MIGRATION_LOCK: i64 = 0x7067_776d;

/// Applies what is missing of the shard side. Returns the number of migrations applied.
pub async fn shard_side(connection: &Connection) -> Result<usize, Error> {
    run(connection, &SHARD_SIDE, "pgweave.shard_migration").await
}

/// Applies what is missing of the catalog's tables. Returns the number of migrations applied.
pub async fn home(connection: &Connection) -> Result<usize, Error> {
    run(connection, &HOME, "pgweave.home_migration").await
}

async fn run(
    connection: &Connection,
    migrations: &Migrator,
    table: &'static str,
) -> Result<usize, Error> {
    let migrator = Migrator {
        table_name: table.into(),
        ..Migrator::with_migrations(migrations.iter().cloned().collect())
    };
    let mut target = Target {
        connection,
        applied: 0,
    };
    match migrator.run_direct(None, &mut target, false).await {
        Ok(()) => Ok(target.applied),
        Err(error) => {
            // The lock belongs to the session; without this the connection could not be used for another attempt.
            let _ = connection
                .batch("ROLLBACK; SELECT pg_advisory_unlock_all()")
                .await;
            Err(Error::Migration {
                server: connection.label().to_owned(),
                reason: innermost(&error),
            })
        }
    }
}

struct Target<'a> {
    connection: &'a Connection,
    applied: usize,
}

type Answer<'e, T> = Pin<Box<dyn Future<Output = Result<T, MigrateError>> + Send + 'e>>;

fn failed(error: Error) -> MigrateError {
    MigrateError::Execute(sqlx::Error::Protocol(error.to_string()))
}

fn innermost(error: &MigrateError) -> String {
    match error {
        MigrateError::Execute(sqlx::Error::Protocol(reason)) => reason.clone(),
        other => other.to_string(),
    }
}

impl Migrate for Target<'_> {
    fn create_schema_if_not_exists<'e>(&'e mut self, schema_name: &'e str) -> Answer<'e, ()> {
        Box::pin(async move {
            let sql = format!("CREATE SCHEMA IF NOT EXISTS {schema_name}");
            self.connection.batch(&sql).await.map_err(failed)
        })
    }

    fn ensure_migrations_table<'e>(&'e mut self, table_name: &'e str) -> Answer<'e, ()> {
        Box::pin(async move {
            // CREATE SCHEMA IF NOT EXISTS needs the right to create even where there is nothing to do.
            let exists = self
                .connection
                .rows("SELECT 1 FROM pg_namespace WHERE nspname = 'pgweave'")
                .await
                .map_err(failed)?;
            if exists.is_empty() {
                self.connection
                    .batch("CREATE SCHEMA pgweave")
                    .await
                    .map_err(failed)?;
            }
            let sql = format!(
                "CREATE TABLE IF NOT EXISTS {table_name} (\
                     version bigint PRIMARY KEY, \
                     description text NOT NULL, \
                     installed_on timestamptz NOT NULL DEFAULT pg_catalog.now(), \
                     success boolean NOT NULL, \
                     checksum bytea NOT NULL, \
                     execution_time bigint NOT NULL)"
            );
            self.connection.batch(&sql).await.map_err(failed)
        })
    }

    fn dirty_version<'e>(&'e mut self, table_name: &'e str) -> Answer<'e, Option<i64>> {
        Box::pin(async move {
            let sql = format!(
                "SELECT version FROM {table_name} WHERE NOT success ORDER BY version LIMIT 1"
            );
            let row = self.connection.query_opt(&sql, &[]).await.map_err(failed)?;
            row.map(|row| column(&row, 0).map_err(failed)).transpose()
        })
    }

    fn list_applied_migrations<'e>(
        &'e mut self,
        table_name: &'e str,
    ) -> Answer<'e, Vec<AppliedMigration>> {
        Box::pin(async move {
            let sql = format!("SELECT version, checksum FROM {table_name} ORDER BY version");
            let rows = self.connection.query(&sql, &[]).await.map_err(failed)?;
            let applied = |row: &tokio_postgres::Row| {
                Ok(AppliedMigration {
                    version: column(row, 0)?,
                    checksum: column::<Vec<u8>>(row, 1)?.into(),
                })
            };
            rows.iter()
                .map(applied)
                .collect::<Result<_, Error>>()
                .map_err(failed)
        })
    }

    fn lock(&mut self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.connection
                .execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
                .await
                .map_err(failed)?;
            Ok(())
        })
    }

    fn unlock(&mut self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.connection
                .execute("SELECT pg_advisory_unlock($1)", &[&MIGRATION_LOCK])
                .await
                .map_err(failed)?;
            Ok(())
        })
    }

    fn apply<'e>(
        &'e mut self,
        table_name: &'e str,
        migration: &'e Migration,
    ) -> Answer<'e, Duration> {
        Box::pin(async move {
            let start = Instant::now();
            self.connection
                .batch(&format!("BEGIN; {}", migration.sql.as_str()))
                .await
                .map_err(failed)?;
            let record = format!(
                "INSERT INTO {table_name} (version, description, success, checksum, execution_time) VALUES ($1, $2, true, $3, $4)"
            );
            let elapsed = i64::try_from(start.elapsed().as_nanos()).unwrap_or(i64::MAX);
            self.connection
                .execute(
                    &record,
                    &[
                        &migration.version,
                        &&*migration.description,
                        &&*migration.checksum,
                        &elapsed,
                    ],
                )
                .await
                .map_err(failed)?;
            self.connection.batch("COMMIT").await.map_err(failed)?;
            self.applied += 1;
            Ok(start.elapsed())
        })
    }

    fn revert<'e>(&'e mut self, _: &'e str, migration: &'e Migration) -> Answer<'e, Duration> {
        // The catalog only moves forward.
        Box::pin(async move { Err(MigrateError::VersionMissing(migration.version)) })
    }
}
