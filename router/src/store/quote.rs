//! Quoting of names and values in the SQL that the catalog's side of the router writes.
//!
//! Entry points: [`identifier`], [`qualified`], [`literal`], [`array`]. Invariant: whatever text goes in, exactly one token
//! comes out (one array constructor for [`array`]), under any setting of `standard_conforming_strings`.

pub use catalog::{quote_identifier as identifier, quote_literal as literal};

/// `"schema"."name"`.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// `ARRAY['a','b']::text[]`.
pub fn array<T: AsRef<str>>(values: &[T]) -> String {
    let items: Vec<String> = values.iter().map(|value| literal(value.as_ref())).collect();
    format!("ARRAY[{}]::text[]", items.join(","))
}

/// `"a", "b"`.
pub fn identifiers<T: AsRef<str>>(names: &[T]) -> String {
    let items: Vec<String> = names.iter().map(|name| identifier(name.as_ref())).collect();
    items.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(qualified("S", "t t"), "\"S\".\"t t\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
        assert_eq!(array(&["a", "b'"]), "ARRAY['a','b''']::text[]");
        assert_eq!(identifiers(&["a", "B"]), "\"a\", \"B\"");
    }
}
