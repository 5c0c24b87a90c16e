//! What snapshots over several shards ask of servers besides the snapshots themselves (`txn::snapshot`).
//!
//! Entry point: [`Observers::observer`], the router's one connection to a shard's primary for this. All sessions share it: its questions
//! are short. A horizon belongs to the connection it was read over, because a server that has crashed may give
//! transactions the same ids again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use catalog::{Catalog, ClusterId, Server, ShardId};
use futures_util::future::try_join_all;
use txn::snapshot::{Decided, View};
use txn::{Gid, ParticipantGid, sql};

use crate::store::{Connection, Connector, Error};

/// A horizon this old is read anew: the older it is, the more decisions are read.
const HORIZON_AGE: Duration = Duration::from_secs(1);
/// How long the gate waits for writers in the middle of their COMMIT, on one shard. Others wait behind it.
const GATE_LOCK_TIMEOUT_MS: u32 = 300;
/// Statistics of a table that is always written to are always old, and each condition has an index.
const SETTINGS: &str = "SET enable_seqscan = off";

/// lock_not_available
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The connections, made when they are needed.
#[derive(Default)]
pub struct Observers(Mutex<BTreeMap<ShardId, Slot>>);

type Slot = Arc<tokio::sync::Mutex<Option<Arc<Observer>>>>;

/// A connection to one primary.
pub struct Observer {
    connection: Connection,
    server: Server,
    horizon: Mutex<Option<(Instant, View)>>,
}

/// The lock by which nobody decides on any shard; dropping it opens it, a little later.
pub struct Gate(Vec<Connection>);

impl Observers {
    /// The connection to a shard's primary.
    pub async fn observer(
        &self,
        connector: &Connector,
        catalog: &Catalog,
        shard: ShardId,
    ) -> Result<Arc<Observer>, Error> {
        let server = &catalog
            .shard(shard)
            .ok_or_else(|| Error::corrupt(format!("the catalog has no shard {shard}")))?
            .primary;
        let slot = locked(&self.0).entry(shard).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(observer) = &*slot
            && !observer.connection.is_closed()
            && observer.server == *server
        {
            return Ok(observer.clone());
        }
        let connection = connector.connect(server).await?;
        connection.batch(SETTINGS).await?;
        let observer = Arc::new(Observer {
            connection,
            server: server.clone(),
            horizon: Mutex::new(None),
        });
        *slot = Some(observer.clone());
        Ok(observer)
    }
}

impl Observer {
    /// A snapshot of now, or of a moment ago.
    pub async fn horizon(&self) -> Result<View, Error> {
        if let Some((at, view)) = &*locked(&self.horizon)
            && at.elapsed() < HORIZON_AGE
        {
            return Ok(view.clone());
        }
        let asked = Instant::now();
        let rows = self.connection.rows(sql::READ_SNAPSHOT).await?;
        self.note_horizon(asked, rows.last())
    }

    /// Decisions to commit that are not shown by `since`, and those of `gids`. On the way the horizon is read anew.
    pub async fn decisions(
        &self,
        cluster: ClusterId,
        since: &View,
        gids: &[Gid],
    ) -> Result<Vec<Decided>, Error> {
        let asked = Instant::now();
        let text = format!(
            "{}; {}",
            sql::decisions_since(since, gids),
            sql::READ_SNAPSHOT
        );
        let mut rows = self.connection.rows(&text).await?;
        self.note_horizon(asked, rows.pop().as_ref())?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let decided = read_row(&row).ok_or_else(|| {
                Error::corrupt(format!("a decision that cannot be read: {row:?}"))
            })?;
            // Somebody else's, or of a shape that no router writes.
            if let Some(decided) = decided
                && decided.gid.cluster == cluster
            {
                found.push(decided);
            }
        }
        Ok(found)
    }

    /// Whether any of these is prepared there.
    pub async fn holds(&self, parts: &[ParticipantGid]) -> Result<bool, Error> {
        let rows = self.connection.rows(&sql::still_prepared(parts)).await?;
        Ok(!rows.is_empty())
    }

    fn note_horizon(
        &self,
        asked: Instant,
        row: Option<&Vec<Option<String>>>,
    ) -> Result<View, Error> {
        let view = row
            .and_then(|row| View::parse(row.first()?.as_deref()?))
            .ok_or_else(|| Error::corrupt("a snapshot that cannot be read"))?;
        *locked(&self.horizon) = Some((asked, view.clone()));
        Ok(view)
    }
}

