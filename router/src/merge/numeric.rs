//! A `numeric` where it lies, in either form, and its normalized key.
//!
//! Both forms are read as groups of four decimal digits (PostgreSQL's base 10000, `src/backend/utils/adt/numeric.c`) with
//! a *weight*: the power of 10000 of the first group. Zero groups at both ends are dropped, so equal numbers have equal
//! groups whatever their scale. The *scale* is the number of decimals that are shown.

use super::{Format, Malformed, exactly};

/// Decimals that a value can have.
const GREATEST_SCALE: usize = 0x3fff;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;

/// One value, borrowed from a cell.
#[derive(Clone, Copy, Debug)]
pub enum Numeric<'a> {
    NegativeInfinity,
    Finite(Decimal<'a>),
    Infinity,
    NotANumber,
}

/// A finite number. Without groups it is zero.
#[derive(Clone, Copy, Debug)]
pub struct Decimal<'a> {
    pub negative: bool,
    pub weight: i16,
    pub scale: u16,
    groups: Groups<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Groups<'a> {
    /// Two bytes each.
    Binary(&'a [u8]),
    /// Digits before and after the point. The last group of the fraction may lack zeros at its end.
    Text {
        integer: &'a [u8],
        fraction: &'a [u8],
    },
}

impl<'a> Numeric<'a> {
    pub fn read(format: Format, cell: &'a [u8]) -> Result<Self, Malformed> {
        match format {
            Format::Binary => Self::read_binary(cell),
            Format::Text => match cell {
                b"NaN" => Ok(Self::NotANumber),
                b"Infinity" => Ok(Self::Infinity),
                b"-Infinity" => Ok(Self::NegativeInfinity),
                text => read_text(text).map(Self::Finite),
            },
        }
    }

    /// Number of groups, weight, sign, scale, groups.
    fn read_binary(cell: &'a [u8]) -> Result<Self, Malformed> {
        let (header, mut groups) = cell.split_at_checked(8).ok_or(Malformed)?;
        let [c0, c1, w0, w1, s0, s1, d0, d1] = exactly(header)?;
        let count = usize::from(u16::from_be_bytes([c0, c1]));
        let negative = match u16::from_be_bytes([s0, s1]) {
            NOT_A_NUMBER => return Ok(Self::NotANumber),
            INFINITY => return Ok(Self::Infinity),
            NEGATIVE_INFINITY => return Ok(Self::NegativeInfinity),
            POSITIVE => false,
            NEGATIVE => true,
            _ => return Err(Malformed),
        };
        let scale = u16::from_be_bytes([d0, d1]);
        let valid = groups.len() == 2 * count
            && usize::from(scale) <= GREATEST_SCALE
            && groups.chunks_exact(2).all(|group| pair(group) < 10_000);
        if !valid {
            return Err(Malformed);
        }
        let mut weight = i16::from_be_bytes([w0, w1]);
        while let [0, 0, rest @ ..] = groups {
            groups = rest;
            weight = weight.checked_sub(1).ok_or(Malformed)?;
        }
        while let [rest @ .., 0, 0] = groups {
            groups = rest;
        }
        Ok(Self::Finite(Decimal {
            negative,
            weight,
            scale,
            groups: Groups::Binary(groups),
        }))
    }
}

/// `-?digits(.digits)?`: PostgreSQL writes no exponents.
fn read_text(text: &[u8]) -> Result<Decimal<'_>, Malformed> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mut integer, mut fraction) = match memchr::memchr(b'.', text) {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &[][..]),
    };
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    let scale = u16::try_from(fraction.len()).map_err(|_| Malformed)?;
    let valid = digits(integer)
        && digits(fraction)
        && !integer.is_empty()
        && fraction.len() <= GREATEST_SCALE
        && fraction.is_empty() == (integer.len() == text.len());
    if !valid {
        return Err(Malformed);
    }
    while let [b'0', rest @ ..] = integer {
        integer = rest;
    }
    while let [rest @ .., b'0'] = fraction {
        fraction = rest;
    }
    let mut weight = integer.len().div_ceil(4) as i64 - 1;
    if integer.is_empty() {
        while let [b'0', b'0', b'0', b'0', rest @ ..] = fraction {
            fraction = rest;
            weight -= 1;
        }
    } else if fraction.is_empty() {
        while let [rest @ .., b'0', b'0', b'0', b'0'] = integer {
            integer = rest;
        }
    }
    Ok(Decimal {
        negative,
        weight: i16::try_from(weight).map_err(|_| Malformed)?,
        scale,
        groups: Groups::Text { integer, fraction },
    })
}

