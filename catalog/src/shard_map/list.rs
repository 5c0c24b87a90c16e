//! The list shard map: each key by itself.

use std::collections::BTreeMap;

use super::{KeyRange, Placement};
use crate::{Error, Key, KeyValue, ShardId};

/// Listed keys, and perhaps a default shard for all others; without one they are on no shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListShardMap {
    keys: BTreeMap<Key, ShardId>,
    default: Option<ShardId>,
}

impl ListShardMap {
    pub fn new(
        keys: impl IntoIterator<Item = (Key, ShardId)>,
        default: Option<ShardId>,
    ) -> Result<ListShardMap, Error> {
        let mut placed = BTreeMap::new();
        for (key, shard) in keys {
            if placed.contains_key(&key) {
                return Err(Error::ListedTwice {
                    key: super::display_key(&key),
                });
            }
            placed.insert(key, shard);
        }
        if placed.is_empty() && default.is_none() {
            return Err(Error::MapWithoutShard);
        }
        Ok(ListShardMap {
            keys: placed,
            default,
        })
    }

    pub fn from_placements(placements: &[Placement]) -> Result<ListShardMap, Error> {
        let (mut keys, mut default) = (Vec::new(), None);
        for placement in placements {
            match &placement.range {
                KeyRange::Key(key) => keys.push((key.clone(), placement.shard)),
                KeyRange::Default if default.is_none() => default = Some(placement.shard),
                KeyRange::Default => return Err(Error::TwoDefaults),
                _ => {
                    return Err(Error::MapPlacement {
                        map: "list",
                        placement: placement.to_string(),
                    });
                }
            }
        }
        ListShardMap::new(keys, default)
    }

    pub fn shard(&self, key: &[KeyValue]) -> Option<ShardId> {
        self.keys.get(key).copied().or(self.default)
    }

    /// Sorted by key, the default last.
    pub fn placements(&self) -> Vec<Placement> {
        let listed = self.keys.iter().map(|(key, shard)| Placement {
            range: KeyRange::Key(key.clone()),
            shard: *shard,
        });
        let default = self.default.map(|shard| Placement {
            range: KeyRange::Default,
            shard,
        });
        listed.chain(default).collect()
    }

    pub fn keys(&self) -> impl Iterator<Item = (&Key, ShardId)> {
        self.keys.iter().map(|(key, shard)| (key, *shard))
    }

    pub fn default_shard(&self) -> Option<ShardId> {
        self.default
    }
}
