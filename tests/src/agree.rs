//! The oracle: one script on a plain PostgreSQL and on pgweave must leave the same transcript.

use std::net::SocketAddr;

use crate::client::Client;
use crate::conversation::Conversation;
use crate::shared::Shared;

/// The database beside the cluster's own that plays the plain PostgreSQL.
const PLAIN: &str = "plain";

/// Runs a script on both. On pgweave it runs several times, so that both shards answer statements without tables, and
/// pooled connections are met cold and warm. `setup` runs before each run, directly on the server that has the
/// tables which nobody has declared.
pub fn agree(shared: &Shared, setup: &str, script: impl Fn(&mut Conversation)) {
    let server = SocketAddr::from((
        [127, 0, 0, 1],
        shared.cluster().local.shards()[0].primary.port(),
    ));
    let router = shared.cluster().router.address;
    create_database(shared);
    let run = |address, database: &str| {
        prepare(server, database, setup);
        let mut conversation = Conversation::open(address, database, &[]).unwrap();
        script(&mut conversation);
        conversation.lines
    };
    let expected = run(server, PLAIN);
    for round in 0..3 {
        let found = run(router, "postgres");
        compare(&expected, &found, round);
    }
}

fn prepare(server: SocketAddr, database: &str, setup: &str) {
    if setup.is_empty() {
        return;
    }
    let mut client = Client::connect(server, &[("database", database)]).unwrap();
    let answer = client.query(setup).unwrap();
    if let Some(error) = answer.iter().find(|message| message.tag == b'E') {
        panic!("setup failed: {error:?}");
    }
}

fn create_database(shared: &Shared) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let port = shared.cluster().local.shards()[0].primary.port();
        let mut client = Client::connect(SocketAddr::from(([127, 0, 0, 1], port)), &[]).unwrap();
        let answer = client
            .query(&format!("CREATE DATABASE {PLAIN} TEMPLATE template0"))
            .unwrap();
        assert!(
            answer.iter().all(|message| message.tag != b'E'),
            "{answer:?}"
        );
    });
}

/// What a server reports of its own accord (settings, notifications) comes before ReadyForQuery; up to PostgreSQL 13
/// before CommandComplete, since 14 after it. Here it stands last.
fn settled(lines: &[String]) -> Vec<String> {
    let is_report =
        |line: &String| line.starts_with("ParameterStatus") || line.starts_with("Notification");
    let mut settled = Vec::new();
    for answer in lines.split_inclusive(|line| line.starts_with("Ready")) {
        let (ready, rest) = match answer.split_last() {
            Some((ready, rest)) if ready.starts_with("Ready") => (Some(ready), rest),
            _ => (None, answer),
        };
        settled.extend(rest.iter().filter(|line| !is_report(line)).cloned());
        let mut reports: Vec<_> = rest
            .iter()
            .filter(|line| is_report(line))
            .cloned()
            .collect();
        // Settings that change together are reported in no order of meaning; notifications keep theirs.
        reports.sort_by_key(|line| {
            if line.starts_with("Notification") {
                String::new()
            } else {
                line.clone()
            }
        });
        settled.extend(reports);
        settled.extend(ready.cloned());
    }
    settled
}

fn compare(expected: &[String], found: &[String], round: usize) {
    let (expected, found) = (&settled(expected), &settled(found));
    if expected == found {
        return;
    }
    let same = expected
        .iter()
        .zip(found)
        .take_while(|(one, other)| one == other)
        .count();
    let mut text = String::new();
    for line in &expected[same.saturating_sub(6)..same] {
        text.push_str(&format!("  {line}\n"));
    }
    for (sign, lines) in [("PostgreSQL", expected), ("pgweave   ", found)] {
        for line in lines.iter().skip(same).take(8) {
            text.push_str(&format!("{sign}: {line}\n"));
        }
    }
    panic!("round {round}: the transcripts part at line {same}:\n{text}");
}
