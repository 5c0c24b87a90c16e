//! Where the shards' servers are.

use std::fmt;

use crate::ShardId;

/// One database on one PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub dbname: String,
}

/// `host:port/dbname`, for messages and logs.
impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}/{}", self.host, self.port, self.dbname)
    }
}

/// One slice of the data: a primary and its streaming replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    pub id: ShardId,
    pub name: String,
    pub primary: Server,
    pub replicas: Vec<Server>,
}
