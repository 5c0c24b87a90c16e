//! Tables and sequences that a client has altered or renamed.

use std::collections::BTreeSet;

use catalog::{Catalog, GUARD, GroupId, KeyColumn, Reaction, ShardId, TableKind};
use planner::Name;

use super::apply::{Ran, first_shard};
use super::created::has_rows;
use super::definition::{self, SequenceDefinition, SequenceLink, TableDefinition};
use super::distribute::{catalog_columns, divide};
use super::edit::{Edit, Edits, GroupChoice, Kind, Placing};
use super::error::{Answer, Error};
use super::participants::Participants;
use super::requirements;
use crate::store::connection::truth;
use crate::store::quote::{literal, qualified};
use crate::store::relations::{reactions_query, read_reactions};
use crate::store::{Block, Division, Store};

/// Looks at a table after ALTER TABLE: is what the catalog says of it still possible?
pub(super) async fn table(
    name: &Name,
    ran: &Ran<'_>,
    store: &Store,
    participants: &mut dyn Participants,
) -> Result<Edits, Error> {
    let Some(known) = ran.catalog.table(&name.schema, &name.name) else {
        return Ok(Edits(vec![Edit::Touch]));
    };
    let Some(shard) =
        first_shard(&known.kind, ran.catalog).filter(|shard| ran.shards.contains(shard))
    else {
        return Ok(Edits(vec![Edit::Touch]));
    };
    let Some(table) = definition::read(participants, shard, &name.schema, &name.name).await? else {
        return Ok(Edits(vec![Edit::Touch]));
    };
    let columns = catalog_columns(&table);
    let (schema, name) = (table.schema.clone(), table.name.clone());
    let mut edits = reactions(&table, None, shard, participants).await?;
    match &known.kind {
        TableKind::Unsharded { shard } => {
            if !matches!(table.kind, definition::RelationKind::Other { .. }) {
                requirements::unsharded(&table, *shard, false, ran.catalog)?;
            }
            edits.push(Edit::Columns {
                schema,
                name,
                columns,
            });
            Ok(edits)
        }
        TableKind::Reference => {
            requirements::reference(&table, ran.catalog)?;
            edits.push(Edit::Columns {
                schema,
                name,
                columns,
            });
            Ok(edits)
        }
        TableKind::Sharded { group, key } => {
            let key = sharded(&table, key, *group, ran.catalog)?;
            edits.append(sequences(&table, *group, ran, store, participants).await?);
            // Not its columns alone: the type of a key column may have become another of the same family.
            let placing = Placing::Sharded {
                key,
                group: GroupChoice::Existing(*group),
            };
            edits.push(Edit::Place {
                schema,
                name,
                columns,
                placing,
            });
            Ok(edits)
        }
    }
}

/// What the table runs by itself now, and what its `parent` and the tables that it refers to do, which may write it.
pub(super) async fn reactions(
    table: &TableDefinition,
    parent: Option<&Name>,
    shard: ShardId,
    participants: &mut dyn Participants,
) -> Result<Edits, Error> {
    let foreign = table
        .constraints
        .iter()
        .filter_map(|constraint| constraint.foreign.as_ref());
    let names: BTreeSet<(String, String)> =
        std::iter::once((table.schema.clone(), table.name.clone()))
            .chain(parent.map(|parent| (parent.schema.clone(), parent.name.clone())))
            .chain(foreign.map(|foreign| (foreign.to_schema.clone(), foreign.to_table.clone())))
            .collect();
    let names: Vec<(String, String)> = names.into_iter().collect();
    let Some(sql) = reactions_query(Some(&names)) else {
        return Ok(Edits::default());
    };
    let found = read_reactions(&participants.query(shard, &sql).await?)?;
    let edit = |(schema, name): (String, String)| {
        let of = |reaction: &&Reaction| reaction.schema == schema && reaction.name == name;
        Edit::Reactions {
            reactions: found.iter().filter(of).cloned().collect(),
            schema,
            name,
        }
    };
    Ok(Edits(names.into_iter().map(edit).collect()))
}

fn sharded(
    table: &TableDefinition,
    key: &[KeyColumn],
    group: GroupId,
    catalog: &Catalog,
) -> Result<Vec<KeyColumn>, Error> {
    let names: Vec<String> = key.iter().map(|column| column.name.clone()).collect();
    let now = requirements::sharded(table, &names, Some(group), catalog)?;
    let types = catalog
        .group(group)
        .map(|group| group.types.as_slice())
        .unwrap_or_default();
    for ((before, now), group_type) in key.iter().zip(&now).zip(types) {
        if !now.key_type.colocates_with(*group_type) {
            return Err(Answer::new(format!(
                "the shard key of table {} would change from {} to {}",
                table.display_name(),
                before.key_type.name(),
                now.key_type.name()
            ))
            .hint("Create a new table with the type you want, and copy the rows.")
            .unsupported());
        }
        if table
            .column(&now.name)
            .is_some_and(|column| !column.not_null)
        {
            return Err(Answer::new(format!(
                "column \"{}\" is the shard key of table {} and must stay NOT NULL",
                now.name,
                table.display_name()
            ))
            .unsupported());
        }
    }
    if !table
        .constraints
        .iter()
        .any(|constraint| constraint.name == GUARD)
    {
        return Err(Answer::new(format!(
            "the placement guard of table {} cannot be dropped",
            table.display_name()
        ))
        .detail(format!(
            "The constraint {GUARD} keeps rows off shards where no router would find them."
        ))
        .unsupported());
    }
    Ok(now)
}

