//! Where one shard holds everything, it answers everything.

#![allow(clippy::unwrap_used)]

use catalog::{Catalog, KeyValue, RangeShardMap, ShardId, ShardMap, sample};
use planner::{Access, Context, Plan, Route, plan_text};

/// Of the plan of a single statement; `Err`: what is said instead.
fn route(sql: &str, catalog: &Catalog) -> Result<(Route, Access), String> {
    let context = Context {
        catalog,
        search_path: &["public".to_owned()],
        temporary: &[],
        user: "tester",
        manual: None,
        standard_conforming_strings: true,
        statistics: &planner::NoStatistics,
    };
    let planned = plan_text(sql, &context).map_err(|error| error.to_string())?;
    match &*planned[0].plan {
        Plan::Single(single) => Ok((single.route.clone(), single.access)),
        plan => Err(format!("{plan}")),
    }
}

#[test]
fn a_cluster_of_one_shard_needs_no_keys() {
    let catalog = sample::cluster(1)
        .hash_table("orders", &["customer"], &["customer bigint", "id bigint"])
        .hash_table("events", &["tenant"], &["tenant uuid", "n integer"])
        .reference_table("products", &["id integer"])
        .unsharded_table("settings", "s1", &["name text"])
        .build()
        .unwrap();
    for (sql, access) in [
        ("SELECT count(*) FROM orders", Access::Read),
        (
            "SELECT * FROM orders JOIN events ON id = n, settings, products",
            Access::Read,
        ),
        (
            "SELECT id FROM orders LIMIT 3 FOR UPDATE",
            Access::LockingRead,
        ),
        ("UPDATE orders SET id = id + 1", Access::Write),
        ("UPDATE orders SET customer = customer + 1", Access::Write),
        (
            "DELETE FROM orders USING events WHERE id = n",
            Access::Write,
        ),
        ("INSERT INTO orders SELECT n, n FROM events", Access::Write),
        ("INSERT INTO orders VALUES (1, 1), (2, 2)", Access::Write),
        (
            "INSERT INTO orders VALUES (random() * 100, 1)",
            Access::Write,
        ),
        ("INSERT INTO products SELECT id FROM orders", Access::Write),
        ("INSERT INTO products VALUES (1)", Access::Write),
        (
            "DELETE FROM products USING orders WHERE orders.id = products.id",
            Access::Write,
        ),
        (
            "SELECT * FROM products, orders WHERE orders.id = products.id FOR UPDATE",
            Access::LockingRead,
        ),
        ("COPY orders FROM STDIN", Access::Write),
        ("COPY products FROM STDIN", Access::Write),
        ("COPY (SELECT count(*) FROM orders) TO STDOUT", Access::Read),
        (
            "WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone",
            Access::Write,
        ),
        ("SELECT * FROM pgweave.tables, orders", Access::Read),
    ] {
        assert_eq!(
            route(sql, &catalog),
            Ok((Route::Shard(ShardId(1)), access)),
            "{sql}"
        );
    }
}

#[test]
fn tables_of_one_shard_need_no_keys() {
    let one = |low: i64| {
        let bound = |key: i64| Some(vec![KeyValue::Int(key)].into());
        ShardMap::Range(
            RangeShardMap::new(vec![(bound(low), bound(low + 100), ShardId(2))]).unwrap(),
        )
    };
    let catalog = sample::cluster(3)
        .mapped_table(
            "metrics",
            one(0),
            &["sensor"],
            &["sensor bigint", "value integer"],
        )
        .mapped_table("sensors", one(50), &["id"], &["id bigint", "name text"])
        .hash_table("orders", &["customer"], &["customer bigint", "id bigint"])
        .unsharded_table("settings", "s2", &["name text"])
        .unsharded_table("others", "s1", &["name text"])
        .reference_table("products", &["id integer"])
        .build()
        .unwrap();
    for (sql, access) in [
        (
            "SELECT count(*) FROM metrics, sensors WHERE value = 1",
            Access::Read,
        ),
        ("SELECT * FROM metrics, settings, products", Access::Read),
        ("UPDATE metrics SET value = 0", Access::Write),
        // The guard refuses a key that no placement covers.
        ("UPDATE metrics SET sensor = 7", Access::Write),
        (
            "DELETE FROM metrics USING sensors WHERE name = 'x'",
            Access::Write,
        ),
    ] {
        assert_eq!(
            route(sql, &catalog),
            Ok((Route::Shard(ShardId(2)), access)),
            "{sql}"
        );
    }
    for sql in [
        "SELECT * FROM metrics, others",
        "SELECT * FROM metrics, orders",
        "INSERT INTO metrics SELECT id FROM orders",
    ] {
        assert!(route(sql, &catalog).is_err(), "{sql}");
    }
    // A key that no shard has is told before a server is asked.
    let insert = route("INSERT INTO metrics VALUES (1000, 1)", &catalog).unwrap();
    assert!(matches!(insert.0, Route::Key(_)));
}
