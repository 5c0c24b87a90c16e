//! What the demo says once all is up.

use std::net::SocketAddr;

use crate::local::LocalCluster;

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

/// Prints to standard output; the last line begins with `ready`.
pub fn print(cluster: &LocalCluster, address: SocketAddr) {
    let connect = format!(
        "psql -h {} -p {} -U postgres {}",
        address.ip(),
        address.port(),
        super::DATABASE
    );
    println!("\nThe servers behind the router, all on 127.0.0.1:");
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
        println!(
            "  {}: primary {}{replicas}",
            shard.name,
            shard.primary.port()
        );
    }
    println!("Files and logs: {}", cluster.directory().display());
    println!("\nConnect with any PostgreSQL client, without a password:\n  {connect}");
    println!("\nStatements worth trying:");
    for (what, statement) in STATEMENTS {
        println!("  -- {what}\n  {statement}");
    }
    println!("\nCtrl-C stops everything; the next start goes on with the same data.");
    println!("ready: {connect}");
}
