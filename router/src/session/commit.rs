//! The session's side of a two-phase commit: its links are the participants' connections.

use std::sync::Arc;

use catalog::{Catalog, ShardId};
use txn::outcome::{Completion, Outcome, ServerError};
use txn::request::{Access, Participant};

use super::report::{End, Report};
use super::settings::Assignment;
use super::{Session, Step};
use crate::ddl::{Edits, Recording};
use crate::drive::commit::{self, Participants};
use crate::drive::recovery;
use crate::execute::expect::Expect;
use crate::store::HOME;
use crate::wire::backend;

/// Between two questions for the same decision.
const RESOLVE_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// How long a statement waits for recovery to finish an earlier transaction of its session.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

impl Session {
    /// Commits what several shards wrote, everywhere or nowhere; with it the catalog's own changes, where they must not
    /// come apart from the shards.
    pub(super) async fn commit_in_two_phases(
        &mut self,
        edits: &Edits,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let mut participants: Vec<Participant> = self
            .links
            .iter()
            .filter(|link| link.in_block)
            .map(|link| Participant {
                shard: link.shard,
                access: if link.wrote {
                    Access::Write
                } else {
                    Access::Lock
                },
                preparable: !link.pins.contains(planner::Pins::TEMPORARY),
            })
            .collect();
        let mut recording = None;
        if edits.need_decision(catalog) {
            recording = Some(Recording::begin(&self.router.store, edits).await?);
            participants.push(Participant {
                shard: HOME,
                access: Access::Write,
                preparable: false,
            });
        }
        // What the client is still owed must not come in between: a client that reads slowly would use up the servers' time.
        self.client.flush().await.map_err(End::Client)?;
        let request = txn::Request::new(&participants, self.is_serializable(), &self.router.gids)
            .map_err(|error| {
            let report = Report::error(error.sqlstate().to_owned(), error.to_string());
            match error.hint() {
                Some(hint) => report.hint(hint),
                None => report,
            }
        })?;
        let gid = request.gid();
        if let (Some(recording), Some(gid)) = (&mut recording, gid) {
            let prepared: Vec<ShardId> = participants
                .iter()
                .filter(|participant| {
                    participant.access == Access::Write && participant.shard != HOME
                })
                .map(|participant| participant.shard)
                .collect();
            recording.seal(gid, &prepared).await?;
        }
        let mut committing = Committing {
            session: self,
            recording,
            at_home: None,
            deciding: false,
        };
        let handle = committing.session.handle.clone();
        handle.commits(gid);
        let outcome = Box::pin(commit::run(request, &mut committing)).await;
        handle.commits(None);
        handle.admit_cancels();
        let outcome = outcome?;
        let recording = committing.recording;
        if let (Outcome::Committed { unfinished }, Some(gid)) = (&outcome, gid) {
            for &shard in unfinished {
                tracing::warn!(%gid, %shard, "a transaction is committed; recovery will tell this shard");
                self.unfinished.push(gid.participant(shard));
            }
            if let Some(recording) = recording {
                recording.settle(unfinished.is_empty()).await;
                return Ok(());
            }
        }
        commit::report(outcome, catalog)?;
        self.record(edits).await
    }

    /// Waits until a shard shows what this session has committed there. Until recovery has told the shard, its rows are
    /// those from before, and this session must not see them.
    pub(super) async fn wait_for_unfinished(&mut self, shard: ShardId, catalog: &Catalog) -> Step {
        let Some(server) = catalog.shard(shard) else {
            return Ok(());
        };
        while let Some(gid) = self
            .unfinished
            .iter()
            .copied()
            .find(|gid| gid.shard == shard)
        {
            if !recovery::is_finished(&self.router, &server.primary, gid, PATIENCE).await {
                return Err(Report::error(
                    "08006",
                    format!(
                        "shard {} has not been told yet of transaction {}, which is committed",
                        server.name, gid.gid
                    ),
                )
                .hint("It will be when the shard can be reached again. Repeat the statement then.")
                .into());
            }
            self.unfinished.retain(|other| *other != gid);
        }
        Ok(())
    }

    /// Whether the open block's isolation level is SERIALIZABLE, by what the session has said.
    fn is_serializable(&self) -> bool {
        let said = self.block.as_ref().and_then(|block| block.modes.isolation);
        if let Some(isolation) = said {
            return isolation == planner::Isolation::Serializable;
        }
        let default = self.settings.get("default_transaction_isolation");
        default.is_some_and(|value| match value {
            Assignment::Sql(text) | Assignment::Text(text) => {
                text.to_ascii_lowercase().contains("serializable")
            }
        })
    }

