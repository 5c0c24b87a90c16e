//! One aggregate of one group, on its way to its result.

use bytes::{BufMut, BytesMut};

use super::decimal_sum::{DecimalSum, TooLarge};
use super::extreme::Extreme;
use super::{Combine, CombineError, Width, float_text};
use crate::merge::numeric::Numeric;
use crate::merge::{Format, Malformed, scalar};

const NULL: i32 = -1;

/// One aggregate of one group.
#[derive(Debug)]
pub struct State {
    combine: Combine,
    /// Whether a value other than NULL was added.
    is_set: bool,
    value: Value,
}

#[derive(Debug)]
enum Value {
    /// Wide enough for every sum of partial sums, so that only the result can be out of range.
    Integer(i128),
    Decimal(DecimalSum),
    Float4(f32),
    Float8(f64),
    Bool(bool),
    Bits(i64),
    Extreme(Extreme),
}

impl State {
    pub fn new(combine: Combine) -> Self {
        let value = match combine {
            Combine::Count | Combine::SumInteger => Value::Integer(0),
            Combine::SumNumeric => Value::Decimal(DecimalSum::default()),
            Combine::SumFloat4 => Value::Float4(0.0),
            Combine::SumFloat8 => Value::Float8(0.0),
            Combine::BoolAnd | Combine::BoolOr => Value::Bool(false),
            Combine::BitAnd(_) | Combine::BitOr(_) | Combine::BitXor(_) => Value::Bits(0),
            Combine::Min(kind) => Value::Extreme(Extreme::new(kind, true)),
            Combine::Max(kind) => Value::Extreme(Extreme::new(kind, false)),
        };
        Self {
            combine,
            is_set: false,
            value,
        }
    }

    /// Adds one shard's result; `None` is NULL.
    pub fn add(&mut self, format: Format, cell: Option<&[u8]>) -> Result<(), CombineError> {
        match cell {
            Some(cell) => self.add_value(format, cell, format, cell),
            None => Ok(()),
        }
    }

    /// As [`State::add`] for `min` and `max` of a type that cannot be read in the form the client wants it in: `by` is
    /// the same value in a form that can be read, from another column.
    pub fn add_by(
        &mut self,
        by: (Format, Option<&[u8]>),
        format: Format,
        cell: Option<&[u8]>,
    ) -> Result<(), CombineError> {
        match (by.1, cell) {
            (Some(by_cell), Some(cell)) => self.add_value(by.0, by_cell, format, cell),
            (None, None) => Ok(()),
            _ => Err(Malformed.into()),
        }
    }

    fn add_value(
        &mut self,
        by_format: Format,
        by: &[u8],
        format: Format,
        cell: &[u8],
    ) -> Result<(), CombineError> {
        if !self.combine.reads(by_format) {
            return Err(Malformed.into());
        }
        let is_first = !self.is_set;
        match &mut self.value {
            Value::Integer(sum) => *sum += i128::from(scalar::int8(by_format, by)?),
            Value::Decimal(sum) => sum.add(&Numeric::read(by_format, by)?),
            // The first value is the sum as it is: zero plus -0 would be another.
            Value::Float4(sum) if is_first => *sum = scalar::float4(by)?,
            Value::Float4(sum) => *sum = sum_of_floats(*sum, scalar::float4(by)?)?,
            Value::Float8(sum) if is_first => *sum = scalar::float8(by)?,
            Value::Float8(sum) => *sum = sum_of_floats(*sum, scalar::float8(by)?)?,
            Value::Bool(value) => {
                let other = scalar::boolean(by_format, by)?;
                *value = match self.combine {
                    _ if is_first => other,
                    Combine::BoolAnd => *value && other,
                    _ => *value || other,
                };
            }
            Value::Bits(value) => {
                let other = self.combine.integer(by_format, by)?;
                *value = match self.combine {
                    _ if is_first => other,
                    Combine::BitAnd(_) => *value & other,
                    Combine::BitOr(_) => *value | other,
                    _ => *value ^ other,
                };
            }
            Value::Extreme(extreme) => {
                extreme.add(is_first, (by_format, by), format, cell)?;
            }
        }
        self.is_set = true;
        Ok(())
    }

