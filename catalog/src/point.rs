//! The sharding function `hash`: a key's 64-bit point, here and in SQL.
//!
//! One column: the server's extended hash with the partitioning seed. Several: combined as
//! `compute_partition_hash_value` in `src/backend/partitioning/partbounds.c` combines them.

use std::fmt;

use crate::lookup3::{COMBINE_CONSTANT, combine, hash_bytes, hash_i64, hash_u32};
use crate::{KeyType, KeyValue, quote_identifier};

/// `HASH_PARTITION_SEED` of `src/backend/partitioning/partbounds.c`, 0x7A5B22367996DCFD.
pub const HASH_SEED: i64 = 8_816_678_312_871_386_365;

/// Most columns that a shard key may have. The SQL form of a composite point names the columns before the last three
/// times each, so its text triples with each column.
pub const MAX_KEY_COLUMNS: usize = 4;

/// A place in the signed 64-bit space that hash shard maps divide; ordered as the server's `bigint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point(pub i64);

impl fmt::Display for Point {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The point of a key: `types` and `values` in the order of the key's columns.
pub fn hash_point(types: &[KeyType], values: &[KeyValue]) -> Point {
    let point = match (types, values) {
        ([key_type], [value]) => hash_value(*key_type, value),
        _ => types
            .iter()
            .zip(values)
            .map(|(key_type, value)| hash_value(*key_type, value))
            .fold(0, combine),
    };
    Point(point.cast_signed())
}

fn hash_value(key_type: KeyType, value: &KeyValue) -> u64 {
    const SEED: u64 = HASH_SEED as u64;
    match value {
        KeyValue::Int(number) | KeyValue::Timestamp(number) => hash_i64(*number, SEED),
        KeyValue::Text(text) if key_type == KeyType::Bpchar => {
            hash_bytes(text.trim_end_matches(' ').as_bytes(), SEED)
        }
        KeyValue::Text(text) => hash_bytes(text.as_bytes(), SEED),
        KeyValue::Uuid(bytes) => hash_bytes(bytes, SEED),
        KeyValue::Date(days) => hash_u32(*days as u32, SEED),
        KeyValue::Bool(truth) => hash_u32(u32::from(*truth), SEED),
        KeyValue::Bytea(bytes) => hash_bytes(bytes, SEED),
    }
}

/// SQL that computes [`hash_point`] of a row on a stock server, versions 13 to 18: a parenthesised `bigint` expression of
/// immutable functions, fit for a CHECK constraint or an index. `columns` are names; they are quoted here. A NULL
/// in any column gives NULL.
pub fn point_expression(types: &[KeyType], columns: &[&str]) -> String {
    let mut hashes = types
        .iter()
        .zip(columns)
        .map(|(key_type, column)| hash_expression(*key_type, &quote_identifier(column)));
    match (hashes.next(), hashes.len()) {
        (None, _) => "(0::bigint)".to_owned(),
        (Some(hash), 0) => format!("({hash})"),
        (Some(first), _) => hashes.fold(combine_expression(None, &first), |so_far, next| {
            combine_expression(Some(&so_far), &next)
        }),
    }
}

/// SQL for the hash of one column, given as quoted identifier.
fn hash_expression(key_type: KeyType, column: &str) -> String {
    match key_type {
        // One function for all widths: they agree on equal numbers, and the narrower widen implicitly.
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => {
            format!("hashint8extended({column}, {HASH_SEED})")
        }
        // Under a named collation, so that the hash is that of the bytes whatever the column's own collation.
        KeyType::Text | KeyType::Varchar => {
            format!("hashtextextended({column} COLLATE \"C\", {HASH_SEED})")
        }
        KeyType::Bpchar => format!("hashbpcharextended({column} COLLATE \"C\", {HASH_SEED})"),
        KeyType::Uuid => format!("uuid_hash_extended({column}, {HASH_SEED})"),
        // The operator class hashes the day number, but SQL has no cast for it, and infinite dates have no difference.
        KeyType::Date => format!(
            "hashint4extended(CASE WHEN isfinite({column}) THEN {column} - '2000-01-01'::date \
             WHEN {column} > '2000-01-01'::date THEN 2147483647 \
             WHEN {column} < '2000-01-01'::date THEN '-2147483648'::integer END, {HASH_SEED})"
        ),
        KeyType::Timestamp => format!("timestamp_hash_extended({column}, {HASH_SEED})"),
        // Before version 18 only the function for `timestamp` exists; at UTC the two have the same microseconds.
        KeyType::Timestamptz => {
            format!("timestamp_hash_extended(timezone('UTC', {column}), {HASH_SEED})")
        }
        // The operator class hashes the byte 0 or 1, as a number.
        KeyType::Bool => format!("hashint4extended({column}::integer, {HASH_SEED})"),
        // Before version 18 no function callable from SQL hashes a bytea, save as an element of an array, whose hash
        // is 31 more (`hash_array_extended` in `arrayfuncs.c`), modulo 2^64.
        KeyType::Bytea => {
            let array = format!("hash_array_extended(ARRAY[{column}], {HASH_SEED})");
            format!(
                "CASE WHEN {column} IS NULL THEN NULL \
                 WHEN {array} >= '-9223372036854775777'::bigint THEN {array} - 31 \
                 ELSE {array} + 9223372036854775807 + 9223372036854775778 END"
            )
        }
    }
}

/// SQL for [`combine`]: its sum wraps around, which `bigint` does not, so it is taken as `numeric`, moved
/// up by a multiple of 2^64 that makes it positive, and folded back.
fn combine_expression(so_far: Option<&str>, next: &str) -> String {
    const TWO_63: u128 = 1 << 63;
    const TWO_64: u128 = 1 << 64;
    let lift = COMBINE_CONSTANT as u128 + TWO_63 + 4 * TWO_64;
    match so_far {
        None => format!("((mod(({next}) + {lift}, {TWO_64}) - {TWO_63})::bigint)"),
        Some(so_far) => format!(
            "({so_far} # (mod(({next}) + {lift} + ({so_far} << 54) + (({so_far} >> 7) & {}), {TWO_64}) - {TWO_63})::bigint)",
            u64::MAX >> 7,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_all_widths_agree() {
        let wide = hash_point(&[KeyType::Int8], &[KeyValue::Int(-7)]);
        assert_eq!(hash_point(&[KeyType::Int4], &[KeyValue::Int(-7)]), wide);
        assert_eq!(hash_point(&[KeyType::Int2], &[KeyValue::Int(-7)]), wide);
    }

    #[test]
    fn trailing_blanks_count_only_in_text() {
        let padded = [KeyValue::Text("a  ".into())];
        let bare = [KeyValue::Text("a".into())];
        assert_eq!(
            hash_point(&[KeyType::Bpchar], &padded),
            hash_point(&[KeyType::Bpchar], &bare)
        );
        assert_ne!(
            hash_point(&[KeyType::Text], &padded),
            hash_point(&[KeyType::Text], &bare)
        );
    }

    #[test]
    fn names_in_expressions_are_quoted() {
        assert_eq!(
            point_expression(&[KeyType::Int8], &["order"]),
            "(hashint8extended(\"order\", 8816678312871386365))"
        );
    }
}
