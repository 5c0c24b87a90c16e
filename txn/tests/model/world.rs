//! The scheduler: what may happen next, and to whom. Entry point: [`World::run`].

use std::collections::{BTreeMap, BTreeSet};

use catalog::ShardId;
use txn::recovery::PreparedRow;
use txn::{Access, Gid, Outcome, Participant, Pledge, RouterId};

use super::driver::{CLUSTER, DEADLINE, FOREIGN_CLUSTER, RETENTION, Router};
use super::mutation::Mutation;
use super::network::{Connection, Purpose};
use super::random::Random;
use super::server::{Open, Prepared, Server, Shard};

/// Shards 1 and 2 are databases of one server.
pub const SERVER_OF_SHARD: [usize; 4] = [0, 0, 1, 2];
pub const ROUTERS: usize = 2;
const TRANSACTIONS: usize = 8;

pub struct World {
    pub random: Random,
    pub now: u64,
    pub mutation: Option<Mutation>,
    /// Whether anything goes wrong.
    pub faulty: bool,
    pub tracing: bool,
    pub servers: Vec<Server>,
    pub shards: Vec<Shard>,
    pub routers: Vec<Router>,
    pub connections: BTreeMap<usize, Connection>,
    /// For some time only this router's recovery, collection and questions proceed: as chance alone would rarely have it.
    pub focus: Option<(usize, u64)>,
    /// When this router is to collect what the neglect of another left, see [`World::neglect`].
    pub collection_due: Option<(usize, u64)>,
    pub made: usize,
    pub records: Vec<Record>,
    pub deleted: BTreeSet<Gid>,
    pub foreign: Vec<(usize, String)>,
    pub violation: Option<String>,
    pub counts: Counts,
}

/// What became of things; to see that the simulation does reach what it is for.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub committed: usize,
    pub unfinished: usize,
    pub aborted: usize,
    pub unknown: usize,
    pub recovered: usize,
    pub in_doubt: usize,
    pub collected: usize,
}

impl Counts {
    pub fn add(&mut self, more: Counts) {
        self.committed += more.committed;
        self.unfinished += more.unfinished;
        self.aborted += more.aborted;
        self.unknown += more.unknown;
        self.recovered += more.recovered;
        self.in_doubt += more.in_doubt;
        self.collected += more.collected;
    }
}

/// A transaction as an all-seeing observer knows it.
pub struct Record {
    pub participants: Vec<Participant>,
    pub decider: Option<ShardId>,
    pub gid: Option<Gid>,
    pub serializable: bool,
    pub answer: Option<Outcome>,
    pub reader_refused: bool,
    /// A lock holder committed before the decider did.
    pub released_early: bool,
}

impl World {
    pub fn new(seed: u64, mutation: Option<Mutation>, faulty: bool, tracing: bool) -> Self {
        let shards = SERVER_OF_SHARD
            .iter()
            .enumerate()
            .map(|(index, &server)| Shard {
                id: ShardId(index as u32 + 1),
                server,
                committed: BTreeSet::new(),
                decisions: BTreeMap::new(),
                unflushed: Vec::new(),
            });
        let mut world = World {
            random: Random::new(seed),
            now: 1,
            mutation,
            faulty,
            tracing,
            servers: (0..3).map(|_| Server::default()).collect(),
            shards: shards.collect(),
            routers: Vec::new(),
            connections: BTreeMap::new(),
            focus: None,
            collection_due: None,
            made: 0,
            records: Vec::new(),
            deleted: BTreeSet::new(),
            foreign: Vec::new(),
            violation: None,
            counts: Counts::default(),
        };
        for index in 0..ROUTERS {
            let identity = world.identity(index);
            world.routers.push(Router::new(identity));
        }
        world.prepare_foreign();
        world
    }

    /// Runs to the end. Err: an invariant does not hold.
    pub fn run(mut self) -> Result<Counts, String> {
        let steps = 150 + self.random.below(250);
        for _ in 0..steps {
            self.step();
            self.check_decisions();
            if let Some(violation) = self.violation {
                return Err(violation);
            }
        }
        self.quiesce();
        self.check_end()?;
        Ok(self.counts)
    }

    fn step(&mut self) {
        self.now += 1;
        for router in 0..self.routers.len() {
            if self.faulty && self.routers[router].paused_until <= self.now {
                self.feed_deadlines(router);
            }
        }
        if let Some((router, due)) = self.collection_due
            && due <= self.now
        {
            self.collection_due = None;
            self.now += RETENTION + 10;
            self.collect(router);
            self.focus = Some((router, self.now + 100));
        }
        match self.random.below(200) {
            0..=164 => self.progress_any(),
            165..=178 => self.begin(),
            179..=184 => {
                let router = self.random.below(self.routers.len());
                let grace = self.random.pick(&[0, 0, 50]).unwrap_or(0);
                if self.faulty && self.routers[router].recoveries.len() < 3 {
                    self.recover(router, grace);
                }
            }
            185..=187 => {
                let router = self.random.below(self.routers.len());
                if self.routers[router].collections.len() < 2 {
                    self.collect(router);
                }
            }
            188..=191 => self.restart_servers(),
            192..=193 if self.faulty => {
                self.now += self
                    .random
                    .pick(&[20, DEADLINE, 2 * DEADLINE, RETENTION + 10])
                    .unwrap_or(1)
            }
            194..=199 if self.faulty => self.fault(),
            _ => {}
        }
    }

