//! Lifting literals out of a statement without parsing it.
//!
//! Entry points: [`lift`] and [`LiteralMap`]. Two texts with the same *shape* (the text with each literal replaced by a mark for its token
//! class) consist of the same tokens but for the literals' values, as PostgreSQL's scanner (`scan.l`, versions 13 to 18) cuts them.
//! Whatever could be cut otherwise by some version or setting makes [`lift`] give up: strings with prefixes, dollar quotes,
//! continued strings, numbers that are not plain decimals, control characters. Giving up costs time, never correctness.

/// Marks in a shape. A text that contains such bytes is never lifted.
const INTEGER: u8 = 1;
const NUMBER: u8 = 2;
const STRING: u8 = 3;

/// More literals than this are not worth a shape.
const LITERAL_LIMIT: usize = 256;

/// Where the literals of one text stand, in bytes, in order.
#[derive(Debug, Default, Clone)]
pub(crate) struct LiteralMap {
    spans: Vec<(u32, u32)>,
}

impl LiteralMap {
    pub fn clear(&mut self) {
        self.spans.clear();
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The source text of a literal.
    pub fn text<'s>(&self, sql: &'s str, index: u16) -> Option<&'s str> {
        let (start, end) = *self.spans.get(usize::from(index))?;
        sql.get(start as usize..end as usize)
    }

    /// The literal that a constant of the tree at this byte came from, and whether minus signs before it negate it.
    pub fn at(&self, sql: &str, location: i32) -> Option<(u16, bool)> {
        let location = u32::try_from(location).ok()?;
        let index = self.spans.partition_point(|(start, _)| *start < location);
        let (start, _) = *self.spans.get(index)?;
        let gap = sql.as_bytes().get(location as usize..start as usize)?;
        let signs = gap.iter().filter(|byte| **byte == b'-').count();
        let only_signs = gap
            .iter()
            .all(|byte| matches!(byte, b'-' | b' ' | b'\t' | b'\n' | b'\r'));
        let comment = gap.windows(2).any(|pair| pair == b"--");
        (only_signs && !comment && (gap.is_empty() || gap[0] == b'-'))
            .then_some((u16::try_from(index).ok()?, signs % 2 == 1))
    }
}

/// Fills `shape` and `literals` from a text. `false`: not lifted, and both are in no particular state.
pub(crate) fn lift(sql: &str, shape: &mut Vec<u8>, literals: &mut LiteralMap) -> bool {
    shape.clear();
    literals.clear();
    let text = sql.as_bytes();
    if u32::try_from(text.len()).is_err() {
        return false;
    }
    let mut at = 0;
    let mut copied = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\'' => {
                let Some(end) = string_end(text, at) else {
                    return false;
                };
                if !push_literal(text, &mut copied, at, end, STRING, shape, literals) {
                    return false;
                }
                at = end;
            }
            b'0'..=b'9' => {
                let Some((end, class)) = number_end(text, at) else {
                    return false;
                };
                if !push_literal(text, &mut copied, at, end, class, shape, literals) {
                    return false;
                }
                at = end;
            }
            b'.' if text.get(at + 1).is_some_and(u8::is_ascii_digit) => {
                let Some((end, class)) = number_end(text, at) else {
                    return false;
                };
                if !push_literal(text, &mut copied, at, end, class, shape, literals) {
                    return false;
                }
                at = end;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => {
                let end = identifier_end(text, at);
                if has_string_prefix(text, at, end) {
                    return false;
                }
                at = end;
            }
            b'"' => {
                let Some(end) = quoted_identifier_end(text, at) else {
                    return false;
                };
                at = end;
            }
            b'$' => {
                let digits = text[at + 1..]
                    .iter()
                    .take_while(|byte| byte.is_ascii_digit())
                    .count();
                let end = at + 1 + digits;
                if digits == 0 || text.get(end).is_some_and(|byte| is_identifier_byte(*byte)) {
                    return false;
                }
                at = end;
            }
            b'-' if text.get(at + 1) == Some(&b'-') => at = line_comment_end(text, at),
            b'/' if text.get(at + 1) == Some(&b'*') => {
                let Some(end) = block_comment_end(text, at) else {
                    return false;
                };
                at = end;
            }
            b'\t' | b'\n' | b'\r' | 0x0c | b' ' => at += 1,
            0..=0x1f | 0x7f => return false,
            _ => at += 1,
        }
    }
    shape.extend_from_slice(&text[copied..]);
    true
}

fn push_literal(
    text: &[u8],
    copied: &mut usize,
    start: usize,
    end: usize,
    class: u8,
    shape: &mut Vec<u8>,
    literals: &mut LiteralMap,
) -> bool {
    if literals.spans.len() >= LITERAL_LIMIT {
        return false;
    }
    shape.extend_from_slice(&text[*copied..start]);
    shape.push(class);
    *copied = end;
    literals.spans.push((start as u32, end as u32));
    true
}

/// The end of a string that starts at `at`; `None` when it is unterminated, holds a backslash, or might be continued.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        let quote = at + memchr::memchr2(b'\'', b'\\', &text[at..])?;
        if text[quote] == b'\\' {
            return None;
        }
        if text.get(quote + 1) == Some(&b'\'') {
            at = quote + 2;
            continue;
        }
        let end = quote + 1;
        return (text.get(skip_blank(text, end)) != Some(&b'\'')).then_some(end);
    }
}

