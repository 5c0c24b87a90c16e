//! From the file's own form to plain values: paths, and rules that concern several settings.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::document::Document;
use super::error::Error;
use super::login::{RawCatalog, RawServers, RawUser};
use super::{
    AuthMethod, AuthQuery, AuthRule, Config, Gather, Listen, Log, Planner, Pool, Replicas,
    ScatterRule, Secret, Shutdown, Tls, TlsMode, Transactions,
};

/// The largest message that PostgreSQL accepts.
const LARGEST_MESSAGE_BYTES: usize = 0x3fff_ffff;
/// Below this not even a modest statement passes.
const SMALLEST_MESSAGE_BYTES: usize = 8 << 10;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    database: Option<String>,
    #[serde(default)]
    listen: Listen,
    #[serde(default)]
    tls: Tls,
    #[serde(default)]
    auth: Vec<AuthRule>,
    #[serde(default)]
    users: Vec<RawUser>,
    auth_query: Option<AuthQuery>,
    catalog: RawCatalog,
    #[serde(default)]
    servers: RawServers,
    #[serde(default)]
    pool: Pool,
    #[serde(default)]
    replicas: Replicas,
    #[serde(default)]
    planner: Planner,
    #[serde(default)]
    gather: Gather,
    #[serde(default)]
    scatter: Vec<ScatterRule>,
    #[serde(default)]
    transactions: Transactions,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    shutdown: Shutdown,
}

/// Checks what one setting alone does not show, and reads the files that settings name.
pub(super) fn resolve(
    raw: Raw,
    document: &Document<'_>,
    folder: &Path,
    environment: &HashMap<String, String>,
) -> Result<Config, Error> {
    let resolver = Resolver {
        document,
        folder,
        environment,
    };
    let Raw {
        mut auth,
        listen,
        pool,
        replicas,
        planner,
        gather,
        scatter,
        transactions,
        log,
        shutdown,
        ..
    } = raw;
    resolver.check_listen(&listen)?;
    resolver.check_pool(&pool)?;
    resolver.positive(
        &["replicas", "check_interval_ms"],
        replicas.check_interval.as_millis(),
    )?;
    resolver.positive(
        &["planner", "plan_cache_entries"],
        planner.plan_cache_entries as u128,
    )?;
    let tls = resolver.tls(raw.tls)?;
    resolver.check_rules(&auth, &tls)?;
    if auth.is_empty() {
        auth.push(AuthRule::default());
    }
    let servers = resolver.servers(raw.servers)?;
    let users = resolver.users(raw.users, &servers.login)?;
    let catalog = resolver.catalog(raw.catalog)?;
    // Without any user named, everyone would be refused; the catalog's home knows users.
    let auth_query = raw
        .auth_query
        .or_else(|| users.is_empty().then(AuthQuery::default));
    let database = raw.database.unwrap_or_else(|| catalog.dbname.clone());
    Ok(Config {
        listen,
        tls,
        auth,
        users,
        auth_query,
        catalog,
        database,
        servers,
        pool,
        replicas,
        planner,
        gather,
        scatter,
        transactions,
        log,
        shutdown,
    })
}

/// What resolving needs besides the values themselves.
pub(super) struct Resolver<'a> {
    document: &'a Document<'a>,
    folder: &'a Path,
    environment: &'a HashMap<String, String>,
}

