//! One statement on several shards, all or nothing: DDL, and writes to reference tables.
//!
//! Within a block of the client's the statement joins it; otherwise it gets a block of its own, which commits in two
//! phases. One shard comes first, the same for all: only when the statement has run there do the others get it, so that
//! two such statements cannot wait for each other. The client sees the first shard's answer, once all shards have succeeded.
//!
//! Writes to a reference table take turns, from the statement to the end of the transaction: copies stay alike only if
//! each of them sees the writes in the same order. The lock is an advisory one, on every shard, because every role may
//! take it and because a prepared transaction keeps it until it is committed on that shard too.

use std::sync::Arc;

use catalog::{Catalog, ShardId};
use planner::{Access, Everywhere, EverywhereKind, Name, Pins, ReferenceWrite, Target, Where};

use super::block::{Block, push_identifier};
use super::links::Need;
use super::report::{Failure, Report};
use super::settings::push_literal;
use super::{Session, Step};
use crate::execute::expect::Expect;
use crate::wire::{encode, frame, frontend};

/// How the statement travels to each shard.
#[derive(Clone, Copy)]
pub(super) enum Carrier<'a> {
    /// As a simple query.
    Text(&'a str),
    /// As Parse, Bind and Execute, with the client's Bind message.
    Bind {
        sql: &'a str,
        types: &'a [u32],
        bind: &'a [u8],
    },
}

impl Session {
    /// The shards a plan names: the default shard, where rows of reference tables are locked, then by id.
    ///
    /// Those of [`Where::Holding`] are not known without asking; here they are all shards.
    pub(super) fn shards_of(&self, shards: &Where, catalog: &Catalog) -> Vec<ShardId> {
        let mut ids: Vec<ShardId> = match shards {
            Where::All | Where::Holding(_) => {
                catalog.shards().iter().map(|shard| shard.id).collect()
            }
            Where::Shards(ids) => ids.clone(),
            Where::Group(group) => catalog
                .group(*group)
                .map(|group| group.map.shards().into_iter().collect())
                .unwrap_or_default(),
        };
        ids.sort_by_key(|id| (*id != catalog.default_shard(), *id));
        ids
    }

    /// Runs the statement on all its shards and leaves the client's answer in the output.
    pub(super) async fn run_everywhere(
        &mut self,
        everywhere: &Everywhere,
        carrier: Carrier<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let mut shards = self.shards_of(&everywhere.shards, catalog);
        if let Where::Holding(name) = &everywhere.shards {
            shards = self.holders_of(name, shards, catalog).await?;
        }
        if let EverywhereKind::Ddl(effect) = &everywhere.kind {
            crate::ddl::before(effect, catalog)?;
        }
        let alone = everywhere.no_block || everywhere.concurrently;
        if alone && self.block.as_ref().is_some_and(|block| block.explicit) {
            return Err(Report::error(
                "25001",
                format!("{} cannot run inside a transaction block", everywhere.tag.0),
            )
            .into());
        }
        if alone {
            return self
                .run_one_by_one(everywhere, &shards, carrier, catalog)
                .await;
        }
        let own_block = self.block.is_none();
        if own_block {
            self.open_block(Block::implicit());
        }
        if everywhere.tag.0 == "CREATE FUNCTION" || everywhere.tag.0 == "CREATE PROCEDURE" {
            self.relax_function_bodies(&shards, catalog).await?;
        }
        let answer = match &everywhere.kind {
            EverywhereKind::ReferenceWrite(write) => {
                self.write_copies(write, &shards, carrier, catalog).await?
            }
            _ => self.run_together(&shards, None, carrier, catalog).await?,
        };
        if let EverywhereKind::Ddl(effect) = &everywhere.kind {
            Box::pin(self.learn_schema_change(everywhere.tag.0, effect, &shards, catalog)).await?;
        }
        if own_block {
            self.end_implicit_block().await?;
        }
        self.client.out.extend_from_slice(&answer);
        Ok(())
    }

    /// Which of the shards have a relation of this name; the default shard where none has, so that it can say so.
    async fn holders_of(
        &mut self,
        name: &Name,
        shards: Vec<ShardId>,
        catalog: &Catalog,
    ) -> Step<Vec<ShardId>> {
        let mut regclass = String::new();
        push_identifier(&mut regclass, &name.schema);
        regclass.push('.');
        push_identifier(&mut regclass, &name.name);
        let mut sql = String::from("SELECT pg_catalog.to_regclass(");
        push_literal(&mut sql, &regclass);
        sql.push_str(") IS NOT NULL");
        let mut holders = Vec::new();
        for shard in shards {
            let index = self
                .link(Need::shard(shard, Access::LockingRead), catalog)
                .await?;
            if self.query_value(index, &sql).await? == "t" {
                holders.push(shard);
            }
        }
        if holders.is_empty() {
            holders.push(catalog.default_shard());
        }
        Ok(holders)
    }

