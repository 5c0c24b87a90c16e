//! What the tests against a real server share: a throwaway server, random values, and COPY text.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub mod random;
pub mod server;

use catalog::{KeyType, KeyValue};

/// A field of a COPY text line.
pub fn copy_field(text: &str) -> String {
    let mut field = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => field.push_str("\\\\"),
            '\t' => field.push_str("\\t"),
            '\n' => field.push_str("\\n"),
            '\r' => field.push_str("\\r"),
            other => field.push(other),
        }
    }
    field
}

/// `COPY table FROM stdin` with one line for each row of values and of plain further fields.
pub fn copy_statement(table: &str, lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut script = format!("COPY {table} FROM stdin;\n");
    for fields in lines {
        script.push_str(&fields.join("\t"));
        script.push('\n');
    }
    script.push_str("\\.\n");
    script
}

/// The function that gives a value's wire form.
pub fn send_function(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Int2 => "int2send",
        KeyType::Int4 => "int4send",
        KeyType::Int8 => "int8send",
        KeyType::Text => "textsend",
        KeyType::Varchar => "varcharsend",
        KeyType::Bpchar => "bpcharsend",
        KeyType::Uuid => "uuid_send",
        KeyType::Date => "date_send",
        KeyType::Timestamp => "timestamp_send",
        KeyType::Timestamptz => "timestamptz_send",
        KeyType::Bool => "boolsend",
        KeyType::Bytea => "byteasend",
    }
}

/// A value from its wire form in hexadecimal.
pub fn received(key_type: KeyType, hexadecimal: &str) -> KeyValue {
    let bytes: Vec<u8> = (0..hexadecimal.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).expect("hexadecimal"))
        .collect();
    KeyValue::from_binary(key_type.oid(), &bytes, key_type)
        .unwrap_or_else(|error| panic!("{key_type} {hexadecimal}: {error}"))
}
