//! Places in the text of a write that the tree does not record: rows of VALUES, parameters, RETURNING.
//!
//! Entry points: [`outline`] and [`moment`].

use std::ops::Range;

use crate::piece::{Piece, piece};
use crate::{Edit, EditKind};

/// Bytes within a statement.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    /// Each row of VALUES with its parentheses.
    pub rows: Vec<Range<usize>>,
    /// `$n`, from 0.
    pub parameters: Vec<(Range<usize>, u16)>,
    /// Where RETURNING begins.
    pub returning: Option<usize>,
}

/// Finds the places in one INSERT, UPDATE, DELETE or MERGE whose tree has so many rows of VALUES (0: none are looked for).
/// `None`: they are not where the tree lets expect them.
pub(super) fn outline(own: &str, rows: usize) -> Option<Outline> {
    let text = own.as_bytes();
    let mut found = Outline::default();
    // Groups in parentheses after the latest word VALUES, as long as only commas stand between them.
    let mut groups: Option<Vec<Range<usize>>> = None;
    let mut awaited = false;
    let mut depth = 0usize;
    let mut opened = 0;
    let mut at = 0;
    while let Some((kind, range)) = piece(text, at) {
        at = range.end;
        match kind {
            Piece::Mark(b'(') => {
                if depth == 0 {
                    opened = range.start;
                }
                depth += 1;
            }
            Piece::Mark(b')') => {
                depth = depth.checked_sub(1)?;
                if depth == 0
                    && let Some(groups) = groups.as_mut().filter(|_| awaited)
                {
                    groups.push(opened..range.end);
                    awaited = false;
                }
            }
            Piece::Mark(b',') if depth == 0 && groups.is_some() && !awaited => awaited = true,
            Piece::Mark(_) | Piece::Word => {
                let word = own.get(range.clone())?;
                if let Some(number) = word.strip_prefix('$').and_then(|n| n.parse::<u16>().ok()) {
                    found.parameters.push((range, number.checked_sub(1)?));
                } else if depth == 0 {
                    settle(&mut found.rows, &mut groups, rows);
                    awaited = false;
                    if word.eq_ignore_ascii_case("values") && found.rows.is_empty() {
                        groups = Some(Vec::with_capacity(rows));
                        awaited = true;
                    } else if word.eq_ignore_ascii_case("returning") {
                        found.returning = Some(range.start);
                    }
                }
            }
        }
    }
    settle(&mut found.rows, &mut groups, rows);
    (found.rows.len() == rows).then_some(found)
}

/// Of several places that look like VALUES, the one with as many rows as the tree has.
fn settle(rows: &mut Vec<Range<usize>>, groups: &mut Option<Vec<Range<usize>>>, wanted: usize) {
    if let Some(groups) = groups.take()
        && wanted > 0
        && groups.len() == wanted
    {
        *rows = groups;
    }
}

/// The call or word at this byte that asks for the time of the transaction.
pub(super) fn moment(own: &str, at: usize) -> Option<Edit> {
    let text = own.as_bytes();
    let (mut kind, mut range) = piece(text, at)?;
    loop {
        if kind != Piece::Word {
            return None;
        }
        let word = own.get(range.clone())?.to_ascii_lowercase();
        let what = match word.as_str() {
            "current_timestamp" => Some(None),
            "current_date" => Some(Some("pg_catalog.date")),
            "localtimestamp" => Some(Some("pg_catalog.timestamp")),
            _ => None,
        };
        if let Some(cast) = what {
            return Some(Edit {
                range: at..range.end,
                what: EditKind::Moment(cast),
            });
        }
        match piece(text, range.end)? {
            (Piece::Mark(b'.'), dot) => (kind, range) = piece(text, dot.end)?,
            (Piece::Mark(b'('), open) => {
                let (Piece::Mark(b')'), close) = piece(text, open.end)? else {
                    return None;
                };
                return Some(Edit {
                    range: at..close.end,
                    what: EditKind::Moment(None),
                });
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rows(sql: &str, count: usize) -> Option<Vec<&str>> {
        let found = outline(sql, count)?;
        Some(found.rows.into_iter().map(|row| &sql[row]).collect())
    }

    #[test]
    fn rows_are_found() {
        assert_eq!(
            rows(
                "INSERT INTO t (a, b) VALUES (1, f(2)), -- (3)\n ('x)', $1) ON CONFLICT (a) DO NOTHING RETURNING (a), (b)",
                2
            ),
            Some(vec!["(1, f(2))", "('x)', $1)"])
        );
        assert_eq!(
            rows("INSERT INTO values (a) VALUES (1), (2)", 2),
            Some(vec!["(1)", "(2)"])
        );
        assert_eq!(
            rows(
                "WITH v AS (VALUES (1), (2)) INSERT INTO t AS values VALUES (3),(4)",
                2
            ),
            Some(vec!["(3)", "(4)"])
        );
        assert_eq!(rows("INSERT INTO t VALUES (1), (2)", 3), None);
    }

    #[test]
    fn parameters_and_returning_are_found() {
        let sql = "UPDATE t SET a$1 = $2, b = '$3' WHERE c = $1::text RETURNING $2";
        let found = outline(sql, 0).unwrap();
        let numbers: Vec<u16> = found.parameters.iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers, [1, 0, 1]);
        assert_eq!(found.returning, sql.find("RETURNING"));
    }

    #[test]
    fn moments_are_found() {
        let sql = "SELECT pg_catalog.now( ) + '1d', CURRENT_DATE";
        let edit = moment(sql, 7).unwrap();
        assert_eq!(&sql[edit.range], "pg_catalog.now( )");
        let edit = moment(sql, sql.find("CURRENT").unwrap()).unwrap();
        assert_eq!(edit.what, EditKind::Moment(Some("pg_catalog.date")));
    }
}
