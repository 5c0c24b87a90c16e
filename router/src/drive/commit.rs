//! Two-phase commit over a session's own links.
//!
//! The machine in `txn` says what to send where; this sends it, reads the answers in the order of sending (the servers
//! work side by side meanwhile) and turns the machine's outcome into the client's answer.

use std::collections::VecDeque;

use catalog::{Catalog, ShardId};
use tokio::time::{Instant, timeout_at};
use txn::coordinator::{Action, Coordinator, Input};
use txn::outcome::{Completion, Failure as TxnFailure, Outcome};

use super::failpoint::{self, Moment, Point, Step};
use crate::session::report::{Failure, Report};

/// What the driver needs of the session: its links, by shard.
#[expect(
    async_fn_in_trait,
    reason = "used in this crate only, by one session at a time"
)]
pub trait Participants {
    /// Queues and sends a command on the shard's own connection.
    async fn send(&mut self, shard: ShardId, sql: &str);
    /// Waits for the answer to the command sent last on that connection.
    async fn completion(&mut self, shard: ShardId) -> Completion;
    /// All votes are in: from here on nobody may stop what the servers do.
    async fn decides(&mut self);
    /// Whether the shard's connection, on which nothing is awaited, is lost, as far as is known here.
    async fn is_lost(&mut self, shard: ShardId) -> bool;
    /// The connection is out of the transaction.
    fn released(&mut self, shard: ShardId);
    /// The connection is to be closed.
    async fn discard(&mut self, shard: ShardId);
    /// Asks for the decision on a fresh connection.
    async fn resolve(&mut self, gid: txn::Gid, attempt: u32) -> Option<txn::Decision>;
    /// Hands a prepared transaction to recovery.
    fn leave_to_recovery(&mut self, gid: txn::ParticipantGid);
}

/// Runs a commit to its outcome.
pub async fn run(
    request: txn::Request,
    participants: &mut impl Participants,
) -> Result<Outcome, Failure> {
    let mut actions = Vec::new();
    let mut awaited = VecDeque::new();
    let start = Instant::now();
    let mut deadlines = 0;
    let decider = request.gid().map(|gid| gid.coordinating);
    // Until it is decided these must be there: what is to decide, and whose locks protect what is to be committed.
    let watched: Vec<ShardId> = request.holders().chain(decider).collect();
    let mut machine = Coordinator::start(request, &mut actions);
    loop {
        let mut resolving = None;
        for action in actions.drain(..) {
            match action {
                Action::Send { shard, command } => {
                    let step = Step::of(&command, decider == Some(shard));
                    if step == Step::Decision {
                        participants.decides().await;
                    }
                    failpoint::reach(Point::At(Moment::Before, step), Some(shard));
                    participants.send(shard, &command.text()).await;
                    failpoint::reach(Point::At(Moment::Sent, step), Some(shard));
                    awaited.push_back((shard, step));
                }
                Action::Release { shard } => participants.released(shard),
                Action::Discard { shard } => {
                    awaited.retain(|(other, _)| *other != shard);
                    participants.discard(shard).await;
                }
                Action::Resolve { gid, attempt } => resolving = Some((gid, attempt)),
                Action::LeaveToRecovery { gid } => participants.leave_to_recovery(gid),
                Action::Reply(outcome) => {
                    failpoint::reach(Point::BeforeReply, None);
                    return Ok(outcome);
                }
            }
        }
        let deadline = super::recovery::deadline(start, deadlines);
        let input = if Instant::now() >= deadline {
            None
        } else if let Some((gid, attempt)) = resolving {
            timeout_at(deadline, participants.resolve(gid, attempt))
                .await
                .ok()
                .map(|decision| Input::Resolved { decision })
        } else if let Some(&(shard, step)) = awaited.front() {
            let completion = timeout_at(deadline, participants.completion(shard))
                .await
                .ok();
            completion.map(|completion| {
                awaited.pop_front();
                failpoint::reach(Point::At(Moment::Answered, step), Some(shard));
                Input::Completed { shard, completion }
            })
        } else {
            // The machine waits for nothing it was not told to wait for.
            return Err(Report::error(
                "XX000",
                format!("a commit stands still while {}", machine.phase()),
            )
            .into());
        };
        let input = input.unwrap_or_else(|| {
            deadlines += 1;
            Input::DeadlinePassed
        });
        // What went with a connection cannot be committed, and locks have protected nothing since.
        for &shard in &watched {
            let lost = timeout_at(deadline, participants.is_lost(shard));
            if matches!(machine, Coordinator::Voting(_)) && lost.await == Ok(true) {
                let completion = Completion::Lost;
                machine = machine.step(Input::Completed { shard, completion }, &mut actions);
            }
        }
        machine = machine.step(input, &mut actions);
    }
}

/// The client's answer to COMMIT, where it is not simply COMMIT.
pub fn report(outcome: Outcome, catalog: &Catalog) -> Result<(), Report> {
    let name = |shard: ShardId| {
        catalog
            .shard(shard)
            .map_or_else(|| shard.to_string(), |shard| shard.name.clone())
    };
    match outcome {
        Outcome::Committed { .. } => Ok(()),
        Outcome::Aborted(TxnFailure::Server { shard, error }) => {
            let fields = crate::wire::backend::error_fields(&error.body);
            let mut report = Report::error("XX000", fields.message);
            report.sqlstate = crate::session::report::known_sqlstate(error.sqlstate_text());
            report.detail = fields.detail;
            report.hint = fields.hint;
            report.context = Some(format!(
                "pgweave: shard {}, while committing over several shards",
                name(shard)
            ));
            Err(report)
        }
        Outcome::Aborted(TxnFailure::Own(error)) => {
            let hint = "Nothing was committed; repeat the transaction.";
            Err(Report::error(error.sqlstate().to_owned(), error.to_string()).hint(hint))
        }
        Outcome::Unknown { gid } => {
            let mut report = Report::error(
                "08007",
                match gid {
                    Some(gid) => format!("the outcome of transaction {gid} is not known yet"),
                    None => "the outcome of the transaction is not known".to_owned(),
                },
            );
            report.hint = Some("The connection broke during COMMIT. Look whether the transaction took effect before repeating it.".into());
            Err(report)
        }
    }
}
