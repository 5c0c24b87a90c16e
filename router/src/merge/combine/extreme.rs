//! The least or the greatest cell of several, for `min` and `max`.
//!
//! The cell is passed on as it came. Of equal cells that look different (`1.0` and `1.00`) it is the one that PostgreSQL's
//! transition functions would keep of the same sequence.

use bytes::{BufMut, BytesMut};

use crate::merge::kind::Kind;
use crate::merge::{Format, Malformed};

/// The best cell so far. Its buffers are kept from group to group.
#[derive(Debug)]
pub struct Extreme {
    kind: Kind,
    is_least: bool,
    format: Format,
    key: Vec<u8>,
    cell: Vec<u8>,
    /// Where the key of the next cell is made.
    next: Vec<u8>,
}

impl Extreme {
    pub fn new(kind: Kind, is_least: bool) -> Self {
        Self {
            kind,
            is_least,
            format: Format::Binary,
            key: Vec::new(),
            cell: Vec::new(),
            next: Vec::new(),
        }
    }

    /// A cell, compared by a form `by` of the same value. The first cell of all is always the best.
    pub fn add(
        &mut self,
        is_first: bool,
        by: (Format, &[u8]),
        format: Format,
        cell: &[u8],
    ) -> Result<(), Malformed> {
        self.next.clear();
        self.kind.append(by.0, by.1, &mut self.next)?;
        let order = self.next.cmp(&self.key);
        // `bpchar_smaller` and `bpchar_larger` keep the earlier of two equals, all others the later.
        let is_better = if order.is_eq() {
            self.kind != Kind::Bpchar
        } else {
            order.is_lt() == self.is_least
        };
        if is_first || is_better {
            std::mem::swap(&mut self.key, &mut self.next);
            self.cell.clear();
            self.cell.extend_from_slice(cell);
            self.format = format;
        }
        Ok(())
    }

    /// Whether the best cell has this format.
    pub fn is_in(&self, format: Format) -> bool {
        self.format == format
    }

    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(&self.cell);
    }
}
