//! What the demo says once all is up.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;

use crate::local::LocalCluster;

/// Worth trying first without the sample.
const EMPTY_STATEMENTS: &[(&str, &str)] = &[
    (
        "a table, for now on one shard",
        "CREATE TABLE notes (author text, note_id int, note text, PRIMARY KEY (author, note_id));",
    ),
    (
        "over all shards, by author",
        "SELECT pgweave.shard_table('notes', 'author');",
    ),
    (
        "a row, found on one shard",
        "INSERT INTO notes VALUES ('ada', 1, 'hello') RETURNING *;",
    ),
    (
        "where a statement goes, and why",
        "EXPLAIN SELECT * FROM notes WHERE author = 'ada';",
    ),
    ("what is where", "SELECT * FROM pgweave.tables;"),
];

/// Worth trying first; each shows something else.
const STATEMENTS: &[(&str, &str)] = &[
    (
        "one customer, found on one shard",
        "SELECT * FROM customers WHERE customer_id = 42;",
    ),
    (
        "a join that stays on that shard",
        "SELECT o.order_id, o.status, sum(l.quantity * l.price_cents) AS cents FROM orders o JOIN order_lines l \
         USING (customer_id, order_id) WHERE o.customer_id = 42 GROUP BY 1, 2 ORDER BY 1;",
    ),
    (
        "where a statement goes, and why",
        "EXPLAIN SELECT p.name, l.quantity FROM order_lines l JOIN products p USING (product_id) WHERE l.customer_id = 42;",
    ),
    (
        "a change on one shard",
        "UPDATE orders SET status = 'shipped' WHERE customer_id = 42 AND order_id = 1;",
    ),
    ("what is where", "SELECT * FROM pgweave.tables;"),
];

/// Prints to standard output, with statements for the sample if it is there; the last line begins with `ready`.
pub fn print(cluster: &LocalCluster, address: SocketAddr, sample: bool) {
    let mut text = String::new();
    let connect = format!(
        "psql -h {} -p {} -U postgres {}",
        address.ip(),
        address.port(),
        super::DATABASE
    );
    let _ = writeln!(text, "\nThe servers behind the router, all on 127.0.0.1:");
    for shard in cluster.shards() {
        let replicas: Vec<String> = shard
            .replicas
            .iter()
            .map(|replica| replica.port().to_string())
            .collect();
        let replicas = if replicas.is_empty() {
            String::new()
        } else {
            format!(", replicas {}", replicas.join(", "))
        };
        let _ = writeln!(
            text,
            "  {}: primary {}{replicas}",
            shard.name,
            shard.primary.port()
        );
    }
    let _ = writeln!(text, "Files and logs: {}", cluster.directory().display());
    let _ = writeln!(
        text,
        "\nConnect with any PostgreSQL client, without a password:\n  {connect}"
    );
    let _ = writeln!(text, "\nStatements worth trying:");
    for (what, statement) in if sample { STATEMENTS } else { EMPTY_STATEMENTS } {
        let _ = writeln!(text, "  -- {what}\n  {statement}");
    }
    let _ = writeln!(
        text,
        "\nCtrl-C stops everything; the next start goes on with the same data."
    );
    let _ = writeln!(text, "ready: {connect}");
    // Whoever closed the pipe has read enough; the demo goes on.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