impl Decimal<'_> {
    pub fn is_zero(&self) -> bool {
        self.len() == 0
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        match self.groups {
            Groups::Binary(groups) => groups.len() / 2,
            Groups::Text { integer, fraction } => {
                integer.len().div_ceil(4) + fraction.len().div_ceil(4)
            }
        }
    }

    /// All groups, from the greatest power down. Neither the first nor the last is zero.
    #[inline]
    pub fn for_each_group(&self, mut visit: impl FnMut(u16)) {
        match self.groups {
            Groups::Binary(groups) => groups.chunks_exact(2).map(pair).for_each(visit),
            Groups::Text { integer, fraction } => {
                let (first, rest) = integer.split_at(integer.len() % 4);
                if !first.is_empty() {
                    visit(number(first, first.len()));
                }
                for group in rest.chunks_exact(4).chain(fraction.chunks(4)) {
                    visit(number(group, 4));
                }
            }
        }
    }
}

fn pair(group: &[u8]) -> u16 {
    u16::from_be_bytes([group[0], group[1]])
}

/// The number that ASCII digits are once zeros have made them `length` digits.
fn number(digits: &[u8], length: usize) -> u16 {
    let value = digits
        .iter()
        .fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    (digits.len()..length).fold(value, |value, _| value * 10)
}

/// A byte for the class of number; for numbers other than zero the weight and the groups, each group plus one, so that
/// zero can end them. What follows the class is inverted for negative numbers.
pub fn append_key(value: &Numeric<'_>, out: &mut Vec<u8>) {
    let decimal = match value {
        Numeric::NegativeInfinity => return out.push(0),
        Numeric::Infinity => return out.push(4),
        Numeric::NotANumber => return out.push(5),
        Numeric::Finite(decimal) if decimal.is_zero() => return out.push(2),
        Numeric::Finite(decimal) => decimal,
    };
    let (class, flip) = if decimal.negative {
        (1, u16::MAX)
    } else {
        (3, 0)
    };
    out.push(class);
    let weight = decimal.weight as u16 ^ 1 << 15;
    out.extend_from_slice(&(weight ^ flip).to_be_bytes());
    decimal.for_each_group(|group| out.extend_from_slice(&((group + 1) ^ flip).to_be_bytes()));
    out.extend_from_slice(&flip.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let value = Numeric::read(Format::Text, text.as_bytes()).expect(text);
        append_key(&value, &mut out);
        out
    }

    #[test]
    fn numbers_are_ordered() {
        let ascending = [
            "-Infinity",
            "-100000000000000000000000000000000000000000",
            "-10001",
            "-10000.5",
            "-10000",
            "-9999.9999",
            "-1",
            "-0.00000000000000000000000000000001",
            "0",
            "0.000000000000000000000000000000012",
            "0.0001",
            "0.00010001",
            "0.05",
            "0.5",
            "1",
            "1.00000001",
            "9999",
            "10000",
            "10000.0001",
            "20000",
            "Infinity",
            "NaN",
        ];
        assert!(ascending.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
    }

    #[test]
    fn the_scale_does_not_count() {
        assert_eq!(key("1"), key("1.000000000"));
        assert_eq!(key("0"), key("-0.00"));
        assert_eq!(key("10000"), key("00010000.0"));
        assert_eq!(key("0.5"), key("0.50000"));
    }

    #[test]
    fn both_forms_give_the_same_key() {
        let binary = [
            0, 4, 0, 1, 0x40, 0, 0,
            6, // four groups, the first times 10000, negative, six decimals
            0, 0, 0, 12, 0x13, 0x88, 0, 0,
        ];
        let mut out = Vec::new();
        append_key(
            &Numeric::read(Format::Binary, &binary).expect("a number"),
            &mut out,
        );
        assert_eq!(out, key("-12.500000"));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let read = |format, cell: &[u8]| Numeric::read(format, cell).is_err();
        for text in [
            "", "-", ".", "1.", ".5", "1e5", " 1", "1 ", "+1", "1.2.3", "nan", "--1",
        ] {
            assert!(read(Format::Text, text.as_bytes()), "{text}");
        }
        assert!(read(Format::Text, "1".repeat(131_073).as_bytes()));
        assert!(!read(Format::Text, "1".repeat(131_072).as_bytes()));
        for cell in [
            &[0, 0, 0, 0, 0, 0, 0][..],
            &[0, 1, 0, 0, 0, 0, 0, 0],
            &[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10],
            &[0, 0, 0, 0, 0x10, 0, 0, 0],
            &[0, 0, 0, 0, 0, 0, 0xff, 0],
        ] {
            assert!(read(Format::Binary, cell), "{cell:?}");
        }
    }
}
