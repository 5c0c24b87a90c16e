//! What a definition's change means for the catalog, as data.
//!
//! Entry points: [`Edits::write`], into an open change of the home, and [`Edits::overlay`], into a snapshot that only the
//! transaction sees that made them. Edits are collected in the order in which statements made them.

use std::sync::Arc;

use catalog::{
    AutoShard, Catalog, Column, Group, GroupId, KeyColumn, KeyType, ShardId, ShardMap, Table,
    TableId, TableKind,
};

use super::error::{Answer, Error};
use crate::store::connection::column;
use crate::store::map_rows::{shard_number, write_group};
use crate::store::sequences::record_block;
use crate::store::{Block, Change, Division, Error as StoreError, FIRST_UNLISTED};

/// One change of the catalog's rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// A table is placed, for the first time or otherwise than before.
    Place {
        schema: String,
        name: String,
        columns: Vec<Column>,
        placing: Placing,
    },
    /// A table is gone, or is one of those that the catalog does not list.
    Forget {
        schema: String,
        name: String,
    },
    RenameTable {
        schema: String,
        name: String,
        new_schema: String,
        new_name: String,
    },
    RenameSchema {
        schema: String,
        new: String,
    },
    /// A sequence is divided into blocks.
    Divide {
        division: Division,
        blocks: Vec<Block>,
    },
    ForgetSequence {
        schema: String,
        name: String,
    },
    /// Tables with this column join the group from now on. The group may be one that an earlier edit makes: it is named by
    /// the id that it has in the overlay.
    BindAutoShard {
        column: String,
        group: GroupId,
    },
    /// Nothing of the catalog's own rows, but something that snapshots show: all routers must read anew.
    Touch,
}

/// How a table is placed.
#[derive(Debug, Clone, PartialEq)]
pub enum Placing {
    Sharded {
        key: Vec<KeyColumn>,
        group: GroupChoice,
    },
    Reference,
    Unsharded {
        shard: ShardId,
    },
}

/// A colocation group that is there, or is to be made.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupChoice {
    Existing(GroupId),
    /// `is_default`: the group that tables with keys of these types join without asking.
    New {
        types: Vec<KeyType>,
        map: ShardMap,
        layout: Option<String>,
        is_default: bool,
    },
}

impl GroupChoice {
    /// The group's map and types. One that is to be made has the id that the overlay gives it.
    pub fn group(&self, catalog: &Catalog) -> Option<Group> {
        match self {
            GroupChoice::Existing(id) => catalog.group(*id).cloned(),
            GroupChoice::New { types, map, .. } => Some(Group {
                id: next_group(catalog),
                types: types.clone(),
                map: map.clone(),
            }),
        }
    }
}

/// Edits in the order they were made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edits(pub Vec<Edit>);

