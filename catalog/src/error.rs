//! Everything that can be wrong with a catalog.

use crate::{GroupId, KeyType, Point, ShardId};

/// Why a shard map or a catalog cannot be built. The message names what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{owner} has no name")]
    NoName { owner: String },
    #[error("shard \"{shard}\" needs a host, a port and a database for every server")]
    IncompleteServer { shard: String },
    #[error("two {kind}s have the name \"{name}\"")]
    DuplicateName { kind: &'static str, name: String },
    #[error("relation {name} occurs twice")]
    DuplicateRelation { name: String },
    #[error("column \"{column}\" of {owner} occurs twice")]
    DuplicateColumn { owner: String, column: String },
    #[error("two {kind}s have the id {id}")]
    DuplicateId { kind: &'static str, id: u32 },
    #[error("{owner} is in schema \"{schema}\", which belongs to the system")]
    ReservedSchema { owner: String, schema: String },
    #[error("{owner} names shard {shard}, which does not exist")]
    UnknownShard { owner: String, shard: ShardId },
    #[error("{owner} names colocation group {group}, which does not exist")]
    UnknownGroup { owner: String, group: GroupId },
    #[error("key column \"{column}\" of {owner} does not exist")]
    UnknownColumn { owner: String, column: String },
    #[error("key column \"{column}\" of {owner} must be NOT NULL")]
    NullableKeyColumn { owner: String, column: String },
    #[error("key column \"{column}\" of {owner} has type oid {type_oid}, not {key_type}")]
    KeyColumnType {
        owner: String,
        column: String,
        type_oid: u32,
        key_type: KeyType,
    },
    #[error("{owner} has {given} key columns; a shard key has 1 to {limit}")]
    KeyColumnCount {
        owner: String,
        given: usize,
        limit: usize,
    },
    #[error(
        "the shard key of {owner} is ({key}), that of colocation group {group} is ({expected})"
    )]
    KeyMismatch {
        owner: String,
        group: GroupId,
        key: String,
        expected: String,
    },
    #[error("key {key} in the shard map of {owner} is not of type ({types})")]
    MapKeyType {
        owner: String,
        key: String,
        types: String,
    },

    #[error("a shard map needs at least one shard")]
    MapWithoutShard,
    #[error("shard {shard} is listed twice")]
    MapShardTwice { shard: ShardId },
    #[error("{given} virtual nodes per shard: must be 1 to {limit}")]
    VirtualNodes { given: u32, limit: u32 },
    #[error("a {map} shard map cannot have the placement {placement}")]
    MapPlacement {
        map: &'static str,
        placement: String,
    },
    #[error("no placement covers the points from {from}{}", format_end(.until))]
    PointGap { from: Point, until: Option<Point> },
    #[error("two placements cover the point {at}")]
    PointOverlap { at: Point },
    #[error("the placement {placement} is empty")]
    EmptyPlacement { placement: String },
    #[error("the placements {first} and {second} overlap")]
    RangeOverlap { first: String, second: String },
    #[error("the key {key} is placed twice")]
    ListedTwice { key: String },
    #[error("a list shard map can have one default shard only")]
    TwoDefaults,
}

impl Error {
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Error::NoName { .. } => "42602",
            Error::DuplicateName { .. } | Error::DuplicateId { .. } => "42710",
            Error::DuplicateRelation { .. } => "42P07",
            Error::DuplicateColumn { .. } => "42701",
            Error::ReservedSchema { .. } => "42939",
            Error::UnknownShard { .. } | Error::UnknownGroup { .. } => "42704",
            Error::UnknownColumn { .. } => "42703",
            Error::NullableKeyColumn { .. }
            | Error::KeyColumnType { .. }
            | Error::KeyColumnCount { .. }
            | Error::KeyMismatch { .. }
            | Error::MapKeyType { .. } => "42P16",
            Error::IncompleteServer { .. }
            | Error::MapWithoutShard
            | Error::MapShardTwice { .. }
            | Error::VirtualNodes { .. }
            | Error::MapPlacement { .. }
            | Error::PointGap { .. }
            | Error::PointOverlap { .. }
            | Error::EmptyPlacement { .. }
            | Error::RangeOverlap { .. }
            | Error::ListedTwice { .. }
            | Error::TwoDefaults => "22023",
        }
    }
}

fn format_end(point: &Option<Point>) -> String {
    point.map_or(" on".to_owned(), |point| format!(" to {point}"))
}
