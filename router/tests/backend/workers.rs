//! Several workers, each with a runtime of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use router::pool::{PoolIdentity, PoolSettings, Pools};
use router::tls::ServerTls;
use router::worker::WorkerLocal;

use crate::harness::{
    ask, checkout, connect, identity, login, runtime, settings, shared, status, until, value,
    worker,
};

fn pools(max_size: usize) -> Pools {
    let settings = PoolSettings {
        max_size,
        ..settings()
    };
    Pools::new(settings, ServerTls::disabled(), 2)
}

/// Nobody drives the first worker's runtime any more: the connection must be the second's in all respects.
#[test]
fn an_idle_connection_of_another_worker_is_taken_over() {
    let pools = pools(1);
    let workers = [worker(0), worker(1)];
    let (first, second) = (runtime(), runtime());
    let process_id = first.block_on(async {
        let mut pooled = checkout(&pools, &workers[0], &shared()).await;
        assert_eq!(value(&mut pooled, "SELECT 1").await, "1");
        let process_id = pooled.process_id();
        pooled.release(&workers[0]);
        process_id
    });
    assert_eq!(status(&pools).stashed, 1);
    second.block_on(async {
        let mut pooled = checkout(&pools, &workers[1], &shared()).await;
        assert_eq!(pooled.process_id(), process_id);
        first.shutdown_background();
        assert_eq!(
            value(&mut pooled, "SELECT pg_sleep(0.01) IS NULL").await,
            "f"
        );
        assert_eq!(value(&mut pooled, "SELECT 2").await, "2");
        pooled.release(&workers[1]);
    });
    let figures = status(&pools);
    assert_eq!((figures.connects, figures.stashed), (1, 1));
}

#[test]
fn each_worker_gets_its_own_connection_back() {
    let pools = pools(4);
    let workers = [worker(0), worker(1)];
    let runtimes = [runtime(), runtime()];
    let serve = |index: usize| {
        runtimes[index].block_on(async {
            let mut pooled = checkout(&pools, &workers[index], &shared()).await;
            assert_eq!(value(&mut pooled, "SELECT 1").await, "1");
            let process_id = pooled.process_id();
            pooled.release(&workers[index]);
            process_id
        })
    };
    let [first, second] = [serve(0), serve(1)];
    assert_ne!(first, second);
    for _ in 0..3 {
        assert_eq!([serve(0), serve(1)], [first, second]);
    }
}

/// The server lets this user in once only; the worker that is refused takes what the other has.
#[test]
fn a_worker_that_is_refused_takes_what_another_has() {
    let pools = pools(4);
    let workers = [worker(0), worker(1)];
    let (first, second) = (runtime(), runtime());
    let limited = PoolIdentity::new("limited".to_owned(), login("limited", None));
    first.block_on(async {
        let mut admin = connect(&shared(), &login("postgres", None), &ServerTls::disabled())
            .await
            .unwrap();
        ask(&mut admin, "CREATE ROLE limited LOGIN CONNECTION LIMIT 1").await;
        pools
            .checkout(&limited, &shared(), false, &workers[0])
            .await
            .unwrap()
            .release(&workers[0]);
    });
    second.block_on(async {
        let mut pooled = pools
            .checkout(&limited, &shared(), false, &workers[1])
            .await
            .unwrap();
        assert_eq!(value(&mut pooled, "SELECT current_user").await, "limited");
        // With both taken there is nothing left but the server's own words.
        let report = match pools
            .checkout(&limited, &shared(), false, &workers[1])
            .await
        {
            Ok(_) => panic!("the limit is one"),
            Err(error) => error.report("s1"),
        };
        assert_eq!(report.sqlstate, "53300");
        assert_eq!(report.message, "too many connections for role \"limited\"");
    });
}

/// Two threads, more sessions than connections: nobody is forgotten while a connection lies idle, and no two have the
/// same one.
#[test]
fn workers_share_few_connections_without_losing_anybody() {
    const CONNECTIONS: usize = 2;
    let pools = Arc::new(pools(CONNECTIONS));
    let in_use = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..2)
        .map(|index| {
            let (pools, in_use) = (pools.clone(), in_use.clone());
            std::thread::spawn(move || {
                let worker = worker(index);
                runtime().block_on(async {
                    let session = async |number: usize| {
                        let identity = identity();
                        for round in 0..400 {
                            let mut pooled = pools
                                .checkout(&identity, &shared(), false, &worker)
                                .await
                                .unwrap();
                            assert!(in_use.fetch_add(1, Ordering::SeqCst) < CONNECTIONS);
                            if round % 8 == number {
                                assert_eq!(value(&mut pooled, "SELECT 1").await, "1");
                            } else if round % 3 == 0 {
                                tokio::task::yield_now().await;
                            }
                            in_use.fetch_sub(1, Ordering::SeqCst);
                            pooled.release(&worker);
                            if round % 5 == number {
                                tokio::task::yield_now().await;
                            }
                        }
                    };
                    tokio::join!(session(0), session(1), session(2), session(3));
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let figures = status(&pools);
    assert!(figures.waits > 0, "{figures:?}");
    assert_eq!((figures.waiting, figures.in_use), (0, 0));
    assert_eq!(
        (figures.size, figures.connects),
        (CONNECTIONS, CONNECTIONS as u64)
    );
}

/// A connection stays with the worker that has just used it, where it serves at once; but nobody on another worker waits
/// much longer for that.
#[test]
fn a_neighbour_is_served_first_but_not_for_long() {
    let pools = pools(1);
    let workers = [worker(0), worker(1)];
    runtime().block_on(async {
        let order = std::sync::Mutex::new(Vec::new());
        let waiter = async |number: usize, at: &WorkerLocal| {
            until(|| status(&pools).waiting == number).await;
            let pooled = checkout(&pools, at, &shared()).await;
            order.lock().unwrap().push(number);
            pooled.release(at);
        };
        let held = checkout(&pools, &workers[0], &shared()).await;
        // Let both wait before it is given back; the first to come is on the other worker.
        let release = async |pause: Duration| {
            until(|| status(&pools).waiting == 1).await;
            tokio::time::sleep(pause).await;
            until(|| status(&pools).waiting == 2).await;
        };
        let second = async |pause: Duration| {
            until(|| status(&pools).waiting == 1).await;
            tokio::time::sleep(pause).await;
            waiter(1, &workers[0]).await;
        };
        let long = Duration::from_millis(50);
        tokio::join!(waiter(0, &workers[1]), second(long), async {
            release(long).await;
            held.release(&workers[0]);
        });
        assert_eq!(*order.lock().unwrap(), [0, 1]);
    });
}
