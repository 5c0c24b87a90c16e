//! What a server still owes an answer for, learned from the bytes that are sent to it.
//!
//! The transaction status of the last ReadyForQuery does not say whether the server is done: a second query may have
//! been sent with the first, or extended-protocol messages without a Sync, whose implicit transaction the next Sync
//! on the connection would commit, whoever sends it. So the messages sent that end in a ReadyForQuery are counted here,
//! against those that came. Whoever sends need not keep the books, and cannot forget to.
//!
//! Invariant: [`Outstanding::is_none`] is never true while the server works or holds anything open. The reverse may
//! happen where a server skips messages after an error; such a connection is closed, which loses nothing but time.

use crate::wire::frame::total_length;

#[derive(Debug, Default)]
pub struct Outstanding {
    /// ReadyForQuery messages that are to come.
    ready: u32,
    /// Messages have been sent after the last one that makes the server say ReadyForQuery.
    open: bool,
}

impl Outstanding {
    /// Whole messages are being sent.
    #[inline]
    pub fn sent(&mut self, mut messages: &[u8]) {
        while let Some(total) = total_length(messages) {
            match messages[0] {
                // Query, Sync and FunctionCall: the server reads no further before it has said ReadyForQuery.
                b'Q' | b'S' | b'F' => {
                    self.ready = self.ready.saturating_add(1);
                    self.open = false;
                }
                // The data of a COPY belongs to the Query or the Sync that waits for its end.
                b'd' | b'c' | b'f' => {}
                _ => self.open = true,
            }
            messages = messages.get(total..).unwrap_or_default();
        }
        // What is no whole message can have no answer that is understood.
        self.open |= !messages.is_empty();
    }

    /// ReadyForQuery has come.
    #[inline]
    pub fn ready(&mut self) {
        self.ready = self.ready.saturating_sub(1);
    }

    /// The server has taken one Sync for a part of the data of a COPY, and ignores it.
    pub fn sync_ignored(&mut self) {
        self.ready = self.ready.saturating_sub(1);
        self.open = true;
    }

    /// The server has answered everything and holds nothing open.
    #[inline]
    pub fn is_none(&self) -> bool {
        self.ready == 0 && !self.open
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::wire::encode;

    fn sent(outstanding: &mut Outstanding, encode: impl FnOnce(&mut BytesMut)) {
        let mut out = BytesMut::new();
        encode(&mut out);
        outstanding.sent(&out);
    }

    #[test]
    fn each_query_is_owed_an_answer() {
        let mut outstanding = Outstanding::default();
        assert!(outstanding.is_none());
        sent(&mut outstanding, |out| {
            encode::query(out, b"SELECT 1");
            encode::query(out, b"SELECT 2");
        });
        outstanding.ready();
        assert!(!outstanding.is_none());
        outstanding.ready();
        assert!(outstanding.is_none());
    }

    #[test]
    fn a_batch_is_open_until_its_sync_is_answered() {
        let mut outstanding = Outstanding::default();
        sent(&mut outstanding, |out| {
            encode::parse(out, b"", b"SELECT 1", &[]);
            encode::flush(out);
        });
        assert!(!outstanding.is_none());
        sent(&mut outstanding, encode::sync);
        assert!(!outstanding.is_none());
        outstanding.ready();
        assert!(outstanding.is_none());
        sent(&mut outstanding, encode::flush);
        outstanding.ready();
        assert!(!outstanding.is_none());
    }

    #[test]
    fn a_sync_within_a_copy_is_not_owed_an_answer() {
        let mut outstanding = Outstanding::default();
        sent(&mut outstanding, |out| {
            encode::execute(out, b"", 0);
            encode::sync(out);
        });
        outstanding.sync_ignored();
        sent(&mut outstanding, |out| {
            encode::copy_fail(out, "no");
            encode::sync(out);
        });
        assert!(!outstanding.is_none());
        outstanding.ready();
        assert!(outstanding.is_none());
    }

    #[test]
    fn a_torn_message_spoils_the_connection() {
        let mut outstanding = Outstanding::default();
        outstanding.sent(b"S\0\0\0");
        assert!(!outstanding.is_none());
        let mut outstanding = Outstanding::default();
        outstanding.sent(b"S\0\0\0\x03S\0\0\0\x04");
        outstanding.ready();
        assert!(!outstanding.is_none());
    }
}
