//! The tables that queries read, and their rows.
//!
//! Sharded by hash, colocated and not, by one column and by two, by text, by range; one of them empty; a reference and an
//! unsharded table. Columns of the same name have the same type, so that any two tables can be joined naturally. Keys are
//! skewed.

use super::dice::Dice;
use super::types::Type::{
    self, Bool, Bytea, Date, Float8, Int2, Int4, Int8, IntArray, Interval, Jsonb, Money, Mood,
    Numeric, Text, TextC, TextIcu, Timestamp, TimestampTz, Uuid,
};

/// A table, and how pgweave places it.
pub struct Table {
    pub name: &'static str,
    /// The first ones are the primary key.
    pub columns: &'static [(&'static str, Type)],
    pub key_columns: usize,
    /// The operator's call; empty for a table that nobody declares.
    place: &'static str,
    rows: usize,
}

const K: (&str, Type) = ("k", Int8);
const ID: (&str, Type) = ("id", Int4);
const T: (&str, Type) = ("t", Text);

pub const TABLES: &[Table] = &[
    Table {
        name: "customers",
        columns: &[
            K,
            ("i4", Int4),
            T,
            ("tc", TextC),
            ("n2", Money),
            ("d", Date),
            ("m", Mood),
            ("b", Bool),
            ("ti", TextIcu),
        ],
        key_columns: 1,
        place: "pgweave.shard_table('customers', 'k')",
        rows: 14,
    },
    Table {
        name: "orders",
        columns: &[
            K,
            ID,
            ("i2", Int2),
            ("n2", Money),
            ("n", Numeric),
            ("ts", Timestamp),
            ("tz", TimestampTz),
            ("f", Float8),
            T,
        ],
        key_columns: 2,
        place: "pgweave.shard_table('orders', 'k', colocate_with => 'customers')",
        rows: 45,
    },
    Table {
        name: "items",
        columns: &[
            ("a", Int8),
            ID,
            ("i4", Int4),
            ("i8", Int8),
            ("f", Float8),
            ("j", Jsonb),
            ("ia", IntArray),
            ("u", Uuid),
            ("m", Mood),
        ],
        key_columns: 2,
        place: "pgweave.shard_table('items', 'a, id')",
        rows: 40,
    },
    Table {
        name: "visits",
        columns: &[
            ("i4", Int4),
            ID,
            K,
            ("tz", TimestampTz),
            ("iv", Interval),
            ("by", Bytea),
            ("b", Bool),
            ("tc", TextC),
        ],
        key_columns: 2,
        place: "pgweave.shard_table('visits', 'i4', colocate_with => 'none')",
        rows: 30,
    },
    Table {
        name: "tags",
        columns: &[
            T,
            ID,
            ("i8", Int8),
            ("tc", TextC),
            ("m", Mood),
            ("u", Uuid),
            ("n", Numeric),
            ("ti", TextIcu),
        ],
        key_columns: 2,
        place: "pgweave.shard_table('tags', 't', colocate_with => 'none')",
        rows: 30,
    },
    Table {
        name: "events",
        columns: &[
            ("d", Date),
            ID,
            K,
            ("f", Float8),
            ("n2", Money),
            ("ts", Timestamp),
            ("iv", Interval),
            ("j", Jsonb),
            ("i2", Int2),
        ],
        key_columns: 2,
        place: "pgweave.shard_table('events', 'd', by => 'range', shards => array[{shards}], bounds => array[{bounds}])",
        rows: 35,
    },
    Table {
        name: "empties",
        columns: &[
            K,
            ("i4", Int4),
            T,
            ("n2", Money),
            ("f", Float8),
            ("ts", Timestamp),
        ],
        key_columns: 1,
        place: "pgweave.shard_table('empties', 'k', colocate_with => 'customers')",
        rows: 0,
    },
    Table {
        name: "countries",
        columns: &[
            ("i4", Int4),
            T,
            ("tc", TextC),
            ("n2", Money),
            ("m", Mood),
            ("i2", Int2),
        ],
        key_columns: 1,
        place: "pgweave.reference_table('countries')",
        rows: 7,
    },
    Table {
        name: "notes",
        columns: &[
            ID,
            K,
            T,
            ("d", Date),
            ("ia", IntArray),
            ("by", Bytea),
            ("b", Bool),
        ],
        key_columns: 1,
        place: "",
        rows: 9,
    },
];

