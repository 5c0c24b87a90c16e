//! The extended query protocol: Parse, Bind, Describe, Execute, Close, Flush, Sync, and pipelines of them.
//!
//! Entry point: [`Session::extended_message`]; Sync is in `batch`. Messages for a server wait in its link and leave
//! together at Sync or Flush, so a usual batch costs one write and one read. The shard is known at Bind, when there are
//! values. A Parse is answered by the server that the following Bind chooses; if that server knows the statement already,
//! by the router (`preparing`).
//!
//! Several statements before one Sync are one implicit transaction in PostgreSQL; they run in a block of the
//! router's own, so that they commit together even if they meet several shards.

use std::sync::Arc;

use bytes::BytesMut;
use planner::{Plan, SessionStatement, Value, Values};

use super::arguments::Call;
use super::batch::Batch;
use super::portal::{LocalPortal, Portal};
use super::prepared::{ServerName, Shape, Statement};
use super::preparing::Placed;
use super::report::Report;
use super::{Session, Step};
use crate::execute::LinkError;
use crate::execute::expect::{Expect, Undo};
use crate::wire::{backend, encode, frontend};

impl Session {
    /// One message of the extended protocol. A failure is answered, and messages are skipped up to Sync.
    pub(super) async fn extended_message(&mut self, tag: u8, message: &[u8]) -> Step {
        let result = match tag {
            b'P' => self.parse_message(message).await,
            b'B' => self.bind_message(message).await,
            b'D' => self.describe_message(message).await,
            b'E' => self.execute_message(message).await,
            b'C' => self.close_message(message).await,
            _ => self.flush_message(message).await,
        };
        match result {
            Ok(()) => Ok(()),
            Err(failure) => self.fail_extended(failure).await,
        }
    }

    async fn parse_message(&mut self, message: &[u8]) -> Step {
        self.answer_parse().await?;
        let parse = frontend::parse_parse(&message[5..])?;
        if parse.name.is_empty()
            && let Some(previous) = self.unnamed.take()
        {
            // It is gone even if the new one fails, unless the server skips the message.
            self.mark_undo(Undo::Statement {
                name: Box::default(),
                previous: Some(previous),
            });
        }
        let sql = self.decode(parse.sql)?;
        let catalog = self.catalog();
        let types: smallvec::SmallVec<[u32; 8]> = parse.parameter_types().collect();
        let statement = self.statement_of(
            sql,
            &types,
            !parse.name.is_empty(),
            self.reading(),
            &catalog,
        )?;
        if self.block.as_ref().is_some_and(|block| block.failed)
            && !statement
                .planned
                .as_ref()
                .is_none_or(|planned| super::transaction::ends_failure(&planned.plan))
        {
            return Err(Report::failed_block().into());
        }
        if parse.name.is_empty() {
            self.unnamed = Some(statement.clone());
        } else {
            if self.client.statements.contains_key(parse.name) {
                return Err(Report::error(
                    "42P05",
                    format!(
                        "prepared statement \"{}\" already exists",
                        String::from_utf8_lossy(parse.name)
                    ),
                )
                .into());
            }
            self.client
                .statements
                .insert(parse.name.into(), statement.clone());
        }
        self.registered = Some(parse.name.into());
        self.unanswered = Some(statement);
        Ok(())
    }

