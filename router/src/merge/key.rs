//! The place of a row in the order of ORDER BY, as a string of bytes.
//!
//! Entry point: [`append_sort_key`]. Each column is one byte that says whether it is NULL, which puts NULLs first or last,
//! and then the [normalized key](super::kind) of its value, inverted for DESC. Two rows are equal under the ORDER BY
//! exactly where their bytes are, and the same holds for the bytes of the first columns alone: since no key begins
//! another, a row agrees with another in the first `n` columns if and only if its bytes begin with that other's first
//! `n` columns.

use super::kind::Kind;
use super::row::Row;
use super::{Format, Malformed};

const NULL_FIRST: u8 = 0;
const VALUE: u8 = 1;
const NULL_LAST: u8 = 2;

/// One expression of ORDER BY that is a column of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// Counted from zero, hidden columns included.
    pub column: u16,
    pub kind: Kind,
    pub format: Format,
    pub descending: bool,
    pub nulls_first: bool,
}

/// Appends the bytes of a row's place. After an error `out` may hold a part of them.
#[inline]
pub fn append_sort_key(
    keys: &[SortKey],
    row: &Row<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    for key in keys {
        let Some(cell) = row.cell(key.column)? else {
            out.push(if key.nulls_first {
                NULL_FIRST
            } else {
                NULL_LAST
            });
            continue;
        };
        out.push(VALUE);
        let start = out.len();
        key.kind.append(key.format, cell, out)?;
        if key.descending {
            out[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows' bodies, each a text column and an int4 column, in the order of the keys.
    fn sorted(keys: &[SortKey]) -> Vec<(Option<&'static str>, Option<i32>)> {
        let mut rows = Vec::new();
        for text in [Some("a"), Some(""), None, Some("ab")] {
            for number in [Some(1), None, Some(-1)] {
                rows.push((text, number));
            }
        }
        rows.sort_by_cached_key(|(text, number)| {
            let mut body = vec![0, 2];
            for cell in [
                text.map(|text| text.as_bytes().to_vec()),
                number.map(|number: i32| number.to_be_bytes().to_vec()),
            ] {
                let length = cell.as_ref().map_or(-1, |cell| cell.len() as i32);
                body.extend(length.to_be_bytes());
                body.extend(cell.unwrap_or_default());
            }
            let mut out = Vec::new();
            append_sort_key(keys, &Row::new(&body).expect("a row"), &mut out).expect("a key");
            out
        });
        rows
    }

    fn key(column: u16, kind: Kind, descending: bool, nulls_first: bool) -> SortKey {
        SortKey {
            column,
            kind,
            format: Format::Binary,
            descending,
            nulls_first,
        }
    }

    #[test]
    fn nulls_and_directions_are_independent() {
        let rows = sorted(&[
            key(0, Kind::Text, true, false),
            key(1, Kind::Int4, false, true),
        ]);
        let texts: Vec<_> = rows.iter().step_by(3).map(|row| row.0).collect();
        assert_eq!(texts, [Some("ab"), Some("a"), Some(""), None]);
        assert!(
            rows.chunks(3)
                .all(|rows| [rows[0].1, rows[1].1, rows[2].1] == [None, Some(-1), Some(1)])
        );
        let rows = sorted(&[
            key(1, Kind::Int4, true, true),
            key(0, Kind::Text, false, false),
        ]);
        let numbers: Vec<_> = rows.iter().step_by(4).map(|row| row.1).collect();
        assert_eq!(numbers, [None, Some(1), Some(-1)]);
        assert!(
            rows.chunks(4)
                .all(|rows| rows[0].0 == Some("") && rows[3].0.is_none())
        );
    }
}
