//! Expressions as data: what PostgreSQL makes of a type, with typed holes.
//!
//! `{i4}` is a hole for an expression of that type (see [`Type::short`]), `{@}` one of the template's own type, `{?}` one of any
//! type, the same throughout the template, and `{0-3}` a number. What may fail for some values is not here: whether it
//! fails could depend on the order in which a server looks at rows. Neither is what makes equal values that look different.

use super::types::Type::{
    self, Bool, Bytea, Date, Float8, Int2, Int4, Int8, IntArray, Interval, Jsonb, Money, Mood,
    Numeric, Text, TextC, TextIcu, Timestamp, TimestampTz, Uuid,
};

/// For every type.
pub const ANY: &[&str] = &[
    "CASE WHEN {b} THEN {@} ELSE {@} END",
    "CASE {?} WHEN {?} THEN {@} WHEN {?} THEN {@} END",
    "coalesce({@}, {@})",
    "coalesce({@}, {@}, {@})",
    "nullif({@}, {@})",
    "greatest({@}, {@})",
    "least({@}, {@}, {@})",
];

const TEXTS: &[&str] = &[
    "upper({@})", "lower({@})", "({@} || {@})", "substr({@}, {1-3}, {1-4})", "left({@}, {1-3})",
    "right({@}, {1-3})", "replace({@}, 'a', 'é')", "reverse({@})", "initcap({@})", "btrim({@})",
    "lpad({@}, {1-6}, '*')", "split_part({@}, ' ', {1-2})", "translate({@}, 'ab', 'xy')",
    "repeat({@}, {0-2})", "overlay({@} placing 'x' from {1-2})", "trim(both 'a' from {@})",
    "regexp_replace({@}, '[aeiou]', '*', 'g')", "substring({@} from '[a-z]+')",
];

