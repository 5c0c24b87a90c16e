//! Writing edits into the catalog's tables.
//!
//! Entry point: [`Edits::write`], in an open change of the home.

use catalog::GroupId;

use super::edit::{Edit, Edits, GroupChoice, Kind, Placing};
use super::error::{Answer, Error};
use crate::store::connection::column;
use crate::store::map_rows::{shard_number, write_group};
use crate::store::sequences::record_block;
use crate::store::{Change, Error as StoreError};

impl Edits {
    /// Writes all edits into an open change.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another change made the same group or divided the same sequence meanwhile.
    pub async fn write(&self, change: &Change) -> Result<(), Error> {
        let mut groups = Groups {
            provisional: self.new_groups().map(|(id, _)| id).collect(),
            made: Vec::new(),
        };
        for edit in &self.0 {
            write(edit, change, &mut groups).await.map_err(taken)?;
        }
        Ok(())
    }
}

/// The ids that provisional groups have got so far.
struct Groups {
    provisional: Vec<GroupId>,
    made: Vec<GroupId>,
}

impl Groups {
    fn real(&self, id: GroupId) -> GroupId {
        let made = self
            .provisional
            .iter()
            .zip(&self.made)
            .find(|(provisional, _)| **provisional == id);
        made.map_or(id, |(_, real)| *real)
    }
}

/// A unique key of the catalog that somebody else was faster to take.
fn taken(error: StoreError) -> Error {
    if error.sqlstate() == "23505" {
        Answer::new("the catalog was changed by somebody else meanwhile")
            .detail(error.to_string())
            .hint("Run the statement again.")
            .conflict()
    } else {
        Error::Store(error)
    }
}

fn number(id: GroupId) -> i32 {
    i32::try_from(id.0).unwrap_or(i32::MAX)
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Sharded => "sharded",
        Kind::Reference => "reference",
        Kind::Unsharded => "unsharded",
    }
}

async fn write(edit: &Edit, change: &Change, groups: &mut Groups) -> Result<(), StoreError> {
    match edit {
        Edit::Place {
            schema,
            name,
            placing,
            ..
        } => place(schema, name, placing, change, groups).await?,
        Edit::List {
            schema,
            name,
            shard,
            ..
        } => {
            change
                .execute(
                    "INSERT INTO pgweave.relation (schema_name, table_name, kind, shard) VALUES ($1, $2, 'unsharded', $3) \
                     ON CONFLICT (schema_name, table_name) DO NOTHING",
                    &[schema, name, &shard_number(*shard)],
                )
                .await?;
        }
        Edit::Forget { schema, name, kind } => {
            change
                .execute(
                    "DELETE FROM pgweave.relation WHERE schema_name = $1 AND table_name = $2 AND kind = $3",
                    &[schema, name, &kind_name(*kind)],
                )
                .await?;
        }
        Edit::RenameTable {
            schema,
            name,
            kind,
            new_schema,
            new_name,
        } => {
            change
                .execute(
                    "UPDATE pgweave.relation SET schema_name = $4, table_name = $5 WHERE schema_name = $1 AND table_name = $2 AND kind = $3",
                    &[schema, name, &kind_name(*kind), new_schema, new_name],
                )
                .await?;
        }
        Edit::RenameSchema { schema, new } => {
            for table in ["relation", "sequence"] {
                let sql =
                    format!("UPDATE pgweave.{table} SET schema_name = $2 WHERE schema_name = $1");
                change.execute(&sql, &[schema, new]).await?;
            }
        }
        Edit::Divide { division, blocks } => {
            let next_step = blocks
                .iter()
                .map(|block| block.first_step + block.steps)
                .max()
                .unwrap_or(0);
            let rows = change
                .query(
                    "INSERT INTO pgweave.sequence \
                            (schema_name, sequence_name, origin, increment, minimum, maximum, block_steps, next_step) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
                    &[
                        &division.schema,
                        &division.name,
                        &division.origin,
                        &division.increment,
                        &division.minimum,
                        &division.maximum,
                        &division.block_steps,
                        &next_step,
                    ],
                )
                .await?;
            let id = column(
                rows.first()
                    .ok_or_else(|| StoreError::corrupt("no id for a new sequence"))?,
                0,
            )?;
            for block in blocks {
                record_block(change.connection(), id, block).await?;
            }
        }
        Edit::ForgetSequence { schema, name } => {
            change
                .execute(
                    "DELETE FROM pgweave.sequence WHERE schema_name = $1 AND sequence_name = $2",
                    &[schema, name],
                )
                .await?;
        }
        Edit::MoveSequence {
            schema,
            name,
            new_schema,
        } => {
            change
                .execute(
                    "UPDATE pgweave.sequence SET schema_name = $3 WHERE schema_name = $1 AND sequence_name = $2",
                    &[schema, name, new_schema],
                )
                .await?;
        }
        Edit::BindAutoShard { column, group } => {
            change
                .execute(
                    "UPDATE pgweave.auto_shard SET colocation_group = $2 WHERE column_name = $1 AND colocation_group IS NULL",
                    &[column, &number(groups.real(*group))],
                )
                .await?;
        }
        Edit::Columns { .. } | Edit::Reactions { .. } | Edit::Schema { .. } | Edit::Touch => {}
    }
    Ok(())
}

async fn place(
    schema: &String,
    name: &String,
    placing: &Placing,
    change: &Change,
    groups: &mut Groups,
) -> Result<(), StoreError> {
    let (kind, key, group, shard) = match placing {
        Placing::Sharded { key, group } => {
            let names: Vec<&str> = key.iter().map(|column| column.name.as_str()).collect();
            let id = match group {
                GroupChoice::Existing(id) => groups.real(*id),
                GroupChoice::New {
                    types,
                    map,
                    layout,
                    is_default,
                } => {
                    let id =
                        write_group(change, types, map, layout.as_deref(), *is_default).await?;
                    groups.made.push(id);
                    id
                }
            };
            (Kind::Sharded, Some(names), Some(number(id)), None)
        }
        Placing::Reference => (Kind::Reference, None, None, None),
        Placing::Unsharded { shard } => (Kind::Unsharded, None, None, Some(shard_number(*shard))),
    };
    change
        .execute(
            "INSERT INTO pgweave.relation (schema_name, table_name, kind, key_columns, colocation_group, shard) \
             VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (schema_name, table_name) DO UPDATE \
             SET kind = EXCLUDED.kind, key_columns = EXCLUDED.key_columns, \
                 colocation_group = EXCLUDED.colocation_group, shard = EXCLUDED.shard",
            &[schema, name, &kind_name(kind), &key, &group, &shard],
        )
        .await?;
    Ok(())
}
