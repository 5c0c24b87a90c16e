//! Limits, waiting, and the life of pooled connections.

use std::time::{Duration, Instant};

use router::pool::{PoolError, PoolSettings, Pools};
use router::session::report::Report;
use router::tls::ServerTls;

use crate::harness::{
    LIMIT, ask, checkout, identity, pools, read_until, settings, shared, status, until, value,
    worker,
};

fn at_most(max_size: usize) -> PoolSettings {
    PoolSettings {
        max_size,
        ..settings()
    }
}

#[tokio::test]
async fn a_released_connection_serves_again() {
    let (pools, worker) = pools(settings());
    let first = checkout(&pools, &worker, &shared()).await;
    let process_id = first.process_id();
    first.release(&worker);
    let figures = status(&pools);
    assert_eq!(
        (figures.size, figures.idle, figures.stashed, figures.in_use),
        (1, 1, 1, 0)
    );
    let mut again = checkout(&pools, &worker, &shared()).await;
    assert_eq!(again.process_id(), process_id);
    assert_eq!(value(&mut again, "SELECT 1").await, "1");
    let figures = status(&pools);
    assert_eq!((figures.size, figures.idle, figures.in_use), (1, 0, 1));
    assert_eq!(
        (
            figures.checkouts,
            figures.connects,
            figures.failures,
            figures.waits
        ),
        (2, 1, 0, 0)
    );
}

#[tokio::test]
async fn users_and_roles_do_not_share() {
    let (pools, worker) = pools(settings());
    let other = router::pool::PoolIdentity::new(
        "marker".to_owned(),
        crate::harness::login("scram_user", Some("pencil")),
    );
    let first = checkout(&pools, &worker, &shared()).await;
    let process_id = first.process_id();
    first.release(&worker);
    let mut second = pools
        .checkout(&other, &shared(), false, &worker)
        .await
        .unwrap();
    assert_ne!(second.process_id(), process_id);
    assert_eq!(
        value(&mut second, "SELECT current_user").await,
        "scram_user"
    );
    let third = pools
        .checkout(&identity(), &shared(), true, &worker)
        .await
        .unwrap();
    assert_ne!(third.process_id(), process_id);
    assert_eq!(pools.status().len(), 3);
}

#[tokio::test]
async fn those_who_wait_are_served_in_turn() {
    let (pools, worker) = pools(at_most(1));
    let held = checkout(&pools, &worker, &shared()).await;
    let order = std::sync::Mutex::new(Vec::new());
    let waiter = async |number: usize| {
        // Each begins to wait after the one before it.
        until(|| status(&pools).waiting == number).await;
        let mut pooled = checkout(&pools, &worker, &shared()).await;
        order.lock().unwrap().push(number);
        assert_eq!(value(&mut pooled, "SELECT 1").await, "1");
        pooled.release(&worker);
    };
    let opening = async {
        until(|| status(&pools).waiting == 4).await;
        assert_eq!(status(&pools).size, 1);
        held.release(&worker);
        // A newcomer does not overtake them.
        let late = checkout(&pools, &worker, &shared()).await;
        order.lock().unwrap().push(99);
        late.release(&worker);
    };
    tokio::join!(waiter(0), waiter(1), waiter(2), waiter(3), opening);
    assert_eq!(order.into_inner().unwrap(), [0, 1, 2, 3, 99]);
    let figures = status(&pools);
    assert_eq!((figures.size, figures.connects, figures.waits), (1, 1, 5));
}

fn report_of<T>(result: Result<T, PoolError>) -> Report {
    match result {
        Ok(_) => panic!("there was no connection to be had"),
        Err(error) => error.report("s1"),
    }
}

#[tokio::test]
async fn waiting_ends_with_an_error_that_says_why() {
    let (pools, worker) = pools(PoolSettings {
        wait_timeout: Duration::from_millis(50),
        ..at_most(2)
    });
    let _held = (
        checkout(&pools, &worker, &shared()).await,
        checkout(&pools, &worker, &shared()).await,
    );
    let report = report_of(pools.checkout(&identity(), &shared(), false, &worker).await);
    assert_eq!(report.sqlstate, "53300");
    assert_eq!(
        report.message,
        "pgweave: no connection to shard s1 became free within 50 ms"
    );
    let detail = report.detail.unwrap();
    assert!(
        detail.contains("holds 2 of at most 2 connections, 2 of them in use"),
        "{detail}"
    );
    assert!(report.hint.unwrap().contains("pool.max_size"));
    assert_eq!(status(&pools).waiting, 0);
}

