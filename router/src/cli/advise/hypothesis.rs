//! Catalogs as they would be if tables were sharded by other keys.
//!
//! Entry points: [`hypotheses`] and [`Hypothesis::catalog`]. Nothing of them is ever stored.

use std::collections::BTreeMap;

use catalog::{
    Catalog, Error, Group, GroupId, HashShardMap, KeyColumn, KeyType, Server, Shard, ShardId,
    ShardMap, Table, TableKind,
};

/// Tables that are imagined to be sharded by hash, each by one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hypothesis {
    /// The table's name, or how many there are; empty: the catalog as it is.
    pub tables: String,
    pub key: String,
    /// Schema, table and column.
    changes: Vec<(String, String, String)>,
}

/// The catalog as it is; each unsharded table by each of its columns that can be a key; and for columns that several such
/// tables have, all of these tables together.
pub fn hypotheses(catalog: &Catalog) -> Vec<Hypothesis> {
    let mut all = vec![Hypothesis {
        tables: String::new(),
        key: String::new(),
        changes: Vec::new(),
    }];
    let mut by_column: BTreeMap<(&str, KeyType), Vec<&Table>> = BTreeMap::new();
    let unsharded = |table: &&Table| matches!(table.kind, TableKind::Unsharded { .. });
    for table in catalog.tables().iter().filter(unsharded) {
        for column in &table.columns {
            let Some(key_type) = KeyType::from_oid(column.type_oid) else {
                continue;
            };
            all.push(Hypothesis {
                tables: format!("{}.{}", table.schema, table.name),
                key: column.name.clone(),
                changes: vec![change(table, &column.name)],
            });
            let same = by_column.entry((&column.name, key_type.widest()));
            same.or_default().push(table);
        }
    }
    for ((column, _), tables) in by_column {
        if tables.len() > 1 {
            all.push(Hypothesis {
                tables: format!("{} tables with it", tables.len()),
                key: column.to_owned(),
                changes: tables.iter().map(|table| change(table, column)).collect(),
            });
        }
    }
    all
}

fn change(table: &Table, column: &str) -> (String, String, String) {
    (table.schema.clone(), table.name.clone(), column.to_owned())
}

impl Hypothesis {
    /// The tables that are imagined otherwise than they are.
    pub fn names(&self) -> Vec<String> {
        let names = self.changes.iter();
        names
            .map(|(schema, name, _)| format!("{schema}.{name}"))
            .collect()
    }

    /// Whether it is the catalog as it is.
    pub fn is_present(&self) -> bool {
        self.changes.is_empty()
    }

    /// The catalog in which it holds. `shards`: how many there are at least.
    pub fn catalog(&self, present: &Catalog, shards: u32) -> Result<Catalog, Error> {
        let mut builder = present.to_builder();
        if self.is_present() {
            return builder.build();
        }
        let mut ids: Vec<ShardId> = present.shards().iter().map(|shard| shard.id).collect();
        let highest = ids.iter().map(|id| id.0).max().unwrap_or(0);
        let missing = shards.saturating_sub(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        for id in (highest + 1..).take(missing as usize) {
            ids.push(ShardId(id));
            builder = builder.shard(imagined(id));
        }
        let mut groups = Vec::from(present.groups());
        for (schema, name, column) in &self.changes {
            let Some(mut table) = present.table(schema, name).cloned() else {
                continue;
            };
            let Some(column) = table.columns.iter_mut().find(|known| known.name == *column) else {
                continue;
            };
            // A shard key is; where the column is not yet, it would have to be made so first.
            column.not_null = true;
            let Some(key_type) = KeyType::from_oid(column.type_oid) else {
                continue;
            };
            let key = vec![KeyColumn {
                name: column.name.clone(),
                key_type,
            }];
            let known = groups.iter().find(|group| {
                let hash = matches!(group.map, ShardMap::Hash(_));
                hash && matches!(&group.types[..], [only] if only.colocates_with(key_type))
            });
            let group = match known {
                Some(group) => group.id,
                None => {
                    let highest = groups.iter().map(|group| group.id.0).max();
                    let group = Group {
                        id: GroupId(highest.unwrap_or(0) + 1),
                        types: vec![key_type.widest()],
                        map: ShardMap::Hash(HashShardMap::even(&ids)?),
                    };
                    builder = builder.group(group.clone());
                    groups.push(group);
                    GroupId(highest.unwrap_or(0) + 1)
                }
            };
            table.kind = TableKind::Sharded { group, key };
            builder = builder.without_relation(schema, name).table(table);
        }
        builder.build()
    }
}

fn imagined(id: u32) -> Shard {
    Shard {
        id: ShardId(id),
        name: format!("imagined_{id}"),
        primary: Server {
            host: format!("imagined-{id}.invalid"),
            port: 5432,
            dbname: "postgres".to_owned(),
        },
        replicas: Vec::new(),
    }
}
