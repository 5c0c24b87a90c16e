//! What a user-defined function may touch, judged from the outside.
//!
//! Entry point: [`classify`]. The planner routes a call by the answer, so every doubt is [`Touches::Unknown`]: a function is
//! cleared only if it is IMMUTABLE, belongs to an extension that runs no SQL of others, or is written in SQL or
//! PL/pgSQL whose every identifier was looked at. Names in a body are compared with all relations of all schemas,
//! whatever the search path: too many matches refuse a statement, one too few would give a wrong answer.

use std::collections::{BTreeSet, HashMap, HashSet};

use catalog::{Function, Touches, Volatility};

use super::words::words;

/// A function as the system catalogs describe it.
#[derive(Debug, Clone)]
pub struct FunctionSource {
    pub schema: String,
    pub name: String,
    pub volatility: Volatility,
    pub language: String,
    /// The text of the body, for SQL and PL/pgSQL.
    pub body: String,
    /// The extension that owns it.
    pub extension: Option<String>,
    /// An aggregate, and whether all functions it is made of are immutable or PostgreSQL's own.
    pub aggregate: Option<bool>,
}

/// Extensions with functions that run SQL given to them as text.
const EXTENSIONS_RUNNING_SQL: &[&str] = &[
    "dblink",
    "tablefunc",
    "xml2",
    "pg_cron",
    "pg_background",
    "plv8",
    "postgres_fdw",
];

/// Words in a body that make its effect unknowable: dynamic SQL, DDL, and functions that run SQL or read
/// relations named in a string.
const OPAQUE_WORDS: &[&str] = &[
    "execute",
    "create",
    "drop",
    "alter",
    "truncate",
    "call",
    "load",
    "copy",
    "import",
    "vacuum",
    "reindex",
    "cluster",
    "refresh",
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "table_to_xml",
    "table_to_xmlschema",
    "table_to_xml_and_xmlschema",
    "schema_to_xml",
    "schema_to_xmlschema",
    "schema_to_xml_and_xmlschema",
    "database_to_xml",
    "database_to_xmlschema",
    "database_to_xml_and_xmlschema",
    "ts_stat",
    "ts_rewrite",
    "refcursor",
];

/// Judges every function. `relations` are all tables and views that are not PostgreSQL's own.
pub fn classify(sources: Vec<FunctionSource>, relations: &[(String, String)]) -> Vec<Function> {
    let mut by_name: HashMap<&str, Vec<&(String, String)>> = HashMap::new();
    for relation in relations {
        by_name.entry(&relation.1).or_default().push(relation);
    }
    // `new.name` is a column of a trigger's row, unless there is a schema of that name.
    let rows = !relations
        .iter()
        .any(|(schema, _)| matches!(schema.as_str(), "new" | "old"));
    let looks: Vec<Look> = sources.iter().map(|source| look(source, rows)).collect();
    let mut called: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, source) in sources.iter().enumerate() {
        called.entry(&source.name).or_default().push(index);
    }
    let touches: Vec<Touches> = (0..sources.len())
        .map(|index| follow(index, &looks, &by_name, &called))
        .collect();
    sources
        .into_iter()
        .zip(touches)
        .map(|(source, touches)| Function {
            aggregate: source.aggregate.is_some(),
            schema: source.schema,
            name: source.name,
            touches,
            volatility: source.volatility,
        })
        .collect()
}

/// What one body shows by itself.
enum Look {
    Nothing,
    Unknown,
    /// Every identifier in it.
    Words(HashSet<String>),
}

fn look(source: &FunctionSource, rows: bool) -> Look {
    if let Some(harmless) = source.aggregate {
        return if harmless {
            Look::Nothing
        } else {
            Look::Unknown
        };
    }
    if source.volatility == Volatility::Immutable {
        return Look::Nothing;
    }
    match source.language.as_str() {
        "sql" | "plpgsql" => {
            let words = words(&source.body, rows);
            let opaque = OPAQUE_WORDS.iter().any(|word| words.contains(*word));
            if opaque || source.body.to_ascii_lowercase().contains("u&\"") {
                Look::Unknown
            } else {
                Look::Words(words)
            }
        }
        _ => match &source.extension {
            Some(extension) if !EXTENSIONS_RUNNING_SQL.contains(&extension.as_str()) => {
                Look::Nothing
            }
            _ => Look::Unknown,
        },
    }
}

