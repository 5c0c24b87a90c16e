//! Making a table of one shard a table of several.
//!
//! Entry points: [`Distribution::sharded`], [`Distribution::reference`], [`Distribution::moved`]. They run in open transactions of
//! the shards (see [`Participants`]) that commit or roll back together, and return what the catalog is to record.
//! Invariants: the table is locked, and empty unless its rows stay where they are; it is made from the definition that the source has; a sharded table has its
//! placement guard, and sequences that draw from blocks of their own, before any other transaction can see it.

use std::collections::BTreeSet;

use catalog::{Column, GUARD, Group, KeyColumn, ShardId};

use super::definition::{
    self, SequenceDefinition, SequenceLink, TableDefinition, extensions, types,
};
use super::edit::{Edit, Edits, GroupChoice, Placing};
use super::error::{Answer, Error};
use super::participants::Participants;
use crate::store::connection::truth;
use crate::store::quote::{identifier, literal};
use crate::store::{Block, Division, ServerError};

/// A table that is on `source` now.
pub struct Distribution<'a> {
    pub participants: &'a mut dyn Participants,
    pub source: ShardId,
    pub table: TableDefinition,
    /// Sequences that are divided into blocks already, for other tables.
    pub divided: Vec<(String, String)>,
    /// Where the table is there already, by a statement of the same transaction: the source at least.
    pub made_on: Vec<ShardId>,
}

