//! Reading what servers send, as far as the router must.

use bytes::{BufMut, BytesMut};

use super::frame::total_length;
use super::{ProtocolError, Reader};

/// The fields of an ErrorResponse or NoticeResponse that the router looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorFields {
    pub severity: String,
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// In characters, from 1.
    pub position: Option<usize>,
}

/// The single-letter fields of an ErrorResponse's body, in order.
pub fn fields(body: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut reader = Reader(body);
    std::iter::from_fn(move || match reader.u8() {
        Ok(0) | Err(_) => None,
        Ok(code) => reader.string().ok().map(|text| (code, text)),
    })
}

/// The SQLSTATE of an ErrorResponse's body.
pub fn sqlstate(body: &[u8]) -> Option<[u8; 5]> {
    fields(body)
        .find(|(code, _)| *code == b'C')
        .and_then(|(_, text)| text.try_into().ok())
}

/// Whether the server closes the connection after this error.
pub fn is_fatal(body: &[u8]) -> bool {
    fields(body).any(|(code, text)| code == b'V' && matches!(text, b"FATAL" | b"PANIC"))
}

/// The fields of an ErrorResponse's body as text.
pub fn error_fields(body: &[u8]) -> ErrorFields {
    let mut result = ErrorFields::default();
    for (code, text) in fields(body) {
        let text = String::from_utf8_lossy(text).into_owned();
        match code {
            b'S' => result.severity = text,
            b'C' => result.sqlstate = text,
            b'M' => result.message = text,
            b'D' => result.detail = Some(text),
            b'H' => result.hint = Some(text),
            b'P' => result.position = text.parse().ok(),
            _ => {}
        }
    }
    result
}

/// For rows that a placement guard refuses: nobody but this router knows the constraint.
const GUARD_HINT: &str = "The row's shard key is not the one that it was routed by: a trigger has changed it. Give the row the key that it is to have.";

/// Writes an ErrorResponse again with `context` added to its CONTEXT and its position moved by `position_offset`
/// characters. An error of a placement guard gets a hint.
pub fn rewrite_error(
    out: &mut BytesMut,
    body: &[u8],
    context: Option<&str>,
    position_offset: i32,
) -> Result<(), ProtocolError> {
    let start = out.len();
    out.put_u8(b'E');
    out.put_u32(0);
    let (mut seen_context, mut seen_hint, mut guarded) = (false, false, false);
    for (code, text) in fields(body) {
        out.put_u8(code);
        seen_hint |= code == b'H';
        guarded |= code == b'n' && text == catalog::GUARD.as_bytes();
        match (code, context) {
            (b'W', Some(context)) => {
                seen_context = true;
                out.put_slice(text);
                out.put_u8(b'\n');
                out.put_slice(context.as_bytes());
            }
            // It ends the server's session, not the client's.
            (b'S' | b'V', Some(_)) if matches!(text, b"FATAL" | b"PANIC") => {
                out.put_slice(b"ERROR")
            }
            (b'P', _) if position_offset != 0 => {
                let position = std::str::from_utf8(text)
                    .ok()
                    .and_then(|text| text.parse::<i32>().ok())
                    .ok_or(ProtocolError::InvalidFormat)?;
                let moved = position.saturating_add(position_offset);
                out.put_slice(moved.to_string().as_bytes());
            }
            _ => out.put_slice(text),
        }
        out.put_u8(0);
    }
    if let (Some(context), false) = (context, seen_context) {
        out.put_u8(b'W');
        out.put_slice(context.as_bytes());
        out.put_u8(0);
    }
    if guarded && !seen_hint {
        out.put_u8(b'H');
        out.put_slice(GUARD_HINT.as_bytes());
        out.put_u8(0);
    }
    out.put_u8(0);
    let length = (out.len() - start - 1) as u32;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Whole messages again, in which every ErrorResponse ends the session.
pub fn with_fatal_errors(mut messages: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(messages.len());
    while let Some(total) = total_length(messages).filter(|total| *total <= messages.len()) {
        let (message, rest) = messages.split_at(total);
        messages = rest;
        if message[0] != b'E' {
            out.put_slice(message);
            continue;
        }
        let start = out.len();
        out.put_slice(b"E\0\0\0\0");
        for (code, text) in fields(&message[5..]) {
            out.put_u8(code);
            out.put_slice(if matches!(code, b'S' | b'V') {
                b"FATAL"
            } else {
                text
            });
            out.put_u8(0);
        }
        out.put_u8(0);
        let length = (out.len() - start - 1) as u32;
        out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
    }
    out
}

/// Name and value of a ParameterStatus.
pub fn parse_parameter_status(body: &[u8]) -> Result<(&str, &str), ProtocolError> {
    let mut reader = Reader(body);
    let name = reader.string()?;
    let value = reader.string()?;
    reader.end()?;
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| ProtocolError::InvalidString);
    Ok((text(name)?, text(value)?))
}

