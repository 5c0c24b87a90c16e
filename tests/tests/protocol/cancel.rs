//! Cancel requests, the end of a connection, large results.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::BytesMut;
use router::wire::encode;
use tests::client::{Client, rows};
use tests::conversation::Conversation;

use crate::{SHARED, same, same_with};

fn cancel(c: &Conversation, key: &[u8]) {
    let mut out = BytesMut::new();
    encode::cancel_request(&mut out, c.client.process_id, key);
    let mut stream = TcpStream::connect(c.address).unwrap();
    stream.write_all(&out).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty(), "a cancel request is never answered");
}

/// Waits until the statement runs on the server that has the undeclared tables.
fn until_running(marker: &str) {
    let server = SocketAddr::from((
        [127, 0, 0, 1],
        SHARED.cluster().local.shards()[0].primary.port(),
    ));
    let mut watcher = Client::connect(server, &[]).unwrap();
    let sql = format!(
        "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%{marker}%' AND pid <> pg_backend_pid()"
    );
    for _ in 0..10_000 {
        if !rows(&watcher.query(&sql).unwrap()).is_empty() {
            return;
        }
    }
    panic!("{marker} does not run");
}

#[test]
fn a_running_statement_is_cancelled() {
    let setup = "DROP TABLE IF EXISTS cancelled; CREATE TABLE cancelled (id int); INSERT INTO cancelled VALUES (1)";
    same_with(setup, |c| {
        let key = c.client.key.clone();
        c.query("SELECT pg_sleep(60), 'cancel_simple' FROM cancelled")
            .send();
        until_running("cancel_simple");
        cancel(c, &key);
        c.ready();
        c.ask("SELECT 1");
        c.ask("BEGIN");
        c.run("SELECT pg_sleep(60), 'cancel_extended' FROM cancelled", &[])
            .sync()
            .send();
        until_running("cancel_extended");
        cancel(c, &key);
        c.ready();
        c.ask("SELECT 2");
        c.ask("ROLLBACK");
    });
}

#[test]
fn a_cancel_of_an_idle_session_does_nothing() {
    same(|c| {
        let key = c.client.key.clone();
        c.ask("SELECT 1");
        cancel(c, &key);
        c.ask("SELECT 2");
        c.ask("BEGIN; SELECT 3");
        c.ask("COMMIT");
    });
}

#[test]
fn a_cancel_with_a_wrong_key_does_nothing() {
    same(|c| {
        let mut key = c.client.key.clone();
        key[0] ^= 1;
        c.query("SELECT pg_sleep(0.2), 'wrong key'").send();
        cancel(c, &key);
        c.ready();
        cancel(c, &[]);
        c.ask("SELECT 1");
    });
}

#[test]
fn terminate_in_mid_transaction_rolls_back() {
    let setup = "DROP TABLE IF EXISTS terminated; CREATE TABLE terminated (id int PRIMARY KEY)";
    same_with(setup, |c| {
        c.ask("BEGIN; INSERT INTO terminated VALUES (1)");
        let mut other = c.other();
        c.message(b'X', b"").until(b'Z');
        c.note("the row's lock is free, and the row is not there");
        other.ask("INSERT INTO terminated VALUES (1)");
        other.ask("SELECT count(*) FROM terminated");
        c.lines.extend(other.lines);
    });
}

#[test]
fn a_connection_lost_in_mid_transaction_rolls_back() {
    let setup = "DROP TABLE IF EXISTS lost; CREATE TABLE lost (id int PRIMARY KEY)";
    same_with(setup, |c| {
        let mut lost = c.other();
        lost.ask("BEGIN; INSERT INTO lost VALUES (1)");
        drop(lost);
        c.ask("INSERT INTO lost VALUES (1)");
        c.ask("SELECT count(*) FROM lost");
    });
}

#[test]
fn large_rows() {
    same(|c| {
        c.ask("SELECT repeat('a', 1 << 20), 1");
        c.ask("SELECT repeat('abc', 1 << 20), g FROM generate_series(1, 5) g");
        c.ask("SELECT repeat('a', 64 << 20), 'b'");
        c.run("SELECT repeat('ab', 32 << 20)", &[])
            .run("SELECT 1", &[])
            .sync()
            .ready();
        c.ask("SELECT g, repeat('x', g % 9000) FROM generate_series(1, 5000) g");
        c.ask("SELECT 1");
    });
}
