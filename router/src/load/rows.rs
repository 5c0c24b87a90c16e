//! Where rows end. State is kept between pieces of data, so that a long row is looked at once.

use planner::LoadFormat;

/// What ends a line, as the first line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Newline,
    Return,
    Both,
}

/// The signature of binary data.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Signature, flags and the length of what follows them.
const BINARY_HEADER_BYTES: usize = 19;

/// One piece of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A row of so many bytes, with its end, on so many lines.
    Row { length: usize, lines: u64 },
    /// Bytes that all servers need: a header, the end of the data, or what is no row at all.
    ForAll { length: usize, lines: u64 },
    /// Bytes after the end of the data.
    Beyond { length: usize },
}

/// Cuts data into rows.
#[derive(Debug)]
pub struct Rows {
    format: LoadFormat,
    ending: Option<Ending>,
    /// A header is still to come.
    header: bool,
    /// The data have ended, or cannot be cut any more.
    over: bool,
    /// So many bytes of the row at hand have been looked at.
    scanned: usize,
    quoted: bool,
    escaped: bool,
    /// The row at hand holds the mark of the end, after which PostgreSQL reads no more.
    marked: bool,
    /// Ends of lines within the row at hand.
    inner_lines: u64,
}

impl Rows {
    pub fn new(format: LoadFormat, header: bool) -> Self {
        let header = header || format == LoadFormat::Binary;
        Self {
            format,
            ending: None,
            header,
            over: false,
            scanned: 0,
            quoted: false,
            escaped: false,
            marked: false,
            inner_lines: 0,
        }
    }

    /// The first piece of `data`, which begins where the piece before has ended. `finished`: no more data come. `None`: the
    /// piece is not complete yet, or there are no data.
    pub fn next(&mut self, data: &[u8], finished: bool) -> Option<Piece> {
        if data.is_empty() {
            return None;
        }
        if self.over {
            let length = data.len();
            return Some(match self.format {
                LoadFormat::Binary => Piece::ForAll { length, lines: 0 },
                _ => Piece::Beyond { length },
            });
        }
        if self.format == LoadFormat::Binary {
            return self.next_binary(data, finished);
        }
        let found = match self.format {
            LoadFormat::Csv { quote, escape, .. } => self.csv_end(data, quote, escape, finished),
            _ => self.text_end(data, finished),
        };
        let length = match found {
            Some(length) => length,
            None if finished => data.len(),
            None => return None,
        };
        let lines = 1 + std::mem::take(&mut self.inner_lines);
        (self.scanned, self.quoted, self.escaped) = (0, false, false);
        if std::mem::take(&mut self.header) {
            return Some(Piece::ForAll { length, lines });
        }
        let line = &data[..length];
        if line.starts_with(b"\\.") && matches!(line[2..], [] | [b'\n'] | [b'\r'] | [b'\r', b'\n'])
        {
            self.over = true;
            return Some(Piece::ForAll { length, lines });
        }
        self.over = std::mem::take(&mut self.marked);
        Some(Piece::Row { length, lines })
    }

    /// A backslash takes the byte after it out of consideration.
    fn text_end(&mut self, data: &[u8], finished: bool) -> Option<usize> {
        loop {
            let rest = data.get(self.scanned..)?;
            let Some(found) = memchr::memchr3(b'\n', b'\r', b'\\', rest) else {
                self.scanned = data.len();
                return None;
            };
            let at = self.scanned + found;
            if data[at] == b'\\' {
                if at + 1 >= data.len() {
                    self.scanned = at;
                    return None;
                }
                self.marked |= data[at + 1] == b'.';
                self.scanned = at + 2;
                continue;
            }
            match self.line_end(data, at, finished) {
                End::Here(end) => return Some(end),
                End::Unknown => {
                    self.scanned = at;
                    return None;
                }
                End::Nowhere => self.scanned = at + 1,
            }
        }
    }

