//! Texts, numbers and wire values to key values, exactly as PostgreSQL would read them, or not at all.
//!
//! Entry points: [`number_key`], [`text_key`]; parameters are in `parameter`, arrays in `array`. Three outcomes everywhere: a value;
//! nothing (`None`: the value is NULL, equals no key of that type, or the server will reject it, so no row elsewhere can matter); an
//! error (we cannot tell what the server would make of it).

use catalog::{KeyType, KeyValue, ValueError};

use crate::{Error, KeyRole};

/// Types between which equality is exact and transitive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Integer,
    Text,
    Bpchar,
    Uuid,
    Date,
    Timestamp,
    Timestamptz,
    Boolean,
    Bytea,
}

pub(crate) fn family(key_type: KeyType) -> Family {
    match key_type {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => Family::Integer,
        KeyType::Text | KeyType::Varchar => Family::Text,
        KeyType::Bpchar => Family::Bpchar,
        KeyType::Uuid => Family::Uuid,
        KeyType::Date => Family::Date,
        KeyType::Timestamp => Family::Timestamp,
        KeyType::Timestamptz => Family::Timestamptz,
        KeyType::Bool => Family::Boolean,
        KeyType::Bytea => Family::Bytea,
    }
}

/// The key type of a built-in type's internal name.
pub(crate) fn key_type_named(name: &str) -> Option<KeyType> {
    Some(match name {
        "int2" => KeyType::Int2,
        "int4" => KeyType::Int4,
        "int8" => KeyType::Int8,
        "text" => KeyType::Text,
        "varchar" => KeyType::Varchar,
        "bpchar" => KeyType::Bpchar,
        "uuid" => KeyType::Uuid,
        "date" => KeyType::Date,
        "timestamp" => KeyType::Timestamp,
        "timestamptz" => KeyType::Timestamptz,
        "bool" => KeyType::Bool,
        "bytea" => KeyType::Bytea,
        _ => return None,
    })
}

/// Object identifiers of types, from PostgreSQL's `pg_type.dat`.
pub(crate) mod oid {
    pub const UNKNOWN: u32 = 705;
    pub const NUMERIC: u32 = 1700;

    /// The element type of an array type that can hold keys.
    pub fn element(array: u32) -> Option<u32> {
        Some(match array {
            1000 => 16,
            1001 => 17,
            1005 => 21,
            1007 => 23,
            1009 => 25,
            1014 => 1042,
            1015 => 1043,
            1016 => 20,
            1115 => 1114,
            1182 => 1082,
            1185 => 1184,
            1231 => NUMERIC,
            2951 => 2950,
            _ => return None,
        })
    }
}

/// The key type of a type's identifier.
pub(crate) fn key_type_of(oid: u32) -> Option<KeyType> {
    Some(match oid {
        16 => KeyType::Bool,
        17 => KeyType::Bytea,
        20 => KeyType::Int8,
        21 => KeyType::Int2,
        23 => KeyType::Int4,
        25 => KeyType::Text,
        1042 => KeyType::Bpchar,
        1043 => KeyType::Varchar,
        1082 => KeyType::Date,
        1114 => KeyType::Timestamp,
        1184 => KeyType::Timestamptz,
        2950 => KeyType::Uuid,
        _ => return None,
    })
}

/// What a decimal text is worth as an integer.
enum Decimal {
    Integer(i64),
    /// An integer beyond 64 bits.
    Beyond,
    Fraction,
    /// Not a plain decimal number.
    Other,
}

fn decimal(text: &str) -> Decimal {
    let (negative, body) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        None => (body, 0i32),
        Some(at) => match body[at + 1..].parse::<i32>() {
            Ok(exponent) if exponent.abs() <= 400 => (&body[..at], exponent),
            _ => return Decimal::Other,
        },
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty()
        || !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|byte| byte.is_ascii_digit())
    {
        return Decimal::Other;
    }
    let mut digits = String::with_capacity(whole.len() + fraction.len() + 8);
    digits.push_str(whole);
    digits.push_str(fraction);
    let point = whole.len() as i64 + i64::from(exponent);
    if point < 0 {
        return if digits.bytes().all(|byte| byte == b'0') {
            Decimal::Integer(0)
        } else {
            Decimal::Fraction
        };
    }
    let point = point as usize;
    while digits.len() < point {
        digits.push('0');
    }
    let (integer, rest) = digits.split_at(point);
    if !rest.bytes().all(|byte| byte == b'0') {
        return Decimal::Fraction;
    }
    let integer = integer.trim_start_matches('0');
    let signed = match (integer.is_empty(), negative) {
        (true, _) => "0".to_owned(),
        (false, true) => format!("-{integer}"),
        (false, false) => integer.to_owned(),
    };
    signed.parse().map_or(Decimal::Beyond, Decimal::Integer)
}

