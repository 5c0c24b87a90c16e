//! A table that a client has just created.

use catalog::{GUARD, KeyType, ShardId, TableKind};
use planner::{Name, NewTable};

use super::altered::reactions;
use super::apply::Ran;
use super::definition::{self, TableDefinition};
use super::distribute::{Distribution, catalog_columns};
use super::edit::{Edit, Edits, GroupChoice};
use super::error::{Answer, Error};
use super::participants::Participants;
use super::requirements;
use crate::store::Store;
use crate::store::connection::truth;
use crate::store::default_groups::default_group;
use crate::store::quote::{identifier, qualified};

/// Places a new table. One that was there before (IF NOT EXISTS) stays as it is.
pub(super) async fn table(
    name: &Name,
    sharding: &NewTable,
    ran: &Ran<'_>,
    store: &Store,
    participants: &mut dyn Participants,
) -> Result<Edits, Error> {
    if let Some(known) = ran.catalog.table(&name.schema, &name.name) {
        let is_whole = matches!(known.kind, TableKind::Unsharded { .. });
        if is_whole && matches!(sharding, NewTable::Auto { .. }) {
            // IF NOT EXISTS has made it on the shards that lacked it.
            return Err(Answer::new(format!(
                "relation \"{}\" already exists, and is on one shard",
                name.name
            ))
            .hint(format!(
                "SELECT pgweave.shard_table('{}.{}', …) shards it.",
                name.schema, name.name
            ))
            .duplicate());
        }
        return Ok(Edits::default());
    }
    let Some(&source) = ran.shards.first() else {
        return Ok(Edits::default());
    };
    let Some(table) = definition::read(participants, source, &name.schema, &name.name).await?
    else {
        // The statement ran, so the table is in another schema: one of the search path that the catalog has not heard of.
        return match sharding {
            NewTable::Unsharded { shard } if *shard == ran.catalog.default_shard() => Ok(Edits(vec![Edit::Touch])),
            _ => Err(Answer::new(format!("table \"{}\" was not created in schema \"{}\"", name.name, name.schema))
                .hint("Write the schema before the table's name, or run SELECT pgweave.refresh() if a schema was created directly.")
                .wrong_state()),
        };
    };
    let table = match unguarded(table, ran, participants).await? {
        Some(table) => table,
        None => return Ok(Edits(vec![Edit::Touch])),
    };
    let parent = match sharding {
        NewTable::Child { parent } => Some(parent),
        NewTable::Unsharded { .. } | NewTable::Auto { .. } => None,
    };
    let set_off = reactions(&table, parent, source, participants).await?;
    let mut edits = match sharding {
        NewTable::Unsharded { shard } => unsharded(&table, *shard, ran),
        NewTable::Child { parent } => match ran
            .catalog
            .table(&parent.schema, &parent.name)
            .map(|parent| &parent.kind)
        {
            Some(TableKind::Sharded { .. } | TableKind::Reference) => Err(Answer::new(format!(
                "table {} cannot be a child of {}.{}",
                table.display_name(),
                parent.schema,
                parent.name
            ))
            .detail("Sharded tables and reference tables have no partitions and no children.")
            .hint("Create it as a table of its own.")
            .unsupported()),
            Some(TableKind::Unsharded { shard }) => unsharded(&table, *shard, ran),
            None => unsharded(&table, ran.catalog.default_shard(), ran),
        },
        NewTable::Auto { column, .. } => {
            automatic(table, column, source, ran, store, participants).await
        }
    }?;
    edits.append(set_off);
    Ok(edits)
}

/// `LIKE` a sharded table brings that table's placement guard along: it says nothing of this one.
async fn unguarded(
    table: TableDefinition,
    ran: &Ran<'_>,
    participants: &mut dyn Participants,
) -> Result<Option<TableDefinition>, Error> {
    if !table
        .constraints
        .iter()
        .any(|constraint| constraint.name == GUARD)
    {
        return Ok(Some(table));
    }
    let sql = format!(
        "ALTER TABLE {} DROP CONSTRAINT {}",
        table.qualified(),
        identifier(GUARD)
    );
    for shard in ran.shards {
        participants.query(*shard, &sql).await?;
    }
    let source = ran.shards.first().copied();
    definition::read(
        participants,
        source.unwrap_or(ran.catalog.default_shard()),
        &table.schema,
        &table.name,
    )
    .await
}

