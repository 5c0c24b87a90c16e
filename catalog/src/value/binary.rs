//! Binary input, as the server's receive functions read it (`*recv` in `src/backend/utils/adt`).

use super::convert::declared_type;
use super::{KeyValue, ValueError, datetime};
use crate::KeyType;

impl KeyValue {
    /// What a parameter in binary format means whose declared type has this `pg_type.oid`, in a column of type `target`.
    /// An undeclared one (0, or `unknown`) takes the column's type.
    pub fn from_binary(oid: u32, bytes: &[u8], target: KeyType) -> Result<KeyValue, ValueError> {
        let source = declared_type(oid, target).ok_or(ValueError::Ambiguous)?;
        receive(source, bytes)?.convert(source, target)
    }
}

fn receive(source: KeyType, bytes: &[u8]) -> Result<KeyValue, ValueError> {
    match source {
        KeyType::Int2 => {
            exactly(bytes).map(|bytes| KeyValue::Int(i16::from_be_bytes(bytes).into()))
        }
        KeyType::Int4 => {
            exactly(bytes).map(|bytes| KeyValue::Int(i32::from_be_bytes(bytes).into()))
        }
        KeyType::Int8 => exactly(bytes).map(|bytes| KeyValue::Int(i64::from_be_bytes(bytes))),
        KeyType::Text | KeyType::Varchar | KeyType::Bpchar => match std::str::from_utf8(bytes) {
            Ok(text) => KeyValue::from_text(source, text),
            // Right in another client encoding, perhaps.
            Err(_) => Err(ValueError::Ambiguous),
        },
        KeyType::Uuid => exactly(bytes).map(KeyValue::Uuid),
        KeyType::Date => match i32::from_be_bytes(exactly(bytes)?) {
            days if datetime::is_date(days) => Ok(KeyValue::Date(days)),
            _ => Err(ValueError::OutOfRange),
        },
        KeyType::Timestamp | KeyType::Timestamptz => match i64::from_be_bytes(exactly(bytes)?) {
            microseconds if datetime::is_timestamp(microseconds) => {
                Ok(KeyValue::Timestamp(microseconds))
            }
            _ => Err(ValueError::OutOfRange),
        },
        KeyType::Bool => exactly(bytes).map(|[byte]: [u8; 1]| KeyValue::Bool(byte != 0)),
        KeyType::Bytea => Ok(KeyValue::Bytea(bytes.into())),
    }
}

fn exactly<const LENGTH: usize>(bytes: &[u8]) -> Result<[u8; LENGTH], ValueError> {
    bytes.try_into().map_err(|_| ValueError::Invalid)
}
