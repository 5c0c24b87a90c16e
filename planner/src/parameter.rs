//! Parameters of the wire as keys, in text and binary form, with declared and undeclared types.
//!
//! Entry points: [`parameter_key`], [`parameter_elements`].

use catalog::{KeyType, KeyValue, ValueError};

use crate::array::{array_elements, binary_array};
use crate::convert::{
    Family, family, in_range, in_role, key_type_of, number_key, oid, text_key, unclear,
};
use crate::{Error, KeyRole, Value};

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
        return binary_key(type_oid, bytes, cast, key_type, role);
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
        return text_key(text, cast, key_type, role);
    }
    if value.type_oid == oid::NUMERIC && cast.is_none() && family(key_type) == Family::Integer {
        return number_key(text.trim(), key_type, role);
    }
    match key_type_of(value.type_oid) {
        Some(declared) if family(declared) == family(key_type) => {
            cast_holds(declared, cast, key_type)?;
            text_key(text, Some(declared), key_type, role)
        }
        Some(KeyType::Text | KeyType::Varchar)
            if family(key_type) == Family::Bpchar && cast.is_none() =>
        {
            text_key(text, None, key_type, role)
        }
        _ => Err(wrong_type(key_type)),
    }
}

fn binary_key(
    type_oid: u32,
    bytes: &[u8],
    cast: Option<KeyType>,
    key_type: KeyType,
    role: KeyRole,
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
        Ok(value) => Ok(in_role(value, key_type, role)),
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