/// Definitions for both sides. Where there is no ICU, its column has the default collation.
pub fn definitions(has_icu: bool) -> Vec<String> {
    let mut statements = vec!["CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')".to_owned()];
    for table in TABLES {
        let mut columns: Vec<String> = table
            .columns
            .iter()
            .map(|(name, ty)| format!("{name} {}", declared(*ty, has_icu)))
            .collect();
        columns.push(format!("PRIMARY KEY ({})", table.key().join(", ")));
        statements.push(format!(
            "CREATE TABLE {} ({})",
            table.name,
            columns.join(", ")
        ));
    }
    statements
}

/// The operator's calls, for pgweave alone.
pub fn placements(shards: usize) -> Vec<String> {
    let names: Vec<String> = (1..=shards).map(|shard| format!("'s{shard}'")).collect();
    let bounds = ["2024-01-31", "2024-02-10", "2024-06-15", "2030-01-01"];
    let bounds: Vec<String> = bounds[..shards - 1]
        .iter()
        .map(|bound| format!("'{bound}'"))
        .collect();
    let calls = TABLES.iter().filter(|table| !table.place.is_empty());
    calls
        .map(|table| {
            let call = table.place.replace("{shards}", &names.join(", "));
            format!("SELECT {}", call.replace("{bounds}", &bounds.join(", ")))
        })
        .collect()
}

/// One INSERT for each row, as a row goes to one shard. A row whose key was there before is not inserted.
pub fn rows(seed: u64) -> Vec<String> {
    let mut dice = Dice::new(seed, u64::MAX);
    let mut statements = Vec::new();
    for table in TABLES {
        for row in 0..table.rows {
            let values: Vec<String> = table
                .columns
                .iter()
                .enumerate()
                .map(|(column, (name, ty))| match *name {
                    "id" => (row + 1).to_string(),
                    // Skewed, but for where it is the whole key.
                    "k" | "a" if column == 0 && table.key_columns == 1 => (row + 1).to_string(),
                    "i4" if column == 0 && table.key_columns == 1 => (row + 1).to_string(),
                    "k" | "a" if column < table.key_columns => {
                        (dice.skewed_below(12) + 1).to_string()
                    }
                    "k" if dice.percent(85) => (dice.skewed_below(16) + 1).to_string(),
                    _ if column >= table.key_columns && dice.percent(18) => "NULL".to_owned(),
                    _ => format!("'{}'", ty.value(&mut dice)),
                })
                .collect();
            statements.push(format!(
                "INSERT INTO {} VALUES ({}) ON CONFLICT DO NOTHING",
                table.name,
                values.join(", ")
            ));
        }
    }
    statements
}

/// Empties one shard, directly: the keys of a table's rows there, and what deletes a row with such a key anywhere.
pub fn sparing(table: &Table) -> (String, impl Fn(&str) -> String) {
    let row = format!("ROW({})::text", table.key().join(", "));
    let name = table.name;
    let keys = format!("SELECT {row} FROM {name}");
    (keys, move |key: &str| {
        format!(
            "DELETE FROM {name} WHERE {row} = '{}'",
            key.replace('\'', "''")
        )
    })
}

impl Table {
    pub fn is_sharded(&self) -> bool {
        self.place.contains("shard_table")
    }

    pub fn key(&self) -> Vec<&'static str> {
        self.columns[..self.key_columns]
            .iter()
            .map(|(name, _)| *name)
            .collect()
    }
}

fn declared(ty: Type, has_icu: bool) -> &'static str {
    match ty {
        Money => "numeric(10,2)",
        TextC => "text COLLATE \"C\"",
        TextIcu if has_icu => "text COLLATE \"en-x-icu\"",
        other => other.name(),
    }
}
