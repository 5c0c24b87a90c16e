//! Transactions that wait for each other on different shards: one of them fails, soon, and the others go on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tests::client::{Client, Message, ask, one, sqlstate};
use tests::cluster::{Cluster, Options, RunningRouter};
use tests::several::{direct, nothing_is_left, through};
use tests::shared::Shared;

static SHARED: Shared = Shared::new(|| Options {
    shards: 3,
    ..Options::default()
});

/// Within this a deadlock must have ended. The machine may be busy with other tests.
const LIMIT: Duration = Duration::from_millis(1500);

fn cluster() -> &'static Cluster {
    SHARED.cluster()
}

fn other_router() -> SocketAddr {
    static OTHER: OnceLock<RunningRouter> = OnceLock::new();
    let router = OTHER.get_or_init(|| cluster().another_router(&Options::default()).unwrap());
    router.address
}

/// A table of its own for a test, with a key of each shard.
fn table(name: &str) -> Vec<String> {
    tests::several::table(cluster(), name, 30);
    let mut client = through(cluster());
    ask(
        &mut client,
        &format!("ALTER TABLE {name} ADD v int NOT NULL DEFAULT 0"),
    );
    (0..3)
        .map(|shard| {
            let mut server = direct(cluster(), shard);
            one(&mut server, &format!("SELECT min(k) FROM {name}"))
        })
        .collect()
}

/// A session on a thread of its own.
struct Actor {
    client: Client,
    table: &'static str,
}

struct Answer {
    messages: Vec<Message>,
    took: Duration,
}

impl Answer {
    fn failed(&self) -> Option<String> {
        sqlstate(&self.messages)
    }

    fn field(&self, code: u8) -> String {
        let error = self.messages.iter().find(|message| message.tag == b'E');
        error
            .and_then(|error| error.field(code))
            .unwrap_or_default()
    }
}

impl Actor {
    fn begin(address: SocketAddr, table: &'static str) -> Self {
        let mut client = Client::connect(address, &[]).unwrap();
        ask(&mut client, "BEGIN");
        Self { client, table }
    }

    fn text(&self, key: &str) -> String {
        format!("UPDATE {} SET v = v + 1 WHERE k = {key}", self.table)
    }

    fn update(&mut self, key: &str) {
        let sql = self.text(key);
        ask(&mut self.client, &sql);
    }

    /// An update that has to wait.
    fn waits_for(mut self, key: &str) -> JoinHandle<(Self, Answer)> {
        let sql = self.text(key);
        thread::spawn(move || {
            let began = Instant::now();
            let messages = self.client.query(&sql).unwrap();
            let took = began.elapsed();
            (self, Answer { messages, took })
        })
    }
}

/// Waits until so many sessions sleep on that shard.
fn asleep(shard: usize, count: usize) {
    let mut server = direct(cluster(), shard);
    let sql = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted";
    while one(&mut server, sql) != count.to_string() {}
}

/// The tests count who sleeps on a server, so they take turns.
fn turn() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Each actor holds the key of its own place, and asks for the next one's, the last for the first's.
fn cycle(name: &'static str, routers: &[SocketAddr]) -> Actor {
    let keys = table(name);
    let begun = routers.iter().zip(&keys).map(|(router, key)| {
        let mut actor = Actor::begin(*router, name);
        actor.update(key);
        // So that there is no doubt who is younger.
        ask(&mut actor.client, "SELECT pg_sleep(0.2)");
        actor
    });
    let actors: Vec<Actor> = begun.collect();
    let count = actors.len();
    let waiting: Vec<_> = actors
        .into_iter()
        .enumerate()
        .map(|(place, actor)| {
            let next = (place + 1) % count;
            let waiting = actor.waits_for(&keys[next]);
            if place + 1 < count {
                asleep(next, 1);
            }
            waiting
        })
        .collect();
    // The youngest is the last. When it has failed the one before it goes on, whose COMMIT lets the next go on.
    let mut waiting = waiting.into_iter().rev();
    let (victim, failed) = waiting.next().unwrap().join().unwrap();
    assert_eq!(
        failed.failed().as_deref(),
        Some("40P01"),
        "{:?}",
        failed.messages
    );
    for other in waiting {
        let (mut actor, answer) = other.join().unwrap();
        assert_eq!(answer.failed(), None, "{:?}", answer.messages);
        let committed = actor.client.query("COMMIT").unwrap();
        assert_eq!(tag(&committed), b"COMMIT\0");
    }
    assert!(failed.took < LIMIT, "{:?}", failed.took);
    assert_eq!(failed.field(b'M'), "deadlock detected");
    let detail = failed.field(b'D');
    assert_eq!(detail.lines().count(), count, "{detail}");
    for line in detail.lines() {
        assert!(line.starts_with("Session "), "{detail}");
        assert!(line.contains(" on shard "), "{detail}");
        assert!(
            line.contains(" waits for ShareLock on transaction "),
            "{detail}"
        );
        assert!(line.contains("; blocked by session "), "{detail}");
    }
    victim
}

