//! Statements about the session: transactions, settings, prepared statements, cursors, LISTEN.
//!
//! Each leaves the session as PostgreSQL would leave it, and answers with PostgreSQL's command tag. What a server
//! must judge (is this a valid setting?) is asked of a server before the session records it.

use std::sync::Arc;

use catalog::Catalog;
use planner::{
    Access, Discard, Pins, Plan, Planned, SessionStatement, SetScope, SetValue, TransactionModes,
};

use super::arguments::{Call, Execution};
use super::cursor::Declared;
use super::extended::BindValues;
use super::links::Need;
use super::portal::Portal;
use super::prepared::{ServerName, Statement};
use super::report::{Failure, Report};
use super::settings::Assignment;
use super::simple::Part;
use super::transaction::Savepoint;
use super::{Session, Step};
use crate::execute::expect::Expect;
use crate::wire::{encode, frontend};

/// Indices of links that a statement ran on.
type Told = smallvec::SmallVec<[usize; 4]>;

impl Session {
    /// Runs a statement about the session. Returns whether the client has been sent ReadyForQuery.
    pub(super) async fn run_session_statement(
        &mut self,
        statement: &SessionStatement,
        part: Part<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<bool> {
        let tag = match statement {
            SessionStatement::Empty => {
                self.local(encode::empty_query_response);
                return Ok(false);
            }
            SessionStatement::Begin { modes } => {
                if self.block.is_some() && *modes != TransactionModes::default() {
                    // Before the block is the client's own: one that cannot be opened as asked is not opened.
                    self.set_transaction(*modes).await?;
                }
                self.begin(*modes);
                begin_tag(part.text)
            }
            SessionStatement::Commit { chain } => self.commit(*chain, catalog).await?,
            SessionStatement::Rollback { chain } => self.rollback(*chain).await?,
            SessionStatement::Savepoint(name) => self.savepoint(name, Savepoint::Set).await?,
            SessionStatement::Release(name) => self.savepoint(name, Savepoint::Release).await?,
            SessionStatement::RollbackTo(name) => {
                self.savepoint(name, Savepoint::RollbackTo).await?
            }
            SessionStatement::PrepareTransaction(_)
            | SessionStatement::CommitPrepared(_)
            | SessionStatement::RollbackPrepared(_) => {
                return Err(Report::error(
                    "0A000",
                    "prepared transactions are not supported through pgweave",
                )
                .hint("pgweave commits over several shards by itself; connect to one server directly to prepare a transaction there.")
                .into());
            }
            SessionStatement::Set { scope, name, value } => {
                self.set(*scope, name, value, part.text, catalog).await?;
                "SET"
            }
            SessionStatement::SetTransaction { modes } => {
                self.set_transaction(*modes).await?;
                "SET"
            }
            SessionStatement::SetSessionCharacteristics { modes } => {
                self.set_characteristics(modes, part.text, catalog).await?;
                "SET"
            }
            SessionStatement::SetSnapshot(_) => {
                return Err(Report::error(
                    "0A000",
                    "SET TRANSACTION SNAPSHOT is not supported through pgweave: a snapshot belongs to one server",
                )
                .into());
            }
            SessionStatement::SetConstraints { .. } => {
                self.tell_participants(part.text, catalog).await?;
                if self.block.is_none() {
                    self.notice(Report::warning(
                        "25P01",
                        "SET CONSTRAINTS can only be used in transaction blocks",
                    ));
                }
                "SET CONSTRAINTS"
            }
            SessionStatement::Reset(name) => {
                self.reset(name.as_deref(), part.text, catalog).await?;
                "RESET"
            }
            SessionStatement::Show(name) => {
                if let Some(name) = name
                    .as_deref()
                    .and_then(|name| name.strip_prefix("pgweave."))
                {
                    self.show(name, catalog).await?;
                    return Ok(false);
                }
                return self.forward_session(statement, part, catalog).await;
            }
            SessionStatement::Discard(what) => self.discard(*what).await?,
            SessionStatement::Prepare {
                name,
                types,
                statement,
                plan,
            } => {
                let body = part.text.get(statement.clone()).unwrap_or_default();
                let before = part.text.get(..statement.start).unwrap_or_default();
                let start = part.offset + i32::try_from(before.chars().count()).unwrap_or(0);
                self.prepare(name, types, (body, start), plan, catalog)
                    .await?;
                "PREPARE"
            }
            SessionStatement::Execute { name, arguments } => {
                return self.execute_prepared(name, arguments, part, catalog).await;
            }
            SessionStatement::Deallocate(name) => self.deallocate(name.as_deref())?,
            SessionStatement::Declare {
                name,
                hold,
                scroll,
                binary,
                query,
                ..
            } => {
                if self.several_portal(name).is_some() {
                    let known = format!("cursor \"{name}\" already exists");
                    return Err(Report::error("42P03", known).into());
                }
                if self.own_need(statement, part, catalog)?.is_none() {
                    let declared = Declared {
                        name,
                        hold: *hold,
                        scroll: *scroll,
                        binary: *binary,
                    };
                    Box::pin(self.declare_over_several(declared, query.clone(), part, catalog))
                        .await?;
                    self.local(|out| encode::command_complete(out, "DECLARE CURSOR"));
                    return Ok(false);
                }
                let answered = self.forward_session(statement, part, catalog).await?;
                if let Some(shard) = self.last_shard {
                    self.cursors.retain(|(known, _)| known != name);
                    self.cursors.push((name.clone(), shard));
                }
                return Ok(answered);
            }
            SessionStatement::CloseCursor(Some(name)) if self.several_portal(name).is_some() => {
                Box::pin(self.close_portal(name)).await?;
                "CLOSE CURSOR"
            }
            SessionStatement::Fetch {
                name,
                is_move,
                course,
            } if self.several_portal(name).is_some() => {
                Box::pin(self.fetch(name, *course, *is_move, part)).await?;
                return Ok(false);
            }
            SessionStatement::CloseCursor(Some(name)) | SessionStatement::Fetch { name, .. }
                if self.cursor_need(name).is_none() =>
            {
                let unknown = format!("cursor \"{name}\" does not exist");
                return Err(Report::error("34000", unknown).into());
            }
            SessionStatement::CloseCursor(Some(name)) => {
                let answered = self.forward_session(statement, part, catalog).await?;
                self.cursors.retain(|(known, _)| known != name);
                return Ok(answered);
            }
            SessionStatement::Fetch { .. }
            | SessionStatement::Listen(_)
            | SessionStatement::Notify { .. } => {
                return self.forward_session(statement, part, catalog).await;
            }
            SessionStatement::CloseCursor(None) => {
                self.cursors.clear();
                self.portals.retain(
                    |(_, portal)| !matches!(portal, Portal::Local(local) if local.is_over_several()),
                );
                Box::pin(self.close_cursors()).await?;
                for index in (0..self.links.len()).rev() {
                    self.run_own(index, "CLOSE ALL").await?;
                }
                "CLOSE CURSOR ALL"
            }
            SessionStatement::Unlisten(channel) => {
                let answered = self.forward_session(statement, part, catalog).await?;
                if channel.is_none() {
                    for link in &mut self.links {
                        link.pins = link.pins.without(Pins::LISTEN);
                        link.listening = false;
                    }
                }
                return Ok(answered);
            }
        };
        self.local(|out| encode::command_complete(out, tag));
        Ok(false)
    }

    /// Sends the statement's text to one server, whose answer is the client's. `planned`: the session must act when it has
    /// completed.
    pub(super) async fn forward(
        &mut self,
        need: Need,
        part: Part<'_>,
        planned: Option<Arc<Planned>>,
        catalog: &Catalog,
    ) -> Step<bool> {
        let index = self.link(need, catalog).await?;
        let link = &mut self.links[index];
        self.last_shard = Some(link.shard);
        match part.message {
            Some(message) => link.backend.send_query(message),
            None => link.backend.query(part.text.as_bytes()),
        }
        link.position_offset = part.offset;
        // A block that a failure elsewhere has spoilt must not look healthy to the client.
        link.expects.push_back(Expect::Query {
            ready: part.ready,
            planned,
        });
        match self.exchange(index).await {
            Ok(()) => Ok(part.ready),
            // The server's ReadyForQuery followed its error.
            Err(Failure::Sent) if part.ready => Ok(true),
            Err(failure) => Err(failure),
        }
    }

    /// Runs a statement about the session where it must take effect: on those in the block (a first one joins if nobody
    /// has), and later on those that join; outside a block on any one server, which judges it. Returns the links it ran on.
    async fn tell_participants(&mut self, sql: &str, catalog: &Catalog) -> Step<Told> {
        if self.block.is_none() {
            let need = Need {
                no_block: true,
                ..Need::any()
            };
            let index = self.link(need, catalog).await?;
            self.run_own(index, sql).await?;
            return Ok(Told::from_slice(&[index]));
        }
        if !self.links.iter().any(|link| link.in_block) {
            self.link_as_it_is(Need::any(), catalog).await?;
        }
        self.level_participants().await?;
        let participants: Told = (0..self.links.len())
            .filter(|&index| self.links[index].in_block)
            .collect();
        for &index in participants.iter().rev() {
            self.run_own(index, sql).await?;
        }
        if let Some(block) = &mut self.block {
            block.remember(sql.to_owned());
        }
        Ok(participants)
    }

    async fn set(
        &mut self,
        scope: SetScope,
        name: &str,
        value: &SetValue,
        text: &str,
        catalog: &Arc<Catalog>,
    ) -> Step {
        if name.to_ascii_lowercase().starts_with("pgweave.") {
            return self.set_own(scope, name, value, catalog);
        }
        let told = self.tell_participants(text, catalog).await?;
        if scope == SetScope::Local {
            if self.block.is_none() {
                self.notice(Report::warning(
                    "25P01",
                    "SET LOCAL can only be used in transaction blocks",
                ));
                return Ok(());
            }
            match value {
                SetValue::Values { text, .. } => self
                    .settings
                    .set_local(name, Some(Assignment::Sql(text.as_str().into()))),
                SetValue::Default => self.settings.set_local(name, None),
                SetValue::Current => {}
            }
            self.adopt_settings();
            return Ok(());
        }
        match value {
            SetValue::Values { text, .. } => self
                .settings
                .set(name, Assignment::Sql(text.as_str().into())),
            SetValue::Default => {
                self.settings.reset(name);
                self.replay_startup(Some(name), catalog).await?;
            }
            SetValue::Current => {}
        }
        self.settings_applied(&told);
        Ok(())
    }

    async fn reset(&mut self, name: Option<&str>, text: &str, catalog: &Arc<Catalog>) -> Step {
        let own = name.is_some_and(|name| name.to_ascii_lowercase().starts_with("pgweave."));
        let told = if own {
            Told::new()
        } else {
            self.tell_participants(text, catalog).await?
        };
        match name {
            Some(name) => self.settings.reset(name),
            None => self.settings.reset_all(),
        }
        if !own {
            self.replay_startup(name, catalog).await?;
        }
        self.settings_applied(&told);
        Ok(())
    }

    /// The session's own default of a setting comes from its startup packet; the server's RESET does not know it.
    async fn replay_startup(&mut self, name: Option<&str>, catalog: &Catalog) -> Step {
        let mut sql = String::new();
        for (known, assignment) in self.settings.wanted().iter() {
            if name.is_none_or(|name| name.eq_ignore_ascii_case(known))
                && !known.starts_with("pgweave.")
            {
                super::settings::push_assignment(&mut sql, known, assignment);
            }
        }
        if !sql.is_empty() {
            self.tell_participants(&sql, catalog).await?;
        }
        Ok(())
    }

    /// The links that a change of settings ran on have it applied.
    fn settings_applied(&mut self, told: &[usize]) {
        let wanted = self.settings.wanted().clone();
        for &index in told {
            if let Some(link) = self.links.get_mut(index) {
                link.backend.set_applied(wanted.clone());
            }
        }
        self.adopt_settings();
    }

    async fn set_characteristics(
        &mut self,
        modes: &TransactionModes,
        text: &str,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let told = self.tell_participants(text, catalog).await?;
        let isolation = modes.isolation.map(|isolation| match isolation {
            planner::Isolation::ReadUncommitted => "'read uncommitted'",
            planner::Isolation::ReadCommitted => "'read committed'",
            planner::Isolation::RepeatableRead => "'repeatable read'",
            planner::Isolation::Serializable => "'serializable'",
        });
        let on_off = |value: bool| if value { "on" } else { "off" };
        let settings = [
            ("default_transaction_isolation", isolation),
            ("default_transaction_read_only", modes.read_only.map(on_off)),
            (
                "default_transaction_deferrable",
                modes.deferrable.map(on_off),
            ),
        ];
        for (name, value) in settings {
            if let Some(value) = value {
                self.settings.set(name, Assignment::Sql(value.into()));
            }
        }
        self.settings_applied(&told);
        Ok(())
    }

    async fn discard(&mut self, what: Discard) -> Step<&'static str> {
        let (tag, sql) = match what {
            Discard::All => ("DISCARD ALL", "DISCARD ALL"),
            Discard::Plans => ("DISCARD PLANS", "DISCARD PLANS"),
            Discard::Sequences => ("DISCARD SEQUENCES", "DISCARD SEQUENCES"),
            Discard::Temp => ("DISCARD TEMP", "DISCARD TEMP"),
        };
        if what == Discard::All && self.block.is_some() {
            return Err(Report::error(
                "25001",
                "DISCARD ALL cannot run inside a transaction block",
            )
            .into());
        }
        for index in (0..self.links.len()).rev() {
            self.run_own(index, sql).await?;
        }
        match what {
            Discard::All => {
                self.settings.discard();
                self.client.statements.clear();
                self.unnamed = None;
                self.portals.clear();
                Box::pin(self.close_cursors()).await?;
                self.cursors.clear();
                self.temporary.clear();
                for link in &mut self.links {
                    link.pins = Pins::NONE;
                    link.listening = false;
                    link.backend.discarded_all();
                }
                self.adopt_settings();
                self.report_settings().await?;
            }
            Discard::Temp => {
                self.temporary.clear();
                for link in &mut self.links {
                    link.pins = link.pins.without(Pins::TEMPORARY);
                }
            }
            Discard::Plans | Discard::Sequences => {}
        }
        Ok(tag)
    }

