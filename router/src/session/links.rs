//! Taking server connections for a session, and giving them back.
//!
//! A link is taken at the first statement that needs its shard, brought to the session's settings, and told BEGIN if
//! a block is open. It goes back when the transaction has ended, unless something pins it.

use catalog::{Catalog, ShardId};
use planner::{Access, Pins, Target};

use super::report::{Failure, Report};
use super::settings::statements_between;
use super::{Session, Step};
use crate::backend::AppliedSettings;
use crate::config::{Consistency, ReadPreference};
use crate::execute::expect::Expect;
use crate::execute::relay::Pause;
use crate::execute::{Link, LinkError};
use crate::pool::{PoolError, Pooled};
use crate::wire::encode;

/// sequence_generator_limit_exceeded
const SEQUENCE_EXHAUSTED: &[u8; 5] = b"2200H";

/// What a statement needs of its link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    pub target: Target,
    pub access: Access,
    /// Must not run inside a block, not even one of the router's own.
    pub no_block: bool,
    pub pins: Pins,
}

impl Need {
    /// Any server that can answer a read.
    pub fn any() -> Self {
        Self {
            target: Target::Any,
            access: Access::Read,
            no_block: false,
            pins: Pins::NONE,
        }
    }

    pub fn shard(shard: ShardId, access: Access) -> Self {
        Self {
            target: Target::Shard(shard),
            access,
            ..Self::any()
        }
    }
}

impl Session {
    /// The index of a link that can serve, ready for the statement's bytes.
    pub(super) async fn link(&mut self, need: Need, catalog: &Catalog) -> Step<usize> {
        if let Some(block) = &self.block
            && !need.no_block
            && !block.queried
        {
            if self.lacks_snapshot() {
                Box::pin(self.take_snapshot(catalog)).await?;
            }
            if let Some(block) = &mut self.block {
                block.queried = true;
            }
        }
        self.link_as_it_is(need, catalog).await
    }

    /// The same for what is no query: the transaction's view is not settled by it.
    pub(super) async fn link_as_it_is(&mut self, need: Need, catalog: &Catalog) -> Step<usize> {
        let replica_allowed = self.may_read_replica(need);
        if let Some(index) = self.existing_link(need.target, replica_allowed, catalog) {
            if !self.unfinished.is_empty() {
                // The connection has stayed because something pins it.
                let shard = self.links[index].shard;
                Box::pin(self.wait_for_unfinished(shard, catalog)).await?;
            }
            self.prepare_link(index, need).await?;
            return Ok(index);
        }
        let shard = self.choose_shard(need.target, catalog)?;
        if !self.unfinished.is_empty() {
            Box::pin(self.wait_for_unfinished(shard, catalog)).await?;
        }
        let server = catalog
            .shard(shard)
            .ok_or_else(|| Report::error("XX000", format!("the catalog has no shard {shard}")))?;
        let mut replica = None;
        if replica_allowed {
            replica = self.router.health.pick_replica(server);
            if replica.is_none() && self.derived.read_preference == ReadPreference::Replica {
                return Err(Report::error(
                    "08006",
                    format!("no replica of shard {} is healthy and close enough to its primary", server.name),
                )
                .hint("SET pgweave.read_preference = 'prefer_replica' falls back to the primary; SHOW pgweave.servers shows why replicas are left out.")
                .into());
            }
        }
        let is_replica = replica.is_some();
        let target = replica.unwrap_or(&server.primary);
        let checkout = self
            .router
            .pools
            .checkout(&self.identity, target, is_replica, &self.worker);
        let backend = self.cancellable(checkout, &server.name).await?;
        self.handle.working_on(backend.cancel_target());
        let context = backend.context(&server.name);
        self.links.push(Link {
            replica: is_replica,
            ..Link::new(shard, backend, self.router.server_limits, context)
        });
        let index = self.links.len() - 1;
        self.prepare_link(index, need).await?;
        Ok(index)
    }

