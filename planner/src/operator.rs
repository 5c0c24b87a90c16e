//! The operator's dialect. The only file that names sqlparser.
//!
//! Entry points: [`statement`], [`shown`].

use crate::{AdminCall, Error};

/// The setting that `SHOW name` means when it is one of the operator's views.
pub(crate) fn shown(name: &str) -> Option<String> {
    const VIEWS: [&str; 8] = [
        "shards",
        "tables",
        "placements",
        "pools",
        "sessions",
        "groups",
        "routers",
        "replicas",
    ];
    let name = name.to_ascii_lowercase();
    if VIEWS.contains(&name.as_str()) {
        Some(format!("pgweave.{name}"))
    } else {
        None
    }
}

/// Tries a text that PostgreSQL's grammar rejects.
pub(crate) fn statement(sql: &str) -> Option<Result<AdminCall, Error>> {
    let _ = sql;
    None
}
