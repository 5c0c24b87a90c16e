//! Merging the rows of several shards, without IO.
//!
//! The road of one row: [`row::Row`] reads it where it lies, [`key::append_sort_key`] makes its place in the order a
//! string of bytes, [`tournament::Tournament`] says whose turn it is, [`limit::Limit`] says whether the row is shown, and
//! [`row::Row::write_without`] writes it without the columns that were added for sorting. For aggregates,
//! [`combine::State`] makes one result of the partial results of several shards.
//!
//! Everything here gives exactly what one PostgreSQL would have given, or says beforehand that it cannot:
//! [`kind::kind`] knows the types whose order is reproduced, and [`kind::Kind::reads_text`] those that can be read in their
//! text form. A planner takes another road for the rest. Nothing is allocated per row.
//!
//! Deliberately absent: connections, the order of locales other than C, aggregates whose result is not a function of
//! partial results of the same type (`avg` and its like are combined by a query on a server).

pub mod arrays;
pub mod combine;
pub mod copy;
pub mod key;
pub mod kind;
pub mod limit;
mod numeric;
#[cfg(test)]
mod properties;
pub mod row;
mod scalar;
mod strings;
pub mod tournament;

/// How the cells of a column are written, as in RowDescription and Bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Binary,
}

/// A row or cell that is not what its type promises, or a format that is not read. SQLSTATE 08P01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a server sent a row that cannot be read")]
pub struct Malformed;

impl Malformed {
    pub fn sqlstate(&self) -> &'static str {
        "08P01"
    }
}

/// All of `bytes`, which must be as many as the type has.
fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| Malformed)
}