    async fn prepare(
        &mut self,
        name: &str,
        types: &[String],
        (body, body_start): (&str, i32),
        plan: &Plan,
        catalog: &Arc<Catalog>,
    ) -> Step {
        if self.client.statements.contains_key(name.as_bytes()) {
            return Err(Report::error(
                "42P05",
                format!("prepared statement \"{name}\" already exists"),
            )
            .into());
        }
        let key = self.router.statements.next_key(true);
        let statement = Arc::new(Statement {
            sql: body.into(),
            planned: Some(Arc::new(planner::Planned {
                part: None,
                plan: Arc::new(plan.clone()),
                rest: None,
            })),
            manual: self.manual_shard(catalog)?,
            declared_types: Some(types.join(", ").into()),
            ..Statement::empty(key, catalog.epoch(), self.reading())
        });
        let need = self.describing_need(&statement, catalog).ok_or_else(|| {
            Report::error(
                "0A000",
                "PREPARE of this kind of statement is not supported through pgweave",
            )
            .hint("Send the statement itself.")
        })?;
        let index = self.link(need, catalog).await?;
        self.prepare_by_sql(index, &statement, body_start).await?;
        self.learn_shape(index, &statement).await?;
        let statement = match statement.plan() {
            // It names places in the text, which is now the body alone.
            Some(Plan::Scatter(_) | Plan::Gather(_) | Plan::Spread(_) | Plan::Transfer(_)) => {
                let body = self.statement_of(body, &[], false, self.reading(), catalog)?;
                Arc::new(Statement {
                    planned: body.planned.clone(),
                    ..Statement::clone(&statement)
                })
            }
            _ => statement,
        };
        self.client
            .statements
            .insert(name.as_bytes().into(), statement);
        Ok(())
    }

