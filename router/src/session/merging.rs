//! How rows of several shards become one result, row by row and without IO: their order, which of them are shown, and which
//! are combined.
//!
//! Entry points: [`Merging::append_key`], which makes a row's place in the order a string of bytes, and [`Merging::take`] for
//! the row whose turn it is.

use bytes::BytesMut;
use planner::{Scatter, Types};

use super::Step;
use super::groups::Groups;
use super::report::{Failure, Report};
use crate::merge::copy::CopyWriter;
use crate::merge::key::{SortKey, append_sort_key};
use crate::merge::kind::{Collation, kind};
use crate::merge::limit::{Clauses, Limit, Verdict};
use crate::merge::row::Row;
use crate::merge::{Format, Malformed};
use crate::wire::frontend::Bind;

/// What has become of the rows so far.
pub(super) struct Merging {
    keys: Vec<SortKey>,
    distinct: usize,
    ordered: usize,
    limit: Limit,
    hidden: u16,
    groups: Option<Groups>,
    /// What writes the rows, if they are not to be DataRows.
    pub copy: Option<CopyWriter>,
    /// Shown so far.
    pub rows: u64,
}

impl Merging {
    /// `types`: of the columns, as far as it matters; `bind`: the formats that the client wants; without one it is text. `None`: the router does not reproduce the order of
    /// one of the types in its format, or does not combine its values.
    pub fn new(
        scatter: &Scatter,
        types: Option<&Types>,
        clauses: Clauses,
        bind: Option<&Bind<'_>>,
        utf8: bool,
    ) -> Step<Option<Merging>> {
        let (Some(keys), Some(groups)) = (
            sort_keys(scatter, types, bind, utf8)?,
            Groups::new(scatter, types, bind, utf8),
        ) else {
            return Ok(None);
        };
        Ok(Some(Merging {
            keys,
            distinct: scatter.merge.distinct.unwrap_or(0),
            ordered: scatter.merge.ordered,
            limit: Limit::new(clauses),
            hidden: scatter.hidden,
            groups,
            copy: None,
            rows: 0,
        }))
    }

    pub fn is_ordered(&self) -> bool {
        !self.keys.is_empty()
    }

    /// No further row can be shown.
    pub fn is_done(&self) -> bool {
        self.limit.is_done()
    }

    /// So many columns come first that the client does not see.
    pub fn hidden(&self) -> u16 {
        self.hidden
    }

    /// Appends the sort key of a DataRow's body; where the part for DISTINCT ends, and the part for ORDER BY.
    pub fn append_key(&self, body: &[u8], out: &mut Vec<u8>) -> Step<(usize, usize)> {
        let row = Row::new(body).map_err(malformed)?;
        let mut ends = (0, 0);
        for (index, key) in self.keys.iter().enumerate() {
            append_sort_key(std::slice::from_ref(key), &row, out).map_err(malformed)?;
            if index + 1 == self.distinct {
                ends.0 = out.len();
            }
            if index + 1 == self.ordered {
                ends.1 = out.len();
            }
        }
        Ok(ends)
    }

    /// Shows the row whose turn it is, unless it is to be left out, or adds it to its group. `message`: the whole DataRow.
    /// `key`: its sort key, and where the parts for DISTINCT and for ORDER BY end.
    pub fn take(
        &mut self,
        message: &[u8],
        (key, distinct, ordered): (&[u8], usize, usize),
        out: &mut BytesMut,
    ) -> Step {
        if self
            .groups
            .as_ref()
            .is_some_and(|groups| !groups.takes(key))
        {
            self.end_group(out)?;
        }
        if let Some(groups) = &mut self.groups {
            return groups.add(&message[5..], key);
        }
        if self.limit.row(&key[..distinct], &key[..ordered]) == Verdict::Pass {
            self.rows += 1;
            if let Some(copy) = &mut self.copy {
                copy.row(&message[5..], self.hidden, out)
                    .map_err(malformed)?;
            } else if self.hidden == 0 {
                out.extend_from_slice(message);
            } else {
                Row::new(&message[5..])
                    .and_then(|row| row.write_without(self.hidden, out))
                    .map_err(malformed)?;
            }
        }
        Ok(())
    }

    /// All rows of a group have come: its row is shown.
    pub fn end_group(&mut self, out: &mut BytesMut) -> Step {
        if let Some(groups) = &mut self.groups
            && groups.is_open()
        {
            if self.limit.row(&[], &[]) == Verdict::Pass {
                self.rows += 1;
                match &mut self.copy {
                    None => groups.write(out)?,
                    Some(copy) => {
                        let mut row = BytesMut::new();
                        groups.write(&mut row)?;
                        let body = row.get(5..).unwrap_or_default();
                        copy.row(body, 0, out).map_err(malformed)?;
                    }
                }
            }
            groups.clear();
        }
        Ok(())
    }
}

fn malformed(error: Malformed) -> Failure {
    Report::error(error.sqlstate(), error.to_string()).into()
}

/// The format of one of the client's columns.
pub(super) fn format_of(bind: Option<&Bind<'_>>, column: usize) -> Format {
    match bind.map(|bind| bind.result_format(column)) {
        Some(1) => Format::Binary,
        _ => Format::Text,
    }
}

/// The keys as the rows will have them; `None`: the router does not reproduce the order of one of them.
fn sort_keys(
    scatter: &Scatter,
    types: Option<&Types>,
    bind: Option<&Bind<'_>>,
    utf8: bool,
) -> Step<Option<Vec<SortKey>>> {
    let type_of =
        |column: u16| types.and_then(|types| types.columns.get(usize::from(column)).copied());
    let mut keys = Vec::with_capacity(scatter.merge.keys.len());
    for key in &scatter.merge.keys {
        let Some(type_oid) = type_of(key.column) else {
            let short = "a shard has fewer columns than it was asked for";
            return Err(Report::error("XX000", short).into());
        };
        let collation = if key.bytewise && utf8 {
            Collation::C
        } else {
            Collation::Other
        };
        let Some(kind) = kind(type_oid, collation) else {
            return Ok(None);
        };
        let format = match key.column.checked_sub(scatter.hidden) {
            None => Format::Binary,
            Some(column) => format_of(bind, usize::from(column)),
        };
        if format == Format::Text && !kind.reads_text() {
            return Ok(None);
        }
        keys.push(SortKey {
            column: key.column,
            kind,
            format,
            descending: key.descending,
            nulls_first: key.nulls_first,
        });
    }
    Ok(Some(keys))
}
