//! Writing messages, to clients and to servers.

use bytes::{BufMut, BytesMut};

use crate::session::report::Report;

/// Writes one message: its tag, its length, and what `body` writes.
#[inline]
/// A message whose body is there already.
pub fn message_as_it_is(out: &mut BytesMut, tag: u8, body: &[u8]) {
    message(out, tag, |out| out.put_slice(body));
}

fn message(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u8(tag);
    out.put_u32(0);
    body(out);
    let length = (out.len() - start - 1) as u32;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
}

fn string(out: &mut BytesMut, text: &[u8]) {
    out.put_slice(text);
    out.put_u8(0);
}

// To clients.

pub fn authentication_ok(out: &mut BytesMut) {
    message(out, b'R', |out| out.put_u32(0));
}

/// An authentication request: its number and what belongs to it.
pub fn authentication(out: &mut BytesMut, kind: u32, data: &[u8]) {
    message(out, b'R', |out| {
        out.put_u32(kind);
        out.put_slice(data);
    });
}

pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    message(out, b'S', |out| {
        string(out, name.as_bytes());
        string(out, value.as_bytes());
    });
}

pub fn backend_key_data(out: &mut BytesMut, process_id: u32, key: &[u8]) {
    message(out, b'K', |out| {
        out.put_u32(process_id);
        out.put_slice(key);
    });
}

/// `minor` is the newest protocol 3 minor version that is spoken here.
pub fn negotiate_protocol_version(out: &mut BytesMut, minor: u32, unknown: &[&[u8]]) {
    message(out, b'v', |out| {
        out.put_u32((3 << 16) | minor);
        out.put_u32(unknown.len() as u32);
        for option in unknown {
            string(out, option);
        }
    });
}

pub fn ready_for_query(out: &mut BytesMut, status: u8) {
    out.extend_from_slice(&[b'Z', 0, 0, 0, 5, status]);
}

pub fn parse_complete(out: &mut BytesMut) {
    out.extend_from_slice(b"1\0\0\0\x04");
}

pub fn bind_complete(out: &mut BytesMut) {
    out.extend_from_slice(b"2\0\0\0\x04");
}

pub fn close_complete(out: &mut BytesMut) {
    out.extend_from_slice(b"3\0\0\0\x04");
}

pub fn no_data(out: &mut BytesMut) {
    out.extend_from_slice(b"n\0\0\0\x04");
}

pub fn portal_suspended(out: &mut BytesMut) {
    out.extend_from_slice(b"s\0\0\0\x04");
}

pub fn empty_query_response(out: &mut BytesMut) {
    out.extend_from_slice(b"I\0\0\0\x04");
}

pub fn command_complete(out: &mut BytesMut, tag: &str) {
    message(out, b'C', |out| string(out, tag.as_bytes()));
}

pub fn parameter_description(out: &mut BytesMut, types: &[u32]) {
    message(out, b't', |out| {
        out.put_u16(types.len() as u16);
        for oid in types {
            out.put_u32(*oid);
        }
    });
}

/// Columns by name and type, as text.
pub fn row_description(out: &mut BytesMut, columns: &[(&str, u32)]) {
    row_description_as(out, columns, 0);
}

/// The same with a result format. The router's own values are text, whose binary form is the same bytes.
pub fn row_description_as(out: &mut BytesMut, columns: &[(&str, u32)], format: i16) {
    message(out, b'T', |out| {
        out.put_u16(columns.len() as u16);
        for (name, oid) in columns {
            string(out, name.as_bytes());
            out.put_u32(0);
            out.put_u16(0);
            out.put_u32(*oid);
            out.put_i16(-1);
            out.put_i32(-1);
            out.put_i16(format);
        }
    });
}

pub fn data_row(out: &mut BytesMut, values: &[Option<&[u8]>]) {
    message(out, b'D', |out| {
        out.put_u16(values.len() as u16);
        for value in values {
            match value {
                Some(value) => {
                    out.put_u32(value.len() as u32);
                    out.put_slice(value);
                }
                None => out.put_i32(-1),
            }
        }
    });
}

pub fn error_response(out: &mut BytesMut, report: &Report) {
    message(out, b'E', |out| report_fields(out, report));
}

/// The body of an ErrorResponse.
pub fn error_body(report: &Report) -> Vec<u8> {
    let mut out = BytesMut::new();
    report_fields(&mut out, report);
    out.into()
}

