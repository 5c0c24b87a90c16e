//! Open transactions on shards that end together.
//!
//! Entry point: [`Participants`]. Both a client's own transaction (DDL that a client sent) and an operator's change (own control
//! connections) are such a set, so what reads and writes definitions is written once, over text rows of the
//! simple query protocol.

use std::future::Future;
use std::pin::Pin;

use catalog::ShardId;

use crate::store::connection::{CANONICAL_SETTINGS, Rows};
use crate::store::quote::literal;
use crate::store::{Error as StoreError, ServerError};

/// What comes of a query. Boxed, so that a session's own future stays one that may change threads.
pub type Reply<'a> = Pin<Box<dyn Future<Output = Result<Rows, ServerError>> + Send + 'a>>;

/// One open transaction on each shard that is asked; a shard joins at its first query.
pub trait Participants: Send {
    /// Runs statements that hold no parameters, and returns the rows of all of them as text.
    fn query<'a>(&'a mut self, shard: ShardId, sql: &'a str) -> Reply<'a>;
}

/// The settings of a client's session, put back by [`CanonicalSettings::restore`].
///
/// A control connection has canonical settings already; a client's session has its own, and what the server prints there
/// would mean something else on another connection. Only what differs is touched: clients are told of changes of some.
pub struct CanonicalSettings(Vec<(&'static str, String)>);

impl CanonicalSettings {
    /// Makes the session print names and values in the canonical form until the transaction ends or `restore`.
    pub async fn apply(
        participants: &mut dyn Participants,
        shard: ShardId,
    ) -> Result<Self, ServerError> {
        let current: Vec<String> = CANONICAL_SETTINGS
            .iter()
            .map(|(name, _)| format!("pg_catalog.current_setting('{name}')"))
            .collect();
        let rows = participants
            .query(shard, &format!("SELECT {}", current.join(", ")))
            .await?;
        let current = rows
            .into_iter()
            .next()
            .unwrap_or_default()
            .into_iter()
            .flatten();
        let mut saved = Vec::new();
        let mut wanted = Vec::new();
        for ((name, canonical), current) in CANONICAL_SETTINGS.iter().zip(current) {
            // The order of day and month shows in input only, once dates are printed by ISO 8601.
            let is_iso = *name == "datestyle" && current.starts_with("ISO");
            if !is_iso && !current.eq_ignore_ascii_case(canonical) {
                saved.push((*name, current));
                wanted.push((*name, (*canonical).to_owned()));
            }
        }
        set_local(participants, shard, &wanted).await?;
        Ok(CanonicalSettings(saved))
    }

    pub async fn restore(
        self,
        participants: &mut dyn Participants,
        shard: ShardId,
    ) -> Result<(), ServerError> {
        set_local(participants, shard, &self.0).await
    }
}

async fn set_local(
    participants: &mut dyn Participants,
    shard: ShardId,
    settings: &[(&'static str, String)],
) -> Result<(), ServerError> {
    let calls: Vec<String> = settings
        .iter()
        .map(|(name, value)| format!("pg_catalog.set_config('{name}', {}, true)", literal(value)))
        .collect();
    if !calls.is_empty() {
        participants
            .query(shard, &format!("SELECT {}", calls.join(", ")))
            .await?;
    }
    Ok(())
}

/// The items of an array as the server prints it: `{a,"b c",NULL}`.
pub fn array_items(text: &str) -> Result<Vec<String>, StoreError> {
    let inner = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let inner =
        inner.ok_or_else(|| StoreError::corrupt(format!("{text:?} where an array belongs")))?;
    let mut items = Vec::new();
    if inner.is_empty() {
        return Ok(items);
    }
    let mut item = String::new();
    let mut in_quotes = false;
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => item.extend(characters.next()),
            '"' => in_quotes = !in_quotes,
            ',' if !in_quotes => items.push(std::mem::take(&mut item)),
            other => item.push(other),
        }
    }
    items.push(item);
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::array_items;

    #[test]
    fn arrays() {
        assert_eq!(array_items("{}").unwrap(), Vec::<String>::new());
        assert_eq!(array_items("{a}").unwrap(), ["a"]);
        assert_eq!(
            array_items(r#"{a,"b, \"c\" \\","",d}"#).unwrap(),
            ["a", "b, \"c\" \\", "", "d"]
        );
        assert!(array_items("a").is_err());
    }
}
