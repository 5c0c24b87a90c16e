//! One pass over the prepared transactions that nobody finishes.
//!
//! Entry points: [`Recovery::start`], then [`Recovery::step`] until [`Recovery::is_done`]. Any router runs a pass at
//! its start, on a schedule, when a coordinator leaves something, and on demand. It needs nothing but the shards.
//!
//! ```text
//! every shard: list our prepared transactions
//!   each gid:  insert an abort decision on its coordinating shard, or learn the one that is there
//!                `commit` → COMMIT PREPARED      `abort` → ROLLBACK PREPARED      no answer → in doubt, next pass
//! ```
//!
//! # Why this is safe
//! - It acts only on a committed row of [`crate::decision`], and such a row never changes while a participant is
//!   prepared ([`crate::collection`]). So all passes, on all routers, at any time, do the same to a gid.
//! - A coordinator that is slow, not dead, either has its row inserted, then the pass waits for it, or finds the abort
//!   row in its way and aborts. Age plays no part: [`Scan::grace_ms`] merely avoids disturbing the healthy.
//! - Never "rolled back because its coordinating shard is away": without a row nothing happens.
//!
//! # Cases
//! - *A PREPARE that arrives late*, after its transaction was aborted and all else rolled back, succeeds on the server. The
//!   next pass finds it, meets the abort row, or inserts it again, and rolls back. Hence passes never end, and no pass
//!   remembers a gid as dealt with.
//! - *Two passes, or a pass and the coordinator, finish the same*: the second gets 42704 (no such prepared transaction),
//!   which is success, or 55000 (busy) while the first is at it, which the next pass clears up.
//! - *The coordinating shard is unreachable, or a lock timeout ends the wait*: in doubt. Its locks stay; that is the price
//!   of not guessing.
//! - *The decider's transaction is open, and its router vanished without closing the connection*: it has inserted nothing
//!   before it commits, so it holds nobody up here. What it has locked itself stays locked until its server notices
//!   (`tcp_keepalives_*`, `client_connection_check_interval`), as after any client's end.
//! - *Several databases or clusters on a server*: the list is of this database, and each name is checked for the
//!   cluster and for the shard it was found on. A server cloned with its prepared transactions and registered as another
//!   shard would otherwise have them finished by mistake.
//! - *The coordinating shard is not in the catalog*: in doubt. A shard may be removed only when no decision is needed
//!   from it any more.
//! - *Failover*: a list from a standby is refused, since it may be behind; so is an abort decision there (read-only).

use std::collections::{BTreeMap, BTreeSet};

use catalog::{ClusterId, ShardId};

use crate::decision::Decision;
use crate::gid::{Gid, ParticipantGid};
use crate::outcome::Completion;

/// What one pass covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    pub cluster: ClusterId,
    /// All shards of the catalog.
    pub shards: Vec<ShardId>,
    /// Transactions prepared more recently than this, by their server's clock, are left to their coordinator.
    pub grace_ms: u64,
    /// Left by a coordinator: taken up whatever their age.
    pub urgent: BTreeSet<Gid>,
}

/// A row of [`crate::sql::list_prepared`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedRow {
    pub gid: String,
    pub owner: String,
    pub age_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The answer to [`Action::List`]; None: unreachable, an error, or a standby.
    Listed {
        shard: ShardId,
        rows: Option<Vec<PreparedRow>>,
    },
    /// The answer to [`Action::Decide`]; None: could not be had.
    Decided {
        gid: Gid,
        decision: Option<Decision>,
    },
    /// The answer to [`Action::Finish`].
    Finished {
        gid: ParticipantGid,
        completion: Completion,
    },
    /// Give up what is outstanding and report.
    DeadlinePassed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run [`crate::sql::list_prepared`] on the shard's primary.
    List { shard: ShardId },
    /// Run [`crate::sql::decide_abort`] on the primary of `gid.coordinating`.
    Decide { gid: Gid },
    /// Run [`crate::sql::finish_prepared`] on the primary of `gid.shard`, as `owner` or as a superuser.
    Finish {
        gid: ParticipantGid,
        owner: String,
        decision: Decision,
    },
    /// The pass is over. Always the last action.
    Report(Report),
}

/// What a pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub committed: Vec<ParticipantGid>,
    pub rolled_back: Vec<ParticipantGid>,
    pub in_doubt: Vec<InDoubt>,
    /// Shards whose prepared transactions are not known.
    pub unlisted: Vec<ShardId>,
}

/// A prepared transaction that this pass could not finish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InDoubt {
    pub gid: ParticipantGid,
    pub age_ms: u64,
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The coordinating shard gave no decision.
    NoDecision,
    /// The coordinating shard is not in the catalog.
    UnknownShard,
    /// Decided, but the participant could not be told.
    NotFinished(Decision),
}

/// A pass in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    Running(Box<Pass>),
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    scan: Scan,
    listing: BTreeSet<ShardId>,
    decisions: BTreeMap<Gid, Asked>,
    /// Found, and not dealt with yet.
    found: BTreeMap<ParticipantGid, Found>,
    report: Report,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Outstanding,
    Answered(Option<Decision>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    owner: String,
    age_ms: u64,
    told: Option<Decision>,
}

