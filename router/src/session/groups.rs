//! Groups of a scattered query: rows of several shards that agree in all keys become one.
//!
//! Entry point: [`Groups`]. Rows come in the order of the keys, so that one group is open at a time.

use bytes::{BufMut, BytesMut};
use planner::{Combined, Scatter, Types};

use super::Step;
use super::merging::format_of;
use super::report::{Failure, Report};
use crate::merge::combine::{Combine, CombineError, State, Width};
use crate::merge::kind::{Collation, kind};
use crate::merge::row::Row;
use crate::merge::{Format, Malformed};
use crate::wire::frontend::Bind;

/// The open group, and how its columns are combined.
pub(super) struct Groups {
    hidden: u16,
    columns: Vec<Column>,
    /// The open group's sort key.
    key: Vec<u8>,
    is_open: bool,
}

struct Column {
    format: Format,
    value: Value,
}

enum Value {
    /// The cell of the first row, with its length.
    First(Vec<u8>),
    State(State),
}

impl Groups {
    /// The outer `None`: the router does not combine values of one of the types exactly. The inner: there is nothing to combine.
    pub fn new(
        scatter: &Scatter,
        types: Option<&Types>,
        bind: Option<&Bind<'_>>,
        utf8: bool,
    ) -> Option<Option<Groups>> {
        let Some(combined) = &scatter.merge.combine else {
            return Some(None);
        };
        let mut columns = Vec::with_capacity(combined.len());
        for (index, combined) in combined.iter().enumerate() {
            let type_oid = types
                .and_then(|types| types.columns.get(usize::from(scatter.hidden) + index))
                .copied()
                .unwrap_or(0);
            let format = format_of(bind, index);
            let value = match combine(*combined, type_oid, utf8) {
                Way::First => Value::First(Vec::new()),
                Way::Combine(combine) if combine.reads(format) => Value::State(State::new(combine)),
                Way::Combine(_) | Way::Unknown => return None,
            };
            columns.push(Column { format, value });
        }
        Some(Some(Groups {
            hidden: scatter.hidden,
            columns,
            key: Vec::new(),
            is_open: false,
        }))
    }

    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether a row with this key is one of the open group's, or may open one.
    pub fn takes(&self, key: &[u8]) -> bool {
        !self.is_open || self.key == key
    }

    /// Adds a row.
    pub fn add(&mut self, body: &[u8], key: &[u8]) -> Step {
        let row = Row::new(body).map_err(|malformed| failure(malformed.into()))?;
        for (index, column) in (self.hidden..).zip(&mut self.columns) {
            let cell = row
                .cell(index)
                .map_err(|malformed| failure(malformed.into()))?;
            match &mut column.value {
                Value::State(state) => state.add(column.format, cell).map_err(failure)?,
                Value::First(_) if self.is_open => {}
                Value::First(first) => match cell {
                    None => first.put_i32(-1),
                    Some(cell) => {
                        // It came with a length that fitted.
                        first.put_i32(
                            i32::try_from(cell.len()).map_err(|_| failure(Malformed.into()))?,
                        );
                        first.extend_from_slice(cell);
                    }
                },
            }
        }
        if !self.is_open {
            self.is_open = true;
            self.key.extend_from_slice(key);
        }
        Ok(())
    }

    /// Writes the group's row.
    pub fn write(&self, out: &mut BytesMut) -> Step {
        let start = out.len();
        out.put_u8(b'D');
        out.put_u32(0);
        out.put_u16(self.columns.len() as u16);
        for column in &self.columns {
            match &column.value {
                Value::First(cell) => out.extend_from_slice(cell),
                Value::State(state) => {
                    if let Err(error) = state.finish(column.format, out) {
                        out.truncate(start);
                        return Err(failure(error));
                    }
                }
            }
        }
        let length = u32::try_from(out.len() - start - 1).map_err(|_| failure(Malformed.into()))?;
        out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Makes room for the next group.
    pub fn clear(&mut self) {
        self.is_open = false;
        self.key.clear();
        for column in &mut self.columns {
            match &mut column.value {
                Value::First(first) => first.clear(),
                Value::State(state) => state.clear(),
            }
        }
    }
}

enum Way {
    First,
    Combine(Combine),
    Unknown,
}

fn combine(combined: Combined, type_oid: u32, utf8: bool) -> Way {
    let of_kind = |bytewise: bool, of: fn(crate::merge::kind::Kind) -> Combine| {
        let collation = if bytewise && utf8 {
            Collation::C
        } else {
            Collation::Other
        };
        kind(type_oid, collation).map(of)
    };
    let width = match type_oid {
        20 => Some(Width::Int8),
        21 => Some(Width::Int2),
        23 => Some(Width::Int4),
        _ => None,
    };
    let combine = match combined {
        Combined::Key => return Way::First,
        Combined::Count => Some(Combine::Count),
        Combined::Sum => match type_oid {
            20 => Some(Combine::SumInteger),
            700 => Some(Combine::SumFloat4),
            701 => Some(Combine::SumFloat8),
            1700 => Some(Combine::SumNumeric),
            _ => None,
        },
        Combined::Least { bytewise } => of_kind(bytewise, Combine::Min),
        Combined::Greatest { bytewise } => of_kind(bytewise, Combine::Max),
        Combined::And => Some(Combine::BoolAnd),
        Combined::Or => Some(Combine::BoolOr),
        Combined::BitAnd => width.map(Combine::BitAnd),
        Combined::BitOr => width.map(Combine::BitOr),
        Combined::BitXor => width.map(Combine::BitXor),
    };
    combine.map_or(Way::Unknown, Way::Combine)
}

fn failure(error: CombineError) -> Failure {
    Report::error(error.sqlstate(), error.to_string()).into()
}
