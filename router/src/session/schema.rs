//! Schema changes that went through this session: what the catalog learns of them.
//!
//! The shards commit first, then the catalog follows under a new epoch. If the router dies in between, the catalog is
//! behind until `pgweave.refresh()` compares it with the shards.

use planner::{AdminArg, Change, DdlEffect, NewTable};

use super::report::{Failure, Report};
use super::{Session, Step};
use crate::admin;
use crate::ddl::edit::{Edit, Edits};

/// How often the catalog is tried to be changed.
const FOLLOW_ATTEMPTS: usize = 5;
/// Between two tries.
const FOLLOW_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

impl Session {
    /// Tells the catalog what committed DDL has changed, and waits until this router works with it.
    pub(super) async fn changed_schema(&mut self, effects: Vec<DdlEffect>) -> Step {
        let changes: Vec<Change> = effects.into_iter().flat_map(|effect| effect.changes).collect();
        if changes.is_empty() {
            return Ok(());
        }
        Box::pin(self.follow(&changes)).await
    }

    async fn follow(&mut self, changes: &[Change]) -> Step {
        let mut edits = Edits(changes.iter().map(edit).collect());
        edits.push(Edit::Touch);
        let store = self.router.store.clone();
        let mut attempt = 1;
        let changed = loop {
            let changed = store
                .change(None, async |change| {
                    let catalog = change.catalog().await?;
                    edits.write(change, &catalog).await
                })
                .await;
            // Reading definitions while another session drops something can fail; a moment later it does not.
            match changed {
                Err(_) if attempt < FOLLOW_ATTEMPTS => attempt += 1,
                changed => break changed,
            }
            tokio::time::sleep(FOLLOW_PAUSE).await;
        };
        if let Err(error) = changed {
            // The shards have committed: the client must not be told that they have not.
            self.notice(
                Report::warning("01000", format!("the schema has changed on the shards, but the catalog could not follow: {error}"))
                    .hint("Run SELECT pgweave.refresh() when the catalog's home can be reached."),
            );
            return Ok(());
        }
        for change in changes {
            if let Change::TableCreated {
                table,
                sharding: NewTable::Auto { column, .. },
                ..
            } = change
            {
                self.distribute(&table.schema, &table.name, column).await?;
            }
        }
        Ok(())
    }

    /// A new table with a column that tables are sharded by without asking.
    async fn distribute(&mut self, schema: &str, table: &str, column: &str) -> Step {
        let mut name = String::new();
        super::block::push_identifier(&mut name, schema);
        name.push('.');
        super::block::push_identifier(&mut name, table);
        let arguments = [
            (None, AdminArg::Text(name)),
            (None, AdminArg::Text(column.to_owned())),
        ];
        let caller = admin::Caller {
            user: self.identity.user().to_owned(),
            search_path: self.derived.search_path.clone(),
        };
        match admin::call(&self.router.store, "shard_table", &arguments, &caller).await {
            Ok(_) => Ok(()),
            Err(error) => match Failure::from(error) {
                Failure::Report(report) => {
                    self.notice(
                        Report::warning(
                            "01000",
                            format!("the table was created on one shard, and could not be sharded by {column}: {}", report.message),
                        )
                        .hint("Run pgweave.shard_table for it, or drop it."),
                    );
                    Ok(())
                }
                other => Err(other),
            },
        }
    }
}

/// What one change means for the catalog's own rows.
fn edit(change: &Change) -> Edit {
    match change {
        Change::TableDropped { table } => Edit::Forget {
            schema: table.schema.clone(),
            name: table.name.clone(),
        },
        Change::TableRenamed { table, new } => Edit::RenameTable {
            schema: table.schema.clone(),
            name: table.name.clone(),
            new_schema: new.schema.clone(),
            new_name: new.name.clone(),
        },
        Change::SchemaRenamed { schema, new } => Edit::RenameSchema {
            schema: schema.clone(),
            new: new.clone(),
        },
        _ => Edit::Touch,
    }
}
