//! Reading what clients send, borrowed from the message.

use bytes::{BufMut, BytesMut};

use super::{ProtocolError, Reader};

/// Query.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    pub sql: &'a [u8],
}

pub fn parse_query(body: &[u8]) -> Result<Query<'_>, ProtocolError> {
    let mut reader = Reader(body);
    let sql = reader.string()?;
    reader.end()?;
    Ok(Query { sql })
}

/// Parse.
#[derive(Clone, Copy, Debug)]
pub struct Parse<'a> {
    pub name: &'a [u8],
    pub sql: &'a [u8],
    types: &'a [u8],
}

impl Parse<'_> {
    /// The declared types; 0 leaves a type to the server.
    pub fn parameter_types(&self) -> impl Iterator<Item = u32> + '_ {
        self.types
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| u32::from_be_bytes(*bytes))
    }
}

pub fn parse_parse(body: &[u8]) -> Result<Parse<'_>, ProtocolError> {
    let mut reader = Reader(body);
    let name = reader.string()?;
    let sql = reader.string()?;
    let count = usize::from(reader.u16()?);
    let types = reader.bytes(count * 4)?;
    reader.end()?;
    Ok(Parse { name, sql, types })
}

/// Bind. Parameter values are found when asked for.
#[derive(Clone, Copy, Debug)]
pub struct Bind<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    formats: &'a [u8],
    parameter_count: usize,
    parameters: &'a [u8],
    result_formats: &'a [u8],
    /// Everything after the statement's name.
    rest: &'a [u8],
}

impl<'a> Bind<'a> {
    /// Parameter `index` from 0. The outer `None`: there is no such parameter; the inner: NULL.
    pub fn parameter(&self, index: u16) -> Option<Option<&'a [u8]>> {
        let index = usize::from(index);
        if index >= self.parameter_count {
            return None;
        }
        let mut reader = Reader(self.parameters);
        for _ in 0..index {
            reader.value().ok()?;
        }
        reader.value().ok()
    }

    /// How many parameters there are.
    pub fn parameter_count(&self) -> usize {
        self.parameter_count
    }

    /// All parameters, in order.
    pub fn values(&self) -> Vec<Option<&'a [u8]>> {
        let mut reader = Reader(self.parameters);
        (0..self.parameter_count)
            .map_while(|_| reader.value().ok())
            .collect()
    }

    pub fn parameter_is_binary(&self, index: u16) -> bool {
        let formats = self.formats.as_chunks::<2>().0;
        let format = match formats {
            [] => return false,
            [all] => all,
            each => match each.get(usize::from(index)) {
                Some(format) => format,
                None => return false,
            },
        };
        u16::from_be_bytes(*format) == 1
    }

    /// The format of result column `index`: 0 text, 1 binary.
    pub fn result_format(&self, index: usize) -> i16 {
        let formats = self.result_formats.as_chunks::<2>().0;
        match formats {
            [] => 0,
            [all] => i16::from_be_bytes(*all),
            each => each
                .get(index)
                .map_or(0, |format| i16::from_be_bytes(*format)),
        }
    }

    /// Whether all columns are asked for in binary, by one format for all.
    pub fn is_all_binary(&self) -> bool {
        self.result_formats == [0, 1]
    }

    /// Whether another message asks for the same formats.
    pub fn has_formats_of(&self, other: &Bind<'_>) -> bool {
        let told = |bind: &Bind<'_>| bind.result_formats.len() / 2;
        (0..told(self).max(told(other)).max(1))
            .all(|column| self.result_format(column) == other.result_format(column))
    }
}

pub fn parse_bind(body: &[u8]) -> Result<Bind<'_>, ProtocolError> {
    let mut reader = Reader(body);
    let portal = reader.string()?;
    let statement = reader.string()?;
    let rest = reader.0;
    let format_count = usize::from(reader.u16()?);
    let formats = reader.bytes(format_count * 2)?;
    let parameter_count = usize::from(reader.u16()?);
    if format_count > 1 && format_count != parameter_count {
        return Err(ProtocolError::Other(format!(
            "bind message has {format_count} parameter formats but {parameter_count} parameters"
        )));
    }
    let start = reader.0;
    for _ in 0..parameter_count {
        reader.value()?;
    }
    let parameters = &start[..start.len() - reader.0.len()];
    let result_count = usize::from(reader.u16()?);
    let result_formats = reader.bytes(result_count * 2)?;
    reader.end()?;
    Ok(Bind {
        portal,
        statement,
        formats,
        parameter_count,
        parameters,
        result_formats,
        rest,
    })
}

/// Writes the message again with another statement's name.
pub fn rewrite_bind(out: &mut BytesMut, bind: &Bind<'_>, statement: &[u8]) {
    let length = 4 + bind.portal.len() + 1 + statement.len() + 1 + bind.rest.len();
    out.reserve(1 + length);
    out.put_u8(b'B');
    out.put_u32(length as u32);
    out.put_slice(bind.portal);
    out.put_u8(0);
    out.put_slice(statement);
    out.put_u8(0);
    out.put_slice(bind.rest);
}

