//! What a statement costs on its way through the planner. `cargo bench -p planner`.
//!
//! Targets: a cached plan and its resolution in at most 500 ns; parsing and planning a point query in at most 20 µs.

#![allow(clippy::unwrap_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use catalog::Catalog;
use divan::{Bencher, black_box};
use planner::{Literals, Plan, PlanCache, Planned, Target, Value, Values, plan_text, resolve};

fn main() {
    divan::main();
}

const SIMPLE: &str =
    "SELECT id, customer_id, total, note FROM orders WHERE customer_id = 42 AND id = 1234";
const PREPARED: &str =
    "SELECT id, customer_id, total, note FROM orders WHERE customer_id = $1 AND id = $2";
const UNSHARDED: &str = "SELECT name, value FROM settings WHERE name = 'abc'";
const INSERT: &str = "INSERT INTO orders (id, customer_id, product_id, total, created, note) VALUES (17, 42, 3, 99.5, '2024-02-29 10:00:00', 'hello')";
const JOIN: &str = "SELECT o.id, l.amount, p.name FROM orders o JOIN lines l ON l.customer_id = o.customer_id AND l.order_id = o.id \
                    JOIN products p ON p.id = l.product_id WHERE o.customer_id = 42 ORDER BY o.id LIMIT 10";

struct Two(Value<'static>, Value<'static>);

impl Values for Two {
    fn parameter(&self, index: u16) -> Option<Value<'_>> {
        [self.0, self.1].get(usize::from(index)).copied()
    }
    fn literal(&self, _: u16) -> Option<&str> {
        None
    }
}

fn bound() -> Two {
    let value = |bytes: &'static [u8]| Value {
        type_oid: 20,
        binary: true,
        bytes: Some(bytes),
    };
    Two(
        value(&[0, 0, 0, 0, 0, 0, 0, 42]),
        value(&[0, 0, 0, 0, 0, 0, 4, 210]),
    )
}

fn target(planned: &Planned, catalog: &Catalog, values: &dyn Values) -> Target {
    match &*planned.plan {
        Plan::Single(single) => resolve(&single.route, catalog, values).unwrap(),
        _ => Target::Any,
    }
}

#[divan::bench(args = [SIMPLE, UNSHARDED, INSERT])]
fn cached_simple(bencher: Bencher, sql: &str) {
    let catalog = support::catalog();
    let context = support::context(&catalog);
    let cache = PlanCache::new(1000);
    let mut literals = Literals::new();
    cache.plan_simple(sql, &context, &mut literals).unwrap();
    bencher.bench_local(|| {
        let plans = cache
            .plan_simple(black_box(sql), &context, &mut literals)
            .unwrap();
        target(&plans[0], &catalog, &literals.values(sql))
    });
}

#[divan::bench]
fn cached_prepared(bencher: Bencher) {
    let catalog = support::catalog();
    let context = support::context(&catalog);
    let cache = PlanCache::new(1000);
    cache.plan_statement(PREPARED, &context).unwrap();
    let values = bound();
    bencher.bench_local(|| {
        let planned = cache
            .plan_statement(black_box(PREPARED), &context)
            .unwrap()
            .unwrap();
        target(&planned, &catalog, black_box(&values))
    });
}

#[divan::bench]
fn resolve_prepared(bencher: Bencher) {
    let catalog = support::catalog();
    let planned = plan_text(PREPARED, &support::context(&catalog)).unwrap();
    let values = bound();
    bencher.bench_local(|| target(&planned[0], &catalog, black_box(&values)));
}

#[divan::bench(args = [SIMPLE, PREPARED, UNSHARDED, INSERT, JOIN])]
fn uncached(bencher: Bencher, sql: &str) {
    let catalog = support::catalog();
    let context = support::context(&catalog);
    bencher.bench_local(|| plan_text(black_box(sql), &context).unwrap());
}

#[divan::bench]
fn uncached_insert_of_1000_rows(bencher: Bencher) {
    let catalog = support::catalog();
    let context = support::context(&catalog);
    let row = "(17, 42, 3, 99.5, '2024-02-29 10:00:00', 'hello')";
    let sql = format!("INSERT INTO orders VALUES {}", vec![row; 1000].join(", "));
    bencher.bench_local(|| plan_text(black_box(&sql), &context).unwrap());
}

/// The C parser alone, for PARSER.md.
mod parser {
    use super::*;

    fn insert(columns: usize, rows: usize) -> String {
        let names: Vec<String> = (0..columns).map(|column| format!("c{column}")).collect();
        let row: Vec<String> = (0..columns)
            .map(|column| {
                if column % 2 == 0 {
                    format!("{column}00")
                } else {
                    format!("'text {column}'")
                }
            })
            .collect();
        let rows = vec![format!("({})", row.join(", ")); rows].join(", ");
        format!("INSERT INTO t ({}) VALUES {rows}", names.join(", "))
    }

    #[divan::bench]
    fn point_select(bencher: Bencher) {
        bencher.bench_local(|| {
            pg_raw_parse::parse(black_box("SELECT a, b FROM t WHERE id = 42")).is_ok()
        });
    }

    #[divan::bench]
    fn insert_10_columns(bencher: Bencher) {
        let sql = insert(10, 1);
        bencher.bench_local(|| pg_raw_parse::parse(black_box(&sql)).is_ok());
    }

    #[divan::bench]
    fn insert_1000_rows_of_10_columns(bencher: Bencher) {
        let sql = insert(10, 1000);
        bencher.bench_local(|| pg_raw_parse::parse(black_box(&sql)).is_ok());
    }
}
