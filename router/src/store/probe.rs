//! What one server says of itself, for `check`.

use std::time::{SystemTime, UNIX_EPOCH};

use catalog::Server;

use super::connection::{Connection, Connector, text, truth};
use super::error::Error;
use super::relations::{number, server_version};

#[derive(Debug, Clone)]
pub(super) struct Probe {
    /// `server_version_num`.
    pub version: u32,
    pub database: String,
    pub max_prepared_transactions: u32,
    pub max_connections: u32,
    pub wal_level: String,
    pub in_recovery: bool,
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// `c` libc, `i` ICU, `b` PostgreSQL's own; libc before version 15.
    pub provider: String,
    pub locale: String,
    /// Of the library that the server runs with; unknown before version 15.
    pub collation_version: Option<String>,
    /// Recorded and actual version, where they differ.
    pub outdated_collation: Option<(String, String)>,
    pub may_create: bool,
    pub is_superuser: bool,
    pub may_replicate: bool,
    pub may_see_all: bool,
    /// The owner of schema `pgweave`, if the account is no member of that role.
    pub foreign_owner: Option<String>,
    pub cannot_prepare: Option<String>,
    /// Unknown if the account may not ask.
    pub system_identifier: Option<u64>,
    /// Which database of which running server this is. System identifiers do not tell: copies of a disk share them.
    pub identity: String,
    /// The shard that the database says it is.
    pub member: Option<String>,
    /// Of a standby.
    pub receives_wal: Option<bool>,
    /// The server's clock minus this machine's.
    pub clock_offset_ms: i64,
    pub round_trip_ms: i64,
}

pub(super) async fn probe(connector: &Connector, server: &Server) -> Result<Probe, Error> {
    let connection = connector.connect(server).await?;
    let version = server_version(&connection).await?;
    let (provider, locale, actual) = match version {
        170_000.. => (
            "datlocprovider::text",
            "coalesce(datlocale, '')",
            "pg_database_collation_actual_version(oid)",
        ),
        150_000.. => (
            "datlocprovider::text",
            "coalesce(daticulocale, '')",
            "pg_database_collation_actual_version(oid)",
        ),
        _ => ("'c'", "''", "NULL"),
    };
    let recorded = if version >= 150_000 {
        "datcollversion"
    } else {
        "NULL"
    };
    let rows = connection
        .rows(&format!(
            "SELECT datname, current_setting('max_prepared_transactions'), current_setting('max_connections'), \
                    current_setting('wal_level'), pg_is_in_recovery(), pg_encoding_to_char(encoding), datcollate, datctype, \
                    {provider}, {locale}, {actual}, {recorded}, has_database_privilege(oid, 'CREATE'), rolsuper, rolreplication, \
                    pg_has_role('pg_read_all_stats', 'USAGE'), \
                    (SELECT pg_get_userbyid(nspowner) FROM pg_namespace \
                      WHERE nspname = 'pgweave' AND NOT pg_has_role(nspowner, 'USAGE')), \
                    format('%s/%s', extract(epoch FROM pg_postmaster_start_time()), oid) \
               FROM pg_database, (SELECT rolsuper, rolreplication FROM pg_roles WHERE rolname = current_user) AS role \
              WHERE datname = current_database()"
        ))
        .await?;
    let row = rows.first().map_or(&[][..], Vec::as_slice);
    let field = |index| text(row, index, "pg_database");
    let optional = |index: usize| row.get(index).cloned().flatten();
    let in_recovery = truth(row, 4);
    let max_prepared_transactions = number(field(1)?)?;
    let (clock_offset_ms, round_trip_ms) = clock(&connection).await?;
    Ok(Probe {
        version,
        database: field(0)?.to_owned(),
        max_prepared_transactions,
        max_connections: number(field(2)?)?,
        wal_level: field(3)?.to_owned(),
        in_recovery,
        encoding: field(5)?.to_owned(),
        collate: field(6)?.to_owned(),
        ctype: field(7)?.to_owned(),
        provider: field(8)?.to_owned(),
        locale: field(9)?.to_owned(),
        collation_version: optional(10),
        outdated_collation: optional(11)
            .zip(optional(10))
            .filter(|(recorded, actual)| recorded != actual),
        may_create: truth(row, 12),
        is_superuser: truth(row, 13),
        may_replicate: truth(row, 14),
        may_see_all: truth(row, 15),
        foreign_owner: optional(16),
        identity: field(17)?.to_owned(),
        member: ask(&connection, "SELECT name FROM pgweave.member").await,
        cannot_prepare: match in_recovery || max_prepared_transactions == 0 {
            true => None,
            false => try_prepare(&connection).await,
        },
        system_identifier: ask(
            &connection,
            "SELECT system_identifier FROM pg_control_system()",
        )
        .await,
        receives_wal: match in_recovery {
            true => ask(
                &connection,
                "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver)",
            )
            .await
            .map(|found: String| found == "t"),
            false => None,
        },
        clock_offset_ms,
        round_trip_ms,
    })
}

/// One value; None if the account may not see it.
async fn ask<T: std::str::FromStr>(connection: &Connection, sql: &str) -> Option<T> {
    let rows = connection.rows(sql).await.ok()?;
    rows.into_iter().next()?.into_iter().next()??.parse().ok()
}

async fn clock(connection: &Connection) -> Result<(i64, i64), Error> {
    let before = now_ms();
    let rows = connection
        .rows("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        .await?;
    let after = now_ms();
    let server: i64 = number(text(
        rows.first().map_or(&[][..], Vec::as_slice),
        0,
        "clock_timestamp",
    )?)?;
    Ok((server - (before + after) / 2, after - before))
}

fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Prepares an empty transaction and rolls it back. Returns why that failed.
async fn try_prepare(connection: &Connection) -> Option<String> {
    let gid = format!("pgweave-check-{:016x}", rand::random::<u64>());
    if let Err(error) = connection
        .batch(&format!("BEGIN; PREPARE TRANSACTION '{gid}'"))
        .await
    {
        let _ = connection.batch("ROLLBACK").await;
        return Some(error.to_string());
    }
    // Not in one batch with the above: PostgreSQL refuses it in a transaction block, which a batch is.
    connection
        .batch(&format!("ROLLBACK PREPARED '{gid}'"))
        .await
        .err()
        .map(|error| error.to_string())
}