    /// Appends the result as a cell of a row: its length and bytes, or NULL. After an error `out` is as before.
    pub fn finish(&self, format: Format, out: &mut BytesMut) -> Result<(), CombineError> {
        if !self.is_set && self.combine != Combine::Count {
            out.put_i32(NULL);
            return Ok(());
        }
        let start = out.len();
        out.put_i32(0);
        if let Err(error) = self.write(format, out) {
            out.truncate(start);
            return Err(error);
        }
        let length = u32::try_from(out.len() - start - 4).map_err(|_| Malformed)?;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn write(&self, format: Format, out: &mut BytesMut) -> Result<(), CombineError> {
        match (&self.value, format) {
            (Value::Integer(sum), _) => {
                let sum = i64::try_from(*sum).map_err(|_| CombineError::BigintOutOfRange)?;
                write_integer(Width::Int8, sum, format, out);
            }
            (Value::Decimal(sum), _) => {
                let total = sum
                    .total()
                    .map_err(|TooLarge| CombineError::NumericOverflow)?;
                match format {
                    Format::Text => total.write_text(out),
                    Format::Binary => total.write_binary(out),
                }
            }
            (Value::Float4(sum), Format::Text) => float_text::write(*sum, out),
            (Value::Float4(sum), Format::Binary) => out.put_f32(*sum),
            (Value::Float8(sum), Format::Text) => float_text::write(*sum, out),
            (Value::Float8(sum), Format::Binary) => out.put_f64(*sum),
            (Value::Bool(value), Format::Text) => out.put_u8(if *value { b't' } else { b'f' }),
            (Value::Bool(value), Format::Binary) => out.put_u8(u8::from(*value)),
            (Value::Bits(value), _) => write_integer(self.combine.width(), *value, format, out),
            (Value::Extreme(extreme), _) if extreme.is_in(format) => extreme.write(out),
            (Value::Extreme(_), _) => return Err(CombineError::OtherFormat),
        }
        Ok(())
    }

    /// Forgets what was added, but keeps its memory.
    pub fn clear(&mut self) {
        self.is_set = false;
        match &mut self.value {
            Value::Integer(sum) => *sum = 0,
            Value::Decimal(sum) => sum.clear(),
            // The rest begin with their first value.
            _ => {}
        }
    }
}

impl Combine {
    fn width(self) -> Width {
        match self {
            Combine::BitAnd(width) | Combine::BitOr(width) | Combine::BitXor(width) => width,
            _ => Width::Int8,
        }
    }

