//! What an operator sets per router: a TOML file, the environment above it, the command line above both.
//!
//! Entry point: [`Config::load`]. Everything is read and checked once, here; the rest of the router sees plain values
//! (durations, addresses, secrets already read from their files). Every error names the place (file, line and column,
//! or the variable or option) and the remedy.
//!
//! A setting `key` of section `[section]` is also the variable `PGWEAVE__SECTION__KEY` and the option
//! `--set section.key=value`. Relative paths are relative to the file's folder.
//!
//! Deliberately absent: what belongs to the cluster rather than to one router; that is in the catalog.

mod address;
mod document;
mod error;
mod identity;
mod login;
mod overlay;
mod passfile;
mod resolve;
mod rule;
mod sections;
mod value;
mod words;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub use address::Cidr;
pub use error::Error;
pub use identity::{
    AuthQuery, CatalogHome, Password, ServerLogin, ServerTls, Servers, SslMode, User, UserSecret,
};
pub use passfile::Passfile;
pub use rule::{AuthMethod, AuthRule, NameMatch, ScatterRule};
pub use sections::{
    Consistency, Gather, Listen, Log, LogFormat, LogLevel, Planner, Pool, ReadPreference, Replicas,
    ScatterMode, Shutdown, Tls, TlsMode, Transactions,
};
pub use value::Secret;

/// All settings of one router.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: Listen,
    pub tls: Tls,
    /// The first rule that matches a connection decides; without a match it is refused. Never empty.
    pub auth: Vec<AuthRule>,
    pub users: Vec<User>,
    /// Where users that are not in `users` are looked up; `None`: nowhere.
    pub auth_query: Option<AuthQuery>,
    pub catalog: CatalogHome,
    /// The name under which clients see the cluster.
    pub database: String,
    pub servers: Servers,
    pub pool: Pool,
    pub replicas: Replicas,
    pub planner: Planner,
    pub gather: Gather,
    /// The first that matches a session decides; without a match, what `planner` says.
    pub scatter: Vec<ScatterRule>,
    pub transactions: Transactions,
    pub log: Log,
    pub shutdown: Shutdown,
}

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file; `None` takes everything from the environment and the command line.
    pub file: Option<PathBuf>,
    /// `--set` options, as `section.key=value`.
    pub options: Vec<String>,
    /// The process's environment.
    pub environment: HashMap<String, String>,
}

impl Sources {
    /// The file, the `--set` options, and this process's environment.
    pub fn new(file: Option<PathBuf>, options: Vec<String>) -> Sources {
        Sources {
            file,
            options,
            environment: std::env::vars_os().filter_map(readable).collect(),
        }
    }
}

fn readable((name, value): (std::ffi::OsString, std::ffi::OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

impl Config {
    /// Whether sessions of this user may ask several shards, unless they say otherwise themselves.
    pub fn scatter_mode(&self, user: &str, database: &str) -> ScatterMode {
        self.scatter
            .iter()
            .find(|rule| rule.user.matches(user) && rule.database.matches(database))
            .map_or(self.planner.scatter, |rule| rule.mode)
    }

    /// Reads, checks and completes the settings.
    pub fn load(sources: &Sources) -> Result<Config, Error> {
        let (name, text) = match &sources.file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Error::unreadable(path, error))?;
                (path.display().to_string(), text)
            }
            None => ("(no file)".to_owned(), String::new()),
        };
        let folder = sources
            .file
            .as_deref()
            .and_then(Path::parent)
            .unwrap_or(Path::new(""));
        let overrides = overlay::Override::all(sources);
        let (document, raw) = document::Document::read(&name, &text, &overrides)?;
        resolve::resolve(raw, &document, folder, &sources.environment)
    }
}
