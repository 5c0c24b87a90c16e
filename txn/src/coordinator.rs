//! One commit over several shards, from the first vote to the client's answer.
//!
//! Entry points: [`Coordinator::start`], then [`Coordinator::step`] with each [`Input`] until
//! [`Coordinator::is_done`]. The driver performs the [`Action`]s in order and owns connections and timers.
//!
//! ```text
//! Voting ──all votes──> Deciding ──COMMIT answered──> Finishing ──all closed──> Done
//!    │                     │  └──connection lost──> Resolving ──answer──┘ │
//!    └──refused or lost────┴──COMMIT refused──────────────────────────────┘
//!
//! prepared writers:    PREPARE TRANSACTION ┐                                      COMMIT PREPARED
//! coordinating shard:                      ├─────> INSERT decision row; COMMIT
//! lock holders:                            │                                      COMMIT
//! readers:             COMMIT              ┘
//! ```
//!
//! The row is inserted in the packet that commits, after the votes, because it tells what came with them: the
//! participants' transaction ids, by which readers find out what a snapshot shows ([`crate::snapshot`]).
//!
//! # Invariants
//! - The row is inserted and committed only when every writer is known to be prepared. So a
//!   `commit` row means that no participant can refuse any more, and that no PREPARE is under way.
//! - COMMIT PREPARED is sent only when the decision is known to be `commit`.
//! - ROLLBACK PREPARED is sent only when the decider's transaction cannot commit any more: no COMMIT was sent on
//!   its connection, or the row or the COMMIT was refused, or an abort row exists.
//! - The answer is given once, and last. It is `Aborted` or `Committed` only where this is certain.
//!
//! # If the router dies
//!
//! | after                       | left behind                     | recovery                                          |
//! |-----------------------------|---------------------------------|---------------------------------------------------|
//! | some PREPAREs were sent     | prepared; the decider is open   | aborts; no row can follow, nobody is there to send it |
//! | COMMIT was sent             | prepared; decided or not        | the index tells; nobody was answered              |
//! | COMMIT succeeded            | prepared; `commit` row          | commits                                           |
//! | some COMMIT PREPARED        | some prepared; `commit` row     | commits the rest                                  |
//! | a refused vote              | some prepared; decider open     | aborts                                            |
//!
//! # If a shard dies
//! - A writer before its vote: unknown whether prepared. Abort; recovery looks after it ([`Action::LeaveToRecovery`]).
//! - A writer after its vote: prepared transactions survive. The commit goes on; recovery finishes there.
//! - The decider before COMMIT: its transaction is gone and with it the row. Abort.
//! - The decider during COMMIT: ask for the decision ([`Action::Resolve`]), until an answer comes or the deadline.
//! - A lock holder before the decision: its locks are gone. Abort.
//!
//! # Deliberately absent
//! Retries of PREPARE or COMMIT (never safe), and timers: [`Input::DeadlinePassed`] comes from the driver. It means
//! "stop waiting for what you wait for now", and may come several times: voting, deciding, resolving, finishing. Its
//! times are fixed when the commit starts (so and so long after it, twice that, …), and those passed are fed
//! before any other input, so that a router that was suspended never believes an answer that came too late:
//! [`crate::collection`] relies on it.

mod member;
mod work;

use catalog::ShardId;

use self::member::{Member, Standing};
pub use self::work::Work;
use crate::decision::Decision;
use crate::error::Error;
use crate::gid::{Gid, ParticipantGid};
use crate::outcome::{Completion, Failure, Outcome};
use crate::request::{Request, Role};
use crate::sql::Command;

/// A commit in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coordinator {
    /// Nothing is decided; any refusal aborts.
    Voting(Work),
    /// The decider's COMMIT is in flight.
    Deciding(Work),
    /// The decider's connection was lost under its COMMIT; the decision row is being asked for.
    Resolving(Work, Resolving),
    /// The verdict stands; the others are being told.
    Finishing(Work, Verdict),
    /// The client has its answer, and no connection is held.
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The command in flight on this shard's connection ended; or, with [`Completion::Lost`], the connection
    /// closed, whether or not a command was in flight.
    Completed {
        shard: ShardId,
        completion: Completion,
    },
    /// The answer to [`Action::Resolve`]; None: could not be had (unreachable, lock timeout, not a primary).
    Resolved { decision: Option<Decision> },
    /// The time allowed for this phase is over.
    DeadlinePassed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send on the transaction's own connection to this shard; report with [`Input::Completed`].
    Send { shard: ShardId, command: Command },
    /// This shard's connection is out of the transaction, idle, and may serve others.
    Release { shard: ShardId },
    /// Close this shard's connection, if it is still there, and report nothing more from it.
    Discard { shard: ShardId },
    /// Run [`crate::sql::decide_abort`] on a fresh connection to the coordinating shard's primary and report with
    /// [`Input::Resolved`]. From the second attempt on, wait a little first.
    Resolve { gid: Gid, attempt: u32 },
    /// This prepared transaction, if it exists, is recovery's from now on: [`crate::recovery::Scan::urgent`].
    LeaveToRecovery { gid: ParticipantGid },
    /// Answer the client. Always the last action.
    Reply(Outcome),
}

