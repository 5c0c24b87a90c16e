//! Many sessions over few connections, and the ends of sessions, servers and routers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use router::serve::Stop;
use router::wire::encode;
use tests::client::{Client, ask, one, rows, sqlstate};
use tests::cluster::{Cluster, Options};
use tests::shared::Shared;

static SHARED: Shared = Shared::new(|| Options {
    settings: vec![
        "pool.max_size=2".to_owned(),
        "pool.wait_timeout_ms=20000".to_owned(),
    ],
    ..Options::default()
});

/// Creates a table on the first shard, where undeclared tables live.
fn create(shared: &Shared, sql: &str) {
    let port = shared.cluster().local.shards()[0].primary.port();
    let mut server = Client::connect(SocketAddr::from(([127, 0, 0, 1], port)), &[]).unwrap();
    ask(&mut server, sql);
}

#[test]
fn twenty_clients_share_two_connections() {
    create(
        &SHARED,
        "CREATE TABLE shared_counter (n int); INSERT INTO shared_counter VALUES (0); CREATE TABLE shared_log (client int, step int)",
    );
    let address = SHARED.cluster().router.address;
    let clients: Vec<_> = (0..20)
        .map(|number| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address, &[]).unwrap();
                ask(&mut client, &format!("SET application_name = 'client {number}'"));
                for step in 0..25 {
                    ask(&mut client, "BEGIN");
                    ask(&mut client, "UPDATE shared_counter SET n = n + 1");
                    ask(&mut client, &format!("INSERT INTO shared_log VALUES ({number}, {step})"));
                    ask(&mut client, "COMMIT");
                    let text = number.to_string();
                    let answer = client
                        .extended("SELECT count(*), current_setting('application_name') FROM shared_log WHERE client = $1", &[Some(text.as_bytes())], false)
                        .unwrap();
                    assert_eq!(rows(&answer), [[Some((step + 1).to_string()), Some(format!("client {number}"))]]);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    let mut client = Client::connect(address, &[]).unwrap();
    assert_eq!(one(&mut client, "SELECT n FROM shared_counter"), "500");
    let used = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name LIKE 'client %'";
    let used: u32 = one(&mut client, used).parse().unwrap();
    assert!(used <= 2, "{used} connections");
}

#[test]
fn settings_follow_a_session_over_shards_and_savepoints() {
    // Statements without tables go to a shard by session; those with undeclared tables to the first.
    create(&SHARED, "CREATE TABLE followed (id int)");
    let address = SHARED.cluster().router.address;
    for _ in 0..4 {
        let mut client = Client::connect(address, &[]).unwrap();
        let default = one(&mut client, "SHOW work_mem");
        let both = [
            "SHOW work_mem",
            "SELECT current_setting('work_mem') FROM (SELECT count(*) FROM followed) AS f",
        ];
        let check = |client: &mut Client, value: &str| {
            for sql in both {
                assert_eq!(one(client, sql), value, "{sql}");
            }
        };
        ask(&mut client, "BEGIN; SHOW work_mem");
        ask(&mut client, "SAVEPOINT a; SET work_mem = '7MB'");
        check(&mut client, "7MB");
        ask(&mut client, "ROLLBACK TO a");
        check(&mut client, &default);
        ask(&mut client, "SELECT set_config('work_mem', '9MB', false)");
        check(&mut client, "9MB");
        ask(
            &mut client,
            "RELEASE a; SAVEPOINT b; SET LOCAL work_mem = '11MB'",
        );
        check(&mut client, "11MB");
        ask(&mut client, "ROLLBACK TO b");
        check(&mut client, "9MB");
        ask(&mut client, "COMMIT");
        check(&mut client, "9MB");
        ask(&mut client, "BEGIN; SET work_mem = '13MB'");
        check(&mut client, "13MB");
        ask(&mut client, "ROLLBACK");
        check(&mut client, "9MB");
        ask(&mut client, "RESET work_mem");
        check(&mut client, &default);
    }
}

#[test]
fn waiting_too_long_for_a_connection() {
    let cluster = SHARED.cluster();
    let options = Options {
        settings: vec![
            "pool.max_size=1".to_owned(),
            "pool.wait_timeout_ms=100".to_owned(),
        ],
        ..Options::default()
    };
    let router = cluster.another_router(&options).unwrap();
    create(&SHARED, "CREATE TABLE waited_for (id int)");
    let mut holder = Client::connect(router.address, &[]).unwrap();
    ask(&mut holder, "BEGIN; SELECT * FROM waited_for");
    let mut waiter = Client::connect(router.address, &[]).unwrap();
    let answer = waiter.query("SELECT * FROM waited_for").unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("53300"), "{answer:?}");
    let answer = waiter
        .extended(
            "SELECT * FROM waited_for WHERE id = $1",
            &[Some(b"1")],
            false,
        )
        .unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("53300"), "{answer:?}");
    // Once the connection is free again, all is well.
    ask(&mut holder, "COMMIT");
    assert!(ask(&mut waiter, "SELECT * FROM waited_for").is_empty());
}