/// New sequences get their blocks; those that have them must not have been changed.
async fn sequences(
    table: &TableDefinition,
    group: GroupId,
    ran: &Ran<'_>,
    store: &Store,
    participants: &mut dyn Participants,
) -> Result<Edits, Error> {
    if table.sequences.is_empty() {
        return Ok(Edits::default());
    }
    let divided = ran.divided(store).await?;
    let shards: BTreeSet<ShardId> = ran
        .catalog
        .group(group)
        .map(|group| group.map.shards())
        .unwrap_or_default();
    let mut all_divided = true;
    for sequence in &table.sequences {
        if is_divided(&divided, sequence) {
            unchanged(&sequence.schema, &sequence.name, ran, store, participants).await?;
        } else {
            all_divided = false;
        }
    }
    if all_divided {
        return Ok(Edits::default());
    }
    for &shard in &shards {
        if has_rows(participants, shard, &table.qualified()).await? {
            return Err(Answer::new(format!("a sequence cannot be added to table {}, which has rows", table.display_name()))
                .detail("Every shard would number its own rows from the start.")
                .hint("Add the column without a default, create the sequence, and number the rows by UPDATE; or create a new table.")
                .unsupported());
        }
    }
    let source = ran
        .shards
        .first()
        .copied()
        .unwrap_or(ran.catalog.default_shard());
    divide(participants, table, &shards, source, &divided).await
}

fn is_divided(divided: &[(String, String)], sequence: &SequenceDefinition) -> bool {
    divided
        .iter()
        .any(|(schema, name)| *schema == sequence.schema && *name == sequence.name)
}

/// Looks at a table after ALTER TABLE … RENAME or SET SCHEMA.
pub(super) async fn renamed(
    old: &Name,
    new: &Name,
    ran: &Ran<'_>,
    store: &Store,
    participants: &mut dyn Participants,
) -> Result<Edits, Error> {
    let Some(known) = ran.catalog.table(&old.schema, &old.name) else {
        return Ok(Edits(vec![Edit::Touch]));
    };
    let Some(shard) =
        first_shard(&known.kind, ran.catalog).filter(|shard| ran.shards.contains(shard))
    else {
        return Ok(Edits(vec![Edit::Touch]));
    };
    let Some(table) = definition::read(participants, shard, &new.schema, &new.name).await? else {
        return Ok(Edits(vec![Edit::Touch]));
    };
    let mut edits = Edits(vec![Edit::RenameTable {
        schema: old.schema.clone(),
        name: old.name.clone(),
        kind: Kind::of(&known.kind),
        new_schema: new.schema.clone(),
        new_name: new.name.clone(),
    }]);
    if old.schema == new.schema {
        return Ok(edits);
    }
    // A table's own sequences move with it.
    let divided = ran.divided(store).await?;
    for sequence in table
        .sequences
        .iter()
        .filter(|sequence| sequence.link != SequenceLink::Used)
    {
        if divided
            .iter()
            .any(|(schema, name)| *schema == old.schema && *name == sequence.name)
        {
            edits.push(Edit::MoveSequence {
                schema: old.schema.clone(),
                name: sequence.name.clone(),
                new_schema: new.schema.clone(),
            });
        }
    }
    Ok(edits)
}

/// Looks at a sequence after it was created, altered, renamed or dropped.
pub(super) async fn sequence(
    name: &Name,
    ran: &Ran<'_>,
    store: &Store,
    participants: &mut dyn Participants,
) -> Result<Edits, Error> {
    unchanged(&name.schema, &name.name, ran, store, participants).await?;
    Ok(Edits(vec![Edit::Touch]))
}

/// Refuses a change of what keeps a divided sequence's values unique. Sequences that are not divided may do anything.
async fn unchanged(
    schema: &str,
    name: &str,
    ran: &Ran<'_>,
    store: &Store,
    participants: &mut dyn Participants,
) -> Result<(), Error> {
    let blocks = store.blocks_of(schema, name).await?;
    for shard in ran.shards {
        let own: Vec<&(Division, Block)> = blocks
            .iter()
            .filter(|(_, block)| block.shard == *shard)
            .collect();
        if own.is_empty() {
            continue;
        }
        let sql = format!(
            "SELECT s.seqmin, s.seqmax, s.seqincrement, s.seqcycle FROM pg_sequence s WHERE s.seqrelid = to_regclass({})",
            literal(&qualified(schema, name))
        );
        let rows = participants.query(*shard, &sql).await?;
        // Blocks that follow one another are one range to the shard, so the far bound is what tells them apart.
        let same = rows.first().is_some_and(|row| {
            let is = |index: usize, value: i64| {
                row.get(index).and_then(Option::as_deref) == Some(&value.to_string())
            };
            own.iter().any(|(division, block)| {
                let far = division.bounds(block).is_some_and(|(low, high)| {
                    if division.increment > 0 {
                        is(1, high)
                    } else {
                        is(0, low)
                    }
                });
                far && is(2, division.increment) && !truth(row, 3)
            })
        });
        if !same {
            return Err(Answer::new(format!(
                "sequence {schema}.{name} is divided into blocks over the shards"
            ))
            .detail(
                "Its bounds, its increment and its name keep the values unique over the cluster.",
            )
            .hint("Drop the column that draws from it, or use a sequence of its own.")
            .unsupported());
        }
    }
    Ok(())
}
