//! Route and values to a shard.
//!
//! Entry point: [`resolve`]. Pure and free of allocation for a single scalar key.

use catalog::{Catalog, Group, KeyValue, ShardId};
use smallvec::SmallVec;

use crate::array::array_elements;
use crate::convert::{number_key, text_key};
use crate::parameter::{parameter_elements, parameter_key};
use crate::{Error, KeyRole, KeyRoute, KeySource, KeyTuple, Route, RowKey, Values};

/// How many distinct shards an error names.
const NAMED_SHARDS: usize = 8;

/// How many combinations of array elements a composite key may have.
const COMBINATIONS: usize = 10_000;

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
        Route::Key(keys) => resolve_keys(keys, catalog, values),
    }
}

/// All shards that a route's keys lead to, in order.
///
/// Errors: as [`resolve`], but for keys on several shards, and 0A000 for a route that does not go by key.
pub fn resolve_all(
    route: &Route,
    catalog: &Catalog,
    values: &dyn Values,
) -> Result<Vec<ShardId>, Error> {
    let Route::Key(keys) = route else {
        return Err(Error::unsupported(
            "this statement does not go by shard key",
        ));
    };
    let mut shards = shards_of(keys, catalog, values, usize::MAX)?.to_vec();
    if shards.is_empty() {
        shards.extend(first_shard(keys, catalog));
    }
    shards.sort();
    Ok(shards)
}

fn resolve_keys(route: &KeyRoute, catalog: &Catalog, values: &dyn Values) -> Result<Target, Error> {
    match shards_of(route, catalog, values, NAMED_SHARDS)?.as_slice() {
        // No key can match: any shard will do that has the tables.
        [] => Ok(first_shard(route, catalog).map_or(Target::Any, Target::Shard)),
        [shard] => Ok(Target::Shard(*shard)),
        several => Err(Error::SeveralShards {
            shards: several
                .iter()
                .map(|shard| {
                    catalog
                        .shard(*shard)
                        .map_or_else(|| shard.to_string(), |shard| shard.name.clone())
                })
                .collect(),
        }),
    }
}

/// The distinct shards of the keys, `most` at most.
fn shards_of(
    route: &KeyRoute,
    catalog: &Catalog,
    values: &dyn Values,
    most: usize,
) -> Result<SmallVec<[ShardId; 2]>, Error> {
    let mut shards: SmallVec<[ShardId; 2]> = SmallVec::new();
    shards.extend(route.also);
    for tuple in &route.keys {
        let group = catalog.group(tuple.group).ok_or_else(|| {
            Error::internal("a plan names a colocation group that the catalog does not have")
        })?;
        resolve_tuple(tuple, group, values, &mut |key| {
            let shard = shard_of(group, key)?;
            if !shards.contains(&shard) && shards.len() < most {
                shards.push(shard);
            }
            Ok(())
        })?;
    }
    Ok(shards)
}

/// The shard of one row that is stored, and its key; `None`: a value is NULL, or none that the column takes.
pub(crate) fn row_shard(
    tuple: &KeyTuple,
    catalog: &Catalog,
    values: &dyn Values,
) -> Result<Option<(ShardId, RowKey)>, Error> {
    let group = catalog.group(tuple.group).ok_or_else(|| {
        Error::internal("a plan names a colocation group that the catalog does not have")
    })?;
    let mut found = None;
    resolve_tuple(tuple, group, values, &mut |key| {
        found = Some((shard_of(group, key)?, key.iter().cloned().collect()));
        Ok(())
    })?;
    Ok(found)
}

fn first_shard(route: &KeyRoute, catalog: &Catalog) -> Option<ShardId> {
    catalog
        .group(route.keys.first()?.group)?
        .map
        .shards()
        .first()
        .copied()
}

fn shard_of(group: &Group, key: &[KeyValue]) -> Result<ShardId, Error> {
    group
        .map
        .shard(&group.types, key)
        .map_err(|error| Error::Unmapped {
            message: "no placement covers the shard key".into(),
            detail: Some(error.to_string()),
        })
}

/// One column's possible values.
type Choices = SmallVec<[KeyValue; 1]>;