/// Connections of one user to each shard.
fn connections_of(shared: &Shared, user: &str) -> Vec<String> {
    let shards = shared.cluster().local.shards().iter();
    shards
        .map(|shard| {
            let address = SocketAddr::from(([127, 0, 0, 1], shard.primary.port()));
            let mut server = Client::connect(address, &[]).unwrap();
            let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{user}'");
            one(&mut server, &sql)
        })
        .collect()
}

#[test]
fn the_least_number_of_connections_is_open_before_it_is_needed() {
    for shard in SHARED.cluster().local.shards() {
        let address = SocketAddr::from(([127, 0, 0, 1], shard.primary.port()));
        let mut server = Client::connect(address, &[]).unwrap();
        ask(
            &mut server,
            "CREATE ROLE warm LOGIN; CREATE ROLE passing LOGIN",
        );
    }
    let options = Options {
        toml: "[[users]]\nname = \"configured\"\nserver_user = \"warm\"\n\n[[users]]\nname = \"passing\"\npass_through = true\n"
            .to_owned(),
        settings: vec!["pool.min_size=3".to_owned()],
        ..Options::default()
    };
    let router = SHARED.cluster().another_router(&options).unwrap();
    // A client that needs one meanwhile opens its own: there may be more.
    let soon = |user: &str, least: u32| {
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            let now = connections_of(&SHARED, user);
            if now
                .iter()
                .all(|count| count.parse::<u32>().unwrap() >= least)
            {
                break;
            }
            assert!(Instant::now() < patience, "{user}: {now:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // A login that the configuration holds needs no client; another comes with the first one.
    soon("warm", 3);
    assert_eq!(connections_of(&SHARED, "passing"), ["0", "0"]);
    let mut client = Client::connect(router.address, &[("user", "passing")]).unwrap();
    soon("passing", 3);
    // They are the ones that statements use, and stay when the client has gone.
    assert_eq!(one(&mut client, "SELECT current_user"), "passing");
    drop(client);
    let mut configured = Client::connect(router.address, &[("user", "configured")]).unwrap();
    assert_eq!(one(&mut configured, "SELECT current_user"), "warm");
    soon("warm", 3);
    soon("passing", 3);
    // One that a server closes is replaced.
    let address = SocketAddr::from((
        [127, 0, 0, 1],
        SHARED.cluster().local.shards()[1].primary.port(),
    ));
    let mut server = Client::connect(address, &[]).unwrap();
    let pids = "SELECT coalesce(string_agg(pid::text, ' '), '') FROM pg_stat_activity WHERE usename = 'warm'";
    let before = one(&mut server, pids);
    ask(
        &mut server,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'warm'",
    );
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let now = one(&mut server, pids);
        let is_old = |pid: &str| before.split_whitespace().any(|old| old == pid);
        if now.split_whitespace().count() >= 3 && !now.split_whitespace().any(is_old) {
            break;
        }
        assert!(Instant::now() < patience, "{before} became {now}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_restarted_server_is_found_again() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let cluster = runtime
        .block_on(Cluster::start(Options {
            shards: 1,
            ..Options::default()
        }))
        .unwrap();
    let server = &cluster.local.shards()[0].primary;
    let mut idle = Client::connect(cluster.router.address, &[]).unwrap();
    ask(&mut idle, "SET work_mem = '7MB'");
    ask(&mut idle, "SELECT 1");
    let mut within = Client::connect(cluster.router.address, &[]).unwrap();
    ask(&mut within, "BEGIN; SELECT 1");
    runtime.block_on(server.restart()).unwrap();
    // The idle session notices nothing: its settings come with it.
    assert_eq!(one(&mut idle, "SHOW work_mem"), "7MB");
    // The open transaction is lost, and says so once; the session goes on.
    let answer = within.query("SELECT 2").unwrap();
    let error = sqlstate(&answer).expect("an error");
    assert!(["08006", "57P01"].contains(&error.as_str()), "{answer:?}");
    let answer = within.query("SELECT 3").unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("25P02"), "{answer:?}");
    ask(&mut within, "ROLLBACK");
    assert_eq!(one(&mut within, "SELECT 4"), "4");
    runtime.block_on(cluster.stop()).unwrap();
}

#[test]
fn a_server_that_is_down() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let cluster = runtime
        .block_on(Cluster::start(Options {
            shards: 1,
            ..Options::default()
        }))
        .unwrap();
    let server = &cluster.local.shards()[0].primary;
    let mut client = Client::connect(cluster.router.address, &[]).unwrap();
    ask(&mut client, "SELECT 1");
    runtime.block_on(server.kill()).unwrap();
    let answer = client.query("SELECT 2").unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("08006"), "{answer:?}");
    let answer = client
        .extended("SELECT $1::int", &[Some(b"1")], false)
        .unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("08006"), "{answer:?}");
    runtime.block_on(server.start()).unwrap();
    // For a moment after a failure the router does not try again.
    let deadline = Instant::now() + Duration::from_secs(30);
    let answer = loop {
        let answer = client.query("SELECT 3").unwrap();
        if sqlstate(&answer).as_deref() != Some("08006") || Instant::now() > deadline {
            break answer;
        }
    };
    assert_eq!(rows(&answer), [[Some("3".to_owned())]]);
    runtime.block_on(cluster.stop()).unwrap();
}