#[tokio::test]
async fn who_gives_up_waiting_leaves_the_queue() {
    let (pools, worker) = pools(at_most(1));
    let held = checkout(&pools, &worker, &shared()).await;
    {
        let identity = identity();
        let server = shared();
        let waiting = pools.checkout(&identity, &server, false, &worker);
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("there was no connection to be had"),
            () = until(|| status(&pools).waiting == 1) => {}
        }
    }
    assert_eq!(status(&pools).waiting, 0);
    held.release(&worker);
    assert_eq!(status(&pools).stashed, 1);
    checkout(&pools, &worker, &shared()).await.release(&worker);
}

#[tokio::test]
async fn a_closed_connection_makes_room_for_one_who_waits() {
    let (pools, worker) = pools(at_most(1));
    let held = checkout(&pools, &worker, &shared()).await;
    let process_id = held.process_id();
    let closing = async {
        until(|| status(&pools).waiting == 1).await;
        drop(held);
    };
    let server = shared();
    let (next, ()) = tokio::join!(checkout(&pools, &worker, &server), closing);
    assert_ne!(next.process_id(), process_id);
    assert_eq!(status(&pools).size, 1);
}

#[tokio::test]
async fn idle_connections_are_closed_down_to_the_least_number() {
    let (pools, worker) = pools(PoolSettings {
        min_size: 1,
        ..settings()
    });
    pools.prewarm(&identity(), &shared(), false);
    until(|| status(&pools).idle == 1).await;
    let held = [
        checkout(&pools, &worker, &shared()).await,
        checkout(&pools, &worker, &shared()).await,
        checkout(&pools, &worker, &shared()).await,
    ];
    for pooled in held {
        pooled.release(&worker);
    }
    let now = Instant::now();
    pools.tidy(&worker, now + Duration::from_secs(599));
    assert_eq!(status(&pools).size, 3);
    pools.tidy(&worker, now + Duration::from_secs(601));
    assert_eq!(status(&pools).size, 1);
    pools.tidy(&worker, now + Duration::from_secs(900));
    assert_eq!(status(&pools).size, 1);
}

#[tokio::test]
async fn a_connection_in_use_outlives_its_time_and_an_idle_one_does_not() {
    let (pools, worker) = pools(PoolSettings {
        lifetime: Duration::from_secs(100),
        ..settings()
    });
    let idle = checkout(&pools, &worker, &shared()).await;
    let mut used = checkout(&pools, &worker, &shared()).await;
    idle.release(&worker);
    let later = Instant::now() + Duration::from_secs(89);
    pools.tidy(&worker, later);
    assert_eq!(status(&pools).size, 2);
    pools.tidy(&worker, later + Duration::from_secs(12));
    assert_eq!(status(&pools).size, 1);
    assert_eq!(value(&mut used, "SELECT 1").await, "1");
}

#[tokio::test]
async fn a_connection_that_is_too_old_is_replaced_when_it_comes_back() {
    let (pools, worker) = pools(PoolSettings {
        lifetime: Duration::ZERO,
        ..settings()
    });
    let first = checkout(&pools, &worker, &shared()).await;
    let process_id = first.process_id();
    first.release(&worker);
    assert_eq!(status(&pools).size, 0);
    assert_ne!(
        checkout(&pools, &worker, &shared()).await.process_id(),
        process_id
    );
}

#[tokio::test]
async fn the_least_number_is_opened_ahead_of_demand_and_kept() {
    let (pools, worker) = pools(PoolSettings {
        min_size: 3,
        ..settings()
    });
    let identity = identity();
    pools.prewarm(&identity, &shared(), false);
    until(|| status(&pools).idle == 3).await;
    let pooled = checkout(&pools, &worker, &shared()).await;
    assert_eq!(status(&pools).connects, 3);
    drop(pooled);
    assert_eq!(status(&pools).size, 2);
    pools.tidy(&worker, Instant::now());
    until(|| status(&pools).idle == 3).await;
    assert_eq!(status(&pools).connects, 4);
}

