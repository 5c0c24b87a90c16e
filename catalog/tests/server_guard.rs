//! Placement guards on a real server: for every kind of shard map and key, the SQL is true exactly for the rows that
//! [`ShardMap::shard`] gives to the shard, and a CHECK constraint made of it lets in those and no others.

mod support;

use catalog::{
    HashShardMap, Key, KeyType, KeyValue, ListShardMap, RangeShardMap, ShardId, ShardMap,
};
use support::random::Random;
use support::{copy_field, copy_statement, server};

const ROWS: usize = 1_000;
const SHARDS: [ShardId; 4] = [ShardId(1), ShardId(2), ShardId(3), ShardId(4)];
/// Holds nothing in any map.
const STRANGER: ShardId = ShardId(9);

const KEYS: [&[KeyType]; 9] = [
    &[KeyType::Int4],
    &[KeyType::Int8],
    &[KeyType::Text],
    &[KeyType::Bpchar],
    &[KeyType::Uuid],
    &[KeyType::Date],
    &[KeyType::Timestamptz],
    &[KeyType::Bytea],
    &[KeyType::Varchar, KeyType::Bool, KeyType::Timestamp],
];

#[test]
fn even_hash_maps() {
    for types in KEYS {
        for count in 1..=SHARDS.len() {
            let map = HashShardMap::even(&SHARDS[..count]).expect("valid");
            check(types, &ShardMap::Hash(map), &random_keys(types));
        }
    }
}

#[test]
fn consistent_hash_maps() {
    for types in KEYS {
        for virtual_nodes in [1, 40] {
            let map = HashShardMap::consistent(&SHARDS, virtual_nodes).expect("valid");
            check(types, &ShardMap::Hash(map), &random_keys(types));
        }
    }
}

#[test]
fn range_maps() {
    for types in KEYS {
        let keys = random_keys(types);
        let bounds = bounds(&keys);
        let between = |from: usize, to: usize, shard: usize| {
            let bound = |at: usize| Some(bounds[at].clone());
            (bound(from), bound(to), SHARDS[shard])
        };
        // Several intervals on a shard, neighbours, a gap, and both ends open.
        let open = [
            (None, Some(bounds[0].clone()), SHARDS[0]),
            between(0, 1, 1),
            between(1, 2, 0),
            between(3, 4, 2),
            (Some(bounds[4].clone()), None, SHARDS[3]),
        ];
        let closed = [between(0, 2, 0), between(2, 3, 1)];
        for map in [RangeShardMap::new(open), RangeShardMap::new(closed)] {
            check(types, &ShardMap::Range(map.expect("valid")), &keys);
        }
        let whole = RangeShardMap::new([(None, None, SHARDS[2])]).expect("valid");
        check(types, &ShardMap::Range(whole), &keys);
    }
}

#[test]
fn list_maps() {
    for types in KEYS {
        let keys = random_keys(types);
        let listed = bounds(&keys);
        let placed = || {
            listed
                .iter()
                .cloned()
                .zip([SHARDS[0], SHARDS[1], SHARDS[1], SHARDS[2], SHARDS[0]])
        };
        for default in [None, Some(SHARDS[0]), Some(SHARDS[3])] {
            let map = ListShardMap::new(placed(), default).expect("valid");
            check(types, &ShardMap::List(map), &keys);
        }
        let only_default = ListShardMap::new([], Some(SHARDS[1])).expect("valid");
        check(types, &ShardMap::List(only_default), &keys);
    }
}

fn random_keys(types: &[KeyType]) -> Vec<Key> {
    let mut random = Random(11);
    (0..ROWS)
        .map(|_| {
            types
                .iter()
                .map(|key_type| random.value(*key_type))
                .collect()
        })
        .collect()
}

/// Five different keys from the sample, in order.
fn bounds(keys: &[Key]) -> Vec<Key> {
    let mut sorted = keys.to_vec();
    sorted.sort();
    sorted.dedup();
    (1..=5)
        .map(|part| sorted[part * (sorted.len() - 1) / 6].clone())
        .collect()
}

