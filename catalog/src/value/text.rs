//! Text input, as the server's input functions read it.
//!
//! Facts from `int.c`, `int8.c`, `numutils.c`, `bool.c`, `uuid.c`, `varlena.c` and `encode.c` in
//! `src/backend/utils/adt`, versions 13 to 18. Where versions differ the answer is `Ambiguous`.

use super::{KeyValue, ValueError, datetime};
use crate::KeyType;

impl KeyValue {
    /// What a string constant or a parameter in text format of this type means.
    pub fn from_text(key_type: KeyType, text: &str) -> Result<KeyValue, ValueError> {
        if text.contains('\0') {
            return Err(ValueError::Invalid);
        }
        match key_type {
            KeyType::Int2 => integer(text, i16::MIN.into(), i16::MAX.into()),
            KeyType::Int4 => integer(text, i32::MIN.into(), i32::MAX.into()),
            KeyType::Int8 => integer(text, i64::MIN, i64::MAX),
            KeyType::Text | KeyType::Varchar => Ok(KeyValue::Text(text.into())),
            KeyType::Bpchar => Ok(KeyValue::Text(text.trim_end_matches(' ').into())),
            KeyType::Uuid => uuid(text).map(KeyValue::Uuid),
            KeyType::Date => datetime::parse_date(trim(text)).map(KeyValue::Date),
            KeyType::Timestamp => {
                datetime::parse_timestamp(trim(text), false).map(KeyValue::Timestamp)
            }
            KeyType::Timestamptz => {
                datetime::parse_timestamp(trim(text), true).map(KeyValue::Timestamp)
            }
            KeyType::Bool => boolean(trim(text)).map(KeyValue::Bool),
            KeyType::Bytea => bytea(text).map(KeyValue::Bytea),
        }
    }
}

/// Without the blanks that C's `isspace` knows.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r'])
}

fn integer(text: &str, lowest: i64, highest: i64) -> Result<KeyValue, ValueError> {
    let text = trim(text);
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(ValueError::Invalid);
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(if is_newer_integer(digits) {
            ValueError::Ambiguous
        } else {
            ValueError::Invalid
        });
    }
    let magnitude = digits
        .iter()
        .try_fold(0_i128, |so_far, digit| {
            let next = so_far * 10 + i128::from(digit - b'0');
            (next <= 1 << 64).then_some(next)
        })
        .ok_or(ValueError::OutOfRange)?;
    let number = if negative { -magnitude } else { magnitude };
    match i64::try_from(number) {
        Ok(number) if (lowest..=highest).contains(&number) => Ok(KeyValue::Int(number)),
        _ => Err(ValueError::OutOfRange),
    }
}

/// `0x1F`, `0o17`, `0b1` and `1_000` are integers from version 16 on. Errs on the side of yes about underscores.
fn is_newer_integer(digits: &[u8]) -> bool {
    let (is_digit, digits): (fn(&u8) -> bool, _) = match digits {
        [b'0', b'x' | b'X', digits @ ..] => (u8::is_ascii_hexdigit, digits),
        [b'0', b'o' | b'O' | b'b' | b'B', digits @ ..] => (u8::is_ascii_digit, digits),
        [b'_', ..] => return false,
        digits => (u8::is_ascii_digit, digits),
    };
    !digits.is_empty() && digits.iter().all(|byte| is_digit(byte) || *byte == b'_')
}

/// Any prefix of true, false, yes, no; on, off and `of`; 1, 0; in any case.
fn boolean(text: &str) -> Result<bool, ValueError> {
    let is_prefix = |word: &str, at_least: usize| {
        text.len() >= at_least
            && text.len() <= word.len()
            && word.as_bytes()[..text.len()].eq_ignore_ascii_case(text.as_bytes())
    };
    if is_prefix("true", 1) || is_prefix("yes", 1) || is_prefix("on", 2) || text == "1" {
        Ok(true)
    } else if is_prefix("false", 1) || is_prefix("no", 1) || is_prefix("off", 2) || text == "0" {
        Ok(false)
    } else {
        Err(ValueError::Invalid)
    }
}

