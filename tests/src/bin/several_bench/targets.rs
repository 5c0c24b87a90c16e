//! What is wanted, beside what was measured: on two shards, the median.

use std::fmt::Write;

use ::tests::bench::spread::Spread;

use crate::measure::Subject;
use crate::report::Report;
use crate::statement::{ALL, COUNT_OF_RANGE, JOIN_OFF_KEY, LIMIT_TEN, Road, SELECT_BY_KEY};

const SHARDS: usize = 2;

/// One target.
struct Target {
    what: String,
    wanted: String,
    measured: Spread,
    met: bool,
}

/// What could be compared, as a table.
pub fn table(report: &Report) -> String {
    let mut text =
        String::from("| target, with 2 shards | wanted | measured | |\n|---|---:|---:|---|\n");
    for target in targets(report) {
        let digits = if target.measured.median < 10.0 { 2 } else { 0 };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            target.what,
            target.wanted,
            target.measured.shown(digits),
            if target.met { "met" } else { "missed" }
        );
    }
    text
}

fn targets(report: &Report) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut at_most = |what: String, unit: &str, limit: f64, measured: Option<Spread>| {
        targets.extend(measured.map(|measured| Target {
            what,
            wanted: format!("≤ {limit} {unit}"),
            measured,
            met: measured.median <= limit,
        }));
    };
    let compared = |name, clients| report.compared(name, clients, Subject::Pgweave(SHARDS));
    for (name, limit) in [
        (SELECT_BY_KEY, 9.0),
        (LIMIT_TEN, 25.0),
        (COUNT_OF_RANGE, 25.0),
    ] {
        let cpu = Spread::of(compared(name, 16).cpu_us);
        at_most(
            format!("router's processor, {name}, 16 clients"),
            "µs",
            limit,
            cpu,
        );
    }
    for statement in ALL {
        // A stream is as slow as its one client; merging has a target of its own.
        let scattered = statement.road == Road::All && !statement.streams;
        if scattered && statement.name != JOIN_OFF_KEY {
            let beyond = Spread::of(compared(statement.name, 1).beyond_share_us());
            let what = format!(
                "beyond the slowest shard and 15 %, {}, 1 client",
                statement.name
            );
            at_most(what, "µs", 300.0, beyond);
        }
    }
    let beyond = Spread::of(compared(JOIN_OFF_KEY, 1).beyond_us());
    at_most(
        format!("beyond the shards, {JOIN_OFF_KEY}, 1 client"),
        "µs",
        3000.0,
        beyond,
    );
    let mut at_least = |what: &str, wanted: &str, limit: f64, measured: Option<Spread>| {
        targets.extend(measured.map(|measured| Target {
            what: what.to_owned(),
            wanted: wanted.to_owned(),
            measured,
            met: measured.median >= limit,
        }));
    };
    let million = |spread: Spread| Spread {
        min: spread.min / 1e6,
        median: spread.median / 1e6,
        max: spread.max / 1e6,
    };
    let merging = report.merging(SHARDS).map(million);
    at_least(
        "merging, million rows a second of processor",
        "≥ 2",
        2.0,
        merging,
    );
    let gathering = report.gathering(SHARDS);
    at_least(
        "gathering, as a share of psql's COPY",
        "≥ 0.7",
        0.7,
        gathering,
    );
    targets
}