fn tag(answer: &[Message]) -> &[u8] {
    &answer.iter().find(|one| one.tag == b'C').unwrap().body
}

/// What the `count` others did is there, and nothing of the victim's.
fn settle(name: &str, mut victim: Actor, count: usize) {
    // It is as PostgreSQL leaves it.
    let refused = victim.client.query("SELECT 1").unwrap();
    assert_eq!(sqlstate(&refused).as_deref(), Some("25P02"));
    assert_eq!(tag(&victim.client.query("COMMIT").unwrap()), b"ROLLBACK\0");
    assert_eq!(one(&mut victim.client, "SELECT 1"), "1");
    let mut client = through(cluster());
    let sum = one(&mut client, &format!("SELECT sum(v) FROM {name}"));
    assert_eq!(sum, (2 * count).to_string());
    nothing_is_left(cluster());
}

#[test]
fn two_on_one_router() {
    let _turn = turn();
    let router = cluster().router.address;
    let victim = cycle("two", &[router, router]);
    settle("two", victim, 1);
    let left = "SELECT count(*) FROM pgweave.waiting";
    let deadline = Instant::now() + Duration::from_secs(5);
    while one(&mut direct(cluster(), 0), left) != "0" {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn two_on_two_routers() {
    let _turn = turn();
    let victim = cycle("two_routers", &[other_router(), cluster().router.address]);
    settle("two_routers", victim, 1);
    let victim = cycle(
        "two_routers_again",
        &[cluster().router.address, other_router()],
    );
    settle("two_routers_again", victim, 1);
}

#[test]
fn three_on_two_routers() {
    let _turn = turn();
    let (one, other) = (cluster().router.address, other_router());
    let victim = cycle("three", &[one, other, one]);
    settle("three", victim, 2);
}

#[test]
fn a_chain_is_left_alone() {
    let _turn = turn();
    let keys = table("chain");
    let router = cluster().router.address;
    let mut first = Actor::begin(router, "chain");
    first.update(&keys[0]);
    let mut second = Actor::begin(other_router(), "chain");
    second.update(&keys[1]);
    let second = second.waits_for(&keys[0]);
    asleep(0, 1);
    let mut third = Actor::begin(router, "chain");
    third.update(&keys[2]);
    ask(&mut third.client, "SET LOCAL lock_timeout = '2500ms'");
    let third = third.waits_for(&keys[1]);
    asleep(1, 1);
    let (_, answer) = third.join().unwrap();
    assert_eq!(
        answer.failed().as_deref(),
        Some("55P03"),
        "{:?}",
        answer.messages
    );
    ask(&mut first.client, "COMMIT");
    let (mut second, answer) = second.join().unwrap();
    assert_eq!(answer.failed(), None, "{:?}", answer.messages);
    ask(&mut second.client, "COMMIT");
    nothing_is_left(cluster());
}

#[test]
fn a_cycle_within_one_shard_is_its_servers_own() {
    let _turn = turn();
    let keys = table("within");
    let router = cluster().router.address;
    let another = one(
        &mut direct(cluster(), 0),
        &format!("SELECT min(k) FROM within WHERE k <> {}", keys[0]),
    );
    let mut first = Actor::begin(router, "within");
    let mut second = Actor::begin(other_router(), "within");
    // Both have been on two shards.
    first.update(&keys[1]);
    second.update(&keys[2]);
    first.update(&keys[0]);
    second.update(&another);
    let first = first.waits_for(&another);
    asleep(0, 1);
    let second = second.waits_for(&keys[0]);
    let failed: Vec<Answer> = [first, second]
        .map(|actor| actor.join().unwrap())
        .map(|(mut actor, answer)| {
            ask(&mut actor.client, "ROLLBACK");
            answer
        })
        .into_iter()
        .filter(|answer| answer.failed().is_some())
        .collect();
    let [failed] = &failed[..] else {
        panic!("{} failed", failed.len())
    };
    assert_eq!(failed.failed().as_deref(), Some("40P01"));
    assert!(
        failed.field(b'D').starts_with("Process "),
        "{:?}",
        failed.messages
    );
    nothing_is_left(cluster());
}

#[test]
fn a_session_on_one_shard_takes_part() {
    let _turn = turn();
    let keys = table("partly");
    let router = cluster().router.address;
    let another = one(
        &mut direct(cluster(), 0),
        &format!("SELECT min(k) FROM partly WHERE k <> {}", keys[0]),
    );
    // first waits on shard 1 for local, local there for second, and second on shard 2 for first.
    let mut first = Actor::begin(router, "partly");
    first.update(&keys[1]);
    let mut second = Actor::begin(router, "partly");
    second.update(&keys[0]);
    let mut local = Actor {
        client: direct(cluster(), 0),
        table: "partly",
    };
    ask(&mut local.client, "BEGIN");
    local.update(&another);
    let local = local.waits_for(&keys[0]);
    asleep(0, 1);
    let first = first.waits_for(&another);
    asleep(0, 2);
    let second = second.waits_for(&keys[1]);
    let (mut second, answer) = second.join().unwrap();
    assert_eq!(answer.failed().as_deref(), Some("40P01"));
    assert!(answer.took < LIMIT, "{:?}", answer.took);
    assert!(
        answer.field(b'D').contains("\nProcess "),
        "{}",
        answer.field(b'D')
    );
    let (mut local, answer) = local.join().unwrap();
    assert_eq!(answer.failed(), None);
    ask(&mut local.client, "COMMIT");
    let (mut first, answer) = first.join().unwrap();
    assert_eq!(answer.failed(), None);
    ask(&mut first.client, "COMMIT");
    ask(&mut second.client, "ROLLBACK");
    nothing_is_left(cluster());
}

#[test]
fn a_savepoint_is_a_way_back() {
    let _turn = turn();
    let keys = table("savepoints");
    let router = cluster().router.address;
    let mut first = Actor::begin(router, "savepoints");
    first.update(&keys[0]);
    let mut second = Actor::begin(router, "savepoints");
    second.update(&keys[2]);
    ask(&mut second.client, "SAVEPOINT s");
    second.update(&keys[1]);
    let first = first.waits_for(&keys[1]);
    asleep(1, 1);
    let (mut second, answer) = second.waits_for(&keys[0]).join().unwrap();
    assert_eq!(answer.failed().as_deref(), Some("40P01"));
    // What was locked since the savepoint is free already.
    let (mut first, answer) = first.join().unwrap();
    assert_eq!(answer.failed(), None);
    ask(&mut first.client, "COMMIT");
    ask(&mut second.client, "ROLLBACK TO s");
    second.update(&keys[0]);
    ask(&mut second.client, "COMMIT");
    assert_eq!(
        one(&mut through(cluster()), "SELECT sum(v) FROM savepoints"),
        "4"
    );
    nothing_is_left(cluster());
}

#[test]
fn a_prepared_statement_fails_alike() {
    let _turn = turn();
    let keys = table("prepared");
    let router = cluster().router.address;
    let mut first = Actor::begin(router, "prepared");
    first.update(&keys[0]);
    let mut second = Actor::begin(router, "prepared");
    second.update(&keys[1]);
    let first = first.waits_for(&keys[1]);
    asleep(1, 1);
    let answer = second
        .client
        .extended(
            "UPDATE prepared SET v = v + 1 WHERE k = $1",
            &[Some(keys[0].as_bytes())],
            false,
        )
        .unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("40P01"));
    // At once, though the victim's client has not said anything yet.
    let (mut first, answer) = first.join().unwrap();
    assert_eq!(answer.failed(), None);
    ask(&mut first.client, "COMMIT");
    ask(&mut second.client, "ROLLBACK");
    nothing_is_left(cluster());
}

/// Two keys in any order, as careless applications do it.
#[test]
fn careless_transfers_all_succeed_in_the_end() {
    let _turn = turn();
    let keys = table("careless");
    let mut all: Vec<String> = keys.clone();
    for (shard, key) in keys.iter().enumerate() {
        let mut server = direct(cluster(), shard);
        all.push(one(
            &mut server,
            &format!("SELECT min(k) FROM careless WHERE k <> {key}"),
        ));
    }
    let actors: Vec<_> = (0..6)
        .map(|number| {
            let all = all.clone();
            thread::spawn(move || {
                let address = match number % 2 {
                    0 => cluster().router.address,
                    _ => other_router(),
                };
                let mut client = Client::connect(address, &[]).unwrap();
                let mut deadlocks = 0;
                for round in 0..8usize {
                    let from = &all[(number * 5 + round * 3) % all.len()];
                    let to = &all[(number * 5 + round * 3 + 1 + number % 4) % all.len()];
                    loop {
                        ask(&mut client, "BEGIN");
                        let failed = [(from, -1), (to, 1)].into_iter().find_map(|(key, by)| {
                            let sql = format!("UPDATE careless SET v = v + ({by}) WHERE k = {key}");
                            sqlstate(&client.query(&sql).unwrap())
                        });
                        match failed.as_deref() {
                            None => {
                                ask(&mut client, "COMMIT");
                                break;
                            }
                            Some("40P01") => deadlocks += 1,
                            Some(other) => panic!("{other}"),
                        }
                        ask(&mut client, "ROLLBACK");
                    }
                }
                deadlocks
            })
        })
        .collect();
    let deadlocks: u32 = actors.into_iter().map(|actor| actor.join().unwrap()).sum();
    println!("{deadlocks} deadlocks");
    let mut client = through(cluster());
    assert_eq!(one(&mut client, "SELECT sum(v) FROM careless"), "0");
    nothing_is_left(cluster());
}

#[test]
fn a_write_over_several_shards_fails_as_one() {
    let _turn = turn();
    let keys = table("wide");
    let router = cluster().router.address;
    let mut first = Actor::begin(router, "wide");
    first.update(&keys[2]);
    first.update(&keys[0]);
    ask(&mut first.client, "SELECT pg_sleep(0.2)");
    let mut second = Actor::begin(router, "wide");
    let wide = format!(
        "UPDATE wide SET v = v + 1 WHERE k IN ({}, {})",
        keys[0], keys[1]
    );
    let second = thread::spawn(move || {
        let answer = second.client.query(&wide).unwrap();
        (second, answer)
    });
    asleep(0, 1);
    let first = first.waits_for(&keys[1]);
    let (mut second, answer) = second.join().unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("40P01"), "{answer:?}");
    let (mut first, answer) = first.join().unwrap();
    assert_eq!(answer.failed(), None);
    assert!(answer.took < LIMIT, "{:?}", answer.took);
    ask(&mut first.client, "COMMIT");
    ask(&mut second.client, "ROLLBACK");
    nothing_is_left(cluster());
}

