//! The placement guard: SQL that says whether a row belongs to a shard.

use super::{HashShardMap, ListShardMap, RangeShardMap};
use crate::{KeyType, KeyValue, Point, ShardId, point_expression, quote_identifier};

/// The name of the CHECK constraint that keeps rows of other shards out.
pub const GUARD: &str = "pgweave_placement";

/// One range of a single column is a plain comparison. Otherwise the point, which costs more than finding its place, is
/// computed once: `width_bucket` finds by binary search how many of the boundaries (start, end, start, end …) are at
/// or before it, which is odd within a range.
pub(super) fn hash_guard(
    map: &HashShardMap,
    types: &[KeyType],
    columns: &[&str],
    shard: ShardId,
) -> String {
    let ranges: Vec<(Point, Option<Point>)> = map
        .ranges()
        .filter(|(_, _, owner)| *owner == shard)
        .map(|(start, end, _)| (start, end))
        .collect();
    let point = point_expression(types, columns);
    const LEAST: Point = Point(i64::MIN);
    match ranges[..] {
        [] => "false".to_owned(),
        [(LEAST, None)] => "true".to_owned(),
        [(start, None)] => format!("{point} >= '{start}'::bigint"),
        [(LEAST, Some(end))] => format!("{point} < '{end}'::bigint"),
        [(start, Some(end))] if types.len() == 1 => {
            format!("{point} >= '{start}'::bigint AND {point} < '{end}'::bigint")
        }
        _ => {
            let bounds: Vec<String> = ranges
                .iter()
                .flat_map(|(start, end)| [Some(*start), *end])
                .flatten()
                .map(|bound| bound.to_string())
                .collect();
            format!(
                "width_bucket({point}, '{{{}}}'::bigint[]) % 2 = 1",
                bounds.join(",")
            )
        }
    }
}

pub(super) fn range_guard(
    map: &RangeShardMap,
    types: &[KeyType],
    columns: &[&str],
    shard: ShardId,
) -> String {
    let row = row_expression(types, columns);
    let compare = |operator: &str, key: &[KeyValue]| {
        format!("{row} {operator} {}", key_expression(types, key))
    };
    let intervals: Vec<String> = map
        .intervals()
        .filter(|(_, _, owner)| *owner == shard)
        .map(|(lower, upper, _)| match (lower, upper) {
            (None, None) => "true".to_owned(),
            (Some(lower), None) => compare(">=", lower),
            (None, Some(upper)) => compare("<", upper),
            (Some(lower), Some(upper)) => {
                format!("({} AND {})", compare(">=", lower), compare("<", upper))
            }
        })
        .collect();
    if intervals.is_empty() {
        "false".to_owned()
    } else {
        intervals.join(" OR ")
    }
}

pub(super) fn list_guard(
    map: &ListShardMap,
    types: &[KeyType],
    columns: &[&str],
    shard: ShardId,
) -> String {
    let is_default = map.default_shard() == Some(shard);
    // The default shard holds what is not listed for another; any other shard what is listed for it.
    let listed: Vec<String> = map
        .keys()
        .filter(|(_, owner)| (*owner == shard) != is_default)
        .map(|(key, _)| key_expression(types, key))
        .collect();
    match (listed.is_empty(), is_default) {
        (true, true) => "true".to_owned(),
        (true, false) => "false".to_owned(),
        (false, _) => format!(
            "{} {} ({})",
            row_expression(types, columns),
            if is_default { "NOT IN" } else { "IN" },
            listed.join(", ")
        ),
    }
}

/// The key's columns, text under the collation by whose order the map is made.
fn row_expression(types: &[KeyType], columns: &[&str]) -> String {
    let columns = types.iter().zip(columns).map(|(key_type, column)| {
        let column = quote_identifier(column);
        match key_type {
            KeyType::Text | KeyType::Varchar | KeyType::Bpchar => format!("{column} COLLATE \"C\""),
            _ => column,
        }
    });
    row(columns.collect())
}

fn key_expression(types: &[KeyType], key: &[KeyValue]) -> String {
    row(types
        .iter()
        .zip(key)
        .map(|(key_type, value)| value.to_sql_literal(*key_type))
        .collect())
}

fn row(mut parts: Vec<String>) -> String {
    match parts.len() {
        1 => parts.remove(0),
        _ => format!("({})", parts.join(", ")),
    }
}
