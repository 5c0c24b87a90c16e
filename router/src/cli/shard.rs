//! A shard as it is written on the command line.

use std::str::FromStr;

use catalog::Server;

use crate::store::ShardRequest;

const FORM: &str = "write NAME=HOST:PORT/DATABASE[,replica=HOST:PORT]…";
const SERVER_PORT: u16 = 5432;

/// `name=host:port/dbname[,replica=host:port]…`; without a port 5432, without a database the catalog's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardArgument {
    name: String,
    primary: Address,
    replicas: Vec<Address>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    host: String,
    port: u16,
    dbname: Option<String>,
}

impl ShardArgument {
    /// `dbname` is for addresses that name no database; a replica's database is its primary's.
    pub fn request(&self, dbname: &str) -> ShardRequest {
        let dbname = self.primary.dbname.as_deref().unwrap_or(dbname);
        ShardRequest {
            name: self.name.clone(),
            primary: self.primary.server(dbname),
            replicas: self
                .replicas
                .iter()
                .map(|replica| replica.server(dbname))
                .collect(),
        }
    }
}

impl Address {
    fn server(&self, dbname: &str) -> Server {
        let dbname = self.dbname.as_deref().unwrap_or(dbname);
        Server {
            host: self.host.clone(),
            port: self.port,
            dbname: dbname.to_owned(),
        }
    }
}

impl FromStr for ShardArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<ShardArgument, String> {
        let (name, servers) = text.split_once('=').ok_or(FORM)?;
        let well_formed = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_');
        if !well_formed {
            return Err(format!(
                "`{name}`: a shard's name begins with a letter and has a-z, 0-9 and _ only"
            ));
        }
        let mut parts = servers.split(',');
        let primary = parts.next().unwrap_or("").parse()?;
        let replicas = parts
            .map(|part| match part.split_once('=') {
                Some(("replica", address)) => address.parse(),
                _ => Err(format!("`{part}`: {FORM}")),
            })
            .collect::<Result<_, _>>()?;
        Ok(ShardArgument {
            name: name.to_owned(),
            primary,
            replicas,
        })
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let (address, dbname) = match text.split_once('/') {
            Some((_, "")) => return Err(format!("`{text}` names no database after the slash")),
            Some((address, dbname)) => (address, Some(dbname.to_owned())),
            None => (text, None),
        };
        // An IPv6 address stands in brackets, since it has colons itself.
        let (host, port) = match address
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            Some((host, rest)) => (
                host,
                rest.strip_prefix(':').or(rest.is_empty().then_some("")),
            ),
            None => match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, Some("")),
            },
        };
        let wrong_port = || format!("`{text}`: the port is a number from 1 to 65535; {FORM}");
        let port = match port {
            Some("") if !address.ends_with(':') => SERVER_PORT,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(wrong_port)?,
            None => return Err(wrong_port()),
        };
        if host.is_empty() {
            return Err(format!("`{text}` names no host; {FORM}"));
        }
        Ok(Address {
            host: host.to_owned(),
            port,
            dbname,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let request = text.parse::<ShardArgument>()?.request("app");
        let replicas: String = request
            .replicas
            .iter()
            .map(|replica| format!(" {replica}"))
            .collect();
        Ok(format!("{} {}{replicas}", request.name, request.primary))
    }

    #[test]
    fn shards_are_read_with_their_defaults() {
        assert_eq!(
            read("s1=h:5433/d,replica=r1:1,replica=r2").unwrap(),
            "s1 h:5433/d r1:1/d r2:5432/d"
        );
        assert_eq!(read("s1=h").unwrap(), "s1 h:5432/app");
        assert_eq!(
            read("s1=[::1]:7/d,replica=[fe80::1]").unwrap(),
            "s1 ::1:7/d fe80::1:5432/d"
        );
    }

    #[test]
    fn what_is_no_shard_is_explained() {
        for (text, reason) in [
            ("s1", "write NAME="),
            ("=h", "begins with a letter"),
            ("S 1=h", "begins with a letter"),
            ("s1=", "names no host"),
            ("s1=:5432", "names no host"),
            ("s1=h:0", "from 1 to 65535"),
            ("s1=h:", "from 1 to 65535"),
            ("s1=h:99999", "from 1 to 65535"),
            ("s1=[::1]x", "from 1 to 65535"),
            ("s1=h/", "no database"),
            ("s1=h,standby=x", "write NAME="),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
