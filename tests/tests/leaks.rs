//! Nothing of one client's session reaches another over the server connection they share.
//!
//! The pool has one connection. Client A makes a state and leaves (or goes idle, where that must give the connection
//! back); client B must see what a fresh connection to the server sees. Where the connection can be cleaned, B must be
//! served by the same one, or the test would prove nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use router::wire::encode;
use tests::client::{Client, ask, rows, sqlstate};
use tests::cluster::Options;
use tests::shared::Shared;

static SHARED: Shared = Shared::new(|| Options {
    shards: 1,
    settings: vec!["pool.max_size=1".to_owned()],
    ..Options::default()
});

/// One connection: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    let guard = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut server = direct();
    for sql in [
        "DO $$ BEGIN CREATE ROLE leaky; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        "CREATE TABLE IF NOT EXISTS leaks (id int)",
        "TRUNCATE leaks",
    ] {
        ask(&mut server, sql);
    }
    guard
}

fn direct() -> Client {
    let port = SHARED.cluster().local.shards()[0].primary.port();
    Client::connect(SocketAddr::from(([127, 0, 0, 1], port)), &[]).unwrap()
}

fn through(parameters: &[(&str, &str)]) -> Client {
    Client::connect(SHARED.cluster().router.address, parameters).unwrap()
}

/// Runs what may fail.
fn attempt(client: &mut Client, sql: &str) {
    client.query(sql).unwrap();
}

fn backend_pid(client: &mut Client) -> Option<String> {
    ask(client, "SELECT pg_backend_pid()")[0][0].clone()
}

/// Everything a session can leave behind, as rows.
fn state(client: &mut Client) -> Vec<Vec<Option<String>>> {
    let mut all = Vec::new();
    for sql in [
        "SELECT 'setting', name, setting FROM pg_settings WHERE name NOT LIKE 'plpgsql.%' AND name <> 'in_hot_standby' ORDER BY name",
        "SELECT 'own setting', coalesce(current_setting('leak.own', true), ''), coalesce(current_setting('leak.local', true), '')",
        "SELECT 'user', current_user, session_user, current_schemas(false)::text",
        "SELECT 'statement', name FROM pg_prepared_statements WHERE name NOT LIKE 'pgweave\\_%' ORDER BY 2",
        "SELECT 'cursor', name FROM pg_cursors WHERE name <> '' ORDER BY 2",
        "SELECT 'channel', c FROM pg_listening_channels() c ORDER BY 2",
        "SELECT 'lock', objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY 2",
        "SELECT 'temporary', relname FROM pg_class WHERE relnamespace = pg_my_temp_schema() ORDER BY 2",
        "SELECT 'transaction', count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation::regclass::text LIKE '%leak%'",
        "SELECT 'row', id FROM leaks",
    ] {
        all.extend(ask(client, sql));
    }
    all
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaves {
    /// By Terminate.
    Politely,
    /// The socket closes.
    Suddenly,
    /// It stays connected, but its state must not keep the server connection.
    Idle,
}

/// What becomes of the server connection.
#[derive(Clone, Copy, PartialEq)]
enum Connection {
    Kept,
    Either,
}

fn check(
    startup: &[(&str, &str)],
    connection: Connection,
    leaves: &[Leaves],
    make: impl Fn(&mut Client),
) {
    let _turn = turn();
    let expected = state(&mut direct());
    for &how in leaves {
        let mut a = through(startup);
        let served_a = backend_pid(&mut a);
        make(&mut a);
        let staying = match how {
            Leaves::Politely => {
                let mut out = BytesMut::new();
                encode::terminate(&mut out);
                a.send(&out).unwrap();
                None
            }
            Leaves::Suddenly => {
                drop(a);
                None
            }
            Leaves::Idle => Some(a),
        };
        let mut b = through(&[]);
        let served_b = backend_pid(&mut b);
        if connection == Connection::Kept {
            assert_eq!(
                served_a, served_b,
                "the connection was not kept, so this proves nothing"
            );
        }
        println!("{how:?}, served by {served_a:?}, then {served_b:?}");
        assert_states_equal(&expected, &state(&mut b));
        drop(staying);
    }
}

fn assert_states_equal(expected: &[Vec<Option<String>>], found: &[Vec<Option<String>>]) {
    let new: Vec<_> = found.iter().filter(|row| !expected.contains(row)).collect();
    let gone: Vec<_> = expected.iter().filter(|row| !found.contains(row)).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "leaked: {new:?} in place of {gone:?}"
    );
}

