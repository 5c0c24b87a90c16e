//! The background passes of a router: recovery and the collection of decision rows.

use std::collections::BTreeMap;

use catalog::ShardId;
use txn::collection::{self, Collection};
use txn::recovery::{self, PreparedRow, Recovery, Scan};
use txn::{Completion, Decision, Gid, ParticipantGid};

use super::driver::{CLUSTER, RETENTION};
use super::mutation::Mutation;
use super::network::Purpose;
use super::server::{Answer, Statement};
use super::world::World;

pub struct RecoveryRun {
    pub machine: Recovery,
    /// The real names behind those that a mutation made look like ours.
    pub disguised: BTreeMap<ParticipantGid, String>,
}

pub struct CollectionRun {
    pub machine: Collection,
    /// For the mutation that lists prepared transactions too early.
    pub prepared: BTreeMap<ShardId, Vec<PreparedRow>>,
}

impl World {
    /// Starts a recovery pass.
    pub fn recover(&mut self, router: usize, grace_ms: u64) {
        let urgent = self.routers[router].urgent.clone();
        let scan = Scan {
            cluster: CLUSTER,
            shards: self.shards.iter().map(|shard| shard.id).collect(),
            grace_ms,
            urgent,
        };
        let mut actions = Vec::new();
        let machine = Recovery::start(scan, &mut actions);
        let pass = self.next_pass();
        self.routers[router].recoveries.insert(
            pass,
            RecoveryRun {
                machine,
                disguised: BTreeMap::new(),
            },
        );
        self.perform_recovery(router, pass, actions);
    }

    pub fn perform_recovery(&mut self, router: usize, pass: usize, actions: Vec<recovery::Action>) {
        for action in actions {
            self.trace(|| format!("router {router} recovery {pass}: {action:?}"));
            let (shard, statement) = match &action {
                recovery::Action::List { shard } => (*shard, Statement::ListPrepared),
                recovery::Action::Decide { gid } => {
                    let statement = match self.mutation {
                        Some(Mutation::RecoveryOnlyReads) => Statement::ReadDecision(*gid),
                        _ => Statement::DecideAbort(*gid),
                    };
                    let shard = match self.mutation {
                        // Any shard but the right one.
                        Some(Mutation::RecoveryAsksParticipant) => self
                            .shards
                            .iter()
                            .map(|shard| shard.id)
                            .find(|&shard| shard != gid.coordinating)
                            .unwrap_or(gid.coordinating),
                        _ => gid.coordinating,
                    };
                    (shard, statement)
                }
                recovery::Action::Finish { gid, decision, .. } => {
                    let run = &self.routers[router].recoveries[&pass];
                    let name = run
                        .disguised
                        .get(gid)
                        .cloned()
                        .unwrap_or_else(|| gid.to_string());
                    (
                        gid.shard,
                        Statement::FinishPrepared {
                            name,
                            decision: *decision,
                        },
                    )
                }
                recovery::Action::Report(report) => {
                    if self.mutation == Some(Mutation::RecoveryForgetsLatePrepare) {
                        self.routers[router].rolled_back.extend(
                            report.rolled_back.iter().flat_map(|found| {
                                // What was decided is believed to be settled everywhere.
                                (1..=4).map(|shard| found.gid.participant(ShardId(shard)))
                            }),
                        );
                    }
                    self.counts.recovered += report.committed.len() + report.rolled_back.len();
                    self.counts.in_doubt += report
                        .in_doubt
                        .iter()
                        .filter(|doubt| doubt.reason != recovery::Reason::UnknownShard)
                        .count();
                    self.routers[router].recoveries.remove(&pass);
                    return;
                }
            };
            self.call(router, shard, Purpose::Recovery { pass, action }, statement);
        }
    }

    pub fn receive_recovery(
        &mut self,
        router: usize,
        pass: usize,
        action: recovery::Action,
        answer: Option<Answer>,
    ) {
        let mutation = self.mutation;
        let rolled_back = self.routers[router].rolled_back.clone();
        let Some(run) = self.routers[router].recoveries.get_mut(&pass) else {
            return;
        };
        let input = match action {
            recovery::Action::List { shard } => {
                let rows = match answer {
                    Some(Answer::Prepared(mut rows)) => {
                        rows.retain(|row| {
                            ParticipantGid::parse(&row.gid)
                                .is_none_or(|gid| !rolled_back.contains(&gid))
                        });
                        rows.iter_mut()
                            .for_each(|row| disguise(row, shard, mutation, &mut run.disguised));
                        Some(rows)
                    }
                    _ => None,
                };
                recovery::Input::Listed { shard, rows }
            }
            recovery::Action::Decide { gid } => {
                let decision = match answer {
                    Some(Answer::Decision(decision)) => Some(decision.unwrap_or(Decision::Abort)),
                    _ if mutation == Some(Mutation::RecoveryGuesses) => Some(Decision::Abort),
                    _ => None,
                };
                recovery::Input::Decided { gid, decision }
            }
            recovery::Action::Finish { gid, .. } => match answer {
                Some(Answer::Completion(completion)) => {
                    recovery::Input::Finished { gid, completion }
                }
                _ => recovery::Input::Finished {
                    gid,
                    completion: Completion::Lost,
                },
            },
            recovery::Action::Report(_) => return,
        };
        let mut actions = Vec::new();
        let machine = std::mem::replace(&mut run.machine, Recovery::Done);
        run.machine = machine.step(input, &mut actions);
        self.perform_recovery(router, pass, actions);
    }

