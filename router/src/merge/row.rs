//! The body of a DataRow, where it lies: the number of columns, and for each its length (-1 is NULL) and bytes.
//!
//! Entry points: [`Row::new`], [`Row::cell`], [`Row::write_without`]. Nothing is copied or allocated to read; every length
//! is checked before it is believed.

use bytes::{BufMut, BytesMut};

use super::Malformed;

const DATA_ROW: u8 = b'D';
const NULL: i32 = -1;

/// One row, borrowed from the connection's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    columns: u16,
    cells: &'a [u8],
}

impl<'a> Row<'a> {
    /// From the message's bytes after its tag and length.
    #[inline]
    pub fn new(body: &'a [u8]) -> Result<Self, Malformed> {
        let (count, cells) = body.split_first_chunk::<2>().ok_or(Malformed)?;
        let columns = i16::from_be_bytes(*count);
        Ok(Self {
            columns: u16::try_from(columns).map_err(|_| Malformed)?,
            cells,
        })
    }

    pub fn columns(&self) -> u16 {
        self.columns
    }

    /// The bytes of a column counted from zero; `None` for NULL. Costs a step for each column before it.
    #[inline]
    pub fn cell(&self, column: u16) -> Result<Option<&'a [u8]>, Malformed> {
        if column >= self.columns {
            return Err(Malformed);
        }
        Ok(split_cell(self.after(column)?)?.0)
    }

    /// Appends the whole message without its first `hidden` columns.
    #[inline]
    pub fn write_without(&self, hidden: u16, out: &mut BytesMut) -> Result<(), Malformed> {
        let columns = self.columns.checked_sub(hidden).ok_or(Malformed)?;
        let shown = self.after(hidden)?;
        let length = u32::try_from(4 + 2 + shown.len()).map_err(|_| Malformed)?;
        out.reserve(1 + 4 + 2 + shown.len());
        out.put_u8(DATA_ROW);
        out.put_u32(length);
        out.put_u16(columns);
        out.put_slice(shown);
        Ok(())
    }

    /// What comes after the first columns.
    #[inline]
    fn after(&self, columns: u16) -> Result<&'a [u8], Malformed> {
        let mut rest = self.cells;
        for _ in 0..columns {
            rest = split_cell(rest)?.1;
        }
        Ok(rest)
    }
}

/// A cell and what comes after it.
#[inline]
fn split_cell(cells: &[u8]) -> Result<(Option<&[u8]>, &[u8]), Malformed> {
    let (length, rest) = cells.split_first_chunk::<4>().ok_or(Malformed)?;
    let length = i32::from_be_bytes(*length);
    if length == NULL {
        return Ok((None, rest));
    }
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (cell, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
    Ok((Some(cell), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = &[
        0, 3, 0, 0, 0, 2, 7, 8, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 9,
    ];

    #[test]
    fn cells_are_found() {
        let row = Row::new(BODY).expect("a row");
        assert_eq!(row.columns(), 3);
        assert_eq!(row.cell(0), Ok(Some(&[7, 8][..])));
        assert_eq!(row.cell(1), Ok(None));
        assert_eq!(row.cell(2), Ok(Some(&[9][..])));
        assert_eq!(row.cell(3), Err(Malformed));
    }

    #[test]
    fn the_first_columns_are_left_out() {
        let row = Row::new(BODY).expect("a row");
        let without = |hidden| {
            let mut out = BytesMut::new();
            row.write_without(hidden, &mut out).map(|()| out.to_vec())
        };
        let whole = without(0).expect("a message");
        assert_eq!(whole[..5], [b'D', 0, 0, 0, 21]);
        assert_eq!(&whole[5..], BODY);
        assert_eq!(without(2), Ok(vec![b'D', 0, 0, 0, 11, 0, 1, 0, 0, 0, 1, 9]));
        assert_eq!(without(3), Ok(vec![b'D', 0, 0, 0, 6, 0, 0]));
        assert_eq!(without(4), Err(Malformed));
    }

    #[test]
    fn lengths_are_not_believed() {
        for body in [&[][..], &[0], &[0x80, 0]] {
            assert!(Row::new(body).is_err());
        }
        for cells in [
            &[0, 1][..],
            &[0, 1, 0, 0, 0, 1],
            &[0, 1, 0xff, 0xff, 0xff, 0xfe],
            &[0, 1, 0x7f, 0xff, 0xff, 0xff, 1],
        ] {
            assert_eq!(Row::new(cells).expect("a count").cell(0), Err(Malformed));
        }
    }
}
