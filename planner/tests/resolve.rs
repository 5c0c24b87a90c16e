//! Values of the wire to shards: text and binary, declared and undeclared types, arrays, composite keys.

#![allow(clippy::unwrap_used)]

mod support;

use catalog::{Catalog, KeyValue};
use planner::{Error, Plan, PlanCache, Target, Value, Values, plan_text, resolve};

struct Bound(Vec<(u32, bool, Option<Vec<u8>>)>);

impl Values for Bound {
    fn parameter(&self, index: u16) -> Option<Value<'_>> {
        let (type_oid, binary, bytes) = self.0.get(usize::from(index))?;
        Some(Value {
            type_oid: *type_oid,
            binary: *binary,
            bytes: bytes.as_deref(),
        })
    }

    fn literal(&self, _: u16) -> Option<&str> {
        None
    }
}

const INT2: u32 = 21;
const INT4: u32 = 23;
const INT8: u32 = 20;
const TEXT: u32 = 25;
const NUMERIC: u32 = 1700;
const FLOAT8: u32 = 701;
const INT8_ARRAY: u32 = 1016;

fn text(type_oid: u32, text: &str) -> (u32, bool, Option<Vec<u8>>) {
    (type_oid, false, Some(text.as_bytes().to_vec()))
}

fn binary(type_oid: u32, bytes: &[u8]) -> (u32, bool, Option<Vec<u8>>) {
    (type_oid, true, Some(bytes.to_vec()))
}

fn go(
    catalog: &Catalog,
    sql: &str,
    values: Vec<(u32, bool, Option<Vec<u8>>)>,
) -> Result<Target, Error> {
    let planned = plan_text(sql, &support::context(catalog))?;
    match &*planned[0].plan {
        Plan::Single(single) => resolve(&single.route, catalog, &Bound(values)),
        other => panic!("{other}"),
    }
}

/// Where this customer's rows are.
fn home(catalog: &Catalog, customer: i64) -> Target {
    let group = catalog.group(catalog::GroupId(1)).unwrap();
    Target::Shard(
        group
            .map
            .shard(&group.types, &[KeyValue::Int(customer)])
            .unwrap(),
    )
}

const SELECT: &str = "SELECT * FROM orders WHERE customer_id = $1";
const INSERT: &str = "INSERT INTO orders (customer_id) VALUES ($1)";

#[test]
fn the_same_value_in_every_form_leads_to_the_same_shard() {
    let catalog = support::catalog();
    for sql in [
        SELECT,
        INSERT,
        "DELETE FROM lines WHERE customer_id IN ($1)",
    ] {
        for customer in [-7i64, 0, 5, 42, 30_000] {
            let there = Ok(home(&catalog, customer));
            for value in [
                text(0, &customer.to_string()),
                text(705, &customer.to_string()),
                text(INT2, &customer.to_string()),
                text(INT8, &customer.to_string()),
                text(NUMERIC, &format!("{customer}.00")),
                text(0, &format!(" {customer} ")),
                binary(0, &customer.to_be_bytes()),
                binary(0, &(customer as i32).to_be_bytes()),
                binary(INT2, &(customer as i16).to_be_bytes()),
                binary(INT4, &(customer as i32).to_be_bytes()),
                binary(INT8, &customer.to_be_bytes()),
            ] {
                assert_eq!(go(&catalog, sql, vec![value]), there, "{sql} {customer}");
            }
        }
    }
}

#[test]
fn what_matches_nothing_or_is_wrong_goes_to_any_shard_with_the_table() {
    let catalog = support::catalog();
    for value in [
        (0, false, None),
        text(0, "abc"),
        text(INT8, "99999999999999999999"),
        text(NUMERIC, "1.5"),
        (0, false, Some(vec![0xff])),
    ] {
        assert_eq!(
            go(&catalog, SELECT, vec![value]),
            Ok(Target::Shard(catalog::ShardId(1)))
        );
    }
    assert_eq!(
        go(&catalog, SELECT, vec![]),
        Ok(Target::Shard(catalog::ShardId(1)))
    );
}

#[test]
fn doubtful_values_are_refused() {
    let catalog = support::catalog();
    for (sql, values) in [
        (SELECT, vec![text(TEXT, "5")]),
        (SELECT, vec![text(FLOAT8, "5")]),
        (SELECT, vec![binary(FLOAT8, &5f64.to_be_bytes())]),
        (SELECT, vec![binary(0, &[1, 2, 3])]),
        (INSERT, vec![text(NUMERIC, "1.5")]),
        (
            "SELECT * FROM orders WHERE customer_id = $1::bigint",
            vec![text(NUMERIC, "5")],
        ),
        // The server may infer numeric for $1, and then '5.0' equals 5.
        (
            "SELECT * FROM orders WHERE total > $1 AND customer_id = $1",
            vec![text(0, "5.0")],
        ),
        (
            "SELECT * FROM events WHERE tenant = $1 AND day = $2",
            vec![
                text(0, "6f2c8f4e-0f36-4b1c-9f57-0a2b3c4d5e6f"),
                text(0, "tomorrow"),
            ],
        ),
        (
            "SELECT * FROM orders WHERE customer_id IN ($1, $2)",
            vec![text(0, "1"), text(0, "5")],
        ),
    ] {
        assert_eq!(
            go(&catalog, sql, values).map_err(|error| error.sqlstate()),
            Err("0A000"),
            "{sql}"
        );
    }
    let unmapped = go(
        &catalog,
        "SELECT * FROM metrics WHERE sensor = $1",
        vec![text(0, "5000")],
    );
    assert_eq!(unmapped.map_err(|error| error.sqlstate()), Err("23514"));
}

