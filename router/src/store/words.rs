//! The words of a function's body: a scan that finds every identifier, and nothing in comments and strings.
//!
//! Entry point: [`words`]. Any text ends the scan; what is not closed is taken to go on to the end.

use std::collections::HashSet;

/// All identifiers and keywords of a body, without columns of `new` and `old` if these are `rows`: folded to lower case where
/// unquoted; comments and strings left out.
pub(super) fn words(body: &str, rows: bool) -> HashSet<String> {
    let bytes = body.as_bytes();
    let mut words = HashSet::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        match bytes[at] {
            b'-' if rest.starts_with(b"--") => {
                at += rest
                    .iter()
                    .position(|&byte| byte == b'\n')
                    .unwrap_or(rest.len())
            }
            b'/' if rest.starts_with(b"/*") => at += comment(rest),
            b'\'' => {
                // E'…' is the only form in which a backslash hides a quote.
                let escapes = at > 0
                    && matches!(bytes[at - 1], b'e' | b'E')
                    && (at < 2 || !is_word(bytes[at - 2]));
                at += string(rest, escapes);
            }
            b'"' => {
                let (word, length) = quoted(rest);
                words.insert(word);
                at += length;
            }
            b'$' => at += dollar(rest),
            byte if is_word(byte) => {
                let length = rest
                    .iter()
                    .position(|&byte| !is_word(byte) && byte != b'$')
                    .unwrap_or(rest.len());
                let word = String::from_utf8_lossy(&rest[..length]).to_lowercase();
                at += length;
                if rows && matches!(word.as_str(), "new" | "old") && bytes.get(at) == Some(&b'.') {
                    at += 1 + field(&bytes[at + 1..]);
                }
                words.insert(word);
            }
            _ => at += 1,
        }
    }
    words
}

/// Length of the name after `new.`: a column of the row that a trigger is about.
fn field(text: &[u8]) -> usize {
    match text.first() {
        Some(b'"') => quoted(text).1,
        _ => text
            .iter()
            .position(|&byte| !is_word(byte) && byte != b'$')
            .unwrap_or(text.len()),
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Length of a comment, which may hold comments.
fn comment(text: &[u8]) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Length of a string constant. A doubled quote reads as two strings side by side, which is the same here.
fn string(text: &[u8], escapes: bool) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' if escapes => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

fn quoted(text: &[u8]) -> (String, usize) {
    let mut word = Vec::new();
    let mut at = 1;
    while at < text.len() {
        if text[at] == b'"' {
            if text.get(at + 1) != Some(&b'"') {
                return (String::from_utf8_lossy(&word).into_owned(), at + 1);
            }
            at += 1;
        }
        word.push(text[at]);
        at += 1;
    }
    (String::from_utf8_lossy(&word).into_owned(), text.len())
}

/// Length of a dollar-quoted string, or 1 for a lone `$`, as in `$1`.
fn dollar(text: &[u8]) -> usize {
    let Some(end) = text[1..].iter().position(|&byte| !is_word(byte)) else {
        return 1;
    };
    let tag = &text[..end + 2];
    if tag[tag.len() - 1] != b'$' || tag.get(1).is_some_and(u8::is_ascii_digit) {
        return 1;
    }
    let body = &text[tag.len()..];
    match body.windows(tag.len()).position(|window| window == tag) {
        Some(length) => tag.len() + length + tag.len(),
        None => text.len(),
    }
}