    /// Within quotes lines go on.
    fn csv_end(&mut self, data: &[u8], quote: u8, escape: u8, finished: bool) -> Option<usize> {
        while let Some(&byte) = data.get(self.scanned) {
            let at = self.scanned;
            if self.quoted && byte == escape {
                self.escaped = !self.escaped;
            }
            if byte == quote && !(self.escaped && escape != quote) {
                self.quoted = !self.quoted;
            }
            if byte != escape {
                self.escaped = false;
            }
            if self.quoted {
                let counted = match self.ending {
                    Some(Ending::Newline) => b'\n',
                    _ => b'\r',
                };
                self.inner_lines += u64::from(byte == counted);
            } else if byte == b'\n' || byte == b'\r' {
                match self.line_end(data, at, finished) {
                    End::Here(end) => return Some(end),
                    End::Unknown => return None,
                    End::Nowhere => {}
                }
            }
            self.scanned += 1;
            if !self.quoted {
                let rest = &data[self.scanned..];
                let plain = memchr::memchr3(quote, b'\n', b'\r', rest).unwrap_or(rest.len());
                // Outside quotes an escape means nothing.
                self.scanned += plain;
            }
        }
        None
    }

    /// What a newline or return at this place is.
    fn line_end(&mut self, data: &[u8], at: usize, finished: bool) -> End {
        match (data[at], self.ending) {
            (b'\n', Some(Ending::Return)) => End::Nowhere,
            (b'\n', _) => {
                self.ending.get_or_insert(Ending::Newline);
                End::Here(at + 1)
            }
            (_, Some(Ending::Newline | Ending::Both)) => End::Nowhere,
            (_, Some(Ending::Return)) => End::Here(at + 1),
            (_, None) => match data.get(at + 1) {
                Some(b'\n') => {
                    self.ending = Some(Ending::Both);
                    End::Here(at + 2)
                }
                Some(_) => {
                    self.ending = Some(Ending::Return);
                    End::Here(at + 1)
                }
                None if finished => End::Here(at + 1),
                None => End::Unknown,
            },
        }
    }

    fn next_binary(&mut self, data: &[u8], finished: bool) -> Option<Piece> {
        let whole = Some(Piece::ForAll {
            length: data.len(),
            lines: 0,
        });
        if self.header {
            let length = match data.get(..BINARY_HEADER_BYTES) {
                Some(header) if header.starts_with(SIGNATURE) => {
                    let extension = be32(&header[15..]);
                    BINARY_HEADER_BYTES.saturating_add(extension as usize)
                }
                Some(_) => {
                    self.over = true;
                    return whole;
                }
                None if finished => return whole,
                None => return None,
            };
            if data.len() < length {
                return if finished { whole } else { None };
            }
            self.header = false;
            return Some(Piece::ForAll { length, lines: 0 });
        }
        match binary_length(data, &mut self.scanned) {
            Some(2) if data.starts_with(&[0xff, 0xff]) => {
                self.over = true;
                Some(Piece::ForAll {
                    length: 2,
                    lines: 0,
                })
            }
            Some(length) => {
                self.scanned = 0;
                Some(Piece::Row { length, lines: 1 })
            }
            None if finished => Some(Piece::Row {
                length: data.len(),
                lines: 1,
            }),
            None => None,
        }
    }
}

enum End {
    Here(usize),
    /// It depends on the byte that comes next.
    Unknown,
    Nowhere,
}

pub(super) fn be32(bytes: &[u8]) -> u32 {
    match bytes.first_chunk::<4>() {
        Some(bytes) => u32::from_be_bytes(*bytes),
        None => 0,
    }
}

