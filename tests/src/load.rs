//! Tables of a script, filled by queries that any server computes alike.
//!
//! Entry point: [`load`]; [`fill`] for one table. What defines something runs on a plain PostgreSQL and through pgweave, as in any other script. An `INSERT INTO
//! table SELECT …` runs on the plain server and on each shard, which keeps what its placement guard lets in: thousands of rows
//! without one statement each.

use crate::client::{Client, rows};
use crate::differential::Sides;
use crate::differential::script::{Action, Script};
use crate::endpoint::Endpoint;
use crate::process::Failure;

pub fn load(sides: &Sides, shards: &[Endpoint], script: &Script) -> Result<(), Failure> {
    let mut plain = sides.postgres.client()?;
    let mut weave = sides.pgweave.client()?;
    for step in &script.steps {
        match &step.action {
            Action::SetUp(sql) => {
                succeed(&mut weave, sql)?;
            }
            Action::Run(statement) => {
                succeed(&mut plain, &statement.sql)?;
                match statement.sql.strip_prefix("INSERT INTO ") {
                    Some(rest) => fill(shards, rest)?,
                    None => {
                        succeed(&mut weave, &statement.sql)?;
                    }
                }
            }
            Action::Connect(_) | Action::Disconnect(_) => {
                return Err(Failure("tables are made in one session".to_owned()));
            }
        }
    }
    succeed(&mut plain, "VACUUM ANALYZE")?;
    for shard in shards {
        succeed(&mut shard.client()?, "VACUUM ANALYZE")?;
    }
    Ok(())
}

/// Puts into a table of the shards the rows of a query. `insert`: the table's name and the query behind it.
pub fn fill(shards: &[Endpoint], insert: &str) -> Result<(), Failure> {
    let (table, query) = insert.split_once(' ').unwrap_or((insert, ""));
    for shard in shards {
        let mut server = shard.client()?;
        let known = succeed(&mut server, &format!("SELECT to_regclass('{table}')"))?;
        if known.first().is_none_or(Option::is_none) {
            continue;
        }
        let guard = succeed(
            &mut server,
            &format!(
                "SELECT regexp_replace(pg_get_constraintdef(oid), '^CHECK (.*\\))[^)]*$', '\\1') \
                 FROM pg_constraint WHERE conrelid = '{table}'::regclass AND conname = 'pgweave_placement'"
            ),
        )?;
        let guard = guard.into_iter().flatten().next();
        let guard = guard.unwrap_or_else(|| "true".to_owned());
        for sql in [
            format!("CREATE TEMPORARY TABLE loaded (LIKE {table} INCLUDING DEFAULTS)"),
            format!("INSERT INTO loaded {query}"),
            format!("INSERT INTO {table} SELECT * FROM loaded WHERE {guard}"),
            "DROP TABLE loaded".to_owned(),
        ] {
            succeed(&mut server, &sql)?;
        }
    }
    Ok(())
}

/// The first column's values of a statement that must succeed.
pub fn succeed(client: &mut Client, sql: &str) -> Result<Vec<Option<String>>, Failure> {
    let answer = client.query(sql)?;
    if let Some(error) = answer.iter().find(|message| message.tag == b'E') {
        return Err(Failure(format!("{sql}: {error:?}")));
    }
    let first = |row: Vec<Option<String>>| row.into_iter().next();
    Ok(rows(&answer).into_iter().filter_map(first).collect())
}
