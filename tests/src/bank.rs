//! A bank over all shards of a fleet: what its transfers were answered, and what the servers hold of them.
//!
//! Entry points: [`Bank::open`], [`Transfer::run`], [`Bank::audit`]. Each transfer changes balances and leaves a row with its name for each
//! account, in one transaction, so that afterwards the servers tell whether it took effect: wholly, or not at all.

use std::collections::BTreeMap;

use crate::client::{Client, Message, ask, one, sqlstate};
use crate::fleet::{Fleet, eventually};

const BALANCE: i64 = 1_000_000;

/// The accounts of each shard.
pub struct Bank {
    pub accounts: Vec<Vec<i32>>,
}

/// Money that moves in one transaction.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub name: String,
    /// Accounts and what each gets; the sum is zero.
    pub parts: Vec<(i32, i64)>,
    /// An account that is only locked.
    pub locks: Option<i32>,
}

/// What a client knows of its transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// COMMIT was answered so.
    Committed,
    /// An error says that nothing is committed, or COMMIT was never sent.
    Refused(String),
    /// 08007, with the name to ask for if it has one.
    Unknown(Option<String>),
    /// The connection to the router broke during COMMIT.
    Silence,
}

impl Bank {
    /// Makes the tables, with at least `per_shard` accounts on each shard.
    pub fn open(fleet: &Fleet, per_shard: usize) -> Bank {
        let mut client = fleet.routers[0].client();
        let count = per_shard * fleet.shards() * 4;
        for sql in [
            "CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL)".to_owned(),
            "CREATE TABLE ledger (account int, transfer text, amount bigint, PRIMARY KEY (account, transfer))".to_owned(),
            "SELECT pgweave.shard_table('account', 'id')".to_owned(),
            "SELECT pgweave.shard_table('ledger', 'account', colocate_with => 'account')".to_owned(),
            format!("INSERT INTO account SELECT n, {BALANCE} FROM generate_series(1, {count}) AS n"),
        ] {
            ask(&mut client, &sql);
        }
        let accounts: Vec<Vec<i32>> = (0..fleet.shards())
            .map(|shard| {
                let rows = ask(
                    &mut fleet.server(shard),
                    "SELECT id FROM account ORDER BY id",
                );
                rows.iter()
                    .map(|row| row[0].as_ref().unwrap().parse().unwrap())
                    .collect()
            })
            .collect();
        assert!(accounts.iter().all(|accounts| accounts.len() >= per_shard));
        Bank { accounts }
    }

    /// Moves money from the first of these shards to the others; between two accounts if a shard is named twice.
    pub fn transfer(&self, name: &str, shards: &[usize]) -> Transfer {
        let amount = shards.len() as i64 - 1;
        let part = |(index, shard): (usize, &usize)| {
            let before = &shards[..index];
            let number = before.iter().filter(|other| *other == shard).count();
            let account = self.accounts[*shard][number];
            (account, if index == 0 { -amount } else { 1 })
        };
        Transfer {
            name: name.to_owned(),
            parts: shards.iter().enumerate().map(part).collect(),
            locks: None,
        }
    }

