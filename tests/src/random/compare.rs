//! What two servers say to one query, and whether both can be right.

use std::io;

use super::render::render;
use super::sql::{Limit, Query, Sorted};
use crate::client::{Client, Message};
use crate::differential::{Mode, without_user_oids};
use crate::transcript;

/// One server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Rows {
        /// Names, types and formats.
        columns: String,
        rows: Vec<Row>,
        tag: String,
    },
    Error {
        sqlstate: String,
        message: String,
    },
}

/// Its values; NULL is `None`.
pub type Row = Vec<Option<Vec<u8>>>;

/// In what two answers differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Columns,
    Rows,
    /// The rows are the same, but not in an order that the query allows.
    Order,
    /// PostgreSQL's SQLSTATE, pgweave's, or neither for rows.
    Errors(String, String),
}

pub fn ask(client: &mut Client, query: &Query, mode: Mode) -> io::Result<Answer> {
    if mode == Mode::Simple {
        return Ok(answer(&client.query(&render(query, false).sql)?));
    }
    let rendered = render(query, true);
    let values: Vec<Option<String>> = rendered
        .parameters
        .iter()
        .map(|literal| literal.text.as_ref().map(|text| text.replace("''", "'")))
        .collect();
    let values: Vec<Option<&[u8]>> = values
        .iter()
        .map(|value| value.as_ref().map(String::as_bytes))
        .collect();
    let messages = client.extended(&rendered.sql, &values, mode == Mode::Binary)?;
    Ok(match answer(&messages) {
        Answer::Rows { columns, rows, tag } => Answer::Rows {
            columns: without_modifiers(&columns),
            rows,
            tag,
        },
        error => error,
    })
}

/// PostgreSQL describes a portal by its plan, in which a constant may have vanished that made the modifier unknown;
/// pgweave by the statement. By the simple protocol the two are the same, and are compared.
fn without_modifiers(columns: &str) -> String {
    let words = columns
        .split(' ')
        .filter(|word| !word.starts_with("modifier="));
    words.collect::<Vec<_>>().join(" ")
}

fn answer(messages: &[Message]) -> Answer {
    if let Some(error) = messages.iter().find(|message| message.tag == b'E') {
        let field = |code| error.field(code).unwrap_or_default();
        let message = match (field(b'M'), field(b'D')) {
            (message, detail) if detail.is_empty() => message,
            (message, detail) => format!("{message} — {detail}"),
        };
        return Answer::Error {
            sqlstate: field(b'C'),
            message,
        };
    }
    let first = |tag: u8| messages.iter().find(|message| message.tag == tag);
    let line = |message: &Message| transcript::line(&without_user_oids(message));
    Answer::Rows {
        columns: first(b'T').map(line).unwrap_or_default(),
        rows: messages
            .iter()
            .filter(|message| message.tag == b'D')
            .filter_map(row)
            .collect(),
        tag: first(b'C').map(line).unwrap_or_default(),
    }
}

fn row(message: &Message) -> Option<Row> {
    let mut reader = router::wire::Reader(&message.body);
    let count = reader.u16().ok()?;
    (0..count)
        .map(|_| reader.value().ok().map(|value| value.map(<[u8]>::to_vec)))
        .collect()
}

/// `all`: what PostgreSQL answers to the query without its LIMIT, asked for only where rows may be chosen freely.
pub fn difference(
    query: &Query,
    expected: &Answer,
    found: &Answer,
    all: impl FnOnce() -> Option<Answer>,
) -> Option<Kind> {
    let (
        Answer::Rows { columns, rows, .. },
        Answer::Rows {
            columns: found_columns,
            rows: found_rows,
            ..
        },
    ) = (expected, found)
    else {
        let (expected, found) = (sqlstate(expected), sqlstate(found));
        if expected == "21000" && matches!(query.limit, Limit::WithTies(_)) {
            // PostgreSQL takes min(x) from an index by a query of its own, which wrongly inherits WITH TIES.
            return None;
        }
        return (expected != found).then_some(Kind::Errors(expected, found));
    };
    if columns != found_columns {
        return Some(Kind::Columns);
    }
    let sorted = query.sorted();
    if rows.len() != found_rows.len() {
        return Some(Kind::Rows);
    }
    if query.is_limited() && !sorted.total {
        let Some(Answer::Rows { rows: all, .. }) = all() else {
            return None;
        };
        if !contains_all(&all, found_rows) {
            return Some(Kind::Rows);
        }
    } else if !contains_all(rows, found_rows) {
        return Some(Kind::Rows);
    }
    (!query.order.is_empty() && keys(rows, &sorted) != keys(found_rows, &sorted))
        .then_some(Kind::Order)
}

fn keys<'a>(rows: &'a [Row], sorted: &Sorted) -> Vec<Vec<&'a Option<Vec<u8>>>> {
    rows.iter()
        .map(|row| {
            sorted
                .columns
                .iter()
                .filter_map(|column| row.get(*column))
                .collect()
        })
        .collect()
}