pub(crate) fn in_range(number: i64, key_type: KeyType) -> bool {
    match key_type {
        KeyType::Int2 => i16::try_from(number).is_ok(),
        KeyType::Int4 => i32::try_from(number).is_ok(),
        _ => true,
    }
}

/// A numeric literal, or a numeric parameter's text, as an integer key.
pub(crate) fn number_key(
    text: &str,
    key_type: KeyType,
    role: KeyRole,
) -> Result<Option<KeyValue>, Error> {
    if family(key_type) != Family::Integer {
        return Err(unclear(text, key_type));
    }
    match decimal(text) {
        Decimal::Integer(number) if in_range(number, key_type) => Ok(Some(KeyValue::Int(number))),
        // Compared: equals no key. Stored: the server reports the overflow.
        Decimal::Integer(_) | Decimal::Beyond => Ok(None),
        Decimal::Fraction if role == KeyRole::Compared => Ok(None),
        Decimal::Fraction => Err(Error::unsupported(format!(
            "the shard key is given as {text}, which the server would round to a {}",
            key_type.name()
        ))
        .with_hint("Give the shard key as an integer.")),
        Decimal::Other => Err(unclear(text, key_type)),
    }
}

/// A string literal, or a parameter's text, as a key. `cast`: the type that it is read as first.
pub(crate) fn text_key(
    text: &str,
    cast: Option<KeyType>,
    key_type: KeyType,
    role: KeyRole,
) -> Result<Option<KeyValue>, Error> {
    let read_as = cast.unwrap_or(key_type);
    if family(read_as) != family(key_type) {
        return Err(unclear(text, key_type));
    }
    match KeyValue::from_text(read_as, text) {
        Ok(KeyValue::Int(number)) if !in_range(number, key_type) => Ok(None),
        Ok(value) => Ok(in_role(value, key_type, role)),
        Err(ValueError::Invalid | ValueError::OutOfRange) => Ok(None),
        Err(ValueError::Ambiguous) => Err(Error::unsupported(format!(
            "only the server can tell what the shard key '{text}' means as {}",
            key_type.name()
        ))
        .with_hint("Write it plainly: integers in decimal, dates and times in ISO 8601, with the UTC offset if the type has one.")),
    }
}

/// The value as it is once it has played its role; `None` if the server will not store it.
pub(crate) fn in_role(value: KeyValue, key_type: KeyType, role: KeyRole) -> Option<KeyValue> {
    match role {
        KeyRole::Compared => Some(value),
        KeyRole::Stored { type_modifier } => value.stored(key_type, type_modifier).ok(),
    }
}

pub(crate) fn unclear(text: &str, key_type: KeyType) -> Error {
    Error::unsupported(format!(
        "the value {text} cannot be compared with a shard key of type {}",
        key_type.name()
    ))
    .with_hint(format!("Write it as a {}.", key_type.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(text: &str) -> Option<i64> {
        match number_key(text, KeyType::Int8, KeyRole::Compared) {
            Ok(Some(KeyValue::Int(number))) => Some(number),
            _ => None,
        }
    }

    #[test]
    fn decimals() {
        assert_eq!(integer("42"), Some(42));
        assert_eq!(integer("-42.00"), Some(-42));
        assert_eq!(integer("4.2e1"), Some(42));
        assert_eq!(integer("4200e-2"), Some(42));
        assert_eq!(integer("0.0"), Some(0));
        assert_eq!(integer(".5"), None);
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer("9223372036854775808"), None);
        assert!(number_key("1.5", KeyType::Int8, KeyRole::Stored { type_modifier: -1 }).is_err());
        assert!(number_key("abc", KeyType::Int8, KeyRole::Compared).is_err());
        assert!(matches!(
            number_key("70000", KeyType::Int2, KeyRole::Compared),
            Ok(None)
        ));
    }
}
