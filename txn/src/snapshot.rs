//! One view over several shards: taking a snapshot on each such that every transaction over several shards is visible on all of
//! them or on none.
//!
//! Entry points: [`Taking::start`], then [`Taking::step`] until [`Taking::is_done`]. The driver performs the [`Action`]s, those that
//! come together side by side, and feeds back each answer. It owns connections, the deadline, and the client.
//!
//! ```text
//! Horizons ──> Taking ──> Asking ──all or none──> Done
//!                ↑          │ mixed
//!                └─Waiting──┤
//!                └──Gate────┘ mixed too often
//!
//! horizons:  every shard that can coordinate: a snapshot, of now or from before            (1)
//! taking:    each shard in use: list our prepared transactions, then take its snapshot      (2), after all of (1)
//! asking:    every shard that can coordinate: decisions that its horizon does not show,
//!            and those of what was found prepared; read by a fresh snapshot                 (3), after all of (2)
//! ```
//!
//! # Why no transaction is missed
//! Let T be visible in some snapshot of (2) and not in another. What is prepared is in progress to a snapshot, so T was committed
//! somewhere before (2) ended, and therefore decided before: its row is there for (3) to read. It is asked for:
//! - T decided after the horizon of its coordinating shard was read: then the horizon does not show the row's transaction.
//! - T decided before that: then before all of (2), and its coordinating shard shows it. So it is a prepared shard that does not.
//!   There T was prepared before it was decided, hence before (2), and until after that shard's snapshot. The list was read
//!   in between, so T is in it.
//!
//! Therefore each horizon must be read before *any* list, and the list before the snapshot of its shard. Horizons may be old: they show
//! less then, and more rows are read. The shards that can coordinate are all of them, not just those in use: two shards in use
//! may have been prepared by a transaction that a third decided.
//!
//! What is not yet committed at (3) was visible nowhere in (2). Of the rows that (3) reads, the ids of the transactions and the
//! snapshots tell on which shards T is visible.
//!
//! # What is done about a mixed one
//! T is committed, so the shards that do not show it lag behind. They are waited for (COMMIT PREPARED is under way, or recovery
//! brings it), and all snapshots are taken again, later than T. It would be enough to take those of the shards that lag, but the
//! further apart snapshots lie, the more transactions fall between them: under many writers that ended at the gate three times as
//! often. Then all are asked anew, because newer
//! transactions may be mixed now. That ends when none is; after [`ATTEMPTS`] the gate is closed: a lock by which nobody can insert a decision on
//! any shard. Then the set of decided transactions is fixed, waiting for them ends, and the next but one look finds nothing.
//! The answer is never less than right if the gate fails to hold: what counts is the look, not the gate. If it cannot be closed, because
//! the table is being vacuumed, or a row of somebody's own making is uncommitted, there are as many looks again before the next attempt.
//!
//! # What is not known
//! A row without transaction ids (of an older router, or of a change of schema) may be visible or not. It counts as lagging until it was
//! seen to be finished on a shard before that shard's snapshot. That is also how a row that lies about its ids
//! ends: anybody may write one for a transaction of its own, and it costs others one more look.
//!
//! # Deliberately absent
//! Transactions that wrote on one shard only. They are in no decision row; what that means for readers is told in
//! `docs/transactions.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use catalog::ShardId;

use crate::gid::{Gid, ParticipantGid};
use crate::sql::PreparedPart;

/// So many looks find mixed transactions before the gate is closed.
pub const ATTEMPTS: u32 = 4;

/// What a server's snapshot shows, as `pg_current_snapshot()` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    xmin: u64,
    /// No transaction with this id or a later one is shown.
    xmax: u64,
    /// In progress, in ascending order.
    running: Vec<u64>,
}

/// A committed row of `pgweave.decision` with the outcome `commit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    pub gid: Gid,
    /// The id of the transaction that wrote the row. `None`: not known.
    pub xid: Option<u64>,
    pub participants: Vec<PreparedPart>,
}

