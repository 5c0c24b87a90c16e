//! A new shard map, as the arguments of `pgweave.shard_table` describe it.
//!
//! Entry point: [`new_map`].

use catalog::{
    Catalog, HashShardMap, Key, KeyType, KeyValue, ListShardMap, RangeShardMap, ShardId, ShardMap,
};

use super::arguments::Arguments;
use crate::ddl::error::{Answer, Error};

/// Points per shard of a consistent layout. Each is a bound in the placement guard, so not too many.
const VIRTUAL_NODES: u32 = 32;

pub(super) fn new_map(
    catalog: &Catalog,
    arguments: &Arguments<'_>,
    by: &str,
    types: &[KeyType],
) -> Result<ShardMap, Error> {
    let shards = shards(catalog, arguments)?;
    let out_of_place = |names: &[&str]| match names.iter().find(|name| arguments.has(name)) {
        Some(name) => {
            Err(Answer::new(format!("{name} does not go with by => '{by}'")).invalid_argument())
        }
        None => Ok(()),
    };
    match by {
        "hash" => {
            out_of_place(&["bounds", "values", "default_shard"])?;
            let layout = arguments
                .text("layout")?
                .unwrap_or_else(|| "even".to_owned())
                .to_lowercase();
            let map = match layout.as_str() {
                "even" => HashShardMap::even(&shards),
                "consistent" => HashShardMap::consistent(
                    &shards,
                    arguments.number("virtual_nodes")?.unwrap_or(VIRTUAL_NODES),
                ),
                other => {
                    return Err(Answer::new(format!("there is no layout \"{other}\""))
                        .hint("Use even or consistent.")
                        .invalid_argument());
                }
            };
            map.map(ShardMap::Hash).map_err(invalid_map)
        }
        "range" => {
            out_of_place(&["layout", "virtual_nodes", "values", "default_shard"])?;
            range_map(arguments, types, &shards)
        }
        "list" => {
            out_of_place(&["layout", "virtual_nodes", "bounds"])?;
            list_map(catalog, arguments, types, &shards)
        }
        other => Err(
            Answer::new(format!("there is no sharding function \"{other}\""))
                .hint("Use hash, range or list.")
                .invalid_argument(),
        ),
    }
}

fn range_map(
    arguments: &Arguments<'_>,
    types: &[KeyType],
    shards: &[ShardId],
) -> Result<ShardMap, Error> {
    let bounds = arguments.keys("bounds")?.unwrap_or_default();
    let bounds: Vec<Option<Key>> = bounds
        .iter()
        .map(|bound| {
            bound
                .as_ref()
                .map(|bound| read_key(types, bound))
                .transpose()
        })
        .collect::<Result<_, _>>()?;
    let all: Vec<Option<Key>> = if bounds.len() + 1 == shards.len() {
        std::iter::once(None)
            .chain(bounds)
            .chain(std::iter::once(None))
            .collect()
    } else if bounds.len() == shards.len() + 1 {
        bounds
    } else {
        return Err(Answer::new(format!(
            "{} bounds do not fit {} shards",
            bounds.len(),
            shards.len()
        ))
        .hint(format!(
            "Give {} bounds between the shards, or {} with both ends.",
            shards.len().saturating_sub(1),
            shards.len() + 1
        ))
        .invalid_argument());
    };
    if all
        .iter()
        .skip(1)
        .take(shards.len().saturating_sub(1))
        .any(Option::is_none)
    {
        return Err(
            Answer::new("only the first and the last of the bounds may be NULL").invalid_argument(),
        );
    }
    let intervals = shards
        .iter()
        .enumerate()
        .map(|(index, shard)| (all[index].clone(), all[index + 1].clone(), *shard));
    RangeShardMap::new(intervals)
        .map(ShardMap::Range)
        .map_err(invalid_map)
}

fn list_map(
    catalog: &Catalog,
    arguments: &Arguments<'_>,
    types: &[KeyType],
    shards: &[ShardId],
) -> Result<ShardMap, Error> {
    let values = arguments.keys("values")?.unwrap_or_default();
    if values.len() != shards.len() {
        return Err(Answer::new(format!("{} values do not fit {} shards", values.len(), shards.len()))
            .hint("Give each value its shard: values => array['eu', 'us', 'ca'], shards => array['s1', 's2', 's2'].")
            .invalid_argument());
    }
    let mut keys = Vec::with_capacity(values.len());
    for (value, shard) in values.iter().zip(shards) {
        let value = value
            .as_ref()
            .ok_or_else(|| Answer::new("a shard key is never NULL").invalid_argument())?;
        keys.push((read_key(types, value)?, *shard));
    }
    let default = arguments
        .text("default_shard")?
        .map(|name| shard_named(catalog, &name))
        .transpose()?;
    ListShardMap::new(keys, default)
        .map(ShardMap::List)
        .map_err(invalid_map)
}

fn read_key(types: &[KeyType], texts: &[String]) -> Result<Key, Error> {
    if texts.len() != types.len() {
        return Err(Answer::new(format!(
            "a key of {} values does not fit a shard key of {} columns",
            texts.len(),
            types.len()
        ))
        .hint("Write each key as an array with one value per column.")
        .invalid_argument());
    }
    let value = |(key_type, text): (&KeyType, &String)| {
        KeyValue::from_text(*key_type, text).map_err(|error| {
            Answer::new(format!("\"{text}\" as a {}: {error}", key_type.name())).invalid_argument()
        })
    };
    types
        .iter()
        .zip(texts)
        .map(value)
        .collect::<Result<Vec<_>, _>>()
        .map(Vec::into_boxed_slice)
}

/// The shards that are asked for, or all.
fn shards(catalog: &Catalog, arguments: &Arguments<'_>) -> Result<Vec<ShardId>, Error> {
    match arguments.names("shards")? {
        None => Ok(catalog.shards().iter().map(|shard| shard.id).collect()),
        Some(names) => names
            .iter()
            .map(|name| shard_named(catalog, name))
            .collect(),
    }
}

pub(super) fn shard_named(catalog: &Catalog, name: &str) -> Result<ShardId, Error> {
    catalog
        .shard_by_name(name)
        .map(|shard| shard.id)
        .ok_or_else(|| {
            let names: Vec<&str> = catalog
                .shards()
                .iter()
                .map(|shard| shard.name.as_str())
                .collect();
            Answer::new(format!("there is no shard named \"{name}\""))
                .hint(format!("The shards are: {}.", names.join(", ")))
                .undefined_object()
        })
}

fn invalid_map(error: catalog::Error) -> Error {
    Answer::new(error.to_string()).invalid_argument()
}
