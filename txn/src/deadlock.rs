//! Transactions that wait for each other on different shards, so that no single server can see it.
//!
//! Entry point: [`Detector::step`], with one [`Reading`] of all servers after the other. A cycle within one shard is that
//! server's own business (`deadlock_timeout`); the others are ended by failing the youngest transaction in them.
//!
//! # Why nobody fails who is not in a deadlock
//! The servers are read one after the other while they go on working, so a reading may show waits side by side that never
//! were there together: a phantom cycle. A deadlock, once there, stays. So a cycle counts only when [`READINGS`] readings
//! in a row show the same waits: by the same transactions, each in the same *episode* (it has slept since the same
//! moment), behind the same transactions. Between the first and the last of three readings everybody in the cycle was then
//! asleep without a break, could neither take nor give back a lock, and the reading in the middle saw all waits of the
//! cycle within that time. Two readings are not enough: a wait may have been read in the first before the one
//! it waits for went to sleep, and in the second after that one has woken.
//!
//! That several processes belong to one transaction over several shards is told by the routers ([`Transaction`]), each for its
//! own sessions and by virtual transaction ids, which name one transaction for good: what was true once about them
//! stays true, so it does not matter when it was read.
//!
//! # Why only one fails
//! Any router may look, and all that find the cycle take the same victim: the youngest by [`Transaction::began_us`], which the
//! catalog's home has written once. Only the victim's own router acts. A group of cycles that hang together has one victim at a
//! time.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use catalog::ShardId;

/// Readings that must agree before anybody fails.
pub const READINGS: u32 = 3;

/// PostgreSQL's name of a transaction while it runs: `backend/number`. Unique on its server until that restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualId {
    pub backend: u32,
    pub number: u32,
}

impl VirtualId {
    /// As `pg_locks.virtualtransaction` has it.
    pub fn parse(text: &str) -> Option<Self> {
        let (backend, number) = text.split_once('/')?;
        Some(Self {
            backend: backend.parse().ok()?,
            number: number.parse().ok()?,
        })
    }
}

impl fmt::Display for VirtualId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.number)
    }
}

/// One server process in one transaction on one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process {
    pub shard: ShardId,
    pub pid: u32,
    pub transaction: VirtualId,
}

/// One process waits for a lock that another holds, or asked for earlier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait {
    pub waiter: Process,
    pub blocker: Process,
    /// When the waiter fell asleep, by its server's clock.
    pub since_us: i64,
    /// What it waits for, in words: `ShareLock on transaction 760`.
    pub lock: String,
}

impl Wait {
    /// The same episode of the same wait. The words do not count.
    fn is(&self, other: &Wait) -> bool {
        (self.waiter, self.blocker, self.since_us) == (other.waiter, other.blocker, other.since_us)
    }
}

/// A session of a router.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// One life of a router.
    pub router: String,
    pub session: u32,
}

/// A transaction over several shards, as its router knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub session: SessionId,
    /// When it began, by the clock of the catalog's home: the same number for every router.
    pub began_us: i64,
    pub processes: Vec<Process>,
}

/// What the servers and the routers have said, each at its own moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    pub waits: Vec<Wait>,
    pub transactions: Vec<Transaction>,
}

/// A cycle of waits over several shards, and who is to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlock {
    pub victim: SessionId,
    /// In order: the victim's own wait is the first, and each blocker is of the same transaction as the next waiter.
    pub waits: Vec<Wait>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// There is a suspicion: read everything again, at once.
    ReadAgain,
    /// The deadlock is real. To be carried out by the victim's own router, and by no other.
    Fail(Deadlock),
}

/// What one router suspects.
#[derive(Debug, Default)]
pub struct Detector {
    suspects: Vec<Suspect>,
}

#[derive(Debug)]
struct Suspect {
    deadlock: Deadlock,
    readings: u32,
}

impl Detector {
    /// Takes a reading that was begun after the one before had ended.
    pub fn step(self, reading: &Reading, out: &mut Vec<Action>) -> Self {
        // Who the victim is depends on what the routers have said meanwhile, so the cycles are found anew each time.
        let suspects = cycles(reading).into_iter().map(|found| {
            let mut known = self.suspects.iter();
            match known
                .find(|suspect| suspect.deadlock.victim == found.victim && suspect.is_in(reading))
            {
                Some(suspect) => Suspect {
                    deadlock: suspect.deadlock.clone(),
                    readings: suspect.readings + 1,
                },
                None => Suspect {
                    deadlock: found,
                    readings: 1,
                },
            }
        });
        let (proven, suspects): (Vec<_>, Vec<_>) =
            suspects.partition(|suspect| suspect.readings >= READINGS);
        out.extend(
            proven
                .into_iter()
                .map(|suspect| Action::Fail(suspect.deadlock)),
        );
        if !suspects.is_empty() {
            out.push(Action::ReadAgain);
        }
        Self { suspects }
    }
}