    /// Waits for a connection, unless the client cancels.
    pub(super) async fn cancellable(
        &self,
        checkout: impl Future<Output = Result<Pooled, PoolError>>,
        shard: &str,
    ) -> Step<Pooled> {
        tokio::pin!(checkout);
        loop {
            tokio::select! {
                biased;
                result = &mut checkout => return result.map_err(|error| checkout_failure(error, shard)),
                () = self.handle.wake.notified() => {
                    if self.handle.take_cancel() {
                        let verdict = self.handle.take_verdict().map(|(report, _)| report);
                        let by_user = || Report::error("57014", "canceling statement due to user request");
                        return Err(verdict.unwrap_or_else(by_user).into());
                    }
                }
            }
        }
    }

    pub(super) fn existing_link(
        &self,
        target: Target,
        replica_allowed: bool,
        catalog: &Catalog,
    ) -> Option<usize> {
        let wanted = match target {
            Target::Any => {
                return self
                    .links
                    .iter()
                    .position(|link| replica_allowed || !link.replica);
            }
            Target::Shard(shard) => shard,
            Target::Catalog => catalog.catalog_shard()?,
        };
        self.links
            .iter()
            .position(|link| link.shard == wanted && (replica_allowed || !link.replica))
    }

    fn choose_shard(&self, target: Target, catalog: &Catalog) -> Step<ShardId> {
        match target {
            Target::Shard(shard) => Ok(shard),
            // Statements without a table: spread over the shards by session.
            Target::Any => {
                let shards = catalog.shards();
                let at = self.handle.process_id as usize % shards.len().max(1);
                shards
                    .get(at)
                    .map(|shard| shard.id)
                    .ok_or_else(|| no_shards().into())
            }
            Target::Catalog => catalog.catalog_shard().ok_or_else(|| {
                Report::error(
                    "0A000",
                    "the catalog of this cluster is not on one of its shards, so its tables cannot be queried here",
                )
                .hint("Use SHOW pgweave.shards, SHOW pgweave.tables and SHOW pgweave.placements.")
                .into()
            }),
        }
    }

    fn may_read_replica(&self, need: Need) -> bool {
        need.access == Access::Read
            && need.pins.is_empty()
            && self.derived.read_preference != ReadPreference::Primary
            && self.derived.consistency != Consistency::Snapshot
            && self
                .block
                .as_ref()
                .is_none_or(|block| block.modes.read_only == Some(true))
    }

    /// Brings a link to the session's settings and into its block.
    pub(super) async fn prepare_link(&mut self, index: usize, need: Need) -> Step {
        let link = &self.links[index];
        if !need.pins.is_empty() && link.pins.is_empty() && !link.in_block {
            // From here on the session may ask the connection what it has drawn, which others must not have.
            self.drain().await?;
            self.run_own(index, "DISCARD SEQUENCES").await?;
        }
        let link = &mut self.links[index];
        link.pins.insert(need.pins);
        link.listening |= need.pins.contains(Pins::LISTEN);
        // What the block itself has set comes with its BEGIN, so that its rollback takes it back. A link that is in the
        // block already lacks what a function has set on another.
        let wanted = if link.in_block {
            self.settings.wanted()
        } else {
            self.settings.before_block()
        };
        let settings =
            statements_between(link.backend.applied(), wanted).map(|sql| (sql, wanted.clone()));
        let joins = self.block.is_some() && !link.in_block && !need.no_block;
        if joins && self.block.as_ref().is_some_and(|block| block.snapshot) {
            return Err(Report::error(
                "40001",
                "could not serialize access: the shard has no part in the transaction's snapshot",
            )
            .detail(link.context.to_string())
            .hint("The shard has joined the cluster since the transaction's first statement. Repeat the transaction.")
            .into());
        }
        if (joins || settings.is_some()) && !link.expects.is_empty() {
            // After an error the server skips everything up to Sync, a BEGIN too: see first whether there is one.
            self.drain().await?;
        }
        if let Some((sql, wanted)) = settings {
            self.apply_settings(index, &sql, wanted).await?;
        }
        let link = &mut self.links[index];
        if let Some(block) = &self.block
            && joins
        {
            link.applied_at_begin = Some(link.backend.applied().clone());
            link.in_block = true;
            link.wrote = false;
            if block.opens_plainly() {
                link.begin();
            } else {
                for sql in block.opening() {
                    link.backend.query(sql.as_bytes());
                    link.expects.push_back(Expect::Own);
                }
                // The statement must not run if the block could not be opened as asked.
                self.exchange(index).await?;
                self.own_error(index)?;
                self.links[index]
                    .backend
                    .set_applied(self.settings.wanted().clone());
            }
        }
        let link = &mut self.links[index];
        link.wrote |= need.access == Access::Write;
        Ok(())
    }

