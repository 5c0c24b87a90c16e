//! What a session knows of its transaction before it commits. Pure data and transitions; the session does the sending.
//!
//! Entry point: [`Txn`]; it ends in [`Txn::commit`], which says how to commit, or [`Txn::rollback`].
//!
//! BEGIN is lazy: it is sent to a shard with that shard's first statement. A shard that joins late must come to the same
//! state as the others, so what was said before is kept in one *journal*, in order: settings (SET LOCAL, SET,
//! SET TRANSACTION, SET CONSTRAINTS) and savepoints. [`Txn::join`] replays it. Since the savepoints are replayed too,
//! ROLLBACK TO and RELEASE go to all joined shards alike; on one that joined after the savepoint, ROLLBACK TO undoes
//! all that was done there.
//!
//! # Invariants
//! - Every shard in [`Txn::shards`] has an open transaction whose savepoints are those of the journal.
//! - A failed transaction stays failed on all shards until ROLLBACK or ROLLBACK TO, as on one server.
//! - The access recorded for a shard never understates what it did: too much costs a prepared transaction, too little
//!   costs atomicity. ROLLBACK TO lowers it again to what it was at the savepoint. That PREPARE TRANSACTION is
//!   impossible sticks, as it does in PostgreSQL even when the savepoint is rolled back.

mod joined;
mod journal;

use catalog::ShardId;

use self::joined::Joined;
use self::journal::Journal;
pub use self::journal::{Setting, SettingScope};
use crate::error::Error;
use crate::request::{Access, Participant};

/// A session's transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Txn {
    /// No transaction.
    #[default]
    Idle,
    /// Begun; no shard has joined.
    Open(Block),
    /// One shard has joined: its COMMIT is the commit.
    Single(Block, Joined),
    /// Several have.
    Multi(Block, Vec<Joined>),
    /// A statement failed or a connection was lost; only its end, or ROLLBACK TO, is allowed.
    Failed(Block, Vec<Joined>),
}

/// What is said once for all shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What followed BEGIN: isolation level and the like; empty if nothing.
    modes: Box<str>,
    /// Begun by a statement that needs several shards, not by the client.
    implicit: bool,
    journal: Journal,
}

/// How to end the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitPlan {
    /// Nothing was done anywhere.
    Nothing,
    /// COMMIT on this shard, and pass on what it answers. If its connection is lost meanwhile, the outcome is unknown: 08007.
    Plain(ShardId),
    /// [`crate::Request::new`], then [`crate::Coordinator`].
    Coordinated(Vec<Participant>),
    /// It had failed: ROLLBACK on these, and the answer to COMMIT is the tag ROLLBACK.
    RolledBack(Vec<ShardId>),
}

/// The next state, and the shards to which the statement goes now. Shards that join later hear of it then.
pub type Transition = (Txn, Result<Vec<ShardId>, Error>);

impl Txn {
    /// The client's BEGIN. `modes` is what follows the keyword, e.g. `ISOLATION LEVEL SERIALIZABLE`, or nothing. An
    /// implicit transaction becomes the client's; in an explicit one the caller warns (25001), and nothing changes.
    pub fn begin(self, modes: &str) -> Txn {
        match self {
            Txn::Idle => Txn::Open(Block {
                modes: modes.into(),
                implicit: false,
                journal: Journal::default(),
            }),
            mut other => {
                if let Some(block) = other.block_mut() {
                    block.implicit = false;
                }
                other
            }
        }
    }

    /// A transaction that ends with the statement or pipeline that needs it.
    pub fn begin_implicit(self) -> Txn {
        match self {
            Txn::Idle => Txn::Open(Block {
                modes: "".into(),
                implicit: true,
                journal: Journal::default(),
            }),
            other => other,
        }
    }

    /// COMMIT AND CHAIN, ROLLBACK AND CHAIN: a new transaction with the same modes.
    pub fn chain(&self) -> Txn {
        match self.block() {
            Some(block) => Txn::Idle.begin(&block.modes),
            None => Txn::Idle,
        }
    }

