//! What two servers say to one query, and whether both can be right.

use std::io;

use super::render::render;
use super::sql::{Query, Sorted};
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
