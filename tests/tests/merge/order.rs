//! Sort keys against ORDER BY and `=`.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use router::merge::Format;
use router::merge::key::{SortKey, append_sort_key};
use router::merge::kind::{Collation, kind};
use router::merge::row::Row;

use crate::values::{TYPES, declaration, edges, random, values};
use crate::{SEED, Session, cell};

const VALUES: usize = 4000;

#[test]
fn keys_are_ordered_as_the_server_orders_values() {
    let mut session = Session::new();
    let mut rng = StdRng::seed_from_u64(SEED);
    for (name, expected) in TYPES {
        assert_eq!(
            kind(session.type_oid(name), Collation::C),
            Some(expected),
            "{name}"
        );
        session.table(
            "v",
            &format!("v {}", declaration(name)),
            &values(name, VALUES, &mut rng),
        );
        let sql = "SELECT v, coalesce(v = lag(v) OVER (ORDER BY v), false)::int FROM v ORDER BY v";
        let binary = session.rows(sql, Format::Binary);
        assert!(binary.len() >= VALUES.min(edges(name).len()), "{name}");
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for row in &binary {
            let (value, is_equal) = (cell(row, 0).unwrap(), cell(row, 1).unwrap() == [0, 0, 0, 1]);
            let mut key = Vec::new();
            expected.append(Format::Binary, &value, &mut key).unwrap();
            if let Some(last) = keys.last() {
                assert!(
                    *last <= key,
                    "{name}: {value:02x?} is not after the value before it"
                );
                assert_eq!(
                    *last == key,
                    is_equal,
                    "{name}: {value:02x?} and the value before it"
                );
            }
            keys.push(key);
        }
        let text = session.rows(sql, Format::Text);
        let mut text_keys = Vec::new();
        for row in text.iter().filter(|_| expected.reads_text()) {
            let value = cell(row, 0).unwrap();
            let mut key = Vec::new();
            expected.append(Format::Text, &value, &mut key).unwrap();
            text_keys.push(key);
        }
        assert!(
            !expected.reads_text() || text_keys == keys,
            "{name} in text form"
        );
    }
}

#[test]
fn two_columns_are_ordered_in_their_directions() {
    let mut session = Session::new();
    let mut rng = StdRng::seed_from_u64(SEED + 1);
    // Few values of each type, so that the second column often decides.
    let pools: Vec<Vec<String>> = TYPES
        .iter()
        .map(|(name, _)| {
            let edges = edges(name);
            let edge = |rng: &mut StdRng| edges[rng.random_range(0..edges.len())].clone();
            let mut pool: Vec<String> = (0..4).map(|_| edge(&mut rng)).collect();
            pool.extend((0..4).map(|_| random(name, &mut rng)));
            pool.push("NULL".to_owned());
            pool
        })
        .collect();
    let columns = TYPES
        .iter()
        .enumerate()
        .map(|(index, (name, _))| format!("c{index} {}", declaration(name)));
    let rows: Vec<String> = (0..600)
        .map(|_| {
            let cells = pools
                .iter()
                .map(|pool| pool[rng.random_range(0..pool.len())].clone());
            cells.collect::<Vec<_>>().join(", ")
        })
        .collect();
    session.table("w", &columns.collect::<Vec<_>>().join(", "), &rows);
    for round in 0..160 {
        // Every type is first at times, and second at others.
        let pair = [round % TYPES.len(), rng.random_range(0..TYPES.len())];
        let mut order = Vec::new();
        let mut keys = Vec::new();
        for (column, index) in (0..).zip(pair) {
            let (descending, nulls_first) = (rng.random(), rng.random());
            order.push(format!(
                "c{index} {} NULLS {}",
                if descending { "DESC" } else { "ASC" },
                if nulls_first { "FIRST" } else { "LAST" }
            ));
            keys.push(SortKey {
                column,
                kind: TYPES[index].1,
                format: Format::Binary,
                descending,
                nulls_first,
            });
        }
        let order = order.join(", ");
        let sql = format!(
            "SELECT c{}, c{}, rank() OVER (ORDER BY {order}) FROM w ORDER BY {order}",
            pair[0], pair[1]
        );
        compare(&session.rows(&sql, Format::Binary), &keys, &order);
        if keys.iter().all(|key| key.kind.reads_text()) {
            keys.iter_mut().for_each(|key| key.format = Format::Text);
            compare(&session.rows(&sql, Format::Text), &keys, &order);
        }
    }
}

/// Rows in the server's order, their rank in the third column.
fn compare(rows: &[Vec<u8>], keys: &[SortKey], order: &str) {
    let places: Vec<(Vec<u8>, Option<Vec<u8>>)> = rows
        .iter()
        .map(|row| {
            let mut place = Vec::new();
            append_sort_key(keys, &Row::new(row).unwrap(), &mut place).unwrap();
            (place, cell(row, 2))
        })
        .collect();
    assert!(places.len() > 1);
    for pair in places.windows(2) {
        assert!(pair[0].0 <= pair[1].0, "{order}");
        assert_eq!(pair[0].0 == pair[1].0, pair[0].1 == pair[1].1, "{order}");
    }
}
