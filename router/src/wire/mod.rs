//! The PostgreSQL wire protocol, as far as a router must understand it.
//!
//! [`frame`] finds messages in bytes without copying. [`frontend`] reads a client's messages and [`backend`] a server's,
//! both borrowed and bounds-checked; text stays bytes. [`encode`] writes messages. [`startup`] is the beginning of a
//! client's connection.
//!
//! Deliberately absent: a message enum. Most messages pass through a router unread.

pub mod backend;
pub mod encode;
pub mod frame;
pub mod frontend;
pub mod startup;

/// A message that breaks the protocol. SQLSTATE 08P01.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("invalid message format")]
    InvalidFormat,
    #[error("insufficient data left in message")]
    InsufficientData,
    #[error("invalid string in message")]
    InvalidString,
    #[error("invalid message length")]
    InvalidLength,
    #[error("message of {length} bytes is longer than the limit of {limit} bytes")]
    TooLong { length: usize, limit: usize },
    #[error("invalid frontend message type {0}")]
    InvalidMessageType(u8),
    #[error("{0}")]
    Other(String),
}

impl ProtocolError {
    pub fn invalid_message_type(tag: u8) -> Self {
        Self::InvalidMessageType(tag)
    }

    pub fn invalid_format() -> Self {
        Self::InvalidFormat
    }

    pub fn sqlstate(&self) -> &'static str {
        "08P01"
    }
}

/// Reads the fields of one message's body.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn u8(&mut self) -> Result<u8, ProtocolError> {
        let [value] = self.array::<1>()?;
        Ok(value)
    }

    pub fn i16(&mut self) -> Result<i16, ProtocolError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub fn u16(&mut self) -> Result<u16, ProtocolError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub fn i32(&mut self) -> Result<i32, ProtocolError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, ProtocolError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        let (head, tail) = self
            .0
            .split_at_checked(count)
            .ok_or(ProtocolError::InsufficientData)?;
        self.0 = tail;
        Ok(head)
    }

    /// A NUL-terminated string, without the NUL.
    pub fn string(&mut self) -> Result<&'a [u8], ProtocolError> {
        let end = memchr::memchr(0, self.0).ok_or(ProtocolError::InvalidString)?;
        let text = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    /// A value with a length before it; −1 is NULL.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, ProtocolError> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| ProtocolError::InvalidFormat)?;
                self.bytes(length).map(Some)
            }
        }
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<(), ProtocolError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ProtocolError::InvalidFormat)
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let (head, tail) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(ProtocolError::InsufficientData)?;
        self.0 = tail;
        Ok(*head)
    }
}
