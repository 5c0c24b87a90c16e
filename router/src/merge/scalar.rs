//! Values of a fixed length: how they are read, and their bytes in order.
//!
//! Signed numbers are ordered by their big-endian bytes once the sign bit is flipped.

use super::{Format, Malformed, exactly};

const MICROSECONDS_PER_SECOND: i64 = 1_000_000;
const MICROSECONDS_PER_DAY: i128 = 86_400_000_000;
const DAYS_PER_MONTH: i64 = 30;

pub fn boolean(format: Format, cell: &[u8]) -> Result<bool, Malformed> {
    match (format, cell) {
        (Format::Text, b"t") | (Format::Binary, [1]) => Ok(true),
        (Format::Text, b"f") | (Format::Binary, [0]) => Ok(false),
        _ => Err(Malformed),
    }
}

pub fn int2(format: Format, cell: &[u8]) -> Result<i16, Malformed> {
    match format {
        Format::Binary => Ok(i16::from_be_bytes(exactly(cell)?)),
        Format::Text => i16::try_from(decimal(cell)?).map_err(|_| Malformed),
    }
}

pub fn int4(format: Format, cell: &[u8]) -> Result<i32, Malformed> {
    match format {
        Format::Binary => Ok(i32::from_be_bytes(exactly(cell)?)),
        Format::Text => i32::try_from(decimal(cell)?).map_err(|_| Malformed),
    }
}

#[inline]
pub fn int8(format: Format, cell: &[u8]) -> Result<i64, Malformed> {
    match format {
        Format::Binary => Ok(i64::from_be_bytes(exactly(cell)?)),
        Format::Text => decimal(cell),
    }
}

pub fn oid(format: Format, cell: &[u8]) -> Result<[u8; 4], Malformed> {
    match format {
        Format::Binary => exactly(cell),
        Format::Text => u32::try_from(decimal(cell)?)
            .map(u32::to_be_bytes)
            .map_err(|_| Malformed),
    }
}

pub fn float4(cell: &[u8]) -> Result<f32, Malformed> {
    Ok(f32::from_be_bytes(exactly(cell)?))
}

pub fn float8(cell: &[u8]) -> Result<f64, Malformed> {
    Ok(f64::from_be_bytes(exactly(cell)?))
}

/// Days since 2000-01-01; the infinities are the least and the greatest number.
pub fn date(cell: &[u8]) -> Result<i32, Malformed> {
    Ok(i32::from_be_bytes(exactly(cell)?))
}

/// Of a day, or since 2000-01-01; the infinities of a timestamp are the least and the greatest number.
pub fn microseconds(cell: &[u8]) -> Result<i64, Malformed> {
    Ok(i64::from_be_bytes(exactly(cell)?))
}

/// `timetz_cmp_internal`: the moment in UTC, then the zone, in seconds west of it.
pub fn timetz(cell: &[u8]) -> Result<[u8; 12], Malformed> {
    let cell: [u8; 12] = exactly(cell)?;
    let (time, zone) = (microseconds(&cell[..8])?, date(&cell[8..])?);
    let moment = time
        .checked_add(i64::from(zone) * MICROSECONDS_PER_SECOND)
        .ok_or(Malformed)?;
    let mut key = [0; 12];
    key[..8].copy_from_slice(&ordered_i64(moment));
    key[8..].copy_from_slice(&ordered_i32(zone));
    Ok(key)
}

/// `interval_cmp_value`. PostgreSQL 17's infinities have all three fields at their limit, so they come out last and first.
pub fn interval(cell: &[u8]) -> Result<[u8; 16], Malformed> {
    let cell: [u8; 16] = exactly(cell)?;
    let time = microseconds(&cell[..8])?;
    let (days, months) = (date(&cell[8..12])?, date(&cell[12..])?);
    let days = i64::from(months) * DAYS_PER_MONTH + i64::from(days);
    let span = i128::from(time) + i128::from(days) * MICROSECONDS_PER_DAY;
    Ok(((span as u128) ^ (1 << 127)).to_be_bytes())
}

