//! Values of every type whose order the router reproduces, as expressions of SQL.

use rand::Rng;
use rand::rngs::StdRng;
use router::merge::kind::Kind;

/// A type as a column has it, and its kind.
pub const TYPES: [(&str, Kind); 26] = [
    ("bool", Kind::Bool),
    ("int2", Kind::Int2),
    ("int4", Kind::Int4),
    ("int8", Kind::Int8),
    ("oid", Kind::Oid),
    ("float4", Kind::Float4),
    ("float8", Kind::Float8),
    ("numeric", Kind::Numeric),
    ("text", Kind::Text),
    ("varchar", Kind::Text),
    ("name", Kind::Text),
    ("bpchar", Kind::Bpchar),
    ("char(7)", Kind::Bpchar),
    ("\"char\"", Kind::Char),
    ("bytea", Kind::Bytea),
    ("uuid", Kind::Uuid),
    ("date", Kind::Date),
    ("time", Kind::Time),
    ("timetz", Kind::TimeTz),
    ("timestamp", Kind::Timestamp),
    ("timestamptz", Kind::Timestamp),
    ("interval", Kind::Interval),
    ("varbit", Kind::Bits),
    ("macaddr", Kind::MacAddr),
    ("macaddr8", Kind::MacAddr8),
    ("pg_lsn", Kind::Lsn),
];

/// The column's type in the collation that is reproduced.
pub fn declaration(name: &str) -> String {
    match name {
        "text" | "varchar" | "bpchar" | "char(7)" | "name" => format!("{name} COLLATE \"C\""),
        _ => name.to_owned(),
    }
}

