//! `pgweave.refresh`: all routers read the catalog anew, and what the shards have is compared with what it says.

use std::sync::Arc;

use catalog::{Catalog, Group, ShardId, Table, TableKind};

use super::{AtomicChange, Caller, Output, permission};
use crate::ddl::definition;
use crate::ddl::distribute::add_guard;
use crate::ddl::edit::{Edit, Edits, Kind};
use crate::ddl::error::Error;
use crate::ddl::participants::Participants;
use crate::store::{FIRST_UNLISTED, Store};
use catalog::GUARD;

/// Forgets tables that no shard has, puts missing placement guards back, and reports what it cannot mend.
pub async fn refresh(store: &Arc<Store>, caller: &Caller) -> Result<Output, Error> {
    let mut change = AtomicChange::begin(store).await?;
    permission::of_operator(change.home(), caller).await?;
    let catalog = change.catalog().clone();
    let mut edits = Edits(vec![Edit::Touch]);
    let mut findings = Vec::new();
    for table in catalog
        .tables()
        .iter()
        .filter(|table| table.id < FIRST_UNLISTED)
    {
        compare(&mut change, &catalog, table, &mut edits, &mut findings).await?;
    }
    change.commit(&edits).await?;
    Ok(Output {
        columns: vec!["finding".to_owned()],
        rows: findings
            .into_iter()
            .map(|finding| vec![Some(finding)])
            .collect(),
        notices: Vec::new(),
    })
}

async fn compare(
    participants: &mut dyn Participants,
    catalog: &Catalog,
    table: &Table,
    edits: &mut Edits,
    findings: &mut Vec<String>,
) -> Result<(), Error> {
    let name = format!("{}.{}", table.schema, table.name);
    let shards = shards_of(catalog, table);
    let mut missing = Vec::new();
    for &shard in &shards {
        match definition::read(participants, shard, &table.schema, &table.name).await? {
            None => missing.push(shard),
            Some(found) => {
                if let TableKind::Sharded { group, key } = &table.kind
                    && let Some(group) = catalog.group(*group)
                    && !found
                        .constraints
                        .iter()
                        .any(|constraint| constraint.name == GUARD)
                {
                    participants
                        .query(shard, &add_guard(&found, key, group, shard))
                        .await?;
                    findings.push(format!(
                        "put back the placement guard of {name} on shard {}",
                        shard_name(catalog, shard)
                    ));
                }
            }
        }
    }
    if missing.len() == shards.len() {
        edits.push(Edit::Forget {
            schema: table.schema.clone(),
            name: table.name.clone(),
            kind: Kind::of(&table.kind),
        });
        findings.push(format!("forgot table {name}, which no shard has"));
    } else {
        for shard in missing {
            findings.push(format!(
                "table {name} is missing on shard {}: create it there, or drop it everywhere",
                shard_name(catalog, shard)
            ));
        }
    }
    Ok(())
}

/// The shards that should have the table.
fn shards_of(catalog: &Catalog, table: &Table) -> Vec<ShardId> {
    match &table.kind {
        TableKind::Unsharded { shard } => vec![*shard],
        TableKind::Reference => catalog.shards().iter().map(|shard| shard.id).collect(),
        TableKind::Sharded { group, .. } => catalog
            .group(*group)
            .map(|group: &Group| group.map.shards().into_iter().collect())
            .unwrap_or_default(),
    }
}

fn shard_name(catalog: &Catalog, shard: ShardId) -> String {
    catalog
        .shard(shard)
        .map_or_else(|| shard.to_string(), |shard| shard.name.clone())
}
