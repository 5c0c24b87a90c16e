//! One statement on several shards, all or nothing: DDL, and writes to reference tables.
//!
//! Within a block of the client's the statement joins it; otherwise it gets a block of its own, which commits in two
//! phases. Shards are visited in the order of their ids, always, so that two such statements cannot wait for each
//! other. The client sees the first shard's answer, once all shards have succeeded.

use std::sync::Arc;

use catalog::{Catalog, ShardId};
use planner::{Access, Everywhere, EverywhereKind, Name, Pins, Target, Where};

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
    /// The shards a plan names, in the order of their ids.
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
        ids.sort();
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
        let answer = self.run_together(&shards, carrier, catalog).await?;
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

    /// Sends to all, then waits for all. The first shard's answer is returned.
    async fn run_together(
        &mut self,
        shards: &[ShardId],
        carrier: Carrier<'_>,
        catalog: &Catalog,
    ) -> Step<Vec<u8>> {
        for &shard in shards {
            let index = self.link(write_need(shard), catalog).await?;
            self.send_carrier(index, carrier)?;
            if let Err(error) = self.links[index].backend.flush().await {
                tracing::debug!(%error, "a server connection broke while sending");
            }
        }
        let mut answer = None;
        let mut failure = None;
        for &shard in shards {
            let Some(index) = self.primary_link(shard) else {
                continue;
            };
            let result = match self.exchange(index).await {
                Ok(()) if failure.is_none() => self.own_error(index),
                other => other,
            };
            self.notes.own_error = None;
            match result {
                Ok(()) => {
                    let captured = std::mem::take(&mut self.links[index].captured);
                    answer.get_or_insert(captured);
                }
                Err(end @ Failure::End(_)) => return Err(end),
                Err(first) => {
                    if let Some(index) = self.primary_link(shard) {
                        self.links[index].captured.clear();
                    }
                    failure.get_or_insert(first);
                }
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None => Ok(client_part(&answer.unwrap_or_default())),
        }
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

/// What of a captured answer is the client's: not the answers to Parse and Bind, which the session gives itself.
fn client_part(captured: &[u8]) -> Vec<u8> {
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
