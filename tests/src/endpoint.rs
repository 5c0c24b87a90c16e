//! Where a client connects.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::client::Client;

/// A server or a router, and whom to be there. There is no password: the harness's servers trust everyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub database: String,
}

impl Endpoint {
    /// The superuser on this machine.
    pub fn local(port: u16, database: &str) -> Endpoint {
        Endpoint {
            host: "127.0.0.1".to_owned(),
            port,
            user: "postgres".to_owned(),
            database: database.to_owned(),
        }
    }

    /// The same place as somebody else.
    pub fn as_user(&self, user: &str) -> Endpoint {
        Endpoint {
            user: user.to_owned(),
            ..self.clone()
        }
    }

    /// A client there that sees every message.
    pub fn client(&self) -> io::Result<Client> {
        let parameters = [
            ("user", self.user.as_str()),
            ("database", self.database.as_str()),
        ];
        Client::connect(self.address()?, &parameters)
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        let mut addresses = (self.host.as_str(), self.port).to_socket_addrs()?;
        addresses
            .next()
            .ok_or_else(|| io::Error::other(format!("{} has no address", self.host)))
    }

    /// Key words and values, as libpq and tokio-postgres read them.
    pub fn dsn(&self) -> String {
        format!(
            "host={} port={} user={} dbname={}",
            self.host, self.port, self.user, self.database
        )
    }

    /// A URL, as sqlx and most other drivers read it.
    pub fn url(&self) -> String {
        format!(
            "postgres://{}@{}:{}/{}",
            self.user, self.host, self.port, self.database
        )
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.database)
    }
}
