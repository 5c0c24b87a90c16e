//! A router: it performs the machines' actions and feeds back what comes of them, as the real driver must.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use catalog::{ClusterId, ShardId};
use txn::coordinator::{self, Coordinator};
use txn::outcome::Failure;
use txn::sql::Command;
use txn::{
    Access, Completion, Decision, Gid, GidSequence, Outcome, Participant, ParticipantGid, ProofKey,
    Request, RouterId, ServerError,
};

use super::mutation::Mutation;
use super::network::Purpose;
use super::passes::{CollectionRun, RecoveryRun};
use super::server::{Answer, Statement};
use super::world::World;

pub const CLUSTER: ClusterId = ClusterId([0xc1; 16]);
pub const FOREIGN_CLUSTER: ClusterId = ClusterId([0xf0; 16]);

/// The time that a commit may spend in each of its phases, counted from its start.
pub const DEADLINE: u64 = 250;
/// More than a coordinator can spend: three deadlines.
pub const RETENTION: u64 = 4 * DEADLINE;

pub struct Router {
    pub gids: GidSequence,
    pub commits: BTreeMap<usize, Commit>,
    pub recoveries: BTreeMap<usize, RecoveryRun>,
    pub collections: BTreeMap<usize, CollectionRun>,
    pub urgent: BTreeSet<Gid>,
    pub paused_until: u64,
    /// For the mutation that remembers too much.
    pub rolled_back: BTreeSet<ParticipantGid>,
}

pub struct Commit {
    machine: Coordinator,
    connections: BTreeMap<ShardId, usize>,
    started: u64,
    deadlines: u64,
}

impl Router {
    pub fn new(identity: u64) -> Self {
        Router {
            gids: GidSequence::new(CLUSTER, RouterId(identity), ProofKey([0; 32])),
            commits: BTreeMap::new(),
            recoveries: BTreeMap::new(),
            collections: BTreeMap::new(),
            urgent: BTreeSet::new(),
            paused_until: 0,
            rolled_back: BTreeSet::new(),
        }
    }
}

impl World {
    /// The client says COMMIT.
    pub fn commit(
        &mut self,
        router: usize,
        transaction: usize,
        participants: &[Participant],
        serializable: bool,
        connections: BTreeMap<ShardId, usize>,
    ) {
        let participants: Vec<Participant> = participants
            .iter()
            .map(|participant| match (self.mutation, participant.access) {
                (Some(Mutation::LocksReleasedEarly), Access::Lock) => Participant {
                    access: Access::Read,
                    ..*participant
                },
                (Some(Mutation::AccessUnderstated), Access::Write) if self.random.one_in(4) => {
                    Participant {
                        access: Access::Read,
                        ..*participant
                    }
                }
                _ => *participant,
            })
            .collect();
        match Request::new(&participants, serializable, &self.routers[router].gids) {
            Err(error) => {
                for connection in connections.into_values() {
                    self.hang_up(connection);
                }
                self.records[transaction].answer = Some(Outcome::Aborted(Failure::Own(error)));
            }
            Ok(request) => {
                let only_writer = participants
                    .iter()
                    .find(|participant| participant.access == Access::Write)
                    .map(|participant| participant.shard);
                self.records[transaction].gid = request.gid();
                self.records[transaction].decider =
                    request.gid().map(|gid| gid.coordinating).or(only_writer);
                let mut actions = Vec::new();
                let machine = Coordinator::start(request, &mut actions);
                let commit = Commit {
                    machine,
                    connections,
                    started: self.now,
                    deadlines: 0,
                };
                self.routers[router].commits.insert(transaction, commit);
                self.coordinate(router, transaction, actions, VecDeque::new());
            }
        }
    }

    /// A process is stopped; or its whole machine, and then its clock does not advance meanwhile.
    pub fn suspend(&mut self, router: usize, pause: u64, clock_stops: bool) {
        self.routers[router].paused_until = self.now + pause;
        // A stopped clock endangers nothing while votes are awaited. One who asks for the outcome must know how much
        // time has passed: that is the documented limit of the retention.
        for commit in self.routers[router]
            .commits
            .values_mut()
            .filter(|commit| clock_stops && commit.machine.phase() == "voting")
        {
            commit.started += pause;
        }
    }

    /// Time has passed for this router.
    pub fn feed_deadlines(&mut self, router: usize) {
        let transactions: Vec<usize> = self.routers[router].commits.keys().copied().collect();
        for transaction in transactions {
            while let Some(commit) = self.routers[router].commits.get_mut(&transaction)
                && self.now >= commit.started + (commit.deadlines + 1) * DEADLINE
            {
                commit.deadlines += 1;
                if self.mutation == Some(Mutation::LateAnswerBelieved)
                    && commit.machine.phase() == "resolving"
                {
                    break;
                }
                self.coordinate(
                    router,
                    transaction,
                    Vec::new(),
                    VecDeque::from([coordinator::Input::DeadlinePassed]),
                );
            }
        }
    }