    async fn bind_message(&mut self, message: &[u8]) -> Step {
        let bind = frontend::parse_bind(&message[5..])?;
        let catalog = self.catalog();
        let mut statement = self.statement_named(bind.statement, &catalog)?;
        let unanswered = self.take_unanswered(&statement).await?;
        self.check_block(&statement)?;
        self.check_promise(&statement, &catalog).await?;
        let values = BindValues {
            types: &statement.parameter_types,
            bind: &bind,
        };
        if let Some(Plan::Session(SessionStatement::Execute { name, arguments })) = statement.plan()
            && self.client.statements.contains_key(name.as_bytes())
        {
            let call = Call::of(name, arguments, &statement.sql);
            let placed = self.place_execution(call, unanswered, false, &catalog);
            let (index, ad_hoc) = match Box::pin(placed).await? {
                Placed::Server(index, ad_hoc) => (index, ad_hoc),
                Placed::Described(_) => {
                    let described = "an EXECUTE was described instead of bound";
                    return Err(Report::error("XX000", described).into());
                }
                Placed::Several(inner, values) => {
                    let values = frontend::parse_bind(&values[5..])?;
                    let message = frontend::bind_values_of(&values, &bind);
                    self.open_batch_block(Batch::MayGoOn);
                    return self.bind_local(bind.portal, inner, &message).await;
                }
            };
            self.links[index].position_offset =
                super::statement::arguments_offset(&statement.sql, &ad_hoc.sql);
            return self.bind_on(index, &bind, ad_hoc);
        }
        let indexed = values.indexed();
        let values: &dyn Values = match &indexed {
            Some(indexed) => indexed,
            None => &values,
        };
        let need = match self.server_need(&statement, values, &catalog) {
            Ok(need) => need,
            Err(refusal) => {
                let Some(planned) = &statement.planned else {
                    return Err(refusal);
                };
                let gathered =
                    self.over_several(planned, &statement.sql, values, refusal, &catalog)?;
                statement = Arc::new(Statement {
                    planned: Some(Arc::new(gathered)),
                    ..Statement::clone(&statement)
                });
                None
            }
        };
        let Some(need) = need else {
            if let Some(plan) = statement.plan() {
                self.open_snapshot_block(plan);
            }
            if unanswered
                && matches!(
                    statement.plan(),
                    Some(
                        Plan::Scatter(_)
                            | Plan::Gather(_)
                            | Plan::Spread(_)
                            | Plan::Transfer(_)
                            | Plan::Session(SessionStatement::Declare { .. })
                    )
                )
                && let Some(need) = self.describing_need(&statement, &catalog)
            {
                // By a server, so that its errors come where PostgreSQL's do.
                let index = self.extended_link(need, Batch::MayGoOn, &catalog).await?;
                self.ensure_known(index, &statement, true).await?;
                return self.bind_local(bind.portal, statement, message).await;
            }
            if shares_block(&statement) {
                self.open_batch_block(Batch::MayGoOn);
            }
            if unanswered {
                self.parse_complete();
            }
            return self.bind_local(bind.portal, statement, message).await;
        };
        let index = self.extended_link(need, Batch::MayGoOn, &catalog).await?;
        self.ensure_known(index, &statement, unanswered).await?;
        self.bind_on(index, &bind, statement)
    }

    /// A portal that the router answers.
    async fn bind_local(&mut self, name: &[u8], statement: Arc<Statement>, message: &[u8]) -> Step {
        let portal = self.local_portal(statement, message.into());
        let is_opened =
            portal.is_over_several() && self.block.is_some() && !self.is_executed_next();
        if is_opened {
            // Other statements may come in between, whose effects it must not see.
            Box::pin(self.open_cursor(&portal, None, 0)).await?;
        }
        self.local(encode::bind_complete);
        self.set_portal(name, Portal::Local(portal))?;
        if self.open_cursors.is_empty() {
            return Ok(());
        }
        // One that had the unnamed portal has lost it.
        Box::pin(self.close_cursors()).await
    }

    fn bind_on(
        &mut self,
        index: usize,
        bind: &frontend::Bind<'_>,
        statement: Arc<Statement>,
    ) -> Step {
        let link = &mut self.links[index];
        frontend::rewrite_bind(
            link.backend.out(),
            bind,
            ServerName::of(statement.key).as_bytes(),
        );
        link.expects.push_back(Expect::Bind);
        self.last_shard = Some(link.shard);
        if let Some(Plan::Session(SessionStatement::Declare { name, .. })) = statement.plan() {
            let (name, shard) = (name.clone(), self.links[index].shard);
            self.cursors.retain(|(known, _)| *known != name);
            self.cursors.push((name, shard));
        }
        let link = &self.links[index];
        let portal = Portal::Server {
            shard: link.shard,
            replica: link.replica,
            statement,
        };
        self.set_portal(bind.portal, portal)
    }