fn check(types: &[KeyType], map: &ShardMap, keys: &[Key]) {
    let server = server::shared();
    // Names that need their quotes, and a collation whose order and case are not those of bytes, where there is one.
    let names: Vec<String> = (1..=types.len())
        .map(|number| format!("Select \"{number}\""))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let collation = server.value(
        "SELECT coalesce((SELECT 'COLLATE \"en-x-icu\"' FROM pg_collation WHERE collname = 'en-x-icu'), '')",
    );
    let definitions: Vec<String> = names
        .iter()
        .zip(types)
        .map(|(name, key_type)| {
            let collation = match key_type {
                KeyType::Text | KeyType::Varchar | KeyType::Bpchar => collation.as_str(),
                _ => "",
            };
            format!(
                "{} {} {collation}",
                catalog::quote_identifier(name),
                key_type.name()
            )
        })
        .collect();
    let lines = keys.iter().map(|key| {
        let owner = map.shard(types, key).map_or(0, |shard| shard.0);
        let values = key
            .iter()
            .zip(types)
            .map(|(value, key_type)| copy_field(&value.to_text(*key_type)));
        std::iter::once(owner.to_string()).chain(values).collect()
    });
    let mut script = format!(
        "SET DateStyle = 'Postgres, DMY'; SET TimeZone = 'America/St_Johns'; SET standard_conforming_strings = off;
         CREATE TEMPORARY TABLE rows (owner integer, {});
         {}",
        definitions.join(", "),
        copy_statement("rows", lines),
    );
    for shard in SHARDS.into_iter().chain([STRANGER]) {
        let guard = map.guard_expression(types, &names, shard);
        script.push_str(&format!(
            "SELECT 'guard', {shard}, count(*) FROM rows WHERE ({guard}) IS DISTINCT FROM (owner = {shard});"
        ));
    }
    // The same as a constraint, which the server stores as a tree and reads back without the settings above.
    let (shard, guard) = (SHARDS[0], map.guard_expression(types, &names, SHARDS[0]));
    script.push_str(&format!(
        "CREATE TEMPORARY TABLE guarded (LIKE rows, CHECK ({guard}));
         INSERT INTO guarded SELECT * FROM rows WHERE owner = {shard};
         DO $$ BEGIN
             INSERT INTO guarded SELECT * FROM rows WHERE owner <> {shard} LIMIT 1;
             IF FOUND THEN RAISE 'shard {shard} accepts a row of another'; END IF;
         EXCEPTION WHEN check_violation THEN NULL; END $$;"
    ));
    let output = server.run(&script);
    let expected: String = SHARDS
        .into_iter()
        .chain([STRANGER])
        .map(|shard| format!("guard\t{shard}\t0\n"))
        .collect();
    assert_eq!(output, expected, "{types:?} {map:?}");
}

#[test]
fn a_null_key_is_neither_in_nor_out() {
    let server = server::shared();
    for types in KEYS {
        let names: Vec<String> = (1..=types.len())
            .map(|number| format!("k{number}"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let columns: Vec<String> = names
            .iter()
            .zip(types)
            .map(|(name, key_type)| format!("NULL::{} AS {name}", key_type.name()))
            .collect();
        let map = ShardMap::Hash(HashShardMap::even(&SHARDS).expect("valid"));
        for shard in SHARDS {
            let guard = map.guard_expression(types, &names, shard);
            let answer = server.value(&format!(
                "SELECT ({guard}) IS NULL FROM (SELECT {}) AS row",
                columns.join(", ")
            ));
            assert_eq!(answer, "t", "{types:?}");
        }
    }
}

#[test]
fn literals_mean_the_value_under_any_settings() {
    let server = server::shared();
    let mut random = Random(5);
    for key_type in KeyType::ALL {
        let values: Vec<KeyValue> = (0..400).map(|_| random.value(key_type)).collect();
        for settings in ["off", "on"] {
            let mut script = format!(
                "SET DateStyle = 'German'; SET TimeZone = 'Asia/Kathmandu';
                 SET standard_conforming_strings = {settings}; SET escape_string_warning = on;\n"
            );
            for value in &values {
                script.push_str(&format!(
                    "SELECT encode({}({}), 'hex');\n",
                    support::send_function(key_type),
                    value.to_sql_literal(key_type)
                ));
            }
            let output = server.run(&script);
            let read: Vec<KeyValue> = output
                .lines()
                .map(|line| support::received(key_type, line))
                .collect();
            assert_eq!(read, values, "{key_type}");
        }
    }
}
