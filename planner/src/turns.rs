//! FOR UPDATE with LIMIT over several shards: how shards take turns, so that no row is locked that one server would not lock.
//!
//! Entry point: [`turning`]. Rows in any order are taken from one shard after the other. Rows in an order are chosen first, without
//! locks, and then locked by their primary keys; a row that has changed meanwhile is judged anew by its own server, as it
//! would be by PostgreSQL when it has waited for the lock.

use catalog::{Column, Table, quote_identifier};

use crate::bind::Binder;
use crate::parse::{Node, nodes};
use crate::query::{Computes, Item, Level};
use crate::rewrite::{LimitEdit, SelectEdit};
use crate::scatter::{Limits, is_plain_text};
use crate::{Error, Turns};

/// How a query's shards are to take turns.
pub(crate) enum Turning {
    AtOnce,
    One,
    Chosen { key: Vec<KeyColumn> },
}

/// A column of the primary key.
pub(crate) struct KeyColumn {
    /// As SQL.
    value: String,
    /// What the queries call it.
    name: String,
    /// Of its type, as SQL.
    type_name: &'static str,
}

/// `None`: it cannot be told which rows are to be locked. `ordered`: how many keys ORDER BY has.
pub(crate) fn turning(
    limits: &Limits,
    computes: Computes,
    ordered: usize,
    select: &nodes::SelectStmt,
    level: Option<&Level>,
    binder: &Binder<'_, '_>,
) -> Option<Turning> {
    if !computes.locks || limits.limit.is_none() {
        return Some(Turning::AtOnce);
    }
    if limits.with_ties {
        return None;
    }
    if ordered == 0 {
        return Some(Turning::One);
    }
    let [item] = level?.items.as_slice() else {
        return None;
    };
    let Item::Sharded { table, .. } = &binder.bound.items[*item] else {
        return None;
    };
    let from: Vec<Node<'_>> = select.from_clause().iter().collect();
    let [Node::RangeVar(relation)] = from.as_slice() else {
        return None;
    };
    let alias = relation.alias();
    if alias.is_some_and(|alias| !alias.colnames().is_empty()) {
        return None;
    }
    let called = alias
        .and_then(nodes::Alias::aliasname)
        .unwrap_or(&table.name);
    let key = primary_key(table, called)?;
    Some(Turning::Chosen { key })
}

fn primary_key(table: &Table, called: &str) -> Option<Vec<KeyColumn>> {
    let columns = table.columns.iter().filter(|column| column.in_primary_key);
    let key: Option<Vec<KeyColumn>> = (1..)
        .zip(columns)
        .map(|(number, column)| {
            Some(KeyColumn {
                value: format!(
                    "{}.{}",
                    quote_identifier(called),
                    quote_identifier(&column.name)
                ),
                name: format!("pgweave_k{number}"),
                type_name: type_name(column)?,
            })
        })
        .collect();
    key.filter(|key| !key.is_empty())
}

/// The name of a type whose text is the same under all settings.
fn type_name(column: &Column) -> Option<&'static str> {
    if !is_plain_text(column) {
        return None;
    }
    Some(match column.type_oid {
        16 => "bool",
        18 => "\"char\"",
        19 => "name",
        20 => "int8",
        21 => "int2",
        23 => "int4",
        25 => "text",
        26 => "oid",
        1042 => "bpchar",
        1043 => "varchar",
        1700 => "numeric",
        2950 => "uuid",
        _ => return None,
    })
}

impl Turning {
    pub fn key(&self) -> &[KeyColumn] {
        match self {
            Turning::Chosen { key } => key,
            Turning::AtOnce | Turning::One => &[],
        }
    }

    /// The primary key's columns of a row that is chosen.
    pub fn key_columns(&self) -> Vec<(String, String)> {
        self.key()
            .iter()
            .map(|column| {
                (
                    format!("{}::pg_catalog.text", column.value),
                    column.name.clone(),
                )
            })
            .collect()
    }

    /// `edit`: what is asked when all shards are asked at once. `parameters`: the statement's own.
    pub fn turns(
        self,
        select: &nodes::SelectStmt,
        edit: SelectEdit<'_>,
        parameters: u16,
    ) -> Result<Turns, Error> {
        let parameter = parameters
            .checked_add(1)
            .ok_or_else(|| Error::internal("a statement has too many parameters"))?;
        let missing = SelectEdit {
            limit: LimitEdit::Parameter(parameter),
            ..edit
        };
        Ok(match self {
            Turning::AtOnce => Turns::AtOnce,
            Turning::One => Turns::One {
                sql: missing.text(select)?,
            },
            Turning::Chosen { ref key } => {
                let part = |part: fn(&KeyColumn) -> String| {
                    key.iter().map(part).collect::<Vec<_>>().join(", ")
                };
                let values = part(|column| column.value.clone());
                let names = part(|column| format!("pgweave_k.{}", column.name));
                let types =
                    part(|column| format!("{} pg_catalog.{}", column.name, column.type_name));
                let lock = SelectEdit {
                    more_columns: self.key_columns(),
                    limit: LimitEdit::None,
                    unordered: true,
                    also_where: Some(format!(
                        "({values}) IN (SELECT {names} FROM pg_catalog.json_to_recordset(${parameter}::pg_catalog.json) AS pgweave_k({types}))"
                    )),
                    ..SelectEdit::default()
                };
                Turns::Chosen {
                    choose: missing.text(select)?,
                    lock: lock.text(select)?,
                    key: key.iter().map(|column| column.name.clone()).collect(),
                }
            }
        })
    }
}
