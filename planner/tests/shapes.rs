//! Planning by shape and literals leads where planning the full text leads.

#![allow(clippy::unwrap_used)]

mod support;

use planner::{Literals, Plan, PlanCache, Target, plan_text, resolve};
use proptest::prelude::*;

fn integer() -> impl Strategy<Value = String> {
    prop_oneof![
        (0i64..50).prop_map(|number| number.to_string()),
        (0i64..50).prop_map(|number| format!("-{number}")),
        (0i64..50).prop_map(|number| format!("- {number}")),
        (0i64..50).prop_map(|number| format!("'{number}'")),
        (0i64..50).prop_map(|number| format!("'{number}'::bigint")),
        (0i64..50).prop_map(|number| format!("{number}.0")),
        Just("NULL".to_owned()),
        Just("3000000000".to_owned()),
        Just("1.5".to_owned()),
        Just("99999999999999999999".to_owned()),
        Just("$$5$$".to_owned()),
        Just("E'5'".to_owned()),
        Just("'x'".to_owned()),
        Just("1 + 1".to_owned()),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => integer().prop_map(|value| format!("customer_id = {value}")),
        1 => integer().prop_map(|value| format!("{value} = customer_id")),
        2 => prop::collection::vec(integer(), 1..4).prop_map(|values| format!("customer_id IN ({})", values.join(", "))),
        1 => prop::collection::vec(0i64..9, 0..3).prop_map(|values| {
            let values: Vec<String> = values.iter().map(i64::to_string).collect();
            format!("customer_id = ANY ('{{{}}}')", values.join(","))
        }),
        1 => integer().prop_map(|value| format!("id > {value}")),
        1 => Just("note = 'it''s' AND total < 1e3".to_owned()),
    ]
}

fn statement() -> impl Strategy<Value = String> {
    let conditions =
        || prop::collection::vec(condition(), 1..3).prop_map(|conditions| conditions.join(" AND "));
    prop_oneof![
        conditions().prop_map(|conditions| format!("SELECT * FROM orders WHERE {conditions}")),
        conditions().prop_map(|conditions| format!("SELECT id, 5 FROM orders WHERE {conditions} ORDER BY 1 LIMIT 3 -- 7")),
        conditions().prop_map(|conditions| format!("UPDATE orders SET note = 'x' /* 1 */ WHERE {conditions}")),
        (conditions(), integer()).prop_map(|(conditions, value)| format!("UPDATE orders SET customer_id = {value} WHERE {conditions}")),
        conditions().prop_map(|conditions| format!("DELETE FROM orders WHERE {conditions}")),
        conditions().prop_map(|conditions| format!("SELECT * FROM (SELECT * FROM orders UNION ALL SELECT * FROM orders) o WHERE {conditions}")),
        (integer(), integer()).prop_map(|(a, b)| format!("INSERT INTO orders (id, customer_id) VALUES (1, {a}), (2, {b})")),
        (integer(), integer()).prop_map(|(a, b)| format!("INSERT INTO orders (customer_id, id) SELECT {a}, {b}")),
        integer().prop_map(|value| format!("SELECT nextval('orders_id_seq'), {value}::varchar(10), interval '1' day")),
        integer().prop_map(|value| format!("UPDATE products SET price = {value} WHERE id = 5")),
        (integer(), integer()).prop_map(|(a, b)| format!(
            "WITH RECURSIVE r AS (SELECT id, customer_id FROM orders WHERE customer_id = {a} UNION ALL SELECT o.id, o.customer_id FROM orders o JOIN r ON o.id = r.id AND o.customer_id = {b}) SELECT * FROM r JOIN lines USING (customer_id)"
        )),
    ]
}

#[derive(Debug, PartialEq)]
enum Outcome {
    To(Vec<Target>),
    Other(Vec<String>),
    Refused(&'static str),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shape_and_text_agree(statements in prop::collection::vec(statement(), 1..6)) {
        let catalog = support::catalog();
        let context = support::context(&catalog);
        let cache = PlanCache::new(100);
        let mut literals = Literals::new();
        // Twice: planned, then found.
        for sql in statements.iter().chain(&statements) {
            let shaped = cache.plan_simple(sql, &context, &mut literals);
            let values = literals.values(sql);
            let shaped = shaped.and_then(|plans| {
                let mut targets = Vec::new();
                let mut others = Vec::new();
                for planned in plans.iter() {
                    match &*planned.plan {
                        Plan::Single(single) => targets.push(resolve(&single.route, &catalog, &values)?),
                        // What values lead to several shards is gathered or spread, whether it shows now or when they are resolved.
                        Plan::Gather(_) | Plan::Spread(_) | Plan::Transfer(_) => return Ok(Outcome::Refused("0A000")),
                        other => others.push(other.to_string()),
                    }
                }
                Ok(if others.is_empty() { Outcome::To(targets) } else { Outcome::Other(others) })
            });
            let full = plan_text(sql, &context).and_then(|plans| {
                let mut targets = Vec::new();
                let mut others = Vec::new();
                for planned in &plans {
                    match &*planned.plan {
                        Plan::Single(single) => targets.push(resolve(&single.route, &catalog, &())?),
                        // What values lead to several shards is gathered or spread, whether it shows now or when they are resolved.
                        Plan::Gather(_) | Plan::Spread(_) | Plan::Transfer(_) => return Ok(Outcome::Refused("0A000")),
                        other => others.push(other.to_string()),
                    }
                }
                Ok(if others.is_empty() { Outcome::To(targets) } else { Outcome::Other(others) })
            });
            let flatten = |outcome: Result<Outcome, planner::Error>| outcome.unwrap_or_else(|error| Outcome::Refused(error.sqlstate()));
            prop_assert_eq!(flatten(shaped), flatten(full), "{}", sql);
        }
    }
}
