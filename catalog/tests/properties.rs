//! Properties of shard maps and key values that hold without a server.

use std::collections::BTreeMap;

use catalog::{
    Error, HashShardMap, Key, KeyRange, KeyType, KeyValue, ListShardMap, Placement, Point,
    RangeShardMap, ShardId, ShardMap, ValueError,
};
use proptest::prelude::*;

fn shard_ids() -> impl Strategy<Value = Vec<ShardId>> {
    prop::collection::btree_set(any::<u32>().prop_map(ShardId), 1..12)
        .prop_map(|ids| ids.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

fn hash_map() -> impl Strategy<Value = HashShardMap> {
    (shard_ids(), 0_u32..50).prop_map(|(shards, virtual_nodes)| {
        match virtual_nodes {
            0 => HashShardMap::even(&shards),
            _ => HashShardMap::consistent(&shards, virtual_nodes),
        }
        .expect("valid")
    })
}

fn integer_key(number: i64) -> Key {
    Box::new([KeyValue::Int(number)])
}

fn key_type() -> impl Strategy<Value = KeyType> {
    prop::sample::select(&KeyType::ALL[..])
}

fn value(key_type: KeyType) -> BoxedStrategy<KeyValue> {
    match key_type {
        KeyType::Int2 => any::<i16>()
            .prop_map(|number| KeyValue::Int(number.into()))
            .boxed(),
        KeyType::Int4 => any::<i32>()
            .prop_map(|number| KeyValue::Int(number.into()))
            .boxed(),
        KeyType::Int8 => any::<i64>().prop_map(KeyValue::Int).boxed(),
        KeyType::Text | KeyType::Varchar => "[^\0]*"
            .prop_map(|text| KeyValue::Text(text.into()))
            .boxed(),
        KeyType::Bpchar => "[^\0]*"
            .prop_map(|text| KeyValue::Text(text.trim_end_matches(' ').into()))
            .boxed(),
        KeyType::Uuid => any::<[u8; 16]>().prop_map(KeyValue::Uuid).boxed(),
        KeyType::Date => (-2_451_545..2_145_031_949_i32)
            .prop_map(KeyValue::Date)
            .boxed(),
        KeyType::Timestamp | KeyType::Timestamptz => (-211_813_488_000_000_000
            ..9_223_371_331_200_000_000_i64)
            .prop_map(KeyValue::Timestamp)
            .boxed(),
        KeyType::Bool => any::<bool>().prop_map(KeyValue::Bool).boxed(),
        KeyType::Bytea => any::<Vec<u8>>()
            .prop_map(|bytes| KeyValue::Bytea(bytes.into()))
            .boxed(),
    }
}

fn typed_value() -> impl Strategy<Value = (KeyType, KeyValue)> {
    key_type().prop_flat_map(|key_type| (Just(key_type), value(key_type)))
}

/// How many of the 2^64 points each shard has.
fn shares(map: &HashShardMap) -> BTreeMap<ShardId, u128> {
    let mut shares = BTreeMap::new();
    for (start, end, shard) in map.ranges() {
        let end = end.map_or(1_i128 << 63, |end| end.0.into());
        *shares.entry(shard).or_default() += (end - i128::from(start.0)) as u128;
    }
    shares
}

/// The points that `to` places otherwise than `from`, counted by their two shards.
fn moves(from: &HashShardMap, to: &HashShardMap) -> BTreeMap<(ShardId, ShardId), u128> {
    let mut cuts: Vec<Point> = from
        .ranges()
        .chain(to.ranges())
        .map(|(start, _, _)| start)
        .collect();
    cuts.sort();
    cuts.dedup();
    let ends = cuts
        .iter()
        .skip(1)
        .map(|cut| i128::from(cut.0))
        .chain([1 << 63]);
    let mut moves = BTreeMap::new();
    for (start, end) in cuts.iter().zip(ends) {
        let (source, target) = (from.shard(*start), to.shard(*start));
        if source != target {
            *moves.entry((source, target)).or_default() += (end - i128::from(start.0)) as u128;
        }
    }
    moves
}

proptest! {
    #[test]
    fn hash_maps_cover_every_point_once(map in hash_map(), point in any::<i64>()) {
        prop_assert_eq!(shares(&map).values().sum::<u128>(), 1 << 64);
        let holders: Vec<ShardId> = map
            .ranges()
            .filter(|(start, end, _)| *start <= Point(point) && end.is_none_or(|end| Point(point) < end))
            .map(|(_, _, shard)| shard)
            .collect();
        prop_assert_eq!(holders, vec![map.shard(Point(point))]);
    }

    #[test]
    fn hash_maps_come_back_from_their_placements(map in hash_map(), rotation in any::<prop::sample::Index>()) {
        let mut placements = map.placements();
        let middle = rotation.index(placements.len());
        placements.rotate_left(middle);
        prop_assert_eq!(HashShardMap::from_placements(&placements), Ok(map));
    }

    #[test]
    fn a_gap_or_an_overlap_is_refused(map in hash_map(), which in any::<prop::sample::Index>()) {
        let placements = map.placements();
        let which = which.index(placements.len());
        let mut short = placements.clone();
        short.remove(which);
        let refusal = HashShardMap::from_placements(&short);
        prop_assert!(matches!(refusal, Err(Error::PointGap { .. } | Error::MapWithoutShard)), "{:?}", refusal);
        let mut twice = placements.clone();
        twice.push(placements[which].clone());
        let refusal = HashShardMap::from_placements(&twice);
        prop_assert!(matches!(refusal, Err(Error::PointOverlap { .. })), "{:?}", refusal);
    }

    #[test]
    fn even_shares_differ_by_one_point_at_most(shards in shard_ids()) {
        let map = HashShardMap::even(&shards).expect("valid");
        let shares = shares(&map);
        prop_assert_eq!(shares.len(), shards.len());
        let (least, most) = (shares.values().min(), shares.values().max());
        prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1));
    }

    #[test]
    fn one_shard_more_takes_from_all_alike_and_moves_nothing_else(shards in shard_ids(), added in any::<u32>()) {
        let added = ShardId(added);
        prop_assume!(!shards.contains(&added));
        let before = HashShardMap::consistent(&shards, 512).expect("valid");
        let more: Vec<ShardId> = [added].into_iter().chain(shards.iter().copied()).collect();
        let after = HashShardMap::consistent(&more, 512).expect("valid");
        let moves = moves(&before, &after);
        let share = (1_u128 << 64) / more.len() as u128;
        for ((source, target), points) in &moves {
            prop_assert_eq!(*target, added);
            // 512 places scatter a share by about 6 %, and what one shard gives by much more: the bound is one that chance
            // does not cross.
            let fair = share / shards.len() as u128;
            prop_assert!(fair / 10 < *points && *points < fair * 10, "{} of {} from {}", points, fair, source);
        }
        prop_assert_eq!(moves.len(), shards.len());
        let moved: u128 = moves.values().sum();
        prop_assert!(share * 2 / 3 < moved && moved < share * 3 / 2, "{} of {}", moved, share);
    }

    #[test]
    fn consistent_maps_ignore_the_order_of_shards(shards in shard_ids()) {
        let mut reversed = shards.clone();
        reversed.reverse();
        prop_assert_eq!(HashShardMap::consistent(&shards, 8), HashShardMap::consistent(&reversed, 8));
    }

    #[test]
    fn range_maps_find_what_a_search_finds(
        bounds in prop::collection::btree_set(-50_i64..50, 2..12),
        owners in prop::collection::vec(prop::option::of(0_u32..4), 13),
        probe in -60_i64..60,
    ) {
        // The bounds cut the line into intervals; each is on a shard or on none.
        let bounds: Vec<Option<i64>> = bounds.into_iter().map(Some).collect();
        let lowers = [None].into_iter().chain(bounds.iter().copied());
        let uppers = bounds.iter().copied().chain([None]);
        let intervals: Vec<_> = lowers
            .zip(uppers)
            .zip(&owners)
            .filter_map(|((lower, upper), owner)| Some((lower, upper, ShardId((*owner)?))))
            .collect();
        prop_assume!(!intervals.is_empty());
        let map = RangeShardMap::new(
            intervals.iter().rev().map(|(lower, upper, shard)| (lower.map(integer_key), upper.map(integer_key), *shard)),
        )
        .expect("valid");
        let expected = intervals
            .iter()
            .find(|(lower, upper, _)| lower.is_none_or(|lower| lower <= probe) && upper.is_none_or(|upper| probe < upper))
            .map(|(_, _, shard)| *shard);
        prop_assert_eq!(map.shard(&[KeyValue::Int(probe)]), expected);
        prop_assert_eq!(RangeShardMap::from_placements(&map.placements()), Ok(map));
    }

    #[test]
    fn overlapping_ranges_are_refused(a in -9_i64..9, b in 1_i64..9, c in -9_i64..9, d in 1_i64..9) {
        let interval = |from: i64, size: i64, shard| (Some(integer_key(from)), Some(integer_key(from + size)), ShardId(shard));
        let result = RangeShardMap::new([interval(a, b, 1), interval(c, d, 2)]);
        if a < c + d && c < a + b {
            prop_assert!(matches!(result, Err(Error::RangeOverlap { .. })), "{:?}", result);
        } else {
            prop_assert!(result.is_ok(), "{:?}", result);
        }
    }

    #[test]
    fn list_maps_place_what_is_listed(
        listed in prop::collection::btree_map(0_i64..20, 0_u32..4, 1..10),
        default in prop::option::of(0_u32..4),
        probe in 0_i64..20,
    ) {
        let keys = listed.iter().map(|(number, shard)| (integer_key(*number), ShardId(*shard)));
        let map = ListShardMap::new(keys, default.map(ShardId)).expect("valid");
        let expected = listed.get(&probe).copied().or(default).map(ShardId);
        prop_assert_eq!(map.shard(&[KeyValue::Int(probe)]), expected);
        prop_assert_eq!(ListShardMap::from_placements(&map.placements()), Ok(map));
    }

    #[test]
    fn text_form_leads_back((key_type, value) in typed_value()) {
        let text = value.to_text(key_type);
        prop_assert_eq!(KeyValue::from_text(key_type, &text), Ok(value.clone()));
        prop_assert_eq!(KeyValue::from_typed_text(key_type.oid(), &text, key_type), Ok(value.clone()));
        prop_assert!(value.fits(key_type));
    }

    #[test]
    fn no_input_panics(key_type in key_type(), oid in prop::sample::select(&[0_u32, 16, 17, 20, 21, 23, 25, 705, 1042, 1043, 1082, 1114, 1184, 1700, 2950][..]),
        text in any::<String>(), bytes in any::<Vec<u8>>()) {
        let _ = KeyValue::from_text(key_type, &text);
        let _ = KeyValue::from_typed_text(oid, &text, key_type);
        if let Ok(value) = KeyValue::from_binary(oid, &bytes, key_type) {
            prop_assert!(value.fits(key_type));
        }
    }

    #[test]
    fn integers_convert_between_widths_or_are_out_of_range(number in any::<i64>(), shift in 0_u32..64) {
        let number = number >> shift;
        let bytes = number.to_be_bytes();
        let expected = |fits: bool| if fits { Ok(KeyValue::Int(number)) } else { Err(ValueError::OutOfRange) };
        let convert = |target: KeyType| KeyValue::from_binary(KeyType::Int8.oid(), &bytes, target);
        prop_assert_eq!(convert(KeyType::Int8), expected(true));
        prop_assert_eq!(convert(KeyType::Int4), expected(i32::try_from(number).is_ok()));
        prop_assert_eq!(convert(KeyType::Int2), expected(i16::try_from(number).is_ok()));
        prop_assert_eq!(convert(KeyType::Text), Err(ValueError::Ambiguous));
    }
}