pub fn templates(ty: Type) -> &'static [&'static str] {
    match ty {
        Bool => &[
            "({?} = {?})", "({?} <> {?})", "({?} < {?})", "({?} <= {?})", "({?} > {?})", "({?} >= {?})",
            "({?} = {?})", "({?} < {?})", "({?} > {?})",
            "({?} IS DISTINCT FROM {?})", "({?} IS NOT DISTINCT FROM {?})", "({?} IS NULL)",
            "({?} IS NOT NULL)", "({?} BETWEEN {?} AND {?})", "({?} NOT BETWEEN {?} AND {?})",
            "({?} BETWEEN SYMMETRIC {?} AND {?})", "({?} IN ({?}, {?}, {?}))", "({?} NOT IN ({?}, {?}))",
            "({?} = ANY (ARRAY[{?}, {?}]))", "({?} <> ALL (ARRAY[{?}, {?}]))", "({?} < ANY (ARRAY[{?}, {?}]))",
            "({b} AND {b})", "({b} OR {b})", "(NOT {b})", "({b} OR {b})", "({b} AND NOT {b})",
            "({b} IS TRUE)", "({b} IS NOT TRUE)", "({b} IS UNKNOWN)", "({b} IS NOT FALSE)",
            "({t} LIKE '%a%')", "({t} NOT LIKE 'a%')", "({t} ILIKE 'A_%')", "({t} ~ '^[a-m]')", "({t} !~* 'b')",
            "({tc} LIKE 'z%')", "({t} SIMILAR TO '(a|b)%')", "starts_with({t}, {t})", "({ti} LIKE '_')",
            "({ia} && {ia})", "({ia} @> {ia})", "({i4} = ANY ({ia}))", "({i4} <> ALL ({ia}))",
            "({j} ? 'a')", "({j} @> {j})", "({j} ?| ARRAY['a', 'b'])", "({j} @? '$.a')",
            "(({i4}, {t}) = ({i4}, {t}))", "(({i8}, {d}) < ({i8}, {d}))", "(({i4}, {i8}) IS DISTINCT FROM ({i4}, {i8}))",
            "(({i8}, {i4}) IN (({i8}, {i4}), ({i8}, {i4})))", "(ROW({i4}, {t}) IS NOT NULL)",
            "isfinite({tz})", "(({d}, {d}) OVERLAPS ({d}, {d}))", "({i4} % 10 = {0-9})", "({i8} % 3 = {0-2})",
            "({n2} > {i4})", "({i4} = {i8})", "({i2} < {i4})", "({f} > {i4})", "({d} < {ts})", "({n} < {n2})",
            "({f} = 'NaN')", "({m} > 'sad')",
        ],
        Int2 => &["({@} / '2'::int2)", "abs({@})", "(- {@})", "({@} % '5'::int2)"],
        Int4 => &[
            "({i4} + {i4})", "({i4} - {i4})", "({i4} % {2-9})", "({i4} / {2-4})", "abs({i4})", "(- {i4})",
            "({i4} % 100 * {2-7})", "length({t})", "{i2}::int4", "({i2} + {i4})", "({d} - {d})", "{b}::int4",
            "cardinality({ia})", "({ia})[{1-2}]", "coalesce(array_length({ia}, 1), 0)", "strpos({t}, 'a')",
            "ascii({tc})", "octet_length({by})", "num_nulls({?}, {i4})", "extract(year FROM {d})::int4",
            "extract(dow FROM {ts})::int4", "date_part('day', {iv})::int4", "({i4} & {0-7})", "({i4} # {i4})",
            "(~ {i4})", "gcd({i4}, {2-9})", "bit_length({t})", "sign({i4})::int4", "array_position({ia}, {1-3})",
            "position('b' in {t})", "width_bucket({i4}, 0, 50, {2-5})",
        ],
        Int8 => &[
            "({i8} / 4 + {i8} / 4)", "({i8} / 4 - {i4})", "({i8} % {2-1000})", "{i4}::int8", "{i2}::int8", "abs({i8})",
            "({i8} % 1000 * {i2})", "({i8} & {1-15})", "({i8} >> {1-8})", "hashint8extended({i8}, {0-1}) % 5",
        ],
        Money => &[
            "({n2} + {n2})", "({n2} - {n2})", "abs({n2})", "(- {n2})", "({n2} * {0-3})", "round({n}, 2)",
            "{i4}::numeric(12,2)", "round({n2} * 1.5, 2)", "round({f}::numeric, 2)", "trunc({n}, 2)",
            "round({n2} / nullif({i4}, 0), 2)", "mod({n2}, {2-5})",
        ],
        Numeric => &[
            "{n2}", "({n2} * {n2})", "({n2} / nullif({n2}, 0))", "({n} + {n2})", "({n} - {n})", "{i8}::numeric",
            "({i8}::numeric + {i8})", "round({n}, {0-3})", "ceil({n})", "floor({n2})", "sqrt(abs({n2}))",
            "({n2} * 0.1)", "({i4} / 3.0)", "sign({n})", "extract(epoch FROM {ts})", "({n2} ^ {0-2})",
            "div({n2}, {2-4})", "scale({n2})::numeric",
        ],
        Float8 => &["({f} + {f})", "({f} - {f})", "({f} * 0.5)", "abs({f})", "{i4}::float8", "({f} + {i4})", "floor({f})"],
        Text => &[
            "upper({@})", "lower({@})", "({@} || {@})", "substr({@}, {1-3}, {1-4})", "left({@}, {1-3})",
            "replace({@}, 'a', 'é')", "reverse({@})", "md5({t})", "{i4}::text", "{i8}::text", "{n2}::text",
            "to_char({n2}, 'FM999999990.00')", "to_char({ts}, 'YYYY-MM')", "to_char({d}, 'Day DD Mon')",
            "({j} ->> 'a')", "concat({t}, {i4})", "concat_ws(',', {t}, {d}, {b})", "format('%s-%s', {t}, {i4})",
            "quote_literal({t})", "quote_nullable({t})", "encode({by}, 'hex')", "{m}::text", "{b}::text", "{d}::text", "to_hex({i4})",
            "({t} || {i4})", "chr(64 + abs({i4} % 20))", "to_char({iv}, 'HH24:MI')", "{u}::text", "{f}::text",
            "array_to_string({ia}, '-', 'x')", "to_char({i4}, 'RN')", "jsonb_typeof({j})", "pg_typeof({?})::text",
            "lpad({t}, {1-6}, '*')", "initcap({t})", "split_part({t}, ' ', {1-2})",
        ],
        TextC | TextIcu => TEXTS,
        Date => &[
            "({d} + {0-5})", "({d} - {1-40})", "{ts}::date", "date_trunc('month', {ts})::date", "({d} + {iv})::date",
            "make_date(2024, {1-12}, {1-28})", "to_date('2024-{1-9}-1', 'YYYY-MM-DD')",
        ],
        Timestamp => &[
            "({ts} + {iv})", "({ts} - {iv})", "date_trunc('day', {ts})", "date_trunc('hour', {ts})", "{d}::timestamp",
            "({d} + time '10:30')",
        ],
        TimestampTz => &[
            "({tz} + {iv})", "({tz} - {iv})", "date_trunc('hour', {tz})", "date_trunc('day', {tz}, 'UTC')",
            "({ts} AT TIME ZONE 'UTC')",
        ],
        Interval => &["({iv} + {iv})", "({iv} * {2-3})", "(- {iv})", "({ts} - {ts})", "make_interval(hours => {0-3})"],
        Uuid => &["md5({t})::uuid"],
        Bytea => &[
            "({by} || {by})", "decode(md5({t}), 'hex')", "convert_to({t}, 'UTF8')", "substr({by}, {1-2})", "sha256({by})",
        ],
        IntArray => &[
            "({ia} || {i4})", "ARRAY[{i4}, {i4}]", "array_append({ia}, {0-9})", "array_remove({ia}, {1-2})",
            "({ia})[1:{1-2}]", "array_cat({ia}, {ia})", "array_replace({ia}, 1, {5-6})",
        ],
        Jsonb => &[
            "jsonb_build_object('a', {i4}, 'b', {t})", "({j} -> 'a')", "to_jsonb({i4})", "jsonb_build_array({i4}, {b})",
            "jsonb_strip_nulls({j})", "to_jsonb({t})", "({j} #> '{a,1}')", "to_jsonb({ia})",
        ],
        Mood => &["CASE WHEN {b} THEN 'ok'::mood ELSE {m} END"],
    }
}