fn contains_all(all: &[Row], some: &[Row]) -> bool {
    let sort = |rows: &[Row]| {
        let mut rows = rows.to_vec();
        rows.sort();
        rows
    };
    let mut all = sort(all).into_iter();
    sort(some).iter().all(|row| all.any(|other| other == *row))
}

fn sqlstate(answer: &Answer) -> String {
    match answer {
        Answer::Rows { .. } => String::new(),
        Answer::Error { sqlstate, .. } => sqlstate.clone(),
    }
}

impl Answer {
    pub fn sqlstate(&self) -> String {
        sqlstate(self)
    }

    /// Some lines for people.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Answer::Error { sqlstate, message } => vec![format!("{sqlstate} {message}")],
            Answer::Rows { columns, rows, .. } => {
                let shown = rows.iter().take(12).map(|row| {
                    let values = row.iter().map(|value| match value {
                        Some(value) => value.escape_ascii().to_string(),
                        None => "NULL".to_owned(),
                    });
                    values.collect::<Vec<_>>().join(" | ")
                });
                let count = format!("{} rows", rows.len());
                [columns.clone(), count].into_iter().chain(shown).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sql::{Distinct, Grouping, Item, Key, Select, Sql, Style, Target};
    use super::*;

    /// `SELECT a, b FROM t ORDER BY` the items with these numbers `LIMIT 2`.
    fn query(keys: &[u32], limited: bool) -> Query {
        let item = |id| Item {
            id,
            sql: Sql::text(format!("c{id}")),
            alias: None,
        };
        let key = |id: &u32| Key {
            target: match id {
                0 => Target::Hidden(Sql::text("hidden")),
                id => Target::Item(*id, Style::Position),
            },
            direction: "",
        };
        let mut query = Query::select(Select {
            distinct: Distinct::No,
            items: vec![item(1), item(2)],
            from: Vec::new(),
            filter: None,
            group: Vec::new(),
            grouping: Grouping::Plain,
            having: None,
            window: None,
        });
        query.order = keys.iter().map(key).collect();
        if limited {
            query.limit = Limit::FetchFirst(2);
        }
        query
    }

    fn rows(text: &str) -> Answer {
        let value = |letter: char| Some(vec![letter as u8]);
        Answer::Rows {
            columns: String::new(),
            rows: text
                .split_whitespace()
                .map(|row| row.chars().map(value).collect())
                .collect(),
            tag: String::new(),
        }
    }

    fn check(query: &Query, expected: &str, found: &str, kind: Option<Kind>) {
        let all = || Some(rows("11 12 21 22"));
        let difference = difference(query, &rows(expected), &rows(found), all);
        assert_eq!(difference, kind, "{expected} and {found}");
    }

    #[test]
    fn what_a_query_leaves_open_is_not_compared() {
        check(&query(&[], false), "11 12 21", "21 11 12", None);
        check(&query(&[], false), "11 12", "11 11", Some(Kind::Rows));
        check(&query(&[], false), "11 12", "11", Some(Kind::Rows));
        check(&query(&[1, 2], false), "11 12", "12 11", Some(Kind::Order));
        check(&query(&[1], false), "11 12 21", "12 11 21", None);
        check(
            &query(&[1], false),
            "11 12 21",
            "21 11 12",
            Some(Kind::Order),
        );
        check(&query(&[2], false), "11 21 12", "21 11 12", None);
        // Behind a key that nobody sees.
        check(&query(&[0, 1], false), "21 11", "11 21", None);
        check(&query(&[1, 0], false), "11 21", "21 11", Some(Kind::Order));
    }

    #[test]
    fn a_limit_lets_choose_among_what_ties() {
        check(&query(&[], true), "11 12", "22 21", None);
        check(&query(&[], true), "11 12", "22", Some(Kind::Rows));
        check(&query(&[], true), "11 12", "22 33", Some(Kind::Rows));
        check(&query(&[], true), "11 12", "22 22", Some(Kind::Rows));
        check(&query(&[1], true), "11 12", "12 11", None);
        check(&query(&[1], true), "11 12", "11 21", Some(Kind::Order));
        check(&query(&[1, 2], true), "11 12", "11 21", Some(Kind::Rows));
    }

    #[test]
    fn errors_differ_by_their_code() {
        let error = |sqlstate: &str, message: &str| Answer::Error {
            sqlstate: sqlstate.to_owned(),
            message: message.to_owned(),
        };
        let kind =
            |one: &Answer, other: &Answer| difference(&query(&[], false), one, other, || None);
        assert_eq!(kind(&error("22012", "a"), &error("22012", "b")), None);
        assert!(kind(&error("22012", ""), &error("42601", "")).is_some());
        assert!(kind(&error("22012", ""), &rows("11")).is_some());
        assert!(kind(&rows("11"), &error("0A000", "")).is_some());
    }
}
