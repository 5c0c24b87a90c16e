//! BEGIN, COMMIT, ROLLBACK and savepoints over the shards that have joined.
//!
//! A COMMIT with at most one participant that wrote is that participant's own COMMIT; with several it is a two-phase
//! commit (`drive`). Participants that only read are committed first: what they can still object to (a
//! serialization failure) then undoes the writer too.

use std::sync::Arc;

use catalog::Catalog;
use planner::{Plan, SessionStatement, TransactionModes};

use super::block::{Block, modes_text, push_identifier};
use super::report::{Failure, Report};
use super::{Session, Step};
use crate::execute::LinkError;
use crate::execute::expect::Expect;
use crate::wire::encode;

/// Whether a statement is taken in a failed block.
pub(super) fn ends_failure(plan: &Plan) -> bool {
    matches!(
        plan,
        Plan::Session(
            SessionStatement::Commit { .. }
                | SessionStatement::Rollback { .. }
                | SessionStatement::RollbackTo(_)
                | SessionStatement::PrepareTransaction(_)
        )
    )
}

impl Session {
    pub(super) fn begin(&mut self, modes: TransactionModes) {
        match &mut self.block {
            None => {
                self.open_block(Block::explicit(modes));
            }
            Some(block) if !block.explicit => block.explicit = true,
            Some(_) => self.notice(Report::warning(
                "25001",
                "there is already a transaction in progress",
            )),
        }
    }

    /// From here on a ROLLBACK returns to what the session is now.
    pub(super) fn open_block(&mut self, block: Block) {
        self.block = Some(block);
        self.handle.block_begins();
        self.settings.begin();
        self.temporary.begin();
        self.portal_marks.begin(self.number_portals + 1);
    }

    pub(super) fn notice(&mut self, report: Report) {
        self.local(|out| encode::notice_response(out, &report));
    }