impl Suspect {
    fn is_in(&self, reading: &Reading) -> bool {
        self.deadlock
            .waits
            .iter()
            .all(|wait| reading.waits.iter().any(|other| other.is(wait)))
    }
}

/// One who waits or is waited for: a transaction over several shards with all its processes, or a process of which no router
/// has said more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Agent {
    /// Index in [`Reading::transactions`].
    Transaction(usize),
    Process(Process),
}

/// One deadlock for each group of agents that wait for each other over several shards.
fn cycles(reading: &Reading) -> Vec<Deadlock> {
    let mut owners: BTreeMap<Process, usize> = BTreeMap::new();
    for (index, transaction) in reading.transactions.iter().enumerate() {
        owners.extend(
            transaction
                .processes
                .iter()
                .map(|process| (*process, index)),
        );
    }
    let agent = |process: Process| {
        owners
            .get(&process)
            .map_or(Agent::Process(process), |index| Agent::Transaction(*index))
    };
    let mut graph: BTreeMap<Agent, Vec<(&Wait, Agent)>> = BTreeMap::new();
    for wait in &reading.waits {
        let (from, to) = (agent(wait.waiter), agent(wait.blocker));
        if from != to {
            graph.entry(from).or_default().push((wait, to));
        }
    }
    for waits in graph.values_mut() {
        waits.sort();
    }
    let mut found = Vec::new();
    let mut done: BTreeSet<Agent> = BTreeSet::new();
    let mut transactions: Vec<usize> = (0..reading.transactions.len()).collect();
    // The youngest first, so that the first of a group that is met is its victim.
    transactions.sort_by_key(|&index| {
        let transaction = &reading.transactions[index];
        std::cmp::Reverse((transaction.began_us, &transaction.session))
    });
    for index in transactions {
        let victim = Agent::Transaction(index);
        if done.contains(&victim) {
            continue;
        }
        let Some(waits) = shortest_cycle(&graph, victim) else {
            continue;
        };
        let forward = reachable(victim, |from| {
            graph.get(&from).into_iter().flatten().map(|(_, to)| *to)
        });
        // With the victim's, all cycles through whoever it waits for and who waits for it are looked at anew next time.
        done.extend(forward.into_iter().filter(|other| {
            reachable(*other, |from| {
                graph.get(&from).into_iter().flatten().map(|(_, to)| *to)
            })
            .contains(&victim)
        }));
        let following = waits.iter().cycle().skip(1);
        if (waits.iter().zip(following)).all(|(wait, next)| wait.blocker == next.waiter) {
            // From process to process within one server: that sees it, and fails one of them.
            continue;
        }
        found.push(Deadlock {
            victim: reading.transactions[index].session.clone(),
            waits: waits.into_iter().cloned().collect(),
        });
    }
    found
}

/// The shortest way from an agent back to itself.
fn shortest_cycle<'a>(
    graph: &BTreeMap<Agent, Vec<(&'a Wait, Agent)>>,
    start: Agent,
) -> Option<Vec<&'a Wait>> {
    let mut came: BTreeMap<Agent, (Agent, &'a Wait)> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(from) = queue.pop_front() {
        for &(wait, to) in graph.get(&from).into_iter().flatten() {
            if to == start {
                let mut way = vec![wait];
                let mut at = from;
                while at != start {
                    let (before, wait) = *came.get(&at)?;
                    way.push(wait);
                    at = before;
                }
                way.reverse();
                return Some(way);
            }
            if let Entry::Vacant(unseen) = came.entry(to) {
                unseen.insert((from, wait));
                queue.push_back(to);
            }
        }
    }
    None
}