    fn integer(self, format: Format, cell: &[u8]) -> Result<i64, Malformed> {
        match self.width() {
            Width::Int2 => scalar::int2(format, cell).map(i64::from),
            Width::Int4 => scalar::int4(format, cell).map(i64::from),
            Width::Int8 => scalar::int8(format, cell),
        }
    }
}

/// `float4pl` and `float8pl`: infinity out of finite numbers is an error.
fn sum_of_floats<F>(one: F, other: F) -> Result<F, CombineError>
where
    F: Copy + std::ops::Add<Output = F> + Into<f64>,
{
    let sum = one + other;
    if sum.into().is_infinite() && one.into().is_finite() && other.into().is_finite() {
        return Err(CombineError::FloatOverflow);
    }
    Ok(sum)
}

fn write_integer(width: Width, value: i64, format: Format, out: &mut BytesMut) {
    match (format, width) {
        (Format::Text, _) => out.put_slice(value.to_string().as_bytes()),
        // What was read in a width is written in it again.
        (Format::Binary, Width::Int2) => out.put_i16(value as i16),
        (Format::Binary, Width::Int4) => out.put_i32(value as i32),
        (Format::Binary, Width::Int8) => out.put_i64(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::kind::Kind;

    /// The text of the result of text cells; `None` is NULL.
    fn text(combine: Combine, cells: &[Option<&str>]) -> Result<Option<String>, CombineError> {
        let mut state = State::new(combine);
        for cell in cells {
            state.add(Format::Text, cell.map(str::as_bytes))?;
        }
        let mut out = BytesMut::new();
        state.finish(Format::Text, &mut out)?;
        let body = [&[0, 1][..], &out].concat();
        let row = crate::merge::row::Row::new(&body)?;
        Ok(row
            .cell(0)?
            .map(|cell| String::from_utf8_lossy(cell).into_owned()))
    }

    fn some(text: &str) -> Result<Option<String>, CombineError> {
        Ok(Some(text.to_owned()))
    }

    #[test]
    fn nulls_are_ignored_and_only_count_is_never_null() {
        assert_eq!(text(Combine::Count, &[]), some("0"));
        assert_eq!(text(Combine::Count, &[Some("2"), Some("40")]), some("42"));
        assert_eq!(text(Combine::SumInteger, &[None, None]), Ok(None));
        assert_eq!(text(Combine::SumInteger, &[None, Some("-1")]), some("-1"));
        assert_eq!(text(Combine::BoolOr, &[None, Some("f")]), some("f"));
        assert_eq!(text(Combine::Min(Kind::Text), &[None]), Ok(None));
    }

    #[test]
    fn only_the_result_can_be_out_of_range() {
        let (most, one) = (Some("9223372036854775807"), Some("1"));
        assert_eq!(
            text(Combine::SumInteger, &[most, one]),
            Err(CombineError::BigintOutOfRange)
        );
        assert_eq!(
            text(Combine::SumInteger, &[most, one, Some("-1")]),
            some("9223372036854775807")
        );
        let mut sum = State::new(Combine::SumFloat8);
        let most = f64::MAX.to_be_bytes();
        assert_eq!(sum.add(Format::Binary, Some(&most)), Ok(()));
        assert_eq!(
            sum.add(Format::Binary, Some(&most)),
            Err(CombineError::FloatOverflow)
        );
    }

    #[test]
    fn equal_cells_are_kept_as_the_server_keeps_them() {
        let cells = [Some("1.0"), Some("1.00"), Some("2")];
        assert_eq!(text(Combine::Min(Kind::Numeric), &cells), some("1.00"));
        let cells = [Some("a "), Some("a"), Some("")];
        assert_eq!(text(Combine::Max(Kind::Bpchar), &cells), some("a "));
    }

    #[test]
    fn a_group_forgets_the_one_before_it() {
        for combine in [
            Combine::SumNumeric,
            Combine::SumInteger,
            Combine::BitAnd(Width::Int4),
            Combine::Max(Kind::Int4),
        ] {
            let mut state = State::new(combine);
            state.add(Format::Text, Some(b"7")).expect("a value");
            state.clear();
            let mut out = BytesMut::new();
            state.finish(Format::Text, &mut out).expect("NULL");
            assert_eq!(out[..], NULL.to_be_bytes());
            state.add(Format::Text, Some(b"2")).expect("a value");
            out.clear();
            state.finish(Format::Text, &mut out).expect("a value");
            assert_eq!(out[..], [0, 0, 0, 1, b'2']);
        }
    }

    #[test]
    fn a_value_is_compared_by_its_other_form() {
        let mut state = State::new(Combine::Max(Kind::Date));
        for (days, text) in [(1i32, "2000-01-02"), (400, "2001-02-04"), (0, "2000-01-01")] {
            state
                .add_by(
                    (Format::Binary, Some(&days.to_be_bytes())),
                    Format::Text,
                    Some(text.as_bytes()),
                )
                .expect("a date");
        }
        let mut out = BytesMut::new();
        state.finish(Format::Text, &mut out).expect("a date");
        assert_eq!(&out[4..], b"2001-02-04");
        out.clear();
        assert_eq!(
            state.finish(Format::Binary, &mut out),
            Err(CombineError::OtherFormat)
        );
        assert!(out.is_empty());
        assert!(!Combine::Max(Kind::Date).reads(Format::Text));
        assert!(!Combine::Max(Kind::Int4).converts(Format::Text, Format::Binary));
    }
}
