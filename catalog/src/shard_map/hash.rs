//! The hash shard map: the signed 64-bit space cut into key ranges.

use std::collections::{BTreeMap, BTreeSet};

use super::{KeyRange, Placement};
use crate::lookup3::hash_bytes;
use crate::{Error, HASH_SEED, Point, ShardId};

/// Most virtual nodes of one shard. Each is a range in the shard's placement guard.
pub const MAX_VIRTUAL_NODES: u32 = 4096;

/// Covers every point. Range `i` is from `starts[i]` to before `starts[i + 1]`; the last has no end. Neighbours on one
/// shard are one range, so maps that place alike are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashShardMap {
    starts: Vec<Point>,
    shards: Vec<ShardId>,
}

impl HashShardMap {
    /// Ranges of equal size (to within one point), one for each shard, in the order given.
    pub fn even(shards: &[ShardId]) -> Result<HashShardMap, Error> {
        check_shards(shards)?;
        let count = shards.len() as u128;
        Ok(Self::joined(shards.iter().enumerate().map(
            |(index, shard)| {
                let offset = ((index as u128) << 64) / count;
                (Point(((offset as u64) ^ (1 << 63)).cast_signed()), *shard)
            },
        )))
    }

    /// Consistent hashing (Karger and others, STOC 1997): each shard owns `virtual_nodes` places on a ring of points, and
    /// each place owns the points up to the next. The places depend on the shard's id only, so that one shard more
    /// takes about its share, from all others alike, and moves nothing else.
    pub fn consistent(shards: &[ShardId], virtual_nodes: u32) -> Result<HashShardMap, Error> {
        check_shards(shards)?;
        if !(1..=MAX_VIRTUAL_NODES).contains(&virtual_nodes) {
            return Err(Error::VirtualNodes {
                given: virtual_nodes,
                limit: MAX_VIRTUAL_NODES,
            });
        }
        let mut ring = BTreeMap::new();
        for shard in shards {
            for index in 0..virtual_nodes {
                // Should two shards meet at one place, the lower id has it, in whatever order they are listed.
                ring.entry(ring_point(*shard, index))
                    .and_modify(|owner: &mut ShardId| *owner = (*owner).min(*shard))
                    .or_insert(*shard);
            }
        }
        // The points before the first place belong to the last: the ring closes.
        let wrapped = ring
            .last_key_value()
            .map(|(_, shard)| (Point(i64::MIN), *shard));
        Ok(Self::joined(wrapped.into_iter().chain(ring)))
    }

    /// From point ranges in any order, which must cover every point once.
    pub fn from_placements(placements: &[Placement]) -> Result<HashShardMap, Error> {
        let mut ranges = Vec::with_capacity(placements.len());
        for placement in placements {
            let KeyRange::Points { start, end } = placement.range else {
                return Err(Error::MapPlacement {
                    map: "hash",
                    placement: placement.to_string(),
                });
            };
            if end.is_some_and(|end| end <= start) {
                return Err(Error::EmptyPlacement {
                    placement: placement.to_string(),
                });
            }
            ranges.push((start, end, placement.shard));
        }
        if ranges.is_empty() {
            return Err(Error::MapWithoutShard);
        }
        ranges.sort_by_key(|(start, _, _)| *start);
        let mut covered_to = Some(Point(i64::MIN));
        for (start, end, _) in &ranges {
            match covered_to {
                Some(reached) if reached < *start => {
                    return Err(Error::PointGap {
                        from: reached,
                        until: Some(*start),
                    });
                }
                Some(reached) if reached == *start => covered_to = *end,
                _ => return Err(Error::PointOverlap { at: *start }),
            }
        }
        if let Some(from) = covered_to {
            return Err(Error::PointGap { from, until: None });
        }
        Ok(Self::joined(
            ranges.into_iter().map(|(start, _, shard)| (start, shard)),
        ))
    }

    pub fn shard(&self, point: Point) -> ShardId {
        // The first start is the least point, so at least one start is at or before any point.
        let after = self.starts.partition_point(|start| *start <= point);
        self.shards[after - 1]
    }

    pub fn placements(&self) -> Vec<Placement> {
        self.ranges()
            .map(|(start, end, shard)| Placement {
                range: KeyRange::Points { start, end },
                shard,
            })
            .collect()
    }

    /// Start, end and shard of each range, in order.
    pub fn ranges(&self) -> impl Iterator<Item = (Point, Option<Point>, ShardId)> {
        self.starts
            .iter()
            .zip(&self.shards)
            .enumerate()
            .map(|(index, (start, shard))| (*start, self.starts.get(index + 1).copied(), *shard))
    }

    /// From sorted starts, the first the least point. Of equal starts the last counts; neighbours on one shard join.
    fn joined(ranges: impl Iterator<Item = (Point, ShardId)>) -> HashShardMap {
        let (mut starts, mut shards) = (Vec::new(), Vec::new());
        for (start, shard) in ranges {
            if starts.last() == Some(&start) {
                starts.pop();
                shards.pop();
            }
            if shards.last() != Some(&shard) {
                starts.push(start);
                shards.push(shard);
            }
        }
        HashShardMap { starts, shards }
    }
}

fn check_shards(shards: &[ShardId]) -> Result<(), Error> {
    if shards.is_empty() {
        return Err(Error::MapWithoutShard);
    }
    let mut seen = BTreeSet::new();
    match shards.iter().find(|shard| !seen.insert(**shard)) {
        Some(shard) => Err(Error::MapShardTwice { shard: *shard }),
        None => Ok(()),
    }
}

/// Durable: changing it would move rows.
fn ring_point(shard: ShardId, index: u32) -> Point {
    let mut name = [0; 8];
    name[..4].copy_from_slice(&shard.0.to_le_bytes());
    name[4..].copy_from_slice(&index.to_le_bytes());
    Point(hash_bytes(&name, HASH_SEED as u64).cast_signed())
}
