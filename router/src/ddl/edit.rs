//! What a definition's change means for the catalog, as data.
//!
//! Entry points: [`Edits::write`], into an open change of the home, and [`Edits::overlay`], into a snapshot for the
//! transaction that made them. Edits are collected in the order in which statements made them.
//!
//! A colocation group that an edit makes has no id yet: until it is written it goes by a provisional one, which counts the
//! groups made by the same edits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use catalog::{
    AutoShard, Catalog, CatalogBuilder, Column, Epoch, Group, GroupId, HashShardMap, KeyColumn,
    KeyType, Reaction, ShardId, ShardMap, Table, TableId, TableKind,
};

use super::error::{Answer, Error};
use crate::store::{Block, Division, Error as StoreError, FIRST_UNLISTED};

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
    /// A new table of one shard is listed, unless somebody has placed it since.
    List {
        schema: String,
        name: String,
        columns: Vec<Column>,
        shard: ShardId,
    },
    /// A table's columns have changed. Its listing stays: columns are read from the shards.
    Columns {
        schema: String,
        name: String,
        columns: Vec<Column>,
    },
    /// What a table runs by itself. The catalog does not list it; the transaction's own snapshot does.
    Reactions {
        schema: String,
        name: String,
        reactions: Vec<Reaction>,
    },
    /// A table is gone. Only a listing of the same kind goes: another's would be that of a new table.
    Forget {
        schema: String,
        name: String,
        kind: Kind,
    },
    RenameTable {
        schema: String,
        name: String,
        kind: Kind,
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
    /// A divided sequence moves to another schema with its table.
    MoveSequence {
        schema: String,
        name: String,
        new_schema: String,
    },
    /// Tables with this column join the group from now on.
    BindAutoShard {
        column: String,
        group: GroupId,
    },
    /// A schema exists now. The catalog does not list schemas; the transaction's own snapshot does.
    Schema {
        schema: String,
    },
    /// Nothing of the catalog's own rows, but something that snapshots show: all routers must read anew.
    Touch,
}

/// `TableKind` without its particulars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sharded,
    Reference,
    Unsharded,
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
    /// May be a provisional one.
    Existing(GroupId),
    /// `is_default`: the group that tables with keys of these types join without asking.
    New {
        types: Vec<KeyType>,
        map: ShardMap,
        layout: Option<String>,
        is_default: bool,
    },
}

/// Edits in the order they were made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edits(pub Vec<Edit>);

/// Provisional groups count from here.
const FIRST_PROVISIONAL: u32 = 0x8000_0000;

/// Overlays have epochs of their own, so that what is cached under an epoch never mixes them up.
const FIRST_OVERLAY: u64 = 1 << 63;

impl Kind {
    pub fn of(kind: &TableKind) -> Kind {
        match kind {
            TableKind::Sharded { .. } => Kind::Sharded,
            TableKind::Reference => Kind::Reference,
            TableKind::Unsharded { .. } => Kind::Unsharded,
        }
    }
}

impl GroupChoice {
    /// A default group over all shards, in even parts, for keys of these types.
    pub fn new_default(catalog: &Catalog, types: &[KeyType]) -> Result<GroupChoice, Error> {
        let shards: Vec<ShardId> = catalog.shards().iter().map(|shard| shard.id).collect();
        let map = HashShardMap::even(&shards)
            .map_err(|error| Answer::new(error.to_string()).invalid_argument())?;
        let layout = Some("even".to_owned());
        Ok(GroupChoice::New {
            types: types.to_vec(),
            map: ShardMap::Hash(map),
            layout,
            is_default: true,
        })
    }

    /// The group's map and types.
    pub fn group(&self, catalog: &Catalog) -> Option<Group> {
        match self {
            GroupChoice::Existing(id) => catalog.group(*id).cloned(),
            GroupChoice::New { types, map, .. } => Some(Group {
                id: GroupId(FIRST_PROVISIONAL),
                types: types.clone(),
                map: map.clone(),
            }),
        }
    }
}

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

    /// For ROLLBACK TO SAVEPOINT: the number of edits to go back to.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// The groups that these edits make, with their provisional ids.
    pub fn new_groups(&self) -> impl Iterator<Item = (GroupId, &GroupChoice)> {
        let choices = self.0.iter().filter_map(|edit| match edit {
            Edit::Place {
                placing:
                    Placing::Sharded {
                        group: choice @ GroupChoice::New { .. },
                        ..
                    },
                ..
            } => Some(choice),
            _ => None,
        });
        (FIRST_PROVISIONAL..).map(GroupId).zip(choices)
    }

    /// The provisional id of the next group that these edits make.
    pub fn next_provisional(&self) -> GroupId {
        self.new_groups()
            .last()
            .map_or(GroupId(FIRST_PROVISIONAL), |(id, _)| GroupId(id.0 + 1))
    }

    /// Whether the catalog and the shards would contradict each other if one of them were committed without the other.
    /// False where what is lost is only the listing of a table on the default shard, where unlisted tables are
    /// looked for anyway.
    pub fn need_decision(&self, catalog: &Catalog) -> bool {
        let matters =
            |schema: &str, name: &str| match catalog.table(schema, name).map(|table| &table.kind) {
                Some(TableKind::Unsharded { shard }) => *shard != catalog.default_shard(),
                Some(TableKind::Sharded { .. } | TableKind::Reference) => true,
                None => false,
            };
        self.0.iter().any(|edit| match edit {
            Edit::Place { .. }
            | Edit::Divide { .. }
            | Edit::ForgetSequence { .. }
            | Edit::MoveSequence { .. } => true,
            Edit::BindAutoShard { .. } => true,
            Edit::List { shard, .. } => *shard != catalog.default_shard(),
            Edit::Forget { schema, name, .. } | Edit::RenameTable { schema, name, .. } => {
                matters(schema, name)
            }
            Edit::RenameSchema { schema, .. } => catalog
                .tables()
                .iter()
                .any(|table| table.schema == *schema && matters(schema, &table.name)),
            Edit::Columns { .. } | Edit::Reactions { .. } | Edit::Schema { .. } | Edit::Touch => {
                false
            }
        })
    }

    /// The catalog as it will be, for the transaction that made the edits. It has an epoch that no catalog ever has.
    pub fn overlay(&self, catalog: &Arc<Catalog>) -> Result<Arc<Catalog>, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(FIRST_OVERLAY);
        let mut groups = FIRST_PROVISIONAL;
        let mut current = Arc::clone(catalog);
        for edit in &self.0 {
            let epoch = Epoch(NEXT.fetch_add(1, Ordering::Relaxed));
            let built = apply(edit, &current, &mut groups).epoch(epoch).build();
            current = Arc::new(
                built.map_err(|error| StoreError::corrupt(format!("an inconsistency: {error}")))?,
            );
        }
        Ok(current)
    }
}