    /// Starts a garbage collection.
    pub fn collect(&mut self, router: usize) {
        let mut actions = Vec::new();
        let machine = Collection::start(
            CLUSTER,
            self.shards.iter().map(|shard| shard.id),
            &mut actions,
        );
        let pass = self.next_pass();
        let prepared = self.prepared_now();
        self.routers[router]
            .collections
            .insert(pass, CollectionRun { machine, prepared });
        self.perform_collection(router, pass, actions);
    }

    pub fn perform_collection(
        &mut self,
        router: usize,
        pass: usize,
        actions: Vec<collection::Action>,
    ) {
        for action in actions {
            self.trace(|| format!("router {router} collection {pass}: {action:?}"));
            let retention = if self.mutation == Some(Mutation::CollectionWithoutRetention) {
                0
            } else {
                RETENTION
            };
            let (shard, statement) = match &action {
                collection::Action::ListDecisions { shard } => {
                    (*shard, Statement::ListDecisions { retention })
                }
                collection::Action::ListPrepared { shard } => (*shard, Statement::ListPrepared),
                collection::Action::Delete { shard, gids } => {
                    (*shard, Statement::DeleteDecisions(gids.clone()))
                }
                collection::Action::Report(report) => {
                    self.counts.collected += report.deleted;
                    self.routers[router].collections.remove(&pass);
                    return;
                }
            };
            self.call(
                router,
                shard,
                Purpose::Collection { pass, action },
                statement,
            );
        }
    }

    pub fn receive_collection(
        &mut self,
        router: usize,
        pass: usize,
        action: collection::Action,
        answer: Option<Answer>,
    ) {
        let mutation = self.mutation;
        let Some(run) = self.routers[router].collections.get_mut(&pass) else {
            return;
        };
        let input = match action {
            collection::Action::ListDecisions { shard } => {
                let rows = match answer {
                    Some(Answer::Decisions(mut rows)) => {
                        if mutation == Some(Mutation::CollectionIgnoresOlder) {
                            rows.iter_mut().for_each(|row| row.settled = true);
                        }
                        Some(rows)
                    }
                    _ => None,
                };
                collection::Input::Decisions { shard, rows }
            }
            collection::Action::ListPrepared { shard } => {
                let rows = match (mutation, answer) {
                    (Some(Mutation::CollectionSkipsPrepared), _) => Some(Vec::new()),
                    (Some(Mutation::CollectionListsPreparedFirst), _) => {
                        run.prepared.remove(&shard)
                    }
                    (_, Some(Answer::Prepared(rows))) => Some(rows),
                    _ => None,
                };
                collection::Input::Prepared { shard, rows }
            }
            collection::Action::Delete { shard, .. } => collection::Input::Deleted {
                shard,
                succeeded: matches!(answer, Some(Answer::Completion(Completion::Done))),
            },
            collection::Action::Report(_) => return,
        };
        let mut actions = Vec::new();
        let machine = std::mem::replace(&mut run.machine, Collection::Done);
        run.machine = machine.step(input, &mut actions);
        self.perform_collection(router, pass, actions);
    }
}

/// Makes a foreign name look like ours, where the planted bug is not to look closely.
fn disguise(
    row: &mut PreparedRow,
    shard: ShardId,
    mutation: Option<Mutation>,
    disguised: &mut BTreeMap<ParticipantGid, String>,
) {
    let Some(found) = ParticipantGid::parse(&row.gid) else {
        return;
    };
    let ours = match mutation {
        Some(Mutation::ClusterNotCompared) => ParticipantGid {
            gid: Gid {
                cluster: CLUSTER,
                ..found.gid
            },
            ..found
        },
        Some(Mutation::ShardNotCompared) => ParticipantGid { shard, ..found },
        _ => return,
    };
    disguised.insert(ours, std::mem::replace(&mut row.gid, ours.to_string()));
}