#[tokio::test]
async fn a_pool_that_nobody_uses_is_forgotten_with_its_connections() {
    let (pools, worker) = pools(settings());
    let identity = identity();
    pools
        .checkout(&identity, &shared(), false, &worker)
        .await
        .unwrap()
        .release(&worker);
    let now = Instant::now();
    pools.tidy(&worker, now);
    let later = now + Duration::from_secs(599);
    pools.tidy(&worker, later);
    assert_eq!(pools.status().len(), 1);
    // A session that may come back to it keeps it, without connections.
    let later = now + Duration::from_secs(10_000);
    pools.tidy(&worker, later);
    assert_eq!(status(&pools).size, 0);
    drop(identity);
    pools.tidy(&worker, later);
    assert!(pools.status().is_empty());
    checkout(&pools, &worker, &shared()).await.release(&worker);
}

#[tokio::test]
async fn a_cancel_that_comes_late_does_not_hit_the_next_user() {
    let (pools, worker) = pools(at_most(1));
    for _ in 0..20 {
        let mut first = checkout(&pools, &worker, &shared()).await;
        let target = first.cancel_target().clone();
        assert_eq!(value(&mut first, "SELECT 1").await, "1");
        target.cancel().await.unwrap();
        first.settle_and_release(&worker).await;
        let mut second = checkout(&pools, &worker, &shared()).await;
        assert_eq!(value(&mut second, "SELECT 2").await, "2");
        second.release(&worker);
    }
    assert_eq!(status(&pools).connects, 1);
}

#[tokio::test]
async fn a_server_holds_no_more_statements_than_it_is_to() {
    use router::execute::expect::StatementKey;
    use router::wire::encode;

    let (pools, worker) = pools(PoolSettings {
        max_prepared_statements: 2,
        ..settings()
    });
    let mut pooled = checkout(&pools, &worker, &shared()).await;
    let mut expects = Default::default();
    let names = "SELECT string_agg(name, ',' ORDER BY name) FROM pg_prepared_statements";
    for (id, held) in [
        (1, "pgweave_1"),
        (2, "pgweave_1,pgweave_2"),
        (3, "pgweave_1,pgweave_3"),
    ] {
        let key = StatementKey { id, named: true };
        assert!(!pooled.knows(key));
        pooled.note_prepared(key, &mut expects);
        encode::parse(
            pooled.out(),
            format!("pgweave_{id}").as_bytes(),
            b"SELECT 1",
            &[],
        );
        encode::sync(pooled.out());
        pooled.flush().await.unwrap();
        read_until(&mut pooled, b'Z').await;
        assert_eq!(value(&mut pooled, names).await, held);
        assert!(pooled.knows(StatementKey { id: 1, named: true }));
    }
    assert_eq!(expects.len(), 1);
}

/// Whatever the session did, the next one finds nothing of it.
#[tokio::test]
async fn an_untracked_session_leaves_nothing_behind() {
    let (pools, worker) = pools(at_most(1));
    let mut first = checkout(&pools, &worker, &shared()).await;
    let process_id = first.process_id();
    let sql = "SET work_mem = '7MB'; CREATE TEMP TABLE mine (x int); PREPARE mine AS SELECT 1; LISTEN mine; SELECT pg_advisory_lock(7)";
    ask(&mut first, sql).await;
    first.clean_and_release(&worker, false).await;
    let mut second = checkout(&pools, &worker, &shared()).await;
    assert_eq!(second.process_id(), process_id);
    assert_eq!(value(&mut second, "SHOW work_mem").await, "4MB");
    let left = "SELECT (SELECT count(*) FROM pg_prepared_statements)
        + (SELECT count(*) FROM pg_listening_channels())
        + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
        + (SELECT count(*) FROM pg_class WHERE relpersistence = 't')";
    assert_eq!(value(&mut second, left).await, "0");
}

#[tokio::test]
async fn the_road_over_a_shelf_is_short() {
    let pools = Pools::new(settings(), ServerTls::disabled(), 1);
    let (worker, identity, server) = (worker(0), identity(), shared());
    let rounds = 20_000;
    let mut best = LIMIT;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..rounds {
            pools
                .checkout(&identity, &server, false, &worker)
                .await
                .unwrap()
                .release(&worker);
        }
        best = best.min(start.elapsed() / rounds);
    }
    println!(
        "checkout and check-in over the shelf: {} ns",
        best.as_nanos()
    );
    assert_eq!(status(&pools).connects, 1);
    // A system call, a wake-up or a lock that others hold would show even without optimization.
    assert!(best < Duration::from_micros(20), "{best:?}");
}