/// Hands every key of the tuple to `each`. A column without any value means that there is none.
fn resolve_tuple(
    tuple: &KeyTuple,
    group: &Group,
    values: &dyn Values,
    each: &mut dyn FnMut(&[KeyValue]) -> Result<(), Error>,
) -> Result<(), Error> {
    if tuple.sources.len() != group.types.len() {
        return Err(Error::internal(
            "a plan's key has another number of columns than its colocation group",
        ));
    }
    if let [KeySource::Constant(value)] = tuple.sources.as_slice() {
        return each(std::slice::from_ref(value));
    }
    let mut columns: SmallVec<[Choices; 2]> = SmallVec::new();
    for (source, key_type) in tuple.sources.iter().zip(&tuple.types) {
        let choices = choices(source, *key_type, values)?;
        if choices.is_empty() {
            return Ok(());
        }
        columns.push(choices);
    }
    if let [only] = columns.as_slice() {
        return only
            .iter()
            .try_for_each(|value| each(std::slice::from_ref(value)));
    }
    if columns
        .iter()
        .try_fold(1usize, |product, column| product.checked_mul(column.len()))
        .is_none_or(|n| n > COMBINATIONS)
    {
        return Err(Error::TooComplex {
            message: "too many combinations of shard key values".into(),
        });
    }
    let mut at: SmallVec<[usize; 4]> = columns.iter().map(|_| 0).collect();
    loop {
        let key: SmallVec<[KeyValue; 4]> = columns
            .iter()
            .zip(&at)
            .map(|(column, at)| column[*at].clone())
            .collect();
        each(&key)?;
        let Some(next) = (0..at.len())
            .rev()
            .find(|column| at[*column] + 1 < columns[*column].len())
        else {
            return Ok(());
        };
        at[next] += 1;
        at[next + 1..].fill(0);
    }
}

fn choices(
    source: &KeySource,
    key_type: catalog::KeyType,
    values: &dyn Values,
) -> Result<Choices, Error> {
    match source {
        KeySource::Constant(value) => Ok(smallvec::smallvec![value.clone()]),
        KeySource::Parameter {
            index,
            cast,
            array,
            shared,
            role,
        } => {
            // A parameter that was not bound: the server says so.
            let Some(value) = values.parameter(*index) else {
                return Ok(Choices::new());
            };
            if *array {
                Ok(parameter_elements(value, *cast, *shared, key_type, *role)?
                    .unwrap_or_default()
                    .into())
            } else {
                Ok(parameter_key(value, *cast, *shared, key_type, *role)?
                    .into_iter()
                    .collect())
            }
        }
        KeySource::Literal {
            index,
            negative,
            cast,
            array,
            role,
        } => {
            let text = values
                .literal(*index)
                .ok_or_else(|| Error::internal("a lifted literal is missing"))?;
            let Some(quoted) = text.strip_prefix('\'') else {
                let key = if *negative {
                    number_key(&format!("-{text}"), key_type, *role)
                } else {
                    number_key(text, key_type, *role)
                };
                return Ok(key?.into_iter().collect());
            };
            let inner = quoted.strip_suffix('\'').unwrap_or(quoted);
            let unquoted = if inner.contains('\'') {
                std::borrow::Cow::Owned(inner.replace("''", "'"))
            } else {
                inner.into()
            };
            if *array {
                array_keys(&unquoted, *cast, key_type, *role)
            } else {
                Ok(text_key(&unquoted, *cast, key_type, *role)?
                    .into_iter()
                    .collect())
            }
        }
    }
}

/// Every element of an array literal.
pub(crate) fn array_keys(
    text: &str,
    cast: Option<catalog::KeyType>,
    key_type: catalog::KeyType,
    role: KeyRole,
) -> Result<Choices, Error> {
    let elements = array_elements(text).ok_or_else(|| {
        Error::unsupported("the array that gives the shard keys is not a plain list")
            .with_hint("Use IN (…) instead.")
    })?;
    let mut keys = Choices::new();
    for element in elements.iter().flatten() {
        keys.extend(text_key(element, cast, key_type, role)?);
    }
    Ok(keys)
}