const ALL: &[Leaves] = &[Leaves::Politely, Leaves::Suddenly, Leaves::Idle];
const GONE: &[Leaves] = &[Leaves::Politely, Leaves::Suddenly];

#[test]
fn settings() {
    for sql in [
        "SET work_mem = '3MB'",
        "SET search_path = pg_catalog, leaky",
        "SET statement_timeout = 54321",
        "SET application_name = 'a'",
        "SET client_encoding = 'LATIN1'",
        "SET TIME ZONE 'Asia/Tokyo'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
        "SET leak.own = 'x'",
        "SET default_transaction_isolation = 'serializable'",
        "SET standard_conforming_strings = on; SET datestyle = 'German'; SET extra_float_digits = 0",
        "BEGIN; SET work_mem = '5MB'; COMMIT",
        "SET work_mem = '5MB'; BEGIN; RESET work_mem; ROLLBACK",
        "BEGIN; SET LOCAL work_mem = '6MB'; COMMIT",
        "BEGIN; SAVEPOINT a; SET work_mem = '5MB'; RELEASE a; COMMIT",
        "SET ROLE leaky",
        "SET ROLE leaky; SET work_mem = '7MB'",
        "SET SESSION ROLE leaky",
    ] {
        check(&[], Connection::Kept, ALL, |a| {
            println!("{sql}");
            ask(a, sql);
        });
    }
}

#[test]
fn settings_by_function() {
    for sql in [
        "SELECT set_config('work_mem', '3MB', false)",
        "SELECT set_config('leak.own', 'x', false)",
        "SELECT set_config('role', 'leaky', false)",
        "BEGIN; SELECT set_config('leak.local', 'x', true); COMMIT",
        "SELECT set_config('leak.local', 'x', true)",
    ] {
        check(&[], Connection::Kept, ALL, |a| {
            println!("{sql}");
            ask(a, sql);
        });
    }
    // What cannot be seen beforehand.
    for sql in [
        "SELECT set_config(n, v, false) FROM (VALUES ('work_mem', '9MB'), ('leak.own', 'y')) AS s(n, v)",
        "DO $$ BEGIN SET work_mem = '8MB'; PERFORM set_config('leak.own', 'z', false); END $$",
        "DO $$ BEGIN EXECUTE 'SET ROLE leaky'; END $$",
        "DO $$ BEGIN EXECUTE 'LISTEN hidden'; EXECUTE 'PREPARE hidden AS SELECT 1'; END $$",
        "DO $$ BEGIN CREATE TEMP TABLE hidden_leak (a int); PERFORM pg_advisory_lock(77); END $$",
    ] {
        check(&[], Connection::Either, GONE, |a| {
            println!("{sql}");
            ask(a, sql);
        });
    }
}

#[test]
fn settings_by_parameters() {
    check(&[], Connection::Either, GONE, |a| {
        let answer = a
            .extended(
                "SELECT set_config($1, $2, false)",
                &[Some(b"work_mem"), Some(b"3MB")],
                false,
            )
            .unwrap();
        assert_eq!(rows(&answer), [[Some("3MB".to_owned())]], "{answer:?}");
    });
    check(&[], Connection::Kept, ALL, |a| {
        let answer = a.extended("SET work_mem = '3MB'", &[], false).unwrap();
        assert!(
            answer.iter().any(|message| message.tag == b'C'),
            "{answer:?}"
        );
    });
}

#[test]
fn startup_options() {
    for startup in [
        &[(
            "options",
            "-c work_mem=3MB -c leak.own=x --search_path=leaky",
        )][..],
        &[("work_mem", "4MB"), ("statement_timeout", "7777")],
        &[
            ("application_name", "a"),
            ("client_encoding", "LATIN1"),
            ("DateStyle", "German"),
        ],
    ] {
        check(startup, Connection::Kept, ALL, |_| {});
    }
}

