//! What a column with a type modifier makes of a value that is assigned to it: `varchar(5)`, `timestamp(0)`.
//!
//! Facts from `varchar.c` (`varchar`, `bpchar`) and `timestamp.c` (`AdjustTimestampForTypmod`) in `src/backend/utils/adt`, the same in
//! versions 13 to 18.

use super::{KeyValue, ValueError};
use crate::KeyType;

/// The length word that `varchar(n)` and `char(n)` count in.
const HEADER: i32 = 4;

/// Fractional digits that a timestamp keeps anyway.
const ALL_DIGITS: i32 = 6;

impl KeyValue {
    /// The value as a column of this type stores it. `type_modifier` is `pg_attribute.atttypmod`: -1 for none.
    ///
    /// Blanks beyond the length of a `varchar(n)` are cut off silently; anything else beyond it is [`ValueError::Invalid`]. The
    /// seconds of a `timestamp(p)` are rounded, half away from 2000-01-01.
    pub fn stored(self, key_type: KeyType, type_modifier: i32) -> Result<KeyValue, ValueError> {
        match (self, key_type) {
            // `text` itself has no modifier: this is a key of that type compared with a value that a `varchar(n)` holds.
            (KeyValue::Text(text), KeyType::Text | KeyType::Varchar | KeyType::Bpchar)
                if type_modifier >= HEADER =>
            {
                let length = usize::try_from(type_modifier - HEADER).unwrap_or(usize::MAX);
                let Some((end, _)) = text.char_indices().nth(length) else {
                    return Ok(KeyValue::Text(text));
                };
                let (kept, rest) = text.split_at(end);
                match rest.bytes().all(|byte| byte == b' ') {
                    // Trailing blanks of a `char(n)` are not part of the value.
                    true if key_type == KeyType::Bpchar => {
                        Ok(KeyValue::Text(kept.trim_end_matches(' ').into()))
                    }
                    true => Ok(KeyValue::Text(kept.into())),
                    false => Err(ValueError::Invalid),
                }
            }
            (KeyValue::Timestamp(microseconds), KeyType::Timestamp | KeyType::Timestamptz)
                if (0..ALL_DIGITS).contains(&type_modifier) =>
            {
                round(
                    microseconds,
                    10_i64.pow((ALL_DIGITS - type_modifier) as u32),
                )
                .map(KeyValue::Timestamp)
            }
            (value, _) => Ok(value),
        }
    }
}

/// To a multiple of `unit`, half away from zero; infinities stay.
fn round(microseconds: i64, unit: i64) -> Result<i64, ValueError> {
    if matches!(microseconds, i64::MIN | i64::MAX) {
        return Ok(microseconds);
    }
    let half = unit / 2 * microseconds.signum();
    // The server's own arithmetic would wrap here; nobody has such a row.
    microseconds
        .checked_add(half)
        .map(|sum| sum / unit * unit)
        .ok_or(ValueError::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str, length: i32, key_type: KeyType) -> Option<String> {
        match KeyValue::Text(value.into()).stored(key_type, length + HEADER) {
            Ok(KeyValue::Text(text)) => Some(text.into()),
            _ => None,
        }
    }

    #[test]
    fn blanks_beyond_the_length_are_cut_off() {
        let varchar = |value| text(value, 3, KeyType::Varchar);
        assert_eq!(varchar("abc"), Some("abc".to_owned()));
        assert_eq!(varchar("a  "), Some("a  ".to_owned()));
        assert_eq!(varchar("a      "), Some("a  ".to_owned()));
        assert_eq!(varchar("äöü "), Some("äöü".to_owned()));
        assert_eq!(varchar("abcd"), None);
        assert_eq!(varchar("abc\t"), None);
        assert_eq!(text("ab", 3, KeyType::Bpchar), Some("ab".to_owned()));
        assert_eq!(text("abcd", 3, KeyType::Bpchar), None);
        let long = KeyValue::Text("abcdef".into());
        assert_eq!(long.clone().stored(KeyType::Varchar, -1), Ok(long));
    }

    #[test]
    fn seconds_are_rounded() {
        let stored = |value, digits| KeyValue::Timestamp(value).stored(KeyType::Timestamp, digits);
        for (value, digits, expected) in [
            (1_499_999, 0, 1_000_000),
            (1_500_000, 0, 2_000_000),
            (-1_500_000, 0, -2_000_000),
            (-1_499_999, 0, -1_000_000),
            (-400_000, 0, 0),
            (1_234_567, 3, 1_235_000),
            (1_234_567, 5, 1_234_570),
            (1_234_567, 6, 1_234_567),
            (1_234_567, -1, 1_234_567),
            (i64::MAX, 0, i64::MAX),
            (i64::MIN, 0, i64::MIN),
        ] {
            assert_eq!(stored(value, digits), Ok(KeyValue::Timestamp(expected)));
        }
    }
}
