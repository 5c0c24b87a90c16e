//! The groups that tables join without asking, and sequences that are divided: what a change must know besides the snapshot.

use catalog::{Catalog, GroupId, KeyType, ShardId};

use super::connection::{Connection, column};
use super::error::Error;
use super::map_rows::shard_number;

/// The default group for keys of these types; one whose key types colocate with them will do.
pub async fn default_group(
    home: &Connection,
    catalog: &Catalog,
    types: &[KeyType],
) -> Result<Option<GroupId>, Error> {
    let rows = home
        .query(
            "SELECT id FROM pgweave.colocation_group WHERE is_default ORDER BY id",
            &[],
        )
        .await?;
    for row in rows {
        let id = GroupId(column::<i32>(&row, 0)?.unsigned_abs());
        let Some(group) = catalog.group(id) else {
            continue;
        };
        let fits = group.types.len() == types.len()
            && group
                .types
                .iter()
                .zip(types)
                .all(|(own, other)| own.colocates_with(*other));
        if fits {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// Schema and name of every divided sequence.
pub async fn divided_sequences(home: &Connection) -> Result<Vec<(String, String)>, Error> {
    let rows = home
        .query(
            "SELECT schema_name, sequence_name FROM pgweave.sequence",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((column(row, 0)?, column(row, 1)?)))
        .collect()
}

/// Schema and name of every divided sequence that a shard draws from.
pub async fn divided_on(home: &Connection, shard: ShardId) -> Result<Vec<(String, String)>, Error> {
    let rows = home
        .query(
            "SELECT schema_name, sequence_name FROM pgweave.sequence \
              WHERE id IN (SELECT sequence FROM pgweave.sequence_block WHERE shard = $1)",
            &[&shard_number(shard)],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((column(row, 0)?, column(row, 1)?)))
        .collect()
}
