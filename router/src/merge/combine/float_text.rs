//! `float4` and `float8` in text form, as PostgreSQL writes them while `extra_float_digits` is at least 1 (its default).
//!
//! The digits are the fewest that lie strictly between the midpoints to the neighbouring floats, and of those the nearest
//! to the value (`src/common/d2s.c` and `f2s.c`: Ryū with its bounds excluded, so that other readers' rounding does not
//! matter). Rust's own shortest form includes the bounds and is thus a lower limit for the number of digits. From there on
//! this tries the nearest decimal, and the one above it, which can be inside where a power of two has a narrow side below.

use std::fmt::LowerExp;
use std::num::FpCategory;
use std::str::FromStr;

use bytes::{BufMut, BytesMut};

/// Digits that are enough for any `float8`.
const MOST_DIGITS: usize = 17;

/// A float whose exact value can be taken apart.
pub trait Float: Copy + PartialEq + LowerExp + FromStr {
    /// Numbers from ten to this power on are written with an exponent.
    const FIXED_BELOW: i32;

    fn class(self) -> Class;

    /// Of a finite value other than zero, without its sign: mantissa, power of two, and whether the float below is only
    /// half as far as the one above.
    fn parts(self) -> (u64, i32, bool);
}

pub enum Class {
    NotANumber,
    Infinite { negative: bool },
    Zero { negative: bool },
    Other { negative: bool },
}

impl Float for f64 {
    const FIXED_BELOW: i32 = 15;

    fn class(self) -> Class {
        let negative = self.is_sign_negative();
        match self.classify() {
            FpCategory::Nan => Class::NotANumber,
            FpCategory::Infinite => Class::Infinite { negative },
            FpCategory::Zero => Class::Zero { negative },
            FpCategory::Normal | FpCategory::Subnormal => Class::Other { negative },
        }
    }

    fn parts(self) -> (u64, i32, bool) {
        let bits = self.to_bits();
        let fraction = bits & ((1 << 52) - 1);
        match (bits >> 52 & 0x7ff) as i32 {
            0 => (fraction, -1074, false),
            exponent => (
                fraction | 1 << 52,
                exponent - 1075,
                fraction == 0 && exponent > 1,
            ),
        }
    }
}

impl Float for f32 {
    const FIXED_BELOW: i32 = 6;

    fn class(self) -> Class {
        f64::from(self).class()
    }

    fn parts(self) -> (u64, i32, bool) {
        let bits = self.to_bits();
        let fraction = u64::from(bits & ((1 << 23) - 1));
        match (bits >> 23 & 0xff) as i32 {
            0 => (fraction, -149, false),
            exponent => (
                fraction | 1 << 23,
                exponent - 150,
                fraction == 0 && exponent > 1,
            ),
        }
    }
}

pub fn write<F: Float>(value: F, out: &mut BytesMut) {
    match value.class() {
        Class::NotANumber => out.put_slice(b"NaN"),
        Class::Infinite { negative: false } => out.put_slice(b"Infinity"),
        Class::Infinite { negative: true } => out.put_slice(b"-Infinity"),
        Class::Zero { negative: false } => out.put_slice(b"0"),
        Class::Zero { negative: true } => out.put_slice(b"-0"),
        Class::Other { negative } => {
            if negative {
                out.put_u8(b'-');
            }
            let (digits, exponent) = shortest(value);
            lay_out(&digits.to_string(), exponent, F::FIXED_BELOW, out);
        }
    }
}

/// Digits and a power of ten, without the sign.
fn shortest<F: Float>(value: F) -> (u64, i32) {
    let (least, _) = decimal(&format!("{value:e}"));
    let least = least.to_string().len();
    for places in least - 1..MOST_DIGITS {
        let (digits, exponent) = decimal(&format!("{value:.places$e}"));
        for digits in [digits, digits + 1] {
            if is_inside(value, digits, exponent) {
                return without_zeros(digits, exponent);
            }
        }
    }
    // Seventeen digits are always inside.
    decimal(&format!("{value:e}"))
}