    /// COMMIT as the client said it. Returns the command tag.
    pub(super) async fn commit(
        &mut self,
        chain: bool,
        catalog: &Arc<Catalog>,
    ) -> Step<&'static str> {
        let Some(block) = &self.block else {
            return self.no_block(chain, "COMMIT");
        };
        let (explicit, modes, failed) = (block.explicit, block.modes, block.failed);
        if !explicit {
            if chain {
                return Err(chain_without_block("COMMIT"));
            }
            self.notice(Report::warning(
                "25P01",
                "there is no transaction in progress",
            ));
        }
        let tag = if failed {
            self.rollback_block().await?;
            "ROLLBACK"
        } else {
            self.commit_block(catalog).await?;
            "COMMIT"
        };
        if chain {
            self.begin(modes);
        }
        Ok(tag)
    }

    /// ROLLBACK as the client said it.
    pub(super) async fn rollback(&mut self, chain: bool) -> Step<&'static str> {
        let Some(block) = &self.block else {
            return self.no_block(chain, "ROLLBACK");
        };
        let (explicit, modes) = (block.explicit, block.modes);
        if !explicit {
            if chain {
                return Err(chain_without_block("ROLLBACK"));
            }
            self.notice(Report::warning(
                "25P01",
                "there is no transaction in progress",
            ));
        }
        self.rollback_block().await?;
        if chain {
            self.begin(modes);
        }
        Ok("ROLLBACK")
    }

    fn no_block(&mut self, chain: bool, tag: &'static str) -> Step<&'static str> {
        if chain {
            return Err(chain_without_block(tag));
        }
        self.notice(Report::warning(
            "25P01",
            "there is no transaction in progress",
        ));
        Ok(tag)
    }

    /// A block of the router's own ends with its batch.
    pub(super) async fn end_implicit_block(&mut self) -> Step {
        match &self.block {
            Some(block) if !block.explicit && block.failed => self.rollback_block().await,
            Some(block) if !block.explicit => {
                let catalog = self.catalog();
                self.commit_block(&catalog).await
            }
            _ => Ok(()),
        }
    }

    /// Commits what the participants did; afterwards no block is open, whatever the outcome.
    async fn commit_block(&mut self, catalog: &Arc<Catalog>) -> Step {
        let result = if self.open_cursors.is_empty() {
            self.commit_participants(catalog).await
        } else {
            Box::pin(self.commit_with_cursors(catalog)).await
        };
        if result.is_err() {
            // What a failed COMMIT leaves open is rolled back; the error has been decided.
            self.rollback_block().await?;
            return result;
        }
        if self.settings.commit() {
            self.adopt_settings();
        }
        self.temporary.commit();
        for link in &mut self.links {
            link.applied_at_begin = None;
        }
        for link in self.links.iter_mut().filter(|link| link.in_block) {
            link.in_block = false;
            link.wrote = false;
        }
        self.block = None;
        self.handle.block_ends();
        self.end_portals().await?;
        result
    }

    /// Cursors WITH HOLD are made to stay first: if that fails, nothing has been committed.
    async fn commit_with_cursors(&mut self, catalog: &Arc<Catalog>) -> Step {
        let held = self.hold_cursors().await?;
        let result = self.commit_participants(catalog).await;
        if result.is_err() {
            self.portals
                .retain(|(_, portal)| !held.iter().any(|number| portal.has_number(*number)));
        }
        result
    }

    async fn commit_participants(&mut self, catalog: &Arc<Catalog>) -> Step {
        let edits = self
            .block
            .as_ref()
            .map(|block| block.edits().clone())
            .unwrap_or_default();
        let writers = self
            .links
            .iter()
            .filter(|link| link.in_block && link.wrote)
            .count();
        // Edits are judged by the catalog as it was without them.
        let base = self.block.as_ref().and_then(|block| block.base.clone());
        let catalog = base.unwrap_or_else(|| catalog.clone());
        if writers > 1 || edits.need_decision(&catalog) {
            // Boxed, like all that is rare and large: every idle session would carry it.
            return Box::pin(self.commit_in_two_phases(&edits, &catalog)).await;
        }
        let mut order: smallvec::SmallVec<[usize; 4]> = (0..self.links.len())
            .filter(|&index| self.links[index].in_block)
            .collect();
        order.sort_by_key(|&index| self.links[index].wrote);
        let (readers, writers) = order.split_at(order.len() - writers);
        for &index in readers {
            self.check_present(index).await?;
        }
        // Those who only read side by side.
        for &index in readers {
            self.send_commit(index).await;
        }
        for &index in readers {
            self.commit_one(index).await?;
        }
        for &index in writers {
            self.check_present(index).await?;
            self.send_commit(index).await;
            self.commit_one(index).await?;
        }
        if edits.is_empty() {
            return Ok(());
        }
        self.record(&edits).await
    }

    /// Fails if a participant that has not been asked to commit is gone: then the outcome is known.
    async fn check_present(&mut self, index: usize) -> Step {
        if self.links[index].has_hung_up(&mut self.client).await {
            let error = std::io::ErrorKind::UnexpectedEof.into();
            return Err(self.lost_link(index, LinkError::Server(error).into()).await);
        }
        Ok(())
    }

    /// Sends COMMIT to one participant, whose answer [`Self::commit_one`] reads.
    async fn send_commit(&mut self, index: usize) {
        let link = &mut self.links[index];
        link.backend.query(b"COMMIT");
        link.expects.push_back(Expect::Own);
        if let Err(error) = link.backend.flush().await {
            // The answer that does not come says the same.
            tracing::debug!(%error, "a participant's connection broke at its COMMIT");
        }
    }

    /// Ends the COMMIT of one participant. An error in it, such as a deferred constraint's, is the client's.
    async fn commit_one(&mut self, index: usize) -> Step {
        // From here on a lost connection leaves the outcome unknown.
        let link = &mut self.links[index];
        let wrote = link.wrote;
        link.in_block = false;
        let result = match self.exchange(index).await {
            Ok(()) => self.own_error(index),
            Err(failure) => return Err(failure),
        };
        if result.is_ok() {
            let link = &mut self.links[index];
            link.in_block = true;
            link.wrote = wrote;
        }
        result
    }

    /// Rolls every participant back; afterwards no block is open.
    pub(super) async fn rollback_block(&mut self) -> Step {
        let participants: smallvec::SmallVec<[usize; 4]> = (0..self.links.len())
            .filter(|&index| self.links[index].in_block)
            .collect();
        for &index in participants.iter().rev() {
            self.rollback_link(index).await?;
        }
        for link in &mut self.links {
            // Left by a failed commit in two phases: it depends on how far that came which settings are in force.
            if let Some(before) = link.applied_at_begin.take()
                && before != *link.backend.applied()
            {
                link.backend.forget_applied();
            }
        }
        let changed = self.settings.rollback();
        self.temporary.rollback();
        self.block = None;
        self.handle.block_ends();
        self.end_portals().await?;
        if changed {
            self.adopt_settings();
            if !self.links.is_empty() {
                self.report_settings().await?;
            }
        }
        Ok(())
    }

    /// Rolls one participant back, which leaves the block.
    async fn rollback_link(&mut self, index: usize) -> Step {
        let link = &mut self.links[index];
        link.backend.query(b"ROLLBACK");
        link.expects.push_back(Expect::Own);
        if let Some(applied) = link.applied_at_begin.take() {
            link.backend.set_applied(applied);
        }
        link.in_block = false;
        link.wrote = false;
        self.told_to_undo(index).await
    }

    /// Waits for the answer to a rollback. A connection that broke has rolled back by itself.
    async fn told_to_undo(&mut self, index: usize) -> Step {
        match self.exchange(index).await {
            Ok(()) | Err(Failure::Report(_) | Failure::Sent) => {}
            Err(end) => return Err(end),
        }
        self.notes.own_error = None;
        Ok(())
    }

    /// A statement has failed to end a deadlock. PostgreSQL gives back at once what a failed transaction holds, up to the
    /// savepoint set last; so must the other participants, for which somebody waits.
    pub(super) async fn leave_deadlock(&mut self) -> Step {
        let Some(block) = &mut self.block else {
            return Ok(());
        };
        let undo = block.last_savepoint().map(|name| {
            let mut sql = String::from("ROLLBACK TO SAVEPOINT ");
            push_identifier(&mut sql, name);
            sql
        });
        // Without a savepoint there is no way back into the block.
        block.lost |= undo.is_none();
        let participants: smallvec::SmallVec<[usize; 4]> = (0..self.links.len())
            .filter(|&index| self.links[index].in_block)
            .collect();
        for &index in participants.iter().rev() {
            match &undo {
                None => self.rollback_link(index).await?,
                Some(sql) => {
                    let link = &mut self.links[index];
                    link.backend.query(sql.as_bytes());
                    link.expects.push_back(Expect::Own);
                    self.told_to_undo(index).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn savepoint(&mut self, name: &str, what: Savepoint) -> Step<&'static str> {
        let Some(block) = self.block.as_mut().filter(|block| block.explicit) else {
            let (sqlstate, verb) = match what {
                Savepoint::Set => ("25P01", "SAVEPOINT"),
                Savepoint::Release => ("25P01", "RELEASE SAVEPOINT"),
                Savepoint::RollbackTo => ("25P01", "ROLLBACK TO SAVEPOINT"),
            };
            return Err(Report::error(
                sqlstate,
                format!("{verb} can only be used in transaction blocks"),
            )
            .into());
        };
        if what != Savepoint::Set && !block.has_savepoint(name) {
            return Err(
                Report::error("3B001", format!("savepoint \"{name}\" does not exist")).into(),
            );
        }
        if block.lost {
            return Err(Report::error(
                "25P02",
                "current transaction is aborted: what it did on a shard was lost with the connection",
            )
            .hint("ROLLBACK and repeat the whole transaction: no savepoint brings that part back.")
            .into());
        }
        let (verb, tag) = match what {
            Savepoint::Set => ("SAVEPOINT ", "SAVEPOINT"),
            Savepoint::Release => ("RELEASE SAVEPOINT ", "RELEASE"),
            Savepoint::RollbackTo => ("ROLLBACK TO SAVEPOINT ", "ROLLBACK"),
        };
        if what == Savepoint::Set {
            self.level_participants().await?;
        }
        let mut sql = String::from(verb);
        push_identifier(&mut sql, name);
        let participants: smallvec::SmallVec<[usize; 4]> = (0..self.links.len())
            .filter(|&index| self.links[index].in_block)
            .collect();
        for &index in participants.iter().rev() {
            self.run_own(index, &sql).await?;
        }
        let Some(block) = self.block.as_mut() else {
            return Ok(tag);
        };
        match what {
            Savepoint::Set => {
                block.savepoint(name);
                self.settings.savepoint(name);
                self.temporary.savepoint(name);
                self.portal_marks.savepoint(name, self.number_portals + 1);
            }
            Savepoint::Release => {
                block.release(name);
                self.settings.release(name);
                self.temporary.release(name);
                self.portal_marks.release(name);
            }
            Savepoint::RollbackTo => {
                block.rollback_to(name);
                if let (Some(base), None, false) =
                    (&block.base, &block.overlay, block.edits().is_empty())
                {
                    block.overlay = Some(block.edits().overlay(base)?);
                }
                self.settings.rollback_to(name);
                self.temporary.rollback_to(name);
                self.adopt_settings();
                let wanted = self.settings.wanted().clone();
                for link in self.links.iter_mut().filter(|link| link.in_block) {
                    link.backend.set_applied(wanted.clone());
                }
                Box::pin(self.portals_rolled_back(name)).await?;
            }
        }
        Ok(tag)
    }

    /// SET TRANSACTION: told to those who have joined, and to those who will.
    pub(super) async fn set_transaction(&mut self, modes: TransactionModes) -> Step {
        if self.block.is_none() {
            self.notice(Report::warning(
                "25P01",
                "SET TRANSACTION can only be used in transaction blocks",
            ));
            return Ok(());
        }
        let sql = format!("SET TRANSACTION{}", modes_text(&modes));
        let participants: smallvec::SmallVec<[usize; 4]> = (0..self.links.len())
            .filter(|&index| self.links[index].in_block)
            .collect();
        for &index in participants.iter().rev() {
            self.run_own(index, &sql).await?;
        }
        if let Some(block) = &mut self.block {
            block.modes.isolation = modes.isolation.or(block.modes.isolation);
            block.modes.read_only = modes.read_only.or(block.modes.read_only);
            block.modes.deferrable = modes.deferrable.or(block.modes.deferrable);
        }
        Ok(())
    }
}

/// What to do with a savepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Savepoint {
    Set,
    Release,
    RollbackTo,
}

fn chain_without_block(tag: &str) -> Failure {
    Report::error(
        "25P01",
        format!("{tag} AND CHAIN can only be used in transaction blocks"),
    )
    .into()
}
