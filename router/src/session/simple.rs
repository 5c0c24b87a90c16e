//! The simple query protocol: one text, any number of statements.
//!
//! A single statement's message goes to its shard as it came. Several statements go as one text if all of them are
//! for the same shard and mean nothing to the router; otherwise one by one, within a block of the router's own where
//! PostgreSQL would run them as one implicit transaction.

use std::sync::Arc;

use bytes::BytesMut;
use catalog::Catalog;
use planner::{Plan, Planned, Single, Target};

use super::block::Block;
use super::everywhere::Carrier;
use super::gather::Sent;
use super::links::Need;
use super::report::{Failure, Report};
use super::{Session, Step};
use crate::execute::expect::Expect;
use crate::wire::{encode, frontend};

/// One statement of a simple query, on its way.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// The statement's own text.
    pub text: &'a str,
    /// The whole text that literals refer to.
    pub whole: &'a str,
    /// The client's message, if it holds just this statement.
    pub message: Option<&'a [u8]>,
    /// The server's ReadyForQuery can be the client's.
    pub ready: bool,
    /// Characters before the statement in the client's text.
    pub offset: i32,
    /// By the extended protocol: the types of its parameters, and the Bind message.
    pub bound: Option<(&'a [u32], &'a [u8])>,
}

impl Session {
    pub(super) async fn simple_query(&mut self, message: BytesMut) -> Step {
        self.handle.begin_statement();
        let mut answered = false;
        if let Err(failure) = self.finish_extended().await {
            // The query is one of the messages that are skipped up to Sync.
            return self.fail_extended(failure).await;
        }
        self.unnamed = None;
        if let Err(failure) = self.simple_text(&message, &mut answered).await {
            self.fail_statement(failure)?;
        }
        if let Err(failure) = self.end_implicit_block().await {
            self.fail_statement(failure)?;
            answered = false;
        }
        if answered {
            self.after_ready().await
        } else {
            self.ready().await
        }
    }

    async fn simple_text(&mut self, message: &[u8], answered: &mut bool) -> Step {
        let query = frontend::parse_query(&message[5..])?;
        let sql = self.decode(query.sql)?;
        let catalog = self.catalog();
        let planned = self.plan_simple(sql, &catalog)?;
        match &*planned {
            [] => {
                encode::empty_query_response(&mut self.client.out);
                Ok(())
            }
            [only] if only.rest.is_none() => {
                let part = Part {
                    text: only.text(sql),
                    whole: sql,
                    message: Some(message),
                    ready: true,
                    offset: 0,
                    bound: None,
                };
                *answered = self.run_simple(only, part, &catalog).await?;
                Ok(())
            }
            several => {
                if let Some(need) = self.one_shard_for_all(several, sql, &catalog) {
                    *answered = true;
                    return self.send_whole(need, message, &catalog).await;
                }
                let first = planned.clone();
                self.run_several(first, sql, &catalog).await
            }
        }
    }

