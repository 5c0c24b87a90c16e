//! The extended query protocol: Parse, Bind, Describe, Execute, Close, Flush, Sync, and pipelines of them.
//!
//! Messages for a server wait in its link and leave together at Sync or Flush, so a usual batch costs one write and one
//! read. The shard is known at Bind, when there are values. A Parse is answered by the server that the following Bind
//! chooses; if that server knows the statement already, by the router.
//!
//! Several statements before one Sync are one implicit transaction in PostgreSQL; they run in a block of the
//! router's own, so that they commit together even if they meet several shards.

use std::sync::Arc;

use bytes::BytesMut;
use catalog::Catalog;
use planner::{Access, Pins, Plan, Route, SessionStatement, Target, Value, Values};

use super::block::Block;
use super::links::Need;
use super::prepared::{Reading, ServerName, Shape, Statement};
use super::report::{Failure, Report};
use super::settings::{local_statements_between, read_again};
use super::{Session, Step};
use crate::execute::LinkError;
use crate::execute::expect::{Expect, Undo};
use crate::wire::{backend, encode, frame, frontend};

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

/// Why a portal of the router's own cannot be executed again.
fn spent_portal(statement: &Statement, name: &[u8]) -> Failure {
    if matches!(statement.plan(), Some(Plan::Gather(_))) {
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

/// What to think of a batch whose Sync has not come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batch {
    /// It may bring more statements to execute.
    MayGoOn,
    /// Nothing has been bound, so that it can still become several statements later.
    AsSeen,
}

/// The values of a Bind message, as the planner reads them.
pub(super) struct BindValues<'a> {
    pub types: &'a [u32],
    pub bind: &'a frontend::Bind<'a>,
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
        Some(Plan::Gather(_)) => true,
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

    /// What earlier messages still have to say comes before the error.
    pub(super) async fn fail_extended(&mut self, failure: Failure) -> Step {
        self.skipping = true;
        self.unanswered = None;
        match failure {
            Failure::Report(report) => {
                let failure = match self.drain().await {
                    // The earlier message failed; this one would have been skipped.
                    Err(Failure::Sent) => Failure::Sent,
                    Err(Failure::Report(_)) | Ok(()) => Failure::Report(report),
                    Err(end) => end,
                };
                self.fail_statement(failure)
            }
            other => self.fail_statement(other),
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

    fn statement_of(
        &self,
        sql: &str,
        types: &[u32],
        named: bool,
        reading: Reading,
        catalog: &Arc<Catalog>,
    ) -> Step<Arc<Statement>> {
        let manual = self.manual_shard(catalog)?;
        let context = planner::Context {
            standard_conforming_strings: reading.standard_conforming_strings,
            ..self.context(catalog, manual)
        };
        let plan = || {
            self.router
                .plans
                .plan_statement(sql, &context)
                .map(|planned| planned.map(Arc::new))
        };
        // Temporary tables and manual routing are this session's own, so a plan made with them is not shared.
        if named && reading.temporary.is_empty() && manual.is_none() {
            return Ok(self.router.statements.intern(
                sql,
                types,
                &reading,
                catalog.epoch(),
                plan,
            )?);
        }
        Ok(Arc::new(Statement {
            key: self.router.statements.next_key(named),
            sql: sql.into(),
            parameter_types: types.into(),
            planned: plan()?,
            epoch: catalog.epoch(),
            manual,
            reading,
            declared_types: None,
            shape: Shape::default(),
            promised: None,
        }))
    }

    /// The statement of that name, planned by what the catalog and the session are now.
    pub(super) fn statement_named(
        &mut self,
        name: &[u8],
        catalog: &Arc<Catalog>,
    ) -> Step<Arc<Statement>> {
        let found = if name.is_empty() {
            self.unnamed.as_ref()
        } else {
            self.client.statements.get(name)
        };
        let Some(statement) = found else {
            return Err(if name.is_empty() {
                Report::error("26000", "unnamed prepared statement does not exist")
            } else {
                Report::error(
                    "26000",
                    format!(
                        "prepared statement \"{}\" does not exist",
                        String::from_utf8_lossy(name)
                    ),
                )
            }
            .into());
        };
        let same_names = *statement.reading.search_path == *self.derived.search_path
            && *statement.reading.temporary == *self.temporary.relations();
        if statement.epoch == catalog.epoch()
            && statement.manual == self.manual_shard(catalog)?
            && same_names
        {
            return Ok(statement.clone());
        }
        let old = statement.clone();
        let reading = if same_names {
            old.reading.clone()
        } else {
            Reading {
                standard_conforming_strings: old.reading.standard_conforming_strings,
                settings: read_again(&old.reading.settings, &self.derived.reading),
                ..self.reading()
            }
        };
        let mut fresh = self.statement_of(
            &old.sql,
            &old.parameter_types,
            !name.is_empty(),
            reading,
            catalog,
        )?;
        if old.declared_types.is_some() {
            fresh = Arc::new(Statement {
                key: self.router.statements.next_key(true),
                sql: old.sql.clone(),
                parameter_types: Box::default(),
                planned: fresh.planned.clone(),
                epoch: fresh.epoch,
                manual: fresh.manual,
                reading: fresh.reading.clone(),
                declared_types: old.declared_types.clone(),
                shape: Shape::default(),
                promised: None,
            });
        }
        let promised = old.promised.or(old.shape.get());
        if promised.is_some() && fresh.shape.get() != promised {
            fresh = Arc::new(Statement {
                promised,
                ..Statement::clone(&fresh)
            });
        }
        if self
            .unanswered
            .as_ref()
            .is_some_and(|unanswered| Arc::ptr_eq(unanswered, &old))
        {
            self.unanswered = Some(fresh.clone());
        }
        if name.is_empty() {
            self.unnamed = Some(fresh.clone());
        } else {
            self.client.statements.insert(name.into(), fresh.clone());
        }
        Ok(fresh)
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
            let (index, ad_hoc) = self
                .place_execution(name, arguments, unanswered, false, &catalog)
                .await?;
            self.links[index].position_offset =
                super::statement::arguments_offset(&statement.sql, &ad_hoc.sql);
            return self.bind_on(index, &bind, ad_hoc);
        }
        let need = match self.server_need(&statement, &values, &catalog) {
            Ok(need) => need,
            Err(refusal) => {
                let Some(planned) = &statement.planned else {
                    return Err(refusal);
                };
                let gathered = self.over_several(planned, &statement.sql, refusal, &catalog)?;
                statement = Arc::new(Statement {
                    planned: Some(Arc::new(gathered)),
                    ..Statement::clone(&statement)
                });
                None
            }
        };
        let Some(need) = need else {
            if unanswered
                && matches!(statement.plan(), Some(Plan::Gather(_)))
                && let Some(need) = self.describing_need(&statement, &catalog)
            {
                // By a server, so that its errors come where PostgreSQL's do.
                let index = self.extended_link(need, Batch::MayGoOn, &catalog).await?;
                self.ensure_known(index, &statement, true).await?;
                self.local(encode::bind_complete);
                return self.set_portal(
                    bind.portal,
                    Portal::Local {
                        statement,
                        bind: message.into(),
                        spent: false,
                    },
                );
            }
            if self.block.is_none()
                && shares_block(&statement)
                && self.batch_has_several_statements(Batch::MayGoOn)
            {
                self.open_block(Block::implicit());
            }
            if unanswered {
                self.parse_complete();
            }
            self.local(encode::bind_complete);
            self.set_portal(
                bind.portal,
                Portal::Local {
                    statement,
                    bind: message.into(),
                    spent: false,
                },
            )?;
            return Ok(());
        };
        let index = self.extended_link(need, Batch::MayGoOn, &catalog).await?;
        self.ensure_known(index, &statement, unanswered).await?;
        self.bind_on(index, &bind, statement)
    }

    /// An EXECUTE by the extended protocol, which is to be bound or `described`: the statement it names is made known to its server, and the EXECUTE becomes
    /// a statement of its own there, so that formats and row limits work as for any other.
    async fn place_execution(
        &mut self,
        name: &str,
        arguments: &[String],
        answer: bool,
        described: bool,
        catalog: &Arc<Catalog>,
    ) -> Step<(usize, Arc<Statement>)> {
        let (inner, need) = self.execution(name, arguments, catalog)?;
        if let Err(failure) = self.check_promise(&inner, catalog).await {
            if answer {
                self.parse_complete();
            }
            if described {
                self.local(|out| encode::parameter_description(out, &[]));
            }
            return Err(failure);
        }
        let index = self.extended_link(need, Batch::MayGoOn, catalog).await?;
        self.prepare_for_execution(index, &inner).await?;
        let ad_hoc = Arc::new(Statement {
            key: self.router.statements.next_key(false),
            sql: super::statement::execute_text(&inner, arguments).into(),
            parameter_types: Box::default(),
            planned: inner.planned.clone(),
            epoch: catalog.epoch(),
            manual: None,
            reading: self.reading(),
            declared_types: None,
            shape: Shape::default(),
            promised: None,
        });
        self.ensure_prepared(index, &ad_hoc, answer)?;
        self.links[index].unsynced = true;
        Ok((index, ad_hoc))
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
        if let Some(Plan::Session(SessionStatement::Declare { name, .. })) = statement.plan() {
            let (name, shard) = (name.clone(), link.shard);
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

    /// Where a statement runs with these values; `None` if the router itself carries it out.
    fn server_need(
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
            SessionStatement::Fetch { name, .. } | SessionStatement::CloseCursor(Some(name)) => {
                self.cursor_need(name)?
            }
            SessionStatement::Listen(_) => Need {
                pins: Pins::LISTEN,
                ..default
            },
            SessionStatement::Unlisten(_) | SessionStatement::Notify { .. } => default,
            SessionStatement::Declare { hold, plan, .. } => {
                let Plan::Single(single) = &**plan else {
                    return Err(Report::error(
                        "0A000",
                        "a cursor over this kind of statement is not supported",
                    )
                    .into());
                };
                let mut need = self.need_of(single, values, catalog)?;
                if *hold {
                    need.pins.insert(Pins::HOLD_CURSOR);
                }
                need
            }
            _ => return Ok(None),
        }))
    }

    fn set_portal(&mut self, name: &[u8], portal: Portal) -> Step {
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

    /// A link for a statement of the extended protocol: earlier answers of other links come first, and a batch of
    /// several statements gets a block.
    async fn extended_link(&mut self, need: Need, batch: Batch, catalog: &Catalog) -> Step<usize> {
        if self.block.is_none() && !need.no_block && self.batch_has_several_statements(batch) {
            self.open_block(Block::implicit());
        }
        let before = self.busy_link();
        if let Some(busy) = before
            && !self.serves(busy, need, catalog)
        {
            self.drain().await?;
        }
        let index = self.link(need, catalog).await?;
        self.links[index].unsynced = true;
        Ok(index)
    }

    /// The link whose answers are outstanding, of which there is at most one between messages.
    pub(super) fn busy_link(&self) -> Option<usize> {
        self.links.iter().position(|link| !link.expects.is_empty())
    }

    fn serves(&self, index: usize, need: Need, catalog: &Catalog) -> bool {
        let link = &self.links[index];
        match need.target {
            Target::Any => !link.replica || need.access == Access::Read,
            Target::Shard(shard) => {
                link.shard == shard && (!link.replica || need.access == Access::Read)
            }
            Target::Catalog => catalog.catalog_shard() == Some(link.shard) && !link.replica,
        }
    }

    /// Looks ahead: does the client's input hold more than one Execute before Sync?
    fn batch_has_several_statements(&self, batch: Batch) -> bool {
        let mut executes = 0;
        for tag in self.client.upcoming_tags() {
            match tag {
                b'E' => executes += 1,
                b'S' => return executes > 1,
                b'X' | b'Q' => return executes > 1,
                _ => {}
            }
        }
        executes > 1 || batch == Batch::MayGoOn
    }

    /// Makes the link's server know the statement. `answer`: its ParseComplete is the client's.
    pub(super) async fn ensure_known(
        &mut self,
        index: usize,
        statement: &Arc<Statement>,
        answer: bool,
    ) -> Step {
        if statement.reading.settings == self.derived.reading
            || self.links[index].backend.knows(statement.key)
        {
            return self.ensure_prepared(index, statement, answer);
        }
        Box::pin(self.prepare_as_read(index, statement)).await?;
        if answer {
            self.parse_complete();
        }
        Ok(())
    }

    /// Prepares a statement under the settings that it was first read by, though the session's have changed since: its
    /// constants must stay what they are.
    async fn prepare_as_read(&mut self, index: usize, statement: &Arc<Statement>) -> Step {
        self.drain().await?;
        let (then, now) = (&statement.reading.settings, &self.derived.reading);
        let mut before = local_statements_between(now, then);
        let mut after = local_statements_between(then, now);
        let in_block = self.links[index].in_block;
        if !in_block {
            before.insert_str(0, "BEGIN;");
            after = "ROLLBACK".to_owned();
        }
        self.run_own(index, &before).await?;
        let server = self.links[index].backend.cancel_target().clone();
        let prepared = if statement.declared_types.is_some() {
            self.prepare_by_sql(index, statement, 0).await
        } else {
            match self.ensure_prepared(index, statement, false) {
                Ok(()) => {
                    let link = &mut self.links[index];
                    encode::sync(link.backend.out());
                    link.expects.push_back(Expect::Sync { forward: false });
                    self.exchange(index).await
                }
                failed => failed,
            }
        };
        // A failed block undoes the settings by itself; a lost connection has none.
        let still_there = self
            .links
            .get(index)
            .is_some_and(|link| Arc::ptr_eq(link.backend.cancel_target(), &server));
        if still_there && (prepared.is_ok() || !in_block) {
            self.run_own(index, &after).await?;
        }
        prepared
    }

    fn ensure_prepared(&mut self, index: usize, statement: &Arc<Statement>, answer: bool) -> Step {
        let link = &mut self.links[index];
        if link.backend.knows(statement.key) {
            if answer {
                self.parse_complete();
            }
            return Ok(());
        }
        link.backend.note_prepared(statement.key, &mut link.expects);
        encode::parse(
            link.backend.out(),
            ServerName::of(statement.key).as_bytes(),
            statement.sql.as_bytes(),
            &statement.parameter_types,
        );
        link.expects.push_back(Expect::Parse {
            forward: answer,
            statement: statement.key,
        });
        self.mark_registered();
        Ok(())
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
                Portal::Local {
                    statement, bind, ..
                } => {
                    let bind = frontend::parse_bind(&bind[5..])?;
                    let on_server = match statement.plan() {
                        Some(Plan::Everywhere(everywhere)) => everywhere.returns_rows,
                        Some(Plan::Gather(_)) => true,
                        _ => false,
                    };
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
            let (index, _) = self
                .place_execution(name, arguments, unanswered, true, &catalog)
                .await?;
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

    /// A client that has been told what a statement's result looks like must not be sent another.
    pub(super) async fn check_promise(
        &mut self,
        statement: &Arc<Statement>,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let Some(promised) = statement.promised else {
            return Ok(());
        };
        if statement.shape.get().is_none()
            && let Some(need) = self.describing_need(statement, catalog)
        {
            let index = Box::pin(self.extended_link(need, Batch::AsSeen, catalog)).await?;
            Box::pin(self.learn_shape(index, statement)).await?;
        }
        match statement.shape.get() {
            Some(shape) if shape != promised => Err(Report::changed_result().into()),
            _ => Ok(()),
        }
    }

    /// Describes the rows of what more than one shard takes part in, as one of them does.
    async fn describe_returning(
        &mut self,
        statement: &Arc<Statement>,
        bind: &frontend::Bind<'_>,
    ) -> Step {
        let catalog = self.catalog();
        let need = self.describing_need(statement, &catalog).ok_or_else(|| {
            Report::error("XX000", "no shard can describe a write to every shard")
        })?;
        let index = self.extended_link(need, Batch::AsSeen, &catalog).await?;
        let described = self.learn_shape(index, statement).await?;
        let mut described = described.unwrap_or_else(|| {
            let mut out = BytesMut::new();
            encode::no_data(&mut out);
            out
        });
        backend::set_formats(&mut described, |column| bind.result_format(column));
        self.local(|out| out.extend_from_slice(&described));
        Ok(())
    }

    /// Has a server describe a statement to the router. Its RowDescription, if it returns rows.
    pub(super) async fn learn_shape(
        &mut self,
        index: usize,
        statement: &Arc<Statement>,
    ) -> Step<Option<BytesMut>> {
        self.prepare_for_execution(index, statement).await?;
        let link = &mut self.links[index];
        link.captured.clear();
        encode::describe(
            link.backend.out(),
            b'S',
            ServerName::of(statement.key).as_bytes(),
        );
        encode::sync(link.backend.out());
        link.expects.push_back(Expect::Captured);
        self.exchange(index).await?;
        self.own_error(index)?;
        let link = &mut self.links[index];
        let captured = std::mem::take(&mut link.captured);
        let mut row_description = None;
        let mut rest = &captured[..];
        while let Some(frame) =
            frame::next_frame(rest, &link.limits).map_err(LinkError::Protocol)?
        {
            if matches!(frame.tag, b'T' | b'n') {
                statement.shape.note(&rest[5..frame.total]);
            }
            if frame.tag == b'T' {
                row_description = Some(BytesMut::from(&rest[..frame.total]));
            }
            rest = &rest[frame.total..];
        }
        Ok(row_description)
    }

    /// A server that can describe the statement before its values are known; `None` if the router describes it.
    pub(super) fn describing_need(&self, statement: &Statement, catalog: &Catalog) -> Option<Need> {
        let target = match statement.plan()? {
            Plan::Single(single) => match &single.route {
                Route::Any => Target::Any,
                Route::Shard(shard) => Target::Shard(*shard),
                Route::Catalog => Target::Catalog,
                Route::Key(route) => self.some_shard_of(route, catalog),
            },
            Plan::Session(session) => {
                return self.forwarded_need(session, &(), catalog).ok().flatten();
            }
            Plan::Gather(gather) => Target::Shard(*gather.servers.first()?),
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
            Portal::Local {
                statement,
                bind,
                spent,
            } => {
                self.drain().await?;
                let name = execute.portal;
                if spent {
                    return Err(spent_portal(&statement, name));
                }
                if let Some((_, Portal::Local { spent, .. })) =
                    self.portals.iter_mut().find(|(known, _)| **known == *name)
                {
                    *spent = true;
                }
                self.execute_local(&statement, &bind, execute.max_rows)
                    .await
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
            Some(Portal::Local { .. }) | None => self.local(encode::close_complete),
        }
        Ok(())
    }

    async fn flush_message(&mut self, message: &[u8]) -> Step {
        if message.len() != 5 {
            return Err(crate::wire::ProtocolError::invalid_format().into());
        }
        self.answer_parse().await?;
        self.drain().await?;
        self.client
            .flush()
            .await
            .map_err(super::report::End::Client)?;
        Ok(())
    }

    /// Sync: the batch ends, and with it an implicit transaction.
    pub(super) async fn sync(&mut self, message: &[u8]) -> Step {
        if message.len() != 5 {
            return Err(super::protocol_end(
                crate::wire::ProtocolError::invalid_format(),
            ));
        }
        self.handle.begin_statement();
        if !self.skipping
            && let Err(failure) = self.answer_parse().await
        {
            self.fail_extended(failure).await?;
        }
        let mut forwarded = false;
        let unsynced: smallvec::SmallVec<[usize; 4]> = (0..self.links.len())
            .filter(|&index| self.links[index].unsynced)
            .collect();
        let plain = self
            .block
            .as_ref()
            .is_none_or(|block| block.explicit && !block.failed);
        let forward = plain && unsynced.len() == 1 && !self.skipping;
        // Dropping a broken link moves the last one into its place: go from the back.
        for &index in unsynced.iter().rev() {
            let link = &mut self.links[index];
            link.unsynced = false;
            encode::sync(link.backend.out());
            link.expects.push_back(Expect::Sync { forward });
            match self.exchange(index).await {
                Ok(()) => forwarded |= forward,
                Err(Failure::Sent) => forwarded |= forward,
                Err(failure) => self.fail_statement(failure)?,
            }
            if std::mem::take(&mut self.notes.sync_ignored) {
                return self
                    .client
                    .flush()
                    .await
                    .map_err(|error| super::report::End::Client(error).into());
            }
        }
        self.skipping = false;
        if let Err(failure) = self.end_implicit_block().await {
            self.fail_statement(failure)?;
        }
        if forwarded {
            self.after_ready().await
        } else {
            self.ready().await
        }
    }

    /// A simple query or the end of the session finds extended messages that were not followed by Sync.
    pub(super) async fn finish_extended(&mut self) -> Step {
        if self.unanswered.is_none() && self.busy_link().is_none() {
            return Ok(());
        }
        self.answer_parse().await?;
        self.drain().await
    }

    /// Gets every outstanding answer without ending the batch.
    pub(super) async fn drain(&mut self) -> Step {
        while let Some(index) = self.busy_link() {
            encode::flush(self.links[index].backend.out());
            self.exchange(index).await?;
        }
        Ok(())
    }

    /// Answers a Parse that no Bind or Describe follows: by a server, so that its errors come where PostgreSQL's do.
    async fn answer_parse(&mut self) -> Step {
        let Some(statement) = self.unanswered.take() else {
            return Ok(());
        };
        let catalog = self.catalog();
        match self.describing_need(&statement, &catalog) {
            Some(need) => {
                let index = self.extended_link(need, Batch::AsSeen, &catalog).await?;
                self.ensure_known(index, &statement, true).await
            }
            None => {
                self.parse_complete();
                Ok(())
            }
        }
    }

    /// ParseComplete of the router's own.
    fn parse_complete(&mut self) {
        self.local(encode::parse_complete);
        self.mark_registered();
    }

    /// Whether the pending Parse is this statement's; another one's is answered first.
    async fn take_unanswered(&mut self, statement: &Arc<Statement>) -> Step<bool> {
        match &self.unanswered {
            Some(unanswered) if Arc::ptr_eq(unanswered, statement) => {
                self.unanswered = None;
                Ok(true)
            }
            Some(_) => {
                self.answer_parse().await?;
                Ok(false)
            }
            None => Ok(false),
        }
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

    fn portal(&self, name: &[u8]) -> Step<Portal> {
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
        Some(Portal::Server {
            shard: *shard,
            replica: false,
            statement: Arc::new(Statement {
                key: self.router.statements.next_key(false),
                sql: Box::default(),
                parameter_types: Box::default(),
                planned: None,
                epoch: self.router.catalog.epoch(),
                manual: None,
                reading: self.reading(),
                declared_types: None,
                shape: Shape::default(),
                promised: None,
            }),
        })
    }

    fn portal_link(&self, shard: catalog::ShardId, replica: bool) -> Step<usize> {
        self.links
            .iter()
            .position(|link| link.shard == shard && link.replica == replica)
            .ok_or_else(|| Report::error("34000", "the portal's server connection is gone").into())
    }

    /// An answer of the router's own, after those that are outstanding.
    pub(super) fn local(&mut self, encode: impl FnOnce(&mut bytes::BytesMut)) {
        match self.busy_link() {
            Some(index) => self.links[index].local(&mut self.client, encode),
            None => encode(&mut self.client.out),
        }
    }

    /// The name that the latest Parse registered goes again if that Parse, or what came before it, fails.
    fn mark_registered(&mut self) {
        if let Some(name) = self.registered.take() {
            self.mark_undo(Undo::Statement {
                name,
                previous: None,
            });
        }
    }

    /// If what comes before fails, PostgreSQL would not have seen the message that did this.
    fn mark_undo(&mut self, undo: Undo) {
        if let Some(index) = self.busy_link() {
            self.links[index].expects.push_back(Expect::Undo(undo));
        }
    }
}
