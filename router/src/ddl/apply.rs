//! What a client's DDL means for the catalog, found out in the client's own transaction.
//!
//! Entry points, in the order in which a session calls them:
//!
//! 1. [`before`], when the statement is planned and nothing was sent: refuses what the shards would do and the catalog could
//!    not follow.
//! 2. [`after`], when the statement has succeeded on its shards, in the same transaction and before the client hears of it:
//!    reads the definitions as they are now, refuses what cannot hold over shards, finishes tables that are sharded
//!    automatically, and returns the edits of the catalog. An error means that the statement failed: the transaction (or
//!    the savepoint) is to be rolled back.
//! 3. The session keeps the edits with its transaction, plans by [`Edits::overlay`] until it ends, and commits them with
//!    it: see [`super::commit`].
//!
//! What a statement did is not derived from its text but read from the server's catalogs: it cannot be misunderstood.

use std::sync::Arc;

use catalog::{Catalog, ShardId, TableKind};
use planner::{Change, DdlEffect, Name};

use super::altered;
use super::created;
use super::edit::{Edit, Edits, Kind};
use super::error::{Answer, Error};
use super::participants::{CanonicalSettings, Participants, array_items};
use crate::store::Store;
use crate::store::connection::text;
use crate::store::default_groups::{divided_on, divided_sequences};
use crate::store::quote::qualified;

/// A DDL statement that has run.
pub struct Ran<'a> {
    /// The command tag, such as `DROP TABLE`.
    pub tag: &'a str,
    pub effect: &'a DdlEffect,
    /// Where it ran, in ascending order. Empty if it ran nowhere.
    pub shards: &'a [ShardId],
    /// The catalog that it was planned by: with the edits of earlier statements of the transaction.
    pub catalog: &'a Arc<Catalog>,
    /// Those edits.
    pub earlier: &'a Edits,
}

impl Ran<'_> {
    /// Sequences that are divided already, by earlier changes or by this transaction.
    pub(super) async fn divided(&self, store: &Store) -> Result<Vec<(String, String)>, Error> {
        let home = store.home().await?;
        let mut divided = divided_sequences(&home).await?;
        store.give_back(home);
        for edit in &self.earlier.0 {
            match edit {
                Edit::Divide { division, .. } => {
                    divided.push((division.schema.clone(), division.name.clone()))
                }
                Edit::ForgetSequence { schema, name } => {
                    divided.retain(|(known, other)| known != schema || other != name)
                }
                _ => {}
            }
        }
        Ok(divided)
    }
}

