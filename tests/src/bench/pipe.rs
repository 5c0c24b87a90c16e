//! Rows from one server to another, through two psql.

use std::process::Stdio;

use tokio::process::Command;

use crate::endpoint::Endpoint;
use crate::process::{Failure, program};

/// All rows of a table, by psql's COPY from one place to another.
pub async fn pipe(from: (&Endpoint, &str), to: (&Endpoint, &str)) -> Result<(), Failure> {
    let mut source = psql(from.0, &format!("COPY {} TO STDOUT", from.1))?
        .stdout(Stdio::piped())
        .spawn()?;
    let rows = source
        .stdout
        .take()
        .ok_or_else(|| Failure("psql has no output".to_owned()))?;
    let rows: Stdio = rows.try_into()?;
    let target = psql(to.0, &format!("COPY {} FROM STDIN", to.1))?
        .stdin(rows)
        .stdout(Stdio::null())
        .status()
        .await?;
    let source = source.wait().await?;
    match source.success() && target.success() {
        true => Ok(()),
        false => Err(Failure(format!("psql failed: {source}, {target}"))),
    }
}

fn psql(endpoint: &Endpoint, command: &str) -> Result<Command, Failure> {
    let mut psql = Command::new(program("psql")?);
    psql.args(["-X", "-q", "-w", "-c", command])
        .arg(endpoint.dsn())
        .env_remove("PGOPTIONS")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(psql)
}
