//! Ways to be let in, and not to be.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use catalog::Server;
use hmac::{Hmac, KeyInit, Mac};
use postgres_protocol::authentication::sasl::SCRAM_SHA_256;
use router::backend::{ConnectError, Credentials, ScramKeys};
use router::pool::{PoolError, Pools};
use router::tls::ServerTls;

use crate::harness::{
    ask, connect, error, fresh_server, identity, login, refusal, settings, shared, value, worker,
};

fn plain() -> ServerTls {
    ServerTls::disabled()
}

#[tokio::test]
async fn every_method_lets_the_right_password_in() {
    for (user, password) in [
        ("postgres", None),
        ("scram_user", Some("pencil")),
        ("md5_user", Some("crayon")),
        ("clear_user", Some("chalk")),
    ] {
        let mut backend = connect(&shared(), &login(user, password), &plain())
            .await
            .unwrap();
        assert!(backend.is_clean());
        assert_eq!(value(&mut backend, "SELECT current_user").await, user);
        let pid = value(&mut backend, "SELECT pg_backend_pid()").await;
        assert_eq!(backend.process_id().to_string(), pid);
        assert_eq!(backend.parameters().get("server_encoding"), Some("UTF8"));
        assert!(
            backend
                .parameters()
                .get("server_version")
                .unwrap()
                .starts_with("1")
        );
    }
}