/// A Bind message for the unnamed portal and statement. `values`: whether each is binary, and its bytes if it is not NULL;
/// `results`: whether each column is to come in binary, none for text.
pub fn bind_message(values: &[(bool, Option<&[u8]>)], results: &[bool]) -> Vec<u8> {
    let mut out = vec![b'B', 0, 0, 0, 0, 0, 0];
    // Counts of 16 bits, and lengths that came in a message: PostgreSQL knows no more.
    out.put_u16(values.len() as u16);
    for (is_binary, _) in values {
        out.put_u16(u16::from(*is_binary));
    }
    out.put_u16(values.len() as u16);
    for (_, value) in values {
        match value {
            None => out.put_i32(-1),
            Some(bytes) => {
                out.put_u32(bytes.len() as u32);
                out.put_slice(bytes);
            }
        }
    }
    out.put_u16(results.len() as u16);
    for is_binary in results {
        out.put_u16(u16::from(*is_binary));
    }
    let length = (out.len() - 1) as u32;
    out[1..5].copy_from_slice(&length.to_be_bytes());
    out
}

/// A Bind message with the values of another one, or with none, and all columns in one format.
pub fn bind_with_format(values: Option<&Bind<'_>>, format: i16) -> Vec<u8> {
    bind_with_formats(values, &format.to_be_bytes())
}

/// A Bind message with the values of another one, and the columns in the formats that the client wants.
pub fn bind_values_of(values: &Bind<'_>, client: &Bind<'_>) -> Vec<u8> {
    bind_with_formats(Some(values), client.result_formats)
}

fn bind_with_formats(values: Option<&Bind<'_>>, results: &[u8]) -> Vec<u8> {
    let formats = values.map_or(&[][..], |bind| bind.formats);
    let parameters = values.map_or(&[][..], |bind| bind.parameters);
    let count = values.map_or(0, |bind| bind.parameter_count);
    let mut out = vec![b'B', 0, 0, 0, 0, 0, 0];
    // Counts of 16 bits: they came in such a message.
    out.put_u16((formats.len() / 2) as u16);
    out.put_slice(formats);
    out.put_u16(count as u16);
    out.put_slice(parameters);
    out.put_u16((results.len() / 2) as u16);
    out.put_slice(results);
    let length = (out.len() - 1) as u32;
    out[1..5].copy_from_slice(&length.to_be_bytes());
    out
}

/// What a shard is sent in place of a client's Bind.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardBind<'a> {
    /// A further parameter, as text: the time of the transaction.
    pub moment: Option<&'a str>,
    /// A further parameter, of type bigint: `Some(None)` is NULL.
    pub limit: Option<Option<i64>>,
    /// Further parameters, in binary.
    pub values: &'a [Vec<u8>],
    /// A last parameter, as text: the rows that are meant.
    pub rows: Option<&'a str>,
    /// So many columns, in binary, come before the client's.
    pub hidden: u16,
    /// How many columns the client's are, if any are hidden.
    pub columns: u16,
}

impl ShardBind<'_> {
    /// Writes the message. `client`: none has been sent, by a simple query.
    pub fn write(
        &self,
        out: &mut BytesMut,
        portal: &[u8],
        client: Option<&Bind<'_>>,
        statement: &[u8],
    ) {
        let start = out.len();
        out.put_u8(b'B');
        out.put_u32(0);
        out.put_slice(portal);
        out.put_u8(0);
        out.put_slice(statement);
        out.put_u8(0);
        let parameters = client.map_or(0, |client| client.parameter_count);
        let total = parameters
            + usize::from(self.moment.is_some())
            + usize::from(self.limit.is_some())
            + self.values.len()
            + usize::from(self.rows.is_some());
        // Counts of 16 bits: the planner gives no statement more parameters.
        out.put_u16(total as u16);
        for index in 0..parameters {
            let is_binary = client.is_some_and(|client| client.parameter_is_binary(index as u16));
            out.put_u16(u16::from(is_binary));
        }
        if self.moment.is_some() {
            out.put_u16(0);
        }
        for _ in 0..usize::from(self.limit.is_some()) + self.values.len() {
            out.put_u16(1);
        }
        if self.rows.is_some() {
            out.put_u16(0);
        }
        out.put_u16(total as u16);
        if let Some(client) = client {
            out.put_slice(client.parameters);
        }
        if let Some(moment) = self.moment {
            out.put_u32(moment.len() as u32);
            out.put_slice(moment.as_bytes());
        }
        match self.limit {
            None => {}
            Some(None) => out.put_i32(-1),
            Some(Some(rows)) => {
                out.put_i32(8);
                out.put_i64(rows);
            }
        }
        for value in self.values {
            out.put_u32(value.len() as u32);
            out.put_slice(value);
        }
        if let Some(rows) = self.rows {
            out.put_u32(rows.len() as u32);
            out.put_slice(rows.as_bytes());
        }
        let formats = client.map_or(&[][..], |client| client.result_formats);
        if self.hidden == 0 {
            out.put_u16((formats.len() / 2) as u16);
            out.put_slice(formats);
        } else {
            out.put_u16(self.hidden.saturating_add(self.columns));
            for _ in 0..self.hidden {
                out.put_u16(1);
            }
            for index in 0..self.columns {
                out.put_i16(client.map_or(0, |client| client.result_format(usize::from(index))));
            }
        }
        let length = (out.len() - start - 1) as u32;
        out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
    }
}