    /// Makes a link's server know a statement that was prepared by SQL, whose types are known by name only.
    pub(super) async fn prepare_by_sql(
        &mut self,
        index: usize,
        statement: &Statement,
        body_start: i32,
    ) -> Step {
        let link = &mut self.links[index];
        if link.backend.knows(statement.key) {
            return Ok(());
        }
        link.backend.note_prepared(statement.key, &mut link.expects);
        let name = ServerName::of(statement.key);
        let mut sql = format!("PREPARE \"{}\"", String::from_utf8_lossy(name.as_bytes()));
        if let Some(types) = statement
            .declared_types
            .as_deref()
            .filter(|types| !types.is_empty())
        {
            sql.push_str(&format!(" ({types})"));
        }
        sql.push_str(" AS ");
        sql.push_str(&statement.sql);
        self.links[index].own_offset = body_start
            - i32::try_from(sql.chars().count() - statement.sql.chars().count()).unwrap_or(0);
        let result = self.run_own(index, &sql).await;
        if result.is_err()
            && let Some(link) = self.links.get_mut(index)
        {
            link.backend.forget_prepared(statement.key);
        }
        result
    }

    async fn execute_prepared(
        &mut self,
        name: &str,
        arguments: &[String],
        part: Part<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<bool> {
        let call = Call {
            name,
            arguments,
            text: part.text,
            offset: part.offset,
        };
        let (statement, need, arguments) = match self.execution(call, catalog).await? {
            Execution::Server(statement, need, arguments) => (statement, need, arguments),
            Execution::Several(statement, bind) => {
                let silent = match statement.plan() {
                    Some(Plan::Spread(spread)) => !spread.returns_rows,
                    Some(Plan::Transfer(_)) => true,
                    _ => false,
                };
                if !silent {
                    let described = Box::pin(self.describe_rows(&statement)).await?;
                    self.local(|out| out.extend_from_slice(&described));
                }
                Box::pin(self.execute_local(&statement, &bind, 0)).await?;
                return Ok(false);
            }
        };
        self.check_promise(&statement, catalog).await?;
        let index = self.link(need, catalog).await?;
        self.prepare_for_execution(index, &statement).await?;
        let sql = execute_text(&statement, &arguments);
        let link = &mut self.links[index];
        link.backend.query(sql.as_bytes());
        link.position_offset = part.offset + arguments_offset(part.text, &sql);
        link.expects.push_back(Expect::Query {
            ready: part.ready,
            planned: statement.with_effects(),
        });
        match self.exchange(index).await {
            Ok(()) => Ok(part.ready),
            Err(Failure::Sent) if part.ready => Ok(true),
            Err(failure) => Err(failure),
        }
    }

    /// Makes a link's server know the statement before an EXECUTE is sent there.
    pub(super) async fn prepare_for_execution(
        &mut self,
        index: usize,
        statement: &Arc<Statement>,
    ) -> Step {
        self.drain().await?;
        if statement.declared_types.is_some() && statement.reading.settings == self.derived.reading
        {
            return self.prepare_by_sql(index, statement, 0).await;
        }
        self.ensure_known(index, statement, false).await?;
        self.drain().await
    }

    fn deallocate(&mut self, name: Option<&str>) -> Step<&'static str> {
        match name {
            None => {
                self.client.statements.clear();
                Ok("DEALLOCATE ALL")
            }
            Some(name) => match self.client.statements.remove(name.as_bytes()) {
                Some(_) => Ok("DEALLOCATE"),
                None => Err(Report::error(
                    "26000",
                    format!("prepared statement \"{name}\" does not exist"),
                )
                .into()),
            },
        }
    }