#[tokio::test]
async fn the_server_says_why_it_refuses() {
    let elsewhere = Server {
        dbname: "nowhere".to_owned(),
        ..shared()
    };
    for (server, user, password, sqlstate, message) in [
        (
            shared(),
            "scram_user",
            Some("wrong"),
            "28P01",
            "password authentication failed for user \"scram_user\"",
        ),
        (
            shared(),
            "md5_user",
            Some("wrong"),
            "28P01",
            "password authentication failed for user \"md5_user\"",
        ),
        (
            shared(),
            "clear_user",
            Some("wrong"),
            "28P01",
            "password authentication failed for user \"clear_user\"",
        ),
        (
            shared(),
            "stranger",
            None,
            "28000",
            "role \"stranger\" does not exist",
        ),
        (
            elsewhere,
            "postgres",
            None,
            "3D000",
            "database \"nowhere\" does not exist",
        ),
    ] {
        match refusal(&server, &login(user, password), &plain()).await {
            ConnectError::Refused { fields, .. } => {
                assert_eq!(
                    (fields.sqlstate.as_str(), fields.message.as_str()),
                    (sqlstate, message)
                );
                assert_eq!(fields.severity, "FATAL");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_refusal_reaches_the_client_in_the_servers_words() {
    let pools = Pools::new(settings(), plain(), 1);
    let identity = router::pool::PoolIdentity::new("stranger".to_owned(), login("stranger", None));
    let report = match pools
        .checkout(&identity, &shared(), false, &worker(0))
        .await
    {
        Ok(_) => panic!("a stranger was let in"),
        Err(error) => error.report("s1"),
    };
    assert_eq!(report.sqlstate, "28000");
    assert_eq!(report.message, "role \"stranger\" does not exist");
    assert_eq!(report.context.as_deref(), Some("pgweave: shard s1"));
}

#[tokio::test]
async fn without_a_password_there_is_nothing_to_answer_with() {
    for user in ["scram_user", "md5_user", "clear_user"] {
        let error = refusal(&shared(), &login(user, None), &plain()).await;
        assert!(
            matches!(error, ConnectError::Authentication { .. }),
            "{error:?}"
        );
        assert!(!format!("{error:?}").contains("pencil"));
    }
}

/// Keys as they can be had from a client's proof and the verifier: `SCRAM-SHA-256$<iterations>:<salt>$<stored>:<server>`.
async fn keys_of(user: &str, password: &str) -> ScramKeys {
    let mut admin = connect(&shared(), &login("postgres", None), &plain())
        .await
        .unwrap();
    let sql = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'");
    let verifier = value(&mut admin, &sql).await;
    let rest = verifier
        .strip_prefix(SCRAM_SHA_256)
        .unwrap()
        .strip_prefix('$')
        .unwrap();
    let (parameters, keys) = rest.split_once('$').unwrap();
    let (iterations, salt) = parameters.split_once(':').unwrap();
    let (_, server_key) = keys.split_once(':').unwrap();
    let sign = |key: &[u8], data: &[u8]| -> [u8; 32] {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
        mac.update(data);
        mac.finalize().into_bytes().into()
    };
    let mut round = sign(
        password.as_bytes(),
        &[&STANDARD.decode(salt).unwrap()[..], &[0, 0, 0, 1]].concat(),
    );
    let mut salted = round;
    for _ in 1..iterations.parse::<u32>().unwrap() {
        round = sign(password.as_bytes(), &round);
        salted
            .iter_mut()
            .zip(round)
            .for_each(|(sum, byte)| *sum ^= byte);
    }
    ScramKeys {
        client_key: sign(&salted, b"Client Key"),
        server_key: STANDARD.decode(server_key).unwrap().try_into().unwrap(),
    }
}

#[tokio::test]
async fn keys_do_where_the_password_is_not_known() {
    let keys = keys_of("scram_user", "pencil").await;
    let credentials = Credentials::by_keys("scram_user", keys.clone());
    assert!(!format!("{credentials:?}").contains(&format!("{:?}", keys.client_key)));
    let mut backend = connect(&shared(), &credentials, &plain()).await.unwrap();
    assert_eq!(
        value(&mut backend, "SELECT current_user").await,
        "scram_user"
    );

    let mut wrong = keys.clone();
    wrong.client_key[0] ^= 1;
    let error = refusal(
        &shared(),
        &Credentials::by_keys("scram_user", wrong),
        &plain(),
    )
    .await;
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    // The server is let off no easier: it must prove that it knows the user.
    let mut wrong = keys;
    wrong.server_key[0] ^= 1;
    let error = refusal(
        &shared(),
        &Credentials::by_keys("scram_user", wrong),
        &plain(),
    )
    .await;
    assert!(
        matches!(error, ConnectError::Authentication { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_unix_socket_is_named_by_its_directory() {
    let server = fresh_server().await;
    let mut over_tcp = connect(
        &crate::harness::address(&server),
        &login("postgres", None),
        &plain(),
    )
    .await
    .unwrap();
    let host = value(&mut over_tcp, "SHOW unix_socket_directories").await;
    let address = Server {
        host,
        port: server.port(),
        dbname: "postgres".to_owned(),
    };
    let mut backend = connect(&address, &login("postgres", None), &plain())
        .await
        .unwrap();
    let sql = "SELECT client_addr IS NULL FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    assert_eq!(value(&mut backend, sql).await, "t");
    assert!(backend.rehome(&worker(1)).is_ok());
    assert_eq!(value(&mut backend, sql).await, "t");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_its_shard() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    drop(held);
    let nowhere = Server { port, ..shared() };
    let pools = Pools::new(settings(), plain(), 1);
    let error = match pools
        .checkout(&identity(), &nowhere, false, &worker(0))
        .await
    {
        Ok(_) => panic!("nobody listens"),
        Err(error) => error,
    };
    assert!(
        matches!(error, PoolError::Connect(ConnectError::Unreachable { .. })),
        "{error:?}"
    );
    let report = error.report("s1");
    assert_eq!(report.sqlstate, "08006");
    let expected = format!(
        "pgweave: cannot reach shard s1 at 127.0.0.1:{port}: Connection refused (os error 111)"
    );
    assert_eq!(report.message, expected);
}

#[tokio::test]
async fn a_cancel_stops_what_is_running() {
    let mut backend = connect(&shared(), &login("postgres", None), &plain())
        .await
        .unwrap();
    let target = backend.cancel_target().clone();
    let mut watcher = connect(&shared(), &login("postgres", None), &plain())
        .await
        .unwrap();
    let running = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = {} AND wait_event = 'PgSleep'",
        backend.process_id()
    );
    let cancel = async {
        while value(&mut watcher, &running).await == "0" {}
        target.cancel().await.unwrap();
    };
    let (answers, ()) = tokio::join!(ask(&mut backend, "SELECT pg_sleep(60)"), cancel);
    assert_eq!(error(&answers).0, "57014");
    assert!(backend.is_clean());
}
