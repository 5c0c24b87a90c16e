//! The fields of a row that a shard key is in.

use std::borrow::Cow;

use planner::{LoadFormat, LoadKey};

use super::rows::be32;

/// Reads the fields of a key out of rows.
#[derive(Debug)]
pub struct Fields<'a> {
    format: &'a LoadFormat,
    key: &'a [LoadKey],
    /// The last column that is needed.
    last: usize,
}

/// A field as it is: NULL, or its bytes.
type Value<'r> = Option<Cow<'r, [u8]>>;

impl<'a> Fields<'a> {
    pub fn new(format: &'a LoadFormat, key: &'a [LoadKey]) -> Self {
        let last = key.iter().map(|key| key.position).max().unwrap_or(0);
        Self { format, key, last }
    }

    /// The values of the key's columns in a row; `None`: it lacks one.
    pub fn key<'r>(&self, row: &'r [u8]) -> Option<Vec<Value<'r>>> {
        match self.format {
            LoadFormat::Text { delimiter, null } => self.text(row, *delimiter, null),
            LoadFormat::Csv {
                delimiter,
                quote,
                escape,
                null,
            } => self.csv(row, *delimiter, (*quote, *escape), null),
            LoadFormat::Binary => self.binary(row),
        }
    }

    fn text<'r>(&self, row: &'r [u8], delimiter: u8, null: &str) -> Option<Vec<Value<'r>>> {
        let row = without_end(row);
        let mut raw: Vec<&[u8]> = Vec::with_capacity(self.last + 1);
        let (mut start, mut at) = (0, 0);
        while raw.len() <= self.last {
            let found = memchr::memchr2(delimiter, b'\\', row.get(at..)?);
            match found.map(|found| at + found) {
                Some(found) if row[found] == b'\\' => at = (found + 2).min(row.len()),
                Some(found) => {
                    raw.push(&row[start..found]);
                    (start, at) = (found + 1, found + 1);
                }
                None => {
                    raw.push(&row[start..]);
                    break;
                }
            }
        }
        self.key
            .iter()
            .map(|key| {
                let raw = *raw.get(key.position)?;
                Some((raw != null.as_bytes()).then(|| unescaped(raw)))
            })
            .collect()
    }

    fn csv<'r>(
        &self,
        row: &'r [u8],
        delimiter: u8,
        (quote, escape): (u8, u8),
        null: &str,
    ) -> Option<Vec<Value<'r>>> {
        let row = without_end(row);
        let mut fields: Vec<(bool, Cow<'r, [u8]>)> = Vec::with_capacity(self.last + 1);
        let mut at = 0;
        while fields.len() <= self.last {
            let rest = row.get(at..)?;
            let plain = memchr::memchr2(delimiter, quote, rest).unwrap_or(rest.len());
            if rest.get(plain) != Some(&quote) {
                fields.push((false, Cow::Borrowed(&rest[..plain])));
                at += plain + 1;
                if plain == rest.len() {
                    break;
                }
                continue;
            }
            let (value, length) = quoted(rest, delimiter, quote, escape)?;
            fields.push((true, Cow::Owned(value)));
            at += length + 1;
            if length == rest.len() {
                break;
            }
        }
        self.key
            .iter()
            .map(|key| {
                let (is_quoted, value) = fields.get(key.position)?;
                let looks_null = value.as_ref() == null.as_bytes();
                let is_null = match (looks_null, is_quoted) {
                    (true, false) => !key.force_not_null,
                    (true, true) => key.force_null,
                    (false, _) => false,
                };
                Some((!is_null).then(|| value.clone()))
            })
            .collect()
    }

    fn binary<'r>(&self, row: &'r [u8]) -> Option<Vec<Value<'r>>> {
        let count = i16::from_be_bytes(*row.first_chunk::<2>()?);
        let mut fields: Vec<Option<&[u8]>> = Vec::with_capacity(self.last + 1);
        let mut at = 2;
        for _ in 0..count {
            if fields.len() > self.last {
                break;
            }
            let length = be32(row.get(at..at + 4)?) as i32;
            at += 4;
            fields.push(match usize::try_from(length) {
                Ok(length) => {
                    let value = row.get(at..at + length)?;
                    at += length;
                    Some(value)
                }
                Err(_) => None,
            });
        }
        self.key
            .iter()
            .map(|key| Some(fields.get(key.position)?.map(Cow::Borrowed)))
            .collect()
    }
}

fn without_end(row: &[u8]) -> &[u8] {
    let row = row.strip_suffix(b"\n").unwrap_or(row);
    row.strip_suffix(b"\r").unwrap_or(row)
}