/// Values at the edges of a type.
pub fn edges(name: &str) -> Vec<String> {
    let quoted = |values: &[&str]| values.iter().map(|value| literal(value)).collect();
    match name {
        "bool" => quoted(&["t", "f"]),
        "int2" => quoted(&["-32768", "-1", "0", "1", "255", "256", "32767"]),
        "int4" => quoted(&["-2147483648", "-1", "0", "1", "65536", "2147483647"]),
        "int8" => quoted(&[
            "-9223372036854775808",
            "-1",
            "0",
            "1",
            "4294967296",
            "9223372036854775807",
        ]),
        "oid" => quoted(&["0", "1", "2147483647", "2147483648", "4294967295"]),
        "float4" => quoted(&[
            "NaN",
            "Infinity",
            "-Infinity",
            "0",
            "-0",
            "1e-45",
            "-1e-45",
            "1.1754944e-38",
            "3.4028235e38",
            "-3.4028235e38",
        ]),
        "float8" => quoted(&[
            "NaN",
            "Infinity",
            "-Infinity",
            "0",
            "-0",
            "5e-324",
            "-5e-324",
            "2.2250738585072014e-308",
            "1.7976931348623157e308",
            "-1.7976931348623157e308",
        ]),
        "numeric" => quoted(&[
            "NaN",
            "Infinity",
            "-Infinity",
            "0",
            "0.0",
            "0.0000",
            "-0",
            "1",
            "1.0",
            "1.00000",
            "-1",
            "-1.000",
            "9999",
            "10000",
            "10000.0",
            "9999.9999",
            "-9999.9999",
            "0.0001",
            "0.00001",
            "-0.0001",
            "100000000",
            "1e131071",
            "-1e131071",
            "1.5e100",
            "1e-16383",
            "-1e-16383",
            "12345678901234567890123456789012345678901234567890.0987654321",
        ]),
        "text" | "varchar" | "name" => quoted(&[
            "",
            " ",
            "a",
            "a ",
            "a\u{1}",
            "\u{1}",
            "\u{7f}",
            "\u{80}",
            "\u{10ffff}",
            "A",
            "Z",
            "z",
        ]),
        "bpchar" | "char(7)" => quoted(&[
            "", " ", "a", "a ", "a  ", "a\u{1}", " a", "\u{1}", "\t", "z\u{e9}",
        ]),
        "\"char\"" => (-128..128)
            .map(|byte| format!("({byte})::\"char\""))
            .collect(),
        "bytea" => quoted(&[
            "\\x", "\\x00", "\\x0000", "\\x00ff", "\\x00fe", "\\x0001", "\\x01", "\\xff",
            "\\xff00", "\\xffff",
        ]),
        "uuid" => quoted(&[
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "80000000-0000-0000-0000-000000000000",
        ]),
        "date" => quoted(&[
            "infinity",
            "-infinity",
            "4713-11-24 BC",
            "5874897-12-31",
            "2000-01-01",
            "1999-12-31",
        ]),
        "time" => quoted(&["00:00", "24:00", "23:59:59.999999", "00:00:00.000001"]),
        "timetz" => quoted(&[
            "00:00+00",
            "24:00-15:59:59",
            "00:00+15:59:59",
            "24:00+15:59:59",
            "00:00-15:59:59",
            "12:00+00",
            "13:00+01",
            "11:00-01",
            "12:00+00:00:01",
        ]),
        "timestamp" | "timestamptz" => quoted(&[
            "infinity",
            "-infinity",
            "4713-11-24 00:00:00+00 BC",
            "294276-12-31 23:59:59.999999+00",
            "2000-01-01 00:00:00+00",
            "1999-12-31 23:59:59.999999+00",
        ]),
        "interval" => quoted(&[
            "0",
            "1 mon",
            "30 days",
            "720 hours",
            "29 days 24 hours",
            "-1 mon",
            "-30 days",
            "1 mon -30 days",
            "1 microsecond",
            "-1 microsecond",
            "178956970 years 7 mons 2147483647 days",
            "-178956970 years -8 mons -2147483648 days",
            "2562047788:00:54.775807",
            "-2562047788:00:54.775807",
            "178956970 years 7 mons -2147483648 days",
        ]),
        "varbit" => quoted(&[
            "",
            "0",
            "1",
            "00",
            "10",
            "11",
            "00000000",
            "000000000",
            "10000000",
            "100000000",
            "11111111",
            "111111110",
        ]),
        "macaddr" => quoted(&[
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "80:00:00:00:00:00",
            "00:00:00:80:00:00",
        ]),
        "macaddr8" => quoted(&[
            "00:00:00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff:ff:ff",
            "00:00:00:00:80:00:00:00",
        ]),
        "pg_lsn" => quoted(&["0/0", "FFFFFFFF/FFFFFFFF", "0/80000000", "80000000/0"]),
        other => unreachable!("{other} has no edges"),
    }
}

