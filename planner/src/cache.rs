//! Plans by text, shared by all sessions.

use std::sync::Arc;

use crate::{Context, Error, Planned, Value, Values, plan_text};

/// A bounded cache of plans. Cheap to share: `Arc<PlanCache>`.
pub struct PlanCache {
    capacity: usize,
}

impl PlanCache {
    /// `capacity`: how many plans are kept.
    pub fn new(capacity: usize) -> PlanCache {
        PlanCache { capacity }
    }

    /// How many plans are kept at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Plans the text of a simple query. `literals` is the caller's reusable buffer; afterwards it holds the literals that the
    /// plans' routes refer to: resolve with `literals.values(sql)`.
    pub fn plan_simple(
        &self,
        sql: &str,
        context: &Context<'_>,
        literals: &mut Literals,
    ) -> Result<Arc<[Planned]>, Error> {
        literals.spans.clear();
        plan_text(sql, context).map(Arc::from)
    }

    /// Plans the one statement of a Parse message. `None`: the text holds no statement.
    pub fn plan_statement(
        &self,
        sql: &str,
        context: &Context<'_>,
    ) -> Result<Option<Planned>, Error> {
        let mut planned = plan_text(sql, context)?;
        if planned.len() > 1 {
            return Err(Error::invalid(
                "42601",
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        Ok(planned.pop())
    }
}

/// The literals lifted out of a simple query, as spans of its text. Keep one per session and reuse it.
#[derive(Debug, Default)]
pub struct Literals {
    spans: Vec<(u32, u32)>,
}

impl Literals {
    pub fn new() -> Literals {
        Literals::default()
    }

    /// The values to resolve with, for the text that was planned.
    pub fn values<'a>(&'a self, sql: &'a str) -> LiteralValues<'a> {
        LiteralValues {
            sql,
            spans: &self.spans,
        }
    }
}

/// Literals of a simple query as [`Values`].
pub struct LiteralValues<'a> {
    sql: &'a str,
    spans: &'a [(u32, u32)],
}

impl Values for LiteralValues<'_> {
    fn parameter(&self, _: u16) -> Option<Value<'_>> {
        None
    }
    fn literal(&self, index: u16) -> Option<&str> {
        let (start, end) = *self.spans.get(usize::from(index))?;
        self.sql.get(start as usize..end as usize)
    }
}