/// What [`Taking::start`] needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The shards in use, whose snapshots are to fit together.
    pub shards: Vec<ShardId>,
    /// Every shard that can coordinate.
    pub coordinators: Vec<ShardId>,
    /// The shard in whose database the catalog's home is, whose changes it decides under a name of their own.
    pub home: Option<ShardId>,
    /// Horizons that are known already; the others are read first.
    pub horizons: BTreeMap<ShardId, View>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Horizon {
        shard: ShardId,
        view: View,
    },
    Taken {
        shard: ShardId,
        /// Our prepared transactions on this shard; listed before the snapshot was taken.
        prepared: Vec<ParticipantGid>,
        view: View,
    },
    Decisions {
        shard: ShardId,
        rows: Vec<Decided>,
    },
    /// None of those of [`Action::AwaitFinished`] is prepared any more.
    Finished,
    GateClosed,
    /// It could not be closed in time, and is open everywhere.
    GateRefused,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read `pg_current_snapshot()` there, by a connection that stays the same up to [`Action::ReadDecisions`]: a server that crashes
    /// may give the same ids again. Report with [`Input::Horizon`].
    ReadHorizon {
        shard: ShardId,
    },
    /// List what is prepared, then open the transaction and take its snapshot. `again`: it is open, roll it back first.
    /// Report with [`Input::Taken`].
    Take {
        shard: ShardId,
        again: bool,
    },
    /// Run [`crate::sql::decisions_since`] by a fresh snapshot on the shard's primary. Report with [`Input::Decisions`].
    ReadDecisions {
        shard: ShardId,
        since: View,
        gids: Vec<Gid>,
    },
    /// Wait until none of these is prepared. They are decided: where it takes long, recovery may be asked to help.
    AwaitFinished {
        parts: Vec<ParticipantGid>,
    },
    /// Take the lock of [`crate::sql::close_gate`] on each shard that can coordinate, and report with [`Input::GateClosed`], or
    /// with [`Input::GateRefused`] if somebody is in the way.
    CloseGate,
    OpenGate,
    /// The snapshots fit together. Always the last action.
    Done(Effort),
}

/// What it has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effort {
    /// How often decisions were looked at.
    pub looks: u32,
    /// Snapshots that were taken again.
    pub retakes: u32,
    pub gate: bool,
}

/// A snapshot over several shards, in the making.
#[derive(Debug)]
pub struct Taking {
    request: Request,
    /// The answers that are outstanding, by shard.
    awaited: BTreeSet<ShardId>,
    phase: Phase,
    views: BTreeMap<ShardId, View>,
    prepared: BTreeSet<Gid>,
    decided: BTreeMap<Gid, Decided>,
    /// Finished on these shards before their snapshots were taken.
    finished: BTreeSet<(Gid, ShardId)>,
    effort: Effort,
    /// The look after which the gate is wanted.
    patience: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Horizons,
    Taking,
    Asking,
    /// For these to be finished.
    Waiting(BTreeSet<(Gid, ShardId)>),
    Gate,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Yes,
    No,
    Unknown,
}

impl Taking {
    pub fn start(request: Request, out: &mut Vec<Action>) -> Self {
        let mut taking = Taking {
            request,
            awaited: BTreeSet::new(),
            phase: Phase::Horizons,
            views: BTreeMap::new(),
            prepared: BTreeSet::new(),
            decided: BTreeMap::new(),
            finished: BTreeSet::new(),
            effort: Effort::default(),
            patience: ATTEMPTS,
        };
        // On one shard its own snapshot is enough.
        if taking.request.shards.len() > 1 {
            let known = &taking.request.horizons;
            let unknown = |shard: &&ShardId| !known.contains_key(shard);
            taking.awaited =
                (taking.request.coordinators.iter().filter(unknown).copied()).collect();
        }
        let missing = taking.awaited.iter();
        out.extend(missing.map(|&shard| Action::ReadHorizon { shard }));
        taking.advance(out)
    }

    pub fn step(mut self, input: Input, out: &mut Vec<Action>) -> Self {
        match (&mut self.phase, input) {
            (Phase::Horizons, Input::Horizon { shard, view }) => {
                self.awaited.remove(&shard);
                self.request.horizons.insert(shard, view);
            }
            (
                Phase::Taking,
                Input::Taken {
                    shard,
                    prepared,
                    view,
                },
            ) => {
                self.awaited.remove(&shard);
                self.prepared.extend(prepared.iter().map(|part| part.gid));
                self.views.insert(shard, view);
            }
            (Phase::Asking, Input::Decisions { shard, rows }) => {
                self.awaited.remove(&shard);
                self.decided
                    .extend(rows.into_iter().map(|row| (row.gid, row)));
            }
            (Phase::Waiting(parts), Input::Finished) => {
                let parts = std::mem::take(parts);
                self.finished.extend(parts);
                let all = self.request.shards.iter().copied().collect();
                self.take(all, out);
            }
            (Phase::Gate, Input::GateClosed) => {
                self.effort.gate = true;
                let all = self.request.shards.iter().copied().collect();
                self.take(all, out);
            }
            (Phase::Gate, Input::GateRefused) => {
                self.patience = self.effort.looks + ATTEMPTS;
                let all = self.request.shards.iter().copied().collect();
                self.take(all, out);
            }
            // An answer that nobody waits for.
            _ => return self,
        }
        self.advance(out)
    }

    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Goes on if nothing is outstanding.
    fn advance(mut self, out: &mut Vec<Action>) -> Self {
        if !self.awaited.is_empty() {
            return self;
        }
        match self.phase {
            Phase::Horizons => {
                let all = self.request.shards.iter().copied().collect();
                self.take(all, out);
                self
            }
            Phase::Taking if self.request.shards.len() < 2 => self.done(out),
            Phase::Taking => {
                self.ask(out);
                self
            }
            Phase::Asking => self.judge(out),
            Phase::Waiting(_) | Phase::Gate | Phase::Done => self,
        }
    }

