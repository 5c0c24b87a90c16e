//! A bank over the servers: transfers, what they were answered, and whether the servers hold the same.
//!
//! Each transfer leaves a row with its name for each account in the transaction that changes the balances, so that afterwards the servers
//! tell whether it took effect: wholly, or not at all.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use crate::docker::eventually;
use crate::fleet::Fleet;

const BALANCE: i64 = 1_000_000;

pub struct Bank {
    /// The accounts on each server.
    pub accounts: Vec<Vec<i32>>,
}

#[derive(Clone, Debug)]
pub struct Transfer {
    pub name: String,
    /// Accounts and what each gets; the sum is zero.
    pub parts: Vec<(i32, i64)>,
}

/// What a client knows of its transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Committed,
    /// An error says that nothing is committed, or COMMIT was never sent.
    Refused(String),
    /// 08007, with the name to ask for if it has one.
    Unknown(Option<String>),
    /// The connection to the router broke during COMMIT.
    Silence,
}

impl Bank {
    pub fn open(fleet: &Fleet) -> Bank {
        let client = fleet.connect(&fleet.routers[0]).unwrap();
        for sql in [
            "CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL)".to_owned(),
            "CREATE TABLE ledger (account int, transfer text, amount bigint, PRIMARY KEY (account, transfer))".to_owned(),
            "SELECT pgweave.shard_table('account', 'id')".to_owned(),
            "SELECT pgweave.shard_table('ledger', 'account', colocate_with => 'account')".to_owned(),
            format!("INSERT INTO account SELECT n, {BALANCE} FROM generate_series(1, 64) AS n"),
        ] {
            fleet.runtime.block_on(client.batch_execute(&sql)).unwrap();
        }
        let accounts = fleet.servers.iter().map(|server| {
            let ids = server.ask("SELECT id FROM account ORDER BY id");
            ids.iter().map(|id| id.parse().unwrap()).collect()
        });
        Bank {
            accounts: accounts.collect(),
        }
    }

    /// Moves money from the first account of a shard to the first of another.
    pub fn transfer(&self, name: &str, from: usize, to: usize) -> Transfer {
        Transfer {
            name: name.to_owned(),
            parts: vec![(self.accounts[from][0], -1), (self.accounts[to][0], 1)],
        }
    }

    /// Compares the answers with what is on the servers, which all run. Returns how many transfers took effect.
    pub fn audit(&self, fleet: &Fleet, answers: &[(Transfer, Answer)]) -> usize {
        let mut entries: BTreeMap<String, Vec<(i32, i64)>> = BTreeMap::new();
        let mut total = 0;
        for server in &fleet.servers {
            let wrong = server.ask(&format!(
                "SELECT id FROM account WHERE balance <> {BALANCE} + \
                 (SELECT coalesce(sum(amount), 0) FROM ledger WHERE ledger.account = account.id)"
            ));
            assert!(wrong.is_empty(), "balances without entries: {wrong:?}");
            for row in server.ask("SELECT transfer || '|' || account || '|' || amount FROM ledger")
            {
                let mut values = row.split('|');
                let name = values.next().unwrap().to_owned();
                let account = values.next().unwrap().parse().unwrap();
                let amount = values.next().unwrap().parse().unwrap();
                entries.entry(name).or_default().push((account, amount));
            }
            let sum = server.ask("SELECT sum(balance)::bigint FROM account");
            total += sum[0].parse::<i64>().unwrap();
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
                    assert!(!committed, "{name} was refused with {why} and took effect");
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

/// What a router says of a transaction, once it is decided.
pub fn status(fleet: &Fleet, gid: &str) -> String {
    let sql = format!("SELECT pgweave.transaction_status('{gid}')");
    let mut status = String::new();
    eventually("a transaction to be decided", || {
        let Some(client) = fleet.connect(&fleet.routers[1]) else {
            return false;
        };
        let Ok(row) = fleet.runtime.block_on(client.query_one(&sql, &[])) else {
            return false;
        };
        status = row.get(0);
        status != "in progress"
    });
    status
}

impl Transfer {
    pub async fn run(&self, client: &Client) -> Answer {
        for sql in self.statements() {
            if let Err(error) = client.batch_execute(&sql).await {
                // If that fails, the connection is of no use any more, which the next statement shows.
                let _ = client.batch_execute("ROLLBACK").await;
                return Answer::Refused(error.to_string());
            }
        }
        let error = match client.simple_query("COMMIT").await {
            Ok(_) => return Answer::Committed,
            Err(error) => error,
        };
        match error.as_db_error() {
            None => Answer::Silence,
            Some(error) if error.code().code() == "08007" => {
                let gid = error
                    .message()
                    .split(' ')
                    .find(|word| word.starts_with("pgweave_"));
                Answer::Unknown(gid.map(str::to_owned))
            }
            Some(error) => Answer::Refused(error.code().code().to_owned()),
        }
    }

    fn statements(&self) -> Vec<String> {
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
        statements
    }
}
