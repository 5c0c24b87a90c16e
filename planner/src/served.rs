//! What the router itself has rows of: relations and functions of schema `pgweave` that tell of the whole cluster.
//!
//! Entry points: [`view`] and [`size_function`].

/// Where the rows of a relation of schema `pgweave` come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// The catalog's home, wherever it is.
    Home,
    /// The relation of this name in `pg_catalog` on every shard, with a column `shard` before its own.
    Shards,
}

const HOME: [&str; 5] = ["shards", "tables", "placements", "sequences", "routers"];

const SHARDS: [&str; 9] = [
    "pg_stat_activity",
    "pg_stat_user_tables",
    "pg_stat_user_indexes",
    "pg_statio_user_tables",
    "pg_statio_user_indexes",
    "pg_stat_database",
    "pg_stat_replication",
    "pg_locks",
    "pg_prepared_xacts",
];

const SIZES: [&str; 4] = [
    "pg_relation_size",
    "pg_table_size",
    "pg_indexes_size",
    "pg_total_relation_size",
];

/// The relation of schema `pgweave` of this name, if it tells of the cluster.
pub(crate) fn view(name: &str) -> Option<(&'static str, Served)> {
    let find = |names: &[&'static str]| names.iter().find(|known| **known == name).copied();
    match (find(&HOME), find(&SHARDS)) {
        (Some(name), _) => Some((name, Served::Home)),
        (None, Some(name)) => Some((name, Served::Shards)),
        (None, None) => None,
    }
}

/// The function of schema `pgweave` of this name that adds up the sizes of a relation on all shards.
pub(crate) fn size_function(name: &str) -> Option<&'static str> {
    SIZES.iter().find(|known| **known == name).copied()
}
