//! Shard maps: all the placements of one colocation group, and where a key lives by them.
//!
//! Entry point: [`ShardMap::shard`]. Invariants, kept by the constructors: no two placements overlap; a hash map
//! covers every point; a range or list map may leave keys uncovered, and such a key is an error, never "all shards".

mod guard;
mod hash;
mod list;
mod range;

use std::collections::BTreeSet;
use std::fmt;

pub use guard::GUARD;
pub use hash::{HashShardMap, MAX_VIRTUAL_NODES};
pub use list::ListShardMap;
pub use range::RangeShardMap;

use crate::{Key, KeyType, KeyValue, Point, ShardId, hash_point};

/// Where the keys of a colocation group live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardMap {
    Hash(HashShardMap),
    Range(RangeShardMap),
    List(ListShardMap),
}

impl ShardMap {
    /// The one shard of a key, its values in the order of the key's columns.
    pub fn shard(&self, types: &[KeyType], values: &[KeyValue]) -> Result<ShardId, UnmappedKey> {
        let shard = if types.len() != values.len() {
            None
        } else {
            match self {
                ShardMap::Hash(map) => Some(map.shard(hash_point(types, values))),
                ShardMap::Range(map) => map.shard(values),
                ShardMap::List(map) => map.shard(values),
            }
        };
        shard.ok_or_else(|| UnmappedKey {
            key: display_key(values),
        })
    }

    /// All placements, in order; a map built again from them is equal.
    pub fn placements(&self) -> Vec<Placement> {
        match self {
            ShardMap::Hash(map) => map.placements(),
            ShardMap::Range(map) => map.placements(),
            ShardMap::List(map) => map.placements(),
        }
    }

    /// The shards that hold any placement.
    pub fn shards(&self) -> BTreeSet<ShardId> {
        self.placements()
            .into_iter()
            .map(|placement| placement.shard)
            .collect()
    }

    /// SQL that is true exactly for the rows that belong to `shard`, for a CHECK constraint. `columns` are the names
    /// of the key's columns; they are quoted here. A NULL in a key column gives NULL: the columns are NOT NULL.
    pub fn guard_expression(&self, types: &[KeyType], columns: &[&str], shard: ShardId) -> String {
        match self {
            ShardMap::Hash(map) => guard::hash_guard(map, types, columns, shard),
            ShardMap::Range(map) => guard::range_guard(map, types, columns, shard),
            ShardMap::List(map) => guard::list_guard(map, types, columns, shard),
        }
    }
}

/// A key range and the shard that holds its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub range: KeyRange,
    pub shard: ShardId,
}

/// `[1, 9) on shard 2`
impl fmt::Display for Placement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} on shard {}", self.range, self.shard)
    }
}

/// A set of keys that are placed together. `None` is an open end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRange {
    /// Of a hash map: from `start` to before `end`.
    Points { start: Point, end: Option<Point> },
    /// Of a range map: from `lower` to before `upper`.
    Keys {
        lower: Option<Key>,
        upper: Option<Key>,
    },
    /// Of a list map.
    Key(Key),
    /// Of a list map: every key that is not listed.
    Default,
}

impl fmt::Display for KeyRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = |key: &Option<Key>| key.as_deref().map_or(String::new(), display_key);
        match self {
            KeyRange::Points {
                start,
                end: Some(end),
            } => write!(formatter, "[{start}, {end})"),
            KeyRange::Points { start, end: None } => write!(formatter, "[{start}, )"),
            KeyRange::Keys { lower, upper } => {
                write!(formatter, "[{}, {})", open(lower), open(upper))
            }
            KeyRange::Key(key) => formatter.write_str(&display_key(key)),
            KeyRange::Default => formatter.write_str("default"),
        }
    }
}

/// A key that no placement covers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no shard holds the key {key}")]
pub struct UnmappedKey {
    pub key: String,
}

impl UnmappedKey {
    pub fn sqlstate(&self) -> &'static str {
        "23514"
    }
}

/// `42` or `(42, 'x')`
pub(crate) fn display_key(values: &[KeyValue]) -> String {
    match values {
        [value] => value.to_string(),
        values => {
            let list: Vec<String> = values.iter().map(KeyValue::to_string).collect();
            format!("({})", list.join(", "))
        }
    }
}
