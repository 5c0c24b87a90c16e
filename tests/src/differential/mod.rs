//! One script on a plain PostgreSQL and on pgweave: whatever a client can see must be the same.
//!
//! Entry point: [`run`]. A script (see [`script`]) runs three times, by the simple protocol and by the extended one with
//! results in text and in binary, each time in a schema of its own. After each statement all messages are compared:
//! column names and types, rows and their order, command tags, errors with all fields, notices, reported parameters, the
//! transaction's state. What must differ (oids of user types, file and line in the server's source, pgweave's line
//! in CONTEXT) is left out.
//!
//! pgweave may refuse a statement that it cannot prove right; a script must say so beforehand. So a wrong answer cannot hide behind
//! a refusal, nor an unexpected refusal behind a tolerant comparison.

mod player;
pub mod script;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::endpoint::Endpoint;
use crate::process::Failure;
use player::Player;
pub(crate) use player::without_user_oids;
use script::Script;

/// Scripts that run at the same time.
const WORKERS: usize = 4;

/// The two sides.
#[derive(Debug, Clone)]
pub struct Sides {
    pub postgres: Endpoint,
    pub pgweave: Endpoint,
    /// A plain server stands in for pgweave: setup for pgweave is left out, and so are statements that it would refuse.
    pub stand_in: bool,
}

/// How statements are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Query.
    Simple,
    /// Parse, Bind, Describe, Execute, Sync; results in text.
    Text,
    /// The same, with results in binary, and parameters too where their type is known.
    Binary,
}

/// What came of some scripts.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Statements that were compared, counted once for each mode.
    pub compared: usize,
    /// Statements that pgweave refused as the script expects.
    pub refused: usize,
    pub differences: Vec<Difference>,
}

/// A statement after which the two sides were not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub script: String,
    pub line: usize,
    pub mode: Mode,
    pub sql: String,
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The lines of both answers.
    Answers {
        postgres: Vec<String>,
        pgweave: Vec<String>,
    },
    /// pgweave refused what the script does not expect it to; its error.
    Refused(String),
    /// pgweave did not refuse what the script expects it to; its answer.
    NotRefused(Vec<String>),
    /// The script cannot go on.
    Broken(String),
}

/// Reads all `*.sql` of a directory, sorted by name.
pub fn scripts(directory: &Path) -> Result<Vec<Script>, Failure> {
    let failed = |error| Failure(format!("cannot read {}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| Script::read(path)).collect()
}

/// Runs scripts on both sides in all modes; those that shard tables when all others are done.
pub fn run(sides: &Sides, scripts: &[Script]) -> Report {
    let (sharding, others): (Vec<&Script>, Vec<&Script>) =
        scripts.iter().partition(|script| script.shards_tables());
    let mut report = run_together(sides, &others);
    let later = run_together(sides, &sharding);
    report.compared += later.compared;
    report.refused += later.refused;
    report.differences.extend(later.differences);
    report
}

fn run_together(sides: &Sides, scripts: &[&Script]) -> Report {
    let modes = [Mode::Simple, Mode::Text, Mode::Binary];
    let jobs: Vec<(&Script, Mode)> = scripts
        .iter()
        .flat_map(|script| modes.map(|mode| (*script, mode)))
        .filter(|(script, mode)| script.runs_in(*mode))
        .collect();
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(jobs.len()) {
            scope.spawn(|| {
                while let Some((script, mode)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = Player::play(sides, script, *mode);
                    if let Ok(mut reports) = reports.lock() {
                        reports.push((script.name.clone(), *mode, report));
                    }
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap_or_default();
    reports.sort_by_key(|(name, mode, _)| (name.clone(), *mode as u8));
    let mut all = Report::default();
    for (_, _, report) in reports {
        all.compared += report.compared;
        all.refused += report.refused;
        all.differences.extend(report.differences);
    }
    all
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Simple => "simple",
            Mode::Text => "text",
            Mode::Binary => "binary",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        let Report {
            compared,
            refused,
            differences,
        } = self;
        write!(
            f,
            "{compared} statements compared, {refused} refused as expected, {} differences",
            differences.len()
        )
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference {
            script,
            line,
            mode,
            sql,
            reason,
        } = self;
        writeln!(f, "{script}:{line} [{mode}] {sql}")?;
        match reason {
            Reason::Answers { postgres, pgweave } => {
                let same = postgres
                    .iter()
                    .zip(pgweave)
                    .take_while(|(one, other)| one == other)
                    .count();
                if same > 0 {
                    writeln!(f, "  (the first {same} messages are the same)")?;
                }
                let parts = [("postgres", postgres), ("pgweave ", pgweave)];
                for (side, lines) in parts {
                    for line in lines.iter().skip(same).take(6) {
                        writeln!(f, "  {side}  {line}")?;
                    }
                }
                Ok(())
            }
            Reason::Refused(error) => writeln!(f, "  refused   {error}"),
            Reason::NotRefused(lines) => {
                writeln!(f, "  not refused as expected")?;
                for line in lines.iter().take(6) {
                    writeln!(f, "  pgweave   {line}")?;
                }
                Ok(())
            }
            Reason::Broken(why) => writeln!(f, "  broken    {why}"),
        }
    }
}
