//! The table that an operator's function is about: found, locked, and allowed to the caller.

use catalog::{Catalog, Relation, ShardId, TableKind};

use super::Caller;
use crate::ddl::definition::{self, TableDefinition};
use crate::ddl::error::{Answer, Error};
use crate::ddl::participants::Participants;
use crate::ddl::requirements;
use crate::store::connection::truth;
use crate::store::quote::{literal, qualified};

/// A table that is whole, on one shard.
pub struct Subject {
    pub source: ShardId,
    pub table: TableDefinition,
}

/// Finds the table of this name, which must not be distributed yet, and locks it.
pub async fn find(
    participants: &mut dyn Participants,
    catalog: &Catalog,
    caller: &Caller,
    name: &str,
) -> Result<Subject, Error> {
    let (schema, table) = resolve(participants, catalog, caller, name).await?;
    let source = match catalog.table(&schema, &table).map(|table| &table.kind) {
        None => catalog.default_shard(),
        Some(TableKind::Unsharded { shard }) => *shard,
        Some(TableKind::Reference) => {
            return Err(distributed(&schema, &table, "a reference table"));
        }
        Some(TableKind::Sharded { .. }) => return Err(distributed(&schema, &table, "sharded")),
    };
    let missing = || Answer::new(format!("relation \"{name}\" does not exist")).undefined_table();
    owned(participants, source, caller, &schema, &table).await?;
    // Locked before the definition is read, so that it stays as read. What is no table cannot be locked.
    let kind = definition::read(participants, source, &schema, &table)
        .await?
        .ok_or_else(missing)?;
    requirements::plain(&kind)?;
    participants
        .query(
            source,
            &format!(
                "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
                qualified(&schema, &table)
            ),
        )
        .await?;
    let table = definition::read(participants, source, &schema, &table)
        .await?
        .ok_or_else(missing)?;
    Ok(Subject { source, table })
}

fn distributed(schema: &str, table: &str, what: &str) -> Error {
    Answer::new(format!("table {schema}.{table} is {what} already"))
        .hint("To place it otherwise, create a new table and copy the rows.")
        .duplicate()
}

/// Schema and name of a table by the caller's search path.
async fn resolve(
    participants: &mut dyn Participants,
    catalog: &Catalog,
    caller: &Caller,
    name: &str,
) -> Result<(String, String), Error> {
    let (schema, table) = parse_name(name)?;
    if let Some(schema) = schema {
        return Ok((schema, table));
    }
    for schema in caller.search_path.iter() {
        if let Some(Relation::Table(found)) = catalog.relation(schema, &table) {
            return Ok((found.schema.clone(), found.name.clone()));
        }
        // Made by a direct connection, since the snapshot was read.
        if definition::exists(participants, catalog.default_shard(), schema, &table).await? {
            return Ok((schema.clone(), table));
        }
    }
    Err(Answer::new(format!("relation \"{name}\" does not exist"))
        .hint("Write the schema before the name if it is not on the search_path.")
        .undefined_table())
}

/// Only whoever may ALTER a table may distribute it.
async fn owned(
    participants: &mut dyn Participants,
    source: ShardId,
    caller: &Caller,
    schema: &str,
    table: &str,
) -> Result<(), Error> {
    let sql = format!(
        "SELECT pg_catalog.pg_has_role({}, c.relowner, 'USAGE') FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass({})",
        literal(&caller.user),
        literal(&qualified(schema, table))
    );
    let rows = participants.query(source, &sql).await?;
    match rows.first() {
        Some(row) if !truth(row, 0) => {
            Err(Answer::new(format!("must be owner of table {table}")).not_allowed())
        }
        _ => Ok(()),
    }
}

/// Splits `schema.table` as SQL does: quotes, and folding to lower case without them.
pub fn parse_name(text: &str) -> Result<(Option<String>, String), Error> {
    let invalid = || {
        Answer::new(format!("invalid name: \"{text}\""))
            .hint("Write table, schema.table or \"Schema\".\"Table\".")
            .invalid_argument()
    };
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted).ok_or_else(invalid)?,
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest[..end].trim().to_lowercase(), &rest[end..])
            }
        };
        if part.is_empty() {
            return Err(invalid());
        }
        parts.push(part);
        match after.trim_start().strip_prefix('.') {
            Some(more) => rest = more.trim_start(),
            None if after.trim().is_empty() => break,
            None => return Err(invalid()),
        }
    }
    match <[String; 2]>::try_from(parts) {
        Ok([schema, name]) => Ok((Some(schema), name)),
        Err(mut parts) if parts.len() == 1 => Ok((None, parts.remove(0))),
        Err(_) => Err(invalid()),
    }
}

/// The name up to the closing quote, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if character != '"' {
            name.push(character);
        } else if characters.next_if(|(_, next)| *next == '"').is_some() {
            name.push('"');
        } else {
            return Some((name, &text[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::parse_name;

    #[test]
    fn names() {
        let parsed = |text| parse_name(text).unwrap();
        assert_eq!(parsed("Orders"), (None, "orders".into()));
        assert_eq!(parsed("\"Orders\""), (None, "Orders".into()));
        assert_eq!(
            parsed(" sales . \"a.b\"\"c\" "),
            (Some("sales".into()), "a.b\"c".into())
        );
        for invalid in ["", ".", "a.", ".a", "\"a", "\"a\"b", "a.b.c", "\"\""] {
            assert_eq!(
                parse_name(invalid).unwrap_err().sqlstate(),
                "22023",
                "{invalid}"
            );
        }
    }
}
