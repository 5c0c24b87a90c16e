//! A bank over four shards: money moves between accounts by two routers at once, and is never made or lost for who reads by
//! snapshots, whatever way the query is answered.
//!
//! `BANK_SECONDS=60` goes on for longer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rand::Rng;
use tests::client::{Client, ask, one, sqlstate};
use tests::cluster::Options;
use tests::several::{direct, through};
use tests::shared::Shared;

static SHARED: Shared = Shared::new(options);

fn options() -> Options {
    Options {
        shards: 4,
        ..Options::default()
    }
}

const ACCOUNTS: i64 = 40;
const EACH: i64 = 1_000;

/// Each gives the total of all accounts, by another way: partial sums, rows, tables brought together.
const TOTALS: [&str; 5] = [
    "SELECT sum(balance) FROM accounts",
    "SELECT balance FROM accounts",
    "SELECT balance FROM accounts ORDER BY balance",
    "SELECT max(total) FROM (SELECT sum(balance) OVER () AS total FROM accounts) AS t",
    "SELECT sum(a.balance) FROM accounts a WHERE a.id <= (SELECT max(b.id) FROM accounts b)",
];

#[derive(Default)]
struct Seen {
    transfers: AtomicU64,
    within: AtomicU64,
    reads: AtomicU64,
    wrong: AtomicU64,
    refused: AtomicU64,
}

fn total(client: &mut Client, sql: &str) -> Result<i64, String> {
    let answer = client.query(sql).unwrap();
    match sqlstate(&answer) {
        Some(state) => Err(state),
        None => Ok(tests::client::rows(&answer)
            .iter()
            .map(|row| row[0].as_deref().unwrap().parse::<i64>().unwrap())
            .sum()),
    }
}

/// Moves money between two accounts until told to stop.
fn move_money(
    client: &mut Client,
    pick: &dyn Fn() -> (i64, i64),
    done: &AtomicBool,
    moved: &AtomicU64,
) {
    while !done.load(Ordering::Relaxed) {
        let (from, to) = pick();
        let amount = rand::rng().random_range(1..50);
        let statements = [
            "BEGIN".to_owned(),
            format!("UPDATE accounts SET balance = balance - {amount} WHERE id = {from}"),
            format!("UPDATE accounts SET balance = balance + {amount} WHERE id = {to}"),
            "COMMIT".to_owned(),
        ];
        for sql in statements {
            // Two that lock the same accounts the other way round: one is a deadlock's victim.
            if sqlstate(&client.query(&sql).unwrap()).is_some() {
                ask(client, "ROLLBACK");
                break;
            }
        }
        moved.fetch_add(1, Ordering::Relaxed);
    }
}

fn read_totals(address: SocketAddr, consistency: &str, done: &AtomicBool, seen: &Seen) {
    let mut client = Client::connect(address, &[]).unwrap();
    ask(
        &mut client,
        &format!("SET pgweave.consistency = '{consistency}'"),
    );
    while !done.load(Ordering::Relaxed) {
        for in_block in [false, true] {
            if in_block {
                ask(&mut client, "BEGIN");
            }
            for sql in TOTALS {
                seen.reads.fetch_add(1, Ordering::Relaxed);
                match total(&mut client, sql) {
                    Ok(total) if total == ACCOUNTS * EACH => {}
                    Ok(total) => {
                        seen.wrong.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(consistency, "default", "{sql} gave {total}");
                    }
                    Err(state) => {
                        assert_eq!(state, "40001", "{sql}");
                        seen.refused.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                }
            }
            if in_block {
                ask(&mut client, "COMMIT");
            }
        }
    }
}

#[test]
fn money_is_neither_made_nor_lost() {
    let cluster = SHARED.cluster();
    let second = cluster.another_router(&options()).unwrap();
    let mut client = through(cluster);
    ask(
        &mut client,
        "CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL)",
    );
    ask(&mut client, "SELECT pgweave.shard_table('accounts', 'id')");
    for id in 1..=ACCOUNTS {
        ask(
            &mut client,
            &format!("INSERT INTO accounts VALUES ({id}, {EACH})"),
        );
    }
    let shards: Vec<Vec<i64>> = (0..4)
        .map(|shard| {
            let rows = ask(&mut direct(cluster, shard), "SELECT id FROM accounts");
            let ids = rows
                .iter()
                .map(|row| row[0].as_deref().unwrap().parse().unwrap());
            ids.collect()
        })
        .collect();
    assert!(shards.iter().all(|ids| ids.len() > 1), "{shards:?}");
    // The other router learns of the table.
    let mut other = Client::connect(second.address, &[]).unwrap();
    while sqlstate(&other.query("SELECT 1 FROM accounts").unwrap()).is_some() {
        ask(&mut other, "SELECT pgweave.refresh()");
    }
    let seconds = std::env::var("BANK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let (snapshot, default) = (Seen::default(), Seen::default());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let addresses = [cluster.router.address, second.address];
        for (number, address) in addresses.into_iter().cycle().take(4).enumerate() {
            let (done, snapshot, shards) = (&done, &snapshot, &shards);
            scope.spawn(move || {
                let mut client = Client::connect(address, &[]).unwrap();
                let across = || {
                    let from = rand::rng().random_range(1..=ACCOUNTS);
                    (from, from % ACCOUNTS + 1)
                };
                let within = || {
                    let ids = &shards[rand::rng().random_range(0..4)];
                    let at = rand::rng().random_range(0..ids.len());
                    (ids[at], ids[(at + 1) % ids.len()])
                };
                match number {
                    3 => move_money(&mut client, &within, done, &snapshot.within),
                    _ => move_money(&mut client, &across, done, &snapshot.transfers),
                }
            });
        }
        let (done, snapshot, default) = (&done, &snapshot, &default);
        for address in addresses {
            scope.spawn(move || read_totals(address, "snapshot", done, snapshot));
        }
        scope.spawn(move || read_totals(addresses[0], "default", done, default));
        thread::sleep(Duration::from_secs(seconds.unwrap_or(6)));
        done.store(true, Ordering::Relaxed);
    });
    let [transfers, within, reads, refused] = [
        &snapshot.transfers,
        &snapshot.within,
        &snapshot.reads,
        &snapshot.refused,
    ]
    .map(|count| count.load(Ordering::Relaxed));
    println!(
        "{transfers} transfers, {within} of them within a shard besides; {reads} totals by snapshots, {refused} refused; \
         without {} of {} wrong; {:?}",
        default.wrong.load(Ordering::Relaxed),
        default.reads.load(Ordering::Relaxed),
        ask(&mut client, "SHOW pgweave.counters"),
    );
    // The same readers without a snapshot see money come and go: so a wrong total would be seen.
    assert!(default.wrong.load(Ordering::Relaxed) > 0);
    assert!(
        transfers > 20 && within > 20 && reads > 40,
        "too little has happened"
    );
    assert!(refused * 20 < reads, "{refused} of {reads} were refused");
    assert_eq!(one(&mut client, TOTALS[0]), (ACCOUNTS * EACH).to_string());
}