fn unsharded(table: &TableDefinition, shard: ShardId, ran: &Ran<'_>) -> Result<Edits, Error> {
    if matches!(table.kind, definition::RelationKind::Other { .. }) {
        // A materialized view or a foreign table, found by its name on the default shard like any relation not listed.
        return Ok(Edits(vec![Edit::Touch]));
    }
    requirements::unsharded(table, shard, false, ran.catalog)?;
    Ok(Edits(vec![Edit::List {
        schema: table.schema.clone(),
        name: table.name.clone(),
        columns: catalog_columns(table),
        shard,
    }]))
}

/// Shards a table by a registered column. The statement has made it on all shards of the group, or on all there are if the column
/// has no group yet.
async fn automatic(
    table: TableDefinition,
    column: &str,
    source: ShardId,
    ran: &Ran<'_>,
    store: &Store,
    participants: &mut dyn Participants,
) -> Result<Edits, Error> {
    let key = [column.to_owned()];
    let Some(key_type) = table
        .column(column)
        .map(|column| KeyType::from_oid(column.type_oid).unwrap_or(KeyType::Text))
    else {
        return Err(Answer::new(format!(
            "column \"{column}\" of table {} does not exist",
            table.display_name()
        ))
        .undefined_column());
    };
    let rule = ran
        .catalog
        .auto_shard()
        .iter()
        .find(|rule| rule.column == column);
    let choice = match rule.and_then(|rule| rule.group) {
        Some(group) => GroupChoice::Existing(group),
        None => choose_default(key_type, ran, store).await?,
    };
    let divided = ran.divided(store).await?;
    let group = choice
        .group(ran.catalog)
        .ok_or_else(|| Answer::new("the colocation group is gone").conflict())?;
    if !group
        .types
        .first()
        .is_some_and(|own| own.colocates_with(key_type))
    {
        let expected = group.types.first().map_or("", |own| own.name());
        return Err(Answer::new(format!("column \"{column}\" has type {}, other tables are sharded by a {expected} of that name", key_type.name()))
            .hint(format!("Use type {expected}, or another name."))
            .unsupported());
    }
    let existing = match &choice {
        GroupChoice::Existing(id) => Some(*id),
        GroupChoice::New { .. } => None,
    };
    let key = requirements::sharded(&table, &key, existing, ran.catalog)?;
    let qualified_name = qualified(&table.schema, &table.name);
    let shards = group.map.shards();
    for shard in ran.shards {
        if shards.contains(shard) || *shard == source {
            continue;
        }
        participants
            .query(*shard, &format!("DROP TABLE {qualified_name}"))
            .await?;
    }
    let mut bound = Vec::new();
    if rule.is_some_and(|rule| rule.group.is_none()) {
        let group = existing.unwrap_or_else(|| ran.earlier.next_provisional());
        bound.push(Edit::BindAutoShard {
            column: column.to_owned(),
            group,
        });
    }
    let distribution = Distribution {
        participants,
        source,
        table,
        divided,
        made_on: ran.shards.to_vec(),
    };
    let mut edits = distribution.sharded(key, choice, &group).await?;
    edits.append(Edits(bound));
    Ok(edits)
}

/// The default group for keys of this type: one that is there, one that this transaction makes, or a new one.
async fn choose_default(
    key_type: KeyType,
    ran: &Ran<'_>,
    store: &Store,
) -> Result<GroupChoice, Error> {
    let made = ran.earlier.new_groups().find(|(_, choice)| {
        matches!(choice, GroupChoice::New { is_default: true, types, .. } if matches!(types[..], [only] if only.colocates_with(key_type)))
    });
    if let Some((id, _)) = made {
        return Ok(GroupChoice::Existing(id));
    }
    let home = store.home().await?;
    let known = default_group(&home, ran.catalog, &[key_type]).await?;
    store.give_back(home);
    match known {
        Some(group) => Ok(GroupChoice::Existing(group)),
        None => GroupChoice::new_default(ran.catalog, &[key_type]),
    }
}

/// Whether a shard's table holds any row.
pub(super) async fn has_rows(
    participants: &mut dyn Participants,
    shard: ShardId,
    table: &str,
) -> Result<bool, Error> {
    let rows = participants
        .query(shard, &format!("SELECT EXISTS (SELECT FROM {table})"))
        .await?;
    Ok(rows.first().is_some_and(|row| truth(row, 0)))
}