#[test]
fn conversions_that_depend_on_settings_or_use_are_ambiguous() {
    let day = KeyValue::Date(1);
    assert_eq!(
        day.clone().convert(KeyType::Date, KeyType::Timestamp),
        Ok(KeyValue::Timestamp(86_400_000_000))
    );
    assert_eq!(
        KeyValue::Date(i32::MIN).convert(KeyType::Date, KeyType::Timestamp),
        Ok(KeyValue::Timestamp(i64::MIN))
    );
    assert_eq!(
        KeyValue::Date(2_000_000_000).convert(KeyType::Date, KeyType::Timestamp),
        Err(ValueError::OutOfRange)
    );
    assert_eq!(
        day.convert(KeyType::Date, KeyType::Timestamptz),
        Err(ValueError::Ambiguous)
    );
    for (source, target) in [
        (KeyType::Timestamp, KeyType::Timestamptz),
        (KeyType::Timestamptz, KeyType::Timestamp),
        (KeyType::Timestamp, KeyType::Date),
        (KeyType::Timestamptz, KeyType::Date),
    ] {
        assert_eq!(
            KeyValue::Timestamp(0).convert(source, target),
            Err(ValueError::Ambiguous)
        );
    }
    let padded = || KeyValue::Text("a ".into());
    let bare = Ok(KeyValue::Text("a".into()));
    assert_eq!(padded().convert(KeyType::Bpchar, KeyType::Text), bare);
    assert_eq!(padded().convert(KeyType::Text, KeyType::Bpchar), bare);
    assert_eq!(
        padded().convert(KeyType::Varchar, KeyType::Text),
        Ok(padded())
    );
}