    /// A body may name unsharded tables, which only the default shard has: there it is checked, elsewhere it is taken.
    async fn relax_function_bodies(&mut self, shards: &[ShardId], catalog: &Catalog) -> Step {
        for &shard in shards
            .iter()
            .filter(|shard| **shard != catalog.default_shard())
        {
            let index = self.link(write_need(shard), catalog).await?;
            self.run_own(index, "SET LOCAL check_function_bodies TO off")
                .await?;
        }
        Ok(())
    }

    /// One change to all copies of a reference table, when no other is under way.
    async fn write_copies(
        &mut self,
        write: &ReferenceWrite,
        shards: &[ShardId],
        carrier: Carrier<'_>,
        catalog: &Catalog,
    ) -> Step<Vec<u8>> {
        let turn = turn_text(write);
        let Some(&first) = shards.first() else {
            return Ok(Vec::new());
        };
        let index = self.link(write_need(first), catalog).await?;
        self.run_own(index, &turn).await?;
        if write.reads {
            let isolation = self
                .query_value(
                    index,
                    "SELECT pg_catalog.current_setting('transaction_isolation')",
                )
                .await?;
            if matches!(isolation.as_str(), "repeatable read" | "serializable") {
                return Err(Report::error(
                    "0A000",
                    "a write to a reference table that reads other rows of reference tables, in a transaction with a snapshot",
                )
                .detail("Each shard has taken its snapshot at another moment, so the copies could come apart.")
                .hint("Use READ COMMITTED, or read the values first and give them as constants or parameters.")
                .into());
            }
        }
        self.run_together(shards, Some(&turn), carrier, catalog)
            .await
    }