/// Refuses what can be known to be refused without asking a server.
pub fn before(effect: &DdlEffect, catalog: &Catalog) -> Result<(), Error> {
    for change in &effect.changes {
        match change {
            Change::ColumnRenamed { table, column, .. }
                if is_key_column(catalog, table, column) =>
            {
                return Err(Answer::new(format!(
                    "column {column} is the shard key of table {}.{}",
                    table.schema, table.name
                ))
                .detail("Routers that have not heard of the new name yet could misplace rows.")
                .hint("Create a new table with the names you want, and copy the rows.")
                .unsupported());
            }
            Change::Schema { schema } | Change::SchemaRenamed { schema, .. }
                if schema == "pgweave" =>
            {
                return Err(Answer::new("schema pgweave belongs to the routers").not_allowed());
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_key_column(catalog: &Catalog, table: &Name, column: &str) -> bool {
    catalog
        .table(&table.schema, &table.name)
        .is_some_and(|table| table.key().iter().any(|key| key.name == column))
}

/// Finds out what the statement did. To be called once per statement, in its transaction.
pub async fn after(
    ran: &Ran<'_>,
    store: &Store,
    participants: &mut dyn Participants,
) -> Result<Edits, Error> {
    let mut edits = Edits::default();
    if ran.shards.is_empty() {
        return Ok(edits);
    }
    let mut settings = Vec::new();
    for shard in ran.shards {
        settings.push((
            *shard,
            CanonicalSettings::apply(participants, *shard).await?,
        ));
    }
    for change in &ran.effect.changes {
        edits.append(follow(change, ran, store, participants).await?);
    }
    if ran.tag.starts_with("DROP") {
        edits.append(missing(ran, store, participants).await?);
    }
    for (shard, settings) in settings {
        settings.restore(participants, shard).await?;
    }
    Ok(edits)
}

async fn follow(
    change: &Change,
    ran: &Ran<'_>,
    store: &Store,
    participants: &mut dyn Participants,
) -> Result<Edits, Error> {
    match change {
        Change::TableCreated {
            table, sharding, ..
        } => created::table(table, sharding, ran, store, participants).await,
        Change::TableAltered { table } | Change::ColumnRenamed { table, .. } => {
            altered::table(table, ran, store, participants).await
        }
        Change::TableRenamed { table, new } => {
            altered::renamed(table, new, ran, store, participants).await
        }
        Change::Sequence { sequence } => {
            altered::sequence(sequence, ran, store, participants).await
        }
        Change::SchemaRenamed { schema, new } => Ok(Edits(vec![Edit::RenameSchema {
            schema: schema.clone(),
            new: new.clone(),
        }])),
        Change::Schema { schema } if !ran.tag.starts_with("DROP") => {
            Ok(Edits(vec![Edit::Schema {
                schema: schema.clone(),
            }]))
        }
        // Tables that are gone are found by looking for them; these are what snapshots show besides.
        Change::TableDropped { .. }
        | Change::View { .. }
        | Change::Function { .. }
        | Change::Schema { .. } => Ok(Edits(vec![Edit::Touch])),
        Change::Other => Ok(Edits::default()),
    }
}

/// Tables and divided sequences that a DROP has taken, by name or by CASCADE.
async fn missing(
    ran: &Ran<'_>,
    store: &Store,
    participants: &mut dyn Participants,
) -> Result<Edits, Error> {
    let mut edits = Edits::default();
    for &shard in ran.shards {
        let here = || {
            ran.catalog
                .tables()
                .iter()
                .filter(|table| first_shard(&table.kind, ran.catalog) == Some(shard))
        };
        let names: Vec<String> = here()
            .map(|table| qualified(&table.schema, &table.name))
            .collect();
        let gone = absent(participants, shard, &names).await?;
        for (table, _) in here().zip(&names).filter(|(_, name)| gone.contains(name)) {
            edits.push(Edit::Forget {
                schema: table.schema.clone(),
                name: table.name.clone(),
                kind: Kind::of(&table.kind),
            });
        }
        let home = store.home().await?;
        let divided = divided_on(&home, shard).await?;
        store.give_back(home);
        let names: Vec<String> = divided
            .iter()
            .map(|(schema, name)| qualified(schema, name))
            .collect();
        let gone = absent(participants, shard, &names).await?;
        for ((schema, name), _) in divided
            .into_iter()
            .zip(&names)
            .filter(|(_, name)| gone.contains(name))
        {
            let forget = Edit::ForgetSequence { schema, name };
            if !edits.0.contains(&forget) {
                edits.push(forget);
            }
        }
    }
    Ok(edits)
}

/// Those of the relations that do not exist on the shard.
async fn absent(
    participants: &mut dyn Participants,
    shard: ShardId,
    names: &[String],
) -> Result<Vec<String>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT coalesce(array_agg(name), '{{}}')::text FROM unnest({}) AS name WHERE to_regclass(name) IS NULL",
        crate::store::quote::array(names)
    );
    let rows = participants.query(shard, &sql).await?;
    Ok(array_items(text(
        rows.first().map_or(&[][..], Vec::as_slice),
        0,
        "to_regclass",
    )?)?)
}

/// The shard where a table's definition is looked up: the default shard if it has it.
pub(super) fn first_shard(kind: &TableKind, catalog: &Catalog) -> Option<ShardId> {
    match kind {
        TableKind::Unsharded { shard } => Some(*shard),
        TableKind::Reference => Some(catalog.default_shard()),
        TableKind::Sharded { group, .. } => {
            let shards = catalog.group(*group)?.map.shards();
            match shards.contains(&catalog.default_shard()) {
                true => Some(catalog.default_shard()),
                false => shards.first().copied(),
            }
        }
    }
}
