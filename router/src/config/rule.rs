//! What holds for some users and databases only: who may connect and how they prove who they are, and which queries may
//! ask several shards.

use serde::Deserialize;
use serde::de::Deserializer;

use super::{Cidr, ScatterMode};

/// One `[[auth]]` rule: which connections it is for, and the method they authenticate by.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthRule {
    pub user: NameMatch,
    pub database: NameMatch,
    /// Any of these ranges; empty means any address.
    #[serde(deserialize_with = "one_or_more")]
    pub address: Vec<Cidr>,
    pub method: AuthMethod,
}

impl Default for AuthRule {
    fn default() -> Self {
        AuthRule {
            user: NameMatch::All,
            database: NameMatch::All,
            address: Vec::new(),
            method: AuthMethod::ScramSha256,
        }
    }
}

impl AuthRule {
    /// Whether the rule is for such a connection.
    pub fn matches(&self, user: &str, database: &str, address: std::net::IpAddr) -> bool {
        self.user.matches(user)
            && self.database.matches(database)
            && (self.address.is_empty() || self.address.iter().any(|range| range.contains(address)))
    }
}

/// One `[[scatter]]` rule: what becomes of queries over several shards in such sessions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScatterRule {
    #[serde(default)]
    pub user: NameMatch,
    #[serde(default)]
    pub database: NameMatch,
    pub mode: ScatterMode,
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthMethod {
    /// Not at all.
    Trust,
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    Md5,
    /// By a TLS certificate whose common name is the user.
    Cert,
    /// The connection is refused.
    Reject,
}

/// `"all"`, one name, or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NameMatch {
    #[default]
    All,
    Names(Vec<String>),
}

impl NameMatch {
    pub fn matches(&self, name: &str) -> bool {
        match self {
            NameMatch::All => true,
            NameMatch::Names(names) => names.iter().any(|known| known == name),
        }
    }
}

impl<'de> Deserialize<'de> for NameMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names: Vec<String> = one_or_more(deserializer)?;
        Ok(if names.iter().any(|name| name == "all") {
            NameMatch::All
        } else {
            NameMatch::Names(names)
        })
    }
}

/// One text, or a list of texts, each read as a `T`.
fn one_or_more<'de, D: Deserializer<'de>, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    struct OneOrMore<T>(std::marker::PhantomData<T>);
    impl<'de, T> serde::de::Visitor<'de> for OneOrMore<T>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("text in quotes, or a list of such texts")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            text.parse().map(|value| vec![value]).map_err(E::custom)
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut values = Vec::new();
            while let Some(text) = list.next_element::<String>()? {
                values.push(text.parse().map_err(serde::de::Error::custom)?);
            }
            Ok(values)
        }
    }
    deserializer.deserialize_any(OneOrMore(std::marker::PhantomData))
}
