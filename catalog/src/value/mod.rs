//! One value of a shard-key column, read exactly as the server would read it.
//!
//! Entry points: [`KeyValue::from_text`], [`KeyValue::from_binary`], [`KeyValue::stored`], and back [`KeyValue::to_sql_literal`].
//! Invariant: what the server would reject never becomes a value, and what it might read in more than one way is
//! [`ValueError::Ambiguous`], never a guess.

mod binary;
mod calendar;
mod convert;
mod datetime;
mod stored;
mod text;

use std::fmt;

use crate::{KeyType, quote_literal};

/// A shard key's values, one for each of its columns. Orders as SQL compares rows.
pub type Key = Box<[KeyValue]>;

/// A value of a shard-key column; not NULL. Values of one type order as the server's btree operator class
/// orders them, text by bytes as in collation C.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyValue {
    /// `smallint`, `integer`, `bigint`.
    Int(i64),
    /// `text`, `varchar`, and `bpchar` without its trailing blanks, in UTF-8.
    Text(Box<str>),
    Uuid([u8; 16]),
    /// Days since 2000-01-01; `i32::MIN` and `i32::MAX` are the infinities.
    Date(i32),
    /// Microseconds since 2000-01-01 00:00, of `timestamptz` at UTC; `i64::MIN` and `i64::MAX` are the infinities.
    Timestamp(i64),
    Bool(bool),
    Bytea(Box<[u8]>),
}

/// Why something is no value of the wanted type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The server would raise an error: let it, on any shard.
    #[error("invalid input syntax")]
    Invalid,
    /// The value lies outside the type. As input the server would raise an error; in a comparison no row matches.
    #[error("value out of range")]
    OutOfRange,
    /// What the server makes of it depends on settings, on the clock, on the server's version or on how it is used.
    #[error("the value cannot be known without asking the server")]
    Ambiguous,
}

impl ValueError {
    pub fn sqlstate(self) -> &'static str {
        match self {
            ValueError::Invalid => "22P02",
            ValueError::OutOfRange => "22003",
            ValueError::Ambiguous => "0A000",
        }
    }
}

impl KeyValue {
    /// True when this is how a column of `key_type` is represented.
    pub fn fits(&self, key_type: KeyType) -> bool {
        matches!(
            (self, key_type),
            (
                KeyValue::Int(_),
                KeyType::Int2 | KeyType::Int4 | KeyType::Int8
            ) | (
                KeyValue::Text(_),
                KeyType::Text | KeyType::Varchar | KeyType::Bpchar
            ) | (KeyValue::Uuid(_), KeyType::Uuid)
                | (KeyValue::Date(_), KeyType::Date)
                | (
                    KeyValue::Timestamp(_),
                    KeyType::Timestamp | KeyType::Timestamptz
                )
                | (KeyValue::Bool(_), KeyType::Bool)
                | (KeyValue::Bytea(_), KeyType::Bytea)
        )
    }

    /// The value as text that the server and [`KeyValue::from_text`] read back to the same value under any settings:
    /// ISO dates, `timestamptz` at `+00`, bytea in hexadecimal.
    pub fn to_text(&self, key_type: KeyType) -> String {
        match self {
            KeyValue::Int(number) => number.to_string(),
            KeyValue::Text(text) => text.to_string(),
            KeyValue::Uuid(bytes) => uuid_text(bytes),
            KeyValue::Date(days) => datetime::date_text(*days),
            KeyValue::Timestamp(microseconds) => {
                datetime::timestamp_text(*microseconds, key_type == KeyType::Timestamptz)
            }
            KeyValue::Bool(truth) => truth.to_string(),
            KeyValue::Bytea(bytes) => {
                let mut text = String::with_capacity(2 + 2 * bytes.len());
                text.push_str("\\x");
                push_hexadecimal(&mut text, bytes);
                text
            }
        }
    }

    /// The value as a typed SQL constant, `'42'::bigint`: the one function that quotes key values. It reads the same under
    /// any DateStyle, TimeZone and `standard_conforming_strings`.
    pub fn to_sql_literal(&self, key_type: KeyType) -> String {
        format!(
            "{}::{}",
            quote_literal(&self.to_text(key_type)),
            key_type.name()
        )
    }
}

/// The value as a person would write it, for messages.
impl fmt::Display for KeyValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyValue::Text(text) => formatter.write_str(&quote_literal(text)),
            other => formatter.write_str(&other.to_text(KeyType::Timestamp)),
        }
    }
}

fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (group, range) in [0..4, 4..6, 6..8, 8..10, 10..16].into_iter().enumerate() {
        if group > 0 {
            text.push('-');
        }
        push_hexadecimal(&mut text, &bytes[range]);
    }
    text
}

fn push_hexadecimal(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_quoted_and_typed() {
        let cases = [
            (KeyValue::Int(-5), KeyType::Int8, "'-5'::bigint"),
            (
                KeyValue::Text("it's".into()),
                KeyType::Text,
                "'it''s'::text",
            ),
            (
                KeyValue::Text("a\\".into()),
                KeyType::Bpchar,
                "E'a\\\\'::bpchar",
            ),
            (KeyValue::Date(0), KeyType::Date, "'2000-01-01'::date"),
            (KeyValue::Bool(true), KeyType::Bool, "'true'::boolean"),
            (
                KeyValue::Bytea(Box::new([0, 255])),
                KeyType::Bytea,
                "E'\\\\x00ff'::bytea",
            ),
            (
                KeyValue::Timestamp(-1),
                KeyType::Timestamptz,
                "'1999-12-31 23:59:59.999999+00'::timestamp with time zone",
            ),
        ];
        for (value, key_type, literal) in cases {
            assert_eq!(value.to_sql_literal(key_type), literal);
        }
    }
}
