//! Plans by text, shared by all sessions.
//!
//! Entry point: [`PlanCache`]. A plan depends on the text, on the catalog's epoch and on what [`Context`] says of the session; all of that
//! is the key. A simple query is looked up by its *shape* first (see `scan`): texts that differ only in literals share a plan whose
//! route refers to the literals by number. A hit neither parses nor allocates. Errors are not kept.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use crate::operand::Source;
use crate::scan::{LiteralMap, lift};
use crate::{Context, Error, Planned, Value, Values, plan_lifted};

/// Longer texts are planned each time: bulk statements rarely come twice.
const TEXT_LIMIT_BYTES: usize = 16 << 10;

/// What one entry is reckoned to weigh besides its text.
const ENTRY_BYTES: u64 = 512;

/// A bounded cache of plans. Cheap to share: `Arc<PlanCache>`.
pub struct PlanCache {
    entries: Cache<Key, Entry, ByText>,
    capacity: usize,
    hasher: RandomState,
}

#[derive(Clone)]
enum Entry {
    Plans(Arc<[Planned]>),
    /// Of a shape: its literals decide the plan, look for the text itself.
    TiedToValues,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// A simple query with its literals lifted out.
    Shape,
    /// A simple query, word by word.
    Text,
    /// A statement of the extended protocol.
    Statement,
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    kind: Kind,
    context: ContextKey,
    text: Box<[u8]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct ContextKey {
    epoch: u64,
    /// Cluster, search path, temporary relations, manual routing, statistics: hashed with keys that no client knows.
    session: u64,
}

#[derive(PartialEq, Eq)]
struct BorrowedKey<'k> {
    kind: Kind,
    context: ContextKey,
    text: &'k [u8],
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        BorrowedKey {
            kind: self.kind,
            context: self.context,
            text: &self.text,
        }
        .hash(state);
    }
}

impl Hash for BorrowedKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
        self.context.hash(state);
        self.text.hash(state);
    }
}

impl Equivalent<Key> for BorrowedKey<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.kind == key.kind && self.context == key.context && *self.text == *key.text
    }
}

impl BorrowedKey<'_> {
    fn to_owned(&self) -> Key {
        Key {
            kind: self.kind,
            context: self.context,
            text: self.text.into(),
        }
    }
}

#[derive(Clone)]
struct ByText;

impl Weighter<Key, Entry> for ByText {
    fn weight(&self, key: &Key, _: &Entry) -> u64 {
        ENTRY_BYTES + 2 * key.text.len() as u64
    }
}

impl PlanCache {
    /// `capacity`: about how many plans of texts of usual length are kept.
    pub fn new(capacity: usize) -> PlanCache {
        let weight = capacity.max(1) as u64 * 2 * ENTRY_BYTES;
        PlanCache {
            entries: Cache::with_weighter(capacity.max(1), weight, ByText),
            capacity,
            hasher: RandomState::new(),
        }
    }

    /// How many plans of texts of usual length are kept.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many plans are kept now.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Plans the text of a simple query. `literals` is the caller's reusable buffer; afterwards it holds the literals that the
    /// plans' routes refer to: resolve with `literals.values(sql)`.
    pub fn plan_simple(
        &self,
        sql: &str,
        context: &Context<'_>,
        literals: &mut Literals,
    ) -> Result<Arc<[Planned]>, Error> {
        if sql.len() > TEXT_LIMIT_BYTES {
            literals.map.clear();
            return plan_lifted(
                Source {
                    sql,
                    literals: None,
                },
                context,
            )
            .map(|(planned, _)| planned.into());
        }
        let session = self.context_key(context);
        let Literals { shape, map } = literals;
        if !lift(sql, shape, map) {
            map.clear();
            return self.plan_text(sql, context, session, None);
        }
        let key = BorrowedKey {
            kind: Kind::Shape,
            context: session,
            text: shape,
        };
        match self.entries.get(&key) {
            Some(Entry::Plans(plans)) => Ok(plans),
            Some(Entry::TiedToValues) => self.plan_text(sql, context, session, Some(map)),
            None => match plan_lifted(
                Source {
                    sql,
                    literals: Some(map),
                },
                context,
            ) {
                // Without literals the shape is the text.
                Ok((planned, shareable)) if shareable || map.len() == 0 => {
                    let plans: Arc<[Planned]> = planned.into();
                    self.entries
                        .insert(key.to_owned(), Entry::Plans(plans.clone()));
                    Ok(plans)
                }
                Ok((planned, _)) => {
                    self.entries.insert(key.to_owned(), Entry::TiedToValues);
                    let plans: Arc<[Planned]> = planned.into();
                    let key = BorrowedKey {
                        kind: Kind::Text,
                        context: session,
                        text: sql.as_bytes(),
                    };
                    self.entries
                        .insert(key.to_owned(), Entry::Plans(plans.clone()));
                    Ok(plans)
                }
                // The values themselves may prove what the shape cannot.
                Err(_) => {
                    let plans = self.plan_text(sql, context, session, None)?;
                    self.entries.insert(key.to_owned(), Entry::TiedToValues);
                    Ok(plans)
                }
            },
        }
    }

