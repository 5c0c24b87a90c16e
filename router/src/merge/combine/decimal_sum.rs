//! The exact sum of `numeric` values, as the server's `sum` has it (`numeric_sum` in
//! `src/backend/utils/adt/numeric.c`).
//!
//! Groups of four decimal digits are summed apart, with their signs, and carried only at the end; 64 bits have room for
//! 900 trillion summands. The scale is the greatest of all. A NaN, or both infinities, make NaN.

use bytes::{BufMut, BytesMut};

use crate::merge::numeric::{Decimal, Numeric};

const BASE: i64 = 10_000;

/// What the server sends as the scale of infinities: a bit of their sign that reads as a part of the scale.
const INFINITE_SCALE: u16 = 32;

/// The sum so far.
#[derive(Debug, Default)]
pub struct DecimalSum {
    /// From the greatest power of 10000 down.
    groups: Vec<i64>,
    /// The power of the first group.
    weight: i32,
    scale: u16,
    is_nan: bool,
    is_infinite: bool,
    is_negatively_infinite: bool,
}

/// A sum in full: what `numeric_out` and `numeric_send` write.
#[derive(Debug, PartialEq, Eq)]
pub enum Total {
    NegativeInfinity,
    Finite {
        negative: bool,
        weight: i16,
        scale: u16,
        /// Neither the first nor the last is zero; none for zero.
        groups: Vec<u16>,
    },
    Infinity,
    NotANumber,
}

/// More digits before the point than `numeric` has.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLarge;

impl DecimalSum {
    pub fn add(&mut self, value: &Numeric<'_>) {
        match value {
            Numeric::NegativeInfinity => self.is_negatively_infinite = true,
            Numeric::Infinity => self.is_infinite = true,
            Numeric::NotANumber => self.is_nan = true,
            Numeric::Finite(decimal) => self.add_finite(decimal),
        }
    }

    fn add_finite(&mut self, value: &Decimal<'_>) {
        self.scale = self.scale.max(value.scale);
        if value.is_zero() {
            return;
        }
        let weight = i32::from(value.weight);
        if self.groups.is_empty() {
            self.weight = weight;
        }
        if weight > self.weight {
            let missing = (weight - self.weight) as usize;
            self.groups.splice(0..0, std::iter::repeat_n(0, missing));
            self.weight = weight;
        }
        let start = (self.weight - weight) as usize;
        let end = start + value.len();
        if end > self.groups.len() {
            self.groups.resize(end, 0);
        }
        let sign = if value.negative { -1 } else { 1 };
        let mut position = start;
        value.for_each_group(|group| {
            self.groups[position] += sign * i64::from(group);
            position += 1;
        });
    }

    pub fn total(&self) -> Result<Total, TooLarge> {
        match (self.is_nan, self.is_infinite, self.is_negatively_infinite) {
            (true, _, _) | (_, true, true) => return Ok(Total::NotANumber),
            (_, true, _) => return Ok(Total::Infinity),
            (_, _, true) => return Ok(Total::NegativeInfinity),
            _ => {}
        }
        let (negative, digits) = match self.carried(1) {
            Some(digits) => (false, digits),
            // One of the two is not negative.
            None => (true, self.carried(-1).unwrap_or_default()),
        };
        let weight = self.weight + digits.len() as i32 - self.groups.len() as i32;
        let leading = digits.iter().take_while(|group| **group == 0).count();
        let trailing = digits.iter().rev().take_while(|group| **group == 0).count();
        if leading == digits.len() {
            return Ok(Total::Finite {
                negative: false,
                weight: 0,
                scale: self.scale,
                groups: Vec::new(),
            });
        }
        Ok(Total::Finite {
            negative,
            weight: i16::try_from(weight - leading as i32).map_err(|_| TooLarge)?,
            scale: self.scale,
            groups: digits[leading..digits.len() - trailing].to_vec(),
        })
    }

    /// The groups of the sum times `sign`, each less than 10000; `None` if that is negative.
    fn carried(&self, sign: i64) -> Option<Vec<u16>> {
        let mut carry = 0;
        let mut digits = Vec::with_capacity(self.groups.len() + 4);
        for group in self.groups.iter().rev() {
            let sum = sign * group + carry;
            digits.push(sum.rem_euclid(BASE) as u16);
            carry = sum.div_euclid(BASE);
        }
        while carry > 0 {
            digits.push((carry % BASE) as u16);
            carry /= BASE;
        }
        digits.reverse();
        (carry == 0).then_some(digits)
    }