/// The columns of a RowDescription's body: each name, and where in the body the 18 bytes after it begin (table, column
/// number, type, size, modifier, format).
pub fn columns(body: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut at = 2;
    std::iter::from_fn(move || {
        let rest = body.get(at..)?;
        let end = memchr::memchr(0, rest)?;
        let fixed = at + end + 1;
        at = fixed + COLUMN_BYTES;
        (at <= body.len()).then(|| (&rest[..end], fixed))
    })
}

const COLUMN_BYTES: usize = 18;

/// The type of a column whose fixed part begins there.
pub fn type_oid(body: &[u8], fixed: usize) -> u32 {
    body.get(fixed + 6..fixed + 10)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

/// Makes a RowDescription's columns come from the tables and columns that another says of them.
pub fn copy_origins(body: &mut [u8], from: &[u8]) {
    /// A table's number, and a column's in it.
    const ORIGIN_BYTES: usize = 6;
    let places: Vec<usize> = columns(body).map(|(_, fixed)| fixed).collect();
    for (place, (_, fixed)) in places.into_iter().zip(columns(from)) {
        body[place..place + ORIGIN_BYTES].copy_from_slice(&from[fixed..fixed + ORIGIN_BYTES]);
    }
}

/// The modifier of the type of a column whose fixed part begins there; -1: none.
pub fn type_modifier(body: &[u8], fixed: usize) -> i32 {
    body.get(fixed + 12..fixed + 16)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(-1, i32::from_be_bytes)
}

/// Writes a RowDescription without its first columns.
pub fn row_description_without(
    out: &mut BytesMut,
    body: &[u8],
    hidden: u16,
) -> Result<(), ProtocolError> {
    let short =
        || ProtocolError::Other("a server describes fewer columns than it was asked for".into());
    let count = body
        .first_chunk::<2>()
        .map(|count| u16::from_be_bytes(*count));
    let shown = count
        .and_then(|count| count.checked_sub(hidden))
        .ok_or_else(short)?;
    let start = match hidden.checked_sub(1) {
        None => 2,
        Some(last) => {
            let (_, fixed) = columns(body).nth(usize::from(last)).ok_or_else(short)?;
            fixed + COLUMN_BYTES
        }
    };
    let rest = body.get(start..).ok_or_else(short)?;
    out.extend_from_slice(b"T");
    out.extend_from_slice(&(4 + 2 + rest.len() as u32).to_be_bytes());
    out.extend_from_slice(&shown.to_be_bytes());
    out.extend_from_slice(rest);
    Ok(())
}

/// Gives every column of a whole RowDescription message its format.
pub fn set_formats(message: &mut [u8], format: impl Fn(usize) -> i16) {
    let Some((_, body)) = message.split_at_mut_checked(5) else {
        return;
    };
    let places: Vec<usize> = columns(body).map(|(_, fixed)| fixed).collect();
    for (column, fixed) in places.into_iter().enumerate() {
        body[fixed + COLUMN_BYTES - 2..fixed + COLUMN_BYTES]
            .copy_from_slice(&format(column).to_be_bytes());
    }
}

pub fn parse_backend_key_data(body: &[u8]) -> Result<(u32, &[u8]), ProtocolError> {
    let mut reader = Reader(body);
    let process_id = reader.u32()?;
    if reader.0.is_empty() || reader.0.len() > 256 {
        return Err(ProtocolError::InvalidFormat);
    }
    Ok((process_id, reader.0))
}

/// The text of a CommandComplete.
pub fn parse_command_complete(body: &[u8]) -> Result<&str, ProtocolError> {
    let mut reader = Reader(body);
    let tag = reader.string()?;
    reader.end()?;
    std::str::from_utf8(tag).map_err(|_| ProtocolError::InvalidString)
}

/// Writes a DataRow message again without its first columns.
pub fn data_row_without(
    out: &mut BytesMut,
    message: &[u8],
    hidden: u16,
) -> Result<(), ProtocolError> {
    if hidden == 0 {
        out.extend_from_slice(message);
        return Ok(());
    }
    let mut reader = Reader(message.get(5..).unwrap_or_default());
    let columns = reader.u16()?;
    for _ in 0..hidden {
        reader.value()?;
    }
    out.extend_from_slice(b"D");
    let length = u32::try_from(6 + reader.0.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&columns.saturating_sub(hidden).to_be_bytes());
    out.extend_from_slice(reader.0);
    Ok(())
}

/// The number of rows that the body of CommandComplete ends with; 0 if it names none.
pub fn rows_of_tag(body: &[u8]) -> u64 {
    let tag = parse_command_complete(body).unwrap_or_default();
    tag.rsplit(' ')
        .next()
        .and_then(|rows| rows.parse().ok())
        .unwrap_or(0)
}

/// The messages in a buffer that holds whole messages only.
pub fn messages(mut buffer: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let total = total_length(buffer).filter(|total| *total <= buffer.len())?;
        let (message, rest) = buffer.split_at(total);
        buffer = rest;
        Some((message[0], &message[5..]))
    })
}

