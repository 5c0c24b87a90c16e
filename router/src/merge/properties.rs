//! What holds for any bytes.

use bytes::BytesMut;
use proptest::prelude::*;

use super::combine::{Combine, State, Width};
use super::key::{SortKey, append_sort_key};
use super::kind::Kind;
use super::limit::{Clauses, Limit, Verdict};
use super::row::Row;
use super::tournament::{Tournament, Turn};
use super::{Format, numeric};

const KINDS: [Kind; 22] = [
    Kind::Bool,
    Kind::Int2,
    Kind::Int4,
    Kind::Int8,
    Kind::Oid,
    Kind::Float4,
    Kind::Float8,
    Kind::Numeric,
    Kind::Text,
    Kind::Bpchar,
    Kind::Char,
    Kind::Bytea,
    Kind::Uuid,
    Kind::Date,
    Kind::Time,
    Kind::TimeTz,
    Kind::Timestamp,
    Kind::Interval,
    Kind::Bits,
    Kind::MacAddr,
    Kind::MacAddr8,
    Kind::Lsn,
];

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(&KINDS[..])
}

fn formats() -> impl Strategy<Value = Format> {
    prop::sample::select(&[Format::Text, Format::Binary][..])
}

fn combines() -> impl Strategy<Value = Combine> {
    prop_oneof![
        prop::sample::select(vec![
            Combine::Count,
            Combine::SumInteger,
            Combine::SumNumeric,
            Combine::SumFloat4,
            Combine::SumFloat8,
            Combine::BoolAnd,
            Combine::BoolOr,
            Combine::BitAnd(Width::Int2),
            Combine::BitOr(Width::Int4),
            Combine::BitXor(Width::Int8),
        ]),
        kinds().prop_map(Combine::Min),
        kinds().prop_map(Combine::Max),
    ]
}

/// Bytes that are often almost a value: of the lengths that types have, with small numbers in them, or digits.
fn cells() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![
        prop::sample::select(vec![0usize, 1, 2, 4, 6, 8, 10, 12, 16, 36]),
        0..40usize
    ];
    let byte = prop_oneof![3 => Just(0u8), 1 => 0..4u8, 1 => any::<u8>()];
    prop_oneof![
        length.prop_flat_map(move |length| prop::collection::vec(byte.clone(), length)),
        "-?[0-9]{0,12}[.]?[0-9]{0,9}".prop_map(String::into_bytes),
    ]
}

/// A row's body with these cells.
fn body(cells: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut body = (cells.len() as u16).to_be_bytes().to_vec();
    for cell in cells {
        let length = cell.as_ref().map_or(-1, |cell| cell.len() as i32);
        body.extend(length.to_be_bytes());
        body.extend(cell.iter().flatten());
    }
    body
}