    /// As new, but with its memory.
    pub fn clear(&mut self) {
        let mut groups = std::mem::take(&mut self.groups);
        groups.clear();
        *self = Self {
            groups,
            ..Self::default()
        };
    }
}

impl Total {
    pub fn write_text(&self, out: &mut BytesMut) {
        let (negative, weight, scale, groups) = match self {
            Total::NegativeInfinity => return out.put_slice(b"-Infinity"),
            Total::Infinity => return out.put_slice(b"Infinity"),
            Total::NotANumber => return out.put_slice(b"NaN"),
            Total::Finite {
                negative,
                weight,
                scale,
                groups,
            } => (*negative, i32::from(*weight), usize::from(*scale), groups),
        };
        let digits = |power: i32| {
            let index = usize::try_from(weight - power).ok();
            let group = index.and_then(|index| groups.get(index)).copied();
            let group = group.unwrap_or(0);
            [1000, 100, 10, 1].map(|unit| b'0' + (group / unit % 10) as u8)
        };
        if negative {
            out.put_u8(b'-');
        }
        let first = digits(weight.max(0));
        let zeros = first.iter().take(3).take_while(|digit| **digit == b'0');
        out.put_slice(&first[zeros.count()..]);
        for power in (0..weight).rev() {
            out.put_slice(&digits(power));
        }
        if scale > 0 {
            out.put_u8(b'.');
            for decimal in (0..scale).step_by(4) {
                let shown = (scale - decimal).min(4);
                out.put_slice(&digits(-1 - decimal as i32 / 4)[..shown]);
            }
        }
    }

    pub fn write_binary(&self, out: &mut BytesMut) {
        let (sign, weight, scale, groups) = match self {
            Total::NegativeInfinity => (0xf000, 0, INFINITE_SCALE, &[][..]),
            Total::Infinity => (0xd000, 0, INFINITE_SCALE, &[][..]),
            Total::NotANumber => (0xc000, 0, 0, &[][..]),
            Total::Finite {
                negative,
                weight,
                scale,
                groups,
            } => (u16::from(*negative) << 14, *weight, *scale, &groups[..]),
        };
        out.put_u16(groups.len() as u16);
        out.put_i16(weight);
        out.put_u16(sign);
        out.put_u16(scale);
        for group in groups {
            out.put_u16(*group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::Format;

    fn sum(values: &[&str]) -> String {
        let mut sum = DecimalSum::default();
        for value in values {
            sum.add(&Numeric::read(Format::Text, value.as_bytes()).expect(value));
        }
        let mut out = BytesMut::new();
        sum.total().expect("a total").write_text(&mut out);
        String::from_utf8(out.to_vec()).expect("ASCII")
    }

    #[test]
    fn sums_are_exact_and_keep_the_greatest_scale() {
        assert_eq!(sum(&["1", "2.50"]), "3.50");
        assert_eq!(sum(&["-0.5", "0.500"]), "0.000");
        assert_eq!(sum(&["0.00001", "-1"]), "-0.99999");
        assert_eq!(sum(&["9999.9999", "0.0001"]), "10000.0000");
        assert_eq!(sum(&["-9999", "-1"]), "-10000");
        assert_eq!(sum(&["10000", "-10000.5"]), "-0.5");
        assert_eq!(sum(&["100000000", "0.00000001"]), "100000000.00000001");
        assert_eq!(
            sum(&["99999999999999999999999999999999999999.9", "0.1"]),
            "100000000000000000000000000000000000000.0"
        );
        assert_eq!(sum(&["0", "0.0"]), "0.0");
    }

    #[test]
    fn what_is_not_finite_wins() {
        assert_eq!(sum(&["1", "Infinity"]), "Infinity");
        assert_eq!(sum(&["-Infinity", "Infinity"]), "NaN");
        assert_eq!(sum(&["-Infinity", "NaN", "1"]), "NaN");
        assert_eq!(sum(&["-Infinity", "5"]), "-Infinity");
    }

    #[test]
    fn a_sum_of_too_many_digits_is_refused() {
        let mut sum = DecimalSum::default();
        let nines = "9".repeat(131_072);
        let nines = Numeric::read(Format::Text, nines.as_bytes()).expect("a number");
        sum.add(&nines);
        assert!(sum.total().is_ok());
        sum.add(&nines);
        assert_eq!(sum.total(), Err(TooLarge));
    }
}