    fn take(&mut self, shards: BTreeSet<ShardId>, out: &mut Vec<Action>) {
        self.phase = Phase::Taking;
        for &shard in &shards {
            let again = self.views.remove(&shard).is_some();
            self.effort.retakes += u32::from(again);
            out.push(Action::Take { shard, again });
        }
        self.awaited = shards;
    }

    fn ask(&mut self, out: &mut Vec<Action>) {
        self.phase = Phase::Asking;
        self.effort.looks += 1;
        for (&shard, since) in &self.request.horizons {
            let here = |gid: &&Gid| self.place(gid.coordinating) == Some(shard);
            out.push(Action::ReadDecisions {
                shard,
                since: since.clone(),
                gids: self.prepared.iter().filter(here).copied().collect(),
            });
        }
        self.awaited = self.request.horizons.keys().copied().collect();
    }

    /// The shard that holds a coordinator's decisions.
    fn place(&self, coordinating: ShardId) -> Option<ShardId> {
        match self.request.horizons.contains_key(&coordinating) {
            true => Some(coordinating),
            false => self.request.home,
        }
    }

    fn judge(mut self, out: &mut Vec<Action>) -> Self {
        let mut lagging = BTreeSet::new();
        for decided in self.decided.values() {
            let own = (decided.gid.coordinating, decided.xid);
            let parts = decided.participants.iter().copied().chain([own]);
            let shown: Vec<(ShardId, Shown)> = parts
                .filter_map(|part| Some((part.0, self.shown(decided.gid, part)?)))
                .collect();
            let any = |wanted| shown.iter().any(|(_, shown)| *shown == wanted);
            // Behind the gate none comes after these, so all of them are waited for at once.
            let mixed = any(Shown::No) && (any(Shown::Yes) || self.effort.gate);
            if any(Shown::Unknown) || mixed {
                let behind = shown.iter().filter(|(_, shown)| *shown != Shown::Yes);
                lagging.extend(behind.map(|(shard, _)| (decided.gid, *shard)));
            }
        }
        if lagging.is_empty() {
            return self.done(out);
        }
        if self.effort.looks >= self.patience && !self.effort.gate {
            self.phase = Phase::Gate;
            out.push(Action::CloseGate);
            return self;
        }
        // The coordinating shard has finished what it has decided.
        let parts = lagging
            .iter()
            .filter(|(gid, shard)| gid.coordinating != *shard)
            .map(|(gid, shard)| gid.participant(*shard))
            .collect();
        self.phase = Phase::Waiting(lagging);
        out.push(Action::AwaitFinished { parts });
        self
    }

    /// Whether a part of a decided transaction is visible; `None`: on a shard that is not in use.
    fn shown(&self, gid: Gid, (shard, xid): PreparedPart) -> Option<Shown> {
        let view = self.views.get(&shard)?;
        if self.finished.contains(&(gid, shard)) {
            return Some(Shown::Yes);
        }
        Some(match xid {
            None => Shown::Unknown,
            Some(xid) if view.shows(xid) => Shown::Yes,
            Some(_) => Shown::No,
        })
    }

    fn done(mut self, out: &mut Vec<Action>) -> Self {
        self.phase = Phase::Done;
        if self.effort.gate {
            out.push(Action::OpenGate);
        }
        out.push(Action::Done(self.effort));
        self
    }
}

impl View {
    /// Reads `xmin:xmax:running,running`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(':');
        let xmin = fields.next()?.parse().ok()?;
        let xmax = fields.next()?.parse().ok()?;
        let list = fields.next()?;
        let mut running = Vec::new();
        for xid in list.split(',').filter(|_| !list.is_empty()) {
            running.push(xid.parse().ok()?);
        }
        running.sort_unstable();
        fields.next().is_none().then_some(View {
            xmin,
            xmax,
            running,
        })
    }

    /// Whether a transaction that has committed by now is shown. 0, the id of one that wrote nothing, is.
    pub fn shows(&self, xid: u64) -> bool {
        xid < self.xmin || xid < self.xmax && self.running.binary_search(&xid).is_err()
    }

    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    pub fn running(&self) -> &[u64] {
        &self.running
    }
}

impl fmt::Display for View {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running: Vec<String> = self.running.iter().map(u64::to_string).collect();
        write!(
            formatter,
            "{}:{}:{}",
            self.xmin,
            self.xmax,
            running.join(",")
        )
    }
}