    /// A client works on some shards, on whose servers its transactions are open now, and says COMMIT.
    fn begin(&mut self) {
        if self.records.len() >= TRANSACTIONS {
            return;
        }
        let router = self.random.below(self.routers.len());
        let serializable = self.random.one_in(3);
        let transaction = self.records.len();
        let mut participants = Vec::new();
        let mut connections = BTreeMap::new();
        for index in 0..self.shards.len() {
            let shard = self.shards[index].id;
            if self.servers[self.shards[index].server].down || self.random.one_in(3) {
                continue;
            }
            let access = self
                .random
                .pick(&[
                    Access::Write,
                    Access::Write,
                    Access::Write,
                    Access::Write,
                    Access::Lock,
                    Access::Read,
                ])
                .unwrap_or(Access::Write);
            let preparable = !(self.faulty && self.random.one_in(15));
            let failed = self.faulty && self.random.one_in(25);
            participants.push(Participant {
                shard,
                access,
                preparable,
            });
            let id = self.connect(router, index, Purpose::Participant { transaction });
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.open = Some(Open {
                    transaction,
                    began: self.now,
                    access,
                    preparable,
                    serializable,
                    failed,
                    row: None,
                    durable: true,
                });
            }
            connections.insert(shard, id);
        }
        // The order in which they joined.
        if self.random.one_in(2) {
            participants.reverse();
        }
        self.trace(|| format!("transaction {transaction} on router {router}: {participants:?}"));
        self.records.push(Record {
            participants: participants.clone(),
            decider: None,
            gid: None,
            serializable,
            answer: None,
            reader_refused: false,
            released_early: false,
        });
        self.commit(
            router,
            transaction,
            &participants,
            serializable,
            connections,
        );
    }

    pub fn next_pass(&mut self) -> usize {
        self.made += 1;
        self.made
    }

    /// Everything prepared, by shard; what a list would give now.
    pub fn prepared_now(&self) -> BTreeMap<ShardId, Vec<PreparedRow>> {
        let row = |gid: &String| PreparedRow {
            gid: gid.clone(),
            owner: "postgres".into(),
            age_ms: 0,
        };
        let list = |index: usize, shard: &Shard| {
            self.servers[shard.server]
                .prepared
                .iter()
                .filter(|(_, prepared)| prepared.shard == index)
                .map(|(gid, _)| row(gid))
                .collect()
        };
        self.shards
            .iter()
            .enumerate()
            .map(|(index, shard)| (shard.id, list(index, shard)))
            .collect()
    }

    pub fn trace(&self, describe: impl FnOnce() -> String) {
        if self.tracing {
            println!("{:5} {}", self.now, describe());
        }
    }

    pub fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// A router's identity: new at each start.
    pub fn identity(&mut self, router: usize) -> u64 {
        if self.mutation == Some(Mutation::RouterIdReused) {
            router as u64
        } else {
            self.random.next()
        }
    }

    /// What others prepared on the same servers.
    fn prepare_foreign(&mut self) {
        let gid = |cluster, coordinating| Gid {
            cluster,
            router: RouterId(7),
            sequence: 7,
            pledge: Pledge([7; 16]),
            coordinating: ShardId(coordinating),
        };
        let names: Vec<(usize, String)> = vec![
            (0, "citus_0_1234_5_6".into()),
            (1, "pgweave_garbage".into()),
            (
                2,
                gid(FOREIGN_CLUSTER, 1).participant(ShardId(3)).to_string(),
            ),
            // Copied along with the server it was prepared on.
            (3, gid(CLUSTER, 1).participant(ShardId(2)).to_string()),
            // Decided by a shard that the catalog does not know.
            (3, gid(CLUSTER, 99).participant(ShardId(4)).to_string()),
        ];
        for (index, name) in &names {
            self.servers[SERVER_OF_SHARD[*index]].prepared.insert(
                name.clone(),
                Prepared {
                    shard: *index,
                    transaction: None,
                    at: 0,
                },
            );
        }
        self.foreign = names;
    }

    /// Faults end, servers come back, and recovery runs until it finds nothing.
    fn quiesce(&mut self) {
        self.trace(|| "no more faults".into());
        self.faulty = false;
        self.focus = None;
        self.restart_servers();
        self.deliver_all();
        for _ in 0..12 {
            self.now += 5 * DEADLINE;
            for router in 0..self.routers.len() {
                self.feed_deadlines(router);
            }
            self.deliver_all();
            if self.routers.iter().all(|router| router.commits.is_empty())
                && !self.prepared_of_ours()
            {
                return;
            }
            self.recover(0, 0);
            self.deliver_all();
        }
    }
}

impl Record {
    pub fn writers(&self) -> Vec<ShardId> {
        self.participants
            .iter()
            .filter(|participant| participant.access == Access::Write)
            .map(|participant| participant.shard)
            .collect()
    }

    pub fn access(&self, shard: ShardId) -> Access {
        self.participants
            .iter()
            .find(|participant| participant.shard == shard)
            .map_or(Access::Read, |participant| participant.access)
    }
}
