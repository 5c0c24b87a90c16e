//! Combined partial aggregates against the aggregate over all rows, byte by byte.

use bytes::BytesMut;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use router::merge::Format;
use router::merge::combine::{Combine, CombineError, State, Width};
use router::merge::row::Row;

use crate::values::{TYPES, declaration, edges, random};
use crate::{SEED, Session, cell};

const GROUPS: usize = 150;
const PARTS: usize = 4;
const FORMATS: [Format; 2] = [Format::Text, Format::Binary];

/// The aggregates of a type that are combined to the last bit.
fn aggregates(name: &str) -> Vec<(&'static str, Combine)> {
    let width = match name {
        "int2" => Width::Int2,
        "int4" => Width::Int4,
        _ => Width::Int8,
    };
    let mut found = vec![("count", Combine::Count)];
    match name {
        "int2" | "int4" => found.push(("sum", Combine::SumInteger)),
        "int8" | "numeric" => found.push(("sum", Combine::SumNumeric)),
        "bool" => found.extend([
            ("bool_and", Combine::BoolAnd),
            ("bool_or", Combine::BoolOr),
            ("every", Combine::BoolAnd),
        ]),
        _ => {}
    }
    if matches!(name, "int2" | "int4" | "int8") {
        found.extend([
            ("bit_and", Combine::BitAnd(width)),
            ("bit_or", Combine::BitOr(width)),
            ("bit_xor", Combine::BitXor(width)),
        ]);
    }
    // The rest have no min and max, or those of another type.
    let without = [
        "bool", "name", "\"char\"", "bytea", "uuid", "varbit", "macaddr", "macaddr8",
    ];
    let (_, kind) = TYPES.iter().find(|(other, _)| *other == name).unwrap();
    if !without.contains(&name) {
        found.extend([("min", Combine::Min(*kind)), ("max", Combine::Max(*kind))]);
    }
    found
}

/// Groups of a few rows in parts, some of them NULL, few of them edges: one infinity hides all else.
fn rows(name: &str, rng: &mut StdRng) -> Vec<String> {
    let all_edges = edges(name);
    let mut rows = Vec::new();
    for group in 0..GROUPS {
        // Few groups have numbers of 100,000 digits, for the sake of time.
        let mut edges = all_edges.clone();
        edges.retain(|edge| group < 10 || !edge.contains("e131071"));
        for part in 0..PARTS {
            for _ in 0..rng.random_range(1..6) {
                let value = match rng.random_range(0..20) {
                    0..3 => "NULL".to_owned(),
                    3 => edges[rng.random_range(0..edges.len())].clone(),
                    // A group of NULLs only.
                    _ if group == 0 => "NULL".to_owned(),
                    _ => random(name, rng),
                };
                rows.push(format!("{group}, {part}, {value}"));
            }
        }
    }
    rows
}

/// Rows of a group, a part and a partial result; a row for each group with the result in the format `to`.
fn combined(combine: Combine, rows: &[Vec<u8>], from: Format, to: Format) -> Vec<Option<Vec<u8>>> {
    let mut state = State::new(combine);
    rows.chunks(PARTS)
        .map(|rows| {
            state.clear();
            for row in rows {
                state.add(from, cell(row, 2).as_deref()).unwrap();
            }
            finish(&state, to)
        })
        .collect()
}

fn finish(state: &State, format: Format) -> Option<Vec<u8>> {
    let mut out = BytesMut::new();
    state.finish(format, &mut out).unwrap();
    cell(&[&[0, 1][..], &out].concat(), 0)
}

fn partial(aggregate: &str) -> String {
    format!("SELECT g, part, {aggregate}(v) FROM p GROUP BY g, part ORDER BY g, part")
}

/// The server's results, without the group.
fn results(session: &mut Session, sql: &str, format: Format) -> Vec<Option<Vec<u8>>> {
    let rows = session.rows(sql, format);
    assert_eq!(rows.len(), GROUPS);
    rows.iter().map(|row| cell(row, 1)).collect()
}

/// Numbers can be long, so only the beginnings of two that differ are shown.
fn agree(found: &[Option<Vec<u8>>], expected: &[Option<Vec<u8>>], what: &str) {
    let beginning = |cell: &Option<Vec<u8>>| {
        let text = cell
            .as_ref()
            .map(|cell| cell.escape_ascii().take(400).collect::<Vec<u8>>());
        text.map(|text| String::from_utf8_lossy(&text).into_owned())
    };
    assert_eq!(found.len(), expected.len(), "{what}");
    for (group, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            found == expected,
            "{what} of group {group}: {:?} {:?} is not {:?} {:?}",
            found.as_ref().map(Vec::len),
            beginning(found),
            expected.as_ref().map(Vec::len),
            beginning(expected),
        );
    }
}

fn fill(session: &mut Session, name: &str, rng: &mut StdRng) {
    // Rows are aggregated as they lie, so that of equal values the same one is kept. What is off counts as so dear that
    // the server would compile every query.
    session.run("SET enable_sort = off; SET jit = off");
    session.table(
        "p",
        &format!("g int, part int, v {}", declaration(name)),
        &rows(name, rng),
    );
}

