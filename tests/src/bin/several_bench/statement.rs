//! The statements that are measured.

/// One statement, as pgbench runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    pub name: &'static str,
    /// `\set` lines of pgbench, separated by `;`. `:rows` is set.
    pub variables: &'static str,
    pub sql: &'static str,
    pub road: Road,
    /// Rows of its result, if it is about streaming them.
    pub streams: bool,
}

/// Who has the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    /// One shard.
    One,
    /// All shards.
    All,
}

impl Statement {
    /// More clients only wait longer for what keeps the servers busy by itself.
    pub fn suits(&self, clients: u32) -> bool {
        !self.streams || clients == 1
    }

    /// A script for pgbench: this one's variables, then `statements` over them.
    pub fn script(&self, statements: &[String]) -> String {
        let mut script = String::new();
        for variable in self.variables.split_terminator(';') {
            script.push_str("\\set ");
            script.push_str(variable.trim());
            script.push('\n');
        }
        for statement in statements {
            script.push_str(statement);
            script.push_str(";\n");
        }
        script
    }
}

pub const SELECT_BY_KEY: &str = "select by key";
pub const COUNT_OF_RANGE: &str = "count(*) of 100 ids";
pub const LIMIT_TEN: &str = "ORDER BY … LIMIT 10";
pub const JOIN_OFF_KEY: &str = "join off the key, 400 rows gathered";
pub const STREAM: &str = "ORDER BY of everything, streamed";

/// All statements, in the order they run and are reported.
pub const ALL: [Statement; 11] = [
    Statement {
        name: SELECT_BY_KEY,
        variables: "id random(1, :rows)",
        sql: "SELECT balance FROM accounts WHERE id = :id",
        road: Road::One,
        streams: false,
    },
    Statement {
        name: COUNT_OF_RANGE,
        variables: "lo random(1, :rows - 100); hi :lo + 99",
        sql: "SELECT count(*) FROM accounts WHERE id BETWEEN :lo AND :hi",
        road: Road::All,
        streams: false,
    },
    Statement {
        name: LIMIT_TEN,
        variables: "lo random(1, :rows - 100)",
        sql: "SELECT id, balance FROM accounts WHERE id >= :lo ORDER BY id LIMIT 10",
        road: Road::All,
        streams: false,
    },
    Statement {
        name: "GROUP BY, 1,000 rows in 20 groups",
        variables: "lo random(1, :rows - 1000); hi :lo + 999",
        sql: "SELECT region, count(*), sum(balance) FROM accounts WHERE id BETWEEN :lo AND :hi GROUP BY region",
        road: Road::All,
        streams: false,
    },
    Statement {
        name: "GROUP BY, 10,000 rows in 5,000 groups",
        variables: "lo random(1, :rows - 10000); hi :lo + 9999",
        sql: "SELECT bucket, count(*), sum(balance) FROM accounts WHERE id BETWEEN :lo AND :hi GROUP BY bucket",
        road: Road::All,
        streams: false,
    },
    Statement {
        name: "GROUP BY … HAVING avg, 1,000 rows",
        variables: "lo random(1, :rows - 1000); hi :lo + 999",
        sql: "SELECT region, avg(balance) FROM accounts WHERE id BETWEEN :lo AND :hi GROUP BY region HAVING avg(balance) > 500",
        road: Road::All,
        streams: false,
    },
    Statement {
        name: "join with the reference table, 100 rows",
        variables: "lo random(1, :rows - 100); hi :lo + 99",
        sql: "SELECT accounts.id, regions.name FROM accounts JOIN regions ON regions.id = accounts.region WHERE accounts.id BETWEEN :lo AND :hi",
        road: Road::All,
        streams: false,
    },
    Statement {
        name: "colocated join, 100 rows",
        variables: "lo random(1, :rows - 100); hi :lo + 99",
        sql: "SELECT accounts.id, entries.amount FROM accounts JOIN entries ON entries.account = accounts.id WHERE accounts.id BETWEEN :lo AND :hi AND entries.account BETWEEN :lo AND :hi",
        road: Road::All,
        streams: false,
    },
    Statement {
        name: JOIN_OFF_KEY,
        variables: "lo random(1, :rows - 200); hi :lo + 199",
        sql: "SELECT accounts.id, entries.amount FROM accounts JOIN entries ON entries.payer = accounts.id WHERE accounts.id BETWEEN :lo AND :hi AND entries.account BETWEEN :lo AND :hi",
        road: Road::All,
        streams: false,
    },
    Statement {
        name: "count(*) of everything",
        variables: "",
        sql: "SELECT count(*) FROM accounts",
        road: Road::All,
        streams: false,
    },
    Statement {
        name: STREAM,
        variables: "",
        sql: "SELECT id, region, balance FROM accounts ORDER BY id",
        road: Road::All,
        streams: true,
    },
];
