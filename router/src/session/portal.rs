//! Portals: bound statements that wait to be executed, by name.
//!
//! A portal is on the link that its statement was bound on, or the router's own. A cursor that SQL declared is one too.

use std::sync::Arc;

use planner::Plan;

use super::prepared::Statement;
use super::report::Report;
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
    /// The router answers.
    Local(LocalPortal),
}

/// A portal that the router answers.
#[derive(Clone, Debug)]
pub(super) struct LocalPortal {
    pub statement: Arc<Statement>,
    /// The Bind message, which holds the values.
    pub bind: Arc<[u8]>,
    /// Counts the session's portals of this kind. Cursors go by it.
    pub number: u64,
    /// It has been executed at once, which it can be once.
    pub spent: bool,
    /// SQL has declared it.
    pub declared: bool,
    /// It outlives its transaction.
    pub hold: bool,
}

impl LocalPortal {
    pub fn is_over_several(&self) -> bool {
        matches!(
            self.statement.plan(),
            Some(Plan::Scatter(_) | Plan::Gather(_))
        )
    }
}

impl Portal {
    pub fn has_number(&self, number: u64) -> bool {
        matches!(self, Self::Local(local) if local.number == number)
    }

    pub fn is_to_hold(&self) -> bool {
        matches!(self, Self::Local(local) if local.hold)
    }
}

impl Session {
    /// A portal of the router's own, with the next number.
    pub(super) fn local_portal(
        &mut self,
        statement: Arc<Statement>,
        bind: Arc<[u8]>,
    ) -> LocalPortal {
        self.number_portals += 1;
        LocalPortal {
            statement,
            bind,
            number: self.number_portals,
            spent: false,
            declared: false,
            hold: false,
        }
    }

    pub(super) fn note_spent(&mut self, name: &[u8]) {
        for (known, portal) in &mut self.portals {
            if let Portal::Local(local) = portal
                && **known == *name
            {
                local.spent = true;
            }
        }
    }

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