impl Resolver<'_> {
    /// An error at the setting `path`, or at the nearest place above it that is written.
    pub(super) fn refuse<T>(
        &self,
        path: &[&str],
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Result<T, Error> {
        Err(self.document.error_at(path, message.into(), help.into()))
    }

    pub(super) fn positive(&self, path: &[&str], value: u128) -> Result<(), Error> {
        if value > 0 {
            return Ok(());
        }
        self.refuse(
            path,
            format!("{} must be at least 1", path.join(".")),
            "remove the line to use the default",
        )
    }

    /// The full path of a file that must be there.
    pub(super) fn file(
        &self,
        path: &[&str],
        file: Option<PathBuf>,
    ) -> Result<Option<PathBuf>, Error> {
        file.map(|file| {
            let full = self.folder.join(file);
            match std::fs::File::open(&full).and_then(|file| file.metadata()) {
                Ok(metadata) if metadata.is_file() => Ok(full),
                Ok(_) => self.refuse(
                    path,
                    format!("{} is not a file", full.display()),
                    "name the file itself",
                ),
                Err(error) => self.unreadable(path, &full, &error),
            }
        })
        .transpose()
    }

    /// A password that is all of a file, but for the end of its line.
    pub(super) fn secret_file(
        &self,
        path: &[&str],
        file: Option<PathBuf>,
    ) -> Result<Option<Secret>, Error> {
        let Some(file) = self.file(path, file)? else {
            return Ok(None);
        };
        match std::fs::read_to_string(&file) {
            Ok(text) => match text.trim_end_matches(['\r', '\n']) {
                "" => self.refuse(
                    path,
                    format!("{} is empty", file.display()),
                    "write the password into it",
                ),
                text => Ok(Some(Secret::new(text))),
            },
            Err(error) => self.unreadable(path, &file, &error),
        }
    }

    /// A password in an environment variable.
    pub(super) fn secret_variable(
        &self,
        path: &[&str],
        variable: Option<String>,
    ) -> Result<Option<Secret>, Error> {
        variable
            .map(|variable| match self.environment.get(&variable) {
                Some(text) if !text.is_empty() => Ok(Secret::new(text)),
                _ => self.refuse(
                    path,
                    format!("the environment variable {variable} is not set"),
                    "set it where the router is started, or use a file",
                ),
            })
            .transpose()
    }

    pub(super) fn unreadable<T>(
        &self,
        path: &[&str],
        file: &Path,
        error: &std::io::Error,
    ) -> Result<T, Error> {
        self.refuse(
            path,
            format!("cannot read {}: {error}", file.display()),
            "name a file that the router's user may read; a relative path starts at the configuration file's folder",
        )
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder
    }

    fn check_listen(&self, listen: &Listen) -> Result<(), Error> {
        self.positive(&["listen", "max_clients"], listen.max_clients as u128)?;
        self.positive(
            &["listen", "max_unauthenticated"],
            listen.max_unauthenticated as u128,
        )?;
        self.positive(&["listen", "backlog"], listen.backlog.into())?;
        self.positive(
            &["listen", "startup_timeout_ms"],
            listen.startup_timeout.as_millis(),
        )?;
        if !(SMALLEST_MESSAGE_BYTES..=LARGEST_MESSAGE_BYTES).contains(&listen.max_message_bytes) {
            return self.refuse(
                &["listen", "max_message_bytes"],
                format!("max_message_bytes is {}", listen.max_message_bytes),
                format!("choose from {SMALLEST_MESSAGE_BYTES} to {LARGEST_MESSAGE_BYTES}, PostgreSQL's own limit"),
            );
        }
        if listen.max_buffered_bytes < listen.max_message_bytes {
            return self.refuse(
                &["listen", "max_buffered_bytes"],
                format!(
                    "max_buffered_bytes {} is smaller than max_message_bytes {}",
                    listen.max_buffered_bytes, listen.max_message_bytes
                ),
                "raise it, or lower max_message_bytes, so that one message fits",
            );
        }
        Ok(())
    }

    fn check_pool(&self, pool: &Pool) -> Result<(), Error> {
        self.positive(&["pool", "max_size"], pool.max_size as u128)?;
        self.positive(
            &["pool", "connect_timeout_ms"],
            pool.connect_timeout.as_millis(),
        )?;
        if pool.min_size > pool.max_size {
            return self.refuse(
                &["pool", "min_size"],
                format!(
                    "min_size {} is greater than max_size {}",
                    pool.min_size, pool.max_size
                ),
                "lower min_size or raise max_size",
            );
        }
        Ok(())
    }

    fn tls(&self, tls: Tls) -> Result<Tls, Error> {
        let tls = Tls {
            mode: tls.mode,
            cert: self.file(&["tls", "cert"], tls.cert)?,
            key: self.file(&["tls", "key"], tls.key)?,
            client_ca: self.file(&["tls", "client_ca"], tls.client_ca)?,
        };
        for (key, missing) in [("cert", tls.cert.is_none()), ("key", tls.key.is_none())] {
            if missing && tls.mode != TlsMode::Disable {
                return self.refuse(
                    &["tls", "mode"],
                    format!("this mode needs tls.{key}"),
                    format!("add {key} = \"<file>.pem\" to [tls], or set mode = \"disable\""),
                );
            }
        }
        Ok(tls)
    }

    fn check_rules(&self, rules: &[AuthRule], tls: &Tls) -> Result<(), Error> {
        for (number, rule) in rules.iter().enumerate() {
            if rule.method == AuthMethod::Cert
                && (tls.mode == TlsMode::Disable || tls.client_ca.is_none())
            {
                return self.refuse(
                    &["auth", &number.to_string(), "method"],
                    "authentication by certificate needs TLS and the authorities to trust",
                    "set mode, cert, key and client_ca in [tls]",
                );
            }
        }
        Ok(())
    }
}
