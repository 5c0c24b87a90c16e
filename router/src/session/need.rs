//! Which server a statement of the extended protocol needs: to run with its values, or to be described before it has any.

use catalog::Catalog;
use planner::{Access, LoadTarget, Pins, Plan, Route, SessionStatement, Target, Values};

use super::links::Need;
use super::prepared::Statement;
use super::report::Failure;
use super::{Session, Step};

impl Session {
    /// Where a statement runs with these values; `None` if the router itself carries it out.
    pub(super) fn server_need(
        &self,
        statement: &Statement,
        values: &dyn Values,
        catalog: &Catalog,
    ) -> Step<Option<Need>> {
        let need = match statement.plan() {
            Some(Plan::Single(single)) => {
                let mut need = self.need_of(single, values, catalog)?;
                need.no_block |=
                    single.no_block && self.block.as_ref().is_none_or(|block| !block.explicit);
                need
            }
            Some(Plan::Session(session)) => return self.forwarded_need(session, values, catalog),
            _ => return Ok(None),
        };
        Ok(Some(need))
    }

    /// Statements about the session that one server answers as they are.
    pub(super) fn forwarded_need(
        &self,
        session: &SessionStatement,
        values: &dyn Values,
        catalog: &Catalog,
    ) -> Step<Option<Need>> {
        let default = Need::shard(catalog.default_shard(), Access::Write);
        Ok(Some(match session {
            SessionStatement::Show(name)
                if name
                    .as_deref()
                    .is_none_or(|name| !name.starts_with("pgweave.")) =>
            {
                Need::any()
            }
            SessionStatement::Fetch { name, .. }
            | SessionStatement::CloseCursor(Some(name))
            | SessionStatement::Declare { name, .. }
                if self.several_portal(name).is_some() =>
            {
                return Ok(None);
            }
            SessionStatement::Fetch { name, .. } | SessionStatement::CloseCursor(Some(name)) => {
                return Ok(self.cursor_need(name));
            }
            SessionStatement::Listen(_) => Need {
                pins: Pins::LISTEN,
                ..default
            },
            SessionStatement::Unlisten(_) | SessionStatement::Notify { .. } => default,
            SessionStatement::Declare { hold, plan, .. } => {
                let Plan::Single(single) = &**plan else {
                    return Ok(None);
                };
                let mut need = match self.need_of(single, values, catalog) {
                    Err(Failure::Report(report)) if report.sqlstate == "0A000" => return Ok(None),
                    need => need?,
                };
                if *hold {
                    need.pins.insert(Pins::HOLD_CURSOR);
                }
                need
            }
            _ => return Ok(None),
        }))
    }

    /// A server that can describe the statement before its values are known; `None` if the router describes it.
    pub(super) fn describing_need(&self, statement: &Statement, catalog: &Catalog) -> Option<Need> {
        self.describing_need_of(statement.plan()?, catalog)
    }

    pub(super) fn describing_need_of(&self, plan: &Plan, catalog: &Catalog) -> Option<Need> {
        let target = match plan {
            Plan::Single(single) => match &single.route {
                Route::Any => Target::Any,
                Route::Shard(shard) => Target::Shard(*shard),
                Route::Catalog => Target::Catalog,
                Route::Key(route) => self.some_shard_of(route, catalog),
            },
            Plan::Session(session) => {
                let forwarded = self.forwarded_need(session, &(), catalog).ok().flatten();
                return match session {
                    SessionStatement::Declare { plan, .. } if forwarded.is_none() => {
                        self.describing_need_of(plan, catalog)
                    }
                    _ => forwarded,
                };
            }
            Plan::Scatter(scatter) => {
                let group = catalog.group(scatter.group)?;
                Target::Shard(group.map.shards().first().copied()?)
            }
            Plan::Gather(gather) if !gather.is_known_to_servers() => return None,
            Plan::Gather(gather) => Target::Shard(*gather.servers.first()?),
            Plan::Transfer(transfer) => {
                let LoadTarget::Rows { group, .. } = &transfer.load.target else {
                    return None;
                };
                Target::Shard(catalog.group(*group)?.map.shards().first().copied()?)
            }
            Plan::CreateAs(create) => Target::Shard(create.shard),
            Plan::Spread(spread) => {
                let group = catalog.group(spread.group)?;
                Target::Shard(group.map.shards().first().copied()?)
            }
            Plan::Everywhere(everywhere)
                if everywhere.parameters > 0 || everywhere.returns_rows =>
            {
                Target::Shard(
                    self.shards_of(&everywhere.shards, catalog)
                        .first()
                        .copied()?,
                )
            }
            _ => return None,
        };
        Some(Need {
            target,
            access: Access::LockingRead,
            ..Need::any()
        })
    }

    /// A shard that has the route's tables, one that is linked already if possible.
    fn some_shard_of(&self, route: &planner::KeyRoute, catalog: &Catalog) -> Target {
        if let Some(shard) = route.also {
            return Target::Shard(shard);
        }
        let Some(group) = route.keys.first().and_then(|key| catalog.group(key.group)) else {
            return Target::Any;
        };
        let shards = group.map.shards();
        let linked = self
            .links
            .iter()
            .map(|link| link.shard)
            .find(|shard| shards.contains(shard));
        linked
            .or_else(|| shards.iter().next().copied())
            .map_or(Target::Any, Target::Shard)
    }
}
