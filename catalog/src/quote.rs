//! Quoting of names and strings in SQL text for a server.

/// A double-quoted identifier. Always quoted, since whether a bare word is reserved depends on the server's version.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A quoted string constant that reads the same with `standard_conforming_strings` on and off, as the server's own
/// `quote_literal` makes it: with a backslash inside, the escape form.
pub fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_are_doubled() {
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("\\'; DROP"), "E'\\\\''; DROP'");
    }
}
