//! Sagas: each step once, or compensated, whatever dies.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use std::time::{Duration, Instant};

use router::serve::Stop;
use tests::client::{Client, ask, one, sqlstate};
use tests::cluster::{Cluster, Options};
use tests::endpoint::Endpoint;
use tests::router_process::{RouterProcess, ShardServers};
use tests::several::{direct, through};
use tests::shared::Shared;

static SHARED: Shared = Shared::new(Options::default);

fn cluster() -> &'static Cluster {
    SHARED.cluster()
}

/// Accounts with 100 each, and one key of each shard.
fn accounts(cluster: &Cluster, name: &str) -> Vec<String> {
    tests::several::table(cluster, name, 20);
    (0..2)
        .map(|shard| {
            let mut server = direct(cluster, shard);
            let add = format!(
                "ALTER TABLE {name} ADD balance int NOT NULL DEFAULT 100 CHECK (balance >= 0)"
            );
            ask(&mut server, &add);
            one(&mut server, &format!("SELECT min(k) FROM {name}"))
        })
        .collect()
}

/// Moves an amount from one account to the other.
fn transfer(table: &str, keys: &[String], amount: i32, before: &str) -> String {
    let step = |key: &str, sign: i32| {
        let sql = format!("UPDATE {table} SET balance = balance + $1 WHERE k = $2 {before}");
        format!(
            "{{\"key\": \"{table}={key}\", \"sql\": \"{sql}\", \"parameters\": [{}, {key}], \
             \"compensation\": \"{sql}\", \"compensation_parameters\": [{}, \"{key}\"]}}",
            sign * amount,
            -sign * amount
        )
    };
    format!("[{}, {}]", step(&keys[1], 1), step(&keys[0], -1))
}

fn start(client: &mut Client, steps: &str, key: &str) -> String {
    let sql = format!("SELECT pgweave.saga_start('transfer', '{steps}', '{key}')");
    one(client, &sql)
}

/// Waits for the end.
fn ended(client: &mut Client, id: &str) -> Vec<Option<String>> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let sql = format!("SELECT * FROM pgweave.saga_status('{id}')");
        let row = ask(client, &sql).remove(0);
        if row[8].is_some() {
            return row;
        }
        assert!(Instant::now() < deadline, "{row:?}");
        std::thread::yield_now();
    }
}

fn balances(cluster: &Cluster, table: &str, keys: &[String]) -> Vec<String> {
    (0..2)
        .map(|shard| {
            let mut server = direct(cluster, shard);
            let sql = format!("SELECT balance FROM {table} WHERE k = {}", keys[shard]);
            one(&mut server, &sql)
        })
        .collect()
}

#[test]
fn all_steps_or_their_compensations() {
    let keys = accounts(cluster(), "plain");
    let mut client = through(cluster());
    let id = start(&mut client, &transfer("plain", &keys, 30, ""), "a");
    assert_eq!(ended(&mut client, &id)[2].as_deref(), Some("done"));
    assert_eq!(balances(cluster(), "plain", &keys), ["70", "130"]);
    // The same again is the same.
    let again = start(&mut client, &transfer("plain", &keys, 30, ""), "a");
    assert_eq!(again, id);
    let other = transfer("plain", &keys, 31, "");
    let sql = format!("SELECT pgweave.saga_start('transfer', '{other}', 'a')");
    assert_eq!(
        sqlstate(&client.query(&sql).unwrap()).as_deref(),
        Some("22023")
    );
    // The second step breaks a constraint.
    let id = start(&mut client, &transfer("plain", &keys, 80, ""), "b");
    let row = ended(&mut client, &id);
    assert_eq!(row[2].as_deref(), Some("compensated"));
    assert!(
        row[6].as_ref().unwrap().contains("plain_balance_check"),
        "{row:?}"
    );
    assert_eq!(balances(cluster(), "plain", &keys), ["70", "130"]);
    assert!(ask(&mut client, "SELECT * FROM pgweave.saga_list()").len() >= 2);
}