#[test]
fn wire_forms_of_the_wrong_size_or_range_are_refused() {
    for (key_type, bytes, expected) in [
        (KeyType::Int4, &[0_u8; 3][..], ValueError::Invalid),
        (KeyType::Int8, &[], ValueError::Invalid),
        (KeyType::Uuid, &[0; 17], ValueError::Invalid),
        (KeyType::Bool, &[], ValueError::Invalid),
        (KeyType::Text, &[0], ValueError::Invalid),
        (KeyType::Text, &[0xff], ValueError::Ambiguous),
        (KeyType::Date, &[0x80, 0, 0, 1], ValueError::OutOfRange),
        (
            KeyType::Timestamp,
            &[0x80, 0, 0, 0, 0, 0, 0, 1],
            ValueError::OutOfRange,
        ),
    ] {
        assert_eq!(
            KeyValue::from_binary(key_type.oid(), bytes, key_type),
            Err(expected),
            "{key_type} {bytes:?}"
        );
    }
    assert_eq!(
        KeyValue::from_binary(16, &[2], KeyType::Bool),
        Ok(KeyValue::Bool(true))
    );
    assert_eq!(
        KeyValue::from_binary(0, &[0, 7], KeyType::Int2),
        Ok(KeyValue::Int(7))
    );
    assert_eq!(
        KeyValue::from_binary(1700, &[0, 7], KeyType::Int2),
        Err(ValueError::Ambiguous)
    );
}

