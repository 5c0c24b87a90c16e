//! The sharding function against a real server: our points, the points by SQL and the server's own placement of rows in
//! hash partitions agree on 100,000 random values of every type, as do wire form, text form and order.

mod support;

use catalog::{HASH_SEED, KeyType, KeyValue, hash_point, point_expression};
use support::random::Random;
use support::{copy_field, copy_statement, received, send_function, server};

const VALUES: usize = 100_000;

/// What `compute_partition_hash_value` makes of one column's hash: it combines it with a zero.
const PARTITION_CONSTANT: u64 = 0x49a0_f4dd_15e5_a8e3;

/// A prime, so that the remainder depends on every bit of the point.
const MODULUS: u64 = 2_147_483_647;

#[test]
fn the_server_uses_these_hash_functions() {
    let server = server::shared();
    let version: u32 = server
        .value("SHOW server_version_num")
        .parse()
        .expect("a number");
    for key_type in KeyType::ALL {
        let function = server.value(&format!(
            "SELECT p.amproc::text FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod
             JOIN pg_amproc p ON p.amprocfamily = o.opcfamily AND p.amprocnum = 2
                 AND p.amproclefttype = o.opcintype AND p.amprocrighttype = o.opcintype
             WHERE m.amname = 'hash' AND o.opcdefault AND o.opcintype = {}",
            // varchar has no operator class of its own and takes that of text.
            if key_type == KeyType::Varchar {
                KeyType::Text
            } else {
                key_type
            }
            .oid()
        ));
        // Newer names for the same hashes, as the other tests show there.
        let expected = match key_type {
            KeyType::Date if version >= 180_000 => "hashdateextended",
            KeyType::Timestamptz if version >= 180_000 => "timestamptz_hash_extended",
            KeyType::Bool if version >= 180_000 => "hashboolextended",
            KeyType::Bytea if version >= 180_000 => "hashbyteaextended",
            other => other.hash_function(),
        };
        assert_eq!(function, expected, "{key_type}");
    }
}

#[test]
fn integers_agree() {
    for key_type in [KeyType::Int2, KeyType::Int4, KeyType::Int8] {
        check_type(key_type);
        check_direct(key_type);
    }
}

#[test]
fn strings_agree() {
    for key_type in [
        KeyType::Text,
        KeyType::Varchar,
        KeyType::Bpchar,
        KeyType::Bytea,
    ] {
        check_type(key_type);
    }
}

#[test]
fn dates_and_times_agree() {
    for key_type in [KeyType::Date, KeyType::Timestamp, KeyType::Timestamptz] {
        check_type(key_type);
    }
}

#[test]
fn uuids_and_booleans_agree() {
    for key_type in [KeyType::Uuid, KeyType::Bool] {
        check_type(key_type);
    }
}

#[test]
fn composite_keys_agree() {
    check_points(&[KeyType::Int8, KeyType::Text], VALUES);
    check_points(
        &[KeyType::Uuid, KeyType::Int4, KeyType::Timestamptz],
        VALUES,
    );
    check_points(
        &[
            KeyType::Bytea,
            KeyType::Bpchar,
            KeyType::Date,
            KeyType::Bool,
        ],
        VALUES / 10,
    );
    check_points(
        &[
            KeyType::Int2,
            KeyType::Varchar,
            KeyType::Int8,
            KeyType::Timestamp,
        ],
        VALUES / 10,
    );
}

fn check_type(key_type: KeyType) {
    let values = check_points(&[key_type], VALUES);
    check_forms_and_order(key_type, &values);
}