    /// Takes a shard in, and says what it must be sent before its first statement. Nothing if it is in already, or
    /// outside a transaction. If a replayed statement fails, call [`Txn::leave`] and then [`Txn::fail`].
    pub fn join(self, shard: ShardId, replay: &mut Vec<String>) -> Txn {
        if matches!(self, Txn::Idle | Txn::Failed(..)) || self.joined(shard).is_some() {
            return self;
        }
        if let Some(block) = self.block() {
            replay.push(if block.modes.is_empty() {
                "BEGIN".into()
            } else {
                format!("BEGIN {}", block.modes)
            });
            block.journal.replay(replay);
        }
        self.rearrange(false, |block, joined| {
            let under = block.journal.innermost();
            joined.push(Joined {
                shard,
                access: Access::Read,
                preparable: true,
                lost: false,
                under,
                before: Vec::new(),
            });
        })
    }

    /// A shard that could not be brought to the common state, and whose transaction was rolled back or lost before
    /// any statement of the client ran there.
    pub fn leave(self, shard: ShardId) -> Txn {
        let failed = matches!(self, Txn::Failed(..));
        self.rearrange(failed, |_, joined| {
            joined.retain(|member| member.shard != shard)
        })
    }

    /// What a statement about to run on a joined shard does there.
    pub fn note_access(&mut self, shard: ShardId, access: Access) {
        let innermost = self.block().map_or(0, |block| block.journal.innermost());
        if let Some(joined) = self.joined_mut(shard)
            && joined.access < access
        {
            if innermost > 0 {
                joined.before.push((innermost, joined.access));
            }
            joined.access = access;
        }
    }

    /// A statement touched temporary objects, or sent NOTIFY, on this shard.
    pub fn note_unpreparable(&mut self, shard: ShardId) {
        if let Some(joined) = self.joined_mut(shard) {
            joined.preparable = false;
        }
    }

    /// A statement failed, on a shard or here.
    pub fn fail(self) -> Txn {
        self.rearrange(true, |_, _| {})
    }

    /// The connection to a joined shard is gone.
    pub fn lose(self, shard: ShardId) -> Txn {
        self.rearrange(true, |_, joined| {
            joined
                .iter_mut()
                .filter(|member| member.shard == shard)
                .for_each(|member| member.lost = true)
        })
    }

    /// A setting that was made, or is to be made on the shards returned: SET LOCAL, SET, SET TRANSACTION, SET CONSTRAINTS.
    pub fn set(mut self, setting: Setting) -> Transition {
        match &mut self {
            Txn::Idle => (self, Ok(Vec::new())),
            Txn::Failed(..) => (self, Err(Error::TransactionFailed)),
            Txn::Open(block) | Txn::Single(block, _) | Txn::Multi(block, _) => {
                block.journal.set(setting);
                let shards = self.shards();
                (self, Ok(shards))
            }
        }
    }

    /// SAVEPOINT; send [`crate::sql::savepoint`].
    pub fn savepoint(mut self, name: &str) -> Transition {
        match &mut self {
            Txn::Open(block) | Txn::Single(block, _) | Txn::Multi(block, _) if !block.implicit => {
                block.journal.savepoint(name);
                let shards = self.shards();
                (self, Ok(shards))
            }
            _ => self.refuse("SAVEPOINT"),
        }
    }

    /// RELEASE SAVEPOINT; send [`crate::sql::release_savepoint`].
    pub fn release(mut self, name: &str) -> Transition {
        match &mut self {
            Txn::Open(block) | Txn::Single(block, _) | Txn::Multi(block, _) if !block.implicit => {
                if !block.journal.release(name) {
                    return (
                        self.fail(),
                        Err(Error::NoSuchSavepoint { name: name.into() }),
                    );
                }
                let shards = self.shards();
                (self, Ok(shards))
            }
            _ => self.refuse("RELEASE SAVEPOINT"),
        }
    }

    /// ROLLBACK TO SAVEPOINT; send [`crate::sql::rollback_to_savepoint`]. Also leads out of a failed transaction, unless a lost
    /// connection took work from before the savepoint with it.
    pub fn rollback_to(self, name: &str) -> Transition {
        let Some(block) = self.block().filter(|block| !block.implicit) else {
            return self.refuse("ROLLBACK TO SAVEPOINT");
        };
        let Some(savepoint) = block.journal.find(name) else {
            return (
                self.fail(),
                Err(Error::NoSuchSavepoint { name: name.into() }),
            );
        };
        if let Some(lost) = self
            .members()
            .iter()
            .find(|joined| joined.lost && joined.under < savepoint)
        {
            let error = Error::SavepointLost {
                name: name.into(),
                shard: lost.shard,
            };
            return (self.fail(), Err(error));
        }
        let next = self.rearrange(false, |block, joined| {
            block.journal.roll_back_to(savepoint);
            joined.retain(|member| !member.lost);
            joined
                .iter_mut()
                .for_each(|member| member.roll_back_to(savepoint));
        });
        let shards = next.shards();
        (next, Ok(shards))
    }