impl Distribution<'_> {
    /// Splits the table over the shards of a group's map.
    pub async fn sharded(
        mut self,
        key: Vec<KeyColumn>,
        choice: GroupChoice,
        group: &Group,
    ) -> Result<Edits, Error> {
        let shards = group.map.shards();
        // Rows that stay where they are need no copying; the guard looks at them.
        if !shards.iter().eq([&self.source]) {
            self.refuse_rows().await?;
        }
        for column in &mut self.table.columns {
            column.not_null |= key.iter().any(|key_column| key_column.name == column.name);
        }
        let not_null: Vec<String> = key
            .iter()
            .map(|column| format!("ALTER COLUMN {} SET NOT NULL", identifier(&column.name)))
            .collect();
        let not_null = format!(
            "ALTER TABLE {} {}",
            self.table.qualified(),
            not_null.join(", ")
        );
        for shard in &self.made_on {
            if shards.contains(shard) {
                self.participants.query(*shard, &not_null).await?;
            }
        }
        self.create_on(&Vec::from_iter(shards.iter().copied()))
            .await?;
        for shard in &shards {
            self.participants
                .query(*shard, &add_guard(&self.table, &key, group, *shard))
                .await?;
        }
        let mut edits = divide(
            self.participants,
            &self.table,
            &shards,
            self.source,
            &self.divided,
        )
        .await?;
        if !shards.contains(&self.source) {
            self.drop_from_source().await?;
        }
        edits.push(self.place(Placing::Sharded { key, group: choice }));
        Ok(edits)
    }

    /// Puts a full copy on every shard.
    pub async fn reference(mut self, shards: &[ShardId]) -> Result<Edits, Error> {
        if shards != [self.source] {
            self.refuse_rows().await?;
        }
        self.create_on(shards).await?;
        Ok(Edits(vec![self.place(Placing::Reference)]))
    }

    /// Puts the table on one shard.
    pub async fn moved(mut self, shard: ShardId) -> Result<Edits, Error> {
        if shard != self.source {
            self.refuse_rows().await?;
            self.create_on(&[shard]).await?;
            self.drop_from_source().await?;
        }
        Ok(Edits(vec![self.place(Placing::Unsharded { shard })]))
    }

    async fn refuse_rows(&mut self) -> Result<(), Error> {
        let sql = format!("SELECT EXISTS (SELECT FROM {})", self.table.qualified());
        let rows = self.participants.query(self.source, &sql).await?;
        if rows.first().is_some_and(|row| truth(row, 0)) {
            let name = self.table.display_name();
            return Err(Answer::new(format!("table {name} is not empty"))
                .detail("Tables with rows cannot be distributed over several shards yet.")
                .hint(format!(
                    "ALTER TABLE {name} RENAME TO {0}_old, CREATE TABLE {name} (LIKE {0}_old INCLUDING ALL), distribute it while it is \
                     empty, and copy the rows over.",
                    self.table.name
                ))
                .unsupported());
        }
        Ok(())
    }

    async fn create_on(&mut self, shards: &[ShardId]) -> Result<(), Error> {
        for &shard in shards {
            if self.made_on.contains(&shard) {
                continue;
            }
            if definition::exists(
                self.participants,
                shard,
                &self.table.schema,
                &self.table.name,
            )
            .await?
            {
                return Err(Answer::new(format!(
                    "relation {} exists on shard {shard} already",
                    self.table.display_name()
                ))
                .hint("Rename or drop it there, by a direct connection, if it is not needed.")
                .duplicate());
            }
            self.refuse_missing_role(shard).await?;
            extensions::ensure(self.participants, shard, &self.table.extensions).await?;
            types::ensure(self.participants, shard, &self.table.types).await?;
            let mut there = Vec::new();
            for sequence in &self.table.sequences {
                if sequence.link != SequenceLink::Used {
                    continue;
                }
                if definition::exists(self.participants, shard, &sequence.schema, &sequence.name)
                    .await?
                {
                    there.push((sequence.schema.clone(), sequence.name.clone()));
                }
            }
            let exists = |sequence: &SequenceDefinition| {
                there
                    .iter()
                    .any(|(schema, name)| *schema == sequence.schema && *name == sequence.name)
            };
            for statement in self.table.statements(exists) {
                self.participants
                    .query(shard, &statement)
                    .await
                    .map_err(|error| missing_object(error, shard))?;
            }
        }
        Ok(())
    }

    async fn refuse_missing_role(&mut self, shard: ShardId) -> Result<(), Error> {
        let sql = format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {})",
            literal(&self.table.owner)
        );
        let rows = self.participants.query(shard, &sql).await?;
        if rows.first().is_some_and(|row| truth(row, 0)) {
            return Ok(());
        }
        Err(Answer::new(format!(
            "role {}, the owner of table {}, does not exist on shard {shard}",
            self.table.owner,
            self.table.display_name()
        ))
        .hint(format!(
            "CREATE ROLE {} there.",
            identifier(&self.table.owner)
        ))
        .undefined_object())
    }

    async fn drop_from_source(&mut self) -> Result<(), Error> {
        if let Some(foreign) = self.table.inbound.first() {
            return Err(Answer::new(format!(
                "foreign key \"{}\" of {}.{} keeps table {} on its shard",
                foreign.name,
                foreign.from_schema,
                foreign.from_table,
                self.table.display_name()
            ))
            .hint(
                "Drop the foreign key, and add it again when both tables are where they should be.",
            )
            .unsupported());
        }
        let sql = format!("DROP TABLE {}", self.table.qualified());
        self.participants.query(self.source, &sql).await?;
        Ok(())
    }

    fn place(&self, placing: Placing) -> Edit {
        Edit::Place {
            schema: self.table.schema.clone(),
            name: self.table.name.clone(),
            columns: catalog_columns(&self.table),
            placing,
        }
    }
}

