//! One result of an aggregate, of the results that several shards have for their parts of the rows.
//!
//! Entry point: [`State`], one for each aggregate of the query: [`State::add`] for the cell of each shard's row,
//! [`State::finish`] for the result, [`State::clear`] before the next group. The partial result must be of the type that the
//! whole has, and NULL is ignored, as the aggregates ignore it. What comes out are the bytes that one server would have sent,
//! but for sums of floats, where a server promises no order of additions either.

mod decimal_sum;
mod extreme;
mod float_text;
mod state;

pub use state::State;

use super::kind::Kind;
use super::{Format, Malformed};

/// How partial results are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// `count`. Zero if there is nothing to add.
    Count,
    /// `sum` of `int2` and `int4`, whose result is an `int8`.
    SumInteger,
    /// `sum` of `int8` and `numeric`, whose result is a `numeric`.
    SumNumeric,
    SumFloat4,
    SumFloat8,
    Min(Kind),
    Max(Kind),
    /// `bool_and` and `every`.
    BoolAnd,
    BoolOr,
    BitAnd(Width),
    BitOr(Width),
    BitXor(Width),
}

/// Of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Int2,
    Int4,
    Int8,
}

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CombineError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("bigint out of range")]
    BigintOutOfRange,
    #[error("value out of range: overflow")]
    FloatOverflow,
    #[error("value overflows numeric format")]
    NumericOverflow,
    /// The cells of `min` and `max` can only be passed on as they came.
    #[error("a value is asked for in another format than its own")]
    OtherFormat,
}

impl CombineError {
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.sqlstate(),
            Self::BigintOutOfRange | Self::FloatOverflow | Self::NumericOverflow => "22003",
            Self::OtherFormat => "XX000",
        }
    }
}

impl Combine {
    /// Whether [`State::add`] reads this format. Floats are exact in binary form only, and the text form of other types
    /// depends on settings: see [`Kind::reads_text`].
    pub fn reads(self, format: Format) -> bool {
        format == Format::Binary
            || match self {
                Combine::SumFloat4 | Combine::SumFloat8 => false,
                Combine::Min(kind) | Combine::Max(kind) => kind.reads_text(),
                _ => true,
            }
    }

    /// Whether what comes in one format can be sent on in another. The text form of a sum of floats is that of
    /// `extra_float_digits` 1 and above.
    pub fn converts(self, from: Format, to: Format) -> bool {
        from == to || !matches!(self, Combine::Min(_) | Combine::Max(_))
    }
}
