//! Short notation for catalogs, for tests and examples of the crates above.
//!
//! ```
//! use catalog::{Catalog, KeyValue, sample};
//!
//! let catalog: Catalog = sample::cluster(2)
//!     .hash_table("orders", &["customer_id"], &["customer_id bigint", "note text default 'none'"])
//!     .hash_table("sales.lines", &["customer_id"], &["customer_id bigint", "amount numeric"])
//!     .reference_table("products", &["id integer", "name text"])
//!     .unsharded_table("settings", "s2", &["name text"])
//!     .build()?;
//! let group = catalog.group(catalog::GroupId(1)).unwrap();
//! let shard = group.map.shard(&group.types, &[KeyValue::Int(42)]).unwrap();
//! assert_eq!(catalog.shard(shard).unwrap().name, "s2");
//! # Ok::<(), catalog::Error>(())
//! ```

use crate::{
    Catalog, CatalogBuilder, Column, Epoch, Group, GroupId, HashShardMap, KeyColumn, KeyType,
    Server, Shard, ShardId, ShardMap, Table, TableId, TableKind,
};

/// Shards `s1`, `s2` … with ids 1, 2 …, without replicas, on local ports from 5001. `s1` is the default shard and
/// the catalog's home.
pub fn cluster(shards: u32) -> CatalogBuilder {
    let builder = Catalog::builder()
        .epoch(Epoch(1))
        .schema("public".to_owned())
        .catalog_shard((shards > 0).then_some(ShardId(1)));
    (1..=shards).fold(builder, |builder, number| {
        builder.shard(Shard {
            id: ShardId(number),
            name: format!("s{number}"),
            primary: Server {
                host: "127.0.0.1".to_owned(),
                port: 5000 + number as u16,
                dbname: "postgres".to_owned(),
            },
            replicas: Vec::new(),
        })
    })
}

/// A column from `name type[(modifier)] [collate "C"] [not null] [default expression]`. Type names beyond the key types: numeric, real, double
/// precision, json, jsonb, oid; anything else becomes oid 0.
pub fn column(definition: &str) -> Column {
    let (name, rest) = definition.split_once(' ').unwrap_or((definition, "text"));
    let (rest, default_expression) = match rest.split_once(" default ") {
        Some((rest, expression)) => (rest, Some(expression.to_owned())),
        None => (rest, None),
    };
    let (rest, in_primary_key) = match rest.strip_suffix(" primary key") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let (type_name, not_null) = match rest.strip_suffix(" not null") {
        Some(type_name) => (type_name, true),
        None => (rest, false),
    };
    let (type_name, sorts_by_bytes) = match type_name.strip_suffix(" collate \"C\"") {
        Some(type_name) => (type_name, true),
        None => (type_name, false),
    };
    let (type_name, type_modifier) = modifier(type_name);
    Column {
        name: name.to_owned(),
        type_oid: type_oid(type_name),
        type_modifier,
        not_null: not_null || in_primary_key,
        has_default: default_expression.is_some(),
        default_expression,
        sorts_by_bytes,
        equal_by_bytes: true,
        in_primary_key,
    }
}

/// `varchar(5)` and `timestamp(0)` taken apart, as PostgreSQL counts: characters with four bytes of header, digits as they are.
fn modifier(type_name: &str) -> (&str, i32) {
    let parts = type_name
        .strip_suffix(')')
        .and_then(|rest| rest.split_once('('))
        .and_then(|(name, number)| Some((name, number.parse::<i32>().ok()?)));
    match parts {
        Some((name, number)) if name.contains("char") => (name, number + 4),
        Some((name, number)) => (name, number),
        None => (type_name, -1),
    }
}

fn type_oid(name: &str) -> u32 {
    match (KeyType::from_name(name), name) {
        (Some(key_type), _) => key_type.oid(),
        (None, "numeric") => 1700,
        (None, "real") => 700,
        (None, "double precision") => 701,
        (None, "json") => 114,
        (None, "jsonb") => 3802,
        (None, "oid") => 26,
        (None, _) => 0,
    }
}