    async fn describe_message(&mut self, message: &[u8]) -> Step {
        let describe = frontend::parse_describe(&message[5..])?;
        if describe.kind == b'P' {
            self.answer_parse().await?;
            let portal = self.portal(describe.name)?;
            return match portal {
                Portal::Server { shard, replica, .. } => {
                    let index = self.portal_link(shard, replica)?;
                    let link = &mut self.links[index];
                    link.backend.out().extend_from_slice(message);
                    link.unsynced = true;
                    link.expects.push_back(Expect::DescribePortal);
                    Ok(())
                }
                Portal::Local(LocalPortal {
                    statement, bind, ..
                }) => {
                    let bind = frontend::parse_bind(&bind[5..])?;
                    if let Some(fetched) = self.fetched_statement(&statement) {
                        return Box::pin(self.describe_returning(&fetched, &bind)).await;
                    }
                    let on_server = match statement.plan() {
                        Some(Plan::Everywhere(everywhere)) => everywhere.returns_rows,
                        Some(Plan::Scatter(_) | Plan::Gather(_)) => true,
                        Some(Plan::Spread(spread)) => spread.returns_rows,
                        _ => false,
                    };
                    let catalog = self.catalog();
                    Box::pin(self.learn_served(&statement, &catalog)).await?;
                    if let Some(learned) = statement
                        .plan()
                        .and_then(|plan| plan.learned(&statement.parameter_types))
                        && !learned.description.is_empty()
                    {
                        let mut described = BytesMut::new();
                        backend::row_description_without(&mut described, &learned.description, 0)
                            .map_err(LinkError::Protocol)?;
                        backend::set_formats(&mut described, |column| bind.result_format(column));
                        self.local(|out| out.extend_from_slice(&described));
                        return Ok(());
                    }
                    if on_server {
                        return Box::pin(self.describe_returning(&statement, &bind)).await;
                    }
                    self.describe_local(&statement, false, bind.result_format(0))
                        .await
                }
            };
        }
        let catalog = self.catalog();
        let statement = self.statement_named(describe.name, &catalog)?;
        let unanswered = self.take_unanswered(&statement).await?;
        self.check_block(&statement)?;
        self.check_promise(&statement, &catalog).await?;
        if let Some(Plan::Session(SessionStatement::Execute { name, arguments })) = statement.plan()
            && self.client.statements.contains_key(name.as_bytes())
        {
            let call = Call::of(name, arguments, &statement.sql);
            let placed = self.place_execution(call, unanswered, true, &catalog);
            let index = match Box::pin(placed).await? {
                Placed::Server(index, _) => index,
                Placed::Several(inner, _) | Placed::Described(inner) => {
                    self.local(|out| encode::parameter_description(out, &[]));
                    let described = Box::pin(self.describe_rows(&inner)).await?;
                    self.local(|out| out.extend_from_slice(&described));
                    return Ok(());
                }
            };
            let link = &mut self.links[index];
            encode::describe(link.backend.out(), b'S', b"");
            link.expects
                .push_back(Expect::DescribeStatement(Shape::default()));
            return Ok(());
        }
        let Some(need) = self.describing_need(&statement, &catalog) else {
            if unanswered {
                self.parse_complete();
            }
            if let Some(fetched) = self.fetched_statement(&statement) {
                let types = statement.parameter_types.clone();
                self.local(|out| encode::parameter_description(out, &types));
                let described = Box::pin(self.describe_rows(&fetched)).await?;
                self.local(|out| out.extend_from_slice(&described));
                return Ok(());
            }
            if let Some(types) = Box::pin(self.learn_served(&statement, &catalog)).await? {
                let mut described = BytesMut::new();
                encode::parameter_description(&mut described, &types.parameters);
                backend::row_description_without(&mut described, &types.description, 0)
                    .map_err(LinkError::Protocol)?;
                self.local(|out| out.extend_from_slice(&described));
                return Ok(());
            }
            return self.describe_local(&statement, true, 0).await;
        };
        let index = self.extended_link(need, Batch::AsSeen, &catalog).await?;
        self.ensure_known(index, &statement, unanswered).await?;
        let link = &mut self.links[index];
        encode::describe(
            link.backend.out(),
            b'S',
            ServerName::of(statement.key).as_bytes(),
        );
        link.expects
            .push_back(Expect::DescribeStatement(statement.shape.clone()));
        Ok(())
    }

    async fn execute_message(&mut self, message: &[u8]) -> Step {
        self.answer_parse().await?;
        let execute = frontend::parse_execute(&message[5..])?;
        match self.portal(execute.portal)? {
            Portal::Server {
                shard,
                replica,
                statement,
            } => {
                let index = self.portal_link(shard, replica)?;
                let link = &mut self.links[index];
                link.backend.out().extend_from_slice(message);
                link.unsynced = true;
                let planned = statement
                    .planned
                    .as_ref()
                    .filter(|planned| matches!(&*planned.plan, Plan::Single(single) if !single.effects.is_empty()));
                link.expects.push_back(Expect::Execute {
                    planned: planned.cloned(),
                });
                Ok(())
            }
            Portal::Local(portal) => {
                self.drain().await?;
                if let Some(plan) = portal.statement.plan() {
                    self.open_snapshot_block(plan);
                }
                Box::pin(self.execute_portal(execute.portal, &portal, execute.max_rows)).await
            }
        }
    }

