//! Shard maps as rows of `pgweave.placement`, both ways.
//!
//! Entry points: [`read_map`], [`write_group`]. Keys are stored as text that PostgreSQL and the catalog crate read alike.

use catalog::{
    GroupId, HashShardMap, Key, KeyRange, KeyType, KeyValue, ListShardMap, Placement, Point,
    RangeShardMap, ShardId, ShardMap,
};

use super::change::Change;
use super::connection::column;
use super::error::Error;

/// A row of `pgweave.placement`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementRow {
    pub start_point: Option<i64>,
    pub lower_bound: Option<Vec<String>>,
    pub upper_bound: Option<Vec<String>>,
    pub value: Option<Vec<String>>,
    pub shard: ShardId,
}

/// Builds a map from its rows, which are in the order of `position`.
pub fn read_map(method: &str, types: &[KeyType], rows: &[PlacementRow]) -> Result<ShardMap, Error> {
    let invalid = |error: catalog::Error| Error::corrupt(format!("an invalid shard map: {error}"));
    match method {
        "hash" => {
            let mut placements = Vec::with_capacity(rows.len());
            for (index, row) in rows.iter().enumerate() {
                let start = row
                    .start_point
                    .map(Point)
                    .ok_or_else(|| Error::corrupt("a hash placement without start_point"))?;
                let end = rows
                    .get(index + 1)
                    .and_then(|next| next.start_point)
                    .map(Point);
                placements.push(Placement {
                    range: KeyRange::Points { start, end },
                    shard: row.shard,
                });
            }
            HashShardMap::from_placements(&placements)
                .map(ShardMap::Hash)
                .map_err(invalid)
        }
        "range" => {
            let mut intervals = Vec::with_capacity(rows.len());
            for row in rows {
                intervals.push((
                    read_key(types, &row.lower_bound)?,
                    read_key(types, &row.upper_bound)?,
                    row.shard,
                ));
            }
            RangeShardMap::new(intervals)
                .map(ShardMap::Range)
                .map_err(invalid)
        }
        "list" => {
            let (mut keys, mut default) = (Vec::new(), None);
            for row in rows {
                match read_key(types, &row.value)? {
                    Some(key) => keys.push((key, row.shard)),
                    None => default = Some(row.shard),
                }
            }
            ListShardMap::new(keys, default)
                .map(ShardMap::List)
                .map_err(invalid)
        }
        other => Err(Error::corrupt(format!(
            "a shard map of unknown method {other:?}"
        ))),
    }
}

/// The rows of a map.
pub fn map_rows(map: &ShardMap, types: &[KeyType]) -> Vec<PlacementRow> {
    map.placements()
        .into_iter()
        .map(|placement| {
            let mut row = PlacementRow {
                start_point: None,
                lower_bound: None,
                upper_bound: None,
                value: None,
                shard: placement.shard,
            };
            match placement.range {
                KeyRange::Points { start, .. } => row.start_point = Some(start.0),
                KeyRange::Keys { lower, upper } => {
                    row.lower_bound = lower.map(|key| write_key(types, &key));
                    row.upper_bound = upper.map(|key| write_key(types, &key));
                }
                KeyRange::Key(key) => row.value = Some(write_key(types, &key)),
                KeyRange::Default => {}
            }
            row
        })
        .collect()
}

/// Adds a colocation group with its map.
pub async fn write_group(
    change: &Change,
    types: &[KeyType],
    map: &ShardMap,
    layout: Option<&str>,
    is_default: bool,
) -> Result<GroupId, Error> {
    let method = match map {
        ShardMap::Hash(_) => "hash",
        ShardMap::Range(_) => "range",
        ShardMap::List(_) => "list",
    };
    let names: Vec<&str> = types.iter().map(|key_type| key_type.name()).collect();
    let rows = change
        .query(
            "INSERT INTO pgweave.colocation_group (method, key_types, layout, is_default) VALUES ($1, $2, $3, $4) RETURNING id",
            &[&method, &names, &layout, &is_default],
        )
        .await?;
    let id: i32 = column(
        rows.first()
            .ok_or_else(|| Error::corrupt("no id for a new colocation group"))?,
        0,
    )?;
    for (position, row) in (0i32..).zip(map_rows(map, types)) {
        change
            .execute(
                "INSERT INTO pgweave.placement (colocation_group, position, start_point, lower_bound, upper_bound, value, shard) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
                &[&id, &position, &row.start_point, &row.lower_bound, &row.upper_bound, &row.value, &shard_number(row.shard)],
            )
            .await?;
    }
    Ok(GroupId(id.unsigned_abs()))
}

/// An id as the catalog's integer columns hold it.
pub fn shard_number(shard: ShardId) -> i32 {
    i32::try_from(shard.0).unwrap_or(i32::MAX)
}

fn read_key(types: &[KeyType], texts: &Option<Vec<String>>) -> Result<Option<Key>, Error> {
    let Some(texts) = texts else { return Ok(None) };
    if texts.len() != types.len() {
        return Err(Error::corrupt(format!(
            "a placement key of {} values for {} columns",
            texts.len(),
            types.len()
        )));
    }
    let values: Result<Vec<KeyValue>, Error> = types
        .iter()
        .zip(texts)
        .map(|(key_type, text)| {
            KeyValue::from_text(*key_type, text)
                .map_err(|error| Error::corrupt(format!("the placement key {text:?}: {error}")))
        })
        .collect();
    Ok(Some(values?.into_boxed_slice()))
}

fn write_key(types: &[KeyType], key: &Key) -> Vec<String> {
    types
        .iter()
        .zip(key)
        .map(|(key_type, value)| value.to_text(*key_type))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_survive_the_rows() {
        let shards = [ShardId(1), ShardId(2), ShardId(3)];
        let types = [KeyType::Text, KeyType::Timestamptz];
        let key = |text: &str, time: i64| -> Key {
            Box::new([KeyValue::Text(text.into()), KeyValue::Timestamp(time)])
        };
        let maps = [
            ("hash", ShardMap::Hash(HashShardMap::even(&shards).unwrap())),
            (
                "hash",
                ShardMap::Hash(HashShardMap::consistent(&shards, 8).unwrap()),
            ),
            (
                "range",
                ShardMap::Range(
                    RangeShardMap::new([
                        (None, Some(key("a", 1)), ShardId(1)),
                        (Some(key("a", 1)), Some(key("it's", 5)), ShardId(2)),
                        (Some(key("x", i64::MAX)), None, ShardId(3)),
                    ])
                    .unwrap(),
                ),
            ),
            (
                "list",
                ShardMap::List(
                    ListShardMap::new(
                        [(key("a", 0), ShardId(2)), (key("", 7), ShardId(1))],
                        Some(ShardId(3)),
                    )
                    .unwrap(),
                ),
            ),
        ];
        for (method, map) in maps {
            assert_eq!(
                read_map(method, &types, &map_rows(&map, &types)).unwrap(),
                map
            );
        }
    }
}