impl Recovery {
    pub fn start(scan: Scan, out: &mut Vec<Action>) -> Self {
        let listing: BTreeSet<ShardId> = scan.shards.iter().copied().collect();
        out.extend(listing.iter().map(|&shard| Action::List { shard }));
        let pass = Box::new(Pass {
            scan,
            listing,
            decisions: BTreeMap::new(),
            found: BTreeMap::new(),
            report: Report::default(),
        });
        pass.settle(out)
    }

    pub fn step(self, input: Input, out: &mut Vec<Action>) -> Self {
        let Recovery::Running(mut pass) = self else {
            return self;
        };
        match input {
            Input::Listed { shard, rows } => pass.listed(shard, rows, out),
            Input::Decided { gid, decision } => pass.decided(gid, decision, out),
            Input::Finished { gid, completion } => pass.finished(gid, &completion),
            Input::DeadlinePassed => return pass.give_up(out),
        }
        pass.settle(out)
    }

    pub fn is_done(&self) -> bool {
        matches!(self, Recovery::Done)
    }
}

/// The name, if it is one that this cluster prepared on this shard. All others are somebody else's.
pub fn ours(cluster: ClusterId, shard: ShardId, gid: &str) -> Option<ParticipantGid> {
    ParticipantGid::parse(gid)
        .filter(|participant| participant.gid.cluster == cluster && participant.shard == shard)
}

impl Pass {
    fn listed(&mut self, shard: ShardId, rows: Option<Vec<PreparedRow>>, out: &mut Vec<Action>) {
        if !self.listing.remove(&shard) {
            return;
        }
        let Some(rows) = rows else {
            self.report.unlisted.push(shard);
            return;
        };
        for PreparedRow { gid, owner, age_ms } in rows {
            let Some(gid) = ours(self.scan.cluster, shard, &gid) else {
                continue;
            };
            if age_ms < self.scan.grace_ms && !self.scan.urgent.contains(&gid.gid) {
                continue;
            }
            self.found.insert(
                gid,
                Found {
                    owner,
                    age_ms,
                    told: None,
                },
            );
            if !self.scan.shards.contains(&gid.gid.coordinating) {
                self.doubt(gid, Reason::UnknownShard);
                continue;
            }
            match self.decisions.get(&gid.gid) {
                None => {
                    self.decisions.insert(gid.gid, Asked::Outstanding);
                    out.push(Action::Decide { gid: gid.gid });
                }
                Some(Asked::Outstanding) => {}
                Some(&Asked::Answered(decision)) => self.tell(gid, decision, out),
            }
        }
    }

    fn decided(&mut self, gid: Gid, decision: Option<Decision>, out: &mut Vec<Action>) {
        match self.decisions.get_mut(&gid) {
            Some(asked @ Asked::Outstanding) => *asked = Asked::Answered(decision),
            _ => return,
        }
        let all = gid.participant(ShardId(0))..=gid.participant(ShardId(u32::MAX));
        let waiting: Vec<ParticipantGid> = self.found.range(all).map(|(&found, _)| found).collect();
        for participant in waiting {
            self.tell(participant, decision, out);
        }
    }

    fn tell(&mut self, gid: ParticipantGid, decision: Option<Decision>, out: &mut Vec<Action>) {
        let Some(decision) = decision else {
            return self.doubt(gid, Reason::NoDecision);
        };
        if let Some(found) = self.found.get_mut(&gid) {
            found.told = Some(decision);
            out.push(Action::Finish {
                gid,
                owner: found.owner.clone(),
                decision,
            });
        }
    }

    fn finished(&mut self, gid: ParticipantGid, completion: &Completion) {
        let Some(decision) = self.found.get(&gid).and_then(|found| found.told) else {
            return;
        };
        if *completion != Completion::Done
            && *completion != Completion::RolledBack
            && !completion.is_already_finished()
        {
            return self.doubt(gid, Reason::NotFinished(decision));
        }
        self.found.remove(&gid);
        match decision {
            Decision::Commit => self.report.committed.push(gid),
            Decision::Abort => self.report.rolled_back.push(gid),
        }
    }

    fn doubt(&mut self, gid: ParticipantGid, reason: Reason) {
        if let Some(Found { age_ms, .. }) = self.found.remove(&gid) {
            self.report.in_doubt.push(InDoubt {
                gid,
                age_ms,
                reason,
            });
        }
    }

    fn give_up(mut self: Box<Self>, out: &mut Vec<Action>) -> Recovery {
        self.report
            .unlisted
            .extend(std::mem::take(&mut self.listing));
        let left: Vec<_> = self
            .found
            .iter()
            .map(|(&gid, found)| (gid, found.told))
            .collect();
        for (gid, told) in left {
            self.doubt(gid, told.map_or(Reason::NoDecision, Reason::NotFinished));
        }
        self.settle(out)
    }

    fn settle(self: Box<Self>, out: &mut Vec<Action>) -> Recovery {
        if self.listing.is_empty() && self.found.is_empty() {
            out.push(Action::Report(self.report));
            return Recovery::Done;
        }
        Recovery::Running(self)
    }
}
