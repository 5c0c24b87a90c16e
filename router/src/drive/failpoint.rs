//! Named points of a commit over several shards at which a router can be made to die or to stand still, for tests of faults.
//!
//! Entry point: [`reach`]. Only debug builds have it: without `debug_assertions` it is an empty function, so that no environment of a
//! release can make a router die. In a debug build it does nothing either unless the environment variable [`VARIABLE`] names a file.
//! When a commit reaches the point that the file's text names, the file is renamed to the same name with `.hit` after it, so that it acts
//! once and the test sees it, and then the action takes place:
//!
//! | text | what happens |
//! |---|---|
//! | `decision_sent kill` | the process ends at once, as by `kill -9` |
//! | `decision_sent freeze` | the process stops, as by `kill -STOP`, until somebody continues it |
//!
//! A point is the moment (`before`, `sent`, `answered`) of a [`Step`], or `before_reply`: the commit's outcome is known, and the client
//! has not been told. Several participants reach a point one after the other; the first counts.

#[cfg(not(debug_assertions))]
use catalog::ShardId;
use txn::sql::Command;

/// Names the file in the environment.
pub const VARIABLE: &str = "PGWEAVE_FAILPOINT_FILE";

/// What a commit sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// PREPARE TRANSACTION.
    Prepare,
    /// The decision row and COMMIT on the coordinating shard, in one packet: before it all votes are in, and its success is the decision.
    Decision,
    /// COMMIT of those that only read or hold locks.
    Release,
    CommitPrepared,
    RollbackPrepared,
    Rollback,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Before,
    Sent,
    Answered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    At(Moment, Step),
    BeforeReply,
}

impl Step {
    pub fn of(command: &Command, to_decider: bool) -> Step {
        match command {
            Command::Prepare(_) => Step::Prepare,
            Command::Decide { .. } => Step::Decision,
            Command::Commit if to_decider => Step::Decision,
            Command::Commit => Step::Release,
            Command::CommitPrepared(_) => Step::CommitPrepared,
            Command::RollbackPrepared(_) => Step::RollbackPrepared,
            Command::Rollback => Step::Rollback,
        }
    }
}

/// The names of all points, in the order in which commits reach them.
pub fn names() -> Vec<String> {
    let steps = [
        Step::Prepare,
        Step::Decision,
        Step::Release,
        Step::CommitPrepared,
        Step::RollbackPrepared,
        Step::Rollback,
    ];
    let moments = [Moment::Before, Moment::Sent, Moment::Answered];
    let mut names: Vec<String> = steps
        .iter()
        .flat_map(|step| moments.map(|moment| Point::At(moment, *step).name()))
        .collect();
    names.push(Point::BeforeReply.name());
    names
}

impl Point {
    fn name(self) -> String {
        let (moment, step) = match self {
            Point::BeforeReply => return "before_reply".to_owned(),
            Point::At(moment, step) => (moment, step),
        };
        let step = match step {
            Step::Prepare => "prepare",
            Step::Decision => "decision",
            Step::Release => "release",
            Step::CommitPrepared => "commit_prepared",
            Step::RollbackPrepared => "rollback_prepared",
            Step::Rollback => "rollback",
        };
        match moment {
            Moment::Before => format!("before_{step}"),
            Moment::Sent => format!("{step}_sent"),
            Moment::Answered => format!("{step}_answered"),
        }
    }
}

/// Dies or stands still if a test asks for it here.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_point: Point, _shard: Option<ShardId>) {}

#[cfg(debug_assertions)]
pub use debug::reach;

#[cfg(debug_assertions)]
mod debug {
    use std::ffi::OsString;
    use std::path::Path;
    use std::sync::OnceLock;

    use catalog::ShardId;

    use super::{Point, VARIABLE};

    /// Dies or stands still if a test asks for it here.
    pub fn reach(point: Point, shard: Option<ShardId>) {
        static FILE: OnceLock<Option<OsString>> = OnceLock::new();
        if let Some(file) = FILE.get_or_init(|| std::env::var_os(VARIABLE)) {
            look(Path::new(file), point, shard);
        }
    }

    fn look(file: &Path, point: Point, shard: Option<ShardId>) {
        // There is a file only while a test waits for a point.
        let Ok(text) = std::fs::read_to_string(file) else {
            return;
        };
        let Some((name, action)) = text.trim().split_once(' ') else {
            return;
        };
        let mut hit = file.as_os_str().to_owned();
        hit.push(".hit");
        // Who renames it is the one that acts.
        if name != point.name() || std::fs::rename(file, hit).is_err() {
            return;
        }
        let signal = match action {
            "kill" => libc::SIGKILL,
            "freeze" => libc::SIGSTOP,
            _ => return,
        };
        tracing::warn!(point = name, ?shard, action, "a failpoint is reached");
        // To this thread, since a signal to the process may be another's, and this one would go on until that has taken it.
        // SAFETY: signals to the own thread have no preconditions.
        unsafe { libc::raise(signal) };
    }
}
