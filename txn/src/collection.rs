//! One pass that deletes decision rows nobody can need any more.
//!
//! Entry points: [`Collection::start`], then [`Collection::step`] until [`Collection::is_done`].
//!
//! ```text
//! every shard: list decisions older than the retention      (1)
//! every shard: list prepared transactions, after all of (1) (2)
//! every shard: delete the rows that the rules below free    (3)
//! ```
//!
//! # A `commit` row
//! It is needed by participants still prepared, and by a coordinator that lost its COMMIT's answer and asks.
//! - All participants were prepared before the row was committed, each by a command that was answered, so no PREPARE
//!   of this transaction can arrive after (1). The set of its prepared participants only shrinks. Seen empty once, in
//!   (2), it is empty for good.
//! - A coordinator stops asking, and ignores answers, when its deadline passes. The retention must exceed
//!   the sum of its deadlines (voting, deciding, resolving); [`RETENTION_MS_MINIMUM`] does by far. For the
//!   same time the row answers whoever asks with a gid.
//! - The retention also covers a failover of a participant to a replica that had not yet received its COMMIT
//!   PREPARED: there it is prepared again, and the row must still be there.
//!
//! # An `abort` row
//! It is needed to stop a late coordinator: its `commit` row must meet this one. That row comes in the decider's open
//! transaction, which began before any participant was prepared, hence before anybody could find one
//! and insert the abort. When no transaction on that shard is older than the abort row, the late coordinator's is gone, and
//! no other can ever carry this gid. PostgreSQL tells this of itself ([`crate::decision::DecisionRow::settled`]), whatever
//! became of the router and its clock. A retention far above zero covers a step of the server's own clock.
//!
//! A PREPARE that arrives after the row is deleted does no harm: the next recovery inserts the row anew. Rows of
//! transactions seen prepared in (2) are kept only to spare that.
//!
//! Both conditions, once true, stay true. So passes may run late, twice, or on several routers at once.
//!
//! # Limits
//! - A shard that cannot be listed keeps the rows it may be concerned by: its own decisions, `commit` rows that
//!   name it, all `abort` rows.
//! - A recovery pass that stalls for longer than the retention between listing and deciding inserts an abort row for a
//!   transaction committed, finished and forgotten in between. No data is touched, since nothing is prepared, but who
//!   asks for its outcome after the retention would read `abort`. The outcome is promised for the retention only.
//! - A machine that is suspended with its clock for longer than the retention, in the moment in which one of its
//!   coordinators asks for a lost COMMIT, may resume and believe an answer given after the row was deleted. At any
//!   other moment a stopped clock is harmless.

use std::collections::{BTreeMap, BTreeSet};

use catalog::{ClusterId, ShardId};

use crate::decision::{Decision, DecisionRow};
use crate::gid::Gid;
use crate::recovery::{PreparedRow, ours};

/// The shortest retention that may be configured: ten minutes.
pub const RETENTION_MS_MINIMUM: u64 = 10 * 60 * 1000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The answer to [`Action::ListDecisions`]; None: could not be had.
    Decisions {
        shard: ShardId,
        rows: Option<Vec<DecisionRow>>,
    },
    /// The answer to [`Action::ListPrepared`]; None: unreachable, an error, or a standby.
    Prepared {
        shard: ShardId,
        rows: Option<Vec<PreparedRow>>,
    },
    /// The answer to [`Action::Delete`].
    Deleted { shard: ShardId, succeeded: bool },
    /// Give up what is outstanding and report.
    DeadlinePassed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run [`crate::sql::list_decisions`] on the shard's primary; a part of them will do. Rows whose gid does not parse are to
    /// be left out.
    ListDecisions { shard: ShardId },
    /// Run [`crate::sql::list_prepared`] on the shard's primary; a new query, not a remembered result.
    ListPrepared { shard: ShardId },
    /// Run [`crate::sql::delete_decisions`], if the servers asked are still the shards' primaries.
    Delete { shard: ShardId, gids: Vec<Gid> },
    /// The pass is over. Always the last action.
    Report(Report),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    pub deleted: usize,
    /// Older than the retention, but perhaps still needed.
    pub kept: usize,
}

