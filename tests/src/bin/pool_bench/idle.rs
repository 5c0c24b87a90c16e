//! What a client costs that is connected and does nothing.

use ::tests::bench::usage;
use ::tests::client::Client;
use ::tests::process::Failure;

use crate::database::Database;
use crate::options::Options;
use crate::subject::Subject;

/// Resident memory that each idle client adds to a fresh proxy, in bytes. Each client has run one statement.
pub async fn bytes_per_client(
    subject: &mut Subject,
    options: &Options,
    database: &Database,
) -> Result<f64, Failure> {
    subject.restart(options, database).await?;
    let Some(pid) = subject.pid() else {
        return Err(Failure(format!("{} is no proxy", subject.name)));
    };
    let resident = || {
        usage::resident_bytes(pid)
            .map_err(|error| Failure(format!("cannot measure {}: {error}", subject.name)))
    };
    // What the first clients make the proxy set up is not theirs.
    let mut first = Vec::new();
    for _ in 0..10 {
        first.push(client(subject)?);
    }
    let before = resident()?;
    let mut clients = Vec::with_capacity(options.idle);
    for _ in 0..options.idle {
        clients.push(client(subject)?);
    }
    let after = resident()?;
    Ok(after.saturating_sub(before) as f64 / options.idle as f64)
}

fn client(subject: &Subject) -> Result<Client, Failure> {
    let mut client = subject.endpoint.client()?;
    client.query("SELECT 1")?;
    Ok(client)
}
