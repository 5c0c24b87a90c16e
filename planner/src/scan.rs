//! Lifting literals out of a statement without parsing it.
//!
//! Entry points: [`lift`] and [`LiteralMap`]. Two texts with the same *shape* (the text with each literal replaced by a mark for its token
//! class) consist of the same tokens but for the literals' values, as PostgreSQL's scanner (`scan.l`, versions 13 to 18) cuts them.
//! Whatever could be cut otherwise by some version or setting makes [`lift`] give up: strings with prefixes, dollar quotes,
//! continued strings, numbers that are not plain decimals, control characters. Giving up costs time, never correctness.

use crate::piece::{
    block_comment_end, has_string_prefix, identifier_end, is_identifier_byte, line_comment_end,
    quoted_identifier_end, skip_blank,
};

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
