//! PostgreSQL, as far as two-phase commit can tell. It allows what PostgreSQL allows:
//!
//! - PREPARE TRANSACTION that arrives after everything else was rolled back succeeds. Prepared transactions survive
//!   crashes, open ones do not.
//! - Gids are one namespace per server, and a server may hold several shards.
//! - An insert waits for an open transaction that inserted the same key.
//! - Errors, FATAL errors instead of an answer, the tag ROLLBACK, `busy`, lock timeouts.

use std::collections::{BTreeMap, BTreeSet};

use catalog::ShardId;
use txn::decision::DecisionRow;
use txn::recovery::PreparedRow;
use txn::sql::Command;
use txn::{Access, Completion, Decision, Gid, ServerError};

use super::mutation::Mutation;
use super::random::Random;

/// One server process group with one disk.
#[derive(Default)]
pub struct Server {
    pub down: bool,
    pub prepared: BTreeMap<String, Prepared>,
}

/// A database on a server.
pub struct Shard {
    pub id: ShardId,
    pub server: usize,
    /// The transactions whose changes are committed here.
    pub committed: BTreeSet<usize>,
    pub decisions: BTreeMap<Gid, Row>,
    /// Commits since the last flush: lost in a crash.
    pub unflushed: Vec<(usize, Option<Gid>)>,
}

#[derive(Clone)]
pub struct Row {
    pub outcome: Decision,
    pub participants: Vec<ShardId>,
    pub decided_at: u64,
}

/// What survives as prepared.
pub struct Prepared {
    pub shard: usize,
    /// None: somebody else's.
    pub transaction: Option<usize>,
    pub at: u64,
}

/// A transaction in progress in a backend.
#[derive(Clone)]
pub struct Open {
    pub transaction: usize,
    pub began: u64,
    pub access: Access,
    pub preparable: bool,
    pub serializable: bool,
    pub failed: bool,
    pub row: Option<(Gid, Vec<ShardId>, u64)>,
    pub durable: bool,
}

/// What a router may send.
#[derive(Clone, Debug)]
pub enum Statement {
    Command(Command),
    DecideAbort(Gid),
    ReadDecision(Gid),
    ListPrepared,
    FinishPrepared { name: String, decision: Decision },
    ListDecisions { retention: u64 },
    DeleteDecisions(Vec<Gid>),
}

#[derive(Clone, Debug)]
pub enum Answer {
    Completion(Completion),
    Decision(Option<Decision>),
    Prepared(Vec<PreparedRow>),
    Decisions(Vec<DecisionRow>),
    /// An error where rows were asked for.
    Refused,
}

/// What happened to a transaction that the invariants are about.
pub enum Event {
    Committed { transaction: usize, access: Access },
    ReaderRefused { transaction: usize },
    Deleted(Gid),
}

/// The backend of one connection, with all that it can see.
pub struct Backend<'a> {
    pub server: &'a mut Server,
    pub shard: &'a mut Shard,
    pub index: usize,
    pub open: &'a mut Option<Open>,
    /// The transactions open in the shard's other backends.
    pub others: &'a [Open],
    pub now: u64,
    pub random: &'a mut Random,
    /// Whether to make errors up.
    pub faulty: bool,
    pub mutation: Option<Mutation>,
    pub events: Vec<Event>,
    /// What is left of a packet whose first statement has run.
    pub rest: Option<Statement>,
}

