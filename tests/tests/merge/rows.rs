//! Rows of several tables, merged, against one query over all of them.

use bytes::BytesMut;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use router::merge::Format;
use router::merge::key::{SortKey, append_sort_key};
use router::merge::kind::Kind;
use router::merge::limit::{Clauses, Limit, Verdict};
use router::merge::row::Row;
use router::merge::tournament::{Tournament, Turn};

use crate::{SEED, Session};

const PARTS: usize = 5;
/// The sort key's columns come first and are not shown: the amount, then the id that makes the order total.
const HIDDEN: u16 = 2;

const KEYS: [SortKey; 2] = [
    SortKey {
        column: 0,
        kind: Kind::Numeric,
        format: Format::Text,
        descending: true,
        nulls_first: false,
    },
    SortKey {
        column: 1,
        kind: Kind::Int4,
        format: Format::Text,
        descending: false,
        nulls_first: false,
    },
];

/// The messages that a client would get; DISTINCT and ties compare the first `compared` columns of the order.
fn merged(parts: &[Vec<Vec<u8>>], clauses: Clauses, compared: usize) -> Vec<u8> {
    let mut tournament = Tournament::new(parts.len());
    let mut rows: Vec<_> = parts.iter().map(|part| part.iter()).collect();
    let mut heads: Vec<Option<(&[u8], usize)>> = vec![None; parts.len()];
    let mut limit = Limit::new(clauses);
    let mut out = BytesMut::new();
    loop {
        for (source, head) in heads.iter_mut().enumerate() {
            if !tournament.awaits(source) {
                continue;
            }
            let Some(body) = rows[source].next() else {
                tournament.exhausted(source);
                continue;
            };
            let row = Row::new(body).unwrap();
            let key = tournament.offer(source);
            append_sort_key(&KEYS[..compared], &row, key).unwrap();
            *head = Some((body, key.len()));
            append_sort_key(&KEYS[compared..], &row, key).unwrap();
        }
        let Turn::Of(source) = tournament.turn() else {
            break;
        };
        let (body, length) = heads[source].take().unwrap();
        let compared = &tournament.key(source)[..length];
        match limit.row(compared, compared) {
            Verdict::Pass => Row::new(body)
                .unwrap()
                .write_without(HIDDEN, &mut out)
                .unwrap(),
            Verdict::Skip => {}
            Verdict::Done => break,
        }
    }
    out.to_vec()
}

#[test]
fn merged_rows_are_those_of_one_query() {
    let mut session = Session::new();
    let mut rng = StdRng::seed_from_u64(SEED + 2);
    let rows: Vec<String> = (0..2000)
        .map(|id| {
            let amount = match rng.random_range(0..10) {
                0 => "NULL".to_owned(),
                _ => format!(
                    "{}.{:02}",
                    rng.random_range(-20..20),
                    rng.random_range(0..4) * 25
                ),
            };
            format!(
                "{amount}, {id}, 'note {id}', {}",
                rng.random_range(0..PARTS)
            )
        })
        .collect();
    session.table(
        "orders",
        "amount numeric, id int, note text, part int",
        &rows,
    );
    const ORDER: &str = "ORDER BY amount DESC NULLS LAST, id";
    let part = |part: usize| {
        format!("SELECT amount, id, id, amount, note FROM orders WHERE part = {part} {ORDER}")
    };
    let parts: Vec<Vec<Vec<u8>>> = (0..PARTS)
        .map(|number| session.rows(&part(number), Format::Text))
        .collect();
    let clauses = |offset, count, with_ties, distinct| Clauses {
        offset,
        count,
        with_ties,
        distinct,
    };
    for (clauses, compared, sql) in [
        (
            clauses(0, None, false, false),
            2,
            "SELECT id, amount, note FROM orders ORDER BY amount DESC NULLS LAST, id",
        ),
        (
            clauses(10, Some(100), false, false),
            2,
            "SELECT id, amount, note FROM orders ORDER BY amount DESC NULLS LAST, id LIMIT 100 OFFSET 10",
        ),
        (
            clauses(0, None, false, true),
            1,
            "SELECT DISTINCT ON (amount) id, amount, note FROM orders ORDER BY amount DESC NULLS LAST, id",
        ),
        (
            clauses(3, Some(7), false, true),
            1,
            "SELECT DISTINCT ON (amount) id, amount, note FROM orders ORDER BY amount DESC NULLS LAST, id LIMIT 7 OFFSET 3",
        ),
        // Sorted beforehand, because the order of ties is the server's choice.
        (
            clauses(5, Some(60), true, false),
            1,
            "SELECT * FROM (SELECT id, amount, note FROM orders ORDER BY amount DESC NULLS LAST, id OFFSET 0) o \
             ORDER BY amount DESC NULLS LAST OFFSET 5 FETCH FIRST 60 ROWS WITH TIES",
        ),
    ] {
        let mut expected = BytesMut::new();
        for row in session.rows(sql, Format::Text) {
            Row::new(&row)
                .unwrap()
                .write_without(0, &mut expected)
                .unwrap();
        }
        assert!(!expected.is_empty());
        assert_eq!(merged(&parts, clauses, compared), expected, "{sql}");
    }
}