/// Reads `-d.ddde-x` as an integer times a power of ten, without its sign.
fn decimal(text: &str) -> (u64, i32) {
    let (number, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let decimals = number.split_once('.').map_or(0, |(_, after)| after.len());
    let digits = number
        .bytes()
        .filter(u8::is_ascii_digit)
        .fold(0u64, |value, digit| {
            value.wrapping_mul(10) + u64::from(digit - b'0')
        });
    let exponent = exponent.parse().unwrap_or(0) - decimals as i32;
    (digits, exponent)
}

fn without_zeros(mut digits: u64, mut exponent: i32) -> (u64, i32) {
    while digits != 0 && digits.is_multiple_of(10) {
        digits /= 10;
        exponent += 1;
    }
    (digits, exponent)
}

/// Whether a decimal is read as the value however halves are rounded.
fn is_inside<F: Float>(value: F, digits: u64, exponent: i32) -> bool {
    let negative = matches!(value.class(), Class::Other { negative: true });
    let sign = if negative { "-" } else { "" };
    let read = format!("{sign}{digits}e{exponent}").parse::<F>();
    let (mantissa, power, narrow) = value.parts();
    let below = if narrow {
        (4 * mantissa - 1, power - 2)
    } else {
        (2 * mantissa - 1, power - 1)
    };
    let above = (2 * mantissa + 1, power - 1);
    read.is_ok_and(|read| read == value)
        && !is_equal(digits, exponent, below)
        && !is_equal(digits, exponent, above)
}

/// `digits * 10^exponent == odd * 2^power`. Both odd parts are below 2^57, so a power of five beyond 128 bits is unequal.
fn is_equal(digits: u64, exponent: i32, (odd, power): (u64, i32)) -> bool {
    let twos = digits.trailing_zeros();
    let Some(fives) = 5u128.checked_pow(exponent.unsigned_abs()) else {
        return false;
    };
    let (mut left, mut right) = (Some(u128::from(digits >> twos)), Some(u128::from(odd)));
    let side = if exponent < 0 { &mut right } else { &mut left };
    *side = side.and_then(|side| side.checked_mul(fives));
    left.is_some() && left == right && twos as i32 + exponent == power
}

/// `digits * 10^exponent`, as `%g` would choose between the two notations.
fn lay_out(digits: &str, exponent: i32, fixed_below: i32, out: &mut BytesMut) {
    let first = exponent + digits.len() as i32 - 1;
    let zeros = |count: i32, out: &mut BytesMut| out.put_bytes(b'0', count.max(0) as usize);
    if !(-4..fixed_below).contains(&first) {
        let (head, tail) = digits.split_at(1);
        out.put_slice(head.as_bytes());
        if !tail.is_empty() {
            out.put_u8(b'.');
            out.put_slice(tail.as_bytes());
        }
        let sign = if first < 0 { '-' } else { '+' };
        out.put_slice(format!("e{sign}{:02}", first.unsigned_abs()).as_bytes());
    } else if first < 0 {
        out.put_slice(b"0.");
        zeros(-first - 1, out);
        out.put_slice(digits.as_bytes());
    } else if exponent >= 0 {
        out.put_slice(digits.as_bytes());
        zeros(exponent, out);
    } else {
        let (integer, fraction) = digits.split_at(first as usize + 1);
        out.put_slice(integer.as_bytes());
        out.put_u8(b'.');
        out.put_slice(fraction.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<F: Float>(value: F) -> String {
        let mut out = BytesMut::new();
        write(value, &mut out);
        String::from_utf8(out.to_vec()).expect("ASCII")
    }

    #[test]
    fn floats_are_written_as_the_server_writes_them() {
        for (value, expected) in [
            (0.1, "0.1"),
            (-0.0, "-0"),
            (100.0, "100"),
            (123456789012345.0, "123456789012345"),
            (1e15, "1e+15"),
            (1.5e-4, "0.00015"),
            (1.5e-5, "1.5e-05"),
            (-1.25e300, "-1.25e+300"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
            // A power of two, with the narrow side below.
            (9007199254740992.0, "9.007199254740992e+15"),
            (2f64.powi(-44), "5.684341886080802e-14"),
            (9.5367431640625e-7, "9.5367431640625e-07"),
        ] {
            assert_eq!(text(value), expected);
        }
        for (value, expected) in [
            (0.1f32, "0.1"),
            (100000.0, "100000"),
            (1e6, "1e+06"),
            (f32::MIN_POSITIVE, "1.1754944e-38"),
            (16777216.0, "1.6777216e+07"),
            (33554432.0, "3.3554432e+07"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn a_decimal_on_the_midpoint_is_not_inside() {
        // 2^60 + 128 lies between two floats.
        assert!(is_equal(
            1_152_921_504_606_847_104,
            0,
            (9_007_199_254_740_993, 7)
        ));
        assert!(!is_inside(2f64.powi(60), 1_152_921_504_606_847_104, 0));
        assert!(is_equal(25, -2, (1, -2)));
        assert!(!is_equal(25, -1, (1, -2)));
    }
}
