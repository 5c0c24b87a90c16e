//! Text input against a real server's input functions, on hand-picked and on randomly spoiled strings, under several
//! settings: a value must be the server's under all of them, a refusal must be the server's too.

mod support;

use std::collections::BTreeMap;

use catalog::{KeyType, KeyValue, ValueError};
use support::random::Random;
use support::{copy_field, copy_statement, received, send_function, server};

const RANDOM_STRINGS: usize = 4_000;

/// Under which dates and zones read differently.
const SETTINGS: [(&str, &str); 4] = [
    ("ISO, MDY", "UTC"),
    ("SQL, DMY", "America/New_York"),
    ("German, YMD", "Asia/Kathmandu"),
    ("Postgres, MDY", "-15:59"),
];

#[test]
fn integers() {
    for key_type in [KeyType::Int2, KeyType::Int4, KeyType::Int8] {
        check(key_type, INTEGERS, "0123456789+-_xXoObBaAfF. \t\ne");
    }
}

#[test]
fn strings() {
    for key_type in [KeyType::Text, KeyType::Varchar, KeyType::Bpchar] {
        check(key_type, STRINGS, "a \t\n'\\é漢\u{a0}");
    }
}

#[test]
fn uuids() {
    check(KeyType::Uuid, UUIDS, "0123456789abcdefABCDEFgG-{} ");
}

#[test]
fn booleans() {
    check(KeyType::Bool, BOOLEANS, "truefalseyesnoTRUEFALSEYESNO01 \t");
}

#[test]
fn bytea() {
    check(KeyType::Bytea, BYTEAS, "\\x0123456789abcdefABCDEFgX \n\té");
}

#[test]
fn dates() {
    check(KeyType::Date, MOMENTS, "0123456789-:./ TZ+BCbc,");
}

#[test]
fn timestamps() {
    check(KeyType::Timestamp, MOMENTS, "0123456789-:./ TZ+BCbc,");
}

#[test]
fn timestamps_with_zone() {
    check(KeyType::Timestamptz, MOMENTS, "0123456789-:./ TZ+BCbc,");
}

fn check(key_type: KeyType, chosen: &[&str], alphabet: &str) {
    let mut strings: Vec<String> = chosen.iter().map(|text| (*text).to_owned()).collect();
    let mut random = Random(key_type.oid().into());
    let alphabet: Vec<char> = alphabet.chars().collect();
    strings.extend((0..RANDOM_STRINGS).map(|_| spoil(&mut random, key_type, &alphabet)));
    let settings = match key_type {
        KeyType::Date | KeyType::Timestamp | KeyType::Timestamptz => &SETTINGS[..],
        _ => &SETTINGS[..1],
    };

    let mut outcomes: BTreeMap<usize, Vec<Option<KeyValue>>> = BTreeMap::new();
    for (date_style, time_zone) in settings {
        for line in ask(key_type, &strings, date_style, time_zone).lines() {
            let (index, wire) = line.split_once('\t').expect("two fields");
            let value = (wire != "error").then(|| received(key_type, wire));
            outcomes
                .entry(index.parse().expect("an index"))
                .or_default()
                .push(value);
        }
    }
    assert_eq!(outcomes.len(), strings.len());

    let (mut values, mut refusals, mut ambiguous) = (0, 0, 0);
    for (text, outcomes) in strings.iter().zip(outcomes.values()) {
        match KeyValue::from_text(key_type, text) {
            Ok(value) => {
                values += 1;
                assert!(
                    outcomes
                        .iter()
                        .all(|outcome| outcome.as_ref() == Some(&value)),
                    "{key_type} {text:?}: read as {value:?}, by the server as {outcomes:?}"
                );
            }
            Err(ValueError::Invalid | ValueError::OutOfRange) => {
                refusals += 1;
                assert!(
                    outcomes.iter().all(Option::is_none),
                    "{key_type} {text:?}: refused, by the server read as {outcomes:?}"
                );
            }
            Err(ValueError::Ambiguous) => ambiguous += 1,
        }
    }
    // Had nearly nothing been decided, nothing would have been tested.
    assert!(
        values > strings.len() / 20,
        "{values} values, {refusals} refusals, {ambiguous} ambiguous"
    );
    assert!(
        ambiguous < strings.len() * 19 / 20,
        "{values} values, {refusals} refusals, {ambiguous} ambiguous"
    );
}