    fn plan_text(
        &self,
        sql: &str,
        context: &Context<'_>,
        session: ContextKey,
        literals: Option<&LiteralMap>,
    ) -> Result<Arc<[Planned]>, Error> {
        let key = BorrowedKey {
            kind: Kind::Text,
            context: session,
            text: sql.as_bytes(),
        };
        if let Some(Entry::Plans(plans)) = self.entries.get(&key) {
            return Ok(plans);
        }
        let planned = match plan_lifted(Source { sql, literals }, context) {
            Err(_) if literals.is_some() => plan_lifted(
                Source {
                    sql,
                    literals: None,
                },
                context,
            ),
            other => other,
        };
        let plans: Arc<[Planned]> = planned?.0.into();
        self.entries
            .insert(key.to_owned(), Entry::Plans(plans.clone()));
        Ok(plans)
    }

    /// Plans the one statement of a Parse message. `None`: the text holds no statement.
    pub fn plan_statement(
        &self,
        sql: &str,
        context: &Context<'_>,
    ) -> Result<Option<Planned>, Error> {
        let key = BorrowedKey {
            kind: Kind::Statement,
            context: self.context_key(context),
            text: sql.as_bytes(),
        };
        if let Some(Entry::Plans(plans)) = self.entries.get(&key) {
            return Ok(plans.first().cloned());
        }
        let (planned, _) = plan_lifted(
            Source {
                sql,
                literals: None,
            },
            context,
        )?;
        if planned.iter().any(|planned| planned.part.is_some()) {
            return Err(Error::invalid(
                "42601",
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        let only = planned.first().cloned();
        if sql.len() <= TEXT_LIMIT_BYTES {
            self.entries
                .insert(key.to_owned(), Entry::Plans(planned.into()));
        }
        Ok(only)
    }

    fn context_key(&self, context: &Context<'_>) -> ContextKey {
        let mut hasher = self.hasher.build_hasher();
        context.catalog.cluster_id().hash(&mut hasher);
        context.search_path.hash(&mut hasher);
        context.temporary.hash(&mut hasher);
        context.manual.hash(&mut hasher);
        context.standard_conforming_strings.hash(&mut hasher);
        context.statistics.generation().hash(&mut hasher);
        ContextKey {
            epoch: context.catalog.epoch().0,
            session: hasher.finish(),
        }
    }
}

/// The literals lifted out of a simple query. Keep one per session and reuse it.
#[derive(Debug, Default)]
pub struct Literals {
    shape: Vec<u8>,
    map: LiteralMap,
}

impl Literals {
    pub fn new() -> Literals {
        Literals::default()
    }

    /// The values to resolve with, for the text that was planned.
    pub fn values<'a>(&'a self, sql: &'a str) -> LiteralValues<'a> {
        LiteralValues {
            sql,
            map: &self.map,
        }
    }
}

/// Literals of a simple query as [`Values`].
pub struct LiteralValues<'a> {
    sql: &'a str,
    map: &'a LiteralMap,
}

impl Values for LiteralValues<'_> {
    fn parameter(&self, _: u16) -> Option<Value<'_>> {
        None
    }

    fn literal(&self, index: u16) -> Option<&str> {
        self.map.text(self.sql, index)
    }
}
