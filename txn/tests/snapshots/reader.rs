//! A reader: performs the machine's actions one small step at a time, as others go on in between.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use catalog::ShardId;
use txn::ParticipantGid;
use txn::snapshot::{Action, Effort, Input, Request, Taking, View};

use super::Mutation;
use super::random::Random;
use super::servers::{Server, Transaction};

pub struct Reader {
    number: usize,
    pub shards: Vec<ShardId>,
    machine: Option<Taking>,
    /// What is to be done, each on its own.
    tasks: Vec<Task>,
    answers: VecDeque<Input>,
    /// What each snapshot really shows.
    pub shown: BTreeMap<ShardId, BTreeSet<usize>>,
    /// Transactions that had been acknowledged when it began.
    pub acknowledged: Vec<usize>,
    pub effort: Option<Effort>,
    /// The gate could not be closed at once.
    pub refused: bool,
    mutation: Option<Mutation>,
    /// For planted bugs: the horizons at the first snapshot, and the decisions at the first list.
    late: BTreeMap<ShardId, View>,
    early: BTreeMap<ShardId, usize>,
}

enum Task {
    Horizon(ShardId),
    List(ShardId, bool),
    Snapshot(ShardId, bool, Vec<ParticipantGid>),
    LateList(ShardId, View),
    Decisions(Action),
    Await(Vec<ParticipantGid>),
    Gate(VecDeque<ShardId>),
}

fn server(servers: &[Server], shard: ShardId) -> &Server {
    &servers[shard.0 as usize - 1]
}

impl Reader {
    pub fn begin(
        number: usize,
        servers: &[Server],
        transactions: &[Transaction],
        horizons: BTreeMap<ShardId, View>,
        mutation: Option<Mutation>,
        random: &mut Random,
    ) -> Self {
        let coordinators: Vec<ShardId> = (1..=servers.len() as u32).map(ShardId).collect();
        let mut shards = coordinators.clone();
        while shards.len() > 2 && random.one_in(3) {
            shards.remove(random.below(shards.len()));
        }
        let acknowledged = transactions.iter().enumerate();
        let mut actions = Vec::new();
        let request = Request {
            shards: shards.clone(),
            coordinators,
            home: None,
            horizons,
        };
        let machine = Taking::start(request, &mut actions);
        let mut reader = Reader {
            number,
            shards,
            machine: Some(machine),
            tasks: Vec::new(),
            answers: VecDeque::new(),
            shown: BTreeMap::new(),
            acknowledged: acknowledged
                .filter(|(_, transaction)| transaction.is_acknowledged())
                .map(|(number, _)| number)
                .collect(),
            effort: None,
            refused: false,
            mutation,
            late: BTreeMap::new(),
            early: BTreeMap::new(),
        };
        reader.accept(actions, &mut []);
        reader
    }

    fn accept(&mut self, actions: Vec<Action>, servers: &mut [Server]) {
        for action in actions {
            let task = match action {
                Action::ReadHorizon { shard } => Task::Horizon(shard),
                Action::Take { shard, again } => Task::List(shard, again),
                Action::ReadDecisions { .. } => Task::Decisions(action),
                Action::AwaitFinished { parts } => Task::Await(parts),
                Action::CloseGate => Task::Gate((1..=servers.len() as u32).map(ShardId).collect()),
                Action::OpenGate => {
                    for server in servers.iter_mut() {
                        server.gates.remove(&self.number);
                    }
                    continue;
                }
                Action::Done(effort) => {
                    self.effort = Some(effort);
                    continue;
                }
            };
            self.tasks.push(task);
        }
    }