#[test]
fn a_drain_lets_open_transactions_end() {
    let cluster = SHARED.cluster();
    create(&SHARED, "CREATE TABLE drained (id int)");
    let router = cluster.another_router(&Options::default()).unwrap();
    let address = router.address;
    let mut open = Client::connect(address, &[]).unwrap();
    ask(&mut open, "BEGIN; INSERT INTO drained VALUES (1)");
    let mut idle = Client::connect(address, &[]).unwrap();
    ask(&mut idle, "SELECT 1");
    // Accepted before the drain, but not yet a session.
    router.ask_to_stop(Stop::Drain);
    let farewell = idle.receive().unwrap();
    assert_eq!(
        (farewell.tag, farewell.field(b'C').as_deref()),
        (b'E', Some("57P01")),
        "{farewell:?}"
    );
    assert!(idle.is_closed_by_server());
    match Client::connect(address, &[]) {
        Ok(_) => panic!("a new client was admitted during a drain"),
        Err(error) => {
            let text = error.to_string();
            assert!(
                text.contains("57P03") || error.kind() == std::io::ErrorKind::ConnectionRefused,
                "{error}"
            );
        }
    }
    ask(&mut open, "INSERT INTO drained VALUES (2)");
    let answer = open.query("COMMIT").unwrap();
    assert_eq!(sqlstate(&answer), None, "{answer:?}");
    let farewell = open.receive().unwrap();
    assert_eq!(
        (farewell.tag, farewell.field(b'C').as_deref()),
        (b'E', Some("57P01")),
        "{farewell:?}"
    );
    router.stop(Stop::Drain);
    let mut client = Client::connect(cluster.router.address, &[]).unwrap();
    assert_eq!(one(&mut client, "SELECT count(*) FROM drained"), "2");
}