fn apply(edit: &Edit, catalog: &Catalog, groups: &mut u32) -> CatalogBuilder {
    let builder = catalog.to_builder();
    match edit {
        Edit::Place {
            schema,
            name,
            columns,
            placing,
        } => {
            let mut builder = builder.without_relation(schema, name);
            let kind = match placing {
                Placing::Sharded {
                    key,
                    group: GroupChoice::Existing(group),
                } => TableKind::Sharded {
                    group: *group,
                    key: key.clone(),
                },
                Placing::Sharded {
                    key,
                    group: GroupChoice::New { types, map, .. },
                } => {
                    let id = GroupId(*groups);
                    *groups += 1;
                    builder = builder.group(Group {
                        id,
                        types: types.clone(),
                        map: map.clone(),
                    });
                    TableKind::Sharded {
                        group: id,
                        key: key.clone(),
                    }
                }
                Placing::Reference => TableKind::Reference,
                Placing::Unsharded { shard } => TableKind::Unsharded { shard: *shard },
            };
            builder.table(new_table(catalog, schema, name, columns, kind))
        }
        Edit::List {
            schema,
            name,
            columns,
            shard,
        } => {
            let kind = TableKind::Unsharded { shard: *shard };
            builder
                .without_relation(schema, name)
                .table(new_table(catalog, schema, name, columns, kind))
        }
        Edit::Columns {
            schema,
            name,
            columns,
        } => match catalog.table(schema, name) {
            Some(table) => builder.without_relation(schema, name).table(Table {
                columns: columns.clone(),
                ..table.clone()
            }),
            None => builder,
        },
        Edit::Reactions {
            schema,
            name,
            reactions,
        } => builder.with_reactions(schema, name, reactions.clone()),
        Edit::Forget { schema, name, .. } => builder.without_relation(schema, name),
        Edit::RenameTable {
            schema,
            name,
            new_schema,
            new_name,
            ..
        } => match catalog.table(schema, name) {
            Some(table) => {
                let renamed = Table {
                    schema: new_schema.clone(),
                    name: new_name.clone(),
                    ..table.clone()
                };
                builder
                    .without_relation(schema, name)
                    .without_relation(new_schema, new_name)
                    .with_reactions_renamed((schema, name), (new_schema, new_name))
                    .table(renamed)
            }
            None => builder,
        },
        Edit::RenameSchema { schema, new } => catalog
            .tables()
            .iter()
            .filter(|table| table.schema == *schema)
            .fold(builder, |builder, table| {
                builder
                    .without_relation(schema, &table.name)
                    .with_reactions_renamed((schema, &table.name), (new, &table.name))
                    .table(Table {
                        schema: new.clone(),
                        ..table.clone()
                    })
            }),
        Edit::BindAutoShard { column, group } => builder.with_auto_shard(AutoShard {
            column: column.clone(),
            group: Some(*group),
        }),
        Edit::Schema { schema } => builder.schema(schema.clone()),
        Edit::Divide { .. }
        | Edit::ForgetSequence { .. }
        | Edit::MoveSequence { .. }
        | Edit::Touch => builder,
    }
}

/// With an id below those of unlisted tables and above all listed ones; good for the overlay only.
fn new_table(
    catalog: &Catalog,
    schema: &str,
    name: &str,
    columns: &[Column],
    kind: TableKind,
) -> Table {
    let greatest = catalog
        .tables()
        .iter()
        .map(|table| table.id)
        .filter(|id| *id < FIRST_UNLISTED)
        .max();
    Table {
        id: TableId(greatest.map_or(1, |id| id.0 + 1)),
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind,
        columns: columns.to_vec(),
    }
}