    /// A connection of a router brought an answer; None: it closed.
    pub fn receive(
        &mut self,
        router: usize,
        purpose: Purpose,
        shard: ShardId,
        answer: Option<Answer>,
    ) {
        match purpose {
            Purpose::Participant { transaction } => {
                let completion = match answer {
                    Some(Answer::Completion(completion)) => {
                        self.disturb(router, transaction, completion)
                    }
                    _ => self.disturb(router, transaction, Completion::Lost),
                };
                let input = coordinator::Input::Completed { shard, completion };
                self.coordinate(router, transaction, Vec::new(), VecDeque::from([input]));
            }
            Purpose::Resolve { transaction } => {
                let decision = match answer {
                    Some(Answer::Decision(None)) => Some(Decision::Abort),
                    Some(Answer::Decision(decision)) => decision,
                    _ => None,
                };
                self.coordinate(
                    router,
                    transaction,
                    Vec::new(),
                    VecDeque::from([coordinator::Input::Resolved { decision }]),
                );
            }
            Purpose::Recovery { pass, action } => {
                self.receive_recovery(router, pass, action, answer)
            }
            Purpose::Collection { pass, action } => {
                self.receive_collection(router, pass, action, answer)
            }
        }
    }

    /// Misreads an answer, where the planted bug is to do so.
    fn disturb(&self, router: usize, transaction: usize, completion: Completion) -> Completion {
        let phase = self.routers[router]
            .commits
            .get(&transaction)
            .map_or("done", |commit| commit.machine.phase());
        match (self.mutation, completion) {
            (Some(Mutation::LostCommitTakenAsAbort), lost)
                if phase == "deciding" && lost.is_lost() =>
            {
                Completion::RolledBack
            }
            (Some(Mutation::LostCommitTakenAsCommit), lost)
                if phase == "deciding" && lost.is_lost() =>
            {
                Completion::Done
            }
            (Some(Mutation::FatalTakenAsRefusal), Completion::Failed(error)) => {
                Completion::Failed(ServerError {
                    fatal: false,
                    ..error
                })
            }
            (Some(Mutation::RollbackTagTakenAsDone), Completion::RolledBack) => Completion::Done,
            (_, completion) => completion,
        }
    }

    fn coordinate(
        &mut self,
        router: usize,
        transaction: usize,
        mut actions: Vec<coordinator::Action>,
        mut inputs: VecDeque<coordinator::Input>,
    ) {
        loop {
            for action in actions.drain(..) {
                self.trace(|| format!("router {router} transaction {transaction}: {action:?}"));
                self.perform(router, transaction, action, &mut inputs);
            }
            let Some(input) = inputs.pop_front() else {
                break;
            };
            let Some(commit) = self.routers[router].commits.get_mut(&transaction) else {
                break;
            };
            let machine = std::mem::replace(&mut commit.machine, Coordinator::Done);
            commit.machine = machine.step(input, &mut actions);
        }
        if self.routers[router]
            .commits
            .get(&transaction)
            .is_some_and(|commit| commit.machine.is_done())
        {
            self.routers[router].commits.remove(&transaction);
        }
    }

    fn perform(
        &mut self,
        router: usize,
        transaction: usize,
        action: coordinator::Action,
        inputs: &mut VecDeque<coordinator::Input>,
    ) {
        let connection = |world: &World, shard: &ShardId| {
            world.routers[router].commits[&transaction].connections[shard]
        };
        match action {
            coordinator::Action::Send { shard, command } => {
                let mutation = self.mutation;
                let decider = self.records[transaction].decider == Some(shard);
                let reader = self.records[transaction].access(shard) == Access::Read;
                let pretended = match &command {
                    Command::Decide { .. } => mutation == Some(Mutation::DecisionNotAwaited),
                    Command::Prepare(_) => mutation == Some(Mutation::VotesNotAwaited),
                    Command::CommitPrepared(_) => mutation == Some(Mutation::FinishNotAwaited),
                    Command::Commit if decider => mutation == Some(Mutation::DecisionNotAwaited),
                    Command::Commit if reader => mutation == Some(Mutation::ReaderNotHeeded),
                    _ => false,
                };
                let command = match command {
                    Command::Decide { .. } if mutation == Some(Mutation::RowNotInserted) => {
                        Command::Commit
                    }
                    command => command,
                };
                let connection = connection(self, &shard);
                if pretended {
                    inputs.push_back(coordinator::Input::Completed {
                        shard,
                        completion: Completion::Done,
                    });
                }
                if !self.send(connection, Statement::Command(command), pretended) && !pretended {
                    inputs.push_back(coordinator::Input::Completed {
                        shard,
                        completion: Completion::Lost,
                    });
                }
            }
            coordinator::Action::Release { shard } => {
                let connection = connection(self, &shard);
                self.release(connection);
            }
            coordinator::Action::Discard { shard } => {
                let connection = connection(self, &shard);
                self.hang_up(connection);
            }
            coordinator::Action::Resolve { gid, .. } => {
                let statement = match self.mutation {
                    Some(Mutation::ResolveOnlyReads) => Statement::ReadDecision(gid),
                    _ => Statement::DecideAbort(gid),
                };
                self.call(
                    router,
                    gid.coordinating,
                    Purpose::Resolve { transaction },
                    statement,
                );
            }
            coordinator::Action::LeaveToRecovery { gid } => {
                self.routers[router].urgent.insert(gid.gid);
            }
            coordinator::Action::Reply(outcome) => self.reply(transaction, outcome),
        }
    }
}