#[test]
fn partial_aggregates_make_the_aggregate_over_all() {
    let mut session = Session::new();
    let mut rng = StdRng::seed_from_u64(SEED + 3);
    for (name, _) in TYPES {
        fill(&mut session, name, &mut rng);
        for (aggregate, combine) in aggregates(name) {
            let whole = format!("SELECT g, {aggregate}(v) FROM p GROUP BY g ORDER BY g");
            for from in FORMATS.into_iter().filter(|from| combine.reads(*from)) {
                let parts = session.rows(&partial(aggregate), from);
                assert_eq!(parts.len(), GROUPS * PARTS);
                for to in FORMATS.into_iter().filter(|to| combine.converts(from, *to)) {
                    agree(
                        &combined(combine, &parts, from, to),
                        &results(&mut session, &whole, to),
                        &format!("{aggregate}({name}) from {from:?} to {to:?}"),
                    );
                }
            }
        }
    }
}

#[test]
fn a_form_that_cannot_be_read_is_compared_by_another() {
    let mut session = Session::new();
    let mut rng = StdRng::seed_from_u64(SEED + 4);
    for name in ["date", "timestamptz", "interval", "timetz", "float8"] {
        fill(&mut session, name, &mut rng);
        let (_, combine) = aggregates(name).pop().unwrap();
        let (binary, text) = (
            session.rows(&partial("max"), Format::Binary),
            session.rows(&partial("max"), Format::Text),
        );
        let mut state = State::new(combine);
        let found: Vec<_> = binary
            .chunks(PARTS)
            .zip(text.chunks(PARTS))
            .map(|(binary, text)| {
                state.clear();
                for (by, shown) in binary.iter().zip(text) {
                    let by = Row::new(by).unwrap().cell(2).unwrap();
                    state
                        .add_by(
                            (Format::Binary, by),
                            Format::Text,
                            cell(shown, 2).as_deref(),
                        )
                        .unwrap();
                }
                finish(&state, Format::Text)
            })
            .collect();
        let whole = "SELECT g, max(v) FROM p GROUP BY g ORDER BY g";
        agree(&found, &results(&mut session, whole, Format::Text), name);
    }
}

#[test]
fn sums_of_floats_are_the_sums_of_the_partial_sums() {
    let mut session = Session::new();
    let mut rng = StdRng::seed_from_u64(SEED + 5);
    for (name, combine) in [
        ("float4", Combine::SumFloat4),
        ("float8", Combine::SumFloat8),
    ] {
        fill(&mut session, name, &mut rng);
        // Far from overflow, which would fail the whole query.
        session.run("UPDATE p SET v = v / 1000 WHERE abs(v) > 1e30 AND v <> 'Infinity' AND v <> '-Infinity' AND v <> 'NaN'");
        session.run(
            "CREATE TEMPORARY TABLE partial AS SELECT g, part, sum(v) AS v FROM p GROUP BY g, part",
        );
        let parts = session.rows(
            "SELECT g, part, v FROM partial ORDER BY g, part",
            Format::Binary,
        );
        for to in FORMATS {
            let whole = "SELECT g, sum(v ORDER BY part) FROM partial GROUP BY g ORDER BY g";
            agree(
                &combined(combine, &parts, Format::Binary, to),
                &results(&mut session, whole, to),
                &format!("sum({name}) to {to:?}"),
            );
        }
        session.run("DROP TABLE partial");
    }
}

#[test]
fn what_is_too_large_fails_as_on_the_server() {
    let mut session = Session::new();
    // The server adds int8 to int8 in this way when its own workers combine.
    let int8 = session.error("SELECT 9223372036854775807::int8 + 1::int8");
    let numeric = session.error("SELECT sum(v) FROM (SELECT repeat('9', 131072)::numeric AS v FROM generate_series(1, 2)) t");
    let float8 = session.error("SELECT sum(v) FROM (SELECT '1.7976931348623157e308'::float8 AS v FROM generate_series(1, 2)) t");
    let float4 = session.error(
        "SELECT sum(v) FROM (SELECT '3.4028235e38'::float4 AS v FROM generate_series(1, 2)) t",
    );
    let fail = |combine, format, cell: &[u8]| {
        let mut state = State::new(combine);
        let added = state
            .add(format, Some(cell))
            .and_then(|()| state.add(format, Some(cell)));
        let error: CombineError = added
            .and_then(|()| state.finish(format, &mut BytesMut::new()))
            .unwrap_err();
        (error.sqlstate().to_owned(), error.to_string())
    };
    assert_eq!(
        fail(Combine::SumInteger, Format::Text, b"9223372036854775807"),
        int8
    );
    assert_eq!(
        fail(
            Combine::SumNumeric,
            Format::Text,
            "9".repeat(131_072).as_bytes()
        ),
        numeric
    );
    assert_eq!(
        fail(Combine::SumFloat8, Format::Binary, &f64::MAX.to_be_bytes()),
        float8
    );
    assert_eq!(
        fail(Combine::SumFloat4, Format::Binary, &f32::MAX.to_be_bytes()),
        float4
    );
}
