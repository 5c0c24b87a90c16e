//! Which of the merged rows are shown: DISTINCT and DISTINCT ON, then OFFSET, then LIMIT or FETCH FIRST … WITH TIES.
//!
//! Entry point: [`Limit::row`] for each row in order. It is given bytes of the row's [sort key](super::key): the columns
//! that DISTINCT compares, which ORDER BY must begin with, and the columns that ties compare, which are ORDER BY's own. The
//! two differ where a planner has added columns to the order so that equal rows meet.

/// What the query says of its rows. Shards have been asked for the first `offset + count` of theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clauses {
    pub offset: u64,
    pub count: Option<u64>,
    pub with_ties: bool,
    pub distinct: bool,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Skip,
    Pass,
    /// Neither this row nor any after it is shown.
    Done,
}

/// The rows that have come so far.
#[derive(Debug)]
pub struct Limit {
    clauses: Clauses,
    skipped: u64,
    passed: u64,
    /// What DISTINCT compares of the last row, if there was one.
    previous: Option<Vec<u8>>,
    /// What ties compare of the last row that counted.
    last: Vec<u8>,
    is_done: bool,
}

impl Limit {
    pub fn new(clauses: Clauses) -> Self {
        Self {
            clauses,
            skipped: 0,
            passed: 0,
            previous: None,
            last: Vec::new(),
            is_done: clauses.count == Some(0),
        }
    }

    /// Whether no further row can be shown, so that none need be read.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// The next row. `distinct` and `ties` are not looked at unless the query has the clause.
    #[inline]
    pub fn row(&mut self, distinct: &[u8], ties: &[u8]) -> Verdict {
        if self.is_done {
            return Verdict::Done;
        }
        if self.clauses.distinct && self.repeats(distinct) {
            return Verdict::Skip;
        }
        if self.skipped < self.clauses.offset {
            self.skipped += 1;
            return Verdict::Skip;
        }
        let Some(count) = self.clauses.count else {
            return Verdict::Pass;
        };
        if self.passed < count {
            self.passed += 1;
            if self.passed == count {
                if self.clauses.with_ties {
                    self.last.extend_from_slice(ties);
                } else {
                    self.is_done = true;
                }
            }
            return Verdict::Pass;
        }
        if self.last == ties {
            return Verdict::Pass;
        }
        self.is_done = true;
        Verdict::Done
    }

    /// Whether the row equals the one before it; it is remembered if not.
    fn repeats(&mut self, distinct: &[u8]) -> bool {
        match &mut self.previous {
            Some(previous) if previous == distinct => true,
            Some(previous) => {
                previous.clear();
                previous.extend_from_slice(distinct);
                false
            }
            None => {
                self.previous = Some(distinct.to_vec());
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows shown of rows `(a, b)` in order, DISTINCT ON (a), with ties on both, or on `a` alone.
    fn shown(clauses: Clauses, rows: &[&'static str], ties: usize) -> Vec<&'static str> {
        let mut limit = Limit::new(clauses);
        let mut shown = Vec::new();
        for row in rows {
            match limit.row(&row.as_bytes()[..1], &row.as_bytes()[..ties]) {
                Verdict::Pass => shown.push(*row),
                Verdict::Skip => {}
                Verdict::Done => {
                    assert!(limit.is_done());
                    break;
                }
            }
        }
        shown
    }

    const ROWS: &[&str] = &["a1", "a1", "a2", "b1", "b2", "b2", "c1"];

    #[test]
    fn offset_and_limit_are_applied_again() {
        let clauses = |offset, count| Clauses {
            offset,
            count,
            ..Clauses::default()
        };
        assert_eq!(shown(clauses(0, None), ROWS, 2), ROWS);
        assert_eq!(shown(clauses(5, None), ROWS, 2), ["b2", "c1"]);
        assert_eq!(shown(clauses(2, Some(2)), ROWS, 2), ["a2", "b1"]);
        assert_eq!(shown(clauses(9, Some(2)), ROWS, 2), [""; 0]);
        assert_eq!(shown(clauses(0, Some(0)), ROWS, 2), [""; 0]);
        assert_eq!(shown(clauses(0, Some(u64::MAX)), ROWS, 2), ROWS);
    }

    #[test]
    fn the_last_row_that_counts_ends_the_reading() {
        let mut limit = Limit::new(Clauses {
            count: Some(1),
            ..Clauses::default()
        });
        assert!(!limit.is_done());
        assert_eq!(limit.row(&[], &[]), Verdict::Pass);
        assert!(limit.is_done());
        assert_eq!(limit.row(&[], &[]), Verdict::Done);
    }

    #[test]
    fn ties_of_the_last_row_are_shown() {
        let clauses = |offset, count| Clauses {
            offset,
            count: Some(count),
            with_ties: true,
            distinct: false,
        };
        assert_eq!(shown(clauses(0, 1), ROWS, 2), ["a1", "a1"]);
        assert_eq!(shown(clauses(1, 1), ROWS, 1), ["a1", "a2"]);
        assert_eq!(shown(clauses(3, 2), ROWS, 2), ["b1", "b2", "b2"]);
        assert_eq!(shown(clauses(0, 0), ROWS, 2), [""; 0]);
    }

    #[test]
    fn one_row_of_each_is_shown_and_counted() {
        let clauses = |offset, count| Clauses {
            offset,
            count,
            with_ties: false,
            distinct: true,
        };
        assert_eq!(shown(clauses(0, None), ROWS, 2), ["a1", "b1", "c1"]);
        assert_eq!(shown(clauses(1, Some(1)), ROWS, 2), ["b1"]);
    }
}
