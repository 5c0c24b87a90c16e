//! A connection that is not clean is never given to the next session.

use router::wire::encode;

use crate::harness::{LIMIT, ask, batch, checkout, pools, read_until, settings, shared, value};

/// Extended-protocol messages without a Sync leave an implicit transaction open, although the last ReadyForQuery said
/// idle. The next session's Sync would commit it.
#[tokio::test]
async fn a_batch_without_sync_does_not_go_back() {
    let (pools, worker) = pools(settings());
    let server = shared();
    for tidy in [false, true] {
        let mut first = checkout(&pools, &worker, &server).await;
        let process_id = first.process_id();
        batch(&mut first, "INSERT INTO marks VALUES ('no sync')");
        encode::flush(first.out());
        first.flush().await.unwrap();
        read_until(&mut first, b'C').await;
        assert!(first.input().is_empty());
        if tidy {
            first.clean_and_release(&worker, true).await;
        } else {
            first.release(&worker);
        }
        let mut second = checkout(&pools, &worker, &server).await;
        assert_ne!(second.process_id(), process_id);
        assert_eq!(
            value(
                &mut second,
                "SELECT count(*) FROM marks WHERE who = 'no sync'"
            )
            .await,
            "0"
        );
        second.release(&worker);
    }
}

/// A second query is still to be answered after the first one's ReadyForQuery.
#[tokio::test]
async fn an_answer_that_is_still_to_come_keeps_a_connection_from_the_next_session() {
    let (pools, worker) = pools(settings());
    let server = shared();
    let mut first = checkout(&pools, &worker, &server).await;
    let process_id = first.process_id();
    encode::query(first.out(), b"SELECT 1");
    encode::query(first.out(), b"SELECT pg_sleep(30)");
    first.flush().await.unwrap();
    read_until(&mut first, b'Z').await;
    assert!(first.input().is_empty());
    first.clean_and_release(&worker, true).await;
    let mut second = checkout(&pools, &worker, &server).await;
    assert_ne!(second.process_id(), process_id);
    // Nobody reads the answer, so the server need not go on.
    let running = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {process_id}");
    tokio::time::timeout(LIMIT, async {
        while value(&mut second, &running).await != "0" {}
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_open_transaction_is_rolled_back_or_its_connection_closed() {
    let (pools, worker) = pools(settings());
    let server = shared();
    let mut first = checkout(&pools, &worker, &server).await;
    let process_id = first.process_id();
    ask(&mut first, "BEGIN; INSERT INTO marks VALUES ('open')").await;
    assert_eq!(first.status(), b'T');
    first.clean_and_release(&worker, true).await;
    let mut second = checkout(&pools, &worker, &server).await;
    assert_eq!(second.process_id(), process_id);
    assert_eq!(second.status(), b'I');
    ask(&mut second, "BEGIN; INSERT INTO marks VALUES ('open')").await;
    second.release(&worker);
    let mut third = checkout(&pools, &worker, &server).await;
    assert_ne!(third.process_id(), process_id);
    assert_eq!(
        value(&mut third, "SELECT count(*) FROM marks WHERE who = 'open'").await,
        "0"
    );
}
