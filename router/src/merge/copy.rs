//! Rows as COPY writes them: text, CSV and binary, byte for byte as PostgreSQL (`CopyAttributeOutText` and `CopyAttributeOutCSV` of
//! `src/backend/commands/copyto.c`), for client encodings whose characters hold no ASCII bytes.
//!
//! Entry points: [`CopyWriter::begin`], [`CopyWriter::row`] and [`CopyWriter::end`], each of which appends whole CopyData messages.

use bytes::{BufMut, BytesMut};
use planner::{CopyFormat, CopyKind, ForceQuote};

use super::Malformed;

/// The header of binary COPY: signature, no flags, no extension.
pub const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What ends binary COPY: no number of columns.
pub const BINARY_END: &[u8] = &[0xff, 0xff];

/// Writes the rows of one result.
#[derive(Debug)]
pub struct CopyWriter {
    format: CopyFormat,
    /// Which columns are quoted in any case.
    forced: Vec<bool>,
    /// What begins binary data, until it has gone with the first of them.
    header: &'static [u8],
}

impl CopyWriter {
    /// `names` of the columns. `Err`: one that is to be quoted is none of them.
    pub fn new(format: &CopyFormat, names: &[&[u8]]) -> Result<CopyWriter, String> {
        let forced = match &format.force_quote {
            ForceQuote::All => vec![true; names.len()],
            ForceQuote::Columns(columns) => {
                let unknown = |column: &&String| !names.contains(&column.as_bytes());
                if let Some(column) = columns.iter().find(unknown) {
                    return Err(column.clone());
                }
                let is_named =
                    |name: &&[u8]| columns.iter().any(|column| column.as_bytes() == *name);
                names.iter().map(is_named).collect()
            }
        };
        Ok(CopyWriter {
            format: format.clone(),
            forced,
            header: match format.kind {
                CopyKind::Binary => BINARY_HEADER,
                CopyKind::Text | CopyKind::Csv => b"",
            },
        })
    }

    /// CopyOutResponse and what comes before all rows.
    pub fn begin(&self, names: &[&[u8]], out: &mut BytesMut) {
        let is_binary = self.format.kind == CopyKind::Binary;
        let response = open_message(out, b'H');
        out.put_u8(u8::from(is_binary));
        out.put_u16(names.len() as u16);
        for _ in names {
            out.put_u16(u16::from(is_binary));
        }
        close_message(out, response);
        if self.format.header && !is_binary {
            let data = open_message(out, b'd');
            for (index, name) in names.iter().enumerate() {
                self.value(index, name, false, names.len() == 1, out);
            }
            out.put_u8(b'\n');
            close_message(out, data);
        }
    }

    /// A DataRow's body without its first `hidden` columns.
    pub fn row(&mut self, body: &[u8], hidden: u16, out: &mut BytesMut) -> Result<(), Malformed> {
        let (count, mut rest) = body.split_first_chunk::<2>().ok_or(Malformed)?;
        let count = u16::from_be_bytes(*count);
        let shown = count.checked_sub(hidden).ok_or(Malformed)?;
        let data = open_message(out, b'd');
        out.put_slice(std::mem::take(&mut self.header));
        if self.format.kind == CopyKind::Binary {
            for _ in 0..hidden {
                rest = split(rest)?.1;
            }
            out.put_u16(shown);
            out.put_slice(rest);
            close_message(out, data);
            return Ok(());
        }
        for column in 0..count {
            let (value, after) = split(rest)?;
            rest = after;
            let Some(index) = column.checked_sub(hidden).map(usize::from) else {
                continue;
            };
            match value {
                Some(value) => {
                    let force = self.forced.get(index).is_some_and(|forced| *forced);
                    self.value(index, value, force, shown == 1, out);
                }
                None => {
                    self.delimit(index, out);
                    out.put_slice(self.format.null.as_bytes());
                }
            }
        }
        out.put_u8(b'\n');
        close_message(out, data);
        Ok(())
    }

    /// What comes after all rows; CopyDone included.
    pub fn end(&self, out: &mut BytesMut) {
        if self.format.kind == CopyKind::Binary {
            let data = open_message(out, b'd');
            out.put_slice(self.header);
            out.put_slice(BINARY_END);
            close_message(out, data);
        }
        let done = open_message(out, b'c');
        close_message(out, done);
    }

    fn delimit(&self, index: usize, out: &mut BytesMut) {
        if index > 0 {
            out.put_u8(self.format.delimiter);
        }
    }

    fn value(&self, index: usize, value: &[u8], force: bool, is_only: bool, out: &mut BytesMut) {
        self.delimit(index, out);
        if self.format.kind == CopyKind::Csv {
            self.csv(value, force, is_only, out);
        } else {
            self.text(value, out);
        }
    }

    fn text(&self, value: &[u8], out: &mut BytesMut) {
        for &byte in value {
            let letter = match byte {
                0x08 => b'b',
                0x0c => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x0b => b'v',
                b'\\' => b'\\',
                byte if byte == self.format.delimiter => byte,
                byte => {
                    out.put_u8(byte);
                    continue;
                }
            };
            out.put_slice(&[b'\\', letter]);
        }
    }

    fn csv(&self, value: &[u8], force: bool, is_only: bool, out: &mut BytesMut) {
        let CopyFormat {
            delimiter,
            quote,
            escape,
            ..
        } = self.format;
        let is_special =
            |byte: &u8| *byte == delimiter || *byte == quote || matches!(byte, b'\n' | b'\r');
        let is_quoted = force
            || value == self.format.null.as_bytes()
            // What ends data in a file.
            || is_only && value == b"\\."
            || value.iter().any(is_special);
        if !is_quoted {
            out.put_slice(value);
            return;
        }
        out.put_u8(quote);
        for &byte in value {
            if byte == quote || byte == escape {
                out.put_u8(escape);
            }
            out.put_u8(byte);
        }
        out.put_u8(quote);
    }
}

/// The first value and what comes after it.
fn split(cells: &[u8]) -> Result<(Option<&[u8]>, &[u8]), Malformed> {
    let (length, rest) = cells.split_first_chunk::<4>().ok_or(Malformed)?;
    match usize::try_from(i32::from_be_bytes(*length)) {
        Ok(length) => {
            let (value, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
            Ok((Some(value), rest))
        }
        Err(_) => Ok((None, rest)),
    }
}

/// Begins a message; gives the place of its length.
fn open_message(out: &mut BytesMut, tag: u8) -> usize {
    out.put_u8(tag);
    out.put_u32(0);
    out.len() - 4
}

fn close_message(out: &mut BytesMut, at: usize) {
    let length = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}
