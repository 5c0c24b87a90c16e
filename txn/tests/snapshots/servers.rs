//! The shards' servers, as far as snapshots can tell, and transactions over several of them that go on step by step.

use std::collections::{BTreeMap, BTreeSet};

use catalog::{ClusterId, ShardId};
use txn::snapshot::{Decided, View};
use txn::{Gid, Proof, RouterId};

use super::random::Random;

/// A database: which transactions are in progress, and what has been decided here.
#[derive(Default)]
pub struct Server {
    next: u64,
    running: BTreeSet<u64>,
    pub prepared: BTreeSet<Gid>,
    pub decisions: Vec<Decided>,
    /// The transactions whose changes are committed here.
    pub committed: BTreeSet<usize>,
    /// Writers between their row and their COMMIT.
    pub inserting: usize,
    /// Readers that hold the gate, or wait for it: new rows wait behind them.
    pub gates: BTreeSet<usize>,
}

/// A transaction over several shards: its router's steps, or recovery's.
pub struct Transaction {
    pub gid: Gid,
    parts: BTreeMap<ShardId, u64>,
    stage: Stage,
    /// Its row tells no ids, as if an older router had written it.
    silent: bool,
    /// Its router is gone; recovery comes in its own time.
    crashed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Writing,
    Inserting,
    Decided,
    Ended,
    Aborted,
}

impl Server {
    pub fn view(&self) -> View {
        let running: Vec<String> = self.running.iter().map(u64::to_string).collect();
        let xmin = self.running.first().copied().unwrap_or(self.next);
        View::parse(&format!("{xmin}:{}:{}", self.next, running.join(","))).unwrap()
    }

    fn begin(&mut self) -> u64 {
        self.next += 1;
        self.running.insert(self.next - 1);
        self.next - 1
    }

    /// A transaction of this shard alone takes an id, and may stay open.
    pub fn write(&mut self, random: &mut Random) {
        let xid = self.begin();
        if !random.one_in(4) {
            self.running.remove(&xid);
        }
    }
}

impl Transaction {
    pub fn begin(number: usize, servers: &mut [Server], random: &mut Random) -> Self {
        let mut places: Vec<usize> = (0..servers.len()).collect();
        let coordinating = places.remove(random.below(places.len()));
        let others = 1 + random.below(places.len());
        places.truncate(others);
        let gid = Gid {
            cluster: ClusterId([7; 16]),
            router: RouterId(1),
            sequence: number as u64,
            pledge: Proof::new([0; 32]).pledge(),
            coordinating: ShardId(coordinating as u32 + 1),
        };
        places.push(coordinating);
        let parts = places
            .into_iter()
            .map(|place| (ShardId(place as u32 + 1), servers[place].begin()))
            .collect();
        Transaction {
            gid,
            parts,
            stage: Stage::Writing,
            silent: random.one_in(12),
            crashed: false,
        }
    }

    pub fn shards(&self) -> impl Iterator<Item = ShardId> {
        self.parts.keys().copied()
    }

    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ended | Stage::Aborted)
    }

    /// The client has been told that it is committed.
    pub fn is_acknowledged(&self) -> bool {
        self.stage == Stage::Ended && !self.crashed
    }

    /// One step at one place, at random.
    pub fn advance(&mut self, number: usize, servers: &mut [Server], random: &mut Random) {
        if self.crashed && !random.one_in(8) {
            return;
        }
        self.crashed |= random.one_in(40);
        let coordinating = self.gid.coordinating;
        let others: Vec<ShardId> = self.shards().filter(|id| *id != coordinating).collect();
        let home = coordinating.0 as usize - 1;
        let prepared = |servers: &[Server], id: &ShardId| {
            servers[id.0 as usize - 1].prepared.contains(&self.gid)
        };
        match self.stage {
            Stage::Writing if self.crashed => {
                for (id, xid) in &self.parts {
                    let server = &mut servers[id.0 as usize - 1];
                    server.prepared.remove(&self.gid);
                    server.running.remove(xid);
                }
                self.stage = Stage::Aborted;
            }
            Stage::Writing => match others.iter().find(|id| !prepared(servers, id)) {
                Some(id) => {
                    servers[id.0 as usize - 1].prepared.insert(self.gid);
                }
                None if servers[home].gates.is_empty() => {
                    servers[home].inserting += 1;
                    self.stage = Stage::Inserting;
                }
                None => {}
            },
            Stage::Inserting => {
                let told = |xid: u64| (!self.silent).then_some(xid);
                let server = &mut servers[home];
                server.inserting -= 1;
                server.running.remove(&self.parts[&coordinating]);
                server.committed.insert(number);
                server.decisions.push(Decided {
                    gid: self.gid,
                    xid: Some(self.parts[&coordinating]),
                    participants: others
                        .iter()
                        .map(|id| (*id, told(self.parts[id])))
                        .collect(),
                });
                self.stage = Stage::Decided;
            }
            Stage::Decided => {
                let left: Vec<&ShardId> =
                    others.iter().filter(|id| prepared(servers, id)).collect();
                let Some(id) = random.pick(&left) else {
                    self.stage = Stage::Ended;
                    return;
                };
                // It is shown before it vanishes from the list.
                let server = &mut servers[id.0 as usize - 1];
                if server.running.remove(&self.parts[id]) {
                    server.committed.insert(number);
                } else {
                    server.prepared.remove(&self.gid);
                }
            }
            Stage::Ended | Stage::Aborted => {}
        }
    }
}
