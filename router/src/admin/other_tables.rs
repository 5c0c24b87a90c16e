//! `pgweave.reference_table` and `pgweave.unsharded_table`.

use std::sync::Arc;

use catalog::ShardId;

use super::arguments::Arguments;
use super::atomic::AtomicChange;
use super::shard_map::shard_named;
use super::{Caller, Output, subject};
use crate::ddl::distribute::Distribution;
use crate::ddl::error::Error;
use crate::ddl::requirements;
use crate::store::Store;

/// Puts a full copy of an empty table on every shard.
pub async fn reference_table(
    store: &Arc<Store>,
    arguments: &Arguments<'_>,
    caller: &Caller,
) -> Result<Output, Error> {
    let name = arguments.required("table")?;
    let mut change = AtomicChange::begin(store).await?;
    let catalog = change.catalog().clone();
    let subject = subject::find(&mut change, &catalog, caller, &name).await?;
    requirements::reference(&subject.table, &catalog)?;
    let summary = format!(
        "{} is a reference table on all {} shards",
        subject.table.display_name(),
        catalog.shards().len()
    );
    let shards: Vec<ShardId> = catalog.shards().iter().map(|shard| shard.id).collect();
    let distribution = Distribution {
        participants: &mut change,
        source: subject.source,
        made_on: vec![subject.source],
        table: subject.table,
        divided: Vec::new(),
    };
    let edits = distribution.reference(&shards).await?;
    change.commit(&edits).await?;
    Ok(Output::line(summary))
}

/// Puts a table on one shard. It must be empty if it is on another now.
pub async fn unsharded_table(
    store: &Arc<Store>,
    arguments: &Arguments<'_>,
    caller: &Caller,
) -> Result<Output, Error> {
    let (name, shard) = (arguments.required("table")?, arguments.required("shard")?);
    let mut change = AtomicChange::begin(store).await?;
    let catalog = change.catalog().clone();
    let target = shard_named(&catalog, &shard)?;
    let subject = subject::find(&mut change, &catalog, caller, &name).await?;
    requirements::unsharded(&subject.table, target, target != subject.source, &catalog)?;
    let summary = format!("{} is on shard {shard}", subject.table.display_name());
    let distribution = Distribution {
        participants: &mut change,
        source: subject.source,
        made_on: vec![subject.source],
        table: subject.table,
        divided: Vec::new(),
    };
    let edits = distribution.moved(target).await?;
    change.commit(&edits).await?;
    Ok(Output::line(summary))
}