    /// A statement about the session that one server answers as it is.
    async fn forward_session(
        &mut self,
        statement: &SessionStatement,
        part: Part<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<bool> {
        let need = self.own_need(statement, part, catalog)?.ok_or_else(|| {
            Report::error(
                "XX000",
                "a statement of the router's own was to be forwarded",
            )
        })?;
        self.forward(need, part, None, catalog).await
    }

    /// The server that answers a statement about the session as it is; `None`: the router does.
    fn own_need(
        &self,
        statement: &SessionStatement,
        part: Part<'_>,
        catalog: &Catalog,
    ) -> Step<Option<Need>> {
        match part.bound {
            None => self.forwarded_need(statement, &self.literals.values(part.whole), catalog),
            Some((types, message)) => {
                let bind = frontend::parse_bind(&message[5..])?;
                let values = BindValues { types, bind: &bind };
                self.forwarded_need(statement, &values, catalog)
            }
        }
    }

    /// Where a cursor lives that the router does not keep; `None`: there is no such cursor.
    pub(super) fn cursor_need(&self, name: &str) -> Option<Need> {
        if let Some((_, shard)) = self.cursors.iter().find(|(known, _)| known == name) {
            return Some(Need::shard(*shard, Access::Read));
        }
        // A function may have opened it, on the one server that works for this session.
        match &self.links[..] {
            [only] => Some(Need::shard(only.shard, Access::Read)),
            // With a snapshot all work for it, but those that have only shown theirs have no cursor.
            _ if self.block.as_ref().is_some_and(|block| block.snapshot) => {
                Some(Need::shard(self.last_shard?, Access::Read))
            }
            _ => None,
        }
    }
}

/// START TRANSACTION has a tag of its own.
fn begin_tag(text: &str) -> &'static str {
    let start = text.trim_start().get(..5);
    if start.is_some_and(|word| word.eq_ignore_ascii_case("start")) {
        "START TRANSACTION"
    } else {
        "BEGIN"
    }
}

/// EXECUTE by the statement's name on servers.
pub(super) fn execute_text(statement: &Statement, arguments: &[String]) -> String {
    let server_name = ServerName::of(statement.key);
    let mut sql = format!(
        "EXECUTE \"{}\"",
        String::from_utf8_lossy(server_name.as_bytes())
    );
    if !arguments.is_empty() {
        sql.push_str(&format!(" ({})", arguments.join(", ")));
    }
    sql
}

/// How far the arguments stand further right in the client's text than in the router's.
pub(super) fn arguments_offset(client: &str, own: &str) -> i32 {
    let place = |text: &str| text.chars().position(|character| character == '(');
    match (place(client), place(own)) {
        (Some(client), Some(own)) => {
            i32::try_from(client).unwrap_or(0) - i32::try_from(own).unwrap_or(0)
        }
        _ => 0,
    }
}
