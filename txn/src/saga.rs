//! Sagas: several transactions, each on one shard, of which all take effect or those that did are compensated.
//!
//! Entry points: [`Progress::next`], what is to be done, and [`Progress::after`], what follows from its result. The
//! progress is a row in the catalog's home that is read, and written again, under its lock; so routers take turns, and any
//! router goes on where another was killed.
//!
//! # Exactly once
//! A step and a record of it, whose key is the saga, the step and the direction, are one transaction on the step's own shard.
//! Whoever runs a step again finds the record, or waits for a transaction in flight that writes it. So it does not
//! matter whether the progress was saved after the step or not, nor that a router which lost the lock without noticing runs on.
//!
//! # Giving up
//! Before a saga turns back, the step that failed is *sealed*: a record in its place that says it was abandoned. If the
//! step's own record is there after all, from an attempt whose answer was lost, the step counts as done and is compensated
//! too; if not, a late attempt finds the seal and does nothing. It is the way of [`crate::decision`].
//!
//! Compensations are tried until they succeed: there is nowhere to turn back to.

/// What a saga does next, in a durable row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub state: State,
    /// Forward and sealing: the step to be done. Compensating: how many steps are still to be compensated.
    pub position: u32,
    /// Attempts at this position that failed.
    pub tries: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Forward,
    Sealing,
    Compensating,
    /// All steps have taken effect.
    Done,
    /// Of all steps that took effect the compensation did too.
    Compensated,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Forward => "running",
            State::Sealing => "turning back",
            State::Compensating => "compensating",
            State::Done => "done",
            State::Compensated => "compensated",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [
            State::Forward,
            State::Sealing,
            State::Compensating,
            State::Done,
            State::Compensated,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
    }
}

/// Steps count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The step's statement and its record, in one transaction.
    Run(u32),
    /// The record that the step is abandoned, unless it has one.
    Seal(u32),
    /// The compensation and its record, in one transaction.
    Compensate(u32),
    Finished,
}

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has taken effect, now or before.
    Done,
    /// Of [`Action::Seal`]: the step has not taken effect, and never will. Of [`Action::Run`]: it is sealed.
    Sealed,
    /// It may succeed later, or has without anybody knowing.
    Transient,
    /// It will never succeed: a constraint, a wrong statement, an exception.
    Permanent,
}

/// The limits of one saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub steps: u32,
    /// Attempts at a step until the saga turns back.
    pub most_tries: u32,
}

/// The first pause after a failure; each is twice as long as the one before.
const FIRST_PAUSE_MS: u64 = 200;
const LONGEST_PAUSE_MS: u64 = 60_000;

impl Progress {
    pub const START: Progress = Progress {
        state: State::Forward,
        position: 0,
        tries: 0,
    };

    pub fn next(self, plan: Plan) -> Action {
        match self.state {
            State::Forward if self.position < plan.steps => Action::Run(self.position),
            State::Sealing => Action::Seal(self.position),
            State::Compensating if self.position > 0 => Action::Compensate(self.position - 1),
            State::Forward | State::Compensating | State::Done | State::Compensated => {
                Action::Finished
            }
        }
    }

    /// The progress to be saved, and the pause until the next action in milliseconds.
    pub fn after(self, plan: Plan, outcome: Outcome) -> (Progress, u64) {
        let to = |state, position| {
            let progress = Progress {
                state,
                position,
                tries: 0,
            };
            (progress.settled(plan), 0)
        };
        match (self.state, outcome) {
            (State::Forward, Outcome::Done) => to(State::Forward, self.position + 1),
            (State::Forward, Outcome::Permanent | Outcome::Sealed) => {
                to(State::Sealing, self.position)
            }
            (State::Forward, Outcome::Transient) if self.tries + 1 >= plan.most_tries => {
                to(State::Sealing, self.position)
            }
            // Its own record was there: it has taken effect, and is compensated with the others.
            (State::Sealing, Outcome::Done) => to(State::Compensating, self.position + 1),
            (State::Sealing, Outcome::Sealed) => to(State::Compensating, self.position),
            (State::Compensating, Outcome::Done) => {
                to(State::Compensating, self.position.saturating_sub(1))
            }
            (State::Done | State::Compensated, _) => (self, 0),
            (State::Forward | State::Sealing | State::Compensating, _) => {
                let pause = FIRST_PAUSE_MS << self.tries.min(16);
                let progress = Progress {
                    tries: self.tries.saturating_add(1),
                    ..self
                };
                (progress, pause.min(LONGEST_PAUSE_MS))
            }
        }
    }

    /// With nothing left to do it has ended.
    fn settled(self, plan: Plan) -> Self {
        let state = match (self.state, self.next(plan)) {
            (State::Forward, Action::Finished) => State::Done,
            (State::Compensating, Action::Finished) => State::Compensated,
            (state, _) => state,
        };
        Self { state, ..self }
    }
}

/// Whether an error may go away by itself.
pub fn is_transient(sqlstate: &str) -> bool {
    const CLASSES: [&str; 5] = ["08", "40", "53", "57", "58"];
    const CODES: [&str; 2] = ["55P03", "55006"];
    CLASSES.iter().any(|class| sqlstate.starts_with(class)) || CODES.contains(&sqlstate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        steps: 2,
        most_tries: 2,
    };

    fn walk(outcomes: &[Outcome]) -> Progress {
        outcomes.iter().fold(Progress::START, |progress, outcome| {
            progress.after(PLAN, *outcome).0
        })
    }

    #[test]
    fn ways_through() {
        use Outcome::{Done, Permanent, Sealed, Transient};
        let check = |outcomes: &[Outcome], state, next| {
            let progress = walk(outcomes);
            assert_eq!(
                (progress.state, progress.next(PLAN)),
                (state, next),
                "{outcomes:?}"
            );
        };
        check(&[], State::Forward, Action::Run(0));
        check(&[Done], State::Forward, Action::Run(1));
        check(&[Done, Done], State::Done, Action::Finished);
        check(&[Done, Transient, Done], State::Done, Action::Finished);
        check(&[Permanent], State::Sealing, Action::Seal(0));
        check(&[Permanent, Sealed], State::Compensated, Action::Finished);
        check(
            &[Permanent, Done],
            State::Compensating,
            Action::Compensate(0),
        );
        check(
            &[Done, Transient, Transient],
            State::Sealing,
            Action::Seal(1),
        );
        check(
            &[Done, Permanent, Sealed],
            State::Compensating,
            Action::Compensate(0),
        );
        check(
            &[Done, Permanent, Done],
            State::Compensating,
            Action::Compensate(1),
        );
        check(
            &[Done, Permanent, Done, Permanent, Transient, Done],
            State::Compensating,
            Action::Compensate(0),
        );
        check(
            &[Done, Permanent, Sealed, Done],
            State::Compensated,
            Action::Finished,
        );
    }

    #[test]
    fn pauses_grow_and_end() {
        let mut progress = Progress {
            state: State::Compensating,
            position: 1,
            tries: 0,
        };
        let mut pauses = Vec::new();
        for _ in 0..40 {
            let (next, pause) = progress.after(PLAN, Outcome::Permanent);
            (progress, pauses) = (next, [pauses, vec![pause]].concat());
        }
        assert_eq!(&pauses[..3], [200, 400, 800]);
        assert!(pauses.is_sorted());
        assert_eq!(pauses.last(), Some(&LONGEST_PAUSE_MS));
    }
}
