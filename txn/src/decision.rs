//! The decision: one row in `pgweave.decision` on the coordinating shard.
//!
//! The table is on every shard, since any can coordinate; the router's migrations create it, as the role that recovery runs as. A
//! row has the gid (primary key), the outcome, the participants that were prepared, with their transaction ids, and the proof (for
//! a commit), the time, and by default the id of the transaction that wrote it.
//! Every role may insert the gid, the proof and the participants with their ids; none may read, change or delete rows.
//!
//! # Who writes it
//!
//! - `commit`: the coordinator, in the still open transaction of the coordinating shard, together with that shard's
//!   own changes, in one packet with its COMMIT. It becomes a decision when that transaction commits, and not before.
//! - `abort`: whoever asks ([`crate::sql::decide_abort`]): recovery, or a coordinator whose COMMIT got no answer. It
//!   is one statement that inserts `abort` or returns the row that is there.
//!
//! # Why the primary key is enough
//!
//! PostgreSQL lets an insert under a key wait for a transaction in progress that inserted the same key. So:
//!
//! | the asker finds              | it means                                        | it gets  | later                                   |
//! |------------------------------|-------------------------------------------------|----------|-----------------------------------------|
//! | a committed `commit` row     | decided                                         | `commit` | nothing can change it                   |
//! | an uncommitted `commit` row  | COMMIT is in flight, or its router is dead      | waits    | the truth, or a lock timeout: no answer |
//! | a committed `abort` row      | somebody asked before                           | `abort`  |                                         |
//! | nothing                      | the coordinator has not inserted, or never will | `abort`  | its insert fails with 23505: it aborts  |
//!
//! A packet that its router believes lost may still sit unread in the server's socket. That case is the last line: the
//! asker aborts, and when the server reads the packet after all, the row meets the key and COMMIT is not reached.
//!
//! # Durability
//!
//! The others act on the decision and cannot be taken back, so it must not be lost in a crash. A session may run
//! with `synchronous_commit = off`; the command that inserts the row raises it for this transaction, and
//! PREPARE TRANSACTION raises it likewise (its own record is always flushed, but waits for a synchronous
//! standby only at level `on`). Visible implies durable, since PostgreSQL makes a commit visible after the flush.
//!
//! # What this does not protect from
//!
//! Losing committed rows: failover to an asynchronous replica that lacks the decision, or a restore from an older
//! backup of one shard alone. Nor from superusers and the table's owner; what others cannot do is told in
//! [`crate::proof`]. A transaction made READ ONLY
//! after it wrote cannot take the row (25006), so over several shards it is rolled back with that error.

use catalog::ShardId;

use crate::gid::Gid;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Commit,
    Abort,
}

/// A committed row of `pgweave.decision` as garbage collection reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionRow {
    pub gid: Gid,
    pub outcome: Decision,
    /// Prepared when this was decided; empty for an abort, whose writer does not know them.
    pub participants: Vec<ShardId>,
    /// Of an abort: no transaction now open on this shard began before the row was written. Once true, it stays true.
    pub settled: bool,
}

impl Decision {
    /// The value of the column `outcome`.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Commit => "commit",
            Decision::Abort => "abort",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "commit" => Some(Decision::Commit),
            "abort" => Some(Decision::Abort),
            _ => None,
        }
    }
}
