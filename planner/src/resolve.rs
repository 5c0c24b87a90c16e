//! Route and values to a shard.

use catalog::{Catalog, ShardId};

use crate::{Error, Route, Values};

/// Where one execution goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Any,
    Shard(ShardId),
    /// The home of schema `pgweave`.
    Catalog,
}

/// Resolves a route with the values of this execution.
///
/// Errors: 0A000 when the keys lie on several shards (their names are in the message), 23514 when no placement covers a key.
/// A value that the server itself would reject leads to any shard, which then says so in PostgreSQL's words.
pub fn resolve(route: &Route, catalog: &Catalog, values: &dyn Values) -> Result<Target, Error> {
    match route {
        Route::Any => Ok(Target::Any),
        Route::Shard(shard) => Ok(Target::Shard(*shard)),
        Route::Catalog => Ok(Target::Catalog),
        Route::Key(keys) => {
            let _ = (keys, catalog, values);
            Err(Error::internal("not built"))
        }
    }
}
