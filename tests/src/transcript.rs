//! Server messages as lines of text that two servers can be compared by.
//!
//! Left out is what must differ: process ids, table oids, the source position in errors, and the CONTEXT line by which
//! pgweave names the shard. Everything else counts, down to the order.

use router::wire::{Reader, backend};

use crate::client::Message;

/// Values longer than this are shown by their length and a checksum.
const LONG: usize = 200;

/// One message as one line.
pub fn line(message: &Message) -> String {
    let text = match message.tag {
        b'T' => row_description(&message.body),
        b'D' => data_row(&message.body),
        b'E' | b'N' => Some(report(message)),
        b'S' | b'C' => Some(strings(&message.body)),
        b't' => parameter_description(&message.body),
        b'A' => message.body.get(4..).map(strings),
        b'Z' => Some(String::from_utf8_lossy(&message.body).into_owned()),
        _ => Some(bytes(&message.body)),
    };
    let text = text.unwrap_or_else(|| format!("malformed {:?}", message.body));
    format!("{} {text}", name(message.tag))
}

fn name(tag: u8) -> String {
    let name = match tag {
        b'1' => "ParseComplete",
        b'2' => "BindComplete",
        b'3' => "CloseComplete",
        b'A' => "Notification",
        b'C' => "CommandComplete",
        b'D' => "DataRow",
        b'E' => "Error",
        b'G' => "CopyIn",
        b'H' => "CopyOut",
        b'I' => "EmptyQuery",
        b'N' => "Notice",
        b'S' => "ParameterStatus",
        b'T' => "RowDescription",
        b'Z' => "Ready",
        b'c' => "CopyDone",
        b'd' => "CopyData",
        b'n' => "NoData",
        b's' => "PortalSuspended",
        b't' => "ParameterDescription",
        other => return format!("message {:?}", char::from(other)),
    };
    name.to_owned()
}

fn report(message: &Message) -> String {
    let mut text = String::new();
    for (code, value) in backend::fields(&message.body) {
        let value = String::from_utf8_lossy(value);
        let value = match code {
            b'F' | b'L' | b'R' => continue,
            b'W' => {
                let mut lines = value.lines().filter(|line| !line.starts_with("pgweave: "));
                let Some(first) = lines.next() else {
                    continue;
                };
                lines.fold(first.to_owned(), |all, line| all + "\n" + line)
            }
            _ => value.into_owned(),
        };
        text.push_str(&format!(" {}={value:?}", char::from(code)));
    }
    text
}

fn row_description(body: &[u8]) -> Option<String> {
    let mut reader = Reader(body);
    let mut text = String::new();
    for _ in 0..reader.u16().ok()? {
        let name = String::from_utf8_lossy(reader.string().ok()?).into_owned();
        let of_table = reader.u32().ok()? != 0;
        let attribute = reader.i16().ok()?;
        let type_oid = reader.u32().ok()?;
        let size = reader.i16().ok()?;
        let modifier = reader.i32().ok()?;
        let format = reader.i16().ok()?;
        text.push_str(&format!(
            "[{name:?} table={of_table} attribute={attribute} type={type_oid} size={size} modifier={modifier} format={format}]"
        ));
    }
    reader.end().ok()?;
    Some(text)
}

fn data_row(body: &[u8]) -> Option<String> {
    let mut reader = Reader(body);
    let mut values = Vec::new();
    for _ in 0..reader.u16().ok()? {
        values.push(reader.value().ok()?.map_or("NULL".to_owned(), bytes));
    }
    reader.end().ok()?;
    Some(values.join(" | "))
}

fn parameter_description(body: &[u8]) -> Option<String> {
    let mut reader = Reader(body);
    let types: Result<Vec<u32>, _> = (0..reader.u16().ok()?).map(|_| reader.u32()).collect();
    reader.end().ok()?;
    Some(format!("{:?}", types.ok()?))
}

fn strings(body: &[u8]) -> String {
    let parts: Vec<_> = body.split(|byte| *byte == 0).map(bytes).collect();
    parts.join(" ")
}

fn bytes(value: &[u8]) -> String {
    if value.len() > LONG {
        let sum = value.iter().fold(0u64, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
        });
        return format!("({} bytes, {sum:016x})", value.len());
    }
    value.escape_ascii().to_string()
}
