//! Texts, numbers and wire values to key values, exactly as PostgreSQL would read them, or not at all.
//!
//! Entry points: [`number_key`], [`text_key`], [`parameter_key`], [`parameter_elements`], [`array_elements`]. Three outcomes everywhere: a value;
//! nothing (`None`: the value is NULL, equals no key of that type, or the server will reject it, so no row elsewhere can matter); an
//! error (we cannot tell what the server would make of it).

use catalog::{KeyType, KeyValue, ValueError};

use crate::{Error, KeyRole, Value};

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

fn in_range(number: i64, key_type: KeyType) -> bool {
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
) -> Result<Option<KeyValue>, Error> {
    let read_as = cast.unwrap_or(key_type);
    if family(read_as) != family(key_type) {
        return Err(unclear(text, key_type));
    }
    match KeyValue::from_text(read_as, text) {
        Ok(KeyValue::Int(number)) if !in_range(number, key_type) => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(ValueError::Invalid | ValueError::OutOfRange) => Ok(None),
        Err(ValueError::Ambiguous) => Err(Error::unsupported(format!(
            "only the server can tell what the shard key '{text}' means as {}",
            key_type.name()
        ))
        .with_hint("Write it plainly: integers in decimal, dates and times in ISO 8601, with the UTC offset if the type has one.")),
    }
}

/// A parameter of the wire as a key. `shared`: its undeclared type may have been inferred from another place.
pub(crate) fn parameter_key(
    value: Value<'_>,
    cast: Option<KeyType>,
    shared: bool,
    key_type: KeyType,
    role: KeyRole,
) -> Result<Option<KeyValue>, Error> {
    let Some(bytes) = value.bytes else {
        return Ok(None);
    };
    let undeclared = matches!(value.type_oid, 0 | oid::UNKNOWN);
    if value.binary {
        let type_oid = if undeclared {
            binary_type(bytes, cast.unwrap_or(key_type), shared)?
        } else {
            value.type_oid
        };
        return binary_key(type_oid, bytes, cast, key_type);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(None);
    };
    if undeclared {
        if shared && !plain(text, key_type) {
            return Err(Error::unsupported(
                "the type of a parameter that gives the shard key is inferred from several places",
            )
            .with_hint("Cast the parameter, or declare its type."));
        }
        return text_key(text, cast, key_type);
    }
    if value.type_oid == oid::NUMERIC && cast.is_none() && family(key_type) == Family::Integer {
        return number_key(text.trim(), key_type, role);
    }
    match key_type_of(value.type_oid) {
        Some(declared) if family(declared) == family(key_type) => {
            cast_holds(declared, cast, key_type)?;
            text_key(text, Some(declared), key_type)
        }
        Some(KeyType::Text | KeyType::Varchar)
            if family(key_type) == Family::Bpchar && cast.is_none() =>
        {
            text_key(text, None, key_type)
        }
        _ => Err(wrong_type(key_type)),
    }
}

fn binary_key(
    type_oid: u32,
    bytes: &[u8],
    cast: Option<KeyType>,
    key_type: KeyType,
) -> Result<Option<KeyValue>, Error> {
    match key_type_of(type_oid) {
        Some(declared) if family(declared) == family(key_type) => {
            cast_holds(declared, cast, key_type)?
        }
        Some(KeyType::Text | KeyType::Varchar)
            if family(key_type) == Family::Bpchar && cast.is_none() => {}
        _ => return Err(wrong_type(key_type)),
    }
    match KeyValue::from_binary(type_oid, bytes, key_type) {
        Ok(KeyValue::Int(number)) if !in_range(number, key_type) => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(ValueError::Invalid | ValueError::OutOfRange) => Ok(None),
        Err(ValueError::Ambiguous) => Err(wrong_type(key_type)),
    }
}

/// The wire type of an undeclared parameter: the server infers it from the key, whose width the bytes betray.
fn binary_type(bytes: &[u8], read_as: KeyType, shared: bool) -> Result<u32, Error> {
    Ok(match (family(read_as), bytes.len()) {
        (Family::Integer, 2) => 21,
        (Family::Integer, 4) => 23,
        (Family::Integer, 8) => 20,
        (Family::Integer, _) => return Err(wrong_type(read_as)),
        (_, _) if shared => return Err(wrong_type(read_as)),
        (Family::Text, _) => 25,
        (Family::Bpchar, _) => 1042,
        (Family::Uuid, _) => 2950,
        (Family::Date, _) => 1082,
        (Family::Timestamp, _) => 1114,
        (Family::Timestamptz, _) => 1184,
        (Family::Boolean, _) => 16,
        (Family::Bytea, _) => 17,
    })
}

/// A cast of a declared parameter must not change the value.
fn cast_holds(declared: KeyType, cast: Option<KeyType>, key_type: KeyType) -> Result<(), Error> {
    match cast {
        Some(cast) if family(cast) != family(declared) => Err(wrong_type(key_type)),
        _ => Ok(()),
    }
}

/// Texts that mean the same key under every type that the server could have inferred.
fn plain(text: &str, key_type: KeyType) -> bool {
    match family(key_type) {
        // Up to 15 digits: exact as integer, numeric and double precision alike.
        Family::Integer => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
        }
        // No trailing blanks (char(n)), shorter than a name.
        Family::Text | Family::Bpchar => text.len() < 63 && !text.ends_with(' '),
        Family::Uuid | Family::Boolean => true,
        Family::Date => {
            let bytes = text.as_bytes();
            bytes.len() == 10
                && bytes.iter().enumerate().all(|(at, byte)| match at {
                    4 | 7 => *byte == b'-',
                    _ => byte.is_ascii_digit(),
                })
        }
        Family::Timestamp | Family::Timestamptz | Family::Bytea => false,
    }
}

