//! `pgweave.scatter`: whether a session's queries may ask several shards.
//!
//! Entry point: [`Session::allow_several`], before a query of any rung above the first is run.

use std::collections::BTreeSet;

use catalog::{Catalog, ShardId};
use planner::{CopyRows, Gather, GatherPlace, Plan, Spread, SpreadKind};

use super::report::Report;
use super::{Session, Step, explain};
use crate::config::ScatterMode;

/// What a client can do about it.
const HINT: &str = "Name the shard key in the query, so that one shard can answer it; or SET pgweave.scatter = 'allow'.";

impl Session {
    /// Refuses the query, or warns of it, as the session is set.
    pub(super) fn allow_several(&mut self, plan: &Plan, catalog: &Catalog) -> Step {
        if self.derived.scatter == ScatterMode::Allow {
            return Ok(());
        }
        let shards = shards_of(plan, catalog);
        if shards < 2 {
            return Ok(());
        }
        let rung = explain::rung(plan).unwrap_or_default().to_lowercase();
        if self.derived.scatter == ScatterMode::Forbid {
            return Err(Report::error(
                "0A000",
                format!("this query needs {shards} shards ({rung}), which pgweave.scatter forbids"),
            )
            .hint(HINT)
            .into());
        }
        self.notice(
            Report::warning("01000", format!("this query asks {shards} shards ({rung})"))
                .hint(HINT),
        );
        Ok(())
    }
}

/// How many shards a query asks for rows.
fn shards_of(plan: &Plan, catalog: &Catalog) -> usize {
    let of_group = |group, only: Option<&[ShardId]>| match only {
        Some(shards) => shards.to_vec(),
        None => {
            let group = catalog.group(group);
            group.map_or(Vec::new(), |group| group.map.shards().into_iter().collect())
        }
    };
    let gathered = |gather: &Gather| {
        let groups = gather.tables.iter().filter_map(|table| match table.place {
            GatherPlace::Group(group) => Some(of_group(group, None)),
            GatherPlace::Everywhere | GatherPlace::Shard(_) => None,
        });
        let shards: BTreeSet<ShardId> = groups.flatten().collect();
        shards.len()
    };
    match plan {
        Plan::Scatter(scatter) => of_group(scatter.group, scatter.shards.as_deref()).len(),
        Plan::Gather(gather) => match &gather.combine {
            Some(combine) => of_group(combine.group, combine.shards.as_deref()).len(),
            None => gathered(gather),
        },
        Plan::CopyOut(copy) => match &copy.rows {
            CopyRows::Shards { group, shards, .. } => of_group(*group, shards.as_deref()).len(),
            CopyRows::Query(plan) => shards_of(plan, catalog),
        },
        Plan::Spread(Spread {
            kind: SpreadKind::Each(shards),
            group,
            ..
        }) => of_group(*group, shards.as_deref()).len(),
        _ => 1,
    }
}
