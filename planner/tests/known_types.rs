//! Of which merged queries the catalog knows the types that matter, so that no server has to be asked.

#![allow(
    clippy::unwrap_used,
    reason = "a step of a test that fails is the end of the test"
)]

mod support;

use planner::{Plan, plan_text};

fn types(sql: &str) -> Option<Vec<u32>> {
    let catalog = support::catalog();
    let planned = plan_text(sql, &support::context(&catalog)).unwrap();
    match &*planned[0].plan {
        Plan::Scatter(scatter) => scatter.merge.types.clone(),
        other => panic!("{sql} is planned as {other}"),
    }
}

#[test]
fn columns_of_one_table_are_known() {
    assert_eq!(
        types("SELECT id, total FROM orders WHERE total > 5 ORDER BY id"),
        Some(vec![20, 0])
    );
    assert_eq!(
        types("SELECT total, id FROM orders ORDER BY 1 DESC, id LIMIT 3"),
        Some(vec![1700, 20])
    );
    assert_eq!(
        types("SELECT count(*), sum(product_id), max(created), bool_and(total > 1) FROM orders"),
        Some(vec![20, 20, 1114, 16])
    );
    assert_eq!(
        types("SELECT sum(id), sum(total), count(DISTINCT customer_id) FROM orders"),
        Some(vec![1700, 1700, 20])
    );
}

#[test]
fn expressions_joins_and_changed_texts_are_not() {
    for sql in [
        // By a column that comes besides.
        "SELECT id FROM orders ORDER BY total",
        "SELECT id + 1 FROM orders ORDER BY 1",
        "SELECT id, total FROM orders ORDER BY id LIMIT 3 OFFSET 1",
        "SELECT o.id FROM orders o JOIN customers c ON o.customer_id = c.customer_id ORDER BY o.id",
        "SELECT customer_id, name FROM customers JOIN orders USING (customer_id) ORDER BY customer_id",
        "SELECT id FROM (SELECT id FROM orders) AS o ORDER BY id",
        "SELECT id FROM orders UNION ALL SELECT order_id FROM lines ORDER BY 1",
        "SELECT sum(total * 2) FROM orders",
        "SELECT min(note) || 'x' AS m, count(*) FROM orders GROUP BY customer_id ORDER BY 1",
        "SELECT note, count(*) FROM orders GROUP BY note",
    ] {
        assert_eq!(types(sql), None, "{sql}");
    }
}