/// Text form: 32 hexadecimal digits with a hyphen after the 8th, 12th, 16th and 20th.
pub fn uuid(format: Format, cell: &[u8]) -> Result<[u8; 16], Malformed> {
    if format == Format::Binary {
        return exactly(cell);
    }
    let cell: [u8; 36] = exactly(cell)?;
    let mut key = [0; 16];
    let mut position = 0;
    for (index, byte) in key.iter_mut().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            if cell[position] != b'-' {
                return Err(Malformed);
            }
            position += 1;
        }
        *byte = hexadecimal(cell[position])? << 4 | hexadecimal(cell[position + 1])?;
        position += 2;
    }
    Ok(key)
}

fn hexadecimal(digit: u8) -> Result<u8, Malformed> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(Malformed),
    }
}

/// An integer as PostgreSQL writes it.
fn decimal(text: &[u8]) -> Result<i64, Malformed> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(Malformed);
    }
    // Towards the sign, because the least number has no positive counterpart.
    let mut value = 0i64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return Err(Malformed);
        }
        let digit = i64::from(digit - b'0');
        let tens = value.checked_mul(10).ok_or(Malformed)?;
        let next = if negative {
            tens.checked_sub(digit)
        } else {
            tens.checked_add(digit)
        };
        value = next.ok_or(Malformed)?;
    }
    Ok(value)
}

pub fn ordered_i16(value: i16) -> [u8; 2] {
    (value as u16 ^ 1 << 15).to_be_bytes()
}

pub fn ordered_i32(value: i32) -> [u8; 4] {
    (value as u32 ^ 1 << 31).to_be_bytes()
}

#[inline]
pub fn ordered_i64(value: i64) -> [u8; 8] {
    (value as u64 ^ 1 << 63).to_be_bytes()
}

/// Negative numbers have all bits flipped, others the sign bit. Every NaN is the same and the greatest; -0 is 0.
pub fn ordered_f32(value: f32) -> [u8; 4] {
    if value.is_nan() {
        return [0xff; 4];
    }
    let bits = (value + 0.0).to_bits();
    let flip = if bits >> 31 == 1 { u32::MAX } else { 1 << 31 };
    (bits ^ flip).to_be_bytes()
}

/// As [`ordered_f32`].
pub fn ordered_f64(value: f64) -> [u8; 8] {
    if value.is_nan() {
        return [0xff; 8];
    }
    let bits = (value + 0.0).to_bits();
    let flip = if bits >> 63 == 1 { u64::MAX } else { 1 << 63 };
    (bits ^ flip).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_in_text_form_are_read_to_their_limits() {
        let read = |text: &str| int8(Format::Text, text.as_bytes());
        assert_eq!(read("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(read("9223372036854775807"), Ok(i64::MAX));
        for text in [
            "",
            "-",
            "+1",
            " 1",
            "1 ",
            "1a",
            "9223372036854775808",
            "--1",
        ] {
            assert_eq!(read(text), Err(Malformed), "{text}");
        }
        assert_eq!(int2(Format::Text, b"32768"), Err(Malformed));
        assert_eq!(oid(Format::Text, b"4294967295"), Ok([0xff; 4]));
        assert_eq!(oid(Format::Text, b"-1"), Err(Malformed));
    }

    #[test]
    fn floats_are_ordered() {
        let ascending = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.5,
            -f64::MIN_POSITIVE,
            -5e-324,
            0.0,
            5e-324,
            1.0,
            f64::MAX,
            f64::INFINITY,
            f64::NAN,
        ];
        assert!(
            ascending
                .windows(2)
                .all(|pair| ordered_f64(pair[0]) < ordered_f64(pair[1]))
        );
        assert_eq!(ordered_f64(-0.0), ordered_f64(0.0));
        assert_eq!(ordered_f64(-f64::NAN), ordered_f64(f64::NAN));
        assert_eq!(ordered_f32(-0.0), ordered_f32(0.0));
        assert!(ordered_f32(f32::INFINITY) < ordered_f32(-f32::NAN));
    }

    #[test]
    fn a_month_is_thirty_days() {
        let cell = |time: i64, days: i32, months: i32| {
            let mut cell = time.to_be_bytes().to_vec();
            cell.extend(days.to_be_bytes());
            cell.extend(months.to_be_bytes());
            interval(&cell)
        };
        assert_eq!(cell(0, 0, 1), cell(86_400_000_000, 29, 0));
        assert!(cell(i64::MAX, i32::MAX, i32::MAX).ok() > cell(i64::MAX, i32::MAX, 0).ok());
        assert!(cell(i64::MIN, i32::MIN, i32::MIN).ok() < cell(0, 0, -1).ok());
    }
}