/// Index and wire form, or `error`, of each string as the server's input function reads it.
fn ask(key_type: KeyType, strings: &[String], date_style: &str, time_zone: &str) -> String {
    let lines = strings
        .iter()
        .enumerate()
        .map(|(index, text)| vec![index.to_string(), copy_field(text)]);
    server::shared().run(&format!(
        "CREATE FUNCTION pg_temp.read(input text) RETURNS text LANGUAGE plpgsql AS $$
         BEGIN
             RETURN encode({}(input::{}), 'hex');
         EXCEPTION WHEN data_exception OR syntax_error OR configuration_limit_exceeded THEN
             RETURN 'error';
         END $$;
         CREATE TEMPORARY TABLE strings (index integer, input text);
         {}
         SET DateStyle = '{date_style}'; SET TimeZone = '{time_zone}';
         SELECT index, pg_temp.read(input) FROM strings ORDER BY index;",
        send_function(key_type),
        key_type.name(),
        copy_statement("strings", lines),
    ))
}

/// A valid string with a few characters put in, taken out or exchanged.
fn spoil(random: &mut Random, key_type: KeyType, alphabet: &[char]) -> String {
    let mut characters: Vec<char> = random.value(key_type).to_text(key_type).chars().collect();
    if matches!(
        key_type,
        KeyType::Date | KeyType::Timestamp | KeyType::Timestamptz
    ) && random.below(2) == 0
    {
        characters = moment(random).chars().collect();
    }
    for _ in 0..random.below(4) {
        let at = random.below(characters.len() as u64 + 1) as usize;
        match random.below(3) {
            0 => characters.insert(at, *random.pick(alphabet)),
            1 if at < characters.len() => drop(characters.remove(at)),
            _ if at < characters.len() => characters[at] = *random.pick(alphabet),
            _ => characters.push(*random.pick(alphabet)),
        }
    }
    characters.into_iter().collect()
}

/// A date, perhaps with a time and an offset, near enough to right that every limit is crossed now and then.
fn moment(random: &mut Random) -> String {
    let year = *random.pick(&[
        "0000", "0001", "0044", "1900", "2000", "2023", "2024", "4713", "4714", "9999", "12345",
        "294276",
    ]);
    let mut text = format!("{year}-{:02}-{:02}", random.below(14), random.below(33));
    if random.below(3) > 0 {
        text += *random.pick(&[" ", "T", "  ", "t"]);
        text += &format!("{:02}:{:02}", random.below(26), random.below(62));
        if random.below(4) > 0 {
            text += &format!(":{:02}", random.below(62));
            if random.below(2) == 0 {
                text += &format!(".{}", random.below(10_000_000));
            }
        }
        if random.below(3) > 0 {
            text += *random.pick(&["", " "]);
            text += *random.pick(&[
                "Z",
                "z",
                "UTC",
                "+00",
                "-05:30",
                "+0545",
                "+15:59:59",
                "-16",
                "+5",
                "+053",
                "+05:3",
                "+12:60",
            ]);
        }
    }
    text += *random.pick(&["", "", "", " BC", " AD", "BC", " bc"]);
    text
}

const INTEGERS: &[&str] = &[
    "",
    " ",
    "0",
    "-0",
    "+0",
    "00",
    "-00012",
    "42",
    " 42 ",
    "\t42\n",
    "\x0b42\x0c\r",
    "\u{a0}42",
    "4 2",
    "+",
    "-",
    "--1",
    "+-1",
    "- 1",
    "1-",
    "1.0",
    "1.",
    ".1",
    "1e3",
    "1,000",
    "1_000",
    "1__000",
    "_1",
    "1_",
    "0x1F",
    "0xg",
    "0x",
    "-0x8000",
    "0o17",
    "0b101",
    "32767",
    "32768",
    "-32768",
    "-32769",
    "2147483647",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
];

const STRINGS: &[&str] = &[
    "", " ", "  a  ", "a", "a\n", "a\n ", "a\t ", "é", "\u{a0}", "\\",
];

const UUIDS: &[&str] = &[
    "",
    "00000000-0000-0000-0000-000000000000",
    "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
    "a0eebc999c0b4ef8bb6d6bb9bd380a11",
    "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
    "{a0eebc999c0b4ef8bb6d6bb9bd380a11}",
    "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
    "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-",
    "-a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "a0-eebc999c0b4ef8bb6d6bb9bd380a11",
    "a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11",
    "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
    "{{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}}",
    " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 ",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
    "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
];