#[test]
fn reservations_are_confirmed_cancelled_or_expire() {
    let keys = accounts(cluster(), "held");
    let mut client = through(cluster());
    let step = |key: &str| {
        let set = |expression: &str| format!("UPDATE held SET {expression} WHERE k = {key}");
        format!(
            "{{\"key\": \"held={key}\", \"sql\": \"{}\", \"compensation\": \"{}\", \"confirmation\": \"{}\"}}",
            set("balance = balance - 10"),
            set("balance = balance + 10"),
            set("balance = balance + 1000"),
        )
    };
    let steps = format!("[{}, {}]", step(&keys[0]), step(&keys[1]));
    let hold = |client: &mut Client, hold: &str| {
        let sql = format!("SELECT pgweave.saga_start('hold', '{steps}', hold => '{hold}')");
        let id = one(client, &sql);
        let status = format!("SELECT state FROM pgweave.saga WHERE id = '{id}'");
        let mut home = direct(cluster(), 0);
        while one(&mut home, &status) == "running" {}
        id
    };
    let decide = |client: &mut Client, verdict: &str, id: &str| {
        client
            .query(&format!("SELECT pgweave.saga_{verdict}('{id}')"))
            .unwrap()
    };
    let id = hold(&mut client, "1 hour");
    assert_eq!(balances(cluster(), "held", &keys), ["90", "90"]);
    assert_eq!(sqlstate(&decide(&mut client, "confirm", &id)), None);
    assert_eq!(ended(&mut client, &id)[2].as_deref(), Some("done"));
    assert_eq!(balances(cluster(), "held", &keys), ["1090", "1090"]);
    // Once more is the same, the opposite is too late.
    assert_eq!(sqlstate(&decide(&mut client, "confirm", &id)), None);
    let late = decide(&mut client, "cancel", &id);
    assert_eq!(sqlstate(&late).as_deref(), Some("55000"));
    let id = hold(&mut client, "1 hour");
    assert_eq!(sqlstate(&decide(&mut client, "cancel", &id)), None);
    assert_eq!(ended(&mut client, &id)[2].as_deref(), Some("compensated"));
    let id = hold(&mut client, "300 ms");
    assert_eq!(ended(&mut client, &id)[2].as_deref(), Some("compensated"));
    let late = decide(&mut client, "confirm", &id);
    assert_eq!(sqlstate(&late).as_deref(), Some("55000"));
    assert_eq!(balances(cluster(), "held", &keys), ["1090", "1090"]);
    let unknown = decide(&mut client, "confirm", "nonsense");
    assert_eq!(sqlstate(&unknown).as_deref(), Some("42704"));
}

#[test]
fn what_is_no_saga_is_refused() {
    let mut client = through(cluster());
    for (steps, state) in [
        ("no json", "22P02"),
        ("[]", "22023"),
        ("[1]", "22023"),
        ("[{\"sql\": \"SELECT 1\"}]", "22023"),
        ("[{\"shard\": \"s1\"}]", "22023"),
        ("[{\"shard\": \"s9\", \"sql\": \"SELECT 1\"}]", "22023"),
        (
            "[{\"shard\": \"s1\", \"sql\": \"SELECT 1; SELECT 2\"}]",
            "22023",
        ),
        ("[{\"shard\": \"s1\", \"sql\": \"SELEC 1\"}]", "42601"),
        (
            "[{\"shard\": \"s1\", \"sql\": \"SELECT 1\", \"unsql\": 1}]",
            "22023",
        ),
    ] {
        let sql = format!("SELECT pgweave.saga_start('x', '{steps}')");
        let answer = client.query(&sql).unwrap();
        assert_eq!(sqlstate(&answer).as_deref(), Some(state), "{steps}");
    }
    for shard in 0..2 {
        ask(
            &mut direct(cluster(), shard),
            "CREATE ROLE nobody_special LOGIN",
        );
    }
    let address = cluster().router.address;
    let mut other = Client::connect(address, &[("user", "nobody_special")]).unwrap();
    let sql = "SELECT pgweave.saga_start('x', '[{\"shard\": \"s1\", \"sql\": \"SELECT 1\"}]')";
    assert_eq!(
        sqlstate(&other.query(sql).unwrap()).as_deref(),
        Some("42501")
    );
}