/// 32 digits, perhaps with a hyphen after each group of four, perhaps in braces; no blanks.
fn uuid(text: &str) -> Result<[u8; 16], ValueError> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or(ValueError::Invalid)?,
        None => text,
    };
    let mut rest = inner.as_bytes();
    let mut uuid = [0; 16];
    for (index, byte) in uuid.iter_mut().enumerate() {
        let [high, low, after @ ..] = rest else {
            return Err(ValueError::Invalid);
        };
        *byte = nibble(*high)? << 4 | nibble(*low)?;
        rest = match after {
            [b'-', after @ ..] if index % 2 == 1 && index < 15 => after,
            after => after,
        };
    }
    if rest.is_empty() {
        Ok(uuid)
    } else {
        Err(ValueError::Invalid)
    }
}

/// `\x` and pairs of digits, perhaps with blanks between the pairs; or the escape form.
fn bytea(text: &str) -> Result<Box<[u8]>, ValueError> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    if let Some(digits) = text.strip_prefix("\\x") {
        let mut digits = digits.bytes();
        while let Some(high) = digits.next() {
            if matches!(high, b' ' | b'\n' | b'\t' | b'\r') {
                continue;
            }
            let high = nibble(high)?;
            let low = nibble(digits.next().ok_or(ValueError::Invalid)?)?;
            bytes.push(high << 4 | low);
        }
        return Ok(bytes.into());
    }
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return Ok(bytes.into()),
            [b'\\', b'\\', after @ ..] => {
                bytes.push(b'\\');
                after
            }
            [
                b'\\',
                high @ b'0'..=b'3',
                middle @ b'0'..=b'7',
                low @ b'0'..=b'7',
                after @ ..,
            ] => {
                bytes.push((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'));
                after
            }
            [b'\\', ..] => return Err(ValueError::Invalid),
            [byte, after @ ..] => {
                bytes.push(*byte);
                after
            }
        };
    }
}

fn nibble(digit: u8) -> Result<u8, ValueError> {
    char::from(digit)
        .to_digit(16)
        .map(|value| value as u8)
        .ok_or(ValueError::Invalid)
}

#[cfg(test)]
mod tests {
    use super::ValueError::{Ambiguous, Invalid, OutOfRange};
    use super::*;

    #[track_caller]
    fn check(key_type: KeyType, text: &str, expected: Result<KeyValue, ValueError>) {
        assert_eq!(
            KeyValue::from_text(key_type, text),
            expected,
            "{key_type} {text:?}"
        );
    }

    #[test]
    fn integers() {
        check(KeyType::Int8, " \t+42\n", Ok(KeyValue::Int(42)));
        check(
            KeyType::Int8,
            "-9223372036854775808",
            Ok(KeyValue::Int(i64::MIN)),
        );
        check(KeyType::Int8, "9223372036854775808", Err(OutOfRange));
        check(KeyType::Int2, "32768", Err(OutOfRange));
        check(KeyType::Int4, &"9".repeat(1000), Err(OutOfRange));
        check(KeyType::Int4, &"0".repeat(1000), Ok(KeyValue::Int(0)));
        for text in ["", " ", "-", "+-1", "- 1", "1.0", "1e3", "x", "_1", "１"] {
            check(KeyType::Int4, text, Err(Invalid));
        }
        for text in ["1_000", "0x1F", "-0o17", "0b1"] {
            check(KeyType::Int4, text, Err(Ambiguous));
        }
    }

    #[test]
    fn booleans() {
        for text in ["t", "tr", "TRUE", "y", "yes", "on", "1", " true "] {
            check(KeyType::Bool, text, Ok(KeyValue::Bool(true)));
        }
        for text in ["f", "fal", "N", "of", "oFF", "0"] {
            check(KeyType::Bool, text, Ok(KeyValue::Bool(false)));
        }
        for text in ["", "o", "2", "11", "truely", "01"] {
            check(KeyType::Bool, text, Err(Invalid));
        }
    }

    #[test]
    fn bytea_in_both_forms() {
        let value = |bytes: &[u8]| Ok(KeyValue::Bytea(bytes.into()));
        check(KeyType::Bytea, "\\x 00 fF\n", value(&[0, 255]));
        check(KeyType::Bytea, "a\\\\b\\377", value(b"a\\b\xff"));
        check(KeyType::Bytea, "é", value("é".as_bytes()));
        for text in ["\\x0", "\\x0 0", "\\400", "\\", "\\X00", "\\18"] {
            check(KeyType::Bytea, text, Err(Invalid));
        }
    }
}
