//! A shard within a transaction: what was done there, and what of it a savepoint takes back.

use catalog::ShardId;

use crate::request::{Access, Participant};

/// A shard within the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    pub(super) shard: ShardId,
    pub(super) access: Access,
    pub(super) preparable: bool,
    /// Its connection is gone, and with it all that was done there.
    pub(super) lost: bool,
    /// The innermost savepoint when it joined.
    pub(super) under: u64,
    /// Access before it was raised, with the innermost savepoint at that time.
    pub(super) before: Vec<(u64, Access)>,
}

impl Joined {
    pub(super) fn participant(&self) -> Participant {
        Participant {
            shard: self.shard,
            access: self.access,
            preparable: self.preparable,
        }
    }

    /// Takes back what was raised while this savepoint, or one within it, was the innermost.
    pub(super) fn roll_back_to(&mut self, savepoint: u64) {
        if let Some(first) = self
            .before
            .iter()
            .position(|&(innermost, _)| innermost >= savepoint)
        {
            self.access = self.before[first].1;
            self.before.truncate(first);
        }
    }
}