    /// Brings all links of the block to the same settings, so that all return to the same ones later.
    pub(super) async fn level_participants(&mut self) -> Step {
        for index in (0..self.links.len()).rev() {
            let link = &self.links[index];
            if link.in_block
                && let wanted = self.settings.wanted()
                && let Some(sql) = statements_between(link.backend.applied(), wanted)
            {
                let wanted = wanted.clone();
                self.apply_settings(index, &sql, wanted).await?;
            }
        }
        Ok(())
    }

    /// Replays settings before anything else is sent, because what follows must not run without them.
    async fn apply_settings(&mut self, index: usize, sql: &str, wanted: AppliedSettings) -> Step {
        let link = &mut self.links[index];
        link.backend.query(sql.as_bytes());
        link.expects.push_back(Expect::Own);
        // Until the answer is there it is not known what has been applied.
        link.backend.forget_applied();
        self.exchange(index).await?;
        if let Err(failure) = self.own_error(index) {
            self.drop_link(index).await;
            return Err(failure);
        }
        self.links[index].backend.set_applied(wanted);
        Ok(())
    }

    /// The error that answered a message of the router's own, as a failure that has been sent to the client.
    pub(super) fn own_error(&mut self, index: usize) -> Step {
        let Some(body) = self.notes.own_error.take() else {
            return Ok(());
        };
        let link = &mut self.links[index];
        let offset = std::mem::take(&mut link.own_offset);
        let body = self.client.with_own_names(&body).into_owned();
        crate::wire::backend::rewrite_error(
            &mut self.client.out,
            &body,
            Some(&link.context),
            offset,
        )
        .map_err(LinkError::Protocol)?;
        Err(Failure::Sent)
    }

    /// Runs one statement of the router's own on a link, whose error goes to the client.
    pub(super) async fn run_own(&mut self, index: usize, sql: &str) -> Step {
        let link = &mut self.links[index];
        link.backend.query(sql.as_bytes());
        link.expects.push_back(Expect::Own);
        self.exchange(index).await?;
        self.own_error(index)
    }

    /// Sends what waits for this link's server and relays until it owes nothing more.
    pub(super) async fn exchange(&mut self, index: usize) -> Step {
        let result = loop {
            let link = &mut self.links[index];
            if let Err(error) = link.backend.flush().await {
                break Err(LinkError::Server(error).into());
            }
            match link.relay(&mut self.client, &mut self.notes).await {
                Ok(Pause::Finished) => break Ok(()),
                Ok(Pause::CopyIn) => {
                    if let Err(failure) = self.copy_in(index).await {
                        break Err(failure);
                    }
                }
                Err(error) => break Err(error.into()),
            }
        };
        if let Err(failure) = result {
            return Err(self.lost_link(index, failure).await);
        }
        let link = &mut self.links[index];
        if link.expects.is_empty() {
            link.position_offset = 0;
        }
        for statement in self.notes.unprepared.drain(..) {
            link.backend.forget_prepared(statement);
        }
        if !self.notes.completed.is_empty() || !self.notes.undo.is_empty() {
            self.settle_notes(index);
        }
        if std::mem::take(&mut self.notes.skip_to_sync) {
            self.skipping = true;
        }
        if let Some(sqlstate) = self.notes.failed.take() {
            if sqlstate == *SEQUENCE_EXHAUSTED {
                self.lease_sequences();
            }
            if let Some(block) = &mut self.block {
                block.failed = true;
            }
            return Err(Failure::Sent);
        }
        Ok(())
    }