    /// Sends to the first shard and waits, then to all others. The first shard's answer is returned. `turn` precedes the
    /// statement on all but the first; then the answers must be alike.
    async fn run_together(
        &mut self,
        shards: &[ShardId],
        turn: Option<&str>,
        carrier: Carrier<'_>,
        catalog: &Catalog,
    ) -> Step<Vec<u8>> {
        let Some((&first, others)) = shards.split_first() else {
            return Ok(Vec::new());
        };
        let index = self.link(write_need(first), catalog).await?;
        self.send_carrier(index, carrier)?;
        let answer = self.captured_answer(index).await?;
        let mut failure = None;
        for &shard in others {
            // What has been sent is waited for, whatever happens to the rest.
            if let Err(first) = self.send_to(shard, turn, carrier, catalog).await {
                failure = Some(first);
                break;
            }
        }
        for &shard in others {
            let Some(index) = self.primary_link(shard) else {
                continue;
            };
            // What a second failure would say is not kept.
            if failure.is_some() {
                self.notes.own_error = None;
            }
            match self.captured_answer(index).await {
                Ok(other) if turn.is_some() && outcome(&other) != outcome(&answer) => {
                    failure.get_or_insert(copies_differ());
                }
                Ok(_) => {}
                Err(end @ Failure::End(_)) => return Err(end),
                Err(first) => {
                    failure.get_or_insert(first);
                }
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None => Ok(client_part(&answer)),
        }
    }

    async fn send_to(
        &mut self,
        shard: ShardId,
        turn: Option<&str>,
        carrier: Carrier<'_>,
        catalog: &Catalog,
    ) -> Step {
        let index = self.link(write_need(shard), catalog).await?;
        if let Some(turn) = turn {
            let link = &mut self.links[index];
            link.backend.query(turn.as_bytes());
            link.expects.push_back(Expect::Own);
        }
        self.send_carrier(index, carrier)?;
        if let Err(error) = self.links[index].backend.flush().await {
            tracing::debug!(%error, "a server connection broke while sending");
        }
        Ok(())
    }

    /// What a server answers to a statement that it gets alone.
    pub(super) async fn answer_to(&mut self, index: usize, carrier: Carrier<'_>) -> Step<Vec<u8>> {
        self.send_carrier(index, carrier)?;
        self.captured_answer(index).await
    }

    async fn captured_answer(&mut self, index: usize) -> Step<Vec<u8>> {
        self.exchange(index).await?;
        let captured = std::mem::take(&mut self.links[index].captured);
        self.own_error(index)?;
        Ok(captured)
    }

    /// Shard by shard, outside a transaction: what one shard did stays done if a later one fails, and the error says so.
    async fn run_one_by_one(
        &mut self,
        everywhere: &Everywhere,
        shards: &[ShardId],
        carrier: Carrier<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let mut answer = None;
        for (done, &shard) in shards.iter().enumerate() {
            let need = Need {
                no_block: true,
                ..write_need(shard)
            };
            let result = self.run_alone(need, carrier, catalog).await;
            match result {
                Ok(captured) => {
                    answer.get_or_insert(captured);
                }
                Err(Failure::End(end)) => return Err(end.into()),
                Err(failure) => {
                    let names = |ids: &[ShardId]| {
                        ids.iter()
                            .filter_map(|id| catalog.shard(*id))
                            .map(|shard| shard.name.as_str())
                            .collect::<Vec<_>>()
                            .join(", ")
                    };
                    if done > 0 {
                        self.notice(
                            Report::warning(
                                "01000",
                                format!(
                                    "{} was done on {} but not on {}",
                                    everywhere.tag.0,
                                    names(&shards[..done]),
                                    names(&shards[done..]),
                                ),
                            )
                            .hint("Remove what is left of it (an invalid index, for example), then run the statement again with IF NOT EXISTS, or SET pgweave.shard to run it on one shard."),
                        );
                    }
                    return Err(failure);
                }
            }
        }
        if matches!(everywhere.kind, EverywhereKind::Ddl(_)) {
            self.record_untracked().await?;
        }
        self.client
            .out
            .extend_from_slice(&client_part(&answer.unwrap_or_default()));
        Ok(())
    }

    async fn run_alone(
        &mut self,
        need: Need,
        carrier: Carrier<'_>,
        catalog: &Catalog,
    ) -> Step<Vec<u8>> {
        let index = self.link(need, catalog).await?;
        self.send_carrier(index, carrier)?;
        self.exchange(index).await?;
        let captured = std::mem::take(&mut self.links[index].captured);
        self.own_error(index)?;
        Ok(captured)
    }

    fn send_carrier(&mut self, index: usize, carrier: Carrier<'_>) -> Step {
        let link = &mut self.links[index];
        match carrier {
            Carrier::Text(sql) => link.backend.query(sql.as_bytes()),
            Carrier::Bind { sql, types, bind } => {
                let out = link.backend.out();
                encode::parse(out, b"", sql.as_bytes(), types);
                // On the server both are unnamed, whatever the client calls them.
                let mut bind = frontend::parse_bind(&bind[5..])?;
                bind.portal = b"";
                frontend::rewrite_bind(out, &bind, b"");
                encode::execute(out, b"", 0);
                encode::sync(out);
                link.backend.forget_unnamed();
            }
        }
        link.expects.push_back(Expect::Captured);
        Ok(())
    }

    fn primary_link(&self, shard: ShardId) -> Option<usize> {
        self.links
            .iter()
            .position(|link| link.shard == shard && !link.replica)
    }
}

fn write_need(shard: ShardId) -> Need {
    Need {
        target: Target::Shard(shard),
        access: Access::Write,
        no_block: false,
        pins: Pins::NONE,
    }
}

/// Waits until no other transaction has written the tables and not ended. The pair of numbers is the router's own.
pub(super) fn turn_text(write: &ReferenceWrite) -> String {
    let locks: Vec<String> = write
        .tables
        .iter()
        .map(|table| {
            format!(
                "SELECT pg_catalog.pg_advisory_xact_lock({REFERENCE_WRITES}, {})",
                table.0 as i32
            )
        })
        .collect();
    locks.join("; ")
}

/// First number of the advisory locks for which writes to reference tables take turns; the second is the table's id.
const REFERENCE_WRITES: i32 = 0x7067_7765;

/// The command tag, with the number of rows.
fn outcome(captured: &[u8]) -> Option<&[u8]> {
    let mut tag = None;
    let mut rest = captured;
    while let [kind, ..] = rest
        && let Some(total) = frame::total_length(rest)
        && total <= rest.len()
    {
        if *kind == b'C' {
            tag = Some(&rest[5..total]);
        }
        rest = &rest[total..];
    }
    tag
}

pub(super) fn copies_differ() -> Failure {
    Report::error(
        "40001",
        "the write would change other rows in one copy of the reference table than in another",
    )
    .hint("Repeat the transaction. If it fails again in READ COMMITTED, the copies differ: compare them on the shards.")
    .into()
}

/// What of a captured answer is the client's: not the answers to Parse and Bind, which the session gives itself.
pub(super) fn client_part(captured: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(captured.len());
    let mut rest = captured;
    while let [tag, ..] = rest {
        let Some(total) = frame::total_length(rest) else {
            break;
        };
        if !matches!(tag, b'1' | b'2') {
            kept.extend_from_slice(&rest[..total]);
        }
        rest = &rest[total..];
    }
    kept
}