/// The length of a tuple in binary; `None`: it is not complete. `known`: so many bytes are whole fields, after the count.
fn binary_length(data: &[u8], known: &mut usize) -> Option<usize> {
    let count = i16::from_be_bytes(*data.first_chunk::<2>()?);
    if count <= 0 {
        return Some(2);
    }
    // Long tuples are rare: fields are counted from the first each time, but only their lengths are looked at.
    let mut at = 2;
    for _ in 0..count {
        let length = be32(data.get(at..at + 4)?) as i32;
        at += 4 + usize::try_from(length).unwrap_or(0);
    }
    *known = at;
    (at <= data.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of data that come in pieces of this size.
    fn cut(
        format: &LoadFormat,
        header: bool,
        data: &[u8],
        size: usize,
    ) -> Vec<(bool, Vec<u8>, u64)> {
        let mut rows = Rows::new(format.clone(), header);
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        let mut chunks = data.chunks(size).peekable();
        while let Some(chunk) = chunks.next() {
            buffer.extend_from_slice(chunk);
            let finished = chunks.peek().is_none();
            while let Some(piece) = rows.next(&buffer, finished) {
                let (is_row, length, lines) = match piece {
                    Piece::Row { length, lines } => (true, length, lines),
                    Piece::ForAll { length, lines } => (false, length, lines),
                    Piece::Beyond { length } => (false, length, 0),
                };
                found.push((is_row, buffer.drain(..length).collect(), lines));
            }
        }
        assert!(buffer.is_empty());
        found
    }

    fn text() -> LoadFormat {
        LoadFormat::Text {
            delimiter: b'\t',
            null: "\\N".into(),
        }
    }

    fn csv(escape: u8) -> LoadFormat {
        LoadFormat::Csv {
            delimiter: b',',
            quote: b'"',
            escape,
            null: String::new(),
        }
    }

    fn row(text: &str, lines: u64) -> (bool, Vec<u8>, u64) {
        (true, text.into(), lines)
    }

    #[test]
    fn rows_are_found_however_the_data_come() {
        for size in 1..30 {
            assert_eq!(
                cut(&text(), false, b"1\ta\n2\tb\\\nc\\\\\n\n3", size),
                [
                    row("1\ta\n", 1),
                    row("2\tb\\\nc\\\\\n", 1),
                    row("\n", 1),
                    row("3", 1)
                ]
            );
            assert_eq!(
                cut(&text(), false, b"1\r\n2\r\n3\r\n", size),
                [row("1\r\n", 1), row("2\r\n", 1), row("3\r\n", 1)]
            );
            assert_eq!(
                cut(&text(), false, b"1\r2\r3", size),
                [row("1\r", 1), row("2\r", 1), row("3", 1)]
            );
            assert_eq!(
                cut(&csv(b'"'), true, b"a,b\n1,\"x\n\"\"y\"\n2,z\n", size),
                [
                    (false, b"a,b\n".to_vec(), 1),
                    row("1,\"x\n\"\"y\"\n", 2),
                    row("2,z\n", 1)
                ]
            );
            assert_eq!(
                cut(&csv(b'\\'), false, b"1,\"x\\\"\n\\\\\"\n2,\\\n", size),
                [row("1,\"x\\\"\n\\\\\"\n", 1), row("2,\\\n", 1)]
            );
        }
        let ended = cut(&text(), false, b"1\n\\.\n2\n", 100);
        assert_eq!(
            ended,
            [
                row("1\n", 1),
                (false, b"\\.\n".to_vec(), 1),
                (false, b"2\n".to_vec(), 0)
            ]
        );
    }

    #[test]
    fn tuples_are_found() {
        let mut data = [SIGNATURE, &[0, 0, 0, 0, 0, 0, 0, 2, 9, 9]].concat();
        let tuple = [0, 2, 0, 0, 0, 1, 7, 0xff, 0xff, 0xff, 0xff];
        data.extend_from_slice(&tuple);
        data.extend_from_slice(&tuple);
        data.extend_from_slice(&[0xff, 0xff]);
        for size in 1..40 {
            let found = cut(&LoadFormat::Binary, false, &data, size);
            let shape: Vec<(bool, usize)> =
                found.iter().map(|(row, b, _)| (*row, b.len())).collect();
            assert_eq!(shape, [(false, 21), (true, 11), (true, 11), (false, 2)]);
        }
    }
}