/// Gives each shard a block of each of the table's sequences that are not divided yet.
pub async fn divide(
    participants: &mut dyn Participants,
    table: &TableDefinition,
    shards: &BTreeSet<ShardId>,
    source: ShardId,
    divided: &[(String, String)],
) -> Result<Edits, Error> {
    let mut edits = Edits::default();
    for sequence in &table.sequences {
        if divided
            .iter()
            .any(|(schema, name)| *schema == sequence.schema && *name == sequence.name)
        {
            continue;
        }
        // One that is no column's own stays on the source, where others may draw from it.
        let mut holders = shards.clone();
        if sequence.link == SequenceLink::Used {
            holders.insert(source);
        }
        let division = division(table, sequence, holders.len())?;
        let mut blocks: Vec<Block> = Vec::new();
        for shard in holders {
            let first = blocks
                .last()
                .map_or(0, |block| block.first_step + block.steps);
            let block = division
                .block(shard, first, division.block_steps)
                .ok_or_else(|| exhausted(sequence))?;
            let install = division
                .install(&block)
                .ok_or_else(|| exhausted(sequence))?;
            participants.query(shard, &install).await?;
            blocks.push(block);
        }
        edits.push(Edit::Divide { division, blocks });
    }
    Ok(edits)
}

/// A function, collation, role or the like that the table's definition names and that the shard lacks.
fn missing_object(error: ServerError, shard: ShardId) -> Error {
    const UNDEFINED: [&str; 4] = ["42883", "42704", "42P01", "3F000"];
    if !UNDEFINED.contains(&error.sqlstate.as_str()) {
        return error.into();
    }
    Answer::new(error.message)
        .detail(format!("The table's definition needs it on shard {shard}."))
        .hint("Create it on every shard first: through pgweave it is created everywhere.")
        .undefined_object()
}

/// The columns as the catalog's snapshots show them.
pub fn catalog_columns(table: &TableDefinition) -> Vec<Column> {
    let column = |column: &definition::ColumnDefinition| {
        let sequence = || {
            table
                .sequences
                .iter()
                .find(|sequence| sequence.column == column.name)
        };
        let drawn = || {
            sequence()
                .map(|sequence| format!("nextval({}::regclass)", literal(&sequence.qualified())))
        };
        let default_expression = column
            .expression
            .clone()
            .or_else(|| column.generated.and_then(|_| drawn()));
        Column {
            name: column.name.clone(),
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
            not_null: column.not_null,
            has_default: column.expression.is_some() || column.generated.is_some(),
            default_expression,
            // Read with the snapshot that follows.
            sorts_by_bytes: false,
            equal_by_bytes: false,
            in_primary_key: false,
        }
    };
    table.columns.iter().map(column).collect()
}

/// The statement that makes a shard refuse rows of others.
pub fn add_guard(
    table: &TableDefinition,
    key: &[KeyColumn],
    group: &Group,
    shard: ShardId,
) -> String {
    let types: Vec<_> = key.iter().map(|column| column.key_type).collect();
    let columns: Vec<&str> = key.iter().map(|column| column.name.as_str()).collect();
    let expression = group.map.guard_expression(&types, &columns, shard);
    format!(
        "ALTER TABLE {} ADD CONSTRAINT {} CHECK ({expression})",
        table.qualified(),
        identifier(GUARD)
    )
}

/// How the rest of a sequence's values is divided over `shards`.
pub fn division(
    table: &TableDefinition,
    sequence: &SequenceDefinition,
    shards: usize,
) -> Result<Division, Error> {
    // Values that the column cannot hold are none.
    let (least, greatest) = match table.column(&sequence.column).map(|column| column.type_oid) {
        Some(21) => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Some(23) => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    let (minimum, maximum) = (sequence.minimum.max(least), sequence.maximum.min(greatest));
    let origin = match sequence.is_called {
        true => sequence.last_value.checked_add(sequence.increment),
        false => Some(sequence.last_value),
    };
    let name = (sequence.schema.as_str(), sequence.name.as_str());
    origin
        .and_then(|origin| Division::of(name, origin, sequence.increment, minimum, maximum, shards))
        .ok_or_else(|| exhausted(sequence))
}

fn exhausted(sequence: &SequenceDefinition) -> Error {
    Answer::new(format!(
        "sequence {}.{} has too few values left",
        sequence.schema, sequence.name
    ))
    .hint("ALTER SEQUENCE … RESTART, or use a larger type.")
    .wrong_state()
}
