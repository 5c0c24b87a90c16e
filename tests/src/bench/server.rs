//! The one server that everything measured uses, so that all have the same.

use router::local::{LocalServer, ServerOptions, Settings};

use crate::process::Failure;

/// A server with empty databases of these names, with nothing of its own to do while it is measured.
pub async fn start(databases: &[&str]) -> Result<LocalServer, Failure> {
    let mut settings = Settings::default();
    for setting in [
        "shared_buffers=1GB",
        "max_connections=300",
        "max_wal_size=8GB",
        "checkpoint_timeout=1h",
        "autovacuum=off",
        "jit=off",
    ] {
        settings.parse(setting)?;
    }
    // Without waiting for the disk, what a proxy adds shows most.
    let server = LocalServer::scratch(ServerOptions {
        settings,
        durable: false,
        ..ServerOptions::default()
    })
    .await?;
    let postgres = server.connect("postgres").await?;
    for name in databases {
        postgres
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await?;
    }
    Ok(server)
}

/// Statistics, hint bits and clean buffers, so that the first measurement is like the last.
pub async fn settle(server: &LocalServer, database: &str) -> Result<(), Failure> {
    let client = server.connect(database).await?;
    client.batch_execute("VACUUM ANALYZE").await?;
    Ok(client.batch_execute("CHECKPOINT").await?)
}
