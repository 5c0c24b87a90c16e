//! A bank over four shards: money moves between accounts by three routers at once, one of which is killed again and again, and is never
//! made or lost for who reads by snapshots, whatever way the query is answered.
//!
//! `BANK_SECONDS=60` goes on for longer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rand::Rng;
use tests::client::{Client, ask, one, sqlstate};
use tests::cluster::Options;
use tests::router_process;
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

/// Moves money between two accounts until told to stop. `connect` is asked again when a connection has broken.
fn move_money(
    connect: &dyn Fn() -> Client,
    pick: &dyn Fn() -> (i64, i64),
    done: &AtomicBool,
    moved: &AtomicU64,
) {
    let mut client = connect();
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
            match client.query(&sql) {
                Ok(answer) if sqlstate(&answer).is_none() => {}
                // Two that lock the same accounts the other way round: one is a deadlock's victim.
                Ok(_) => {
                    let _ = client.query("ROLLBACK");
                    break;
                }
                Err(_) => {
                    client = connect();
                    break;
                }
            }
        }
        moved.fetch_add(1, Ordering::Relaxed);
    }
}

/// A router that is killed every so often, and started again elsewhere.
struct Mortal {
    config: PathBuf,
    running: Mutex<(Child, u16)>,
    deaths: AtomicU64,
}

impl Mortal {
    fn start() -> Self {
        let home = SHARED.cluster().local.shards()[0].primary.port();
        let config = SHARED.cluster().local.directory().join("mortal.toml");
        let text = format!(
            "[[auth]]\nmethod = \"trust\"\n\n[catalog]\nhost = \"127.0.0.1\"\nport = {home}\ndbname = \"postgres\"\nuser = \"postgres\"\n"
        );
        std::fs::write(&config, text).unwrap();
        Self {
            running: Mutex::new(serve(&config)),
            config,
            deaths: AtomicU64::new(0),
        }
    }

    fn kill_until(&self, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1_500));
            let mut running = self.running.lock().unwrap();
            running.0.kill().unwrap();
            running.0.wait().unwrap();
            self.deaths.fetch_add(1, Ordering::Relaxed);
            *running = serve(&self.config);
        }
    }

    fn connect(&self) -> Client {
        loop {
            let port = self.running.lock().unwrap().1;
            match Client::connect(SocketAddr::from(([127, 0, 0, 1], port)), &[]) {
                Ok(client) => return client,
                // It has just been started.
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap();
        running.0.kill().unwrap();
        running.0.wait().unwrap();
    }
}

fn serve(config: &Path) -> (Child, u16) {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut command = Command::new(router_process::binary().unwrap());
    command.arg("serve").arg("--config").arg(config);
    command.args(["--set", &format!("listen.port={port}")]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    (command.spawn().unwrap(), port)
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
    let mortal = Mortal::start();
    drop(mortal.connect());
    thread::scope(|scope| {
        let addresses = [cluster.router.address, second.address];
        for number in 0..5 {
            let (done, snapshot, shards, mortal) = (&done, &snapshot, &shards, &mortal);
            scope.spawn(move || {
                let lasting = || Client::connect(addresses[number % 2], &[]).unwrap();
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
                    0 | 1 => move_money(&lasting, &across, done, &snapshot.transfers),
                    2 => move_money(&lasting, &within, done, &snapshot.within),
                    _ => move_money(&|| mortal.connect(), &across, done, &snapshot.transfers),
                }
            });
        }
        scope.spawn(|| mortal.kill_until(&done));
        let (done, snapshot, default) = (&done, &snapshot, &default);
        for address in addresses {
            scope.spawn(move || read_totals(address, "snapshot", done, snapshot));
        }
        scope.spawn(move || read_totals(addresses[0], "default", done, default));
        thread::sleep(Duration::from_secs(seconds.unwrap_or(8)));
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
        "{transfers} transfers over shards, {within} within; {} deaths; {reads} totals by snapshots, {refused} refused; \
         without {} of {} wrong; {:?}",
        mortal.deaths.load(Ordering::Relaxed),
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
    // What a dead router has decided may still be under way.
    ask(&mut client, "SET pgweave.consistency = 'snapshot'");
    assert_eq!(one(&mut client, TOTALS[0]), (ACCOUNTS * EACH).to_string());
}