/// Loads random keys with the points computed here, and asks the server which differ: by SQL, by partitioning.
/// Gives the first column's values.
fn check_points(types: &[KeyType], count: usize) -> Vec<KeyValue> {
    let server = server::shared();
    let mut random = Random(
        types
            .iter()
            .fold(1, |seed, key_type| seed * 100 + u64::from(key_type.oid())),
    );
    let keys: Vec<Vec<KeyValue>> = (0..count)
        .map(|_| {
            types
                .iter()
                .map(|key_type| random.value(*key_type))
                .collect()
        })
        .collect();
    let names: Vec<String> = (1..=types.len())
        .map(|number| format!("Key {number}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let definitions: Vec<String> = quoted
        .iter()
        .zip(types)
        .map(|(name, key_type)| format!("{name} {}", key_type.name()))
        .collect();

    let lines = keys.iter().enumerate().map(|(index, key)| {
        let point = hash_point(types, key).0;
        let partition = if types.len() == 1 {
            point.cast_unsigned().wrapping_add(PARTITION_CONSTANT)
        } else {
            point.cast_unsigned()
        };
        let mut fields = vec![
            index.to_string(),
            point.to_string(),
            (partition % MODULUS).to_string(),
        ];
        fields.extend(
            key.iter()
                .zip(types)
                .map(|(value, key_type)| copy_field(&value.to_text(*key_type))),
        );
        fields
    });
    let point = point_expression(types, &names);
    let (definitions, columns): (String, String) = (definitions.join(", "), quoted.join(", "));
    let load = copy_statement(&format!("rows (index, point, remainder, {columns})"), lines);
    // The generated column is there to show that the expression is immutable; the settings, that it does not depend on them.
    let differing = server.run(&format!(
        "CREATE TEMPORARY TABLE parent ({definitions}) PARTITION BY HASH ({columns});
         CREATE TEMPORARY TABLE rows (index integer, point bigint, remainder integer, {definitions},
             generated bigint GENERATED ALWAYS AS {point} STORED);
         {load}
         SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'SQL, DMY';
         SELECT 'point', index FROM rows WHERE {point} IS DISTINCT FROM point OR generated IS DISTINCT FROM point ORDER BY index LIMIT 5;
         SELECT 'partition', index FROM rows
             WHERE NOT satisfies_hash_partition('parent'::regclass, {MODULUS}, remainder, {columns})
             ORDER BY index LIMIT 5;
         SELECT 'count', count(*) FROM rows;"
    ));
    assert_eq!(
        differing,
        format!("count\t{count}\n"),
        "of {types:?}, where {}",
        explain(&differing, &keys)
    );
    keys.into_iter()
        .filter_map(|key| key.into_iter().next())
        .collect()
}

/// The type's own hash function called by its name.
fn check_direct(key_type: KeyType) {
    let server = server::shared();
    let mut random = Random(7);
    let lines = (0..VALUES).map(|_| {
        let value = random.value(key_type);
        let point = hash_point(&[key_type], std::slice::from_ref(&value));
        vec![value.to_text(key_type), point.to_string()]
    });
    let differing = server.run(&format!(
        "CREATE TEMPORARY TABLE rows (key {}, point bigint);
         {}
         SELECT key FROM rows WHERE {}(key, {HASH_SEED}) <> point LIMIT 5;",
        key_type.name(),
        copy_statement("rows", lines),
        key_type.hash_function(),
    ));
    assert_eq!(differing, "", "{key_type}");
}

/// The server's wire form of each value reads back to it, and the server's order is ours.
fn check_forms_and_order(key_type: KeyType, values: &[KeyValue]) {
    let server = server::shared();
    let lines = values
        .iter()
        .enumerate()
        .map(|(index, value)| vec![index.to_string(), copy_field(&value.to_text(key_type))]);
    let collation = match key_type {
        KeyType::Text | KeyType::Varchar | KeyType::Bpchar => "COLLATE \"C\"",
        _ => "",
    };
    let output = server.run(&format!(
        "CREATE TEMPORARY TABLE rows (index integer, key {});
         {}
         SELECT index, encode({}(key), 'hex') FROM rows ORDER BY key {collation};",
        key_type.name(),
        copy_statement("rows", lines),
        send_function(key_type),
    ));
    let mut previous: Option<&KeyValue> = None;
    let mut rows = 0;
    for line in output.lines() {
        let (index, wire) = line.split_once('\t').expect("two fields");
        let value = &values[index.parse::<usize>().expect("an index")];
        assert_eq!(received(key_type, wire), *value, "{key_type} in binary");
        assert_eq!(
            KeyValue::from_text(key_type, &value.to_text(key_type)).as_ref(),
            Ok(value)
        );
        assert!(
            previous.is_none_or(|previous| previous <= value),
            "{key_type}: {previous:?} before {value:?}"
        );
        previous = Some(value);
        rows += 1;
    }
    assert_eq!(rows, values.len());
}

fn explain(differing: &str, keys: &[Vec<KeyValue>]) -> String {
    differing
        .lines()
        .filter_map(|line| {
            let (what, index) = line.split_once('\t')?;
            let key = keys.get(index.parse::<usize>().ok()?)?;
            (what != "count").then(|| format!("{what} of {key:?} differs; "))
        })
        .collect()
}
