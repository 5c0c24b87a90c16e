//! Which types' order can be reproduced, and their *normalized keys*: bytes whose `memcmp` order is PostgreSQL's.
//!
//! Entry points: [`kind()`] for a column, [`Kind::append`] for a cell. The bytes of one kind are
//!
//! - *ordered* as the default btree operator class of the type orders its values,
//! - *equal* exactly where its `=` holds (so `1.0` and `1.00`, `-0` and `0`, one month and thirty days are equal),
//! - *prefix-free*: no value's bytes begin those of another, so that columns can be written one after the other, and
//!   inverted for DESC.
//!
//! Deliberately absent: text in any collation but C (the order of libc and ICU changes with their versions, which a
//! router cannot know to be the server's), enums (their order is in the server's catalog), `inet`, arrays, records, ranges
//! and everything else. NULL is no value: see [`super::key`].

use super::{Format, Malformed, numeric, scalar, strings};

/// The collation of a column of strings. Other types take no notice of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collation {
    /// `C`, `POSIX`, and whatever else compares bytes (`ucs_basic`, `pg_c_utf8`).
    C,
    Other,
}

/// A family of types that share a wire form and an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    /// `text`, `varchar` and `name`, by bytes. The cells must be in the server's own encoding: in another
    /// `client_encoding` the bytes have another order.
    Text,
    /// `char(n)`: as text without the blanks at its end.
    Bpchar,
    /// `"char"`, one byte.
    Char,
    Bytea,
    Uuid,
    Date,
    Time,
    /// By the moment in UTC, then by the zone.
    TimeTz,
    /// With and without time zone.
    Timestamp,
    /// Months of thirty days, days of 24 hours.
    Interval,
    /// `bit` and `bit varying`.
    Bits,
    MacAddr,
    MacAddr8,
    Lsn,
}

/// The kind of a type by its oid in `pg_type`; `None` where the router cannot reproduce the order.
pub fn kind(type_oid: u32, collation: Collation) -> Option<Kind> {
    Some(match (type_oid, collation) {
        (16, _) => Kind::Bool,
        (17, _) => Kind::Bytea,
        (18, _) => Kind::Char,
        (20, _) => Kind::Int8,
        (21, _) => Kind::Int2,
        (23, _) => Kind::Int4,
        (26, _) => Kind::Oid,
        (700, _) => Kind::Float4,
        (701, _) => Kind::Float8,
        (774, _) => Kind::MacAddr8,
        (829, _) => Kind::MacAddr,
        (1082, _) => Kind::Date,
        (1083, _) => Kind::Time,
        (1114 | 1184, _) => Kind::Timestamp,
        (1186, _) => Kind::Interval,
        (1266, _) => Kind::TimeTz,
        (1560 | 1562, _) => Kind::Bits,
        (1700, _) => Kind::Numeric,
        (2950, _) => Kind::Uuid,
        (3220, _) => Kind::Lsn,
        (19 | 25 | 1043, Collation::C) => Kind::Text,
        (1042, Collation::C) => Kind::Bpchar,
        _ => return None,
    })
}

impl Kind {
    /// Whether cells in text form are read too. The text form of the other kinds depends on settings
    /// (`extra_float_digits`, `DateStyle`, `IntervalStyle`, `bytea_output`), so they are read in binary form only.
    pub fn reads_text(self) -> bool {
        match self {
            Kind::Bool
            | Kind::Int2
            | Kind::Int4
            | Kind::Int8
            | Kind::Oid
            | Kind::Numeric
            | Kind::Text
            | Kind::Bpchar
            | Kind::Char
            | Kind::Uuid
            | Kind::Bits => true,
            Kind::Float4
            | Kind::Float8
            | Kind::Bytea
            | Kind::Date
            | Kind::Time
            | Kind::TimeTz
            | Kind::Timestamp
            | Kind::Interval
            | Kind::MacAddr
            | Kind::MacAddr8
            | Kind::Lsn => false,
        }
    }

    /// Appends the normalized key of a cell. Both formats give the same bytes. After an error `out` may hold a part of a
    /// key.
    #[inline]
    pub fn append(self, format: Format, cell: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        if format == Format::Text && !self.reads_text() {
            return Err(Malformed);
        }
        match self {
            Kind::Bool => out.push(u8::from(scalar::boolean(format, cell)?)),
            Kind::Int2 => out.extend_from_slice(&scalar::ordered_i16(scalar::int2(format, cell)?)),
            Kind::Int4 => out.extend_from_slice(&scalar::ordered_i32(scalar::int4(format, cell)?)),
            Kind::Int8 => out.extend_from_slice(&scalar::ordered_i64(scalar::int8(format, cell)?)),
            Kind::Oid => out.extend_from_slice(&scalar::oid(format, cell)?),
            Kind::Float4 => out.extend_from_slice(&scalar::ordered_f32(scalar::float4(cell)?)),
            Kind::Float8 => out.extend_from_slice(&scalar::ordered_f64(scalar::float8(cell)?)),
            Kind::Numeric => numeric::append_key(&numeric::Numeric::read(format, cell)?, out),
            Kind::Text => strings::append_text(cell, out)?,
            Kind::Bpchar => strings::append_text(strings::without_blanks(cell), out)?,
            Kind::Char => out.push(strings::char(format, cell)?),
            Kind::Bytea => strings::append_bytes(cell, out),
            Kind::Uuid => out.extend_from_slice(&scalar::uuid(format, cell)?),
            Kind::Date => out.extend_from_slice(&scalar::ordered_i32(scalar::date(cell)?)),
            Kind::Time | Kind::Timestamp => {
                out.extend_from_slice(&scalar::ordered_i64(scalar::microseconds(cell)?));
            }
            Kind::TimeTz => out.extend_from_slice(&scalar::timetz(cell)?),
            Kind::Interval => out.extend_from_slice(&scalar::interval(cell)?),
            Kind::Bits => strings::append_bits(format, cell, out)?,
            Kind::MacAddr => out.extend_from_slice(&super::exactly::<6>(cell)?),
            Kind::MacAddr8 | Kind::Lsn => out.extend_from_slice(&super::exactly::<8>(cell)?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_need_the_c_collation_and_nothing_else_does() {
        for oid in [19, 25, 1042, 1043] {
            assert!(kind(oid, Collation::C).is_some());
            assert_eq!(kind(oid, Collation::Other), None);
        }
        assert_eq!(kind(20, Collation::Other), Some(Kind::Int8));
        // jsonb, inet, int4[], an enum of the user's.
        for oid in [3802, 869, 1007, 16_385] {
            assert_eq!(kind(oid, Collation::C), None);
        }
    }

    #[test]
    fn text_that_depends_on_settings_is_not_read() {
        let mut out = Vec::new();
        assert_eq!(
            Kind::Float8.append(Format::Text, b"1.5", &mut out),
            Err(Malformed)
        );
        assert_eq!(
            Kind::Date.append(Format::Text, b"2024-02-29", &mut out),
            Err(Malformed)
        );
        assert!(out.is_empty());
    }
}
