//! Cutting a text into rough pieces, as PostgreSQL's scanner does where it is certain.
//!
//! Entry points: [`piece`], [`comment_depth`], and the ends of comments, names and strings that `scan` uses.

/// A piece of a statement for finding spans of the grammar that the tree does not record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A word, a quoted name, a number, a string or a parameter.
    Word,
    /// One byte of punctuation or of an operator.
    Mark(u8),
}

/// The next piece at or after `at`, with its bytes. Comments and white space are skipped; a string is read as PostgreSQL
/// reads it with standard strings, dollar quotes and `E''` included.
pub(crate) fn piece(text: &[u8], at: usize) -> Option<(Piece, std::ops::Range<usize>)> {
    let mut at = at;
    loop {
        at = skip_blank(text, at);
        if text.get(at..)?.starts_with(b"/*") {
            at = block_comment_end(text, at)?;
        } else {
            break;
        }
    }
    let byte = *text.get(at)?;
    let end = match byte {
        b'\'' => raw_string_end(text, at, false)?,
        b'"' => quoted_identifier_end(text, at)?,
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => {
            let end = identifier_end(text, at);
            if has_string_prefix(text, at, end) {
                let quote = end + usize::from(text.get(end) == Some(&b'&'));
                match text.get(quote) {
                    Some(b'"') => quoted_identifier_end(text, quote)?,
                    _ => raw_string_end(text, quote, text[at] | 0x20 == b'e')?,
                }
            } else {
                end
            }
        }
        b'0'..=b'9' => {
            at + text[at..]
                .iter()
                .take_while(|byte| is_identifier_byte(**byte) || **byte == b'.')
                .count()
        }
        b'$' => {
            let tag = identifier_end(text, at + 1).min(text.len());
            let body = at
                + 1
                + text[at + 1..]
                    .iter()
                    .take_while(|byte| is_identifier_byte(**byte) && **byte != b'$')
                    .count();
            if text.get(body) == Some(&b'$') && !text.get(at + 1).is_some_and(u8::is_ascii_digit) {
                let opening = &text[at..=body];
                body + 1 + memchr::memmem::find(&text[body + 1..], opening)? + opening.len()
            } else {
                tag
            }
        }
        _ => return Some((Piece::Mark(byte), at..at + 1)),
    };
    Some((Piece::Word, at..end))
}

/// An upper bound of how deep comments nest in a text: strings are skipped only where their end is certain.
pub(crate) fn comment_depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut at) = (0usize, 0usize, 0usize);
    while let Some(next) = memchr::memchr2(b'/', b'*', text.get(at..).unwrap_or_default()) {
        let next = at + next;
        match (text[next], text.get(next + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                deepest = deepest.max(depth);
                at = next + 2;
            }
            (b'*', Some(b'/')) => {
                depth = depth.saturating_sub(1);
                at = next + 2;
            }
            _ => at = next + 1,
        }
    }
    deepest
}

/// Past white space and line comments, which may stand between the parts of a continued string.
pub(crate) fn skip_blank(text: &[u8], mut at: usize) -> usize {
    loop {
        match text.get(at) {
            Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) => at += 1,
            Some(b'-') if text.get(at + 1) == Some(&b'-') => at = line_comment_end(text, at),
            _ => return at,
        }
    }
}

pub(crate) fn is_identifier_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

pub(crate) fn identifier_end(text: &[u8], at: usize) -> usize {
    at + text[at..]
        .iter()
        .take_while(|byte| is_identifier_byte(**byte))
        .count()
}

/// `E'…'`, `B'…'`, `X'…'`, `N'…'`, `U&'…'` and `U&"…"`.
pub(crate) fn has_string_prefix(text: &[u8], start: usize, end: usize) -> bool {
    if end - start != 1 {
        return false;
    }
    match (text[start] | 0x20, text.get(end)) {
        (b'e' | b'b' | b'x' | b'n', Some(b'\'')) => true,
        (b'u', Some(b'&')) => matches!(text.get(end + 1), Some(b'\'' | b'"')),
        _ => false,
    }
}

pub(crate) fn quoted_identifier_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        let quote = at + memchr::memchr(b'"', &text[at..])?;
        if text.get(quote + 1) != Some(&b'"') {
            return Some(quote + 1);
        }
        at = quote + 2;
    }
}

pub(crate) fn line_comment_end(text: &[u8], at: usize) -> usize {
    memchr::memchr2(b'\n', b'\r', &text[at..]).map_or(text.len(), |length| at + length)
}

pub(crate) fn block_comment_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 2;
    let mut depth = 1usize;
    loop {
        let next = at + memchr::memchr2(b'/', b'*', &text[at..])?;
        match (text[next], text.get(next + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                at = next + 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                at = next + 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at = next + 1,
        }
    }
}

fn raw_string_end(text: &[u8], at: usize, escapes: bool) -> Option<usize> {
    let mut at = at + 1;
    loop {
        let next = at + memchr::memchr2(b'\'', b'\\', text.get(at..)?)?;
        if text[next] == b'\\' {
            at = next + 1 + usize::from(escapes);
        } else if text.get(next + 1) == Some(&b'\'') {
            at = next + 2;
        } else {
            return Some(next + 1);
        }
    }
}