#[test]
fn connections_that_break_do_no_harm() {
    let keys = accounts(cluster(), "broken");
    let mut client = through(cluster());
    // The sleep leaves time to be killed in.
    let sleep = "AND (SELECT pg_sleep(0.02)) IS NOT NULL";
    let good = transfer("broken", &keys, 1, sleep);
    let bad = transfer("broken", &keys, 1_000, sleep);
    let ids: Vec<String> = (0..16)
        .map(|number| {
            let steps = if number % 3 == 2 { &bad } else { &good };
            start(&mut client, steps, &format!("broken {number}"))
        })
        .collect();
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE application_name = 'pgweave' AND random() < 0.3";
    let unfinished = "SELECT count(*) FROM pgweave.saga WHERE ended_at IS NULL";
    let mut home = direct(cluster(), 0);
    for _ in 0..40 {
        for shard in 0..2 {
            ask(&mut direct(cluster(), shard), kill);
        }
        ask(&mut home, "SELECT pg_sleep(0.05)");
        if one(&mut home, unfinished) == "0" {
            break;
        }
    }
    let mut done = 0;
    for (number, id) in ids.iter().enumerate() {
        let state = loop {
            // The router's own connection may have been one of those killed.
            let sql = format!("SELECT * FROM pgweave.saga_status('{id}')");
            let answer = client.query(&sql).unwrap();
            if sqlstate(&answer).is_none() {
                break ended(&mut client, id)[2].clone().unwrap();
            }
        };
        // With many killed attempts a good one may have turned back, but not a bad one gone through.
        assert!(
            state == "compensated" || state == "done" && number % 3 != 2,
            "{state}"
        );
        done += i32::from(state == "done");
    }
    assert!(done > 0);
    let expected = [(100 - done).to_string(), (100 + done).to_string()];
    assert_eq!(balances(cluster(), "broken", &keys), expected);
}

#[test]
fn another_router_goes_on_where_one_was_killed() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // Of its own: no other router must carry the steps.
        let cluster = Cluster::start(Options::default()).await.unwrap();
        let cluster = &cluster;
        let keys = accounts(cluster, "killed");
        cluster.router.ask_to_stop(Stop::Now);
        let endpoint = |shard: usize| {
            Endpoint::local(cluster.local.shards()[shard].primary.port(), "postgres")
        };
        let shards: Vec<ShardServers> = (0..2)
            .map(|shard| ShardServers {
                name: cluster.local.shards()[shard].name.clone(),
                primary: endpoint(shard),
                replicas: Vec::new(),
            })
            .collect();
        let router = RouterProcess::start(&shards, "", cluster.local.directory())
            .await
            .unwrap();
        let address = ([127, 0, 0, 1], router.endpoint().port).into();
        let mut client = Client::connect(address, &[]).unwrap();
        let sleep = "AND (SELECT pg_sleep(1)) IS NOT NULL";
        let id = start(&mut client, &transfer("killed", &keys, 5, sleep), "killed");
        let mut second = direct(cluster, 1);
        let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%UPDATE killed%' AND state = 'active' AND pid <> pg_backend_pid()";
        while one(&mut second, running) == "0" {}
        router.child().signal(libc::SIGKILL);
        let other = cluster.another_router(&Options::default()).unwrap();
        let mut client = Client::connect(other.address, &[]).unwrap();
        assert_eq!(ended(&mut client, &id)[2].as_deref(), Some("done"));
        assert_eq!(balances(cluster, "killed", &keys), ["95", "105"]);
    });
}