#[test]
fn a_copy_over_several_shards_fails_alike() {
    let _turn = turn();
    let keys = table("copied");
    let router = cluster().router.address;
    ask(&mut through(cluster()), "DELETE FROM copied");
    let insert = |key: &str| format!("INSERT INTO copied VALUES ({key}, 'x')");
    let mut first = Actor::begin(router, "copied");
    ask(&mut first.client, &insert(&keys[2]));
    ask(&mut first.client, &insert(&keys[0]));
    ask(&mut first.client, "SELECT pg_sleep(0.2)");
    let mut second = Actor::begin(router, "copied");
    let rows = format!("{}\tx\t0\n{}\tx\t0\n", keys[1], keys[0]);
    let second = thread::spawn(move || {
        let mut out = bytes::BytesMut::new();
        router::wire::encode::query(&mut out, b"COPY copied FROM STDIN");
        second.client.send(&out).unwrap();
        assert_eq!(second.client.receive().unwrap().tag, b'G');
        let mut data = vec![b'd'];
        data.extend_from_slice(&(rows.len() as u32 + 4).to_be_bytes());
        data.extend_from_slice(rows.as_bytes());
        data.extend_from_slice(b"c\0\0\0\x04");
        second.client.send(&data).unwrap();
        let answer = second.client.until_ready().unwrap();
        (second, answer)
    });
    asleep(0, 1);
    let sql = insert(&keys[1]);
    let first = thread::spawn(move || {
        let answer = first.client.query(&sql).unwrap();
        (first, answer)
    });
    let (mut second, answer) = second.join().unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("40P01"), "{answer:?}");
    let (mut first, answer) = first.join().unwrap();
    assert_eq!(sqlstate(&answer), None);
    ask(&mut first.client, "COMMIT");
    ask(&mut second.client, "ROLLBACK");
    nothing_is_left(cluster());
}
