//! Who clients are, and who the router is to the servers: users, the catalog's home, logins.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::{Passfile, Secret};

/// A user of `[[users]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub secret: UserSecret,
    pub server: ServerLogin,
}

/// What a user's password is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserSecret {
    /// Nothing: the user can only connect by `trust` or `cert`.
    None,
    /// `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`, as in `pg_authid`.
    Scram(Secret),
    /// `md5` and 32 hexadecimal digits, as in `pg_authid`.
    Md5(Secret),
    /// The password itself, read from a file or the environment.
    Plain(Secret),
}

/// Who the router is to the servers on behalf of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerLogin {
    /// The client's own name, with what the client's authentication taught the router.
    PassThrough,
    /// This name.
    As { user: String, password: Password },
}

/// Where a password for a server comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    None,
    Given(Secret),
    /// One for each server.
    File(Arc<Passfile>),
}

impl Password {
    /// The password for one server; `None` if there is none to offer.
    pub fn for_server(&self, host: &str, port: u16, database: &str, user: &str) -> Option<&Secret> {
        match self {
            Password::None => None,
            Password::Given(secret) => Some(secret),
            Password::File(file) => file.password(host, port, database, user),
        }
    }
}

/// `[auth_query]`: how users that the file does not name are looked up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthQuery {
    /// Gets the user's name as `$1`, returns the name and the verifier as in `pg_authid`, or no row.
    pub query: String,
    /// The name of the shard that is asked; `None` is the catalog's home.
    pub shard: Option<String>,
    /// Whom the query runs as; `None` is the catalog's user.
    pub user: Option<String>,
}

impl Default for AuthQuery {
    fn default() -> Self {
        AuthQuery {
            query: "SELECT rolname, rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1 AND rolcanlogin \
                    AND (rolvaliduntil IS NULL OR rolvaliduntil > pg_catalog.now())"
                .to_owned(),
            shard: None,
            user: None,
        }
    }
}

/// `[catalog]`: the database that holds schema `pgweave`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogHome {
    pub host: String,
    pub port: u16,
    pub dbname: String,
    pub user: String,
    pub password: Password,
    pub tls: ServerTls,
}

/// `[servers]`: connections to the shards' servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers {
    /// For users that `[[users]]` gives no login of their own.
    pub login: ServerLogin,
    /// Passwords for logins that bring none, also those that pass through.
    pub password: Password,
    pub tls: ServerTls,
}

/// Encryption of connections to servers. Paths are checked to be readable files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerTls {
    pub mode: SslMode,
    /// The authorities that a server's certificate is checked against, PEM. Present if `mode` verifies.
    pub root_cert: Option<PathBuf>,
    /// The router's own certificate and key, PEM; both or neither.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// As libpq's `sslmode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    Disable,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}
