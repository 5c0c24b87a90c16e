//! Random queries are answered as PostgreSQL answers them.
//!
//! `PGWEAVE_SEED` chooses other rows and other queries, `PGWEAVE_QUERIES` how many, `PGWEAVE_QUERY` a single one; `./dev random` sets
//! them from its options. A number in the environment also lifts the limit of time.

#![allow(
    clippy::unwrap_used,
    reason = "a step of a test that fails is the end of the test"
)]

use std::time::Duration;

use router::local::{LocalServer, ServerOptions};
use tests::cluster::{Cluster, Options};
use tests::endpoint::Endpoint;
use tests::random::render::render;
use tests::random::sides::Pair;
use tests::random::{self, run};

/// How many queries `cargo test` tries. To be 10,000 once queries over several shards need no temporary tables.
const QUERIES: u64 = 10_000;
/// A slow machine tries fewer.
const TIME: Duration = Duration::from_secs(300);
const SEED: u64 = 1;
/// More refusals than this are a construct that stopped working.
const MOST_REFUSED_PERCENT: f64 = 1.0;
/// More errors on PostgreSQL than this, and the generator no longer tests what it should.
const MOST_FAILED_PERCENT: f64 = 5.0;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

#[tokio::test]
async fn random_queries_are_answered_as_postgresql_answers_them() {
    let seed = number("PGWEAVE_SEED").unwrap_or(SEED);
    let (only, queries) = (number("PGWEAVE_QUERY"), number("PGWEAVE_QUERIES"));
    let options = random::Options {
        seed,
        queries: queries.unwrap_or(QUERIES),
        only,
        time: if queries.is_some() {
            Duration::MAX
        } else {
            TIME
        },
    };
    let server_options = ServerOptions {
        durable: false,
        ..ServerOptions::default()
    };
    // Few rows and many take different ways: here few are many.
    let cluster = |shards, inline: u32| {
        Cluster::start(Options {
            shards,
            settings: vec![format!("gather.max_inline_bytes={inline}")],
            ..Options::default()
        })
    };
    let (server, two, five) = tokio::join!(
        LocalServer::scratch(server_options),
        cluster(2, 1 << 20),
        cluster(5, 300)
    );
    let (server, two, five) = (server.unwrap(), two.unwrap(), five.unwrap());
    let plain = server.connect("postgres").await.unwrap();
    for name in ["two", "five"] {
        plain
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
    }
    let place = |name: &str| Endpoint::local(server.port(), name);
    let pairs = [
        Pair::prepare(place("two"), &two, seed, None).unwrap(),
        Pair::prepare(place("five"), &five, seed, Some(4)).unwrap(),
    ];
    let report = run(&pairs, &options);
    println!("{report}");
    assert!(report.differences.is_empty(), "the answers above differ");
    if only.is_none() {
        assert!(report.compared > 0);
        assert!(
            report.refused_percent() <= MOST_REFUSED_PERCENT,
            "too many are refused"
        );
        assert!(
            report.failed_percent() <= MOST_FAILED_PERCENT,
            "too many fail on PostgreSQL"
        );
    }
}

/// The net has no holes: with one value changed on one side, differences are found and cut down to something short.
#[tokio::test]
async fn a_wrong_value_is_found() {
    let server = LocalServer::scratch(ServerOptions {
        durable: false,
        ..ServerOptions::default()
    })
    .await
    .unwrap();
    let plain = server.connect("postgres").await.unwrap();
    plain.batch_execute("CREATE DATABASE one").await.unwrap();
    let sides = ["one", "postgres"].map(|name| Endpoint::local(server.port(), name));
    for endpoint in &sides {
        let mut client = endpoint.client().unwrap();
        let rows = random::schema::rows(SEED);
        for statement in random::schema::definitions(false).into_iter().chain(rows) {
            client.query(&statement).unwrap();
        }
    }
    for (endpoint, value) in sides.iter().zip(["5", "6"]) {
        let update = format!("UPDATE customers SET n2 = {value} WHERE k = 3");
        endpoint.client().unwrap().query(&update).unwrap();
    }
    let [postgres, pgweave] = sides;
    let pairs = [Pair {
        postgres,
        pgweave,
        shards: 1,
    }];
    let options = random::Options {
        seed: SEED,
        queries: 2000,
        only: None,
        time: TIME,
    };
    let report = run(&pairs, &options);
    assert!(!report.differences.is_empty(), "{report}");
    for difference in &report.differences {
        assert!(difference.sql.len() < 160, "{difference}");
        assert!(difference.sql.contains("customers"), "{difference}");
    }
}

/// What should be asked for is asked for.
#[test]
fn every_construct_appears() {
    let queries: Vec<String> = (0..4000)
        .map(|index| render(&random::query(SEED, index), true).sql)
        .collect();
    let missing: Vec<&str> = [
        " LEFT JOIN ",
        " RIGHT JOIN ",
        " FULL JOIN ",
        " CROSS JOIN ",
        " NATURAL ",
        " USING (",
        "LATERAL (",
        "(VALUES ",
        "generate_series(",
        "ONLY ",
        "EXISTS (",
        " NOT IN (SELECT",
        " IN (SELECT",
        " ALL (SELECT",
        " ANY (SELECT",
        "WITH ",
        "WITH RECURSIVE ",
        " AS MATERIALIZED (",
        " UNION ALL ",
        " UNION ",
        " INTERSECT ",
        " INTERSECT ALL ",
        " EXCEPT ",
        " EXCEPT ALL ",
        " GROUP BY 1",
        " GROUP BY c",
        "GROUP BY ROLLUP",
        "GROUP BY CUBE",
        "GROUPING SETS",
        "grouping(",
        " HAVING ",
        "count(DISTINCT ",
        " FILTER (WHERE ",
        "string_agg(",
        "array_agg(",
        "WITHIN GROUP",
        " OVER (",
        " OVER w",
        " WINDOW w ",
        " ROWS BETWEEN ",
        " GROUPS BETWEEN ",
        "row_number()",
        "SELECT DISTINCT ",
        "DISTINCT ON (",
        " NULLS FIRST",
        " DESC NULLS LAST",
        " LIMIT ",
        " OFFSET ",
        " WITH TIES",
        "FETCH FIRST ",
        " LIMIT $",
        " IS DISTINCT FROM ",
        " BETWEEN ",
        " BETWEEN SYMMETRIC ",
        " LIKE ",
        " SIMILAR TO ",
        "CASE WHEN ",
        "CASE ",
        "coalesce(",
        "nullif(",
        "to_jsonb(t",
        "SELECT *",
        ", *",
        "$12",
        "public.",
        " OVERLAPS ",
        " AT TIME ZONE ",
        "::mood",
        "::uuid",
        "::bytea",
        "::interval",
    ]
    .into_iter()
    .filter(|construct| !queries.iter().any(|sql| sql.contains(construct)))
    .collect();
    assert!(missing.is_empty(), "no query has {missing:?}");
    for index in 0..4000 {
        let query = random::query(SEED, index);
        assert!(
            query.is_deterministic(true),
            "{}",
            render(&query, false).sql
        );
    }
    assert_eq!(queries[7], render(&random::query(SEED, 7), true).sql);
    assert!(queries.iter().filter(|sql| sql.contains(" JOIN ")).count() > 1000);
}