impl Backend<'_> {
    /// Executes; None: it has to wait.
    pub fn execute(&mut self, statement: &Statement) -> Option<Answer> {
        Some(match statement {
            Statement::Command(command) => Answer::Completion(self.command(command)?),
            Statement::DecideAbort(gid) => Answer::Decision(Some(self.decide_abort(*gid)?)),
            Statement::ReadDecision(gid) => {
                Answer::Decision(self.shard.decisions.get(gid).map(|row| row.outcome))
            }
            Statement::ListPrepared => Answer::Prepared(self.list_prepared()),
            Statement::FinishPrepared { name, decision } => {
                Answer::Completion(self.finish_prepared(name, *decision))
            }
            Statement::ListDecisions { retention } => {
                Answer::Decisions(self.list_decisions(*retention))
            }
            Statement::DeleteDecisions(gids) => {
                for gid in gids {
                    self.shard.decisions.remove(gid);
                    self.events.push(Event::Deleted(*gid));
                }
                Answer::Completion(Completion::Done)
            }
        })
    }

    fn command(&mut self, command: &Command) -> Option<Completion> {
        Some(match command {
            Command::Decide { name, participants } => {
                let gid = &name.gid;
                if self.open.as_ref().is_none_or(|open| open.failed) {
                    return Some(error("25P02"));
                }
                if self.inserting(*gid) {
                    return None;
                }
                let made_up = self.made_up(30);
                let taken = self.shard.decisions.contains_key(gid);
                let open = self.open.as_mut()?;
                if taken || made_up {
                    open.failed = true;
                    return Some(if taken { key_taken() } else { error("53100") });
                }
                let shards = participants.iter().map(|(shard, _)| *shard).collect();
                open.row = Some((*gid, shards, self.now));
                open.durable = self.mutation != Some(Mutation::DecisionNotDurable);
                // Between the two statements of the packet others may run.
                if self.random.one_in(2) {
                    self.rest = Some(Statement::Command(Command::Commit));
                    return None;
                }
                self.commit()
            }
            Command::Prepare(gid) => {
                let name = gid.to_string();
                let Some(open) = self.open.take().filter(|open| !open.failed) else {
                    return Some(Completion::RolledBack);
                };
                if !open.preparable {
                    return Some(error("0A000"));
                }
                if self.server.prepared.contains_key(&name) {
                    return Some(error("42710"));
                }
                if self.made_up(20) {
                    return Some(error("53200"));
                }
                self.server.prepared.insert(
                    name,
                    Prepared {
                        shard: self.index,
                        transaction: Some(open.transaction),
                        at: self.now,
                    },
                );
                Completion::Done
            }
            Command::CommitPrepared(gid) => {
                self.finish_prepared(&gid.to_string(), Decision::Commit)
            }
            Command::RollbackPrepared(gid) => {
                self.finish_prepared(&gid.to_string(), Decision::Abort)
            }
            Command::Commit => self.commit(),
            Command::Rollback => {
                *self.open = None;
                Completion::RolledBack
            }
        })
    }

    fn commit(&mut self) -> Completion {
        let Some(open) = self.open.take() else {
            return Completion::Done;
        };
        if open.failed {
            return Completion::RolledBack;
        }
        if self.made_up(30) && (open.access == Access::Write || open.serializable) {
            if open.access != Access::Write {
                self.events.push(Event::ReaderRefused {
                    transaction: open.transaction,
                });
            }
            return error("40001");
        }
        if let Some((gid, participants, decided_at)) = &open.row {
            self.shard.decisions.insert(
                *gid,
                Row {
                    outcome: Decision::Commit,
                    participants: participants.clone(),
                    decided_at: *decided_at,
                },
            );
        }
        if open.access != Access::Read {
            self.shard.committed.insert(open.transaction);
        }
        if open.durable {
            self.shard.unflushed.clear();
        } else {
            self.shard
                .unflushed
                .push((open.transaction, open.row.map(|(gid, ..)| gid)));
        }
        self.events.push(Event::Committed {
            transaction: open.transaction,
            access: open.access,
        });
        Completion::Done
    }

    fn finish_prepared(&mut self, name: &str, decision: Decision) -> Completion {
        let busy = self.made_up(20);
        match self.server.prepared.get(name) {
            None => return error("42704"),
            Some(prepared) if prepared.shard != self.index => return error("0A000"),
            Some(_) if busy => return error("55000"),
            Some(_) => {}
        }
        self.shard.unflushed.clear();
        if let Some(Prepared {
            transaction: Some(transaction),
            ..
        }) = self.server.prepared.remove(name)
            && decision == Decision::Commit
        {
            self.shard.committed.insert(transaction);
        }
        Completion::Done
    }

    fn decide_abort(&mut self, gid: Gid) -> Option<Decision> {
        if let Some(row) = self.shard.decisions.get(&gid) {
            return Some(row.outcome);
        }
        if self.inserting(gid) {
            return None;
        }
        self.shard.decisions.insert(
            gid,
            Row {
                outcome: Decision::Abort,
                participants: Vec::new(),
                decided_at: self.now,
            },
        );
        Some(Decision::Abort)
    }

    /// Whether another open transaction inserted this key.
    fn inserting(&self, gid: Gid) -> bool {
        self.mutation != Some(Mutation::IndexDoesNotWait)
            && self
                .others
                .iter()
                .any(|open| open.row.as_ref().is_some_and(|row| row.0 == gid))
    }

    fn list_prepared(&self) -> Vec<PreparedRow> {
        let here = self
            .server
            .prepared
            .iter()
            .filter(|(_, prepared)| prepared.shard == self.index);
        here.map(|(gid, prepared)| PreparedRow {
            gid: gid.clone(),
            owner: "postgres".into(),
            age_ms: self.now - prepared.at,
        })
        .collect()
    }

    fn list_decisions(&self, retention: u64) -> Vec<DecisionRow> {
        let old = self
            .shard
            .decisions
            .iter()
            .filter(|(_, row)| row.decided_at + retention < self.now || retention == 0);
        old.map(|(gid, row)| DecisionRow {
            gid: *gid,
            outcome: row.outcome,
            participants: row.participants.clone(),
            settled: self.others.iter().all(|open| open.began > row.decided_at),
        })
        .collect()
    }

    fn made_up(&mut self, odds: usize) -> bool {
        self.faulty && self.random.one_in(odds)
    }
}

pub fn error(sqlstate: &str) -> Completion {
    let mut code = *b"XX000";
    code.copy_from_slice(sqlstate.as_bytes());
    Completion::Failed(ServerError {
        sqlstate: code,
        fatal: false,
        body: Box::default(),
    })
}

/// The key of a decision is there already.
fn key_taken() -> Completion {
    Completion::Failed(ServerError {
        sqlstate: *b"23505",
        fatal: false,
        body: b"C23505\0spgweave\0tdecision\0\0".as_slice().into(),
    })
}

pub fn fatal() -> Completion {
    Completion::Failed(ServerError {
        sqlstate: *b"57P01",
        fatal: true,
        body: Box::default(),
    })
}
