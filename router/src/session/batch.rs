//! A batch: the messages of the extended protocol up to Sync, and the order of their answers.
//!
//! Entry points: [`Session::extended_link`], which takes a link for the next message, and [`Session::sync`]. Between messages
//! the answers of at most one link are outstanding; another link's turn, or an error of the router's own, waits for them.

use bytes::BytesMut;
use catalog::Catalog;
use planner::{Access, Target};

use super::block::Block;
use super::links::Need;
use super::report::{End, Failure};
use super::{Session, Step};
use crate::execute::expect::{Expect, Undo};
use crate::wire::{ProtocolError, encode};

/// What to think of a batch whose Sync has not come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// It may bring more statements to execute.
    MayGoOn,
    /// Nothing has been bound, so that it can still become several statements later.
    AsSeen,
}

impl Session {
    /// A link for a statement of the extended protocol: earlier answers of other links come first, and a batch of
    /// several statements gets a block.
    pub(super) async fn extended_link(
        &mut self,
        need: Need,
        batch: Batch,
        catalog: &Catalog,
    ) -> Step<usize> {
        if !need.no_block {
            self.open_batch_block(batch);
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

    /// Opens a block of the router's own for a batch of several statements that is in none.
    pub(super) fn open_batch_block(&mut self, batch: Batch) {
        if self.block.is_none() && self.batch_has_several_statements(batch) {
            self.open_block(Block::implicit());
        }
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

    /// The link whose answers are outstanding, of which there is at most one between messages.
    pub(super) fn busy_link(&self) -> Option<usize> {
        self.links.iter().position(|link| !link.expects.is_empty())
    }

    /// Gets every outstanding answer without ending the batch.
    pub(super) async fn drain(&mut self) -> Step {
        while let Some(index) = self.busy_link() {
            encode::flush(self.links[index].backend.out());
            self.exchange(index).await?;
        }
        Ok(())
    }

    /// An answer of the router's own, after those that are outstanding.
    pub(super) fn local(&mut self, encode: impl FnOnce(&mut BytesMut)) {
        match self.busy_link() {
            Some(index) => self.links[index].local(&mut self.client, encode),
            None => encode(&mut self.client.out),
        }
    }

    /// If what comes before fails, PostgreSQL would not have seen the message that did this.
    pub(super) fn mark_undo(&mut self, undo: Undo) {
        if let Some(index) = self.busy_link() {
            self.links[index].expects.push_back(Expect::Undo(undo));
        }
    }

    pub(super) async fn flush_message(&mut self, message: &[u8]) -> Step {
        if message.len() != 5 {
            return Err(ProtocolError::invalid_format().into());
        }
        self.answer_parse().await?;
        self.drain().await?;
        self.client.flush().await.map_err(End::Client)?;
        Ok(())
    }

    /// Sync: the batch ends, and with it an implicit transaction.
    pub(super) async fn sync(&mut self, message: &[u8]) -> Step {
        if message.len() != 5 {
            return Err(super::protocol_end(ProtocolError::invalid_format()));
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
                    .map_err(|error| End::Client(error).into());
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
}
