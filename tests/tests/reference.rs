//! The copies of a reference table stay alike, whoever writes at the same time.

use std::time::Duration;

use tests::cluster::{Cluster, Options};
use tokio_postgres::{Client, SimpleQueryMessage};

type Error = tests::cluster::Error;

async fn value(client: &Client, sql: &str) -> Result<String, tokio_postgres::Error> {
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            return Ok(row.get(0).unwrap_or("∅").to_owned());
        }
    }
    Ok(String::new())
}

async fn sqlstate(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    error
        .code()
        .map(|code| code.code().to_owned())
        .unwrap_or_else(|| error.to_string())
}

/// What the one copy holds that all shards have.
async fn copies(cluster: &Cluster) -> Result<String, Error> {
    let mut contents = Vec::new();
    for index in 0..cluster.local.shards().len() {
        let shard = cluster.connect_shard(index).await?;
        contents.push(
            value(
                &shard,
                "SELECT string_agg(id || '=' || v, ' ' ORDER BY id) FROM rates",
            )
            .await?,
        );
    }
    contents.dedup();
    assert_eq!(contents.len(), 1, "copies differ: {contents:?}");
    Ok(contents.remove(0))
}

async fn start() -> Result<Cluster, Error> {
    let cluster = Cluster::start(Options {
        shards: 3,
        ..Options::default()
    })
    .await?;
    let client = cluster.connect().await?;
    client
        .batch_execute("CREATE TABLE rates (id int PRIMARY KEY, v bigint NOT NULL)")
        .await?;
    value(&client, "SELECT pgweave.reference_table('rates')").await?;
    client
        .batch_execute("INSERT INTO rates VALUES (0, 1), (1, 2), (2, 3), (3, 4)")
        .await?;
    Ok(cluster)
}

/// Runs the statements of four clients at the same time, each forty times.
async fn together(cluster: &Cluster, statement: fn(u64, u64) -> String) -> Result<(), Error> {
    let mut clients = Vec::new();
    for number in 0..4 {
        let client = cluster.connect().await?;
        clients.push(tokio::spawn(async move {
            for round in 0..40 {
                client.batch_execute(&statement(number, round)).await?;
            }
            Ok::<(), tokio_postgres::Error>(())
        }));
    }
    for client in clients {
        // Two writers that wait for each other on different shards would wait for ever.
        tokio::time::timeout(Duration::from_secs(60), client).await???;
    }
    Ok(())
}

#[tokio::test]
async fn writers_of_one_row_take_turns() -> Result<(), Error> {
    let cluster = start().await?;
    together(&cluster, |number, round| {
        format!(
            "UPDATE rates SET v = {} WHERE id = 1",
            number * 1000 + round
        )
    })
    .await?;
    copies(&cluster).await?;
    together(&cluster, |_, _| {
        "UPDATE rates SET v = v + 1 WHERE id IN (2, 3)".to_owned()
    })
    .await?;
    assert!(copies(&cluster).await?.ends_with("2=163 3=164"));
    Ok(())
}

#[tokio::test]
async fn what_a_write_reads_is_the_same_on_every_copy() -> Result<(), Error> {
    let cluster = start().await?;
    together(&cluster, |number, _| {
        format!("UPDATE rates SET v = (SELECT sum(v) % 1000003 FROM rates) + 1 WHERE id = {number}")
    })
    .await?;
    copies(&cluster).await?;
    together(&cluster, |number, round| {
        format!(
            "UPDATE rates SET v = {} WHERE v % 2 = {}",
            round % 3,
            number % 2
        )
    })
    .await?;
    copies(&cluster).await?;
    Ok(())
}

#[tokio::test]
async fn snapshots_of_different_moments_change_nothing() -> Result<(), Error> {
    let cluster = start().await?;
    let (one, two) = (cluster.connect().await?, cluster.connect().await?);
    for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
        one.batch_execute(&format!("BEGIN ISOLATION LEVEL {isolation}"))
            .await?;
        assert_eq!(
            sqlstate(
                &one,
                "UPDATE rates SET v = (SELECT max(v) FROM rates) WHERE id = 0"
            )
            .await,
            "0A000"
        );
        one.batch_execute("ROLLBACK").await?;
        // The first of the shards has its snapshot before the other transaction, the rest after it.
        one.batch_execute(&format!(
            "BEGIN ISOLATION LEVEL {isolation}; SET pgweave.shard = 's1'; SELECT FROM rates; RESET pgweave.shard"
        ))
        .await?;
        two.batch_execute("DELETE FROM rates WHERE id = 9; INSERT INTO rates VALUES (9, 9)")
            .await?;
        assert_eq!(
            sqlstate(&one, "UPDATE rates SET v = 7 WHERE v = 9").await,
            "40001"
        );
        one.batch_execute("ROLLBACK").await?;
        one.batch_execute(&format!(
            "BEGIN ISOLATION LEVEL {isolation}; UPDATE rates SET v = v + 1; COMMIT"
        ))
        .await?;
        two.batch_execute("UPDATE rates SET v = v - 1").await?;
        copies(&cluster).await?;
    }
    Ok(())
}
