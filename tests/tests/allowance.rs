//! `pgweave.scatter`: queries over several shards are allowed, warned of, or forbidden.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use tests::client::{Client, Message, ask};
use tests::cluster::Options;
use tests::shared::Shared;

static SHARED: Shared = Shared::new(|| Options {
    toml: "[[scatter]]\nuser = \"app\"\nmode = \"forbid\"\n".to_owned(),
    ..Options::default()
});

/// One query for each rung above the first.
const QUERIES: [(&str, &str); 3] = [
    ("SELECT k FROM NAME ORDER BY k", "scatter"),
    ("SELECT note, avg(k) + 1 FROM NAME GROUP BY note", "combine"),
    ("SELECT k, rank() OVER (ORDER BY note) FROM NAME", "gather"),
];

fn through(user: &str, options: &[(&str, &str)]) -> Client {
    let mut parameters = vec![("user", user)];
    parameters.extend(options);
    Client::connect(SHARED.cluster().router.address, &parameters).unwrap()
}

fn field(answer: &[Message], tag: u8, code: u8) -> Option<String> {
    let message = answer.iter().find(|message| message.tag == tag)?;
    message.field(code)
}

fn with_table(name: &str) -> Client {
    let mut client = through("postgres", &[]);
    ask(
        &mut client,
        &format!("CREATE TABLE {name} (k int PRIMARY KEY, note text)"),
    );
    ask(
        &mut client,
        &format!("SELECT pgweave.shard_table('{name}', 'k')"),
    );
    client
}

#[test]
fn a_session_chooses() {
    let mut client = with_table("chosen");
    for (sql, rung) in QUERIES {
        let sql = sql.replace("NAME", "chosen");
        ask(&mut client, "SET pgweave.scatter = 'warn'");
        for extended in [false, true] {
            let answer = match extended {
                true => client.extended(&sql, &[], false).unwrap(),
                false => client.query(&sql).unwrap(),
            };
            assert_eq!(field(&answer, b'E', b'M'), None, "{answer:?}");
            let warnings = answer.iter().filter(|message| message.tag == b'N');
            assert_eq!(warnings.count(), 1, "{answer:?}");
            assert_eq!(field(&answer, b'N', b'V').as_deref(), Some("WARNING"));
            let expected = format!("this query asks 2 shards ({rung})");
            assert_eq!(field(&answer, b'N', b'M'), Some(expected));
        }
        ask(&mut client, "SET pgweave.scatter = 'forbid'");
        for sql in [sql.clone(), format!("EXPLAIN ANALYZE {sql}")] {
            let answer = client.query(&sql).unwrap();
            assert_eq!(
                field(&answer, b'E', b'C').as_deref(),
                Some("0A000"),
                "{sql}"
            );
            let hint = field(&answer, b'E', b'H').unwrap();
            assert!(hint.contains("Name the shard key"), "{hint}");
            let answer = client.extended(&sql, &[], false).unwrap();
            assert_eq!(
                field(&answer, b'E', b'C').as_deref(),
                Some("0A000"),
                "{sql}"
            );
        }
        // What one shard answers is nobody's concern, nor is a look at the plan.
        ask(&mut client, "SELECT * FROM chosen WHERE k = 1");
        ask(&mut client, &format!("EXPLAIN {sql}"));
        ask(&mut client, "RESET pgweave.scatter");
        ask(&mut client, &sql);
    }
    ask(&mut client, "BEGIN; SET LOCAL pgweave.scatter = 'forbid'");
    assert_eq!(
        ask(&mut client, "SHOW pgweave.scatter"),
        [[Some("forbid".to_owned())]]
    );
    ask(&mut client, "ROLLBACK");
    assert_eq!(
        ask(&mut client, "SHOW pgweave.scatter"),
        [[Some("allow".to_owned())]]
    );
    let answer = client.query("SET pgweave.scatter = 'perhaps'").unwrap();
    assert_eq!(field(&answer, b'E', b'C').as_deref(), Some("22023"));
}

#[test]
fn the_configuration_and_the_startup_choose_for_it() {
    let mut client = with_table("given");
    ask(
        &mut client,
        "CREATE ROLE app LOGIN; GRANT ALL ON given TO app",
    );
    for (user, options, refused) in [
        ("app", vec![], true),
        ("app", vec![("options", "-c pgweave.scatter=allow")], false),
        ("postgres", vec![], false),
        (
            "postgres",
            vec![("options", "-c pgweave.scatter=forbid")],
            true,
        ),
    ] {
        let mut client = through(user, &options);
        let answer = client.query("SELECT k FROM given").unwrap();
        assert_eq!(
            field(&answer, b'E', b'C').as_deref() == Some("0A000"),
            refused,
            "{user} {options:?}: {answer:?}"
        );
        ask(&mut client, "SELECT k FROM given WHERE k = 1");
    }
}
