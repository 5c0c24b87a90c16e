//! Sagas on a model of the home and the shards: routers are killed between any two things they do, lose the home's lock without
//! noticing, and get no answers. In the end every step has taken effect once, or every step that did was compensated once,
//! in reverse order.
//!
//! `PGWEAVE_SIM_SEED=4711 cargo test -p txn --test saga one_seed` replays one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

#[path = "model/random.rs"]
mod random;

use std::collections::BTreeMap;

use random::Random;
use txn::saga::{Action, Outcome, Plan, Progress, State};

const PLAN: Plan = Plan {
    steps: 4,
    most_tries: 3,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Forward,
    Back,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    Done,
    Abandoned,
}

/// A router's attempt that is under way: it may be carried on much later, by when others have gone on.
#[derive(Clone, Copy)]
enum Attempt {
    /// It has read the progress and is about to act.
    Acting(Progress),
    /// The shard has its transaction, uncommitted, with this key.
    InFlight(Progress, u32, Kind, Record),
    /// It is about to save what it learned.
    Saving(Progress, Outcome),
}

struct World {
    random: Random,
    saved: Progress,
    /// The router that holds the row's lock.
    lock: Option<usize>,
    records: BTreeMap<(u32, Kind), Record>,
    /// Steps and compensations in the order in which they took effect.
    effects: Vec<(u32, Kind)>,
    attempts: [Option<Attempt>; 3],
    /// The step that never succeeds.
    bad: Option<u32>,
}

impl World {
    /// Somebody else's transaction has written this key and is not committed: one waits for it.
    fn is_in_flight(&self, step: u32, kind: Kind) -> bool {
        self.attempts.iter().flatten().any(
            |attempt| matches!(attempt, Attempt::InFlight(_, s, k, _) if (*s, *k) == (step, kind)),
        )
    }

    fn work(&mut self) {
        let router = self.random.below(self.attempts.len());
        if self.random.one_in(12) {
            // Killed. What was uncommitted is rolled back, or is committed after all: COMMIT was on its way.
            if let Some(Attempt::InFlight(_, step, kind, record)) = self.attempts[router].take()
                && self.random.one_in(2)
            {
                self.commit(step, kind, record);
            }
            if self.lock == Some(router) {
                self.lock = None;
            }
            return;
        }
        if self.random.one_in(15) {
            // The home forgets whose lock it is; the router does not notice.
            self.lock = None;
            return;
        }
        match self.attempts[router] {
            None => {
                if self.lock.is_none() && self.saved.next(PLAN) != Action::Finished {
                    self.lock = Some(router);
                    self.attempts[router] = Some(Attempt::Acting(self.saved));
                }
            }
            Some(Attempt::Acting(progress)) => self.act(router, progress),
            Some(Attempt::InFlight(progress, step, kind, record)) => {
                self.attempts[router] = None;
                let outcome = match self.random.below(6) {
                    // No answer to COMMIT: rolled back, or not.
                    0 => Outcome::Transient,
                    1 => {
                        self.commit(step, kind, record);
                        Outcome::Transient
                    }
                    _ => {
                        self.commit(step, kind, record);
                        match record {
                            Record::Done => Outcome::Done,
                            Record::Abandoned => Outcome::Sealed,
                        }
                    }
                };
                self.attempts[router] = Some(Attempt::Saving(progress, outcome));
            }
            Some(Attempt::Saving(progress, outcome)) => {
                self.attempts[router] = None;
                // Without the lock its transaction at the home is gone.
                if self.lock == Some(router) {
                    self.saved = progress.after(PLAN, outcome).0;
                    self.lock = None;
                }
            }
        }
    }

    fn act(&mut self, router: usize, progress: Progress) {
        let (step, kind, record) = match progress.next(PLAN) {
            Action::Run(step) => (step, Kind::Forward, Record::Done),
            Action::Seal(step) => (step, Kind::Forward, Record::Abandoned),
            Action::Compensate(step) => (step, Kind::Back, Record::Done),
            Action::Finished => return,
        };
        if self.is_in_flight(step, kind) {
            // It waits, or its wait times out.
            if self.random.one_in(4) {
                self.attempts[router] = Some(Attempt::Saving(progress, Outcome::Transient));
            }
            return;
        }
        let outcome = match self.records.get(&(step, kind)) {
            Some(Record::Done) => Outcome::Done,
            Some(Record::Abandoned) => Outcome::Sealed,
            None if record == Record::Done && kind == Kind::Forward && self.bad == Some(step) => {
                Outcome::Permanent
            }
            None if self.random.one_in(8) => Outcome::Transient,
            None => {
                self.attempts[router] = Some(Attempt::InFlight(progress, step, kind, record));
                return;
            }
        };
        self.attempts[router] = Some(Attempt::Saving(progress, outcome));
    }

    fn commit(&mut self, step: u32, kind: Kind, record: Record) {
        let before = self.records.insert((step, kind), record);
        assert_eq!(before, None, "the key is unique");
        if record == Record::Done {
            self.effects.push((step, kind));
        }
    }
}

fn run(seed: u64) -> Result<State, String> {
    let mut random = Random::new(seed);
    let bad = match random.one_in(2) {
        true => random.pick(&[0, 1, 2, 3]),
        false => None,
    };
    let mut world = World {
        random,
        saved: Progress::START,
        lock: None,
        records: BTreeMap::new(),
        effects: Vec::new(),
        attempts: [None; 3],
        bad,
    };
    for _ in 0..20_000 {
        world.work();
        let idle = world.attempts.iter().all(Option::is_none);
        if idle && world.saved.next(PLAN) == Action::Finished {
            return check(&world);
        }
    }
    Err(format!("it has not ended: {:?}", world.saved))
}

fn check(world: &World) -> Result<State, String> {
    let forward: Vec<u32> = (0..)
        .zip(&world.effects)
        .take_while(|(_, (_, kind))| *kind == Kind::Forward)
        .map(|(_, (step, _))| *step)
        .collect();
    let back: Vec<u32> = world.effects[forward.len()..]
        .iter()
        .map(|(step, _)| *step)
        .collect();
    let problem = || Err(format!("{:?}: {:?}", world.saved.state, world.effects));
    if !forward.iter().copied().eq(0..forward.len() as u32) {
        return problem();
    }
    let good = match world.saved.state {
        State::Done => forward.len() == PLAN.steps as usize && back.is_empty(),
        State::Compensated => back.iter().eq(forward.iter().rev()),
        State::Forward | State::Sealing | State::Compensating => false,
    };
    if good {
        Ok(world.saved.state)
    } else {
        problem()
    }
}

#[test]
fn all_or_compensated() {
    let (mut done, mut compensated) = (0, 0);
    for seed in 0..5_000 {
        match run(seed).unwrap_or_else(|problem| panic!("seed {seed}: {problem}")) {
            State::Done => done += 1,
            _ => compensated += 1,
        }
    }
    println!("{done} done, {compensated} compensated");
    assert!(done > 500 && compensated > 500);
}

#[test]
fn one_seed() {
    if let Ok(seed) = std::env::var("PGWEAVE_SIM_SEED") {
        run(seed.parse().unwrap()).unwrap();
    }
}