#[test]
fn a_setting_whose_application_fails() {
    check(&[], Connection::Either, ALL, |a| {
        attempt(a, "SET work_mem = 'much'");
        attempt(a, "SET work_mem = '3MB'; SELECT 1/0");
        attempt(a, "BEGIN; SET work_mem = '3MB'; SELECT 1/0");
        attempt(a, "ROLLBACK");
        attempt(a, "SET ROLE nosuchrole");
    });
}

#[test]
fn session_authorization() {
    check(&[], Connection::Either, GONE, |a| {
        ask(a, "SET SESSION AUTHORIZATION leaky");
    });
}

#[test]
fn prepared_statements() {
    check(&[], Connection::Kept, ALL, |a| {
        ask(a, "PREPARE leak AS SELECT 'sql'");
        let mut out = BytesMut::new();
        encode::parse(&mut out, b"leaked", b"SELECT 'protocol'", &[]);
        encode::parse(&mut out, b"", b"SELECT 'unnamed'", &[]);
        encode::sync(&mut out);
        a.send(&out).unwrap();
        a.until_ready().unwrap();
    });
    let _turn = turn();
    let mut a = through(&[]);
    ask(&mut a, "PREPARE leak AS SELECT 'sql'");
    let mut out = BytesMut::new();
    encode::parse(&mut out, b"leaked", b"SELECT 'protocol'", &[]);
    encode::parse(&mut out, b"", b"SELECT 'unnamed'", &[]);
    encode::sync(&mut out);
    a.send(&out).unwrap();
    a.until_ready().unwrap();
    let mut b = through(&[]);
    for (name, sqlstate) in [("leak", "26000"), ("leaked", "26000"), ("", "26000")] {
        let mut out = BytesMut::new();
        tests::client::bind(&mut out, "", name, &[], false);
        encode::execute(&mut out, b"", 0);
        encode::sync(&mut out);
        b.send(&out).unwrap();
        let answer = b.until_ready().unwrap();
        assert_eq!(
            answer[0].field(b'C').as_deref(),
            Some(sqlstate),
            "{name}: {answer:?}"
        );
    }
    // The same names for other statements do not meet.
    let mut out = BytesMut::new();
    encode::parse(&mut out, b"leaked", b"SELECT 'mine'", &[]);
    encode::parse(&mut out, b"", b"SELECT 'mine too'", &[]);
    encode::sync(&mut out);
    b.send(&out).unwrap();
    b.until_ready().unwrap();
    for (client, expected) in [
        (&mut a, ["protocol", "unnamed"]),
        (&mut b, ["mine", "mine too"]),
    ] {
        for (name, value) in ["leaked", ""].into_iter().zip(expected) {
            let mut out = BytesMut::new();
            tests::client::bind(&mut out, "", name, &[], false);
            encode::execute(&mut out, b"", 0);
            encode::sync(&mut out);
            client.send(&out).unwrap();
            let answer = client.until_ready().unwrap();
            assert_eq!(rows(&answer), [[Some(value.to_owned())]], "{answer:?}");
        }
    }
    assert_eq!(ask(&mut a, "EXECUTE leak"), [[Some("sql".to_owned())]]);
}

#[test]
fn temporary_tables() {
    check(&[], Connection::Either, GONE, |a| {
        ask(
            a,
            "CREATE TEMP TABLE leak_temporary (a int); INSERT INTO leak_temporary VALUES (1)",
        );
        assert_eq!(
            ask(a, "SELECT count(*) FROM leak_temporary"),
            [[Some("1".to_owned())]]
        );
    });
    check(&[], Connection::Either, GONE, |a| {
        ask(a, "CREATE TEMP TABLE leaks AS SELECT 99 AS id");
    });
    check(&[], Connection::Either, GONE, |a| {
        ask(a, "SELECT 1 AS a INTO TEMPORARY leak_into");
    });
    check(&[], Connection::Either, GONE, |a| {
        ask(
            a,
            "CREATE TEMP VIEW leak_view AS SELECT 1; CREATE TEMP SEQUENCE leak_sequence",
        );
    });
    // Ended by the client itself: nothing holds the connection any more.
    check(&[], Connection::Either, ALL, |a| {
        ask(a, "CREATE TEMP TABLE leak_dropped (a int)");
        ask(a, "DISCARD ALL");
    });
    check(&[], Connection::Either, ALL, |a| {
        ask(
            a,
            "BEGIN; CREATE TEMP TABLE leak_rolled_back (a int); ROLLBACK; DISCARD TEMP",
        );
    });
}