#[test]
fn a_second_signal_ends_everything() {
    let cluster = SHARED.cluster();
    create(&SHARED, "CREATE TABLE cut_off (id int)");
    let router = cluster.another_router(&Options::default()).unwrap();
    let mut open = Client::connect(router.address, &[]).unwrap();
    ask(&mut open, "BEGIN; INSERT INTO cut_off VALUES (1)");
    router.ask_to_stop(Stop::Drain);
    let (ended, wait) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        router.stop(Stop::Now);
        ended.send(()).unwrap();
    });
    wait.recv_timeout(Duration::from_secs(30))
        .expect("the router ends");
    thread.join().unwrap();
    assert!(open.is_closed_by_server());
    let mut client = Client::connect(cluster.router.address, &[]).unwrap();
    assert_eq!(one(&mut client, "SELECT count(*) FROM cut_off"), "0");
}

#[test]
fn show_tells_of_the_router() {
    let cluster = SHARED.cluster();
    create(&SHARED, "CREATE TABLE shown (id int)");
    let mut client = Client::connect(cluster.router.address, &[]).unwrap();
    assert!(ask(&mut client, "SHOW pgweave.session").is_empty());
    ask(&mut client, "BEGIN; SELECT * FROM shown");
    let session = ask(&mut client, "SHOW pgweave.session");
    assert_eq!(session.len(), 1);
    assert_eq!(session[0][0].as_deref(), Some("s1"));
    assert_eq!(session[0][4].as_deref(), Some("yes"));
    assert_eq!(session[0][5], None);
    ask(&mut client, "COMMIT");
    ask(&mut client, "CREATE TEMP TABLE shown_temporary (id int)");
    let session = ask(&mut client, "SHOW pgweave.session");
    assert!(
        session[0][5].is_some(),
        "what pins the session is named: {session:?}"
    );
    ask(&mut client, "DISCARD ALL");
    assert!(
        ask(&mut client, "SHOW pgweave.session").is_empty(),
        "nothing pins it any more"
    );
    let sessions = ask(&mut client, "SHOW pgweave.sessions");
    let own = client.process_id.to_string();
    assert!(
        sessions.iter().any(|row| row[0].as_deref() == Some(&own)),
        "{sessions:?}"
    );
    let pools = ask(&mut client, "SHOW pgweave.pools");
    assert!(
        pools.iter().all(|row| row[3].as_deref() == Some("2")),
        "{pools:?}"
    );
    let servers = ask(&mut client, "SHOW pgweave.servers");
    assert_eq!(servers.len(), 2);
    for name in [
        "shards",
        "tables",
        "placements",
        "epoch",
        "read_preference",
        "scatter",
        "consistency",
        "shard",
        "shard_key",
    ] {
        ask(&mut client, &format!("SHOW pgweave.{name}"));
        let answer = client
            .extended(&format!("SHOW pgweave.{name}"), &[], false)
            .unwrap();
        assert_eq!(sqlstate(&answer), None, "{name}: {answer:?}");
    }
    let answer = client.query("SHOW pgweave.nosuch").unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("42704"), "{answer:?}");
}

