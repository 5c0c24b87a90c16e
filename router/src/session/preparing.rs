//! Making prepared statements, making them anew, and making servers know them.
//!
//! Entry points: [`Session::statement_named`], what a name means by the catalog and the session of now, and
//! [`Session::ensure_known`], which has a link's server prepare it. A Parse waits (`unanswered`) until it is known which
//! server answers it: the one that the following Bind or Describe chooses.

use std::sync::Arc;

use catalog::Catalog;

use super::arguments::{Call, Execution};
use super::batch::Batch;
use super::prepared::{Reading, ServerName, Statement};
use super::report::Report;
use super::settings::{local_statements_between, read_again};
use super::{Session, Step};
use crate::execute::expect::{Expect, Undo};
use crate::wire::encode;

/// Where an EXECUTE by the extended protocol goes.
pub(super) enum Placed {
    /// To this link, as a statement of its own.
    Server(usize, Arc<Statement>),
    /// To several shards: the statement, and a Bind message with its values.
    Several(Arc<Statement>, Arc<[u8]>),
    /// Only to be described, by any server that knows this statement.
    Described(Arc<Statement>),
}

impl Session {
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
            let key = self.router.statements.next_key(true);
            fresh = Arc::new(Statement {
                sql: old.sql.clone(),
                planned: fresh.planned.clone(),
                manual: fresh.manual,
                declared_types: old.declared_types.clone(),
                ..Statement::empty(key, fresh.epoch, fresh.reading.clone())
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

    pub(super) fn statement_of(
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
        let key = self.router.statements.next_key(named);
        Ok(Arc::new(Statement {
            sql: sql.into(),
            parameter_types: types.into(),
            planned: plan()?,
            manual,
            ..Statement::empty(key, catalog.epoch(), reading)
        }))
    }

    /// An EXECUTE by the extended protocol, which is to be bound or `described`: the statement it names is made known to
    /// its server, and the EXECUTE becomes a statement of its own there, so that formats and row limits work as for any
    /// other.
    pub(super) async fn place_execution(
        &mut self,
        call: Call<'_>,
        answer: bool,
        described: bool,
        catalog: &Arc<Catalog>,
    ) -> Step<Placed> {
        if described && let Some(inner) = self.evaluated(call, catalog)? {
            self.check_promise(&inner, catalog).await?;
            if answer {
                self.parse_complete();
            }
            return Ok(Placed::Described(inner));
        }
        let (inner, need, arguments) = match self.execution(call, catalog).await? {
            Execution::Server(inner, need, arguments) => (inner, need, arguments),
            Execution::Several(inner, bind) => {
                if answer {
                    self.parse_complete();
                }
                return Ok(Placed::Several(inner, bind));
            }
        };
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
        let key = self.router.statements.next_key(false);
        let ad_hoc = Arc::new(Statement {
            sql: super::statement::execute_text(&inner, &arguments).into(),
            planned: inner.planned.clone(),
            ..Statement::empty(key, catalog.epoch(), self.reading())
        });
        self.ensure_prepared(index, &ad_hoc, answer)?;
        self.links[index].unsynced = true;
        Ok(Placed::Server(index, ad_hoc))
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

    /// Answers a Parse that no Bind or Describe follows: by a server, so that its errors come where PostgreSQL's do.
    pub(super) async fn answer_parse(&mut self) -> Step {
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

    /// Whether the pending Parse is this statement's; another one's is answered first.
    pub(super) async fn take_unanswered(&mut self, statement: &Arc<Statement>) -> Step<bool> {
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

    /// ParseComplete of the router's own.
    pub(super) fn parse_complete(&mut self) {
        self.local(encode::parse_complete);
        self.mark_registered();
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
}
