//! What is expected of tables decides the order in which they are brought, and by what they are narrowed.

#![allow(
    clippy::unwrap_used,
    reason = "a step of a test that fails is the end of the test"
)]

mod support;

use std::sync::Arc;

use planner::{ColumnEstimate, Context, Gather, Plan, Statistics, TableEstimate, plan_text};

/// Numbers of rows by table, and of different values by column.
struct Told(&'static [Table]);

/// A name, the number of rows, and columns with their numbers of different values.
type Table = (&'static str, f64, &'static [(&'static str, f64)]);

impl Statistics for Told {
    fn table(&self, _: &str, name: &str) -> Option<Arc<TableEstimate>> {
        let (_, rows, columns) = self.0.iter().find(|(known, ..)| *known == name)?;
        let columns = columns.iter().map(|(name, distinct)| ColumnEstimate {
            name: (*name).to_owned(),
            distinct: *distinct,
            null_fraction: 0.0,
            width_bytes: 8.0,
        });
        Some(Arc::new(TableEstimate {
            rows: *rows,
            columns: columns.collect(),
        }))
    }

    fn generation(&self) -> u64 {
        1
    }
}

fn gather(sql: &str, told: &Told) -> Gather {
    let catalog = support::catalog();
    let context = Context {
        statistics: told,
        ..support::context(&catalog)
    };
    let planned = plan_text(sql, &context).unwrap();
    match &*planned[0].plan {
        Plan::Gather(gather) => gather.clone(),
        other => panic!("{sql} is planned as {other}"),
    }
}

/// The tables in the order in which they are brought, with the column that each is narrowed by and how many rows are expected.
fn order(sql: &str, told: &Told) -> Vec<(String, Option<String>, Option<u64>)> {
    let tables = gather(sql, told).tables.into_iter();
    tables
        .map(|table| {
            let by = table.matches.map(|matches| matches.column);
            let rows = table.expected.map(|expected| expected.rows);
            (table.name.name, by, rows)
        })
        .collect()
}

fn is(name: &str, by: Option<&str>, rows: Option<u64>) -> (String, Option<String>, Option<u64>) {
    (name.to_owned(), by.map(str::to_owned), rows)
}

const JOIN: &str =
    "SELECT count(*) OVER (), o.note, t.weight FROM orders o JOIN tags t ON t.label = o.note";

#[test]
fn without_estimates_the_first_in_the_text_is_brought_first() {
    assert_eq!(
        order(JOIN, &Told(&[])),
        [is("orders", None, None), is("tags", Some("label"), None)]
    );
}

#[test]
fn the_smaller_table_is_brought_first() {
    let told = Told(&[
        ("orders", 1e6, &[("note", 5000.0)]),
        ("tags", 50.0, &[("label", 50.0)]),
    ]);
    assert_eq!(
        order(JOIN, &told),
        [
            is("tags", None, Some(50)),
            is("orders", Some("note"), Some(10_000))
        ]
    );
}

#[test]
fn a_small_table_comes_before_a_large_one_with_a_condition() {
    let sql = format!("{JOIN} WHERE o.total > 5");
    let told = Told(&[
        ("orders", 3e6, &[("note", 5000.0)]),
        ("tags", 50.0, &[("label", 50.0)]),
    ]);
    assert_eq!(order(&sql, &told)[0], is("tags", None, Some(50)));
    let told = Told(&[
        ("orders", 300.0, &[("note", 200.0)]),
        ("tags", 5e6, &[("label", 5e6)]),
    ]);
    assert_eq!(
        order(&sql, &told),
        [
            is("orders", None, Some(100)),
            is("tags", Some("label"), Some(100))
        ]
    );
    // Nothing is known of one of them.
    assert_eq!(
        order(&sql, &Told(&[("tags", 5.0, &[])]))[0],
        is("orders", None, None)
    );
}

#[test]
fn values_that_leave_nothing_out_are_not_asked_for() {
    // Not the shard key, all of whose values the other table has.
    let sql = "SELECT count(*) OVER (), o.id FROM tags t JOIN orders o ON o.product_id = t.weight";
    let told = |values| {
        let tables = [
            (
                "tags",
                100.0,
                Box::leak(Box::new([("weight", values)])) as &'static [_],
            ),
            ("orders", 1e6, &[("product_id", 90.0)]),
        ];
        Told(Box::leak(Box::new(tables)))
    };
    assert_eq!(
        order(sql, &told(90.0))[1],
        is("orders", None, Some(1_000_000))
    );
    assert_eq!(
        order(sql, &told(9.0))[1],
        is("orders", Some("product_id"), Some(100_000))
    );
}

#[test]
fn too_many_values_are_not_asked_for() {
    let sql = format!("{JOIN} WHERE t.weight > 5");
    let told = Told(&[
        ("orders", 1e9, &[("note", 1e6)]),
        ("tags", 3e5, &[("label", 3e5)]),
    ]);
    assert_eq!(
        order(&sql, &told),
        [
            is("tags", None, Some(100_000)),
            is("orders", None, Some(1_000_000_000))
        ]
    );
}

#[test]
fn keys_come_first_whatever_is_expected() {
    let sql = "SELECT count(*) OVER (), o.note FROM tags t JOIN orders o ON o.note = t.label WHERE o.customer_id = 5";
    let told = Told(&[
        ("orders", 1e6, &[("customer_id", 1e3), ("note", 10.0)]),
        ("tags", 50.0, &[("label", 50.0)]),
    ]);
    assert_eq!(
        order(sql, &told),
        [
            is("orders", None, Some(1000)),
            is("tags", Some("label"), Some(10))
        ]
    );
}