/// Every element of an array parameter. `Ok(None)`: the array is NULL or malformed.
pub(crate) fn parameter_elements(
    value: Value<'_>,
    cast: Option<KeyType>,
    shared: bool,
    key_type: KeyType,
    role: KeyRole,
) -> Result<Option<Vec<KeyValue>>, Error> {
    let Some(bytes) = value.bytes else {
        return Ok(None);
    };
    let undeclared = matches!(value.type_oid, 0 | oid::UNKNOWN);
    let element_oid = if undeclared {
        if shared {
            return Err(wrong_type(key_type));
        }
        0
    } else {
        oid::element(value.type_oid).ok_or_else(|| wrong_type(key_type))?
    };
    let mut keys = Vec::new();
    let mut push = |element: Value<'_>| -> Result<(), Error> {
        keys.extend(parameter_key(element, cast, false, key_type, role)?);
        Ok(())
    };
    if value.binary {
        let Some((wire_oid, elements)) = binary_array(bytes) else {
            return Ok(None);
        };
        if !undeclared && wire_oid != element_oid {
            return Ok(None);
        }
        for element in elements {
            push(Value {
                type_oid: wire_oid,
                binary: true,
                bytes: element,
            })?;
        }
    } else {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Ok(None);
        };
        for element in array_elements(text).ok_or_else(|| unclear(text, key_type))? {
            push(Value {
                type_oid: element_oid,
                binary: false,
                bytes: element.as_deref().map(str::as_bytes),
            })?;
        }
    }
    Ok(Some(keys))
}

/// The wire form of an array (`array_send`): dimensions, a flag, the element type, per dimension length and lower bound, then
/// length-prefixed elements.
fn binary_array(bytes: &[u8]) -> Option<(u32, Vec<Option<&[u8]>>)> {
    fn word(rest: &mut &[u8]) -> Option<i32> {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        *rest = tail;
        Some(i32::from_be_bytes(*head))
    }
    let mut rest = bytes;
    let dimensions = word(&mut rest)?;
    let _flags = word(&mut rest)?;
    let element_oid = word(&mut rest)? as u32;
    if !(0..=6).contains(&dimensions) {
        return None;
    }
    for _ in 0..dimensions {
        let _length = word(&mut rest)?;
        let _lower_bound = word(&mut rest)?;
    }
    let mut elements = Vec::new();
    while !rest.is_empty() {
        match word(&mut rest)? {
            -1 => elements.push(None),
            length => {
                let (element, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                rest = tail;
                elements.push(Some(element));
            }
        }
    }
    Some((element_oid, elements))
}

/// The elements of a one-dimensional array text such as `{1,"b c",NULL}`; `None` for anything less plain.
pub(crate) fn array_elements(text: &str) -> Option<Vec<Option<String>>> {
    let body = text
        .trim_matches([' ', '\t', '\n', '\r'])
        .strip_prefix('{')?
        .strip_suffix('}')?;
    let mut elements = Vec::new();
    if body.trim().is_empty() {
        return Some(elements);
    }
    let mut characters = body.chars().peekable();
    loop {
        while characters
            .next_if(|c| matches!(c, ' ' | '\t' | '\n' | '\r'))
            .is_some()
        {}
        let mut element = String::new();
        if characters.next_if_eq(&'"').is_some() {
            loop {
                match characters.next()? {
                    '"' => break,
                    '\\' => element.push(characters.next()?),
                    other => element.push(other),
                }
            }
            while characters
                .next_if(|c| matches!(c, ' ' | '\t' | '\n' | '\r'))
                .is_some()
            {}
            elements.push(Some(element));
        } else {
            while let Some(&c) = characters.peek() {
                match c {
                    ',' => break,
                    '{' | '}' | '"' | '\\' => return None,
                    _ => element.push(c),
                }
                characters.next();
            }
            let trimmed = element.trim_end_matches([' ', '\t', '\n', '\r']);
            if trimmed.is_empty() {
                return None;
            }
            elements.push((!trimmed.eq_ignore_ascii_case("null")).then(|| trimmed.to_owned()));
        }
        match characters.next() {
            None => return Some(elements),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

fn unclear(text: &str, key_type: KeyType) -> Error {
    Error::unsupported(format!(
        "the value {text} cannot be compared with a shard key of type {}",
        key_type.name()
    ))
    .with_hint(format!("Write it as a {}.", key_type.name()))
}

fn wrong_type(key_type: KeyType) -> Error {
    Error::unsupported(format!(
        "a parameter's type does not fit the shard key's type {}",
        key_type.name()
    ))
    .with_hint(format!(
        "Declare the parameter as {}, or leave its type to be inferred.",
        key_type.name()
    ))
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
        assert!(number_key("1.5", KeyType::Int8, KeyRole::Stored).is_err());
        assert!(number_key("abc", KeyType::Int8, KeyRole::Compared).is_err());
        assert!(matches!(
            number_key("70000", KeyType::Int2, KeyRole::Compared),
            Ok(None)
        ));
    }

    #[test]
    fn arrays() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(array_elements("{}"), Some(vec![]));
        assert_eq!(
            array_elements("{1, 2,NULL}"),
            Some(vec![some("1"), some("2"), None])
        );
        assert_eq!(
            array_elements(r#"{"a b","c\"d","null"}"#),
            Some(vec![some("a b"), some("c\"d"), some("null")])
        );
        assert_eq!(array_elements("{{1},{2}}"), None);
        assert_eq!(array_elements("[0:1]={1,2}"), None);
        assert_eq!(array_elements("{1,}"), None);
    }
}
