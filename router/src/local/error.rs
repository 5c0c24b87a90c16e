//! What can go wrong with servers on this machine, each with its remedy.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// An error of the local servers. No client of the router ever sees one, so it has no SQLSTATE.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    #[error("PostgreSQL's server programs were not found; looked in {searched}")]
    #[diagnostic(help(
        "install PostgreSQL 13 to 18 (`./dev demo` does), or name the folder that holds `postgres` and `initdb` with --pg-bin or PGWEAVE_PG_BIN"
    ))]
    BinariesNotFound { searched: String },

    #[error("{} does not hold the program {program}", directory.display())]
    #[diagnostic(help(
        "name the folder that holds PostgreSQL's `postgres`, `initdb` and `pg_basebackup`"
    ))]
    ProgramMissing {
        directory: PathBuf,
        program: &'static str,
    },

    #[error("{} is PostgreSQL {version}, which pgweave does not support", directory.display())]
    #[diagnostic(help("use PostgreSQL 13 to 18: --pg-bin or PGWEAVE_PG_BIN names its folder"))]
    UnsupportedVersion { directory: PathBuf, version: String },

    #[error(
        "PostgreSQL refuses to run as root, and neither the user `postgres` nor `nobody` exists"
    )]
    #[diagnostic(help("create the user `postgres`, or run as an ordinary user"))]
    NoUnprivilegedAccount,

    #[error("cannot {action}")]
    Io {
        action: String,
        #[source]
        source: io::Error,
    },

    #[error("{program} failed ({status})\n{output}")]
    ProgramFailed {
        program: &'static str,
        status: String,
        output: String,
    },

    #[error("server {name} ended while starting ({status}); the end of {}:\n{tail}", log.display())]
    Exited {
        name: String,
        status: String,
        log: PathBuf,
        tail: String,
    },

    #[error("server {name} was not ready after {waited:?}; the end of {}:\n{tail}", log.display())]
    NotReady {
        name: String,
        waited: Duration,
        log: PathBuf,
        tail: String,
    },

    #[error("server {name} did not reach {wanted} in {waited:?}, it is at {reached}")]
    Lagging {
        name: String,
        wanted: String,
        reached: String,
        waited: Duration,
    },

    #[error("server {name} did not stop within {waited:?}")]
    NotStopped { name: String, waited: Duration },

    #[error("process {pid} still works in {} and could not be ended", directory.display())]
    #[diagnostic(help("end that process, then start again"))]
    Orphan { pid: u32, directory: PathBuf },

    #[error("{} is in use by process {owner}", directory.display())]
    #[diagnostic(help("stop that process, or choose another directory with --dir"))]
    DirectoryInUse { directory: PathBuf, owner: String },

    #[error("{} was made with {made}, not {wanted}", directory.display())]
    #[diagnostic(help(
        "start with --fresh to make it anew (its data goes), or leave the option as it was"
    ))]
    LayoutDiffers {
        directory: PathBuf,
        made: String,
        wanted: String,
    },

    #[error("{} does not look like a directory of pgweave, so it is left as it is", directory.display())]
    #[diagnostic(help("choose another directory with --dir"))]
    ForeignDirectory { directory: PathBuf },

    #[error("server setting {name}: {reason}")]
    Setting { name: String, reason: &'static str },

    #[error("no free port on 127.0.0.1 after {attempts} attempts")]
    NoFreePort { attempts: usize },

    #[error("cannot {action} on server {name}")]
    Database {
        name: String,
        action: &'static str,
        #[source]
        source: tokio_postgres::Error,
    },
}

impl Error {
    /// An IO error with what was being done, as `cannot <action>`.
    pub(super) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let action = action.into();
        move |source| Error::Io { action, source }
    }
}