/// Writes a Bind message for the unnamed portal with some of the client's values. `parameters`: which, from 0; `None` is the time
/// of the transaction, as text. `hidden`: so many columns come before the client's, as text unless all columns are binary.
pub fn bind_selected(
    out: &mut BytesMut,
    client: Option<&Bind<'_>>,
    statement: &[u8],
    parameters: &[Option<u16>],
    moment: Option<&str>,
    hidden: u16,
) {
    let values: Vec<Option<&[u8]>> = client.map_or(Vec::new(), Bind::values);
    let start = out.len();
    out.put_u8(b'B');
    out.put_u32(0);
    out.put_u8(0);
    out.put_slice(statement);
    out.put_u8(0);
    // Counts of 16 bits: there are no more parameters than the planner counts.
    out.put_u16(parameters.len() as u16);
    for parameter in parameters {
        let is_binary = match (client, parameter) {
            (Some(client), Some(index)) => client.parameter_is_binary(*index),
            _ => false,
        };
        out.put_u16(u16::from(is_binary));
    }
    out.put_u16(parameters.len() as u16);
    for parameter in parameters {
        let value = match parameter {
            Some(index) => values.get(usize::from(*index)).copied().flatten(),
            None => moment.map(str::as_bytes),
        };
        match value {
            None => out.put_i32(-1),
            Some(bytes) => {
                out.put_u32(bytes.len() as u32);
                out.put_slice(bytes);
            }
        }
    }
    let formats = client.map_or(&[][..], |client| client.result_formats);
    let count = (formats.len() / 2) as u16;
    // One format, or none, is that of all columns.
    let more = if count > 1 { hidden } else { 0 };
    out.put_u16(count.saturating_add(more));
    for _ in 0..more {
        out.put_u16(0);
    }
    out.put_slice(formats);
    let length = (out.len() - start - 1) as u32;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
}

/// Describe or Close: of a statement (`S`) or a portal (`P`).
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    pub kind: u8,
    pub name: &'a [u8],
}

pub fn parse_describe(body: &[u8]) -> Result<Named<'_>, ProtocolError> {
    parse_named(body, "DESCRIBE")
}

pub fn parse_close(body: &[u8]) -> Result<Named<'_>, ProtocolError> {
    parse_named(body, "CLOSE")
}

fn parse_named<'a>(body: &'a [u8], message: &str) -> Result<Named<'a>, ProtocolError> {
    let mut reader = Reader(body);
    let kind = reader.u8()?;
    let name = reader.string()?;
    reader.end()?;
    if !matches!(kind, b'S' | b'P') {
        return Err(ProtocolError::Other(format!(
            "invalid {message} message subtype {kind}"
        )));
    }
    Ok(Named { kind, name })
}

/// Execute.
#[derive(Clone, Copy, Debug)]
pub struct Execute<'a> {
    pub portal: &'a [u8],
    /// 0: all rows.
    pub max_rows: i32,
}

pub fn parse_execute(body: &[u8]) -> Result<Execute<'_>, ProtocolError> {
    let mut reader = Reader(body);
    let portal = reader.string()?;
    let max_rows = reader.i32()?;
    reader.end()?;
    Ok(Execute { portal, max_rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIND: &[u8] = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\x01";

    #[test]
    fn a_bind_is_read_and_written_again() {
        let bind = parse_bind(BIND).unwrap();
        assert_eq!((bind.portal, bind.statement), (&b"p"[..], &b"s"[..]));
        assert_eq!(bind.parameter(0), Some(Some(&b"ab"[..])));
        assert_eq!(bind.parameter(1), Some(None));
        assert_eq!(bind.parameter(2), None);
        assert!(bind.parameter_is_binary(1));
        assert_eq!(bind.result_format(5), 1);
        let mut out = BytesMut::new();
        rewrite_bind(&mut out, &bind, b"other");
        let again = parse_bind(&out[5..]).unwrap();
        assert_eq!(again.statement, b"other");
        assert_eq!(again.rest, bind.rest);
        assert_eq!(super::super::frame::total_length(&out), Some(out.len()));
    }

    #[test]
    fn every_truncation_and_extension_is_refused() {
        for end in 0..BIND.len() {
            assert!(parse_bind(&BIND[..end]).is_err(), "{end}");
        }
        assert!(parse_bind(&[BIND, b"x"].concat()).is_err());
        assert!(parse_query(b"SELECT 1").is_err());
        assert!(parse_query(b"SELECT 1\0\0").is_err());
        assert!(parse_parse(b"\0SELECT\0\0\x01\0\0\0").is_err());
        assert!(parse_describe(b"X\0").is_err());
        assert!(parse_execute(b"\0\0\0\0").is_err());
    }
}
