//! DDL in this session: what each statement means for the catalog, until the transaction ends, and then.
//!
//! After a statement has run on its shards `ddl::after` looks at what it made of them, over this session's own links.
//! The edits wait in the block; the session plans by a catalog that has them already. At COMMIT they go to the catalog's home, which decides the
//! commit where the catalog and the shards would otherwise contradict each other (see `ddl::commit`).

use std::sync::Arc;

use catalog::{Catalog, ShardId};
use planner::{Change, DdlEffect};

use super::everywhere::write_need;
use super::report::{Failure, Report};
use super::{Session, Step};
use crate::ddl::edit::Edit;
use crate::ddl::{self, Edits, Participants, Ran, Reply};
use crate::execute::expect::Expect;
use crate::store::{Rows, ServerError};
use crate::wire::backend;

/// The schema changes of an open block.
#[derive(Clone, Debug)]
pub struct SchemaBlock {
    /// The catalog that the first of them was planned by.
    pub base: Arc<Catalog>,
    pub edits: Edits,
    /// The base with the edits.
    pub catalog: Arc<Catalog>,
}

impl SchemaBlock {
    /// After ROLLBACK TO SAVEPOINT: only the first `kept` edits are left. None if there are none.
    pub fn back_to(mut self: Box<Self>, kept: usize) -> Option<Box<Self>> {
        self.edits.truncate(kept);
        if self.edits.is_empty() {
            return None;
        }
        // They were laid over the base before, one after the other.
        self.catalog = self.edits.overlay(&self.base).unwrap_or_else(|_| Arc::clone(&self.base));
        Some(self)
    }

    pub fn needs_decision(&self) -> bool {
        self.edits.need_decision(&self.base)
    }
}

impl Session {
    /// Finds out what a DDL statement did, and refuses it if the catalog cannot follow.
    pub(super) async fn follow_schema(
        &mut self,
        tag: &str,
        effect: &DdlEffect,
        shards: &[ShardId],
        catalog: &Arc<Catalog>,
    ) -> Step {
        if effect.changes.iter().all(|change| *change == Change::Other) && !tag.starts_with("DROP") {
            return Ok(());
        }
        let known = self.block.as_ref().and_then(|block| block.schema.clone());
        let earlier = known.as_ref().map(|known| known.edits.clone()).unwrap_or_default();
        let store = self.router.store.clone();
        let ran = Ran {
            tag,
            effect,
            shards,
            catalog,
            earlier: &earlier,
        };
        let followed = match ddl::after(&ran, &store, self).await {
            Ok(new) => {
                let base = known.map_or_else(|| Arc::clone(catalog), |known| known.base);
                let mut edits = earlier;
                edits.append(new);
                edits.overlay(&base).map(|catalog| SchemaBlock { base, edits, catalog })
            }
            Err(error) => Err(error),
        };
        let Some(block) = &mut self.block else {
            return Ok(());
        };
        match followed {
            Ok(schema) => {
                block.schema = (!schema.edits.is_empty()).then(|| Box::new(schema));
                Ok(())
            }
            Err(error) => {
                block.failed = true;
                Err(error.into())
            }
        }
    }

    /// Writes what needed no decision, after the shards have committed.
    pub(super) async fn record_schema(&mut self, schema: Option<Box<SchemaBlock>>) {
        if let Some(schema) = schema {
            self.record(&schema.edits).await;
        }
    }

    /// A statement that ran outside any transaction has changed the schema.
    pub(super) async fn changed_alone(&mut self, effect: &DdlEffect) {
        if effect.changes.iter().any(|change| *change != Change::Other) {
            self.record(&Edits(vec![Edit::Touch])).await;
        }
    }

    async fn record(&mut self, edits: &Edits) {
        let store = self.router.store.clone();
        if let Err(error) = Box::pin(ddl::record(&store, edits)).await {
            // The shards have committed: the client must not be told that they have not.
            self.notice(
                Report::warning(
                    "01000",
                    format!("the schema has changed on the shards, but the catalog could not follow: {error}"),
                )
                .hint("Run SELECT pgweave.refresh() when the catalog's home can be reached."),
            );
        }
    }
}

impl Participants for Session {
    fn query<'a>(&'a mut self, shard: ShardId, sql: &'a str) -> Reply<'a> {
        Box::pin(self.ask(shard, sql))
    }
}

impl Session {
    async fn ask(&mut self, shard: ShardId, sql: &str) -> Result<Rows, ServerError> {
        let catalog = self.catalog();
        let server = catalog.shard(shard).map_or_else(|| shard.to_string(), |shard| shard.name.clone());
        let index = self.link(write_need(shard), &catalog).await.map_err(|failure| of_failure(&server, failure))?;
        let link = &mut self.links[index];
        link.captured.clear();
        link.backend.query(sql.as_bytes());
        link.expects.push_back(Expect::Captured);
        self.exchange(index).await.map_err(|failure| of_failure(&server, failure))?;
        let captured = match self.primary_link(shard) {
            Some(index) => std::mem::take(&mut self.links[index].captured),
            None => Vec::new(),
        };
        if let Some(body) = self.notes.own_error.take() {
            let fields = backend::error_fields(&body);
            return Err(ServerError {
                server,
                sqlstate: fields.sqlstate,
                message: fields.message,
                detail: fields.detail,
                hint: fields.hint,
                context: None,
            });
        }
        backend::text_rows(&captured).map_err(|error| ServerError {
            server,
            sqlstate: "08P01".to_owned(),
            message: error.to_string(),
            ..ServerError::default()
        })
    }
}

fn of_failure(server: &str, failure: Failure) -> ServerError {
    let (sqlstate, message) = match failure {
        Failure::Report(report) => (report.sqlstate.into_owned(), report.message),
        Failure::Sent => ("XX000".to_owned(), "a shard refused a statement of the router".to_owned()),
        // The session's next step finds the same.
        Failure::End(_) => ("08006".to_owned(), "the client's connection broke".to_owned()),
    };
    ServerError {
        server: server.to_owned(),
        sqlstate,
        message,
        ..ServerError::default()
    }
}