#[test]
fn parameters_used_twice() {
    let catalog = support::catalog();
    let there = Ok(home(&catalog, 42));
    for sql in [
        "SELECT * FROM orders o, lines l WHERE o.customer_id = $1 AND l.customer_id = $1",
        "SELECT * FROM orders WHERE total > $1 AND customer_id = $1",
        "UPDATE orders SET customer_id = $1 WHERE customer_id = $1",
        "INSERT INTO orders (id, customer_id) VALUES ($1, $1)",
    ] {
        assert_eq!(go(&catalog, sql, vec![text(0, "42")]), there, "{sql}");
        assert_eq!(go(&catalog, sql, vec![text(INT8, "42")]), there, "{sql}");
    }
}

#[test]
fn arrays() {
    let catalog = support::catalog();
    let sql = "SELECT * FROM orders WHERE customer_id = ANY ($1)";
    let there = Ok(home(&catalog, 42));
    let array = |elements: &[Option<i64>]| {
        let mut bytes = Vec::new();
        for word in [1, 0, INT8 as i32, elements.len() as i32, 1] {
            bytes.extend(word.to_be_bytes());
        }
        for element in elements {
            match element {
                Some(element) => {
                    bytes.extend(8i32.to_be_bytes());
                    bytes.extend(element.to_be_bytes());
                }
                None => bytes.extend((-1i32).to_be_bytes()),
            }
        }
        bytes
    };
    for value in [
        text(0, "{42,42,NULL}"),
        text(INT8_ARRAY, "{42}"),
        binary(INT8_ARRAY, &array(&[Some(42), None])),
        binary(0, &array(&[Some(42)])),
    ] {
        assert_eq!(go(&catalog, sql, vec![value]), there);
    }
    for value in [
        text(0, "{}"),
        text(0, "{NULL}"),
        binary(INT8_ARRAY, &array(&[])),
        (0, false, None),
    ] {
        assert_eq!(
            go(&catalog, sql, vec![value]),
            Ok(Target::Shard(catalog::ShardId(1)))
        );
    }
    let several = go(&catalog, sql, vec![text(0, "{1,5,7}")]).unwrap_err();
    assert_eq!(several.sqlstate(), "0A000");
    assert!(
        several.message().contains("s4, s2, s3"),
        "{}",
        several.message()
    );
    for value in [text(0, "{{1},{2}}"), text(TEXT, "{1}"), text(1009, "{1}")] {
        assert_eq!(
            go(&catalog, sql, vec![value]).map_err(|error| error.sqlstate()),
            Err("0A000")
        );
    }
    for length in 0..array(&[Some(42)]).len() {
        let _ = go(
            &catalog,
            sql,
            vec![binary(INT8_ARRAY, &array(&[Some(42)])[..length])],
        );
    }
}

#[test]
fn composite_keys_combine() {
    let catalog = support::catalog();
    let tenant = "6f2c8f4e-0f36-4b1c-9f57-0a2b3c4d5e6f";
    let constant = go(
        &catalog,
        &format!("SELECT * FROM events WHERE tenant = '{tenant}' AND day = '2024-02-29'"),
        vec![],
    );
    let bytes: Vec<u8> = (0..16)
        .map(|index| {
            u8::from_str_radix(&tenant.replace('-', "")[index * 2..index * 2 + 2], 16).unwrap()
        })
        .collect();
    let days = 8825i32;
    for values in [
        vec![text(0, tenant), text(0, "2024-02-29")],
        vec![text(2950, tenant), text(1082, "2024-02-29")],
        vec![binary(2950, &bytes), binary(1082, &days.to_be_bytes())],
        vec![binary(0, &bytes), binary(0, &days.to_be_bytes())],
    ] {
        assert_eq!(
            go(
                &catalog,
                "SELECT * FROM events WHERE day = $2 AND tenant = $1",
                values
            ),
            constant
        );
    }
}

#[test]
fn statements_of_the_extended_protocol() {
    let catalog = support::catalog();
    let context = support::context(&catalog);
    let cache = PlanCache::new(10);
    assert!(cache.plan_statement("", &context).unwrap().is_none());
    assert_eq!(
        cache
            .plan_statement("SELECT 1; SELECT 2", &context)
            .unwrap_err()
            .sqlstate(),
        "42601"
    );
    assert_eq!(
        cache
            .plan_statement("SET a = 1; SELECT 2", &context)
            .unwrap_err()
            .sqlstate(),
        "42601"
    );
    let first = cache.plan_statement(SELECT, &context).unwrap().unwrap();
    let second = cache.plan_statement(SELECT, &context).unwrap().unwrap();
    assert!(std::sync::Arc::ptr_eq(&first.plan, &second.plan));
    let path = ["sales".to_owned()];
    let elsewhere = planner::Context {
        search_path: &path,
        ..context
    };
    let third = cache.plan_statement(SELECT, &elsewhere).unwrap().unwrap();
    assert!(!std::sync::Arc::ptr_eq(&first.plan, &third.plan));
}