/// One value anywhere in a type, of small ones more than would come by chance, so that some are equal.
pub fn random(name: &str, rng: &mut StdRng) -> String {
    let bits: u64 = rng.random::<u64>() >> rng.random_range(0..64);
    let signed = |width: u32| {
        (rng_sign(bits) * i128::from(bits)).clamp(-(1 << (width - 1)), (1 << (width - 1)) - 1)
    };
    match name {
        "bool" => literal(if bits.is_multiple_of(2) { "t" } else { "f" }),
        "int2" => literal(&signed(16).to_string()),
        "int4" => literal(&signed(32).to_string()),
        "int8" => literal(&signed(64).to_string()),
        "oid" => literal(&(bits as u32).to_string()),
        "float4" if bits.is_multiple_of(2) => {
            literal(&float(f64::from(f32::from_bits(rng.random()))))
        }
        "float8" if bits.is_multiple_of(2) => literal(&float(f64::from_bits(rng.random()))),
        "float4" | "float8" => literal(&format!("{}", rng.random_range(-100..100) as f64 / 8.0)),
        "numeric" => literal(&decimal(rng)),
        "text" | "varchar" | "name" => literal(&string(rng)),
        "bpchar" => literal(&format!(
            "{}{}",
            string(rng),
            " ".repeat(rng.random_range(0..4))
        )),
        "char(7)" => literal(&string(rng).chars().take(7).collect::<String>()),
        "\"char\"" => format!("({})::\"char\"", rng.random_range(-128..128)),
        "bytea" => literal(&format!("\\x{}", hex(rng, None))),
        "uuid" => literal(&hex(rng, Some(16))),
        "date" => format!("date '2000-01-01' + {}", signed(22)),
        "time" => format!(
            "time '00:00' + interval '{} microseconds'",
            bits % 86_400_000_000
        ),
        "timetz" => literal(&format!(
            "{:02}:{:02}:{:02}{:+03}:{:02}",
            rng.random_range(0..24),
            rng.random_range(0..60),
            rng.random_range(0..3) * 20,
            rng.random_range(-15..16),
            rng.random_range(0..4) * 15,
        )),
        "timestamp" | "timestamptz" => format!(
            "{name} '2000-01-01' + interval '{} microseconds'",
            signed(57)
        ),
        "interval" if bits.is_multiple_of(2) => literal(&format!(
            "{} mons {} days {} hours",
            rng.random_range(-2..3),
            rng.random_range(-60..61),
            rng.random_range(-3..4) * 24,
        )),
        "interval" => literal(&format!(
            "{} mons {} days {} microseconds",
            signed(31),
            rng.random::<i32>(),
            rng.random::<i64>() >> 3
        )),
        "varbit" => literal(
            &(0..rng.random_range(0..20))
                .map(|_| if rng.random_ratio(1, 3) { '1' } else { '0' })
                .collect::<String>(),
        ),
        "macaddr" => literal(&hex(rng, Some(6))),
        "macaddr8" => literal(&hex(rng, Some(8))),
        "pg_lsn" => literal(&format!("{:X}/{:X}", bits >> 32, bits as u32)),
        other => unreachable!("{other} has no values"),
    }
}

fn rng_sign(bits: u64) -> i128 {
    if bits.count_ones().is_multiple_of(2) {
        1
    } else {
        -1
    }
}

/// All edges and random values up to a number of values.
pub fn values(name: &str, count: usize, rng: &mut StdRng) -> Vec<String> {
    let mut values = edges(name);
    while values.len() < count {
        values.push(random(name, rng));
    }
    values
}

/// With digits enough to be read back exactly.
fn float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        (if value > 0.0 { "Infinity" } else { "-Infinity" }).to_owned()
    } else {
        format!("{value:e}")
    }
}

/// Digits with many zeros and nines among them.
pub fn decimal(rng: &mut StdRng) -> String {
    let mut digits = |most: usize| -> String {
        let count = rng.random_range(0..=most);
        let style = rng.random_range(0..3);
        (0..count)
            .map(|_| match style {
                0 => char::from(b'0' + rng.random_range(0..10)),
                1 if rng.random_ratio(4, 5) => '0',
                2 if rng.random_ratio(4, 5) => '9',
                _ => char::from(b'0' + rng.random_range(0..3)),
            })
            .collect()
    };
    let (integer, fraction) = (digits(25), digits(14));
    let sign = if rng.random() { "-" } else { "" };
    format!("{sign}0{integer}.0{fraction}")
}

fn string(rng: &mut StdRng) -> String {
    const CHARACTERS: [char; 14] = [
        'a', 'b', 'A', 'z', ' ', '\u{1}', '\t', 'é', '中', '😀', '\u{7f}', '\'', '\\', '0',
    ];
    (0..rng.random_range(0..12))
        .map(|_| CHARACTERS[rng.random_range(0..CHARACTERS.len())])
        .collect()
}

/// Bytes with many zeros among them.
fn hex(rng: &mut StdRng, count: Option<usize>) -> String {
    let count = count.unwrap_or_else(|| rng.random_range(0..8));
    (0..count)
        .map(|_| match rng.random_range(0..4) {
            0 | 1 => "00".to_owned(),
            2 => "ff".to_owned(),
            _ => format!("{:02x}", rng.random::<u8>()),
        })
        .collect()
}

fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
