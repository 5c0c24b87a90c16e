//! What must hold among the parts of a catalog.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::shard_map::display_key;
use crate::snapshot::{RelationSlot, SchemaNames};
use crate::{
    CatalogBuilder, Error, Group, GroupId, KeyRange, KeyType, MAX_KEY_COLUMNS, Server, ShardId,
    Table, TableKind,
};

impl CatalogBuilder {
    /// Checks everything, the lists being sorted by id, and gives the index of relations by name. The first fault
    /// found is the error.
    pub(crate) fn validate(&self) -> Result<HashMap<Box<str>, SchemaNames>, Error> {
        self.check_shards()?;
        self.check_groups()?;
        unique_ids("table", self.tables.iter().map(|table| table.id.0))?;
        for table in &self.tables {
            self.check_table(table)?;
        }
        self.check_auto_shard()?;
        self.relation_names()
    }

    fn check_shards(&self) -> Result<(), Error> {
        unique_ids("shard", self.shards.iter().map(|shard| shard.id.0))?;
        let mut names = HashSet::new();
        for shard in &self.shards {
            if shard.name.is_empty() {
                return Err(Error::NoName {
                    owner: format!("shard {}", shard.id),
                });
            }
            if !names.insert(shard.name.as_str()) {
                return Err(Error::DuplicateName {
                    kind: "shard",
                    name: shard.name.clone(),
                });
            }
            let incomplete = |server: &Server| {
                server.host.is_empty() || server.port == 0 || server.dbname.is_empty()
            };
            if incomplete(&shard.primary) || shard.replicas.iter().any(incomplete) {
                return Err(Error::IncompleteServer {
                    shard: shard.name.clone(),
                });
            }
        }
        for (owner, shard) in [
            ("the default shard", self.default_shard),
            ("the catalog's home", self.catalog_shard),
        ] {
            if let Some(shard) = shard {
                self.check_shard(owner.to_owned(), shard)?;
            }
        }
        Ok(())
    }

