//! Values of any length: how they are ended without changing their order.
//!
//! Text holds no zero byte, so a zero ends it. In `bytea` a zero is followed by 0xff, and two zeros are the end.

use super::{Format, Malformed, exactly};

/// Compared byte by byte, the shorter first.
#[inline]
pub fn append_text(cell: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    if memchr::memchr(0, cell).is_some() {
        return Err(Malformed);
    }
    out.reserve(cell.len() + 1);
    out.extend_from_slice(cell);
    out.push(0);
    Ok(())
}

/// What of a `char(n)` counts when it is compared.
pub fn without_blanks(cell: &[u8]) -> &[u8] {
    let blanks = cell.iter().rev().take_while(|byte| **byte == b' ').count();
    &cell[..cell.len() - blanks]
}

/// The byte of a `"char"`. In text form zero is written as nothing, and PostgreSQL 16 and later write bytes above 127 as
/// a backslash and three octal digits.
pub fn char(format: Format, cell: &[u8]) -> Result<u8, Malformed> {
    match (format, cell) {
        (_, [byte]) => Ok(*byte),
        (Format::Text, []) => Ok(0),
        (Format::Text, [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7']) => {
            Ok((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
        }
        _ => Err(Malformed),
    }
}

pub fn append_bytes(mut cell: &[u8], out: &mut Vec<u8>) {
    out.reserve(cell.len() + 2);
    while let Some(zero) = memchr::memchr(0, cell) {
        out.extend_from_slice(&cell[..=zero]);
        out.push(0xff);
        cell = &cell[zero + 1..];
    }
    out.extend_from_slice(cell);
    out.extend_from_slice(&[0, 0]);
}

/// `bit_cmp` compares the bytes, then the lengths in bits: bit strings in the order of a dictionary. Among strings of
/// the same bytes the number of bits in the last one decides.
pub fn append_bits(format: Format, cell: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let bits = match format {
        Format::Binary => {
            let (length, bytes) = cell.split_at_checked(4).ok_or(Malformed)?;
            let bits = u32::from_be_bytes(exactly(length)?) as usize;
            let padding = bytes.last().map_or(0, |last| match bits % 8 {
                0 => 0,
                used => last << used,
            });
            if bytes.len() != bits.div_ceil(8) || padding != 0 {
                return Err(Malformed);
            }
            append_bytes(bytes, out);
            bits
        }
        Format::Text => {
            for eight in cell.chunks(8) {
                let byte = packed(eight)?;
                out.push(byte);
                if byte == 0 {
                    out.push(0xff);
                }
            }
            out.extend_from_slice(&[0, 0]);
            cell.len()
        }
    };
    // One to eight bits of the last byte, as 0 to 7.
    out.push(((bits + 7) % 8) as u8);
    Ok(())
}

/// Up to eight bits in text form, from the highest bit down.
fn packed(text: &[u8]) -> Result<u8, Malformed> {
    let mut byte = 0;
    for (index, digit) in text.iter().enumerate() {
        match digit {
            b'0' => {}
            b'1' => byte |= 0x80 >> index,
            _ => return Err(Malformed),
        }
    }
    Ok(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        append_bits(Format::Text, text.as_bytes(), &mut out).expect("bits");
        out
    }

    #[test]
    fn bits_are_in_the_order_of_a_dictionary() {
        let ascending = [
            "",
            "0",
            "00",
            "00000000",
            "000000001",
            "01",
            "1",
            "10",
            "10000000",
            "100000000",
            "11",
            "11111111",
            "111111110",
        ];
        assert!(
            ascending
                .windows(2)
                .all(|pair| bits(pair[0]) < bits(pair[1]))
        );
    }

    #[test]
    fn both_forms_of_bits_give_the_same_bytes() {
        let mut out = Vec::new();
        append_bits(Format::Binary, &[0, 0, 0, 11, 0, 0b0110_0000], &mut out).expect("bits");
        assert_eq!(out, bits("00000000011"));
        for wrong in [
            &[0, 0, 0, 1, 0x40][..],
            &[0, 0, 0, 9, 0x40],
            &[0, 0, 0],
            &[0xff; 4],
        ] {
            assert_eq!(append_bits(Format::Binary, wrong, &mut out), Err(Malformed));
        }
    }

    #[test]
    fn only_the_blanks_at_the_end_are_dropped() {
        assert_eq!(without_blanks(b" a b  "), b" a b");
        assert_eq!(without_blanks(b"   "), b"");
    }

    #[test]
    fn a_char_above_ascii_is_octal() {
        assert_eq!(char(Format::Text, b"\\377"), Ok(0xff));
        assert_eq!(char(Format::Text, b"\\"), Ok(b'\\'));
        assert_eq!(char(Format::Text, b""), Ok(0));
        assert_eq!(char(Format::Binary, b""), Err(Malformed));
        assert_eq!(char(Format::Text, b"\\400"), Err(Malformed));
    }
}
