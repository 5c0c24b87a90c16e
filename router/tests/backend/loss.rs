//! Servers that go away under their pools, and come back.

use std::time::Instant;

use router::local::Stop;

use crate::harness::{
    LIMIT, address, checkout, fresh_server, identity, pools, read_until, settings, shared, status,
    until, value,
};

#[tokio::test]
async fn a_restart_costs_idle_connections_only() {
    let server = fresh_server().await;
    let address = address(&server);
    let (pools, worker) = pools(settings());
    let held = [
        checkout(&pools, &worker, &address).await,
        checkout(&pools, &worker, &address).await,
    ];
    for pooled in held {
        pooled.release(&worker);
    }
    server.restart().await.unwrap();
    let mut pooled = checkout(&pools, &worker, &address).await;
    assert_eq!(value(&mut pooled, "SELECT 1").await, "1");
    pooled.release(&worker);
    assert_eq!(status(&pools).size, 1);
}

#[tokio::test]
async fn a_server_that_is_down_is_known_to_be() {
    let server = fresh_server().await;
    let address = address(&server);
    let (pools, worker) = pools(settings());
    let kept = checkout(&pools, &worker, &address).await;
    let used = checkout(&pools, &worker, &address).await;
    kept.release(&worker);
    server.stop(Stop::Immediate).await.unwrap();
    let failure = async || match pools.checkout(&identity(), &address, false, &worker).await {
        Ok(_) => panic!("the server is down"),
        Err(error) => error.report("s1"),
    };
    let report = failure().await;
    assert_eq!(report.sqlstate, "08006");
    assert!(
        report.message.contains("Connection refused"),
        "{}",
        report.message
    );
    assert_eq!(status(&pools).idle, 0);
    // Soon after, the server is not even asked.
    let report = failure().await;
    assert_eq!(report.sqlstate, "08006");
    assert!(report.message.ends_with("ms ago)"), "{}", report.message);
    // What was in use when the server went is of no use any more.
    used.clean_and_release(&worker, false).await;
    assert_eq!(status(&pools).size, 0);

    server.start().await.unwrap();
    let deadline = Instant::now() + LIMIT;
    let mut pooled = loop {
        match pools.checkout(&identity(), &address, false, &worker).await {
            Ok(pooled) => break pooled,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(value(&mut pooled, "SELECT 1").await, "1");
}

#[tokio::test]
async fn those_who_wait_learn_that_the_server_went() {
    let server = fresh_server().await;
    let address = address(&server);
    let (pools, worker) = pools(router::pool::PoolSettings {
        max_size: 1,
        ..settings()
    });
    let mut held = checkout(&pools, &worker, &address).await;
    let breaking = async {
        until(|| status(&pools).waiting == 2).await;
        server.kill().await.unwrap();
        assert!(!matches!(held.fill().await, Ok(count) if count > 0 && held.input()[0] != b'E'));
        drop(held);
    };
    let waiter = async || match pools.checkout(&identity(), &address, false, &worker).await {
        Ok(_) => panic!("the server is down"),
        Err(error) => error.report("s1").sqlstate,
    };
    let (one, other, ()) = tokio::join!(waiter(), waiter(), breaking);
    assert_eq!((&*one, &*other), ("08006", "08006"));
}

#[tokio::test]
async fn a_connection_that_the_server_ends_is_not_given_out() {
    let (pools, worker) = pools(settings());
    let server = shared();
    let mut admin = checkout(&pools, &worker, &server).await;
    let victim = checkout(&pools, &worker, &server).await;
    let process_id = victim.process_id();
    victim.release(&worker);
    let sql = format!("SELECT pg_terminate_backend({process_id}, 20000)");
    assert_eq!(value(&mut admin, &sql).await, "t");
    // The upkeep notices as well.
    until(|| {
        pools.tidy(&worker, Instant::now());
        status(&pools).size == 1
    })
    .await;
    let mut next = checkout(&pools, &worker, &server).await;
    assert_ne!(next.process_id(), process_id);
    assert_eq!(value(&mut next, "SELECT 1").await, "1");
}

/// A setting that a session is told of changes while the connection is idle: the message about it is not the next
/// session's.
#[tokio::test]
async fn words_spoken_while_idle_are_not_for_the_next_session() {
    let (pools, worker) = pools(settings());
    let server = shared();
    let mut admin = checkout(&pools, &worker, &server).await;
    let mut listener = checkout(&pools, &worker, &server).await;
    let process_id = listener.process_id();
    value(&mut listener, "SELECT pg_backend_pid()").await;
    router::wire::encode::query(listener.out(), b"LISTEN whispers");
    listener.flush().await.unwrap();
    read_until(&mut listener, b'Z').await;
    listener.release(&worker);
    crate::harness::ask(&mut admin, "NOTIFY whispers, 'secret'").await;
    until(|| {
        pools.tidy(&worker, Instant::now());
        status(&pools).size == 1
    })
    .await;
    assert_ne!(
        checkout(&pools, &worker, &server).await.process_id(),
        process_id
    );
}
