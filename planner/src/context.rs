//! What a statement's meaning depends on besides its text: the catalog and a few facts of the session.

use catalog::{Catalog, ShardId};

use crate::Statistics;

/// Borrowed for the planning of one text.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub catalog: &'a Catalog,
    /// Schemas in order, `$user` expanded, `pg_temp` excluded. `pg_catalog` may be left out: it is searched first then.
    pub search_path: &'a [String],
    /// This session's temporary relations and the shard each lives on.
    pub temporary: &'a [(String, ShardId)],
    pub user: &'a str,
    /// `SET pgweave.shard`, or what `pgweave.shard_key` led to: statements that would be refused or routed by
    /// key go there. Writes to reference tables still go everywhere.
    pub manual: Option<ShardId>,
    /// The session's `standard_conforming_strings`; off makes a text with a backslash ambiguous, hence refused.
    pub standard_conforming_strings: bool,
    /// What is expected of tables.
    pub statistics: &'a dyn Statistics,
}

impl Context<'_> {
    /// Where a statement goes whatever it reads: manual routing says so, or there is only one shard.
    pub(crate) fn chosen_shard(&self) -> Option<ShardId> {
        self.manual.or(match self.catalog.shards() {
            [only] => Some(only.id),
            _ => None,
        })
    }
}
