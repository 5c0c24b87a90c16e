//! The participants of one commit together: when the votes are in, what the decider's answer means, when all is over.

use catalog::ShardId;

use super::member::{Member, Standing};
use super::{Action, Coordinator, Resolving, Verdict};
use crate::decision::Decision;
use crate::error::Error;
use crate::gid::{Gid, Named};
use crate::outcome::{Completion, Failure, Outcome};
use crate::request::Role;
use crate::sql::{Command, PreparedPart};

/// The participants and how far each has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    pub(super) name: Option<Named>,
    pub(super) members: Vec<Member>,
    pub(super) readers_vote: bool,
}

impl Work {
    pub(super) fn gid(&self) -> Option<Gid> {
        self.name.map(|name| name.gid)
    }

    /// A vote, or the loss of one who gave it.
    pub(super) fn vote(
        mut self,
        shard: ShardId,
        completion: &Completion,
        out: &mut Vec<Action>,
    ) -> Coordinator {
        let (gid, readers_vote) = (self.gid(), self.readers_vote);
        let Some(member) = self.member(shard) else {
            return Coordinator::Voting(self);
        };
        let refusal = match member.standing {
            Standing::Preparing => member.vote(gid, completion, out),
            standing => {
                let refused = match standing {
                    Standing::Ending => readers_vote && *completion != Completion::Done,
                    Standing::Open => completion.is_lost(),
                    _ => false,
                };
                member.note(completion, out);
                refused.then(|| member.refusal(completion))
            }
        };
        match refusal {
            Some(refusal) => self.finish(Verdict::Abort(refusal), out),
            None => self.voting(out),
        }
    }

    /// Waits for votes, or lets the decider commit when all are in.
    pub(super) fn voting(mut self, out: &mut Vec<Action>) -> Coordinator {
        let readers_vote = self.readers_vote;
        let missing = |member: &Member| match member.standing {
            Standing::Preparing => true,
            Standing::Ending => readers_vote,
            _ => false,
        };
        if self.members.iter().any(missing) {
            return Coordinator::Voting(self);
        }
        let prepared = |member: &&Member| member.role == Role::Prepares;
        let participants: Vec<PreparedPart> = (self.members.iter().filter(prepared))
            .map(|member| (member.shard, member.xid))
            .collect();
        let name = self.name;
        match self
            .members
            .iter_mut()
            .find(|member| member.role == Role::Decider)
        {
            Some(decider) => {
                match name {
                    Some(name) => decider.send(
                        Command::Decide { name, participants },
                        Standing::Deciding,
                        out,
                    ),
                    None => decider.send(Command::Commit, Standing::Ending, out),
                }
                Coordinator::Deciding(self)
            }
            None => self.finish(Verdict::Commit, out),
        }
    }

    /// The end of the decider's COMMIT, or news from somebody else meanwhile.
    pub(super) fn decide(
        mut self,
        shard: ShardId,
        completion: &Completion,
        out: &mut Vec<Action>,
    ) -> Coordinator {
        let gid = self.gid();
        let Some(member) = self.member(shard) else {
            return Coordinator::Deciding(self);
        };
        member.note(completion, out);
        if member.role != Role::Decider {
            return Coordinator::Deciding(self);
        }
        if *completion == Completion::Done {
            return self.finish(Verdict::Commit, out);
        }
        if !completion.is_lost() {
            let refusal = match (gid, completion) {
                // Recovery's abort row came first.
                (Some(gid), Completion::Failed(error)) if error.is_key_of_decision() => {
                    Failure::Own(Error::AbortedByRecovery { gid })
                }
                _ => member.refusal(completion),
            };
            return self.finish(Verdict::Abort(refusal), out);
        }
        match gid {
            Some(gid) => {
                out.push(Action::Resolve { gid, attempt: 1 });
                Coordinator::Resolving(self, Resolving { gid, attempt: 1 })
            }
            // A plain COMMIT leaves no row to ask for.
            None => self.finish(Verdict::Unknown, out),
        }
    }

    pub(super) fn resolve(
        self,
        resolving: Resolving,
        decision: Option<Decision>,
        out: &mut Vec<Action>,
    ) -> Coordinator {
        let Resolving { gid, attempt } = resolving;
        match decision {
            Some(Decision::Commit) => self.finish(Verdict::Commit, out),
            Some(Decision::Abort) => self.finish(
                Verdict::Abort(Failure::Own(Error::ShardLost {
                    shard: gid.coordinating,
                })),
                out,
            ),
            None => {
                let attempt = attempt.saturating_add(1);
                out.push(Action::Resolve { gid, attempt });
                Coordinator::Resolving(self, Resolving { gid, attempt })
            }
        }
    }

    pub(super) fn finish(mut self, verdict: Verdict, out: &mut Vec<Action>) -> Coordinator {
        let gid = self.gid();
        for member in &mut self.members {
            member.hear(gid, &verdict, out);
        }
        self.settle(verdict, out)
    }

    /// Stops waiting for the answers that are outstanding. Before the verdict this is a refusal, and those that did
    /// answer are still told of it.
    pub(super) fn cut_off(&mut self, verdict: &Verdict, out: &mut Vec<Action>) {
        let gid = self.gid();
        for member in &mut self.members {
            member.cut_off(gid, verdict, out);
        }
    }

    /// Answers the client once nobody is left.
    pub(super) fn settle(self, verdict: Verdict, out: &mut Vec<Action>) -> Coordinator {
        if self
            .members
            .iter()
            .any(|member| member.standing != Standing::Closed)
        {
            return Coordinator::Finishing(self, verdict);
        }
        let unfinished = self
            .members
            .iter()
            .filter(|member| member.unfinished)
            .map(|member| member.shard)
            .collect();
        out.push(Action::Reply(match verdict {
            Verdict::Commit => Outcome::Committed { unfinished },
            Verdict::Abort(failure) => Outcome::Aborted(failure),
            Verdict::Unknown => Outcome::Unknown { gid: self.gid() },
        }));
        Coordinator::Done
    }

    pub(super) fn member(&mut self, shard: ShardId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.shard == shard)
    }

    pub(super) fn decider(&self) -> Option<ShardId> {
        self.members
            .iter()
            .find(|member| member.role == Role::Decider)
            .map(|member| member.shard)
    }
}
