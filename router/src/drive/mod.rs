//! Drives the transaction machines of crate `txn`: performs their actions on real connections and feeds the results
//! back.
//!
//! [`commit`] carries one session's two-phase commit over the session's own links. [`recovery`] looks, at start and on
//! a schedule, for prepared transactions whose coordinator is gone. [`collection`] deletes, on a schedule, the decisions that
//! nobody can need any more. [`deadlock`] ends deadlocks over shards, by what [`waits`] reads of the servers. [`doubt`] tells what has become of a
//! transaction, and finishes one that an operator names. [`saga`]
//! carries sagas on. [`snapshot`] is what a session asks of servers when it takes a snapshot over several shards. [`failpoint`] lets
//! tests of debug builds stop a router within a commit.

pub mod collection;
pub mod commit;
pub mod deadlock;
pub mod doubt;
pub mod failpoint;
pub mod recovery;
pub mod saga;
pub mod snapshot;
mod waits;