    /// A sequence has no values left on a shard: if they are leased in blocks, the next block comes now.
    pub(super) fn lease_sequences(&self) {
        let store = self.router.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.look_after_sequences().await {
                tracing::warn!(%error, "the next block of a sequence could not be leased");
            }
        });
    }

    /// A link's connection is of no more use. What was uncommitted there is gone.
    pub(super) async fn lost_link(&mut self, index: usize, failure: Failure) -> Failure {
        let link = &self.links[index];
        let uncertain = !link.in_block && link.wrote;
        let context = link.context.clone();
        self.drop_link(index).await;
        self.notes = Default::default();
        if let Some(block) = &mut self.block {
            block.failed = true;
        }
        match failure {
            Failure::Report(mut report) if report.sqlstate == "08006" => {
                report.context = Some(context.to_string());
                if uncertain {
                    report.sqlstate = "08007".into();
                    report.hint = Some("The statement was sent and may have taken effect: look before repeating it.".into());
                } else {
                    report.hint = Some(
                        "The transaction was not committed on that shard. Roll back and repeat it."
                            .into(),
                    );
                }
                Failure::Report(report)
            }
            other => other,
        }
    }

    /// Settings changed without a server having said so: brings one to them, and tells the client what it does not
    /// know. Call only when no block is open.
    pub(super) async fn report_settings(&mut self) -> Step {
        let catalog = self.catalog();
        let need = Need {
            no_block: true,
            ..Need::any()
        };
        let index = self.link(need, &catalog).await?;
        for (name, value) in self.links[index].backend.parameters().iter() {
            if self.client.reported.update(name, value) {
                encode::parameter_status(&mut self.client.out, name, value);
            }
        }
        Ok(())
    }

    /// Gives back every link that nothing holds any more. Call only when no block is open.
    pub(super) async fn release_links(&mut self) {
        let mut index = 0;
        while index < self.links.len() {
            let link = &mut self.links[index];
            link.in_block = false;
            link.wrote = false;
            if link.pins.is_empty() {
                let link = self.links.swap_remove(index);
                self.release(link).await;
            } else {
                index += 1;
            }
        }
    }

    async fn release(&mut self, link: Link) {
        if self.handle.done_with(link.backend.cancel_target()) {
            self.handle.settled().await;
            link.backend.settle_and_release(&self.worker).await;
        } else {
            link.backend.release(&self.worker);
        }
    }

    /// Closes a link's connection. What the server does for it is cancelled.
    pub(super) async fn drop_link(&mut self, index: usize) {
        self.take_link(index).backend.close();
    }

    /// Takes a link away from the session, and from its block.
    pub(super) fn take_link(&mut self, index: usize) -> Link {
        let link = self.links.swap_remove(index);
        if let Some(block) = &mut self.block
            && link.in_block
        {
            block.failed = true;
            block.lost = true;
        }
        self.handle.done_with(link.backend.cancel_target());
        link
    }

    /// The session is over: open transactions are rolled back, pinned connections cleaned or closed.
    pub(super) async fn give_up_links(&mut self) {
        while let Some(link) = self.links.pop() {
            if self.handle.done_with(link.backend.cancel_target()) {
                self.handle.settled().await;
            }
            link.backend
                .clean_and_release(&self.worker, link.pins.is_empty())
                .await;
        }
    }
}

fn checkout_failure(error: PoolError, shard: &str) -> Failure {
    error.report(shard).into()
}

fn no_shards() -> Report {
    Report::error("08006", "this cluster has no shards yet")
        .hint("Register the shards with `pgweave init`.")
}