#[test]
fn advisory_locks() {
    check(&[], Connection::Either, GONE, |a| {
        ask(a, "SELECT pg_advisory_lock(4711)");
    });
    check(&[], Connection::Either, GONE, |a| {
        ask(a, "SELECT pg_try_advisory_lock_shared(4711)");
    });
    check(&[], Connection::Either, GONE, |a| {
        let answer = a
            .extended("SELECT pg_advisory_lock($1)", &[Some(b"4712")], false)
            .unwrap();
        assert!(
            answer.iter().any(|message| message.tag == b'C'),
            "{answer:?}"
        );
    });
    check(&[], Connection::Kept, ALL, |a| {
        ask(a, "BEGIN; SELECT pg_advisory_xact_lock(4711); COMMIT");
    });
}

#[test]
fn cursors_with_hold() {
    check(&[], Connection::Either, GONE, |a| {
        ask(
            a,
            "BEGIN; DECLARE leak CURSOR WITH HOLD FOR SELECT generate_series(1, 9); COMMIT",
        );
        assert_eq!(ask(a, "FETCH leak"), [[Some("1".to_owned())]]);
    });
    check(&[], Connection::Kept, GONE, |a| {
        ask(
            a,
            "BEGIN; DECLARE leak CURSOR FOR SELECT generate_series(1, 9); FETCH leak",
        );
    });
}

#[test]
fn listening() {
    check(&[], Connection::Either, GONE, |a| {
        ask(a, "LISTEN leak");
    });
    check(&[], Connection::Either, ALL, |a| {
        ask(a, "LISTEN leak");
        ask(a, "UNLISTEN *");
    });
}

#[test]
fn open_and_failed_transactions() {
    check(&[], Connection::Kept, GONE, |a| {
        ask(a, "BEGIN; INSERT INTO leaks VALUES (1)");
    });
    check(&[], Connection::Kept, GONE, |a| {
        ask(
            a,
            "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY; SELECT * FROM leaks",
        );
    });
    check(&[], Connection::Kept, GONE, |a| {
        ask(
            a,
            "BEGIN; INSERT INTO leaks VALUES (1); SET LOCAL work_mem = '3MB'; SET statement_timeout = 9999; SAVEPOINT a",
        );
    });
    check(&[], Connection::Kept, GONE, |a| {
        attempt(
            a,
            "BEGIN; INSERT INTO leaks VALUES (1); SET work_mem = '3MB'; SELECT 1/0",
        );
    });
    check(&[], Connection::Either, GONE, |a| {
        // A batch without its Sync.
        let mut out = BytesMut::new();
        encode::parse(&mut out, b"", b"INSERT INTO leaks VALUES (1)", &[]);
        tests::client::bind(&mut out, "", "", &[], false);
        encode::execute(&mut out, b"", 0);
        encode::flush(&mut out);
        a.send(&out).unwrap();
        while a.receive().unwrap().tag != b'C' {}
    });
    check(&[], Connection::Either, GONE, |a| {
        // A failed one, which the server skips up to a Sync that never comes.
        let mut out = BytesMut::new();
        encode::parse(&mut out, b"", b"SELECT 1/0", &[]);
        tests::client::bind(&mut out, "", "", &[], false);
        encode::execute(&mut out, b"", 0);
        encode::flush(&mut out);
        a.send(&out).unwrap();
        while a.receive().unwrap().tag != b'E' {}
    });
}

#[test]
fn a_parse_without_its_sync() {
    for sql in ["SELECT * FROM leaks", "SELECT nosuch FROM leaks", "SELEC"] {
        check(&[], Connection::Either, GONE, |a| {
            let mut out = BytesMut::new();
            encode::parse(&mut out, b"", sql.as_bytes(), &[]);
            encode::describe(&mut out, b'S', b"");
            encode::flush(&mut out);
            a.send(&out).unwrap();
            while !matches!(a.receive().unwrap().tag, b'T' | b'E') {}
        });
    }
}