/// Walks the calls from one function; iterative, since functions may call each other in circles.
fn follow(
    start: usize,
    looks: &[Look],
    relations: &HashMap<&str, Vec<&(String, String)>>,
    functions: &HashMap<&str, Vec<usize>>,
) -> Touches {
    let mut tables = BTreeSet::new();
    let mut seen = HashSet::from([start]);
    let mut waiting = vec![start];
    while let Some(index) = waiting.pop() {
        let words = match &looks[index] {
            Look::Nothing => continue,
            Look::Unknown => return Touches::Unknown,
            Look::Words(words) => words,
        };
        for word in words {
            tables.extend(
                relations
                    .get(word.as_str())
                    .into_iter()
                    .flatten()
                    .map(|relation| (*relation).clone()),
            );
            let callees = functions.get(word.as_str()).into_iter().flatten();
            waiting.extend(callees.copied().filter(|callee| seen.insert(*callee)));
        }
    }
    if tables.is_empty() {
        Touches::Nothing
    } else {
        Touches::Tables(tables.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, language: &str, body: &str) -> FunctionSource {
        FunctionSource {
            schema: "public".into(),
            name: name.into(),
            volatility: Volatility::Volatile,
            language: language.into(),
            body: body.into(),
            extension: None,
            aggregate: None,
        }
    }

    fn check(sources: Vec<FunctionSource>, expected: &[Touches]) {
        let relations = [
            ("public", "orders"),
            ("sales", "orders"),
            ("public", "Odd Name"),
            ("public", "items"),
        ]
        .map(|(schema, name)| (schema.to_owned(), name.to_owned()));
        let found: Vec<Touches> = classify(sources, &relations)
            .into_iter()
            .map(|function| function.touches)
            .collect();
        assert_eq!(found, expected);
    }

    fn tables(names: &[(&str, &str)]) -> Touches {
        Touches::Tables(
            names
                .iter()
                .map(|(schema, name)| ((*schema).to_owned(), (*name).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn bodies() {
        check(
            vec![function("f", "sql", "SELECT now()")],
            &[Touches::Nothing],
        );
        check(
            vec![function("f", "sql", "select 1 from ORDERS")],
            &[tables(&[("public", "orders"), ("sales", "orders")])],
        );
        check(
            vec![function("f", "sql", "select 1 from \"Odd Name\"")],
            &[tables(&[("public", "Odd Name")])],
        );
        check(
            vec![function("f", "sql", "select 1 from \"ORDERS\"")],
            &[Touches::Nothing],
        );
        check(
            vec![function(
                "f",
                "sql",
                "select 'orders' /* orders /* items */ orders */ -- orders\n, $$ orders $$, $x$ $$ items $x$, $1",
            )],
            &[Touches::Nothing],
        );
        check(
            vec![function("f", "sql", "select E'\\' orders', 'a\\', items")],
            &[tables(&[("public", "items")])],
        );
        check(
            vec![function(
                "f",
                "plpgsql",
                "begin NEW.updated := now(); return NEW; end",
            )],
            &[Touches::Nothing],
        );
        check(
            vec![function(
                "f",
                "plpgsql",
                "begin new.orders := OLD.\"items\" + new.items; return new; end",
            )],
            &[Touches::Nothing],
        );
        check(
            vec![function("f", "plpgsql", "begin execute 'select 1'; end")],
            &[Touches::Unknown],
        );
        check(
            vec![function(
                "f",
                "sql",
                "select query_to_xml('select 1', true, true, '')",
            )],
            &[Touches::Unknown],
        );
        check(
            vec![function(
                "f",
                "plpgsql",
                "begin create temp table x(a int); end",
            )],
            &[Touches::Unknown],
        );
        check(
            vec![function("f", "sql", "select 1 from U&\"\\006frders\"")],
            &[Touches::Unknown],
        );
        check(
            vec![function("f", "plpython3u", "return 1")],
            &[Touches::Unknown],
        );
        check(vec![function("f", "c", "my_symbol")], &[Touches::Unknown]);
        let unclosed = ["'", "\"", "/*", "$$", "$", "$a", "E'\\", "--"];
        for body in unclosed {
            check(vec![function("f", "sql", body)], &[Touches::Nothing]);
        }
    }

    #[test]
    fn calls_are_followed() {
        check(
            vec![
                function("outer", "sql", "select inner(1)"),
                function(
                    "inner",
                    "plpgsql",
                    "begin return (select count(*) from items); end",
                ),
                function("ring", "sql", "select ring()"),
                function("dynamic", "plpgsql", "begin perform hidden(); end"),
                function("hidden", "plpgsql", "begin EXECUTE 'x'; end"),
            ],
            &[
                tables(&[("public", "items")]),
                tables(&[("public", "items")]),
                Touches::Nothing,
                Touches::Unknown,
                Touches::Unknown,
            ],
        );
    }

    #[test]
    fn owned_and_immutable() {
        let extension = |name: &str| FunctionSource {
            extension: Some(name.into()),
            ..function("f", "c", "symbol")
        };
        check(
            vec![extension("postgis"), extension("dblink")],
            &[Touches::Nothing, Touches::Unknown],
        );
        let immutable = FunctionSource {
            volatility: Volatility::Immutable,
            ..function("f", "c", "symbol")
        };
        check(vec![immutable], &[Touches::Nothing]);
        let aggregate = |harmless| FunctionSource {
            aggregate: Some(harmless),
            ..function("f", "internal", "")
        };
        check(
            vec![aggregate(true), aggregate(false)],
            &[Touches::Nothing, Touches::Unknown],
        );
    }
}