const BOOLEANS: &[&str] = &[
    "", " ", "t", "tr", "tru", "true", "TRUE", "True", " true ", "\ttrue\n", "truee", "f", "fa",
    "fal", "fals", "false", "y", "ye", "yes", "yess", "n", "no", "non", "o", "on", "ON", "onn",
    "of", "off", "offf", "1", "0", "01", "10", "2", "-1", "+1", "1.0",
];

const BYTEAS: &[&str] = &[
    "",
    "\\x",
    "\\x00",
    "\\xDEadBEef",
    "\\xDE ad\nBE\tef\r",
    "\\x0",
    "\\x0 0",
    "\\x000",
    "\\xgg",
    "\\X00",
    " \\x00",
    "\\x 00",
    "\\x00 ",
    "abc",
    "a b",
    "é",
    "\\\\",
    "\\",
    "\\\\\\",
    "\\000",
    "\\377",
    "\\400",
    "\\08",
    "\\0",
    "\\001\\002",
    "a\\134b",
    "'",
    "x00",
];

const MOMENTS: &[&str] = &[
    "",
    " ",
    "2024-02-29",
    " 2024-02-29 ",
    "\t2024-02-29\n",
    "2023-02-29",
    "1900-02-29",
    "2000-02-29",
    "2024-2-9",
    "2024-13-01",
    "2024-00-01",
    "2024-01-00",
    "2024-01-32",
    "2024-04-31",
    "0000-01-01",
    "0001-01-01",
    "0001-01-01 BC",
    "0001-01-01 bc",
    "0001-02-29 BC",
    "0005-02-29 BC",
    "0001-01-01BC",
    "0001-01-01 AD",
    "0000-01-01 BC",
    "4714-11-24 BC",
    "4714-11-23 BC",
    "5874897-12-31",
    "5874898-01-01",
    "9999999-01-01",
    "12345678-01-01",
    "294276-12-31",
    "294277-01-01",
    "99999-12-31",
    "24-02-29",
    "024-02-29",
    "20240229",
    "2024-060",
    "2024.02.29",
    "2024/02/29",
    "02/03/2024",
    "29.02.2024",
    "Feb 29 2024",
    "29-Feb-2024",
    "2024-Feb-29",
    "J2460370",
    "infinity",
    "-infinity",
    "Infinity",
    "-INFINITY",
    "+infinity",
    "inf",
    "-inf",
    "- infinity",
    "epoch",
    "now",
    "today",
    "tomorrow",
    "yesterday",
    "allballs",
    "2024-02-29 12:34",
    "2024-02-29 12:34:56",
    "2024-02-29T12:34:56",
    "2024-02-29t12:34:56",
    "2024-02-29 12:34:56.7",
    "2024-02-29 12:34:56.",
    "2024-02-29 12:34:56.123456",
    "2024-02-29 12:34:56.1234567",
    "2024-02-29 12:34:56.0000005",
    "2024-02-29 12:34:56.9999999",
    "2024-02-29 1:02:03",
    "2024-02-29 12:3:4",
    "2024-02-29 12",
    "2024-02-29 24:00:00",
    "2024-02-29 24:00:01",
    "2024-02-29 25:00",
    "2024-02-29 12:60",
    "2024-02-29 12:34:60",
    "2024-02-29 12:34:61",
    "2024-02-29 12:34 PM",
    "2024-02-29 12:34:56Z",
    "2024-02-29 12:34:56 Z",
    "2024-02-29 12:34:56z",
    "2024-02-29 12:34:56+00",
    "2024-02-29 12:34:56 +00",
    "2024-02-29 12:34:56+05:30",
    "2024-02-29 12:34:56-0530",
    "2024-02-29 12:34:56+053015",
    "2024-02-29 12:34:56+05:30:15",
    "2024-02-29 12:34:56-15:59:59",
    "2024-02-29 12:34:56+16",
    "2024-02-29 12:34:56+15:60",
    "2024-02-29 12:34:56+5",
    "2024-02-29 12:34:56+530",
    "2024-02-29 12:34:56 UTC",
    "2024-02-29 12:34:56 EST",
    "2024-02-29 12:34:56 Europe/Paris",
    "2024-02-29+05",
    "2024-02-29 +05",
    "2024-02-29Z",
    "2024-02-29 12:34:56+00 BC",
    "0044-03-15 12:34:56 BC",
    "0044-03-15 BC 12:34:56",
    "4714-11-24 00:00:00+00 BC",
    "4714-11-24 00:00:00+01 BC",
    "294276-12-31 23:59:59.999999+00",
    "294276-12-31 23:59:59.999999-01",
    "294277-01-01 00:59:59+01",
];
