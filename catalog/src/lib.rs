//! The nouns of a sharded cluster, as validated immutable values.
//!
//! Start at [`Catalog`]: one snapshot of everything that placement depends on, made by [`CatalogBuilder::build`], which
//! refuses whatever is inconsistent. A statement takes one `Arc<Catalog>` and passes it along.
//!
//! A row's way to its shard is [`KeyValue`] (the key as the server would read it) → [`hash_point`] (the server's own
//! partition hash) → [`ShardMap::shard`]. The same road exists in SQL ([`point_expression`],
//! [`ShardMap::guard_expression`]), so that a stock server can compute a row's place.
//!
//! Invariants: no IO, no clock, no randomness; a value that the server would read differently never becomes a
//! [`KeyValue`]. Deliberately absent: how a catalog is stored and how it changes (the router's store).

mod builder;
mod error;
mod id;
mod key_type;
mod lookup3;
mod point;
mod quote;
pub mod sample;
pub mod shard_map;
mod snapshot;
mod table;
mod topology;
mod validate;
mod value;

pub use builder::CatalogBuilder;
pub use error::Error;
pub use id::{ClusterId, Epoch, GroupId, ShardId, TableId};
pub use key_type::KeyType;
pub use point::{HASH_SEED, MAX_KEY_COLUMNS, Point, hash_point, point_expression};
pub use quote::{quote_identifier, quote_literal};
pub use shard_map::{
    GUARD, HashShardMap, KeyRange, ListShardMap, Placement, RangeShardMap, ShardMap, UnmappedKey,
};
pub use snapshot::{Catalog, Relation};
pub use table::{
    AutoShard, Column, Event, Function, Group, KeyColumn, Reached, Reaction, Sequence, Table,
    TableKind, Touches, View, Volatility,
};
pub use topology::{Server, Shard};
pub use value::{Key, KeyValue, ValueError};