/// A NUL does not occur in text, so it stands for 1 here.
fn cell_of(kind: Kind, mut cell: Vec<u8>) -> Vec<u8> {
    if matches!(kind, Kind::Text | Kind::Bpchar) {
        cell.iter_mut().for_each(|byte| *byte = (*byte).max(1));
    }
    cell
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// No key begins another: what follows a value in the next column never decides about the value.
    #[test]
    fn keys_are_prefix_free(kind in kinds(), format in formats(), one in cells(), other in cells()) {
        let (one, other) = (cell_of(kind, one), cell_of(kind, other));
        let (mut left, mut right) = (Vec::new(), Vec::new());
        if kind.append(format, &one, &mut left).is_ok() && kind.append(format, &other, &mut right).is_ok() {
            prop_assert!(left == right || !left.starts_with(&right));
            prop_assert!(left == right || !right.starts_with(&left));
        }
    }

    /// Rows compare as the list of their columns' keys would, each in its direction, NULLs where they belong.
    #[test]
    fn columns_are_compared_one_after_the_other(
        columns in prop::collection::vec((kinds(), any::<bool>(), any::<bool>()), 1..4),
        cells in prop::collection::vec((prop::option::of(cells()), prop::option::of(cells())), 3),
    ) {
        let keys: Vec<SortKey> = (0..).zip(&columns).map(|(column, (kind, descending, nulls_first))| SortKey {
            column, kind: *kind, format: Format::Binary, descending: *descending, nulls_first: *nulls_first,
        }).collect();
        let valid = |kind: Kind, cell: Option<Vec<u8>>| cell.map(|cell| cell_of(kind, cell))
            .filter(|cell| kind.append(Format::Binary, cell, &mut Vec::new()).is_ok());
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for ((kind, ..), (left, right)) in columns.iter().zip(cells) {
            one.push(valid(*kind, left));
            other.push(valid(*kind, right));
        }
        let mut expected = std::cmp::Ordering::Equal;
        for (key, (left, right)) in keys.iter().zip(one.iter().zip(&other)) {
            let alone = |cell: &[u8]| {
                let mut out = Vec::new();
                key.kind.append(Format::Binary, cell, &mut out).map(|()| out)
            };
            let order = match (left, right) {
                (Some(left), Some(right)) => {
                    let order = alone(left)?.cmp(&alone(right)?);
                    if key.descending { order.reverse() } else { order }
                }
                (left, right) => {
                    let order = left.is_none().cmp(&right.is_none());
                    if key.nulls_first { order.reverse() } else { order }
                }
            };
            expected = expected.then(order);
        }
        let place = |cells: &[Option<Vec<u8>>]| {
            let (body, mut out) = (body(cells), Vec::new());
            append_sort_key(&keys, &Row::new(&body)?, &mut out).map(|()| out)
        };
        prop_assert_eq!(place(&one)?.cmp(&place(&other)?), expected);
    }

    /// Any bytes are a row or an error.
    #[test]
    fn rows_of_any_bytes_are_read_or_refused(bytes in prop::collection::vec(prop_oneof![4 => 0..3u8, 1 => any::<u8>()], 0..40), hidden in 0..5u16) {
        if let Ok(row) = Row::new(&bytes) {
            for column in 0..row.columns().min(20) {
                let _ = row.cell(column);
            }
            let mut out = BytesMut::new();
            if row.write_without(hidden, &mut out).is_ok() {
                prop_assert_eq!(u32::from_be_bytes([out[1], out[2], out[3], out[4]]) as usize, out.len() - 1);
            } else {
                prop_assert!(out.is_empty());
            }
        }
    }

    /// What is shown of a row are its other cells.
    #[test]
    fn the_shown_cells_are_unchanged(cells in prop::collection::vec(prop::option::of(cells()), 0..6), hidden in 0..6usize) {
        let bytes = body(&cells);
        let mut out = BytesMut::new();
        let written = Row::new(&bytes)?.write_without(hidden as u16, &mut out);
        prop_assert_eq!(written.is_ok(), hidden <= cells.len());
        if written.is_ok() {
            prop_assert_eq!(&out[5..], &body(&cells[hidden..])[..]);
        }
    }

    /// Any bytes are added or refused, and a refusal writes nothing.
    #[test]
    fn states_of_any_bytes_are_finished_or_refused(
        combine in combines(), format in formats(), to in formats(),
        cells in prop::collection::vec(prop::option::of(cells()), 0..4),
    ) {
        let mut state = State::new(combine);
        for cell in &cells {
            let _ = state.add(format, cell.as_deref());
        }
        let mut out = BytesMut::new();
        match state.finish(to, &mut out) {
            Ok(()) => prop_assert!(out.len() >= 4),
            Err(_) => prop_assert!(out.is_empty()),
        }
    }

    /// Both forms of a number have one key, and what is written is read again.
    #[test]
    fn numbers_survive_both_forms(text in "-?[0-9]{1,20}([.][0-9]{1,20})?") {
        let mut key = Vec::new();
        numeric::append_key(&numeric::Numeric::read(Format::Text, text.as_bytes())?, &mut key);
        let mut sum = State::new(Combine::SumNumeric);
        prop_assert!(sum.add(Format::Text, Some(text.as_bytes())).is_ok());
        for format in [Format::Text, Format::Binary] {
            let mut out = BytesMut::new();
            prop_assert!(sum.finish(format, &mut out).is_ok());
            let mut again = Vec::new();
            Kind::Numeric.append(format, &out[4..], &mut again)?;
            prop_assert_eq!(&again, &key);
        }
    }

    /// A merge of sorted lists is the sorted list of all, earlier sources first among equals.
    #[test]
    fn a_merge_is_a_stable_sort(lists in prop::collection::vec(prop::collection::vec(0..30u8, 0..12), 0..9)) {
        let mut lists = lists;
        lists.iter_mut().for_each(|list| list.sort_unstable());
        let mut expected: Vec<(u8, usize)> = Vec::new();
        for (source, list) in lists.iter().enumerate() {
            expected.extend(list.iter().map(|key| (*key, source)));
        }
        expected.sort();
        let mut heads: Vec<_> = lists.iter().map(|list| list.iter()).collect();
        let mut tournament = Tournament::new(lists.len());
        let mut merged = Vec::new();
        let mut offer = |tournament: &mut Tournament, source: usize| match heads[source].next() {
            Some(key) => tournament.offer(source).push(*key),
            None => tournament.exhausted(source),
        };
        (0..lists.len()).for_each(|source| offer(&mut tournament, source));
        while let Turn::Of(source) = tournament.turn() {
            merged.push((tournament.key(source)[0], source));
            offer(&mut tournament, source);
        }
        prop_assert_eq!(tournament.turn(), Turn::Over);
        prop_assert_eq!(merged, expected);
    }

    /// Against the clauses as one would write them over a list.
    #[test]
    fn a_limit_agrees_with_lists(
        rows in prop::collection::vec(0..6u8, 0..30), offset in 0..8u64, count in prop::option::of(0..8u64),
        with_ties: bool, distinct: bool,
    ) {
        let mut rows = rows;
        rows.sort_unstable();
        // Ties are of the tens, DISTINCT of the whole.
        let tens = |row: &u8| row / 2;
        let mut limit = Limit::new(Clauses { offset, count, with_ties, distinct });
        let mut shown = Vec::new();
        for row in &rows {
            match limit.row(&[*row], &[tens(row)]) {
                Verdict::Pass => shown.push(*row),
                Verdict::Skip => {}
                Verdict::Done => break,
            }
        }
        if distinct {
            rows.dedup();
        }
        let rest: Vec<u8> = rows.into_iter().skip(offset as usize).collect();
        let count = count.map_or(rest.len(), |count| (count as usize).min(rest.len()));
        let last = if with_ties { count.checked_sub(1) } else { None };
        let ties = rest[count..].iter().take_while(|row| last.is_some_and(|last| tens(row) == tens(&rest[last])));
        let end = count + ties.count();
        prop_assert_eq!(&shown[..], &rest[..end]);
    }
}
