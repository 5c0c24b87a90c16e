//! What has become of transactions over several shards, for people who ask.
//!
//! Entry points: [`prepared`] lists what no shard has finished, [`status`] tells of one transaction, [`resolve`] finishes one. All
//! go by the decision row and the prepared transactions alone, so any router and the command line say the same.
//! Nothing here can undo a decision, or commit without one.

use std::collections::{BTreeMap, BTreeSet};

use catalog::{Catalog, ShardId};
use futures_util::future::join_all;
use txn::decision::Decision;
use txn::outcome::Completion;
use txn::{Gid, ParticipantGid, sql};

use super::recovery::{self, bounded, connect, everywhere};
use crate::store::{Error, HOME, Store};

/// What is known of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Decided(Decision),
    Nothing,
    NoAnswer,
}

/// A prepared transaction of this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub gid: ParticipantGid,
    pub owner: String,
    pub age_ms: u64,
    pub decision: Known,
}

/// What has become of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Committed,
    Aborted,
    /// Prepared somewhere, and not decided.
    InProgress,
    /// Neither decided nor prepared: it never came to its commit and is rolled back, or its decision has been deleted, an hour after
    /// everybody had been told.
    Unknown,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Committed => "committed",
            Status::Aborted => "aborted",
            Status::InProgress => "in progress",
            Status::Unknown => "unknown",
        }
    }
}

/// A transaction by its own name or by one of its prepared transactions'.
pub fn read_gid(text: &str) -> Option<Gid> {
    let text = text.trim();
    Gid::parse(text).or_else(|| ParticipantGid::parse(text).map(|participant| participant.gid))
}

/// A shard as people know it.
pub fn shard_name(catalog: &Catalog, shard: ShardId) -> String {
    if shard == HOME {
        return "the catalog's home".to_owned();
    }
    catalog
        .shard(shard)
        .map_or_else(|| shard.to_string(), |shard| shard.name.clone())
}

/// This cluster's prepared transactions, by shard; `None` for a shard that does not answer.
pub async fn prepared(store: &Store) -> Vec<(ShardId, Option<Vec<Prepared>>)> {
    let catalog = store.snapshot();
    let lists = join_all(places(&catalog).into_iter().map(|shard| {
        let list = recovery::list(store, &catalog, shard);
        async move { (shard, bounded(list).await) }
    }))
    .await;
    let mut found = Vec::new();
    for (shard, rows) in lists {
        let rows = rows.map(|rows| {
            rows.into_iter()
                .filter_map(|row| {
                    let gid = ParticipantGid::parse(&row.gid)?;
                    Some(Prepared {
                        gid,
                        owner: row.owner,
                        age_ms: row.age_ms,
                        decision: Known::NoAnswer,
                    })
                })
                .collect::<Vec<_>>()
        });
        found.push((shard, rows));
    }
    let all = found.iter().filter_map(|(_, rows)| rows.as_ref()).flatten();
    let gids: BTreeSet<Gid> = all.map(|one| one.gid.gid).collect();
    let decisions: BTreeMap<Gid, Known> = join_all(gids.into_iter().map(|gid| {
        let catalog = &catalog;
        async move { (gid, decision(store, catalog, gid).await) }
    }))
    .await
    .into_iter()
    .collect();
    let rows = found.iter_mut().filter_map(|(_, rows)| rows.as_mut());
    for one in rows.flatten() {
        if let Some(known) = decisions.get(&one.gid.gid) {
            one.decision = *known;
        }
    }
    found
}

/// What has become of a transaction.
///
/// # Errors
/// If a shard that must be asked does not answer.
pub async fn status(store: &Store, gid: Gid) -> Result<Status, Error> {
    let catalog = store.snapshot();
    match decision(store, &catalog, gid).await {
        Known::Decided(Decision::Commit) => return Ok(Status::Committed),
        Known::Decided(Decision::Abort) => return Ok(Status::Aborted),
        Known::NoAnswer => return Err(no_answer(&catalog, gid.coordinating)),
        Known::Nothing => {}
    }
    let mut silent = None;
    for (shard, rows) in prepared(store).await {
        match rows {
            Some(rows) if rows.iter().any(|one| one.gid.gid == gid) => {
                return Ok(Status::InProgress);
            }
            Some(_) => {}
            None => silent = Some(shard),
        }
    }
    if let Some(shard) = silent {
        return Err(no_answer(&catalog, shard));
    }
    // Between the two questions it may have been decided and finished.
    Ok(match decision(store, &catalog, gid).await {
        Known::Decided(Decision::Commit) => Status::Committed,
        Known::Decided(Decision::Abort) => Status::Aborted,
        Known::Nothing | Known::NoAnswer => Status::Unknown,
    })
}

/// Applies a decision wherever the transaction is prepared. If nothing is decided and `abort` is asked for, decides
/// that first, which is safe at any time: a coordinator that comes later finds it and rolls back. Returns the decision, and how
/// each part ended; `None`: nothing is decided.
///
/// # Errors
/// If the coordinating shard does not answer.
pub async fn resolve(
    store: &Store,
    gid: Gid,
    abort: bool,
) -> Result<Option<(Decision, Vec<(ShardId, Completion)>)>, Error> {
    let catalog = store.snapshot();
    let decided = match decision(store, &catalog, gid).await {
        Known::Decided(decision) => decision,
        Known::NoAnswer => return Err(no_answer(&catalog, gid.coordinating)),
        Known::Nothing if !abort => return Ok(None),
        Known::Nothing => recovery::resolve(store, gid)
            .await
            .ok_or_else(|| no_answer(&catalog, gid.coordinating))?,
    };
    let mut parts = Vec::new();
    for (shard, rows) in prepared(store).await {
        let Some(rows) = rows else {
            parts.push((shard, Completion::Lost));
            continue;
        };
        for one in rows.iter().filter(|one| one.gid.gid == gid) {
            let completion = recovery::finish(store, &catalog, one.gid, &one.owner, decided).await;
            parts.push((shard, completion));
        }
    }
    Ok(Some((decided, parts)))
}

/// Reads a decision without making one.
async fn decision(store: &Store, catalog: &Catalog, gid: Gid) -> Known {
    if gid.coordinating != HOME && catalog.shard(gid.coordinating).is_none() {
        return Known::NoAnswer;
    }
    let read = async {
        let connection = connect(store, catalog, gid.coordinating).await?;
        connection.rows(&sql::read_decision(gid)).await
    };
    let Some(rows) = bounded(read).await else {
        return Known::NoAnswer;
    };
    let mut outcomes = rows.iter().filter_map(|row| row.first().cloned().flatten());
    match outcomes.find_map(|text| Decision::parse(&text)) {
        Some(decision) => Known::Decided(decision),
        None => Known::Nothing,
    }
}

/// The databases in which transactions can be prepared. The home is one of the shards, or has none of them prepared.
fn places(catalog: &Catalog) -> Vec<ShardId> {
    let mut places = everywhere(catalog);
    places.retain(|shard| *shard != HOME);
    places
}

fn no_answer(catalog: &Catalog, shard: ShardId) -> Error {
    Error::Connect {
        server: shard_name(catalog, shard),
        sqlstate: None,
        reason: "no answer; ask again later".to_owned(),
    }
}