    /// Compares the answers with what is on the servers, which all run. Returns how many transfers took effect.
    #[track_caller]
    pub fn audit(&self, fleet: &Fleet, answers: &[(Transfer, Answer)]) -> usize {
        let mut entries: BTreeMap<String, Vec<(i32, i64)>> = BTreeMap::new();
        let mut total = 0;
        for shard in 0..fleet.shards() {
            let mut server = fleet.server(shard);
            let wrong = ask(
                &mut server,
                &format!(
                    "SELECT id, balance FROM account WHERE balance <> {BALANCE} + \
                     (SELECT coalesce(sum(amount), 0) FROM ledger WHERE ledger.account = account.id)"
                ),
            );
            assert!(wrong.is_empty(), "balances without entries: {wrong:?}");
            for row in ask(&mut server, "SELECT transfer, account, amount FROM ledger") {
                let value = |index: usize| row[index].clone().unwrap();
                entries
                    .entry(value(0))
                    .or_default()
                    .push((value(1).parse().unwrap(), value(2).parse().unwrap()));
            }
            let sum = "SELECT sum(balance)::bigint FROM account";
            total += one(&mut server, sum).parse::<i64>().unwrap();
        }
        let count: usize = self.accounts.iter().map(Vec::len).sum();
        assert_eq!(total, BALANCE * count as i64, "money has come or gone");
        let mut took_effect = 0;
        for (transfer, answer) in answers {
            let name = &transfer.name;
            let mut found = entries.remove(name).unwrap_or_default();
            let mut wanted = transfer.parts.clone();
            found.sort_unstable();
            wanted.sort_unstable();
            assert!(
                found.is_empty() || found == wanted,
                "{name} took effect by half: {found:?} of {wanted:?}, answered {answer:?}"
            );
            let committed = !found.is_empty();
            took_effect += usize::from(committed);
            match answer {
                Answer::Committed => assert!(committed, "{name} was acknowledged and is lost"),
                Answer::Refused(why) => {
                    assert!(!committed, "{name} was refused with {why} and took effect")
                }
                Answer::Unknown(Some(gid)) => {
                    let status = status(fleet, gid);
                    assert_eq!(status == "committed", committed, "{name} is {status}");
                }
                Answer::Unknown(None) | Answer::Silence => {}
            }
        }
        assert!(
            entries.is_empty(),
            "of transfers that nobody made: {entries:?}"
        );
        took_effect
    }
}

/// What the routers that run say of a transaction, once it is decided.
pub fn status(fleet: &Fleet, gid: &str) -> String {
    let router = fleet.routers.iter().find(|router| router.is_running());
    let mut client = router.unwrap().client();
    let mut status = String::new();
    eventually("a transaction to be decided", || {
        status = one(
            &mut client,
            &format!("SELECT pgweave.transaction_status('{gid}')"),
        );
        status != "in progress"
    });
    status
}

impl Transfer {
    /// Runs it to its COMMIT.
    pub fn run(&self, client: &mut Client) -> Answer {
        if let Err(answer) = self.prepare(client) {
            return answer;
        }
        commit(client)
    }

    /// All of it but COMMIT. If a statement fails, the transaction is rolled back.
    pub fn prepare(&self, client: &mut Client) -> Result<(), Answer> {
        for sql in self.statements() {
            match client.query(&sql) {
                Err(error) => return Err(Answer::Refused(error.to_string())),
                Ok(answer) => {
                    if let Some(code) = sqlstate(&answer) {
                        // If that fails, the next statement on the connection says so.
                        let _ = client.query("ROLLBACK");
                        return Err(Answer::Refused(code));
                    }
                }
            }
        }
        Ok(())
    }

    /// BEGIN, and what it changes.
    pub fn statements(&self) -> Vec<String> {
        let mut statements = vec!["BEGIN".to_owned()];
        for (account, amount) in &self.parts {
            statements.push(format!(
                "UPDATE account SET balance = balance + {amount} WHERE id = {account}"
            ));
            statements.push(format!(
                "INSERT INTO ledger VALUES ({account}, '{}', {amount})",
                self.name
            ));
        }
        if let Some(account) = self.locks {
            statements.push(format!(
                "SELECT balance FROM account WHERE id = {account} FOR UPDATE"
            ));
        }
        statements
    }
}

/// Sends COMMIT and reads what it is answered.
pub fn commit(client: &mut Client) -> Answer {
    match client.query("COMMIT") {
        Ok(messages) => read_answer(&messages),
        Err(_) => Answer::Silence,
    }
}

/// What a COMMIT was answered.
pub fn read_answer(messages: &[Message]) -> Answer {
    let error = messages.iter().find(|message| message.tag == b'E');
    let Some(error) = error else {
        let tags: Vec<_> = messages
            .iter()
            .filter(|message| message.tag == b'C')
            .map(|message| String::from_utf8_lossy(&message.body).into_owned())
            .collect();
        return match tags.last().map(|tag| tag.trim_end_matches('\0')) {
            Some("COMMIT") => Answer::Committed,
            Some("ROLLBACK") => Answer::Refused("ROLLBACK".to_owned()),
            other => panic!("COMMIT was answered {other:?}"),
        };
    };
    let code = error.field(b'C').unwrap_or_default();
    if code != "08007" {
        return Answer::Refused(code);
    }
    let text = error.field(b'M').unwrap_or_default();
    let gid = text.split(' ').find(|word| word.starts_with("pgweave_"));
    Answer::Unknown(gid.map(str::to_owned))
}