/// What is true once voting is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Commit,
    Abort(Failure),
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolving {
    gid: Gid,
    attempt: u32,
}

impl Coordinator {
    /// Sends the votes. The driver vouches that every participant is in an open, not failed transaction
    /// (ReadyForQuery said `T`) and has nothing in flight.
    pub fn start(request: Request, out: &mut Vec<Action>) -> Self {
        let Request {
            name,
            members,
            readers_vote,
        } = request;
        let members = members
            .into_iter()
            .map(|(shard, role)| Member::new(shard, role))
            .collect();
        let mut work = Work {
            name,
            members,
            readers_vote,
        };
        for member in &mut work.members {
            match (member.role, name) {
                (Role::Prepares, Some(name)) => member.send(
                    Command::Prepare(name.gid.participant(member.shard)),
                    Standing::Preparing,
                    out,
                ),
                (Role::Reads, _) => member.send(Command::Commit, Standing::Ending, out),
                // The decider comes last. Prepares comes only with a gid.
                (Role::Decider, _) | (Role::Prepares, None) | (Role::Holds, _) => {}
            }
        }
        work.voting(out)
    }

    pub fn step(self, input: Input, out: &mut Vec<Action>) -> Self {
        match (self, input) {
            (Coordinator::Voting(work), Input::Completed { shard, completion }) => {
                work.vote(shard, &completion, out)
            }
            (Coordinator::Voting(mut work), Input::DeadlinePassed) => {
                let verdict = Verdict::Abort(Failure::Own(Error::TimedOut));
                work.cut_off(&verdict, out);
                work.finish(verdict, out)
            }

            (Coordinator::Deciding(work), Input::Completed { shard, completion }) => {
                work.decide(shard, &completion, out)
            }
            (Coordinator::Deciding(work), Input::DeadlinePassed) => match work.decider() {
                Some(shard) => work.decide(shard, &Completion::Lost, out),
                None => Coordinator::Deciding(work),
            },

            (
                Coordinator::Resolving(mut work, resolving),
                Input::Completed { shard, completion },
            ) => {
                if let Some(member) = work.member(shard) {
                    member.note(&completion, out);
                }
                Coordinator::Resolving(work, resolving)
            }
            (Coordinator::Resolving(work, resolving), Input::Resolved { decision }) => {
                work.resolve(resolving, decision, out)
            }
            (Coordinator::Resolving(work, _), Input::DeadlinePassed) => {
                work.finish(Verdict::Unknown, out)
            }

            (Coordinator::Finishing(mut work, verdict), Input::Completed { shard, completion }) => {
                let gid = work.gid();
                if let Some(member) = work.member(shard) {
                    member.end(gid, &completion, &verdict, out);
                }
                work.settle(verdict, out)
            }
            (Coordinator::Finishing(mut work, verdict), Input::DeadlinePassed) => {
                work.cut_off(&verdict, out);
                work.settle(verdict, out)
            }

            // An answer to a Resolve that nobody waits for any more, or anything after the end.
            (state, Input::Resolved { .. }) | (state @ Coordinator::Done, _) => state,
        }
    }

    pub fn is_done(&self) -> bool {
        matches!(self, Coordinator::Done)
    }

    /// For the list of transactions.
    pub fn phase(&self) -> &'static str {
        match self {
            Coordinator::Voting(_) => "voting",
            Coordinator::Deciding(_) => "deciding",
            Coordinator::Resolving(..) => "resolving",
            Coordinator::Finishing(_, Verdict::Commit) => "committing",
            Coordinator::Finishing(_, Verdict::Abort(_)) => "aborting",
            Coordinator::Finishing(_, Verdict::Unknown) => "in doubt",
            Coordinator::Done => "done",
        }
    }
}