#[test]
fn a_copy_that_is_never_ended() {
    for data in [&b""[..], b"1\n2\n", b"1\n2\nhal"] {
        check(&[], Connection::Either, GONE, |a| {
            let mut out = BytesMut::new();
            encode::query(&mut out, b"COPY leaks FROM STDIN");
            a.send(&out).unwrap();
            while a.receive().unwrap().tag != b'G' {}
            let mut message = vec![b'd'];
            message.extend_from_slice(&(data.len() as u32 + 4).to_be_bytes());
            message.extend_from_slice(data);
            a.send(&message).unwrap();
        });
        // Half a message of data.
        check(&[], Connection::Either, &[Leaves::Suddenly], |a| {
            let mut out = BytesMut::new();
            encode::query(&mut out, b"COPY leaks FROM STDIN");
            a.send(&out).unwrap();
            while a.receive().unwrap().tag != b'G' {}
            a.send(b"d\0\0\x10\x001\n2\n").unwrap();
        });
    }
    check(&[], Connection::Either, GONE, |a| {
        let mut out = BytesMut::new();
        encode::parse(&mut out, b"", b"COPY leaks FROM STDIN", &[]);
        tests::client::bind(&mut out, "", "", &[], false);
        encode::execute(&mut out, b"", 0);
        encode::sync(&mut out);
        a.send(&out).unwrap();
        while a.receive().unwrap().tag != b'G' {}
    });
}

#[test]
fn a_result_that_nobody_reads_to_its_end() {
    for sql in [
        "SELECT repeat('a', 1000) FROM generate_series(1, 100000)",
        "SELECT repeat('a', 50000000), 'tail'",
        "COPY (SELECT repeat('a', 1000) FROM generate_series(1, 100000)) TO STDOUT",
    ] {
        check(&[], Connection::Either, &[Leaves::Suddenly], |a| {
            let mut out = BytesMut::new();
            encode::query(&mut out, sql.as_bytes());
            a.send(&out).unwrap();
            // Something has come: the result is on its way.
            a.skip(5).unwrap();
        });
    }
}

#[test]
fn a_running_statement() {
    check(&[], Connection::Either, GONE, |a| {
        let mut out = BytesMut::new();
        ask(a, "BEGIN");
        encode::query(&mut out, b"INSERT INTO leaks SELECT 1 FROM pg_sleep(0.5)");
        a.send(&out).unwrap();
        let running = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'INSERT INTO leaks SELECT 1 FROM pg_sleep%'";
        let mut watcher = direct();
        while ask(&mut watcher, running).is_empty() {}
    });
}

#[test]
fn half_a_message() {
    let mut whole = BytesMut::new();
    encode::query(&mut whole, b"INSERT INTO leaks VALUES (1)");
    check(&[], Connection::Kept, &[Leaves::Suddenly], |a| {
        a.send(&whole[..whole.len() - 1]).unwrap();
    });
    check(&[], Connection::Kept, &[Leaves::Suddenly], |a| {
        ask(a, "BEGIN; INSERT INTO leaks VALUES (2)");
        a.send(&whole[..7]).unwrap();
    });
    check(&[], Connection::Either, &[Leaves::Suddenly], |a| {
        // Parse and Bind have come whole, Execute has not.
        let mut out = BytesMut::new();
        encode::parse(&mut out, b"", b"INSERT INTO leaks VALUES (1)", &[]);
        tests::client::bind(&mut out, "", "", &[], false);
        out.extend_from_slice(b"E\0\0\0");
        a.send(&out).unwrap();
    });
}

#[test]
fn the_state_stays_with_its_owner() {
    let _turn = turn();
    let mut a = through(&[("options", "-c work_mem=2MB")]);
    ask(&mut a, "SET statement_timeout = 4321");
    ask(&mut a, "SET ROLE leaky");
    ask(&mut a, "SET search_path = leaky, public");
    let mut b = through(&[]);
    ask(&mut b, "SET statement_timeout = 1234");
    let settings = "SELECT current_setting('work_mem'), current_setting('statement_timeout'), current_user, current_setting('search_path')";
    for _ in 0..3 {
        let of_a = ask(&mut a, settings);
        assert_eq!(
            of_a[0].iter().flatten().collect::<Vec<_>>(),
            ["2MB", "4321ms", "leaky", "leaky, public"]
        );
        let of_b = ask(&mut b, settings);
        assert_eq!(
            of_b[0].iter().flatten().collect::<Vec<_>>(),
            ["4MB", "1234ms", "postgres", "\"$user\", public"]
        );
    }
}

