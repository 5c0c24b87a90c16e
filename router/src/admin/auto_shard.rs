//! `pgweave.auto_shard`: tables that will be created with a column are sharded by it.

use std::sync::Arc;

use super::arguments::Arguments;
use super::subject::parse_name;
use super::{Caller, Output, permission};
use crate::ddl::error::Error;
use crate::store::Store;

/// Adds or removes (`enabled => false`) the rule for a column. Tables that exist already stay as they are.
pub async fn auto_shard(
    store: &Arc<Store>,
    arguments: &Arguments<'_>,
    caller: &Caller,
) -> Result<Output, Error> {
    let (_, name) = parse_name(&arguments.required("column")?)?;
    let enabled = arguments
        .text("enabled")?
        .is_none_or(|text| text != "false");
    let change = store.begin_change(None).await?;
    permission::of_operator(&change, caller).await?;
    let (sql, summary) = match enabled {
        true => (
            "INSERT INTO pgweave.auto_shard (column_name) VALUES ($1) ON CONFLICT DO NOTHING",
            format!("tables created with column {name} will be sharded by it"),
        ),
        false => (
            "DELETE FROM pgweave.auto_shard WHERE column_name = $1",
            format!("tables created with column {name} will not be sharded by it any more"),
        ),
    };
    change.execute(sql, &[&name]).await?;
    change.commit().await?;
    Ok(Output::line(summary))
}
