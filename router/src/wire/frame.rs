//! Finding messages in a stream of bytes: a tag, a length, a body.
//!
//! The length is checked before anything else is done with a message, so that a hostile one cannot make the router
//! wait for, or hold, more than the limit for its kind.

use super::ProtocolError;

/// The largest message PostgreSQL itself takes.
const LARGE_BYTES: usize = 0x3fff_ffff;
/// For messages that hold names and numbers only.
const SMALL_BYTES: usize = 30_000;

/// One whole message at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub tag: u8,
    /// Bytes of the message, tag and length included.
    pub total: usize,
}

/// How long messages may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For messages that carry statements and data.
    pub large_bytes: usize,
    /// For all others.
    pub small_bytes: usize,
    side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

impl Limits {
    /// For what clients send; statements and data up to `large_bytes`.
    pub fn client(large_bytes: usize) -> Self {
        Self {
            large_bytes: large_bytes.min(LARGE_BYTES),
            small_bytes: SMALL_BYTES,
            side: Side::Client,
        }
    }

    /// For what servers send. They are trusted with any length that PostgreSQL can send.
    pub fn server() -> Self {
        Self {
            large_bytes: LARGE_BYTES,
            small_bytes: LARGE_BYTES,
            side: Side::Server,
        }
    }

    /// A client's unknown tag is refused before its message has come: its length means nothing.
    fn of(&self, tag: u8) -> Result<usize, ProtocolError> {
        match (self.side, tag) {
            (Side::Server, _) => Ok(self.large_bytes),
            (Side::Client, b'Q' | b'P' | b'B' | b'd' | b'F') => Ok(self.large_bytes),
            (Side::Client, b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'c' | b'f' | b'p') => {
                Ok(self.small_bytes)
            }
            (Side::Client, other) => Err(ProtocolError::invalid_message_type(other)),
        }
    }
}

/// The message at the start of `buffer`; `None` if it is not complete yet.
#[inline]
pub fn next_frame(buffer: &[u8], limits: &Limits) -> Result<Option<Frame>, ProtocolError> {
    let &[tag, a, b, c, d, ..] = buffer else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length < 4 {
        return Err(ProtocolError::InvalidLength);
    }
    let limit = limits.of(tag)?;
    if length > limit {
        return Err(ProtocolError::TooLong { length, limit });
    }
    let total = 1 + length;
    Ok((buffer.len() >= total).then_some(Frame { tag, total }))
}

/// The length of the message at the start of `buffer`, whether or not it is complete.
pub fn total_length(buffer: &[u8]) -> Option<usize> {
    let &[_, a, b, c, d, ..] = buffer else {
        return None;
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    (length >= 4).then_some(1 + length)
}

/// How many bytes at the start of `buffer` are whole DataRow or CopyData messages.
#[inline]
pub fn row_run(buffer: &[u8]) -> usize {
    let mut position = 0;
    while let Some(&[tag @ (b'D' | b'd'), a, b, c, d]) =
        buffer.get(position..).and_then(<[u8]>::first_chunk::<5>)
    {
        let _ = tag;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let end = position + 1 + length;
        if length < 4 || end > buffer.len() {
            break;
        }
        position = end;
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_and_limited() {
        let limits = Limits::client(1000);
        assert_eq!(next_frame(b"Q\0\0\0", &limits), Ok(None));
        assert_eq!(next_frame(b"Q\0\0\0\x05", &limits), Ok(None));
        assert_eq!(
            next_frame(b"S\0\0\0\x04Q", &limits),
            Ok(Some(Frame {
                tag: b'S',
                total: 5
            }))
        );
        assert_eq!(
            next_frame(b"S\0\0\0\x03", &limits),
            Err(ProtocolError::InvalidLength)
        );
        assert!(next_frame(b"Q\0\0\x04\0", &limits).is_err());
        assert!(next_frame(b"Q\xff\xff\xff\xff", &limits).is_err());
    }

    #[test]
    fn runs_of_rows_end_at_other_or_partial_messages() {
        let rows = b"D\0\0\0\x05xD\0\0\0\x04C\0\0\0\x04";
        assert_eq!(row_run(rows), 11);
        assert_eq!(row_run(&rows[..9]), 6);
    }
}