    /// COMMIT.
    pub fn commit(self) -> CommitPlan {
        match self {
            Txn::Idle | Txn::Open(_) => CommitPlan::Nothing,
            Txn::Single(_, joined) => CommitPlan::Plain(joined.shard),
            Txn::Multi(_, joined) => {
                CommitPlan::Coordinated(joined.iter().map(Joined::participant).collect())
            }
            failed @ Txn::Failed(..) => CommitPlan::RolledBack(failed.shards()),
        }
    }

    /// ROLLBACK: the shards to send it to.
    pub fn rollback(self) -> Vec<ShardId> {
        self.shards()
    }

    /// The shards with an open transaction, in the order they joined.
    pub fn shards(&self) -> Vec<ShardId> {
        self.members()
            .iter()
            .filter(|joined| !joined.lost)
            .map(|joined| joined.shard)
            .collect()
    }

    pub fn has_joined(&self, shard: ShardId) -> bool {
        self.joined(shard).is_some_and(|joined| !joined.lost)
    }

    /// Whether the client began it.
    pub fn is_explicit(&self) -> bool {
        self.block().is_some_and(|block| !block.implicit)
    }

    pub fn is_failed(&self) -> bool {
        matches!(self, Txn::Failed(..))
    }

    /// The status byte of ReadyForQuery.
    pub fn status(&self) -> u8 {
        match self {
            _ if !self.is_explicit() => b'I',
            Txn::Failed(..) => b'E',
            _ => b'T',
        }
    }

    /// The settings made in it that still hold, oldest first. Those of session scope outlive a commit.
    pub fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.block()
            .into_iter()
            .flat_map(|block| block.journal.settings())
    }

    fn refuse(self, statement: &'static str) -> Transition {
        match self {
            Txn::Failed(..) => (self, Err(Error::TransactionFailed)),
            // In an implicit transaction the error ends it, as any.
            other => (other.fail(), Err(Error::NoTransaction { statement })),
        }
    }

    /// Changes the members and moves to the state that their number asks for.
    fn rearrange(self, failed: bool, change: impl FnOnce(&mut Block, &mut Vec<Joined>)) -> Txn {
        let (mut block, mut joined) = match self {
            Txn::Idle => return Txn::Idle,
            Txn::Open(block) => (block, Vec::new()),
            Txn::Single(block, joined) => (block, vec![joined]),
            Txn::Multi(block, joined) | Txn::Failed(block, joined) => (block, joined),
        };
        change(&mut block, &mut joined);
        if failed {
            return Txn::Failed(block, joined);
        }
        match (joined.pop(), joined.is_empty()) {
            (None, _) => Txn::Open(block),
            (Some(only), true) => Txn::Single(block, only),
            (Some(last), false) => {
                joined.push(last);
                Txn::Multi(block, joined)
            }
        }
    }

    fn block(&self) -> Option<&Block> {
        match self {
            Txn::Idle => None,
            Txn::Open(block)
            | Txn::Single(block, _)
            | Txn::Multi(block, _)
            | Txn::Failed(block, _) => Some(block),
        }
    }

    fn block_mut(&mut self) -> Option<&mut Block> {
        match self {
            Txn::Idle => None,
            Txn::Open(block)
            | Txn::Single(block, _)
            | Txn::Multi(block, _)
            | Txn::Failed(block, _) => Some(block),
        }
    }

    fn members(&self) -> &[Joined] {
        match self {
            Txn::Idle | Txn::Open(_) => &[],
            Txn::Single(_, joined) => std::slice::from_ref(joined),
            Txn::Multi(_, joined) | Txn::Failed(_, joined) => joined,
        }
    }

    fn joined(&self, shard: ShardId) -> Option<&Joined> {
        self.members().iter().find(|joined| joined.shard == shard)
    }

    fn joined_mut(&mut self, shard: ShardId) -> Option<&mut Joined> {
        let members = match self {
            Txn::Idle | Txn::Open(_) => &mut [],
            Txn::Single(_, joined) => std::slice::from_mut(joined),
            Txn::Multi(_, joined) | Txn::Failed(_, joined) => joined.as_mut_slice(),
        };
        members.iter_mut().find(|joined| joined.shard == shard)
    }
}
