//! Transactions over several shards: two-phase commit, its recovery, and deadlocks, as state machines without IO.
//!
//! Nothing here reads a clock, draws a random number or opens a socket. A machine takes an input and
//! answers with actions; the router performs the actions and feeds the results back. The same machines run
//! in a seeded simulation (`tests/simulation.rs`) that crashes routers and servers at every step.
//!
//! Read in this order:
//!
//! 1. [`request`]: who must vote, and which shard decides. What a transaction is before it commits is its session's matter.
//! 2. [`coordinator`]: one commit, from the first vote to the client's answer.
//! 3. [`decision`]: the row that decides, and why a unique index is all the consensus needed.
//! 4. [`recovery`]: what any router does with prepared transactions whose coordinator is gone.
//! 5. [`collection`]: when a decision row may be deleted.
//! 6. [`proof`]: why nobody else can decide.
//! 7. [`deadlock`]: transactions that wait for each other on different shards.
//! 8. [`saga`]: several transactions that take effect together or are compensated.
//! 9. [`snapshot`]: reading on several shards as if they were one.
//! 10. [`gid`] and [`sql`]: names and texts.
//!
//! # The argument in one paragraph
//!
//! A transaction that wrote on several shards commits if and only if a row with its gid and the outcome
//! `commit` is committed in `pgweave.decision` on its coordinating shard. That row is inserted in the
//! transaction of the coordinating shard itself, so its own changes and the decision are one atomic commit.
//! The others are prepared before that commit is sent, so they can always follow. Whoever wants to know the
//! outcome inserts an `abort` row under the same gid: the unique index lets exactly one of the two exist, and
//! makes the asker wait while a commit is in flight. No two observers can therefore act on different outcomes,
//! whatever crashes, and no router holds anything on its disk.

pub mod collection;
pub mod coordinator;
pub mod deadlock;
pub mod decision;
pub mod error;
pub mod gid;
pub mod outcome;
pub mod proof;
pub mod recovery;
pub mod request;
pub mod saga;
pub mod snapshot;
pub mod sql;

pub use collection::Collection;
pub use coordinator::Coordinator;
pub use decision::Decision;
pub use error::Error;
pub use gid::{Gid, GidSequence, Named, ParticipantGid, RouterId};
pub use outcome::{Completion, Outcome, ServerError};
pub use proof::{Pledge, Proof, ProofKey};
pub use recovery::Recovery;
pub use request::{Access, Participant, Request};
