//! The road from a client to a shard and back.

#![allow(
    clippy::unwrap_used,
    reason = "a step of a test that fails is the end of the test"
)]

use tests::client::{Client, rows};
use tests::cluster::{Cluster, Options};

#[tokio::test]
async fn a_simple_query_is_answered() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let mut client =
        Client::connect(cluster.router.address, &[("application_name", "smoke")]).unwrap();
    let answer = client.query("SELECT 1 + 1").unwrap();
    assert_eq!(rows(&answer), [[Some("2".to_owned())]]);
    let answer = client
        .extended("SELECT $1::int + 1", &[Some(b"41")], false)
        .unwrap();
    assert_eq!(rows(&answer), [[Some("42".to_owned())]]);
    let driver = cluster.connect().await.unwrap();
    let row = driver
        .query_one("SELECT $1::int8 * 2", &[&21i64])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 42);
    cluster.stop().await.unwrap();
}