impl Gate {
    /// Waits for those who decide just now; from here on nobody decides on these shards. `None`: somebody is in the way for
    /// too long, and it is open everywhere.
    pub async fn close(
        connector: &Connector,
        catalog: &Catalog,
        shards: &[ShardId],
    ) -> Result<Option<Gate>, Error> {
        let primaries = shards.iter().filter_map(|id| catalog.shard(*id));
        let connecting = primaries.map(|shard| connector.connect(&shard.primary));
        let held = try_join_all(connecting).await?;
        // Writers wait from the first lock on.
        let sql = sql::close_gate(GATE_LOCK_TIMEOUT_MS);
        for connection in &held {
            match connection.batch(&sql).await {
                Err(error) if error.sqlstate() == LOCK_NOT_AVAILABLE => {
                    Gate(held).open().await;
                    return Ok(None);
                }
                locked => locked?,
            }
        }
        Ok(Some(Gate(held)))
    }

    pub async fn open(self) {
        for connection in self.0 {
            // If it cannot be said, the connection is gone and the lock with it.
            if let Err(error) = connection.batch("ROLLBACK").await {
                tracing::debug!(%error, "a gate was opened by the loss of its connection");
            }
        }
    }
}

/// `Some(None)`: the name is not one of ours.
fn read_row(row: &[Option<String>]) -> Option<Option<Decided>> {
    let [Some(gid), xid, Some(participants), xids] = row else {
        return None;
    };
    let Some(gid) = Gid::parse(gid) else {
        return Some(None);
    };
    let xid = match xid {
        Some(xid) => Some(xid.parse().ok()?),
        None => None,
    };
    let shards: Vec<ShardId> = items(participants)
        .map(|item| item.parse().ok().map(ShardId))
        .collect::<Option<_>>()?;
    let mut ids = xids.as_deref().map(items);
    // A row may have fewer ids than participants, as its writer likes.
    let participants = shards
        .into_iter()
        .map(|shard| {
            let id = ids.as_mut().and_then(Iterator::next);
            (shard, id.and_then(|id| id.parse().ok()))
        })
        .collect();
    Some(Some(Decided {
        gid,
        xid,
        participants,
    }))
}

/// The items of an array of numbers: `{2,NULL}`.
fn items(array: &str) -> impl Iterator<Item = &str> {
    let inner = array.trim_start_matches('{').trim_end_matches('}');
    inner.split(',').filter(|item| !item.is_empty())
}

/// What is under these locks is replaced as a whole, so a panic leaves nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Part = (u32, Option<u64>);

    #[track_caller]
    fn check(row: [Option<&str>; 4], expected: Option<(Option<u64>, &[Part])>) {
        let row = row.map(|value| value.map(str::to_owned));
        let decided = read_row(&row).unwrap();
        let found = decided.map(|decided| (decided.xid, decided.participants));
        let parts = |parts: &[Part]| parts.iter().map(|(id, xid)| (ShardId(*id), *xid)).collect();
        assert_eq!(found, expected.map(|(xid, list)| (xid, parts(list))));
    }

    #[test]
    fn rows_of_all_ages() {
        let gid = "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7";
        check(
            [Some(gid), Some("77"), Some("{2,3}"), Some("{731,NULL}")],
            Some((Some(77), &[(2, Some(731)), (3, None)])),
        );
        // An older router's, and one from before there were ids.
        check(
            [Some(gid), Some("77"), Some("{2}"), None],
            Some((Some(77), &[(2, None)])),
        );
        check([Some(gid), None, Some("{}"), None], Some((None, &[])));
        // A forged one with too few.
        check(
            [Some(gid), Some("77"), Some("{2,3}"), Some("{1}")],
            Some((Some(77), &[(2, Some(1)), (3, None)])),
        );
        check([Some("x"), None, Some("{}"), None], None);
    }
}