/// Tables are `name` (in schema public) or `schema.name`, and take the next free id. Key columns become NOT NULL.
impl CatalogBuilder {
    /// A table sharded by hash over all shards added so far, colocated with the tables of equal key types before it.
    pub fn hash_table(mut self, table: &str, key: &[&str], columns: &[&str]) -> Self {
        let types = key_types(key, columns);
        let existing = self
            .groups
            .iter()
            .find(|group| group.types == types && matches!(group.map, ShardMap::Hash(_)));
        let group = match existing {
            Some(group) => group.id,
            None => {
                let shards: Vec<ShardId> = self.shards.iter().map(|shard| shard.id).collect();
                let id = self.next_group();
                // Without a shard there is no map, and the missing group fails the build.
                if let Ok(map) = HashShardMap::even(&shards) {
                    self.groups.push(Group {
                        id,
                        types,
                        map: ShardMap::Hash(map),
                    });
                }
                id
            }
        };
        self.table_in_group(table, group, key, columns)
    }

    /// A table in a new group of its own, sharded by `map`. Its group's id is the highest so far, plus one.
    pub fn mapped_table(
        mut self,
        table: &str,
        map: ShardMap,
        key: &[&str],
        columns: &[&str],
    ) -> Self {
        let id = self.next_group();
        self.groups.push(Group {
            id,
            types: key_types(key, columns),
            map,
        });
        self.table_in_group(table, id, key, columns)
    }

    /// A table colocated in a group that was added before.
    pub fn table_in_group(
        self,
        table: &str,
        group: GroupId,
        key: &[&str],
        columns: &[&str],
    ) -> Self {
        let key_columns = key
            .iter()
            .zip(key_types(key, columns))
            .map(|(name, key_type)| KeyColumn {
                name: (*name).to_owned(),
                key_type,
            })
            .collect();
        self.table_of_kind(
            table,
            TableKind::Sharded {
                group,
                key: key_columns,
            },
            columns,
        )
    }

    pub fn reference_table(self, table: &str, columns: &[&str]) -> Self {
        self.table_of_kind(table, TableKind::Reference, columns)
    }

    /// `shard` is a shard's name; an unknown one fails the build.
    pub fn unsharded_table(self, table: &str, shard: &str, columns: &[&str]) -> Self {
        let shard = self
            .shards
            .iter()
            .find(|each| each.name == shard)
            .map_or(ShardId(u32::MAX), |each| each.id);
        self.table_of_kind(table, TableKind::Unsharded { shard }, columns)
    }

    fn table_of_kind(mut self, table: &str, kind: TableKind, columns: &[&str]) -> Self {
        let (schema, name) = table.split_once('.').unwrap_or(("public", table));
        let id = self
            .tables
            .iter()
            .map(|table| table.id.0)
            .max()
            .unwrap_or(0)
            + 1;
        let mut table = Table {
            id: TableId(id),
            schema: schema.to_owned(),
            name: name.to_owned(),
            kind,
            columns: columns
                .iter()
                .map(|definition| column(definition))
                .collect(),
        };
        let key: Vec<String> = table
            .key()
            .iter()
            .map(|column| column.name.clone())
            .collect();
        for column in &mut table.columns {
            column.not_null |= key.contains(&column.name);
        }
        self.tables.push(table);
        self
    }

    fn next_group(&self) -> GroupId {
        GroupId(
            self.groups
                .iter()
                .map(|group| group.id.0)
                .max()
                .unwrap_or(0)
                + 1,
        )
    }
}

/// The types of the key's columns; of a column that is missing or of another type, one that fails the build.
fn key_types(key: &[&str], columns: &[&str]) -> Vec<KeyType> {
    let columns: Vec<Column> = columns
        .iter()
        .map(|definition| column(definition))
        .collect();
    key.iter()
        .map(|name| {
            columns
                .iter()
                .find(|column| column.name == *name)
                .and_then(|column| KeyType::from_oid(column.type_oid))
                .unwrap_or(KeyType::Int8)
        })
        .collect()
}