    async fn close_message(&mut self, message: &[u8]) -> Step {
        self.answer_parse().await?;
        let close = frontend::parse_close(&message[5..])?;
        if close.kind == b'S' {
            if close.name.is_empty() {
                self.unnamed = None;
            } else if let Some(previous) = self.client.statements.remove(close.name) {
                self.mark_undo(Undo::Statement {
                    name: close.name.into(),
                    previous: Some(previous),
                });
            }
            self.local(encode::close_complete);
            return Ok(());
        }
        let at = self
            .portals
            .iter()
            .position(|(name, _)| **name == *close.name);
        match at.map(|at| self.portals.swap_remove(at).1) {
            Some(Portal::Server { shard, replica, .. }) => {
                let index = self.portal_link(shard, replica)?;
                let link = &mut self.links[index];
                link.backend.out().extend_from_slice(message);
                link.unsynced = true;
                link.expects.push_back(Expect::Close { forward: true });
            }
            Some(Portal::Local(_)) => {
                self.close_cursors().await?;
                self.local(encode::close_complete);
            }
            None => self.local(encode::close_complete),
        }
        Ok(())
    }

    fn check_block(&self, statement: &Statement) -> Step {
        let failed = self.block.as_ref().is_some_and(|block| block.failed);
        match statement.plan() {
            Some(plan) if failed && !super::transaction::ends_failure(plan) => {
                Err(Report::failed_block().into())
            }
            _ => Ok(()),
        }
    }
}

/// The values of a Bind message, as the planner reads them.
pub(super) struct BindValues<'a> {
    pub types: &'a [u32],
    pub bind: &'a frontend::Bind<'a>,
}

impl<'a> BindValues<'a> {
    /// The same with each value at hand, if there are so many that looking for each would take long.
    pub fn indexed(&self) -> Option<IndexedValues<'a>> {
        (self.bind.parameter_count() > INDEXED_FROM).then(|| IndexedValues {
            types: self.types,
            bind: self.bind,
            values: self.bind.values(),
        })
    }
}

/// So many parameters are found one after the other.
const INDEXED_FROM: usize = 32;

/// The values of a Bind message with many parameters.
pub(super) struct IndexedValues<'a> {
    types: &'a [u32],
    bind: &'a frontend::Bind<'a>,
    values: Vec<Option<&'a [u8]>>,
}

impl Values for IndexedValues<'_> {
    fn parameter(&self, index: u16) -> Option<Value<'_>> {
        Some(Value {
            type_oid: self.types.get(usize::from(index)).copied().unwrap_or(0),
            binary: self.bind.parameter_is_binary(index),
            bytes: *self.values.get(usize::from(index))?,
        })
    }

    fn literal(&self, _: u16) -> Option<&str> {
        None
    }
}

impl Values for BindValues<'_> {
    fn parameter(&self, index: u16) -> Option<Value<'_>> {
        let bytes = self.bind.parameter(index)?;
        Some(Value {
            type_oid: self.types.get(usize::from(index)).copied().unwrap_or(0),
            binary: self.bind.parameter_is_binary(index),
            bytes,
        })
    }

    fn literal(&self, _: u16) -> Option<&str> {
        None
    }
}

/// Whether a statement that the router carries out is undone with the other statements of its batch.
fn shares_block(statement: &Statement) -> bool {
    match statement.plan() {
        Some(Plan::Everywhere(everywhere)) => !everywhere.no_block,
        Some(
            Plan::Scatter(_)
            | Plan::Gather(_)
            | Plan::CopyOut(_)
            | Plan::Spread(_)
            | Plan::Load(_)
            | Plan::Transfer(_)
            | Plan::CreateAs(_),
        ) => true,
        // They take part in the client's transaction.
        Some(Plan::Admin(call)) => super::outbox::columns(&call.name).is_some(),
        Some(Plan::Session(session)) => matches!(
            session,
            SessionStatement::Set {
                scope: planner::SetScope::Session,
                ..
            } | SessionStatement::SetSessionCharacteristics { .. }
                | SessionStatement::Reset(_)
        ),
        _ => false,
    }
}
