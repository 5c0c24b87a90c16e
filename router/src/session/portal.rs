//! Portals: bound statements that wait to be executed, by name.
//!
//! A portal is on the link that its statement was bound on, or the router's own. A cursor that SQL declared is one too.

use std::sync::Arc;

use planner::Plan;

use super::prepared::Statement;
use super::report::{Failure, Report};
use super::{Session, Step};

/// Where a portal lives.
#[derive(Clone, Debug)]
pub(super) enum Portal {
    /// On the link to this shard.
    Server {
        shard: catalog::ShardId,
        replica: bool,
        statement: Arc<Statement>,
    },
    /// The router answers; the Bind message holds the values.
    Local {
        statement: Arc<Statement>,
        bind: Arc<[u8]>,
        /// It has been executed, which it can be once.
        spent: bool,
    },
}

impl Portal {
    /// Portals end with their transaction.
    pub fn survives(&self, in_block: bool) -> bool {
        in_block
    }
}

impl Session {
    pub(super) fn set_portal(&mut self, name: &[u8], portal: Portal) -> Step {
        match self.portals.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, known)) if name.is_empty() => *known = portal,
            Some(_) => {
                return Err(Report::error(
                    "42P03",
                    format!(
                        "cursor \"{}\" already exists",
                        String::from_utf8_lossy(name)
                    ),
                )
                .into());
            }
            None => self.portals.push((name.into(), portal)),
        }
        Ok(())
    }

    pub(super) fn portal(&self, name: &[u8]) -> Step<Portal> {
        self.portals
            .iter()
            .find(|(known, _)| **known == *name)
            .map(|(_, portal)| portal.clone())
            .or_else(|| self.cursor_portal(name))
            .ok_or_else(|| {
                Report::error(
                    "34000",
                    format!(
                        "portal \"{}\" does not exist",
                        String::from_utf8_lossy(name)
                    ),
                )
                .into()
            })
    }

    /// A cursor that SQL declared is a portal too.
    fn cursor_portal(&self, name: &[u8]) -> Option<Portal> {
        let (_, shard) = self
            .cursors
            .iter()
            .find(|(known, _)| known.as_bytes() == name)?;
        let key = self.router.statements.next_key(false);
        let epoch = self.router.catalog.epoch();
        Some(Portal::Server {
            shard: *shard,
            replica: false,
            statement: Arc::new(Statement::empty(key, epoch, self.reading())),
        })
    }

    pub(super) fn portal_link(&self, shard: catalog::ShardId, replica: bool) -> Step<usize> {
        self.links
            .iter()
            .position(|link| link.shard == shard && link.replica == replica)
            .ok_or_else(|| Report::error("34000", "the portal's server connection is gone").into())
    }
}

/// Why a portal of the router's own cannot be executed again.
pub(super) fn spent_portal(statement: &Statement, name: &[u8]) -> Failure {
    if matches!(statement.plan(), Some(Plan::Scatter(_) | Plan::Gather(_))) {
        return Report::error(
            "0A000",
            "fetching a query over several shards in parts is not supported",
        )
        .hint("Ask for all rows at once, or for no more than the first ones.")
        .into();
    }
    let name = String::from_utf8_lossy(name);
    Report::error("55000", format!("portal \"{name}\" cannot be run")).into()
}