    fn check_groups(&self) -> Result<(), Error> {
        unique_ids(
            "colocation group",
            self.groups.iter().map(|group| group.id.0),
        )?;
        for group in &self.groups {
            let owner = || format!("colocation group {}", group.id);
            check_key_count(owner(), group.types.len())?;
            for placement in group.map.placements() {
                self.check_shard(owner(), placement.shard)?;
                let keys = match placement.range {
                    KeyRange::Points { .. } | KeyRange::Default => [None, None],
                    KeyRange::Keys { lower, upper } => [lower, upper],
                    KeyRange::Key(key) => [Some(key), None],
                };
                for key in keys.into_iter().flatten() {
                    let fits = key.len() == group.types.len()
                        && group
                            .types
                            .iter()
                            .zip(&key)
                            .all(|(key_type, value)| value.fits(*key_type));
                    if !fits {
                        return Err(Error::MapKeyType {
                            owner: owner(),
                            key: display_key(&key),
                            types: type_names(group.types.iter().copied()),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn check_table(&self, table: &Table) -> Result<(), Error> {
        let owner = || format!("table {}", qualified(&table.schema, &table.name));
        let mut columns = BTreeSet::new();
        if let Some(column) = table
            .columns
            .iter()
            .find(|column| !columns.insert(&column.name))
        {
            return Err(Error::DuplicateColumn {
                owner: owner(),
                column: column.name.clone(),
            });
        }
        match &table.kind {
            TableKind::Reference => Ok(()),
            TableKind::Unsharded { shard } => self.check_shard(owner(), *shard),
            TableKind::Sharded { group, .. } => {
                check_key_count(owner(), table.key().len())?;
                check_key_columns(owner(), table)?;
                let group = self.check_group(owner(), *group)?;
                let key = || table.key().iter().map(|column| column.key_type);
                let matches = group.types.len() == table.key().len()
                    && key()
                        .zip(&group.types)
                        .all(|(own, groups)| own.colocates_with(*groups));
                if matches {
                    Ok(())
                } else {
                    Err(Error::KeyMismatch {
                        owner: owner(),
                        group: group.id,
                        key: type_names(key()),
                        expected: type_names(group.types.iter().copied()),
                    })
                }
            }
        }
    }

    fn check_auto_shard(&self) -> Result<(), Error> {
        let mut columns = BTreeSet::new();
        for auto_shard in &self.auto_shard {
            let owner = || format!("automatic sharding by column \"{}\"", auto_shard.column);
            if auto_shard.column.is_empty() {
                return Err(Error::NoName {
                    owner: "a column of automatic sharding".to_owned(),
                });
            }
            if !columns.insert(&auto_shard.column) {
                return Err(Error::DuplicateName {
                    kind: "automatic sharding column",
                    name: auto_shard.column.clone(),
                });
            }
            if let Some(group) = auto_shard.group {
                self.check_group(owner(), group)?;
            }
        }
        Ok(())
    }

    /// Tables, views and sequences share one name space in each schema.
    fn relation_names(&self) -> Result<HashMap<Box<str>, SchemaNames>, Error> {
        let tables = self
            .tables
            .iter()
            .enumerate()
            .map(|(index, table)| (&table.schema, &table.name, RelationSlot::Table(index)));
        let views = self
            .views
            .iter()
            .enumerate()
            .map(|(index, view)| (&view.schema, &view.name, RelationSlot::View(index)));
        let sequences = self.sequences.iter().enumerate().map(|(index, sequence)| {
            (
                &sequence.schema,
                &sequence.name,
                RelationSlot::Sequence(index),
            )
        });
        let mut names: HashMap<Box<str>, SchemaNames> = HashMap::new();
        for (schema, name, slot) in tables.chain(views).chain(sequences) {
            if schema.is_empty() || name.is_empty() {
                return Err(Error::NoName {
                    owner: format!("relation {}", qualified(schema, name)),
                });
            }
            if matches!(
                schema.as_str(),
                "pg_catalog" | "information_schema" | "pgweave"
            ) {
                return Err(Error::ReservedSchema {
                    owner: format!("relation \"{name}\""),
                    schema: schema.clone(),
                });
            }
            let names = names.entry(schema.as_str().into()).or_default();
            if names.insert(name.as_str().into(), slot).is_some() {
                return Err(Error::DuplicateRelation {
                    name: qualified(schema, name),
                });
            }
        }
        Ok(names)
    }

    fn check_shard(&self, owner: String, shard: ShardId) -> Result<(), Error> {
        match self.shards.binary_search_by_key(&shard, |each| each.id) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::UnknownShard { owner, shard }),
        }
    }

    fn check_group(&self, owner: String, group: GroupId) -> Result<&Group, Error> {
        match self.groups.binary_search_by_key(&group, |each| each.id) {
            Ok(index) => Ok(&self.groups[index]),
            Err(_) => Err(Error::UnknownGroup { owner, group }),
        }
    }
}

fn check_key_count(owner: String, given: usize) -> Result<(), Error> {
    if (1..=MAX_KEY_COLUMNS).contains(&given) {
        Ok(())
    } else {
        Err(Error::KeyColumnCount {
            owner,
            given,
            limit: MAX_KEY_COLUMNS,
        })
    }
}

fn check_key_columns(owner: String, table: &Table) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for key_column in table.key() {
        if !seen.insert(&key_column.name) {
            return Err(Error::DuplicateColumn {
                owner: format!("the shard key of {owner}"),
                column: key_column.name.clone(),
            });
        }
        let Some(column) = table.column(&key_column.name) else {
            return Err(Error::UnknownColumn {
                owner,
                column: key_column.name.clone(),
            });
        };
        if !column.not_null {
            return Err(Error::NullableKeyColumn {
                owner,
                column: key_column.name.clone(),
            });
        }
        if column.type_oid != key_column.key_type.oid() {
            return Err(Error::KeyColumnType {
                owner,
                column: key_column.name.clone(),
                type_oid: column.type_oid,
                key_type: key_column.key_type,
            });
        }
    }
    Ok(())
}

fn unique_ids(kind: &'static str, sorted: impl Iterator<Item = u32>) -> Result<(), Error> {
    let mut previous = None;
    for id in sorted {
        if previous == Some(id) {
            return Err(Error::DuplicateId { kind, id });
        }
        previous = Some(id);
    }
    Ok(())
}

fn type_names(types: impl Iterator<Item = KeyType>) -> String {
    let names: Vec<&str> = types.map(KeyType::name).collect();
    names.join(", ")
}

fn qualified(schema: &str, name: &str) -> String {
    format!("\"{schema}.{name}\"")
}