/// Prepared statements of equal text are one on the shared connection, but only where they mean the same.
#[test]
fn what_a_prepared_statement_means() {
    const TIMES: &str = "SELECT '2024-01-01 00:00'::timestamptz AT TIME ZONE 'UTC', '01/02/2024'::date - '2024-01-01', \
                         E'a\\'b', 'c\\d', '{NULL}'::text[]::text";
    enum Does {
        Asks(&'static str),
        Prepares(&'static str),
        /// The server connection is lost, so that what was prepared there has to be prepared again.
        Loses,
    }
    use Does::*;
    // After each step the client executes all that it has prepared.
    let steps: &[(usize, Does)] = &[
        (0, Asks("SET TimeZone = 'UTC'")),
        (
            1,
            Asks("SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'ISO, DMY'"),
        ),
        (0, Prepares("times")),
        (1, Prepares("times")),
        (0, Asks("SELECT")),
        (1, Asks("SELECT")),
        (
            0,
            Asks("SET TimeZone = 'America/New_York'; SET array_nulls = off"),
        ),
        (0, Prepares("later")),
        (0, Asks("SET standard_conforming_strings = off")),
        (1, Asks("SELECT")),
        (0, Loses),
        (
            1,
            Asks("BEGIN; SET LOCAL TimeZone = 'Europe/Paris'; SET LOCAL datestyle = 'German, DMY'"),
        ),
        (1, Prepares("local")),
        (1, Asks("COMMIT")),
        (0, Loses),
        (1, Asks("BEGIN")),
        (1, Asks("COMMIT")),
        (0, Loses),
        (1, Asks("SELECT")),
        (
            0,
            Asks(
                "PREPARE by_sql (int) AS SELECT '2024-01-01 00:00'::timestamptz AT TIME ZONE 'UTC', $1",
            ),
        ),
        (
            0,
            Asks("SET standard_conforming_strings = on; SET TimeZone = 'UTC'"),
        ),
        (0, Asks("EXECUTE by_sql(1)")),
        (0, Loses),
        (0, Asks("EXECUTE by_sql(2)")),
    ];
    let _turn = turn();
    let play = |clients: &mut [Client; 2], pooled: bool| -> Vec<Vec<Vec<Vec<Option<String>>>>> {
        let mut prepared = [Vec::new(), Vec::new()];
        let mut play_one = |(who, step): &(usize, Does)| {
            let (client, prepared) = (&mut clients[*who], &mut prepared[*who]);
            let mut answers = Vec::new();
            match step {
                Asks(sql) => answers.push(ask(client, sql)),
                Prepares(name) => {
                    let mut out = BytesMut::new();
                    encode::parse(&mut out, name.as_bytes(), TIMES.as_bytes(), &[]);
                    succeed(client, out);
                    prepared.push(*name);
                }
                Loses if pooled => {
                    let pid = backend_pid(client).unwrap();
                    let gone = format!("SELECT pg_terminate_backend({pid}, 10000)");
                    assert_eq!(ask(&mut direct(), &gone)[0][0].as_deref(), Some("t"));
                }
                Loses => {}
            }
            for name in prepared {
                let mut out = BytesMut::new();
                tests::client::bind(&mut out, "", name, &[], false);
                encode::execute(&mut out, b"", 0);
                answers.push(succeed(client, out));
            }
            answers.push(ask(client, "SHOW TimeZone"));
            answers.push(ask(client, "SHOW datestyle"));
            answers
        };
        steps.iter().map(&mut play_one).collect()
    };
    let of_server = play(&mut [direct(), direct()], false);
    let of_router = play(&mut [through(&[]), through(&[])], true);
    for (step, (expected, found)) in of_server.iter().zip(&of_router).enumerate() {
        assert_eq!(expected, found, "step {step}");
    }
}

/// The rows of what these messages and a Sync bring.
fn succeed(client: &mut Client, mut messages: BytesMut) -> Vec<Vec<Option<String>>> {
    encode::sync(&mut messages);
    client.send(&messages).unwrap();
    let answer = client.until_ready().unwrap();
    assert_eq!(sqlstate(&answer), None, "{answer:?}");
    rows(&answer)
}
