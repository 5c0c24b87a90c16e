//! Deep and long statements end in a plan or an error, on a thread with a small stack, in time that grows with the text.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use planner::{Error, plan_text};

const STACK_BYTES: usize = 2 << 20;

/// Plans on a thread of 2 MB; `Ok` is the number of statements.
fn plan(sql: String) -> Result<usize, Error> {
    std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let catalog = support::catalog();
            plan_text(&sql, &support::context(&catalog)).map(|planned| planned.len())
        })
        .unwrap()
        .join()
        .expect("no panic and no abort")
}

fn around(open: &str, inner: &str, close: &str, depth: usize) -> String {
    format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn deep_statements_end_in_a_plan_or_an_error() {
    for depth in [10, 100, 1_000, 9_000, 10_000, 30_000] {
        for sql in [
            format!("SELECT {}", around("(", "1", ")", depth)),
            format!("SELECT {}", around("(", "1", "", depth)),
            format!("SELECT {}a", "NOT ".repeat(depth)),
            format!("SELECT {}a", "- ".repeat(depth)),
            format!("SELECT {}", around("f(", "1", ")", depth)),
            format!("SELECT {}", around("ARRAY[", "1", "]", depth)),
            format!("SELECT {}", around("CASE WHEN a THEN ", "1", " END", depth)),
            format!("SELECT {}", around("(SELECT ", "1", ")", depth)),
            format!(
                "SELECT * FROM {} x",
                around("(SELECT * FROM ", "orders", ") x", depth)
            ),
            format!(
                "SELECT * FROM {}",
                around("(", "orders", " JOIN lines ON true)", depth)
            ),
            format!(
                "SELECT * FROM orders {}",
                "JOIN lines ON true ".repeat(depth)
            ),
            format!(
                "SELECT * FROM orders {} ON true",
                around("JOIN (orders ", "JOIN lines ON true", ") ON true ", depth)
            ),
            format!("SELECT 1{}", " UNION SELECT 1".repeat(depth)),
            around("(SELECT 1 UNION ", "SELECT 1", ")", depth),
            format!(
                "WITH {} SELECT 1",
                around(
                    "a AS (WITH ",
                    "b AS (SELECT 1) SELECT 1",
                    ") SELECT 1",
                    depth
                )
            ),
            format!("SELECT {} 1", around("/* ", "x", " */", depth)),
            format!("SELECT a{}", "[1]".repeat(depth)),
            format!("SELECT a{}", "::int".repeat(depth)),
            format!("SELECT {}", around("pgweave.f(ARRAY[", "1", "])", depth)),
            format!("EXPLAIN {}", around("(SELECT ", "1", ")", depth)),
            around("EXPLAIN ", "SELECT 1", "", depth),
            around("PREPARE a AS ", "SELECT 1", "", depth),
        ] {
            let _ = plan(sql);
        }
    }
}

#[test]
fn long_chains_are_planned() {
    let chain = |term: &str| vec![term; 10_000].join(" ");
    for sql in [
        format!(
            "SELECT * FROM orders WHERE customer_id = 5 {}",
            chain("AND total > 1")
        ),
        format!(
            "SELECT * FROM orders WHERE customer_id = 5 AND (id = 1 {})",
            chain("OR id = 2")
        ),
        format!("SELECT 1 {}", chain("+ 1")),
        format!("SELECT 'a' {}", chain("|| 'b'")),
        format!("SELECT 1 {}", chain("UNION ALL SELECT 1")),
    ] {
        assert_eq!(plan(sql), Ok(1));
    }
    let joins = "JOIN products ON true ".repeat(300);
    assert_eq!(
        plan(format!(
            "SELECT * FROM orders {joins} WHERE orders.customer_id = 5"
        )),
        Ok(1)
    );
}

#[test]
fn too_complex_is_said_so() {
    let sql = format!("SELECT {} 1", around("/* ", "x", " */", 1_000));
    assert_eq!(plan(sql).unwrap_err().sqlstate(), "54001");
    let sql = format!("SELECT {}", around("(", "1", ")", 20_000));
    assert_eq!(plan(sql).unwrap_err().sqlstate(), "54001");
    let sql = format!("SELECT {}", around("(SELECT ", "1", ")", 1_000));
    assert_eq!(plan(sql).unwrap_err().sqlstate(), "54001");
    let mut sql = String::from("WITH c0 AS (SELECT 1 AS a)");
    for level in 1..40 {
        let below = level - 1;
        sql += &format!(", c{level} AS (SELECT x.a FROM c{below} x, c{below} y)");
    }
    sql += " SELECT * FROM c39, orders WHERE customer_id = 5";
    assert_eq!(plan(sql).unwrap_err().sqlstate(), "54001");
}

#[test]
fn long_lists_take_time_in_proportion() {
    let time = |sql: &str| {
        let catalog = support::catalog();
        let start = Instant::now();
        plan_text(sql, &support::context(&catalog)).unwrap();
        start.elapsed()
    };
    let list = |length: usize| {
        let numbers: Vec<String> = (0..length).map(|number| number.to_string()).collect();
        format!(
            "SELECT * FROM orders WHERE customer_id IN ({})",
            numbers.join(",")
        )
    };
    let rows = |length: usize| {
        format!(
            "INSERT INTO orders (id, customer_id) VALUES {}",
            vec!["(1, 5)"; length].join(",")
        )
    };
    for make in [&list as &dyn Fn(usize) -> String, &rows] {
        let (short, long) = (make(10_000), make(100_000));
        let before = time(&short).max(Duration::from_millis(5));
        let after = time(&long);
        assert!(
            after < before * 40,
            "ten times the text took {after:?} instead of {before:?}"
        );
    }
}