impl Edits {
    pub fn push(&mut self, edit: Edit) {
        self.0.push(edit);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn append(&mut self, mut others: Edits) {
        self.0.append(&mut others.0);
    }

    /// Writes all edits into an open change. `catalog` is the snapshot that the edits were made against, without them.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another change placed the same table or made the same default group meanwhile.
    pub async fn write(&self, change: &Change<'_>, catalog: &Catalog) -> Result<(), Error> {
        // Groups that the edits make get their ids here; an overlay counted on from the snapshot's.
        let mut made: Vec<(GroupId, GroupId)> = Vec::new();
        let mut next = next_group(catalog);
        for edit in &self.0 {
            write_edit(edit, change, &mut made, &mut next)
                .await
                .map_err(taken)?;
        }
        Ok(())
    }

    /// The catalog as it will be: for the transaction that made the edits.
    pub fn overlay(&self, catalog: &Arc<Catalog>) -> Result<Arc<Catalog>, Error> {
        let mut current = Arc::clone(catalog);
        for edit in &self.0 {
            current = apply(edit, &current)?;
        }
        Ok(current)
    }
}

fn next_group(catalog: &Catalog) -> GroupId {
    GroupId(catalog.groups().last().map_or(1, |group| group.id.0 + 1))
}

fn number(id: u32) -> i32 {
    i32::try_from(id).unwrap_or(i32::MAX)
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

async fn write_edit(
    edit: &Edit,
    change: &Change<'_>,
    made: &mut Vec<(GroupId, GroupId)>,
    next: &mut GroupId,
) -> Result<(), StoreError> {
    match edit {
        Edit::Place {
            schema,
            name,
            placing,
            ..
        } => {
            let (kind, key, group, shard) = match placing {
                Placing::Sharded { key, group } => {
                    let names: Vec<&str> = key.iter().map(|column| column.name.as_str()).collect();
                    (
                        "sharded",
                        Some(names),
                        Some(choose(group, change, made, next).await?),
                        None,
                    )
                }
                Placing::Reference => ("reference", None, None, None),
                Placing::Unsharded { shard } => {
                    ("unsharded", None, None, Some(shard_number(*shard)))
                }
            };
            let group = group.map(|group| number(group.0));
            change
                .execute(
                    "INSERT INTO pgweave.relation (schema_name, table_name, kind, key_columns, colocation_group, shard) \
                     VALUES ($1, $2, $3, $4, $5, $6) \
                     ON CONFLICT (schema_name, table_name) DO UPDATE \
                     SET kind = EXCLUDED.kind, key_columns = EXCLUDED.key_columns, \
                         colocation_group = EXCLUDED.colocation_group, shard = EXCLUDED.shard",
                    &[schema, name, &kind, &key, &group, &shard],
                )
                .await?;
        }
        Edit::Forget { schema, name } => {
            change
                .execute(
                    "DELETE FROM pgweave.relation WHERE schema_name = $1 AND table_name = $2",
                    &[schema, name],
                )
                .await?;
        }
        Edit::RenameTable {
            schema,
            name,
            new_schema,
            new_name,
        } => {
            change
                .execute(
                    "UPDATE pgweave.relation SET schema_name = $3, table_name = $4 WHERE schema_name = $1 AND table_name = $2",
                    &[schema, name, new_schema, new_name],
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
        Edit::BindAutoShard { column, group } => {
            let group = number(
                made.iter()
                    .find(|(provisional, _)| provisional == group)
                    .map_or(*group, |(_, real)| *real)
                    .0,
            );
            change
                .execute(
                    "UPDATE pgweave.auto_shard SET colocation_group = $2 WHERE column_name = $1 AND colocation_group IS NULL",
                    &[column, &group],
                )
                .await?;
        }
        Edit::Touch => {}
    }
    Ok(())
}

/// The id of a group, which is made if need be.
async fn choose(
    group: &GroupChoice,
    change: &Change<'_>,
    made: &mut Vec<(GroupId, GroupId)>,
    next: &mut GroupId,
) -> Result<GroupId, StoreError> {
    match group {
        GroupChoice::Existing(id) => Ok(made
            .iter()
            .find(|(provisional, _)| provisional == id)
            .map_or(*id, |(_, real)| *real)),
        GroupChoice::New {
            types,
            map,
            layout,
            is_default,
        } => {
            let real = write_group(change, types, map, layout.as_deref(), *is_default).await?;
            made.push((*next, real));
            next.0 += 1;
            Ok(real)
        }
    }
}

fn apply(edit: &Edit, catalog: &Arc<Catalog>) -> Result<Arc<Catalog>, Error> {
    let builder = catalog.to_builder();
    let builder = match edit {
        Edit::Place {
            schema,
            name,
            columns,
            placing,
        } => {
            let mut builder = builder.without_relation(schema, name);
            let kind = match placing {
                Placing::Sharded { key, group } => {
                    let id = match group {
                        GroupChoice::Existing(id) => *id,
                        GroupChoice::New { .. } => next_group(catalog),
                    };
                    if let GroupChoice::New { types, map, .. } = group {
                        builder = builder.group(Group {
                            id,
                            types: types.clone(),
                            map: map.clone(),
                        });
                    }
                    TableKind::Sharded {
                        group: id,
                        key: key.clone(),
                    }
                }
                Placing::Reference => TableKind::Reference,
                Placing::Unsharded { shard } => TableKind::Unsharded { shard: *shard },
            };
            builder.table(Table {
                id: free_id(catalog),
                schema: schema.clone(),
                name: name.clone(),
                kind,
                columns: columns.clone(),
            })
        }
        Edit::Forget { schema, name } => builder.without_relation(schema, name),
        Edit::RenameTable {
            schema,
            name,
            new_schema,
            new_name,
        } => match catalog.table(schema, name) {
            Some(table) => builder.without_relation(schema, name).table(Table {
                schema: new_schema.clone(),
                name: new_name.clone(),
                ..table.clone()
            }),
            None => builder,
        },
        Edit::RenameSchema { schema, new } => {
            let mut builder = builder;
            for table in catalog
                .tables()
                .iter()
                .filter(|table| table.schema == *schema)
            {
                builder = builder.without_relation(schema, &table.name).table(Table {
                    schema: new.clone(),
                    ..table.clone()
                });
            }
            builder
        }
        Edit::BindAutoShard { column, group } => builder.with_auto_shard(AutoShard {
            column: column.clone(),
            group: Some(*group),
        }),
        Edit::Divide { .. } | Edit::ForgetSequence { .. } | Edit::Touch => {
            return Ok(Arc::clone(catalog));
        }
    };
    let catalog = builder
        .build()
        .map_err(|error| StoreError::corrupt(format!("an inconsistency: {error}")))?;
    Ok(Arc::new(catalog))
}

/// Below the ids of unlisted tables, above all listed ones; for this transaction only.
fn free_id(catalog: &Catalog) -> TableId {
    let greatest = catalog
        .tables()
        .iter()
        .map(|table| table.id)
        .filter(|id| *id < FIRST_UNLISTED)
        .max();
    TableId(greatest.map_or(1, |id| id.0 + 1))
}
