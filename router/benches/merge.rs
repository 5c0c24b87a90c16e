//! What a row costs on its way through a merge of four shards. `cargo bench -p router --bench merge`.
//!
//! Target: at least two million rows a second and core, with finding the message, reading the row, its key, the
//! tournament, the limit and writing the row without its hidden column.

#![allow(clippy::unwrap_used)]

use bytes::BytesMut;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use router::merge::Format;
use router::merge::combine::{Combine, State};
use router::merge::key::{SortKey, append_sort_key};
use router::merge::kind::Kind;
use router::merge::limit::{Clauses, Limit, Verdict};
use router::merge::row::Row;
use router::merge::tournament::{Tournament, Turn};
use router::wire::frame::{Limits, next_frame};

const SOURCES: usize = 4;
const ROWS_PER_SOURCE: usize = 25_000;
const HIDDEN: u16 = 1;

fn main() {
    divan::main();
}

/// Messages of about sixty bytes: the hidden sort column, a number, a text and NULL.
fn messages(source: usize, sort_cell: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    // Steps of random length (Knuth's generator), so that nobody can guess whose turn is next.
    let mut random = source as u64 + 1;
    let mut place = 0;
    for _ in 0..ROWS_PER_SOURCE {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        place += (random >> 61) as usize;
        let mut body = vec![0, 4];
        for cell in [
            sort_cell(place),
            (place as u64).to_be_bytes().to_vec(),
            format!("note {place:06}").into_bytes(),
        ] {
            body.extend((cell.len() as u32).to_be_bytes());
            body.extend(cell);
        }
        body.extend((-1i32).to_be_bytes());
        out.push(b'D');
        out.extend((body.len() as u32 + 4).to_be_bytes());
        out.extend(body);
    }
    out
}

/// The body of the first message, and what comes after it.
fn first<'a>(buffer: &'a [u8], limits: &Limits) -> Option<(&'a [u8], &'a [u8])> {
    let frame = next_frame(buffer, limits).unwrap()?;
    let (message, rest) = buffer.split_at(frame.total);
    Some((&message[5..], rest))
}

fn merge(sources: &[Vec<u8>], keys: &[SortKey], clauses: Clauses, out: &mut BytesMut) {
    let limits = Limits::server();
    let mut buffers: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
    let mut tournament = Tournament::new(sources.len());
    let mut limit = Limit::new(clauses);
    let offer =
        |tournament: &mut Tournament, source: usize, buffer: &[u8]| match first(buffer, &limits) {
            Some((body, _)) => {
                append_sort_key(keys, &Row::new(body).unwrap(), tournament.offer(source)).unwrap()
            }
            None => tournament.exhausted(source),
        };
    for (source, buffer) in buffers.iter().enumerate() {
        offer(&mut tournament, source, buffer);
    }
    while let Turn::Of(source) = tournament.turn() {
        let (body, rest) = first(buffers[source], &limits).unwrap();
        let key = tournament.key(source);
        if limit.row(key, key) == Verdict::Pass {
            Row::new(body).unwrap().write_without(HIDDEN, out).unwrap();
        }
        buffers[source] = rest;
        offer(&mut tournament, source, rest);
    }
}

fn bench(bencher: Bencher, kind: Kind, clauses: Clauses, sort_cell: impl Fn(usize) -> Vec<u8>) {
    let sources: Vec<Vec<u8>> = (0..SOURCES)
        .map(|source| messages(source, &sort_cell))
        .collect();
    let keys = [SortKey {
        column: 0,
        kind,
        format: Format::Binary,
        descending: false,
        nulls_first: false,
    }];
    let mut out = BytesMut::with_capacity(sources.iter().map(Vec::len).sum());
    bencher
        .counter(ItemsCount::new(SOURCES * ROWS_PER_SOURCE))
        .bench_local(|| {
            out.clear();
            merge(black_box(&sources), &keys, clauses, &mut out);
            out.len()
        });
}

#[divan::bench]
fn int8_key(bencher: Bencher) {
    bench(bencher, Kind::Int8, Clauses::default(), |place| {
        (place as u64).to_be_bytes().to_vec()
    });
}

#[divan::bench]
fn text_key(bencher: Bencher) {
    bench(bencher, Kind::Text, Clauses::default(), |place| {
        format!("customer {place:06}").into_bytes()
    });
}

#[divan::bench]
fn text_key_distinct(bencher: Bencher) {
    let clauses = Clauses {
        distinct: true,
        ..Clauses::default()
    };
    bench(bencher, Kind::Text, clauses, |place| {
        format!("customer {:06}", place / 3).into_bytes()
    });
}

#[divan::bench]
fn numeric_key(bencher: Bencher) {
    bench(bencher, Kind::Numeric, Clauses::default(), |place| {
        let groups = [
            3,
            1,
            0,
            2,
            (place / 10_000) as u16 + 1,
            (place % 10_000) as u16,
            2500,
        ];
        groups
            .iter()
            .flat_map(|group| group.to_be_bytes())
            .collect()
    });
}

/// Groups of four partial sums each.
#[divan::bench(args = ["12345.67", "-0.5", "123456789012345678901234567890.123456"])]
fn sums_of_numeric(bencher: Bencher, value: &str) {
    let mut state = State::new(Combine::SumNumeric);
    let mut out = BytesMut::new();
    bencher.counter(ItemsCount::new(SOURCES)).bench_local(|| {
        out.clear();
        state.clear();
        for _ in 0..SOURCES {
            state
                .add(Format::Text, Some(black_box(value.as_bytes())))
                .unwrap();
        }
        state.finish(Format::Text, &mut out).unwrap();
        out.len()
    });
}

#[divan::bench(args = ["0.1", "1234.5678", "9.007199254740993e15", "1e300"])]
fn sums_of_floats_as_text(bencher: Bencher, value: &str) {
    let value: f64 = value.parse().unwrap();
    let mut state = State::new(Combine::SumFloat8);
    let mut out = BytesMut::new();
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        out.clear();
        state.clear();
        state
            .add(Format::Binary, Some(&black_box(value).to_be_bytes()))
            .unwrap();
        state.finish(Format::Text, &mut out).unwrap();
        out.len()
    });
}
