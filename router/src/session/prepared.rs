//! Prepared statements that outlive the server connection they were first prepared on.
//!
//! A client's statement is text and parameter types; the session keeps that, and each server connection is brought to
//! know it when it is to serve it. Named statements are interned over all sessions of the router: clients that
//! prepare the same text share one server-side name (`pgweave_<id>`), so that a pooled connection prepares it once.
//! The catalog's epoch is part of the identity, so that a statement prepared after a change of schema is not answered
//! with a plan from before it; so is its [`Reading`], because a server keeps the constants of a prepared statement as it
//! read them: under one session's time zone they are not what they are under another's. An unnamed statement is known to a connection only as "the Parse message with this id".

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use catalog::{Epoch, ShardId};
use planner::{Plan, Planned};
use quick_cache::sync::Cache;

use crate::backend::AppliedSettings;
use crate::execute::expect::StatementKey;
use crate::wire::backend::columns;

/// A client's prepared statement.
#[derive(Clone, Debug)]
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
    pub reading: Reading,
    /// Prepared by SQL: the types between the parentheses, as text.
    pub declared_types: Option<Box<str>>,
    /// What its result looks like, once a server has said so.
    pub shape: Shape,
    /// What the client has been told that it looks like, before the catalog changed.
    pub promised: Option<u64>,
}

/// A digest of the columns of a statement's result, which nobody may know yet. Copies share it.
#[derive(Clone, Debug, Default)]
pub struct Shape(Arc<OnceLock<u64>>);

impl Shape {
    pub fn get(&self) -> Option<u64> {
        self.0.get().copied()
    }

    /// Notes the body of a RowDescription, or of NoData.
    pub fn note(&self, body: &[u8]) {
        self.0.get_or_init(|| shape_of(body));
    }
}

/// Digests names, types and type modifiers. Objects that users made have other numbers on each shard, so these do not count.
fn shape_of(body: &[u8]) -> u64 {
    /// `FirstNormalObjectId` of `src/include/access/transam.h`.
    const FIRST_OF_USERS: u32 = 16_384;
    let mut hasher = DefaultHasher::new();
    body.get(..2).hash(&mut hasher);
    for (name, fixed) in columns(body) {
        let Some(&[_, _, _, _, _, _, a, b, c, d, ref size_and_modifier @ ..]) =
            body.get(fixed..fixed + 16)
        else {
            break;
        };
        name.hash(&mut hasher);
        let type_oid = u32::from_be_bytes([a, b, c, d]);
        (if type_oid < FIRST_OF_USERS {
            type_oid
        } else {
            0
        })
        .hash(&mut hasher);
        size_and_modifier.hash(&mut hasher);
    }
    hasher.finish()
}

/// What the meaning of a text depends on besides the catalog: the session's part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reading {
    pub search_path: Arc<[String]>,
    /// The session's temporary relations.
    pub temporary: Box<[(String, ShardId)]>,
    pub standard_conforming_strings: bool,
    /// Settings by which servers read texts and constants, as far as the session made any.
    pub settings: AppliedSettings,
}

impl Statement {
    /// An empty statement without parameters.
    pub fn empty(key: StatementKey, epoch: Epoch, reading: Reading) -> Self {
        Self {
            key,
            sql: Box::default(),
            parameter_types: Box::default(),
            planned: None,
            epoch,
            manual: None,
            reading,
            declared_types: None,
            shape: Shape::default(),
            promised: None,
        }
    }

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
    reading: Reading,
    sql: Box<str>,
    parameter_types: Box<[u32]>,
    /// Made for shards by the plan of another text: a client that sends it means something else by it.
    of_shards: bool,
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

    /// The shared statement of this text, types, reading and epoch. `plan` makes its plan if it is new.
    pub fn intern<E>(
        &self,
        sql: &str,
        parameter_types: &[u32],
        reading: &Reading,
        epoch: Epoch,
        plan: impl FnOnce() -> Result<Option<Arc<Planned>>, E>,
    ) -> Result<Arc<Statement>, E> {
        let identity = Identity {
            epoch: epoch.0,
            reading: reading.clone(),
            sql: sql.into(),
            parameter_types: parameter_types.into(),
            of_shards: false,
        };
        self.shared(&identity, epoch, plan)
    }

    /// The shared statement that shards know by this text, which takes the place of a client's.
    pub fn intern_for_shards(
        &self,
        sql: &str,
        parameter_types: &[u32],
        statement: &Statement,
    ) -> Arc<Statement> {
        let identity = Identity {
            epoch: statement.epoch.0,
            reading: statement.reading.clone(),
            sql: sql.into(),
            parameter_types: parameter_types.into(),
            of_shards: true,
        };
        let plan = || Ok::<_, std::convert::Infallible>(statement.planned.clone());
        match self.shared(&identity, statement.epoch, plan) {
            Ok(statement) => statement,
            Err(never) => match never {},
        }
    }

    fn shared<E>(
        &self,
        identity: &Identity,
        epoch: Epoch,
        plan: impl FnOnce() -> Result<Option<Arc<Planned>>, E>,
    ) -> Result<Arc<Statement>, E> {
        self.named.get_or_insert_with(identity, || {
            Ok(Arc::new(Statement {
                sql: identity.sql.clone(),
                parameter_types: identity.parameter_types.clone(),
                planned: plan()?,
                ..Statement::empty(self.next_key(true), epoch, identity.reading.clone())
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_names_and_types() {
        let body = |name: &[u8], table: u32, type_oid: u32, modifier: i32| {
            let mut body = vec![0, 1];
            body.extend_from_slice(name);
            body.push(0);
            body.extend_from_slice(&table.to_be_bytes());
            body.extend_from_slice(&[0, 1]);
            body.extend_from_slice(&type_oid.to_be_bytes());
            body.extend_from_slice(&[0, 4]);
            body.extend_from_slice(&modifier.to_be_bytes());
            body.extend_from_slice(&[0, 0]);
            shape_of(&body)
        };
        let one = body(b"a", 20_000, 23, -1);
        assert_eq!(one, body(b"a", 30_000, 23, -1));
        assert_eq!(body(b"a", 0, 20_000, -1), body(b"a", 0, 30_000, -1));
        for other in [
            body(b"b", 20_000, 23, -1),
            body(b"a", 20_000, 20, -1),
            body(b"a", 20_000, 23, 5),
            shape_of(&[]),
            shape_of(&[0, 0]),
        ] {
            assert_ne!(one, other);
        }
    }

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
