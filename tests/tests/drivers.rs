//! Drivers and tools that people use, unchanged, through the router.

#![allow(
    clippy::unwrap_used,
    reason = "a step of a test that fails is the end of the test"
)]

use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tests::cluster::{Cluster, Options};

#[tokio::test]
async fn sqlx_over_sharded_tables() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let options = PgConnectOptions::new()
        .host("127.0.0.1")
        .port(cluster.router.address.port())
        .username("postgres")
        .database("postgres");
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .connect_with(options)
        .await
        .unwrap();
    sqlx::raw_sql(
        "CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL, note text)",
    )
    .execute(&pool)
    .await
    .unwrap();
    sqlx::query("SELECT pgweave.shard_table('accounts', 'id')")
        .execute(&pool)
        .await
        .unwrap();
    for id in 0..20i64 {
        let done = sqlx::query("INSERT INTO accounts VALUES ($1, $2, $3)")
            .bind(id)
            .bind(100i64)
            .bind(format!("account {id}"))
            .execute(&pool)
            .await
            .unwrap();
        assert_eq!(done.rows_affected(), 1);
    }
    // Accounts on both shards, changed together or not at all.
    let mut transaction = pool.begin().await.unwrap();
    for (id, change) in [(1i64, -30i64), (2, 10), (3, 10), (4, 10)] {
        sqlx::query("UPDATE accounts SET balance = balance + $2 WHERE id = $1")
            .bind(id)
            .bind(change)
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
    let mut refused = pool.begin().await.unwrap();
    for id in 0..20i64 {
        sqlx::query("UPDATE accounts SET balance = 0 WHERE id = $1")
            .bind(id)
            .execute(&mut *refused)
            .await
            .unwrap();
    }
    refused.rollback().await.unwrap();
    let mut total = 0;
    for id in 0..20i64 {
        let row = sqlx::query("SELECT balance, note FROM accounts WHERE id = $1")
            .bind(id)
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(row.get::<String, _>("note"), format!("account {id}"));
        total += row.get::<i64, _>("balance");
    }
    assert_eq!(total, 2000);
    let mut per_shard = Vec::new();
    for index in 0..2 {
        let shard = cluster.connect_shard(index).await.unwrap();
        let row = shard
            .query_one("SELECT count(*) FROM accounts", &[])
            .await
            .unwrap();
        per_shard.push(row.get::<_, i64>(0));
    }
    assert_eq!(per_shard.iter().sum::<i64>(), 20);
    assert!(per_shard.iter().all(|count| *count > 0), "{per_shard:?}");
    pool.close().await;
    cluster.stop().await.unwrap();
}
