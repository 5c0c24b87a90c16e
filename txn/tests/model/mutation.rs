//! The planted bugs: one rule broken in each. The simulation must catch every one of them with some seed.
//!
//! The production code has no hooks. A rule is broken around it: by what the driver sends, by what it feeds back, or by
//! what the model's servers do.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// The decider commits before the votes are in.
    VotesNotAwaited,
    /// No decision row is inserted.
    RowNotInserted,
    /// COMMIT PREPARED goes out before the decider's COMMIT is answered.
    DecisionNotAwaited,
    /// The client is answered before the COMMIT PREPAREDs are.
    FinishNotAwaited,
    /// A connection lost under the decider's COMMIT is taken as a refusal.
    LostCommitTakenAsAbort,
    /// … or as success.
    LostCommitTakenAsCommit,
    /// A FATAL error is taken as an ERROR: without effect.
    FatalTakenAsRefusal,
    /// The tag ROLLBACK is taken as success.
    RollbackTagTakenAsDone,
    /// The decision is committed with `synchronous_commit = off`.
    DecisionNotDurable,
    /// A coordinator that lost its COMMIT's answer reads the decision instead of forcing one.
    ResolveOnlyReads,
    /// A coordinator believes an answer that came after its last deadline.
    LateAnswerBelieved,
    /// Recovery reads the decision, and takes none for an abort.
    RecoveryOnlyReads,
    /// Recovery takes no answer for an abort.
    RecoveryGuesses,
    /// Recovery looks for the decision on the participant's shard.
    RecoveryAsksParticipant,
    /// Recovery does not come back to what it once rolled back.
    RecoveryForgetsLatePrepare,
    /// Recovery does not compare the cluster in a name.
    ClusterNotCompared,
    /// Recovery does not compare the shard in a name.
    ShardNotCompared,
    /// The unique index does not wait for a transaction in progress.
    IndexDoesNotWait,
    /// Commit rows are deleted without looking for prepared transactions.
    CollectionSkipsPrepared,
    /// Prepared transactions are listed before the decisions.
    CollectionListsPreparedFirst,
    /// Abort rows are deleted although an older transaction is open.
    CollectionIgnoresOlder,
    /// Decision rows are deleted whatever their age.
    CollectionWithoutRetention,
    /// A restarted router uses its old identity.
    RouterIdReused,
    /// A shard that wrote is taken for a reader.
    AccessUnderstated,
    /// A shard that holds locks is taken for a reader.
    LocksReleasedEarly,
    /// Under SERIALIZABLE, a reader's refusal is not heeded.
    ReaderNotHeeded,
}

pub const ALL: [Mutation; 26] = [
    Mutation::VotesNotAwaited,
    Mutation::RowNotInserted,
    Mutation::DecisionNotAwaited,
    Mutation::FinishNotAwaited,
    Mutation::LostCommitTakenAsAbort,
    Mutation::LostCommitTakenAsCommit,
    Mutation::FatalTakenAsRefusal,
    Mutation::RollbackTagTakenAsDone,
    Mutation::DecisionNotDurable,
    Mutation::ResolveOnlyReads,
    Mutation::LateAnswerBelieved,
    Mutation::RecoveryOnlyReads,
    Mutation::RecoveryGuesses,
    Mutation::RecoveryAsksParticipant,
    Mutation::RecoveryForgetsLatePrepare,
    Mutation::ClusterNotCompared,
    Mutation::ShardNotCompared,
    Mutation::IndexDoesNotWait,
    Mutation::CollectionSkipsPrepared,
    Mutation::CollectionListsPreparedFirst,
    Mutation::CollectionIgnoresOlder,
    Mutation::CollectionWithoutRetention,
    Mutation::RouterIdReused,
    Mutation::AccessUnderstated,
    Mutation::LocksReleasedEarly,
    Mutation::ReaderNotHeeded,
];