    /// One step of one task, or one answer comes back.
    pub fn advance(&mut self, servers: &mut [Server], random: &mut Random) {
        if random.one_in(2)
            && let Some(input) = self.answers.pop_front()
        {
            let mut actions = Vec::new();
            self.machine = self
                .machine
                .take()
                .map(|machine| machine.step(input, &mut actions));
            self.accept(actions, servers);
            return;
        }
        if self.tasks.is_empty() {
            return;
        }
        let task = self.tasks.swap_remove(random.below(self.tasks.len()));
        match task {
            Task::Horizon(shard) => {
                let view = server(servers, shard).view();
                self.answers.push_back(Input::Horizon { shard, view });
            }
            Task::List(shard, again) => {
                if self.early.is_empty() {
                    self.early = (1..=servers.len() as u32)
                        .map(|id| (ShardId(id), server(servers, ShardId(id)).decisions.len()))
                        .collect();
                }
                let list = self.list(servers, shard);
                self.tasks.push(Task::Snapshot(shard, again, list));
            }
            Task::Snapshot(shard, again, prepared) => {
                if self.late.is_empty() {
                    self.late = (1..=servers.len() as u32)
                        .map(|id| (ShardId(id), server(servers, ShardId(id)).view()))
                        .collect();
                }
                let here = server(servers, shard);
                let view = here.view();
                if !(again && self.mutation == Some(Mutation::SnapshotKept)) {
                    self.shown.insert(shard, here.committed.clone());
                }
                if self.mutation == Some(Mutation::ListAfterSnapshot) {
                    self.tasks.push(Task::LateList(shard, view));
                    return;
                }
                self.answers.push_back(Input::Taken {
                    shard,
                    prepared,
                    view,
                });
            }
            Task::LateList(shard, view) => {
                let prepared = self.list(servers, shard);
                self.answers.push_back(Input::Taken {
                    shard,
                    prepared,
                    view,
                });
            }
            Task::Decisions(action) => self.read_decisions(action, servers),
            Task::Await(parts) => {
                let listed = |part: &ParticipantGid| {
                    server(servers, part.shard).prepared.contains(&part.gid)
                };
                if self.mutation != Some(Mutation::FinishNotAwaited) && parts.iter().any(listed) {
                    self.tasks.push(Task::Await(parts));
                } else {
                    self.answers.push_back(Input::Finished);
                }
            }
            // A vacuum is in the way.
            Task::Gate(_) if random.one_in(30) => {
                for server in servers.iter_mut() {
                    server.gates.remove(&self.number);
                }
                self.refused = true;
                self.answers.push_back(Input::GateRefused);
            }
            Task::Gate(mut left) => {
                if let Some(shard) = left.front() {
                    let server = &mut servers[shard.0 as usize - 1];
                    if self.mutation != Some(Mutation::GateNotTaken) {
                        server.gates.insert(self.number);
                    }
                    if server.inserting == 0 || self.mutation == Some(Mutation::GateNotTaken) {
                        left.pop_front();
                    }
                }
                match left.is_empty() {
                    true => self.answers.push_back(Input::GateClosed),
                    false => self.tasks.push(Task::Gate(left)),
                }
            }
        }
    }

    fn list(&self, servers: &[Server], shard: ShardId) -> Vec<ParticipantGid> {
        let listed = server(servers, shard).prepared.iter();
        match self.mutation {
            Some(Mutation::ListOmitted) => Vec::new(),
            _ => listed.map(|gid| gid.participant(shard)).collect(),
        }
    }

    fn read_decisions(&mut self, action: Action, servers: &[Server]) {
        let Action::ReadDecisions { shard, since, gids } = action else {
            return;
        };
        let here = server(servers, shard);
        let since = match self.mutation {
            Some(Mutation::HorizonOfNow) => here.view(),
            Some(Mutation::HorizonBesideLists) => self.late[&shard].clone(),
            _ => since,
        };
        let known = match self.mutation {
            Some(Mutation::DecisionsReadEarly) => self.early[&shard],
            Some(Mutation::OnlyShardsInUseAsked) if !self.shards.contains(&shard) => 0,
            _ => here.decisions.len(),
        };
        let rows = here.decisions[..known].iter();
        let asked_for = |row: &&txn::snapshot::Decided| {
            gids.contains(&row.gid) || row.xid.is_none_or(|xid| !since.shows(xid))
        };
        self.answers.push_back(Input::Decisions {
            shard,
            rows: rows.filter(asked_for).cloned().collect(),
        });
    }
}
