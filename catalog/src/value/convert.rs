//! A value of one type in a column of another.

use super::{KeyValue, ValueError, datetime};
use crate::KeyType;

impl KeyValue {
    /// The value that this one, of type `source`, equals in a column of type `target`, whether it is compared
    /// with the column or assigned to it. `Ambiguous` where the two differ, where settings matter, or where SQL has no such
    /// operator; `OutOfRange` where no value of the column equals it.
    pub fn convert(self, source: KeyType, target: KeyType) -> Result<KeyValue, ValueError> {
        match (self, source, target) {
            (value, source, target) if source == target => Ok(value),
            (KeyValue::Int(number), _, KeyType::Int2) => i16::try_from(number)
                .map(|_| KeyValue::Int(number))
                .map_err(|_| ValueError::OutOfRange),
            (KeyValue::Int(number), _, KeyType::Int4) => i32::try_from(number)
                .map(|_| KeyValue::Int(number))
                .map_err(|_| ValueError::OutOfRange),
            (value @ KeyValue::Int(_), _, KeyType::Int8) => Ok(value),
            // Either way trailing blanks are lost: bpchar's when it becomes text, text's when it becomes bpchar. A bpchar
            // column compared as text never equals a text with trailing blanks, so any shard may say so.
            (KeyValue::Text(text), KeyType::Bpchar, KeyType::Text | KeyType::Varchar)
            | (KeyValue::Text(text), KeyType::Text | KeyType::Varchar, KeyType::Bpchar) => {
                Ok(KeyValue::Text(text.trim_end_matches(' ').into()))
            }
            (value @ KeyValue::Text(_), _, KeyType::Text | KeyType::Varchar) => Ok(value),
            (KeyValue::Date(days), _, KeyType::Timestamp) => match days {
                i32::MIN => Ok(KeyValue::Timestamp(i64::MIN)),
                i32::MAX => Ok(KeyValue::Timestamp(i64::MAX)),
                days => i64::from(days)
                    .checked_mul(datetime::MICROSECONDS_PER_DAY)
                    .filter(|microseconds| datetime::is_timestamp(*microseconds))
                    .map(KeyValue::Timestamp)
                    .ok_or(ValueError::OutOfRange),
            },
            _ => Err(ValueError::Ambiguous),
        }
    }

    /// What a parameter in text format means whose declared type has this `pg_type.oid`, in a column of type `target`. An
    /// undeclared one (0, or `unknown`) takes the column's type.
    pub fn from_typed_text(oid: u32, text: &str, target: KeyType) -> Result<KeyValue, ValueError> {
        match declared_type(oid, target) {
            Some(source) => KeyValue::from_text(source, text)?.convert(source, target),
            None => Err(ValueError::Ambiguous),
        }
    }
}

/// The key type that a declared parameter type stands for.
pub fn declared_type(oid: u32, target: KeyType) -> Option<KeyType> {
    const UNKNOWN: u32 = 705;
    match oid {
        0 | UNKNOWN => Some(target),
        oid => KeyType::from_oid(oid),
    }
}