#[test]
fn reads_go_to_replicas_when_asked() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let cluster = runtime
        .block_on(Cluster::start(Options {
            shards: 1,
            replicas: 1,
            settings: vec!["replicas.check_interval_ms=50".to_owned()],
            ..Options::default()
        }))
        .unwrap();
    let mut client = Client::connect(cluster.router.address, &[]).unwrap();
    let where_am_i = "SELECT pg_is_in_recovery()";
    assert_eq!(one(&mut client, where_am_i), "f");
    // The router looks at its replicas in the background: wait for its verdict.
    let patience = Instant::now() + Duration::from_secs(30);
    while !ask(&mut client, "SHOW pgweave.servers")
        .iter()
        .any(|row| row[2].as_deref() == Some("replica") && row[3].as_deref() == Some("yes"))
    {
        assert!(
            Instant::now() < patience,
            "the replica never becomes healthy"
        );
    }
    ask(&mut client, "SET pgweave.read_preference = 'replica'");
    assert_eq!(one(&mut client, where_am_i), "t");
    let answer = client.extended(where_am_i, &[], false).unwrap();
    assert_eq!(rows(&answer), [[Some("t".to_owned())]]);
    // Not within a transaction that may write, nor for what writes or locks.
    ask(&mut client, "BEGIN");
    assert_eq!(one(&mut client, where_am_i), "f");
    ask(&mut client, "COMMIT");
    ask(&mut client, "BEGIN READ ONLY");
    assert_eq!(one(&mut client, where_am_i), "t");
    ask(&mut client, "COMMIT");
    assert_eq!(
        one(
            &mut client,
            "SELECT pg_is_in_recovery() FROM pg_class WHERE relname = 'pg_class' FOR UPDATE"
        ),
        "f"
    );
    ask(&mut client, "SET work_mem = '3MB'");
    assert_eq!(
        one(
            &mut client,
            "SELECT current_setting('work_mem') || pg_is_in_recovery()::text"
        ),
        "3MBtrue"
    );
    ask(&mut client, "RESET pgweave.read_preference");
    assert_eq!(one(&mut client, where_am_i), "f");
    // Without its replica.
    ask(&mut client, "SET pgweave.read_preference = 'replica'");
    runtime
        .block_on(cluster.local.shards()[0].replicas[0].kill())
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(
            Instant::now() < patience,
            "the dead replica is never given up"
        );
        let answer = client.query(where_am_i).unwrap();
        if sqlstate(&answer).as_deref() == Some("08006")
            && format!("{answer:?}").contains("no replica")
        {
            break;
        }
    }
    ask(
        &mut client,
        "SET pgweave.read_preference = 'prefer_replica'",
    );
    assert_eq!(one(&mut client, where_am_i), "f");
    runtime.block_on(cluster.stop()).unwrap();
}

#[test]
fn several_routers_over_one_catalog() {
    let cluster = SHARED.cluster();
    let second = cluster.another_router(&Options::default()).unwrap();
    create(&SHARED, "CREATE TABLE by_both (id int)");
    let mut one_client = Client::connect(cluster.router.address, &[]).unwrap();
    let mut other = Client::connect(second.address, &[]).unwrap();
    ask(&mut one_client, "INSERT INTO by_both VALUES (1)");
    ask(&mut other, "INSERT INTO by_both VALUES (2)");
    assert_eq!(one(&mut one_client, "SELECT count(*) FROM by_both"), "2");
    let epoch = "SHOW pgweave.epoch";
    assert_eq!(one(&mut one_client, epoch), one(&mut other, epoch));
    // A process id of one router's means nothing to the other.
    let mut cancel = Client::open(second.address).unwrap();
    let mut out = bytes::BytesMut::new();
    router::wire::encode::cancel_request(&mut out, one_client.process_id, &one_client.key);
    cancel.send(&out).unwrap();
    assert!(cancel.is_closed_by_server());
    assert_eq!(one(&mut one_client, "SELECT 1"), "1");
}