/// A pass in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collection {
    ListingDecisions(ListingDecisions),
    ListingPrepared(ListingPrepared),
    Deleting(Deleting),
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingDecisions {
    cluster: ClusterId,
    shards: BTreeSet<ShardId>,
    outstanding: BTreeSet<ShardId>,
    rows: Vec<DecisionRow>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingPrepared {
    cluster: ClusterId,
    shards: BTreeSet<ShardId>,
    outstanding: BTreeSet<ShardId>,
    rows: Vec<DecisionRow>,
    listed: BTreeSet<ShardId>,
    prepared: BTreeSet<Gid>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleting {
    outstanding: BTreeMap<ShardId, usize>,
    report: Report,
}

impl Collection {
    /// `shards` are all of the catalog.
    pub fn start(
        cluster: ClusterId,
        shards: impl IntoIterator<Item = ShardId>,
        out: &mut Vec<Action>,
    ) -> Self {
        let shards: BTreeSet<ShardId> = shards.into_iter().collect();
        out.extend(shards.iter().map(|&shard| Action::ListDecisions { shard }));
        ListingDecisions {
            cluster,
            outstanding: shards.clone(),
            shards,
            rows: Vec::new(),
        }
        .settle(out)
    }

    pub fn step(self, input: Input, out: &mut Vec<Action>) -> Self {
        match (self, input) {
            (Collection::ListingDecisions(mut state), Input::Decisions { shard, rows }) => {
                if state.outstanding.remove(&shard) {
                    // Only the shard that coordinated may delete the row.
                    state.rows.extend(rows.into_iter().flatten().filter(|row| {
                        row.gid.coordinating == shard && row.gid.cluster == state.cluster
                    }));
                }
                state.settle(out)
            }
            (Collection::ListingPrepared(mut state), Input::Prepared { shard, rows }) => {
                if state.outstanding.remove(&shard)
                    && let Some(rows) = rows
                {
                    state.listed.insert(shard);
                    state.prepared.extend(
                        rows.iter()
                            .filter_map(|row| ours(state.cluster, shard, &row.gid))
                            .map(|found| found.gid),
                    );
                }
                state.settle(out)
            }
            (Collection::Deleting(mut state), Input::Deleted { shard, succeeded }) => {
                let count = state.outstanding.remove(&shard).unwrap_or(0);
                if succeeded {
                    state.report.deleted += count;
                } else {
                    state.report.kept += count;
                }
                state.settle(out)
            }
            (Collection::ListingDecisions(state), Input::DeadlinePassed) => report(
                Report {
                    deleted: 0,
                    kept: state.rows.len(),
                },
                out,
            ),
            (Collection::ListingPrepared(state), Input::DeadlinePassed) => report(
                Report {
                    deleted: 0,
                    kept: state.rows.len(),
                },
                out,
            ),
            (Collection::Deleting(state), Input::DeadlinePassed) => {
                let kept = state.report.kept + state.outstanding.values().sum::<usize>();
                report(
                    Report {
                        kept,
                        ..state.report
                    },
                    out,
                )
            }
            (state, _) => state,
        }
    }

    pub fn is_done(&self) -> bool {
        matches!(self, Collection::Done)
    }
}

impl ListingDecisions {
    fn settle(self, out: &mut Vec<Action>) -> Collection {
        if !self.outstanding.is_empty() {
            return Collection::ListingDecisions(self);
        }
        let ListingDecisions {
            cluster,
            shards,
            rows,
            ..
        } = self;
        if rows.is_empty() {
            return report(Report::default(), out);
        }
        out.extend(shards.iter().map(|&shard| Action::ListPrepared { shard }));
        let outstanding = shards.clone();
        Collection::ListingPrepared(ListingPrepared {
            cluster,
            shards,
            outstanding,
            rows,
            listed: BTreeSet::new(),
            prepared: BTreeSet::new(),
        })
    }
}

impl ListingPrepared {
    fn settle(self, out: &mut Vec<Action>) -> Collection {
        if !self.outstanding.is_empty() {
            return Collection::ListingPrepared(self);
        }
        let mut deletions: BTreeMap<ShardId, Vec<Gid>> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| self.is_free(row)) {
            deletions
                .entry(row.gid.coordinating)
                .or_default()
                .push(row.gid);
        }
        let outstanding: BTreeMap<ShardId, usize> = deletions
            .iter()
            .map(|(&shard, gids)| (shard, gids.len()))
            .collect();
        let kept = self.rows.len() - outstanding.values().sum::<usize>();
        out.extend(
            deletions
                .into_iter()
                .map(|(shard, gids)| Action::Delete { shard, gids }),
        );
        Deleting {
            outstanding,
            report: Report { deleted: 0, kept },
        }
        .settle(out)
    }

    fn is_free(&self, row: &DecisionRow) -> bool {
        if self.prepared.contains(&row.gid) {
            return false;
        }
        match row.outcome {
            Decision::Commit => row
                .participants
                .iter()
                .all(|shard| self.listed.contains(shard)),
            Decision::Abort => row.settled && self.listed == self.shards,
        }
    }
}

impl Deleting {
    fn settle(self, out: &mut Vec<Action>) -> Collection {
        if self.outstanding.is_empty() {
            report(self.report, out)
        } else {
            Collection::Deleting(self)
        }
    }
}

fn report(report: Report, out: &mut Vec<Action>) -> Collection {
    out.push(Action::Report(report));
    Collection::Done
}
