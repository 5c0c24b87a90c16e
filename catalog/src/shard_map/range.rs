//! The range shard map: intervals of the keys themselves.

use super::{KeyRange, Placement};
use crate::{Error, Key, KeyValue, ShardId};

/// Half-open intervals in ascending order. Keys between them are on no shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeShardMap {
    intervals: Vec<Interval>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Interval {
    lower: Option<Key>,
    upper: Option<Key>,
    shard: ShardId,
}

impl RangeShardMap {
    /// From `(lower, upper, shard)`, in any order: from `lower` to before `upper`, `None` being unbounded.
    pub fn new(
        intervals: impl IntoIterator<Item = (Option<Key>, Option<Key>, ShardId)>,
    ) -> Result<RangeShardMap, Error> {
        let mut intervals: Vec<Interval> = intervals
            .into_iter()
            .map(|(lower, upper, shard)| Interval {
                lower,
                upper,
                shard,
            })
            .collect();
        if intervals.is_empty() {
            return Err(Error::MapWithoutShard);
        }
        if let Some(empty) = intervals.iter().find(|interval| interval.is_empty()) {
            return Err(Error::EmptyPlacement {
                placement: empty.placement().to_string(),
            });
        }
        intervals.sort_by(|left, right| left.lower.cmp(&right.lower));
        let overlap = intervals.windows(2).find(|pair| match &pair[0].upper {
            None => true,
            upper => pair[1].lower < *upper,
        });
        match overlap {
            Some(pair) => Err(Error::RangeOverlap {
                first: pair[0].placement().to_string(),
                second: pair[1].placement().to_string(),
            }),
            None => Ok(RangeShardMap { intervals }),
        }
    }

    pub fn from_placements(placements: &[Placement]) -> Result<RangeShardMap, Error> {
        let intervals: Result<Vec<_>, Error> = placements
            .iter()
            .map(|placement| match &placement.range {
                KeyRange::Keys { lower, upper } => {
                    Ok((lower.clone(), upper.clone(), placement.shard))
                }
                _ => Err(Error::MapPlacement {
                    map: "range",
                    placement: placement.to_string(),
                }),
            })
            .collect();
        RangeShardMap::new(intervals?)
    }

    pub fn shard(&self, key: &[KeyValue]) -> Option<ShardId> {
        let after = self
            .intervals
            .partition_point(|interval| interval.lower.as_deref().is_none_or(|lower| lower <= key));
        let interval = &self.intervals[after.checked_sub(1)?];
        interval
            .upper
            .as_deref()
            .is_none_or(|upper| key < upper)
            .then_some(interval.shard)
    }

    pub fn placements(&self) -> Vec<Placement> {
        self.intervals.iter().map(Interval::placement).collect()
    }

    /// Lower bound, upper bound and shard of each interval, in order.
    pub fn intervals(&self) -> impl Iterator<Item = (Option<&Key>, Option<&Key>, ShardId)> {
        self.intervals.iter().map(|interval| {
            (
                interval.lower.as_ref(),
                interval.upper.as_ref(),
                interval.shard,
            )
        })
    }
}

impl Interval {
    fn is_empty(&self) -> bool {
        matches!((&self.lower, &self.upper), (Some(lower), Some(upper)) if upper <= lower)
    }

    fn placement(&self) -> Placement {
        Placement {
            range: KeyRange::Keys {
                lower: self.lower.clone(),
                upper: self.upper.clone(),
            },
            shard: self.shard,
        }
    }
}