/// Aggregates whose value does not depend on the order of rows, with what they make.
pub const AGGREGATES: &[(Type, &str)] = &[
    (Int8, "count(*)"), (Int8, "count(*)"), (Int8, "count({?})"), (Int8, "count(DISTINCT {?})"),
    (Int8, "sum({i4})"), (Int8, "sum({i2})"), (Int8, "sum(DISTINCT {i4})"),
    (Numeric, "sum({i8})"), (Money, "sum({n2})"), (Money, "sum(DISTINCT {n2})"), (Numeric, "sum({n})"),
    (Float8, "sum({f})"), (Interval, "sum({iv})"),
    (Numeric, "avg({i4})"), (Numeric, "avg({n2})"), (Numeric, "avg({i8})"), (Numeric, "avg(DISTINCT {i4})"),
    (Float8, "avg({f})"), (Interval, "avg({iv})"), (Numeric, "avg({i2})"),
    (Int4, "min({i4})"), (Int8, "max({i8})"), (Money, "min({n2})"), (Money, "max({n2})"), (Text, "min({t})"),
    (Text, "max({t})"), (TextC, "min({tc})"), (TextC, "max({tc})"), (TextIcu, "min({ti})"), (TextIcu, "max({ti})"),
    (Date, "max({d})"), (Date, "min({d})"), (Timestamp, "max({ts})"), (TimestampTz, "min({tz})"),
    (TimestampTz, "max({tz})"), (Float8, "max({f})"), (Float8, "min({f})"), (Mood, "min({m})"), (Mood, "max({m})"),
    (Int2, "max({i2})"), (IntArray, "max({ia})"), (Numeric, "max({n})"),
    (Bool, "bool_and({b})"), (Bool, "bool_or({b})"), (Bool, "every({b})"),
    (Int4, "bit_and({i4})"), (Int4, "bit_or({i4})"), (Int8, "bit_or({i8})"),
    (Numeric, "stddev({i4})"), (Numeric, "var_pop({i4})"), (Numeric, "stddev_samp({n2})"), (Numeric, "variance({i2})"),
    (Int8, "regr_count({f}, {f})"),
];

/// Those that must say the order, of which `ORDER BY` the value itself is a total one.
pub const ORDERED_AGGREGATES: &[(Type, &str)] = &[
    (Text, "string_agg({t}, ',' ORDER BY {t})"), (TextC, "string_agg({tc}, ',' ORDER BY {tc} DESC)"),
    (Text, "string_agg(DISTINCT {i4}::text, ',' ORDER BY {i4}::text)"), (TextIcu, "string_agg({ti}, '' ORDER BY {ti} DESC NULLS LAST)"),
    (IntArray, "array_agg({i4} ORDER BY {i4})"), (IntArray, "array_agg({i4} ORDER BY {t} DESC, {i4} NULLS FIRST)"),
    (IntArray, "array_agg(DISTINCT {i4} ORDER BY {i4} DESC)"), (Jsonb, "jsonb_agg({t} ORDER BY {t})"),
    (Jsonb, "jsonb_agg({i4} ORDER BY {d}, {i4} DESC)"), (Bytea, "string_agg({by}, '\\x' ORDER BY {by})"),
    (Text, "array_to_string(array_agg({t} ORDER BY {i8}, {t}), '/')"),
    (Float8, "percentile_cont(0.5) WITHIN GROUP (ORDER BY {f})"), (Money, "percentile_disc(0.25) WITHIN GROUP (ORDER BY {n2} DESC)"),
    (Date, "percentile_disc(0.5) WITHIN GROUP (ORDER BY {d})"), (Int4, "mode() WITHIN GROUP (ORDER BY {i4})"),
    (Text, "mode() WITHIN GROUP (ORDER BY {t})"), (Int8, "rank('5'::int4) WITHIN GROUP (ORDER BY {i4})"),
];

/// Window functions; `OVER` follows. Those behind the number need a total order.
pub const WINDOW_FUNCTIONS: (&[(Type, &str)], &[(Type, &str)]) = (
    &[
        (Int8, "rank()"), (Int8, "dense_rank()"), (Float8, "percent_rank()"), (Float8, "cume_dist()"),
        (Int8, "count(*)"), (Int8, "sum({i4})"), (Money, "sum({n2})"), (Numeric, "avg({n2})"), (Int4, "min({i4})"),
        (Text, "max({t})"), (Float8, "sum({f})"), (Int8, "count({?})"), (Bool, "bool_or({b})"), (Date, "max({d})"),
    ],
    &[
        (Int8, "row_number()"), (Int4, "ntile({2-4})"), (Int4, "lag({i4})"), (Text, "lead({t}, {1-3}, {t})"),
        (Date, "first_value({d})"), (Money, "last_value({n2})"), (Int8, "nth_value({i8}, {1-3})"), (Text, "lag({t}, 2)"),
    ],
);