    /// The client's text as the planner reads it.
    pub(super) fn decode<'a>(&self, bytes: &'a [u8]) -> Step<&'a str> {
        if self.derived.utf8 || bytes.is_ascii() {
            return std::str::from_utf8(bytes).map_err(|error| {
                let at = &bytes[error.valid_up_to()..];
                let bad = &at[..error.error_len().unwrap_or(at.len()).min(4)];
                let hex: Vec<String> = bad.iter().map(|byte| format!("0x{byte:02x}")).collect();
                Report::error(
                    "22021",
                    format!(
                        "invalid byte sequence for encoding \"UTF8\": {}",
                        hex.join(" ")
                    ),
                )
                .into()
            });
        }
        Err(Report::error(
            "0A000",
            "statements with non-ASCII characters are supported with client_encoding UTF8 only",
        )
        .hint("SET client_encoding TO 'UTF8', or send such values as parameters.")
        .into())
    }

    fn plan_simple(&mut self, sql: &str, catalog: &Arc<Catalog>) -> Step<Arc<[Planned]>> {
        let manual = self.manual_shard(catalog)?;
        let mut literals = std::mem::take(&mut self.literals);
        let planned =
            self.router
                .plans
                .plan_simple(sql, &self.context(catalog, manual), &mut literals);
        self.literals = literals;
        Ok(planned?)
    }

    /// Runs one statement. Returns whether the client has been sent ReadyForQuery.
    pub(super) async fn run_simple(
        &mut self,
        planned: &Planned,
        part: Part<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<bool> {
        if self.block.as_ref().is_some_and(|block| block.failed)
            && !super::transaction::ends_failure(&planned.plan)
        {
            return Err(Report::failed_block().into());
        }
        self.open_snapshot_block(&planned.plan);
        match &*planned.plan {
            Plan::Single(single) => {
                match self.need_of(single, &self.literals_of(part.whole), catalog) {
                    Ok(need) => {
                        let effects = !single.effects.is_empty();
                        let planned = effects.then(|| Arc::new(planned.clone()));
                        self.forward(need, part, planned, catalog).await
                    }
                    Err(refusal) => {
                        let gathered = self.over_several(
                            planned,
                            part.whole,
                            &self.literals_of(part.whole),
                            refusal,
                            catalog,
                        )?;
                        Box::pin(self.run_simple(&gathered, part, catalog)).await
                    }
                }
            }
            Plan::Everywhere(everywhere) => {
                self.run_everywhere(everywhere, Carrier::Text(part.text), catalog)
                    .await?;
                Ok(false)
            }
            Plan::Scatter(scatter) => {
                self.allow_several(&planned.plan, catalog)?;
                Box::pin(self.run_scatter(scatter, part.whole, part.offset, Sent::Simple, catalog))
                    .await?;
                Ok(false)
            }
            Plan::Gather(gather) => {
                self.allow_several(&planned.plan, catalog)?;
                Box::pin(self.run_gather(gather, part.whole, part.offset, Sent::Simple, catalog))
                    .await?;
                Ok(false)
            }
            Plan::CopyOut(copy) => {
                Box::pin(self.run_copy_out(copy, part.whole, part.offset, catalog)).await?;
                Ok(false)
            }
            Plan::Spread(spread) => {
                self.allow_spread(&planned.plan, catalog)?;
                Box::pin(self.run_spread(spread, part.whole, part.offset, Sent::Simple, catalog))
                    .await?;
                Ok(false)
            }
            Plan::Transfer(transfer) => {
                let transferred =
                    self.run_transfer(transfer, part.whole, part.offset, Sent::Simple, catalog);
                Box::pin(transferred).await?;
                Ok(false)
            }
            Plan::CreateAs(create) => {
                Box::pin(self.run_create_as(create, part.whole, part.offset, catalog)).await?;
                Ok(false)
            }
            Plan::Load(load) => {
                Box::pin(self.run_load(load, part.text, part.offset, catalog)).await?;
                Ok(false)
            }
            Plan::Session(statement) => self.run_session_statement(statement, part, catalog).await,
            Plan::Admin(call) => {
                let arguments = Self::admin_arguments(call, &())?;
                self.run_admin(call, arguments).await?;
                Ok(false)
            }
            Plan::Explain(explain) => {
                self.run_explain(explain, part, catalog).await?;
                Ok(false)
            }
        }
    }

    fn literals_of<'a>(&'a self, whole: &'a str) -> planner::LiteralValues<'a> {
        self.literals.values(whole)
    }

    pub(super) fn need_of(
        &self,
        single: &Single,
        values: &dyn planner::Values,
        catalog: &Catalog,
    ) -> Step<Need> {
        let mut target = planner::resolve(&single.route, catalog, values)?;
        if single.recalls {
            target = self.where_drawn(target, catalog)?;
        }
        Ok(Need {
            target,
            access: single.access,
            no_block: single.no_block && self.block.is_none(),
            pins: single.pins,
        })
    }

    /// The one connection that has drawn numbers for this session. Between transactions connections change hands, and with
    /// them what `currval` and `lastval` remember.
    fn where_drawn(&self, target: Target, catalog: &Catalog) -> Step<Target> {
        let own =
            |link: &&crate::execute::Link| link.in_block && link.wrote || !link.pins.is_empty();
        let mut links = self.links.iter().filter(own).filter(|link| match target {
            Target::Any => true,
            Target::Shard(shard) => link.shard == shard,
            Target::Catalog => Some(link.shard) == catalog.catalog_shard(),
        });
        match (links.next(), links.next()) {
            (Some(link), None) => Ok(Target::Shard(link.shard)),
            _ => Err(Report::error(
                "0A000",
                "currval and lastval are not known outside the transaction that called nextval",
            )
            .hint("Use INSERT … RETURNING, or ask within the transaction.")
            .into()),
        }
    }

    /// The need of a text all of whose statements are for one shard, so that it can go there as it is.
    fn one_shard_for_all(&self, planned: &[Planned], sql: &str, catalog: &Catalog) -> Option<Need> {
        let mut together = Need::any();
        for one in planned {
            if one.rest.is_some() {
                return None;
            }
            let Plan::Single(single) = &*one.plan else {
                return None;
            };
            if single.no_block || !single.effects.is_empty() || !single.pins.is_empty() {
                return None;
            }
            let need = self.need_of(single, &self.literals_of(sql), catalog).ok()?;
            together.access = together.access.max(need.access);
            match (together.target, need.target) {
                (_, Target::Any) => {}
                (Target::Any, target) => together.target = target,
                (known, target) if known == target => {}
                _ => return None,
            }
        }
        if self.block.as_ref().is_some_and(|block| block.failed) {
            return None;
        }
        Some(together)
    }

    async fn send_whole(&mut self, need: Need, message: &[u8], catalog: &Catalog) -> Step {
        let index = self.link(need, catalog).await?;
        let link = &mut self.links[index];
        link.backend.send_query(message);
        link.expects.push_back(Expect::Query {
            ready: true,
            planned: None,
        });
        match self.exchange(index).await {
            Err(Failure::Sent) => Ok(()),
            other => other,
        }
    }

    /// Statements one after the other; the first failure ends the text. What follows a statement that may change the
    /// meaning of names is planned when that statement has run.
    async fn run_several(
        &mut self,
        mut planned: Arc<[Planned]>,
        sql: &str,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let mut catalog = catalog.clone();
        let (mut rest, mut base) = (sql, 0);
        loop {
            for one in planned.iter() {
                if self.block.is_none() {
                    self.open_block(Block::implicit());
                }
                let start = base + one.part.as_ref().map_or(0, |range| range.start);
                let before = sql.get(..start).map_or(0, |text| text.chars().count());
                let part = Part {
                    text: one.text(rest),
                    whole: rest,
                    message: None,
                    ready: false,
                    offset: i32::try_from(before).unwrap_or(0),
                    bound: None,
                };
                self.run_simple(one, part, &catalog).await?;
            }
            let Some(next) = planned.last().and_then(|last| last.rest) else {
                return Ok(());
            };
            base += next;
            rest = rest.get(next..).unwrap_or_default();
            catalog = self.catalog();
            planned = match self.plan_simple(rest, &catalog) {
                Ok(planned) => planned,
                Err(Failure::Report(mut report)) => {
                    let before = sql.get(..base).map_or(0, |text| text.chars().count());
                    report.position = report.position.map(|position| position + before);
                    return Err(Failure::Report(report));
                }
                Err(other) => return Err(other),
            };
        }
    }
}
