//! Schema changes that go through this session: what the catalog learns of them, and when.
//!
//! What a statement did is read in its own transaction (`ddl`), kept with the block, and committed with it. Until then the
//! session plans by the catalog as it will be.

use std::sync::Arc;

use catalog::{Catalog, ShardId};
use planner::{Access, Change, DdlEffect};

use super::links::Need;
use super::report::{Failure, Report};
use super::{Session, Step};
use crate::ddl::edit::Edit;
use crate::ddl::{self, Edits, Participants, Ran, Reply};
use crate::execute::expect::Expect;
use crate::store::{Rows, ServerError};
use crate::wire::{Reader, backend};

/// How often the record of a change is tried to be written.
const RECORD_ATTEMPTS: usize = 5;
/// Between two tries.
const RECORD_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

impl Session {
    /// Finds out what a DDL statement did, in its own transaction, and keeps that with the block.
    pub(super) async fn learn_schema_change(
        &mut self,
        tag: &str,
        effect: &DdlEffect,
        shards: &[ShardId],
        catalog: &Arc<Catalog>,
    ) -> Step {
        let unseen = effect.changes.iter().all(|change| *change == Change::Other);
        if unseen && !tag.starts_with("DROP") {
            return Ok(());
        }
        let store = self.router.store.clone();
        let earlier = self
            .block
            .as_ref()
            .map(|block| block.edits().clone())
            .unwrap_or_default();
        let ran = Ran {
            tag,
            effect,
            shards,
            catalog,
            earlier: &earlier,
        };
        let edits = ddl::after(&ran, &store, self).await?;
        let Some(block) = &mut self.block else {
            return Ok(());
        };
        block.add_edits(edits);
        let base = block.base.get_or_insert_with(|| catalog.clone()).clone();
        if !block.edits().is_empty() {
            block.overlay = Some(block.edits().overlay(&base)?);
        }
        Ok(())
    }

    /// Tells the catalog of a change that ran outside a transaction.
    pub(super) async fn record_untracked(&mut self) -> Step {
        let mut edits = Edits::default();
        edits.push(Edit::Touch);
        self.record(&edits).await
    }

    /// Writes what needs no decision, after the shards have committed.
    pub(super) async fn record(&mut self, edits: &Edits) -> Step {
        let mut attempt = 1;
        let store = self.router.store.clone();
        let result = loop {
            // Reading definitions while another session drops something can fail; a moment later it does not.
            match Box::pin(ddl::record(&store, edits)).await {
                Err(_) if attempt < RECORD_ATTEMPTS => attempt += 1,
                result => break result,
            }
            tokio::time::sleep(RECORD_PAUSE).await;
        };
        if let Err(error) = result {
            // The shards have committed: the client must not be told that they have not.
            self.notice(
                Report::warning(
                    "01000",
                    format!("the schema has changed on the shards, but the catalog could not follow: {error}"),
                )
                .hint("Run SELECT pgweave.refresh() when the catalog's home can be reached."),
            );
        }
        Ok(())
    }

    async fn rows_on(&mut self, shard: ShardId, sql: &str) -> Step<Rows> {
        let catalog = self.catalog();
        let index = self
            .link(Need::shard(shard, Access::Write), &catalog)
            .await?;
        let link = &mut self.links[index];
        link.backend.query(sql.as_bytes());
        link.expects.push_back(Expect::Captured);
        link.quiet = true;
        self.exchange(index).await?;
        self.links[index].quiet = false;
        let captured = std::mem::take(&mut self.links[index].captured);
        self.own_error(index)?;
        Ok(backend::messages(&captured)
            .filter(|(tag, _)| *tag == b'D')
            .map(|(_, body)| text_row(body))
            .collect())
    }
}

impl Participants for Session {
    fn query<'a>(&'a mut self, shard: ShardId, sql: &'a str) -> Reply<'a> {
        Box::pin(self.ask(shard, sql))
    }
}

impl Session {
    async fn ask(&mut self, shard: ShardId, sql: &str) -> Result<Rows, ServerError> {
        let start = self.client.out.len();
        match self.rows_on(shard, sql).await {
            Ok(rows) => Ok(rows),
            Err(Failure::Sent) => {
                // The caller decides what the client is told: take the server's words back from the output.
                let said = self.client.out.split_off(start.min(self.client.out.len()));
                let fields = backend::messages(&said)
                    .find(|(tag, _)| *tag == b'E')
                    .map(|(_, body)| backend::error_fields(body))
                    .unwrap_or_default();
                Err(ServerError {
                    server: shard.to_string(),
                    sqlstate: fields.sqlstate,
                    message: fields.message,
                    detail: fields.detail,
                    hint: fields.hint,
                    ..ServerError::default()
                })
            }
            Err(Failure::Report(report)) => Err(ServerError {
                server: shard.to_string(),
                sqlstate: report.sqlstate.into_owned(),
                message: report.message,
                detail: report.detail,
                hint: report.hint,
                ..ServerError::default()
            }),
            Err(Failure::End(_)) => Err(ServerError {
                server: shard.to_string(),
                sqlstate: "57P01".to_owned(),
                message: "the session ended".to_owned(),
                ..ServerError::default()
            }),
        }
    }
}

fn text_row(body: &[u8]) -> Vec<Option<String>> {
    let mut reader = Reader(body);
    let count = reader.u16().unwrap_or(0);
    (0..count)
        .map(|_| {
            let value = reader.value().ok().flatten();
            value.map(|value| String::from_utf8_lossy(value).into_owned())
        })
        .collect()
}

/// The catalog that a session's next statement is planned by.
pub(super) fn current(session: &Session) -> Arc<Catalog> {
    match session
        .block
        .as_ref()
        .and_then(|block| block.overlay.clone())
    {
        Some(overlay) => overlay,
        None => session.router.catalog.snapshot(),
    }
}