/// A driver that has been told what a statement's columns are decodes by that; it must not be sent others.
#[test]
fn a_described_statement_keeps_its_columns_or_fails() {
    let router = SHARED.cluster().router.address;
    let port = SHARED.cluster().local.shards()[0].primary.port();
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    ask(
        &mut Client::connect(server, &[]).unwrap(),
        "CREATE DATABASE plain",
    );
    let play = |connect: &dyn Fn() -> Client| -> Vec<(String, Vec<Option<String>>)> {
        let (mut owner, mut driver, mut other) = (connect(), connect(), connect());
        let mut answers = Vec::new();
        ask(
            &mut owner,
            "CREATE TABLE described (a int, b int); INSERT INTO described VALUES (1, 2); CREATE TABLE beside (a int)",
        );
        let mut run = |client: &mut Client, prepare: Option<&str>, name: &str, bind: bool| {
            let mut out = bytes::BytesMut::new();
            if let Some(sql) = prepare {
                encode::parse(&mut out, name.as_bytes(), sql.as_bytes(), &[]);
                encode::describe(&mut out, b'S', name.as_bytes());
            }
            if bind {
                tests::client::bind(&mut out, "", name, &[], false);
                encode::execute(&mut out, b"", 0);
            }
            encode::sync(&mut out);
            client.send(&out).unwrap();
            let answer = client.until_ready().unwrap();
            let tags: String = answer
                .iter()
                .filter(|message| message.tag != b'S')
                .map(|message| char::from(message.tag))
                .collect();
            let row = rows(&answer).into_iter().next().unwrap_or_default();
            // Drivers that prepare such a statement again know the error by its routine.
            let routine = answer
                .iter()
                .find(|message| message.field(b'C').as_deref() == Some("0A000"))
                .and_then(|message| message.field(b'R'));
            answers.push((format!("{tags} {:?} {routine:?}", sqlstate(&answer)), row));
        };
        let all = "SELECT * FROM described";
        run(&mut driver, Some(all), "all", true);
        run(&mut driver, Some("SELECT a FROM described"), "one", true);
        run(
            &mut driver,
            Some("UPDATE described SET b = 3"),
            "none",
            true,
        );
        ask(&mut owner, "ALTER TABLE beside ADD b int");
        run(&mut driver, None, "all", true);
        ask(&mut owner, "ALTER TABLE described ADD c int");
        run(&mut driver, None, "all", true);
        run(&mut driver, None, "all", true);
        run(&mut driver, None, "one", true);
        run(&mut driver, None, "none", true);
        run(&mut other, Some(all), "all", true);
        run(&mut driver, Some(all), "again", true);
        run(&mut driver, None, "again", true);
        ask(&mut owner, "ALTER TABLE described ALTER a TYPE bigint");
        run(&mut driver, None, "one", true);
        run(&mut driver, None, "again", true);
        run(&mut driver, None, "none", true);
        ask(
            &mut owner,
            "ALTER TABLE described ALTER a TYPE int; ALTER TABLE described DROP c",
        );
        run(&mut driver, None, "one", true);
        run(&mut driver, None, "all", true);
        run(&mut driver, None, "again", true);
        ask(&mut owner, "BEGIN");
        run(&mut owner, Some(all), "in_block", true);
        ask(&mut owner, "ALTER TABLE described RENAME b TO d");
        run(&mut owner, None, "in_block", true);
        ask(&mut owner, "ROLLBACK");
        run(&mut owner, None, "in_block", true);
        ask(&mut owner, "DROP TABLE described, beside");
        run(&mut owner, None, "in_block", true);
        answers
    };
    let expected = play(&|| Client::connect(server, &[("database", "plain")]).unwrap());
    let found = play(&|| Client::connect(router, &[]).unwrap());
    for (step, (expected, found)) in expected.iter().zip(&found).enumerate() {
        assert_eq!(expected, found, "step {step}");
    }
}

#[test]
fn statements_of_all_shards_are_answered_when_they_were_parsed_before() {
    let address = SHARED.cluster().router.address;
    let mut client = Client::connect(address, &[]).unwrap();
    ask(&mut client, "CREATE TABLE everywhere (id int)");
    ask(&mut client, "SELECT pgweave.reference_table('everywhere')");
    let statements = [
        ("INSERT INTO everywhere VALUES (1)", "INSERT 0 1"),
        ("UPDATE everywhere SET id = 2 RETURNING id", "UPDATE 1"),
        ("TRUNCATE everywhere", "TRUNCATE TABLE"),
        ("DROP TABLE everywhere", "DROP TABLE"),
    ];
    for (sql, tag) in statements {
        let mut out = BytesMut::new();
        encode::parse(&mut out, b"", sql.as_bytes(), &[]);
        encode::sync(&mut out);
        client.send(&out).unwrap();
        client.until_ready().unwrap();
        out.clear();
        encode::bind(&mut out, b"", b"");
        encode::describe(&mut out, b'P', b"");
        encode::execute(&mut out, b"", 0);
        encode::sync(&mut out);
        client.send(&out).unwrap();
        let answer = client.until_ready().unwrap();
        let done = answer.iter().find(|message| message.tag == b'C');
        let done = done.unwrap_or_else(|| panic!("{sql}: {answer:?}"));
        assert_eq!(done.body, [tag.as_bytes(), b"\0"].concat());
        let descriptions = answer.iter().filter(|message| message.tag == b'T').count();
        assert_eq!(
            descriptions,
            usize::from(sql.contains("RETURNING")),
            "{sql}"
        );
    }
}