/// All agents that can be reached, with `start` itself.
fn reachable<I: Iterator<Item = Agent>>(
    start: Agent,
    next: impl Fn(Agent) -> I,
) -> BTreeSet<Agent> {
    let mut seen = BTreeSet::from([start]);
    let mut stack = vec![start];
    while let Some(from) = stack.pop() {
        for to in next(from) {
            if seen.insert(to) {
                stack.push(to);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(shard: u32, pid: u32) -> Process {
        Process {
            shard: ShardId(shard),
            pid,
            transaction: VirtualId {
                backend: pid,
                number: 1,
            },
        }
    }

    fn wait(shard: u32, waiter: u32, blocker: u32) -> Wait {
        Wait {
            waiter: process(shard, waiter),
            blocker: process(shard, blocker),
            since_us: 5,
            lock: String::new(),
        }
    }

    /// A transaction has the same pid on all its shards here.
    fn transaction(pid: u32, shards: &[u32]) -> Transaction {
        Transaction {
            session: SessionId {
                router: "r".to_owned(),
                session: pid,
            },
            began_us: i64::from(pid),
            processes: shards.iter().map(|&shard| process(shard, pid)).collect(),
        }
    }

    fn check(transactions: &[(u32, &[u32])], waits: &[(u32, u32, u32)], victims: &[u32]) {
        let reading = Reading {
            waits: waits.iter().map(|&(s, w, b)| wait(s, w, b)).collect(),
            transactions: transactions
                .iter()
                .map(|&(pid, shards)| transaction(pid, shards))
                .collect(),
        };
        let found: Vec<u32> = cycles(&reading)
            .iter()
            .map(|deadlock| deadlock.victim.session)
            .collect();
        assert_eq!(found, victims, "{waits:?}");
    }

    #[test]
    fn cycles_over_shards() {
        check(&[(1, &[1, 2]), (2, &[1, 2])], &[(1, 1, 2), (2, 2, 1)], &[2]);
        // a chain
        check(&[(1, &[1, 2]), (2, &[1, 2])], &[(1, 1, 2), (2, 2, 3)], &[]);
        // within one shard: its own matter
        check(&[(1, &[1, 2]), (2, &[1, 2])], &[(1, 1, 2), (1, 2, 1)], &[]);
        // on one shard, but by two processes of the same session there
        let reading = Reading {
            waits: vec![wait(1, 1, 3), wait(1, 3, 2)],
            transactions: vec![Transaction {
                processes: vec![process(1, 1), process(1, 2)],
                ..transaction(1, &[])
            }],
        };
        assert_eq!(cycles(&reading).len(), 1);
        // three, and one of them on one shard only, of whom no router has spoken
        check(
            &[(1, &[1, 2]), (2, &[1, 2])],
            &[(1, 1, 2), (2, 2, 9), (2, 9, 1)],
            &[2],
        );
        check(
            &[(1, &[1, 2]), (2, &[2, 3]), (3, &[1, 3])],
            &[(2, 1, 2), (3, 2, 3), (1, 3, 1)],
            &[3],
        );
        // two cycles that hang together have one victim at a time, two apart have two
        check(
            &[(1, &[1, 2]), (2, &[1, 2]), (3, &[1, 2])],
            &[(1, 1, 2), (1, 1, 3), (2, 2, 1), (2, 3, 1)],
            &[3],
        );
        check(
            &[(1, &[1, 2]), (2, &[1, 2]), (3, &[1, 2]), (4, &[1, 2])],
            &[(1, 1, 2), (2, 2, 1), (1, 3, 4), (2, 4, 3)],
            &[4, 2],
        );
        // who waits for a deadlock is not in it
        check(
            &[(1, &[1, 2]), (2, &[1, 2]), (3, &[1, 2])],
            &[(1, 1, 2), (2, 2, 1), (2, 3, 1)],
            &[2],
        );
    }

    #[test]
    fn three_readings_of_the_same() {
        let reading = Reading {
            waits: vec![wait(1, 1, 2), wait(2, 2, 1)],
            transactions: vec![transaction(1, &[1, 2]), transaction(2, &[1, 2])],
        };
        let mut out = Vec::new();
        let mut detector = Detector::default();
        for _ in 1..READINGS {
            detector = detector.step(&reading, &mut out);
            assert_eq!(std::mem::take(&mut out), [Action::ReadAgain]);
        }
        // A new episode begins anew.
        let mut later = reading.clone();
        later.waits[0].since_us = 6;
        for _ in 1..READINGS {
            detector = detector.step(&later, &mut out);
            assert_eq!(std::mem::take(&mut out), [Action::ReadAgain]);
        }
        detector.step(&later, &mut out);
        let [Action::Fail(deadlock)] = &out[..] else {
            panic!("{out:?}")
        };
        assert_eq!(deadlock.victim.session, 2);
        // The victim's own wait comes first.
        assert_eq!(
            deadlock.waits,
            [later.waits[1].clone(), later.waits[0].clone()]
        );
    }

    #[test]
    fn virtual_ids() {
        let id = VirtualId::parse("3/1234").unwrap();
        assert_eq!(id.to_string(), "3/1234");
        assert_eq!(VirtualId::parse("3"), None);
        assert_eq!(VirtualId::parse("-1/0"), None);
    }
}
