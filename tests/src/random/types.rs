//! The types that queries are made of, and the values that columns and literals take.
//!
//! Values that PostgreSQL holds equal have one text form here (no `1.0` beside `1.00`, no `24:00:00` beside `1 day`, no negative
//! zero), so that grouping and sorting leave no choice of which one to show. Floats are multiples of 1/4: their sums are
//! exact in any order. Pools hold few values, so that joins meet and groups have members.

use super::dice::Dice;

/// A type, and for text its collation, as mixing collations is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    Bool,
    Int2,
    Int4,
    Int8,
    /// Always two digits behind the point.
    Money,
    /// Any scale; only plain columns of it may be grouped by.
    Numeric,
    Float8,
    Text,
    TextC,
    TextIcu,
    Date,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Bytea,
    IntArray,
    Jsonb,
    Mood,
}

use Type::{
    Bool, Bytea, Date, Float8, Int2, Int4, Int8, IntArray, Interval, Jsonb, Money, Mood, Numeric,
    Text, TextC, TextIcu, Timestamp, TimestampTz, Uuid,
};

pub const ALL: [Type; 19] = [
    Int4,
    Int8,
    Text,
    Money,
    Date,
    Bool,
    Int2,
    Numeric,
    Float8,
    TextC,
    TextIcu,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Bytea,
    IntArray,
    Jsonb,
    Mood,
];

impl Type {
    /// In a cast.
    pub fn name(self) -> &'static str {
        match self {
            Bool => "bool",
            Int2 => "int2",
            Int4 => "int4",
            Int8 => "int8",
            Money | Numeric => "numeric",
            Float8 => "float8",
            Text | TextC | TextIcu => "text",
            Date => "date",
            Timestamp => "timestamp",
            TimestampTz => "timestamptz",
            Interval => "interval",
            Uuid => "uuid",
            Bytea => "bytea",
            IntArray => "int4[]",
            Jsonb => "jsonb",
            Mood => "mood",
        }
    }

    /// In the templates.
    pub fn short(self) -> &'static str {
        match self {
            Bool => "b",
            Int2 => "i2",
            Int4 => "i4",
            Int8 => "i8",
            Money => "n2",
            Numeric => "n",
            Float8 => "f",
            Text => "t",
            TextC => "tc",
            TextIcu => "ti",
            Date => "d",
            Timestamp => "ts",
            TimestampTz => "tz",
            Interval => "iv",
            Uuid => "u",
            Bytea => "by",
            IntArray => "ia",
            Jsonb => "j",
            Mood => "m",
        }
    }

    pub fn from_short(short: &str) -> Option<Type> {
        ALL.into_iter().find(|ty| ty.short() == short)
    }

    pub fn is_text(self) -> bool {
        matches!(self, Text | TextC | TextIcu)
    }

    /// Whether values that any expression of this type makes are shown in one way if they are equal.
    pub fn is_canonical(self) -> bool {
        !matches!(self, Numeric | Interval)
    }

    /// Whether `min` and `max` take it, in all supported versions of PostgreSQL.
    pub fn has_extremes(self) -> bool {
        !matches!(self, Bool | Uuid | Bytea | Jsonb)
    }

    /// The values, the plainest first.
    pub fn pool(self) -> &'static [&'static str] {
        match self {
            Bool => &["true", "false"],
            Int2 => &["1", "0", "2", "-3", "7", "100"],
            Int4 => &["1", "2", "3", "0", "5", "-4", "10", "42", "1000", "99999"],
            Int8 => &[
                "1",
                "2",
                "3",
                "5",
                "7",
                "10",
                "-6",
                "4000000000",
                "9223372036854775807",
                "-9223372036854775807",
            ],
            Money => &[
                "1.00",
                "0.00",
                "2.50",
                "10.25",
                "-3.75",
                "99.99",
                "12345678.90",
            ],
            Numeric => &[
                "1",
                "0.5",
                "-2.25",
                "12345678901234567890.123456789",
                "0.000000000000000000000001",
                "NaN",
                "1000",
                "3.14159",
            ],
            Float8 => &["1", "0", "0.5", "-2.25", "10.75", "1000000", "NaN"],
            Text => &[
                "a", "b", "", "B", "A", "ab", "a b", "é", "Z", "_", "it''s", "zebra", "10", "9",
            ],
            TextC => &["a", "B", "", "b", "ä", "Zo", "zo", "10", "2", "%"],
            TextIcu => &["a", "A", "b", "B", "ä", "z", "-a", "a-b", "ab", ""],
            Date => &[
                "2024-01-01",
                "2024-01-31",
                "2024-02-29",
                "2023-12-31",
                "2024-06-15",
                "1999-01-01",
            ],
            Timestamp => &[
                "2024-01-01 00:00:00",
                "2024-01-01 10:30:00",
                "2024-02-29 23:59:59.999999",
                "2023-12-31 12:00:00",
                "2024-06-15 06:00:00.5",
            ],
            TimestampTz => &[
                "2024-01-01 00:00:00+00",
                "2024-01-01 10:30:00+00",
                "2024-03-31 01:30:00+00",
                "infinity",
                "2023-12-31 23:59:59.123456+00",
                "-infinity",
            ],
            Interval => &[
                "1 day",
                "2 days",
                "01:00:00",
                "2 days 03:00:00",
                "-1 days",
                "00:00:00.5",
            ],
            Uuid => &[
                "00000000-0000-0000-0000-000000000001",
                "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
                "10000000-0000-0000-0000-000000000000",
            ],
            Bytea => &["\\x00", "\\x", "\\xdeadbeef", "\\x0001", "\\xff"],
            IntArray => &["{1,2}", "{}", "{3}", "{2,1}", "{NULL,1}", "{1,2,3,4}"],
            Jsonb => &[
                "{\"a\": 1}",
                "{}",
                "{\"a\": 2, \"b\": 3}",
                "{\"b\": null}",
                "{\"a\": \"x\"}",
                "{\"a\": [1, 2]}",
            ],
            Mood => &["ok", "sad", "happy"],
        }
    }

    pub fn value(self, dice: &mut Dice) -> &'static str {
        let pool = self.pool();
        pool[dice.skewed_below(pool.len())]
    }
}