/// Past white space and line comments, which may stand between the parts of a continued string.
fn skip_blank(text: &[u8], mut at: usize) -> usize {
    loop {
        match text.get(at) {
            Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) => at += 1,
            Some(b'-') if text.get(at + 1) == Some(&b'-') => at = line_comment_end(text, at),
            _ => return at,
        }
    }
}

/// The end and the class of a decimal number; `None` for every form that some version reads otherwise.
fn number_end(text: &[u8], start: usize) -> Option<(usize, u8)> {
    let digits = |from: usize| {
        from + text[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let mut end = digits(start);
    let mut integer = true;
    if text.get(end) == Some(&b'.') {
        integer = false;
        end = digits(end + 1);
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        integer = false;
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent == end + 1 + sign {
            return None;
        }
        end = exponent;
    }
    if text
        .get(end)
        .is_some_and(|byte| is_identifier_byte(*byte) || *byte == b'.')
    {
        return None;
    }
    // The scanner gives an integer token only to what fits four bytes.
    let plain = integer
        && (end - start < 10
            || std::str::from_utf8(&text[start..end]).is_ok_and(|t| t.parse::<i32>().is_ok()));
    Some((end, if plain { INTEGER } else { NUMBER }))
}

fn is_identifier_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

fn identifier_end(text: &[u8], at: usize) -> usize {
    at + text[at..]
        .iter()
        .take_while(|byte| is_identifier_byte(**byte))
        .count()
}

/// `E'…'`, `B'…'`, `X'…'`, `N'…'`, `U&'…'` and `U&"…"`.
fn has_string_prefix(text: &[u8], start: usize, end: usize) -> bool {
    if end - start != 1 {
        return false;
    }
    match (text[start] | 0x20, text.get(end)) {
        (b'e' | b'b' | b'x' | b'n', Some(b'\'')) => true,
        (b'u', Some(b'&')) => matches!(text.get(end + 1), Some(b'\'' | b'"')),
        _ => false,
    }
}

fn quoted_identifier_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        let quote = at + memchr::memchr(b'"', &text[at..])?;
        if text.get(quote + 1) != Some(&b'"') {
            return Some(quote + 1);
        }
        at = quote + 2;
    }
}

fn line_comment_end(text: &[u8], at: usize) -> usize {
    memchr::memchr2(b'\n', b'\r', &text[at..]).map_or(text.len(), |length| at + length)
}

fn block_comment_end(text: &[u8], at: usize) -> Option<usize> {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shape(sql: &str) -> Option<(String, Vec<String>)> {
        let (mut shape, mut literals) = (Vec::new(), LiteralMap::default());
        lift(sql, &mut shape, &mut literals).then(|| {
            let shape = String::from_utf8_lossy(&shape)
                .replace('\u{1}', "?i")
                .replace('\u{2}', "?n")
                .replace('\u{3}', "?s");
            let texts = (0..literals.len() as u16)
                .filter_map(|index| literals.text(sql, index).map(str::to_owned))
                .collect();
            (shape, texts)
        })
    }

    #[test]
    fn literals_are_lifted() {
        let (text, literals) =
            shape("select a1, 'it''s', 2147483647, 2147483648, 1.5e3, .5, $1 from t where x=-1")
                .unwrap();
        assert_eq!(text, "select a1, ?s, ?i, ?n, ?n, ?n, $1 from t where x=-?i");
        assert_eq!(
            literals,
            ["'it''s'", "2147483647", "2147483648", "1.5e3", ".5", "1"]
        );
        assert_eq!(
            shape("select 1 -- 2 'x\n, \"a 5\" /* 3 /* 4 */ */")
                .unwrap()
                .1,
            ["1"]
        );
    }

    #[test]
    fn doubtful_texts_are_not_lifted() {
        for sql in [
            "select E'a'",
            "select e'\\''",
            "select b'1'",
            "select X'1f'",
            "select U&'a'",
            "select u&\"a\"",
            "select $$a$$",
            "select $t$a$t$",
            "select 'a' 'b'",
            "select 'a'\n'b'",
            "select 'a' -- c\n 'b'",
            "select 'a\\'",
            "select 0x1F",
            "select 1_000",
            "select 1a",
            "select 1..2",
            "select 1e",
            "select 'a",
            "select \"a",
            "select /* /* */",
            "select \u{1}",
            "select n'a'",
            "select $1a",
        ] {
            assert_eq!(shape(sql), None, "{sql}");
        }
    }

    #[test]
    fn signs_belong_to_the_constant() {
        let sql = "select - -5, -5, 5, - /* */ 5";
        let (mut shape, mut literals) = (Vec::new(), LiteralMap::default());
        assert!(lift(sql, &mut shape, &mut literals));
        assert_eq!(literals.at(sql, 7), Some((0, false)));
        assert_eq!(literals.at(sql, 13), Some((1, true)));
        assert_eq!(literals.at(sql, 17), Some((2, false)));
        assert_eq!(literals.at(sql, 20), None);
    }
}
