//! Prepared statements that outlive the server connection they were first prepared on.
//!
//! A client's statement is text and parameter types; the session keeps that, and each server connection is brought to
//! know it when it is to serve it. Named statements are interned over all sessions of the router: clients that
//! prepare the same text share one server-side name (`pgweave_<id>`), so that a pooled connection prepares it once.
//! The catalog's epoch is part of the identity, so that a statement prepared after a change of schema is not answered
//! with a plan from before it. An unnamed statement is known to a connection only as "the Parse message with this id".

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use catalog::{Epoch, ShardId};
use planner::{Plan, Planned};
use quick_cache::sync::Cache;

use crate::execute::expect::StatementKey;

/// A client's prepared statement.
#[derive(Debug)]
pub struct Statement {
    pub key: StatementKey,
    /// The statement's text, in the client's bytes.
    pub sql: Box<str>,
    /// Types of the parameters as declared in Parse; 0 or missing: the server infers them.
    pub parameter_types: Box<[u32]>,
    /// `None`: an empty statement.
    pub planned: Option<Arc<Planned>>,
    /// The catalog that `planned` was made from.
    pub epoch: Epoch,
    /// The manual routing that `planned` was made with.
    pub manual: Option<ShardId>,
    /// What names meant when `planned` was made. PostgreSQL looks them up again when that changes.
    pub names: Names,
    /// Prepared by SQL: the types between the parentheses, as text.
    pub declared_types: Option<Box<str>>,
}

/// The session's part of what an unqualified name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    pub search_path: Arc<[String]>,
    /// The session's temporary relations.
    pub temporary: Box<[(String, ShardId)]>,
}

impl Statement {
    /// The plan, if the session must act when the statement has completed.
    pub fn with_effects(&self) -> Option<Arc<Planned>> {
        let has_effects =
            matches!(self.plan(), Some(Plan::Single(single)) if !single.effects.is_empty());
        self.planned.clone().filter(|_| has_effects)
    }

    pub fn plan(&self) -> Option<&Plan> {
        self.planned.as_ref().map(|planned| &*planned.plan)
    }
}

/// A server-side statement name, built without allocation.
#[derive(Default)]
pub struct ServerName {
    text: [u8; 32],
    length: usize,
}

impl ServerName {
    pub fn of(key: StatementKey) -> Self {
        let mut name = Self::default();
        name.set(key);
        name
    }

    fn set(&mut self, key: StatementKey) {
        self.length = 0;
        if !key.named {
            return;
        }
        let mut digits = [0u8; 20];
        let mut start = digits.len();
        let mut rest = key.id;
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let prefix = b"pgweave_";
        self.text[..prefix.len()].copy_from_slice(prefix);
        let count = digits.len() - start;
        self.text[prefix.len()..prefix.len() + count].copy_from_slice(&digits[start..]);
        self.length = prefix.len() + count;
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Identity {
    epoch: u64,
    search_path: Arc<[String]>,
    sql: Box<str>,
    parameter_types: Box<[u32]>,
}

/// The named statements of all sessions of this router, most recently used ones first. One that falls out stays with
/// the sessions that hold it; it is then merely no longer shared with newcomers.
pub struct StatementRegistry {
    next: AtomicU64,
    named: Cache<Identity, Arc<Statement>>,
}

impl StatementRegistry {
    /// A registry that remembers at most `capacity` statements.
    pub fn new(capacity: usize) -> Self {
        Self {
            next: AtomicU64::new(0),
            named: Cache::new(capacity),
        }
    }

    /// A new identity for one unnamed Parse message.
    pub fn next_key(&self, named: bool) -> StatementKey {
        StatementKey {
            id: self.next.fetch_add(1, Ordering::Relaxed) + 1,
            named,
        }
    }

    /// The shared statement of this text, types, search path and epoch. `plan` makes its plan if it is new.
    pub fn intern<E>(
        &self,
        sql: &str,
        parameter_types: &[u32],
        search_path: &Arc<[String]>,
        epoch: Epoch,
        plan: impl FnOnce() -> Result<Option<Arc<Planned>>, E>,
    ) -> Result<Arc<Statement>, E> {
        let identity = Identity {
            epoch: epoch.0,
            search_path: search_path.clone(),
            sql: sql.into(),
            parameter_types: parameter_types.into(),
        };
        self.named.get_or_insert_with(&identity, || {
            Ok(Arc::new(Statement {
                key: self.next_key(true),
                sql: sql.into(),
                parameter_types: parameter_types.into(),
                planned: plan()?,
                epoch,
                manual: None,
                names: Names {
                    search_path: search_path.clone(),
                    temporary: Box::default(),
                },
                declared_types: None,
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names_are_built_from_the_id() {
        let key = |id, named| StatementKey { id, named };
        assert_eq!(ServerName::of(key(0, true)).as_bytes(), b"pgweave_0");
        assert_eq!(
            ServerName::of(key(u64::MAX, true)).as_bytes(),
            b"pgweave_18446744073709551615"
        );
        assert_eq!(ServerName::of(key(7, false)).as_bytes(), b"");
    }
}
