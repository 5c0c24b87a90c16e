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
//!
//! # Reservations
//! A saga that *holds* ([`Plan::hold_ms`]) does not end when all steps have taken effect: they are reservations, until a client
//! confirms or cancels ([`Progress::decide`]) or the time is over. Confirmations are tried until they succeed, like
//! compensations. Who asks and who notices the end of the time change the same row under its lock, so it is one or the other.
//! This is the protocol known as try, confirm, cancel.

/// What a saga does next, in a durable row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub state: State,
    /// Forward, sealing and confirming: the step to be done. Compensating: how many steps are still to be compensated.
    pub position: u32,
    /// Attempts at this position that failed.
    pub tries: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Forward,
    Sealing,
    Compensating,
    /// All steps have taken effect, and wait for a decision.
    Reserved,
    Confirming,
    /// All steps have taken effect, and their confirmations too.
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
            State::Reserved => "reserved",
            State::Confirming => "confirming",
            State::Done => "done",
            State::Compensated => "compensated",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [
            State::Forward,
            State::Sealing,
            State::Compensating,
            State::Reserved,
            State::Confirming,
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
    /// The confirmation and its record, in one transaction.
    Confirm(u32),
    /// Nothing: the time of the reservation is over.
    Expire,
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
    /// How long the steps are held for a decision. `None`: the saga ends with its last step.
    pub hold_ms: Option<u64>,
}

/// What a client may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Confirm,
    Cancel,
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
            State::Confirming if self.position < plan.steps => Action::Confirm(self.position),
            State::Reserved => Action::Expire,
            State::Forward
            | State::Compensating
            | State::Confirming
            | State::Done
            | State::Compensated => Action::Finished,
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
            progress.settled(plan)
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
            (State::Confirming, Outcome::Done) => to(State::Confirming, self.position + 1),
            (State::Reserved, _) => to(State::Compensating, plan.steps),
            (State::Done | State::Compensated, _) => (self, 0),
            (State::Forward | State::Sealing | State::Compensating | State::Confirming, _) => {
                let pause = FIRST_PAUSE_MS << self.tries.min(16);
                let progress = Progress {
                    tries: self.tries.saturating_add(1),
                    ..self
                };
                (progress, pause.min(LONGEST_PAUSE_MS))
            }
        }
    }

    /// The progress after a client's decision; `None` if it comes too late, or too early: nothing is confirmed that is not
    /// reserved. The same decision twice is no error.
    pub fn decide(self, plan: Plan, verdict: Verdict) -> Option<Progress> {
        let to = |state, position| {
            let progress = Progress {
                state,
                position,
                tries: 0,
            };
            Some(progress.settled(plan).0)
        };
        match (self.state, verdict) {
            (State::Reserved, Verdict::Confirm) => to(State::Confirming, 0),
            (State::Reserved, Verdict::Cancel) => to(State::Compensating, plan.steps),
            (State::Forward, Verdict::Cancel) => to(State::Sealing, self.position),
            (State::Confirming | State::Done, Verdict::Confirm)
            | (State::Sealing | State::Compensating | State::Compensated, Verdict::Cancel) => {
                Some(self)
            }
            (State::Confirming | State::Done, Verdict::Cancel)
            | (
                State::Forward | State::Sealing | State::Compensating | State::Compensated,
                Verdict::Confirm,
            ) => None,
        }
    }

    /// With nothing left to do it has ended, or is held.
    fn settled(self, plan: Plan) -> (Self, u64) {
        let (state, pause) = match (self.state, self.next(plan), plan.hold_ms) {
            (State::Forward, Action::Finished, Some(hold_ms)) => (State::Reserved, hold_ms),
            (State::Forward | State::Confirming, Action::Finished, _) => (State::Done, 0),
            (State::Compensating, Action::Finished, _) => (State::Compensated, 0),
            (state, ..) => (state, 0),
        };
        (Self { state, ..self }, pause)
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
        hold_ms: None,
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
    fn reservations() {
        use Verdict::{Cancel, Confirm};
        let plan = Plan {
            hold_ms: Some(9),
            ..PLAN
        };
        let running = Progress::START.after(plan, Outcome::Done).0;
        let (reserved, pause) = running.after(plan, Outcome::Done);
        assert_eq!((reserved.state, pause), (State::Reserved, 9));
        assert_eq!(reserved.next(plan), Action::Expire);
        let expired = reserved.after(plan, Outcome::Done).0;
        assert_eq!(expired.next(plan), Action::Compensate(1));
        assert_eq!(expired.decide(plan, Confirm), None);
        assert_eq!(expired.decide(plan, Cancel), Some(expired));
        let confirmed = reserved.decide(plan, Confirm).unwrap();
        assert_eq!(confirmed.next(plan), Action::Confirm(0));
        assert_eq!(confirmed.decide(plan, Cancel), None);
        let half = confirmed.after(plan, Outcome::Done).0;
        assert_eq!(half.decide(plan, Confirm), Some(half));
        assert_eq!(half.after(plan, Outcome::Done).0.state, State::Done);
        let cancelled = reserved.decide(plan, Cancel).unwrap();
        assert_eq!(cancelled, expired);
        // One that is still at its steps can be cancelled, and not be confirmed.
        assert_eq!(running.decide(plan, Confirm), None);
        let sealing = running.decide(plan, Cancel).unwrap();
        assert_eq!(sealing.next(plan), Action::Seal(1));
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