/// A field of CSV that has quotes, and its length in the row. `None`: a quote is not closed.
fn quoted(row: &[u8], delimiter: u8, quote: u8, escape: u8) -> Option<(Vec<u8>, usize)> {
    let mut value = Vec::new();
    let mut at = 0;
    loop {
        // Outside quotes.
        match row.get(at) {
            None => return Some((value, at)),
            Some(&byte) if byte == delimiter => return Some((value, at)),
            Some(&byte) if byte == quote => at += 1,
            Some(&byte) => {
                value.push(byte);
                at += 1;
                continue;
            }
        }
        // Within.
        loop {
            let byte = *row.get(at)?;
            at += 1;
            if byte == escape
                && let Some(&next) = row.get(at)
                && (next == escape || next == quote)
            {
                value.push(next);
                at += 1;
            } else if byte == quote {
                break;
            } else {
                value.push(byte);
            }
        }
    }
}

/// A field of text without its backslashes.
fn unescaped(raw: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', raw) else {
        return Cow::Borrowed(raw);
    };
    let mut value = raw[..first].to_vec();
    let mut rest = &raw[first..];
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let (b'\\', [next, after @ ..]) = (*byte, tail) else {
            value.push(*byte);
            continue;
        };
        rest = after;
        let digits = |most: usize, is_digit: fn(&u8) -> bool, from: &[u8]| {
            from.iter()
                .take(most)
                .take_while(|byte| is_digit(byte))
                .count()
        };
        match *next {
            b'b' => value.push(8),
            b'f' => value.push(12),
            b'n' => value.push(b'\n'),
            b'r' => value.push(b'\r'),
            b't' => value.push(b'\t'),
            b'v' => value.push(11),
            b'0'..=b'7' => {
                let count = digits(3, |byte| (b'0'..=b'7').contains(byte), tail);
                value.push(number(&tail[..count], 8));
                rest = &tail[count..];
            }
            b'x' if after.first().is_some_and(u8::is_ascii_hexdigit) => {
                let count = digits(2, u8::is_ascii_hexdigit, after);
                value.push(number(&after[..count], 16));
                rest = &after[count..];
            }
            other => value.push(other),
        }
    }
    Cow::Owned(value)
}

/// As PostgreSQL does, without what does not fit a byte.
fn number(digits: &[u8], radix: u32) -> u8 {
    let digits = digits
        .iter()
        .filter_map(|byte| char::from(*byte).to_digit(radix));
    (digits.fold(0, |so_far, digit| so_far * radix + digit) & 0xff) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use catalog::KeyType;

    fn key(position: usize) -> LoadKey {
        LoadKey {
            position,
            key_type: KeyType::Text,
            type_oid: 25,
            type_modifier: -1,
            force_null: false,
            force_not_null: false,
        }
    }

    fn read(format: &LoadFormat, position: usize, row: &[u8]) -> Option<Option<String>> {
        let key = [key(position)];
        let values = Fields::new(format, &key).key(row)?;
        let text = |value: &Cow<'_, [u8]>| String::from_utf8_lossy(value).into_owned();
        Some(values[0].as_ref().map(text))
    }

    fn some(text: &str) -> Option<Option<String>> {
        Some(Some(text.to_owned()))
    }

    #[test]
    fn fields_of_text() {
        let format = LoadFormat::Text {
            delimiter: b'\t',
            null: "\\N".into(),
        };
        let row = b"a\\tb\t\\N\t\\x41\\102\\\\\\q\t\t\\\t-\tlast\r\n";
        assert_eq!(read(&format, 0, row), some("a\tb"));
        assert_eq!(read(&format, 1, row), Some(None));
        assert_eq!(read(&format, 2, row), some("AB\\q"));
        assert_eq!(read(&format, 3, row), some(""));
        assert_eq!(read(&format, 4, row), some("\t-"));
        assert_eq!(read(&format, 5, row), some("last"));
        assert_eq!(read(&format, 6, row), None);
    }

    #[test]
    fn fields_of_csv() {
        let format = LoadFormat::Csv {
            delimiter: b',',
            quote: b'"',
            escape: b'"',
            null: String::new(),
        };
        let row = b"a,,\"\",\"x,\"\"y\"\"\n\"z,\"open\"ed,last\n";
        assert_eq!(read(&format, 0, row), some("a"));
        assert_eq!(read(&format, 1, row), Some(None));
        assert_eq!(read(&format, 2, row), some(""));
        assert_eq!(read(&format, 3, row), some("x,\"y\"\nz"));
        assert_eq!(read(&format, 4, row), some("opened"));
        assert_eq!(read(&format, 5, row), some("last"));
        assert_eq!(read(&format, 6, row), None);
        assert_eq!(read(&format, 0, b"\"never"), None);
    }
}