/// The body of an ErrorResponse that the router writes on behalf of a server it reached otherwise.
pub fn error_body(sqlstate: &str, message: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (code, text) in [
        (b'S', "ERROR"),
        (b'V', "ERROR"),
        (b'C', sqlstate),
        (b'M', message),
    ] {
        body.push(code);
        body.extend(text.bytes().filter(|byte| *byte != 0));
        body.push(0);
    }
    body.push(0);
    body
}

/// The rows among whole messages, as text.
pub fn text_rows(buffer: &[u8]) -> Result<Vec<Vec<Option<String>>>, ProtocolError> {
    let mut rows = Vec::new();
    for (_, body) in messages(buffer).filter(|(tag, _)| *tag == b'D') {
        let mut reader = Reader(body);
        let columns = reader.u16()?;
        let mut row = Vec::with_capacity(usize::from(columns));
        for _ in 0..columns {
            row.push(
                reader
                    .value()?
                    .map(|value| String::from_utf8_lossy(value).into_owned()),
            );
        }
        rows.push(row);
    }
    Ok(rows)
}

/// The first column of the first DataRow among whole messages.
pub fn first_value(buffer: &[u8]) -> Option<Vec<u8>> {
    let (_, body) = messages(buffer).find(|(tag, _)| *tag == b'D')?;
    let mut reader = Reader(body);
    reader.u16().ok()?;
    reader.value().ok()?.map(<[u8]>::to_vec)
}

/// The tag of the last CommandComplete among whole messages.
pub fn last_tag(buffer: &[u8]) -> Option<&str> {
    messages(buffer)
        .filter(|(tag, _)| *tag == b'C')
        .last()
        .and_then(|(_, body)| parse_command_complete(body).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERROR: &[u8] = b"SERROR\0VERROR\0C42P01\0Mno such\0P8\0\0";

    #[test]
    fn errors_get_context_and_a_moved_position() {
        let mut out = BytesMut::new();
        rewrite_error(&mut out, ERROR, Some("shard s1"), 10).unwrap();
        assert_eq!(total_length(&out), Some(out.len()));
        let body = &out[5..];
        let of = |code| {
            fields(body)
                .find(|(found, _)| *found == code)
                .map(|(_, text)| text)
        };
        assert_eq!(of(b'P'), Some(&b"18"[..]));
        assert_eq!(of(b'W'), Some(&b"shard s1"[..]));
        assert_eq!(sqlstate(body), Some(*b"42P01"));
        assert!(!is_fatal(body));
        let mut twice = BytesMut::new();
        rewrite_error(&mut twice, body, Some("again"), 0).unwrap();
        let fields = error_fields(&twice[5..]);
        assert_eq!(
            (fields.sqlstate.as_str(), fields.message.as_str()),
            ("42P01", "no such")
        );
    }

    #[test]
    fn a_placement_guard_explains_itself() {
        let hint = |error: &[u8]| {
            let mut out = BytesMut::new();
            rewrite_error(&mut out, error, Some("shard s1"), 0).unwrap();
            error_fields(&out[5..]).hint
        };
        assert_eq!(hint(ERROR), None);
        let guard = b"SERROR\0C23514\0Mnew row\0npgweave_placement\0\0";
        assert_eq!(hint(guard).as_deref(), Some(GUARD_HINT));
        let other = b"SERROR\0C23514\0Mnew row\0npositive\0\0";
        assert_eq!(hint(other), None);
    }

    #[test]
    fn values_and_tags_are_found_in_captured_answers() {
        let mut out = BytesMut::new();
        super::super::encode::data_row(&mut out, &[Some(b"one"), None]);
        super::super::encode::command_complete(&mut out, "SELECT 1");
        assert_eq!(first_value(&out).as_deref(), Some(&b"one"[..]));
        assert_eq!(last_tag(&out), Some("SELECT 1"));
    }
}
