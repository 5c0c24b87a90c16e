//! The tables of TPC-H, as large as one likes.

use std::path::{Path, PathBuf};

use crate::differential::script::Script;
use crate::process::Failure;

/// Where its scripts are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/tpch")
}

/// The script that makes and fills them. At scale 1 there are six million rows in `lineitem`, in proportion else.
pub fn tables(scale: f64) -> Result<Script, Failure> {
    let path = directory().join("tables.sql");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure(format!("cannot read {}: {error}", path.display())))?;
    let counts = [
        // A few suppliers must find each nation.
        (":suppliers", (scale * 1e4).max(20.0)),
        (":parts", scale * 2e5),
        (":customers", scale * 1.5e5),
        (":orders", scale * 1.5e6),
    ];
    let text = counts.iter().fold(text, |text, (name, count)| {
        text.replace(name, &format!("{count:.0}"))
    });
    Script::parse("tables", &text)
}