    fn participant(&self, shard: ShardId) -> Option<usize> {
        self.links
            .iter()
            .position(|link| link.shard == shard && !link.replica)
    }
}

/// A session's links, and the catalog's home where it takes part.
struct Committing<'a> {
    session: &'a mut Session,
    recording: Option<Recording>,
    /// The home's answer to the command sent last.
    at_home: Option<Completion>,
    /// The deciding COMMIT may have been sent.
    deciding: bool,
}

impl Participants for Committing<'_> {
    async fn send(&mut self, shard: ShardId, sql: &str) {
        if shard == HOME {
            self.at_home = match &self.recording {
                Some(recording) => Some(completion_at_home(recording.send(sql).await)),
                None => None,
            };
            return;
        }
        let Some(index) = self.session.participant(shard) else {
            return;
        };
        let link = &mut self.session.links[index];
        link.captured.clear();
        link.backend.query(sql.as_bytes());
        link.expects.push_back(Expect::Captured);
        if let Err(error) = link.backend.flush().await {
            // The answer that does not come says the same.
            tracing::debug!(%error, "a participant's connection broke");
        }
    }

    async fn completion(&mut self, shard: ShardId) -> Completion {
        if shard == HOME {
            return self.at_home.take().unwrap_or(Completion::Lost);
        }
        let session = &mut *self.session;
        let Some(index) = session.participant(shard) else {
            return Completion::Lost;
        };
        let relayed = session.links[index]
            .relay(&mut session.client, &mut session.notes)
            .await;
        let link = &session.links[index];
        if let Some(body) = session.notes.own_error.take() {
            let body = session.client.with_own_names(&body).into_owned();
            return Completion::Failed(ServerError {
                sqlstate: backend::sqlstate(&body).unwrap_or(*b"XX000"),
                fatal: backend::is_fatal(&body),
                body: body.into(),
            });
        }
        match relayed {
            Ok(_) => match backend::last_tag(&link.captured).unwrap_or_default() {
                "PREPARE TRANSACTION" => Completion::Prepared {
                    xid: backend::first_value(&link.captured)
                        .and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok()),
                },
                tag => Completion::of_tag(tag),
            },
            Err(crate::execute::LinkError::Client(error)) => {
                // Nothing is sent to the client meanwhile, so this cannot be; the commit goes on all the same.
                tracing::debug!(%error, "the client left during its commit");
                Completion::Lost
            }
            Err(error) => {
                tracing::warn!(%error, server = %link.backend.cancel_target(), "a participant was lost during a commit");
                Completion::Lost
            }
        }
    }

    fn released(&mut self, shard: ShardId) {
        if let Some(index) = self.session.participant(shard) {
            let link = &mut self.session.links[index];
            link.in_block = false;
            link.wrote = false;
            link.captured.clear();
        }
    }

    async fn discard(&mut self, shard: ShardId) {
        if shard == HOME {
            // Dropping its transaction rolls the home back.
            self.recording = None;
        } else if let Some(index) = self.session.participant(shard) {
            let link = self.session.take_link(index);
            if self.deciding {
                // A COMMIT that waits for its standby is not made to give up waiting: it would be seen before it is safe.
                link.backend.hang_up();
            } else {
                link.backend.close();
            }
        }
    }

    async fn decides(&mut self) {
        self.session.handle.withhold_cancels().await;
        self.deciding = true;
    }

    async fn is_lost(&mut self, shard: ShardId) -> bool {
        let session = &mut *self.session;
        let Some(index) = session.participant(shard) else {
            return false;
        };
        session.links[index]
            .has_hung_up_now(&mut session.client)
            .await
    }

    async fn resolve(&mut self, gid: txn::Gid, attempt: u32) -> Option<txn::Decision> {
        if attempt > 1 {
            tokio::time::sleep(RESOLVE_PAUSE).await;
        }
        recovery::resolve(&self.session.router.store, gid).await
    }

    fn leave_to_recovery(&mut self, gid: txn::ParticipantGid) {
        self.session.router.leave_to_recovery(gid.gid);
    }
}

fn completion_at_home(result: Result<(), crate::store::ServerError>) -> Completion {
    let Err(error) = result else {
        return Completion::Done;
    };
    // Class 08 and the server's own shutdown leave open whether the command took effect.
    if error.sqlstate.starts_with("08") || error.sqlstate.starts_with("57P") {
        return Completion::Lost;
    }
    let body = format!("SERROR\0C{}\0M{}\0\0", error.sqlstate, error.message);
    Completion::Failed(ServerError {
        sqlstate: error.sqlstate.as_bytes().try_into().unwrap_or(*b"XX000"),
        fatal: false,
        body: body.into_bytes().into(),
    })
}
