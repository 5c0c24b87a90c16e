//! A transaction about to commit: its participants, their roles, and the shard elected to decide.
//!
//! Entry point: [`Request::new`]. Roles follow from what each shard was used for:
//!
//! - [`Role::Decider`]: with one writer, that writer; with several, the coordinating shard, which holds the decision
//!   row. It commits plainly, after all votes.
//! - [`Role::Prepares`]: the other writers.
//! - [`Role::Holds`]: took row locks and wrote nothing. Its locks may be what keeps others from seeing the
//!   transaction half done, so it is released after the decision, not before; it needs no prepared transaction.
//! - [`Role::Reads`]: released at once, while the others vote.
//!
//! Under SERIALIZABLE, PostgreSQL may refuse a COMMIT or PREPARE TRANSACTION with 40001 although nothing was written: then
//! what the transaction read, and based its writes on, never existed. So a reader's COMMIT is a vote, and a lock holder,
//! whose COMMIT would come after the decision, is treated as a writer: prepared, it has promised.

use catalog::ShardId;

use crate::error::Error;
use crate::gid::{Gid, GidSequence, Named};

/// The most that a transaction did on a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    Read,
    /// SELECT … FOR UPDATE/SHARE, LOCK TABLE.
    Lock,
    /// Also whatever may write: functions not known to be stable, for instance.
    Write,
}

/// A shard with an open transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Participant {
    pub shard: ShardId,
    pub access: Access,
    /// False where PostgreSQL would refuse PREPARE TRANSACTION: temporary objects were touched, NOTIFY was sent.
    pub preparable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Decider,
    Prepares,
    Holds,
    Reads,
}

/// What [`crate::Coordinator::start`] needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Some if several shards wrote.
    pub(crate) name: Option<Named>,
    pub(crate) members: Vec<(ShardId, Role)>,
    pub(crate) readers_vote: bool,
}

impl Request {
    /// Gives each participant its role. Takes a gid from `gids` only if several shards wrote.
    ///
    /// # Errors
    /// [`Error::NotPreparable`] if two writers cannot be prepared: one of them could decide, not both. Nothing was
    /// sent yet; the caller rolls back.
    pub fn new(
        participants: &[Participant],
        serializable: bool,
        gids: &GidSequence,
    ) -> Result<Self, Error> {
        let wrote = participants
            .iter()
            .any(|participant| participant.access == Access::Write);
        let promises = |participant: &&Participant| match participant.access {
            Access::Write => true,
            Access::Lock => serializable && wrote,
            Access::Read => false,
        };
        let writers = || participants.iter().filter(promises);
        let mut unpreparable = writers().filter(|participant| !participant.preparable);
        let decider = match (unpreparable.next(), unpreparable.next()) {
            (Some(first), Some(second)) => {
                return Err(Error::NotPreparable {
                    first: first.shard,
                    second: second.shard,
                });
            }
            (Some(only), None) => Some(only.shard),
            // The first to join, so that the decisions spread over the shards as the transactions do.
            _ => writers().next().map(|participant| participant.shard),
        };
        let name = decider
            .filter(|_| writers().nth(1).is_some())
            .map(|shard| gids.next(shard));
        let role = |participant: &Participant| match participant.access {
            _ if Some(participant.shard) == decider => Role::Decider,
            _ if promises(&participant) => Role::Prepares,
            Access::Lock if decider.is_some() => Role::Holds,
            _ => Role::Reads,
        };
        let members = participants
            .iter()
            .map(|participant| (participant.shard, role(participant)))
            .collect();
        // Where nobody wrote there is nobody else to ask, and the client wants to know.
        Ok(Request {
            name,
            members,
            readers_vote: serializable || decider.is_none(),
        })
    }

    /// The shards on which the transaction has written nothing, and keeps its locks until the decision.
    pub fn holders(&self) -> impl Iterator<Item = ShardId> {
        let holders = self.members.iter().filter(|(_, role)| *role == Role::Holds);
        holders.map(|&(shard, _)| shard)
    }

    /// The transaction's name, if it has one: known before anything is sent, for logs and for a client that asks.
    pub fn gid(&self) -> Option<Gid> {
        self.name.map(|name| name.gid)
    }
}

#[cfg(test)]
mod tests {
    use catalog::ClusterId;

    use super::*;
    use crate::gid::RouterId;
    use crate::proof::ProofKey;

    fn check(
        serializable: bool,
        participants: &[(u32, Access, bool)],
        expected: &[Role],
        named: bool,
    ) {
        let gids = GidSequence::new(ClusterId([0; 16]), RouterId(1), ProofKey([0; 32]));
        let participants: Vec<_> = participants
            .iter()
            .map(|&(shard, access, preparable)| Participant {
                shard: ShardId(shard),
                access,
                preparable,
            })
            .collect();
        let request = Request::new(&participants, serializable, &gids).unwrap();
        assert_eq!(
            request
                .members
                .iter()
                .map(|&(_, role)| role)
                .collect::<Vec<_>>(),
            expected
        );
        assert_eq!(request.gid().is_some(), named);
        let decider = request
            .members
            .iter()
            .find(|(_, role)| *role == Role::Decider)
            .map(|&(shard, _)| shard);
        assert!(
            request
                .gid()
                .is_none_or(|gid| Some(gid.coordinating) == decider)
        );
    }

    #[test]
    fn roles() {
        use Access::{Lock, Read, Write};
        use Role::{Decider, Holds, Prepares, Reads};
        check(false, &[], &[], false);
        check(
            false,
            &[(1, Read, true), (2, Lock, false)],
            &[Reads, Reads],
            false,
        );
        check(
            false,
            &[(1, Read, true), (2, Write, false)],
            &[Reads, Decider],
            false,
        );
        check(
            false,
            &[(1, Lock, true), (2, Write, true)],
            &[Holds, Decider],
            false,
        );
        check(
            false,
            &[
                (1, Write, true),
                (2, Write, true),
                (3, Lock, true),
                (4, Read, true),
            ],
            &[Decider, Prepares, Holds, Reads],
            true,
        );
        check(
            true,
            &[(1, Write, true), (2, Lock, true), (3, Read, true)],
            &[Decider, Prepares, Reads],
            true,
        );
        check(
            true,
            &[(1, Lock, true), (2, Read, true)],
            &[Reads, Reads],
            false,
        );
        // the one that cannot be prepared decides
        check(
            false,
            &[(1, Write, true), (2, Write, false), (3, Read, false)],
            &[Prepares, Decider, Reads],
            true,
        );
    }

    #[test]
    fn two_unpreparable() {
        let gids = GidSequence::new(ClusterId([0; 16]), RouterId(1), ProofKey([0; 32]));
        let participant = |shard| Participant {
            shard: ShardId(shard),
            access: Access::Write,
            preparable: false,
        };
        let error = Request::new(&[participant(1), participant(2)], false, &gids).unwrap_err();
        assert_eq!(
            error,
            Error::NotPreparable {
                first: ShardId(1),
                second: ShardId(2)
            }
        );
        assert_eq!(error.sqlstate(), "0A000");
    }
}