#[test]
fn faults_of_shard_maps_are_named() {
    let points = |start: i64, end: Option<i64>, shard: u32| Placement {
        range: KeyRange::Points {
            start: Point(start),
            end: end.map(Point),
        },
        shard: ShardId(shard),
    };
    let hash = |placements: &[Placement]| {
        HashShardMap::from_placements(placements)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let range = |intervals: &[(Option<i64>, Option<i64>)]| {
        RangeShardMap::new(
            intervals
                .iter()
                .map(|(lower, upper)| (lower.map(integer_key), upper.map(integer_key), ShardId(1))),
        )
        .map(|_| ())
        .map_err(|error| error.to_string())
    };
    let cases = [
        (
            HashShardMap::even(&[])
                .map(|_| ())
                .map_err(|error| error.to_string()),
            "a shard map needs at least one shard",
        ),
        (
            HashShardMap::even(&[ShardId(3), ShardId(3)])
                .map(|_| ())
                .map_err(|error| error.to_string()),
            "shard 3 is listed twice",
        ),
        (
            HashShardMap::consistent(&[ShardId(3)], 0)
                .map(|_| ())
                .map_err(|error| error.to_string()),
            "0 virtual nodes per shard: must be 1 to 4096",
        ),
        (
            hash(&[points(0, None, 1)]),
            "no placement covers the points from -9223372036854775808 to 0",
        ),
        (
            hash(&[points(i64::MIN, Some(5), 1)]),
            "no placement covers the points from 5 on",
        ),
        (
            hash(&[points(i64::MIN, None, 1), points(5, None, 2)]),
            "two placements cover the point 5",
        ),
        (
            hash(&[points(5, Some(5), 1)]),
            "the placement [5, 5) on shard 1 is empty",
        ),
        (
            range(&[(Some(3), Some(3))]),
            "the placement [3, 3) on shard 1 is empty",
        ),
        (
            range(&[(None, Some(3)), (Some(2), None)]),
            "the placements [, 3) on shard 1 and [2, ) on shard 1 overlap",
        ),
        (
            ListShardMap::new(
                [(integer_key(1), ShardId(1)), (integer_key(1), ShardId(2))],
                None,
            )
            .map(|_| ())
            .map_err(|error| error.to_string()),
            "the key 1 is placed twice",
        ),
        (
            RangeShardMap::from_placements(&[points(0, None, 1)])
                .map(|_| ())
                .map_err(|error| error.to_string()),
            "a range shard map cannot have the placement [0, ) on shard 1",
        ),
    ];
    for (result, message) in cases {
        assert_eq!(result, Err(message.to_owned()));
    }
}

#[test]
fn an_unmapped_key_is_named() {
    let map = ShardMap::Range(
        RangeShardMap::new([(Some(integer_key(0)), None, ShardId(1))]).expect("valid"),
    );
    let unmapped = map
        .shard(&[KeyType::Int8], &[KeyValue::Int(-1)])
        .expect_err("unmapped");
    assert_eq!(unmapped.to_string(), "no shard holds the key -1");
    assert_eq!(unmapped.sqlstate(), "23514");
    assert!(map.shard(&[KeyType::Int8], &[]).is_err());
}