pub fn notice_response(out: &mut BytesMut, report: &Report) {
    message(out, b'N', |out| report_fields(out, report));
}

fn report_fields(out: &mut BytesMut, report: &Report) {
    let mut field = |code: u8, text: &str| {
        out.put_u8(code);
        string(out, text.replace('\0', "").as_bytes());
    };
    field(b'S', report.severity);
    field(b'V', report.severity);
    field(b'C', &report.sqlstate);
    field(b'M', &report.message);
    if let Some(detail) = &report.detail {
        field(b'D', detail);
    }
    if let Some(hint) = &report.hint {
        field(b'H', hint);
    }
    if let Some(position) = report.position {
        field(b'P', &position.to_string());
    }
    if let Some(context) = &report.context {
        field(b'W', context);
    }
    field(b'R', report.routine);
    out.put_u8(0);
}

// To servers.

/// StartupMessage, protocol 3.0.
pub fn startup<'a>(out: &mut BytesMut, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let start = out.len();
    out.put_u32(0);
    out.put_u32(3 << 16);
    for (name, value) in parameters {
        string(out, name.as_bytes());
        string(out, value.as_bytes());
    }
    out.put_u8(0);
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

pub fn ssl_request(out: &mut BytesMut) {
    out.put_u32(8);
    out.put_u32(80877103);
}

pub fn cancel_request(out: &mut BytesMut, process_id: u32, key: &[u8]) {
    out.put_u32(12 + key.len() as u32);
    out.put_u32(80877102);
    out.put_u32(process_id);
    out.put_slice(key);
}

/// Any of the messages with tag `p`: a password, a SASL response.
pub fn password(out: &mut BytesMut, body: &[u8]) {
    message(out, b'p', |out| out.put_slice(body));
}

pub fn query(out: &mut BytesMut, sql: &[u8]) {
    message(out, b'Q', |out| string(out, sql));
}

pub fn parse(out: &mut BytesMut, name: &[u8], sql: &[u8], types: &[u32]) {
    message(out, b'P', |out| {
        string(out, name);
        string(out, sql);
        out.put_u16(types.len() as u16);
        for oid in types {
            out.put_u32(*oid);
        }
    });
}

/// Bind without parameters; results as text.
pub fn bind(out: &mut BytesMut, portal: &[u8], statement: &[u8]) {
    message(out, b'B', |out| {
        string(out, portal);
        string(out, statement);
        out.extend_from_slice(&[0; 6]);
    });
}

/// Bind of the unnamed portal to the unnamed statement with so many NULLs; results as text.
pub fn bind_nulls(out: &mut BytesMut, parameters: usize) {
    message(out, b'B', |out| {
        out.extend_from_slice(&[0; 4]);
        // Counts of 16 bits: the planner gives no statement more parameters.
        out.put_u16(parameters as u16);
        for _ in 0..parameters {
            out.put_i32(-1);
        }
        out.put_u16(0);
    });
}

/// Describe of a statement (`S`) or a portal (`P`).
pub fn describe(out: &mut BytesMut, kind: u8, name: &[u8]) {
    message(out, b'D', |out| {
        out.put_u8(kind);
        string(out, name);
    });
}

pub fn execute(out: &mut BytesMut, portal: &[u8], max_rows: i32) {
    message(out, b'E', |out| {
        string(out, portal);
        out.put_i32(max_rows);
    });
}

/// Close of a statement (`S`) or a portal (`P`).
pub fn close(out: &mut BytesMut, kind: u8, name: &[u8]) {
    message(out, b'C', |out| {
        out.put_u8(kind);
        string(out, name);
    });
}

pub fn copy_data(out: &mut BytesMut, data: &[u8]) {
    message(out, b'd', |out| out.extend_from_slice(data));
}

pub fn copy_done(out: &mut BytesMut) {
    out.extend_from_slice(b"c\0\0\0\x04");
}

pub fn sync(out: &mut BytesMut) {
    out.extend_from_slice(b"S\0\0\0\x04");
}

pub fn flush(out: &mut BytesMut) {
    out.extend_from_slice(b"H\0\0\0\x04");
}

pub fn terminate(out: &mut BytesMut) {
    out.extend_from_slice(b"X\0\0\0\x04");
}

pub fn copy_fail(out: &mut BytesMut, reason: &str) {
    message(out, b'f', |out| string(out, reason.as_bytes()));
}
