//! One participant of a commit: what it was last sent, and what follows from the answer.
//!
//! Every way out ends in [`Standing::Closed`] with exactly one of [`Action::Release`] or [`Action::Discard`] for the
//! connection, and with [`Action::LeaveToRecovery`] wherever a prepared transaction may be left behind.

use catalog::ShardId;

use super::{Action, Verdict};
use crate::error::Error;
use crate::gid::Gid;
use crate::outcome::{Completion, Failure};
use crate::request::Role;
use crate::sql::Command;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) shard: ShardId,
    pub(super) role: Role,
    pub(super) standing: Standing,
    /// Committed by the decision, and not seen to be committed here.
    pub(super) unfinished: bool,
    /// Of a prepared one, as its vote told it.
    pub(super) xid: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// In its transaction, nothing in flight.
    Open,
    /// PREPARE TRANSACTION is in flight.
    Preparing,
    /// The decision row and its COMMIT are in flight.
    Deciding,
    /// Prepared, nothing in flight. Losing the connection now changes nothing but who finishes.
    Prepared {
        connected: bool,
    },
    /// COMMIT or ROLLBACK is in flight.
    Ending,
    /// COMMIT PREPARED or ROLLBACK PREPARED is in flight.
    EndingPrepared,
    Closed,
}

impl Member {
    pub(super) fn new(shard: ShardId, role: Role) -> Self {
        Member {
            shard,
            role,
            standing: Standing::Open,
            unfinished: false,
            xid: None,
        }
    }

    pub(super) fn send(&mut self, command: Command, standing: Standing, out: &mut Vec<Action>) {
        self.standing = standing;
        out.push(Action::Send {
            shard: self.shard,
            command,
        });
    }

    /// The answer to a vote. Some: refused, and why.
    pub(super) fn vote(
        &mut self,
        gid: Option<Gid>,
        completion: &Completion,
        out: &mut Vec<Action>,
    ) -> Option<Failure> {
        let refusal = self.refusal(completion);
        match (self.standing, completion) {
            (Standing::Preparing, Completion::Done) => {
                self.standing = Standing::Prepared { connected: true };
                return None;
            }
            (Standing::Preparing, Completion::Prepared { xid }) => {
                self.xid = *xid;
                self.standing = Standing::Prepared { connected: true };
                return None;
            }
            // It may be prepared, or become so: the command may still sit unread in the server's socket.
            (Standing::Preparing, _) if completion.is_lost() => self.leave(gid, None, out),
            // The server ended the transaction with the error, or failed it; ROLLBACK does for both.
            (Standing::Preparing, Completion::Failed(_)) => {
                self.send(Command::Rollback, Standing::Ending, out);
                return Some(refusal);
            }
            (Standing::Preparing, _) => {}
            _ => return None,
        }
        self.close(completion, out);
        Some(refusal)
    }

    /// The verdict, for one with nothing in flight. Others hear it from [`Member::end`] when their answer comes.
    pub(super) fn hear(&mut self, gid: Option<Gid>, verdict: &Verdict, out: &mut Vec<Action>) {
        match (self.standing, verdict) {
            (Standing::Open, Verdict::Commit) => self.send(Command::Commit, Standing::Ending, out),
            (Standing::Open, Verdict::Abort(_) | Verdict::Unknown) => {
                self.send(Command::Rollback, Standing::Ending, out)
            }
            (Standing::Prepared { connected }, _) => {
                let gid = gid.map(|gid| gid.participant(self.shard));
                match (verdict, gid) {
                    (Verdict::Commit, Some(gid)) if connected => {
                        self.send(Command::CommitPrepared(gid), Standing::EndingPrepared, out)
                    }
                    (Verdict::Abort(_), Some(gid)) if connected => self.send(
                        Command::RollbackPrepared(gid),
                        Standing::EndingPrepared,
                        out,
                    ),
                    _ => {
                        self.leave(gid.map(|gid| gid.gid), Some(verdict), out);
                        self.standing = Standing::Closed;
                        if connected {
                            out.push(Action::Release { shard: self.shard });
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// News after the verdict.
    pub(super) fn end(
        &mut self,
        gid: Option<Gid>,
        completion: &Completion,
        verdict: &Verdict,
        out: &mut Vec<Action>,
    ) {
        match self.standing {
            // A vote that came too late to matter.
            Standing::Preparing => {
                self.vote(gid, completion, out);
                self.hear(gid, verdict, out);
            }
            Standing::EndingPrepared => {
                // Recovery may have been faster; it follows the same decision.
                if *completion != Completion::Done && !completion.is_already_finished() {
                    self.leave(gid, Some(verdict), out);
                }
                self.close(completion, out);
            }
            _ => self.note(completion, out),
        }
    }

    /// The end of a COMMIT or ROLLBACK whose result decides nothing, or a connection lost while idle.
    pub(super) fn note(&mut self, completion: &Completion, out: &mut Vec<Action>) {
        match self.standing {
            // The row was refused, and the transaction with it failed; or COMMIT was, and it has ended. ROLLBACK does for both.
            Standing::Deciding
                if matches!(completion, Completion::Failed(_)) && !completion.is_lost() =>
            {
                self.send(Command::Rollback, Standing::Ending, out)
            }
            Standing::Ending | Standing::Deciding => self.close(completion, out),
            Standing::Open if completion.is_lost() => self.close(completion, out),
            Standing::Prepared { connected: true } if completion.is_lost() => {
                self.standing = Standing::Prepared { connected: false };
                out.push(Action::Discard { shard: self.shard });
            }
            _ => {}
        }
    }

    /// No answer is awaited any more to what is in flight.
    pub(super) fn cut_off(&mut self, gid: Option<Gid>, verdict: &Verdict, out: &mut Vec<Action>) {
        match self.standing {
            Standing::Preparing | Standing::EndingPrepared => self.leave(gid, Some(verdict), out),
            Standing::Deciding | Standing::Ending => {}
            Standing::Open | Standing::Prepared { .. } | Standing::Closed => {
                return;
            }
        }
        self.close(&Completion::Lost, out);
    }

    pub(super) fn close(&mut self, completion: &Completion, out: &mut Vec<Action>) {
        self.standing = Standing::Closed;
        out.push(if completion.is_lost() {
            Action::Discard { shard: self.shard }
        } else {
            Action::Release { shard: self.shard }
        });
    }

    fn leave(&mut self, gid: Option<Gid>, verdict: Option<&Verdict>, out: &mut Vec<Action>) {
        self.unfinished = verdict == Some(&Verdict::Commit);
        out.extend(gid.map(|gid| Action::LeaveToRecovery {
            gid: gid.participant(self.shard),
        }));
    }

    /// What a completion other than Done means to the client.
    pub(super) fn refusal(&self, completion: &Completion) -> Failure {
        let shard = self.shard;
        match completion {
            Completion::Failed(error) if !error.fatal => Failure::Server {
                shard,
                error: error.clone(),
            },
            Completion::RolledBack => Failure::Own(Error::RolledBackEarly { shard }),
            Completion::Failed(_)
            | Completion::Lost
            | Completion::Done
            | Completion::Prepared { .. } => Failure::Own(Error::ShardLost { shard }),
        }
    }
}
