//! One execution of a query that is finished over rows of its tables: what has been brought, and what is to be asked next.

use std::collections::HashSet;
use std::sync::Arc;

use catalog::{Catalog, ShardId, quote_identifier};
use planner::{Gather, GatherTable, MOST_VALUES, Match, Mentioned, Route, Types, Value, Values};

use super::Step;
use super::bringing::Moved;
use super::combine::portable_types;
use super::gather::{column_list, qualified};
use super::parts::{part_relation, question_of};
use super::report::Report;
use super::scatter::Source;
use super::served::ServedRows;
use super::small::Held;
use crate::merge::arrays::{Arrays, array_type};
use crate::merge::row::Row;

pub(super) struct Work<'a> {
    pub gather: &'a Gather,
    /// The text that was planned.
    pub whole: &'a str,
    pub types: &'a Types,
    /// It relies on no primary key of its tables.
    pub keyless: bool,
    /// The tables that are brought, and the links that they come from.
    pub sources: &'a [(usize, Vec<usize>)],
    /// The links of all shards that take part.
    pub linked: &'a [(ShardId, usize)],
    pub catalog: &'a Arc<Catalog>,
    /// What servers do not have.
    pub served: &'a ServedRows,
    /// Of the first of these tables: rows that have been read, and where more come from.
    pub held: Vec<(Held, Vec<Source>)>,
    pub moved: Moved,
}

/// What shards are asked for a table's rows.
pub(super) struct Asking {
    pub sql: String,
    /// Of the parameters.
    pub types: Vec<u32>,
    /// Of the parameters that follow the client's.
    pub values: Vec<Vec<u8>>,
    /// How many columns a row has.
    pub columns: usize,
    pub links: Vec<usize>,
}

impl Work<'_> {
    pub fn keeps_indexes(&self) -> bool {
        self.gather.groups && !self.keyless
    }

    pub fn is_whole(&self, table: &GatherTable) -> bool {
        table.part.is_none() && (table.whole || self.keeps_indexes())
    }

    /// Those of the table that are brought.
    pub fn columns<'t>(&self, table: &'t GatherTable) -> &'t [(String, u32)] {
        match self.keeps_indexes() && !table.whole && table.part.is_none() {
            true => &table.all,
            false => &table.columns,
        }
    }

    /// The question for the nth table that is brought.
    pub fn asking(&self, at: usize) -> Step<Asking> {
        let (index, links) = &self.sources[at];
        let table = &self.gather.tables[*index];
        let columns = self.columns(table);
        let only = if table.only { "ONLY " } else { "" };
        let mut sql = match &table.part {
            Some(part) => question_of(table, part),
            None => format!(
                "SELECT {} FROM {only}{}",
                column_list(columns),
                qualified(&table.name)
            ),
        };
        let mut word = " WHERE ";
        if table.condition.is_some() || !table.among.is_empty() {
            sql.push_str(&format!(" AS {}", quote_identifier(&table.called)));
        }
        if let Some(condition) = &table.condition {
            sql.push_str(&format!(" WHERE {condition}"));
            word = " AND ";
        }
        let mut asking = Asking {
            types: Vec::new(),
            values: Vec::new(),
            columns: columns.len(),
            links: links.clone(),
            sql: String::new(),
        };
        let mut narrowed = None;
        let mut by = None;
        if let Some(matches) = &table.matches
            && let Some((array_type, array)) = self.values_of(matches)?
        {
            let parameter = self.types.parameters.len() + 1;
            let column = quote_identifier(&matches.column);
            sql.push_str(&format!(
                "{word}{column} OPERATOR(pg_catalog.=) ANY (${parameter})"
            ));
            if let Some(links) = self.links_of(matches, (array_type, &array)) {
                asking.links = links;
            }
            asking.values.push(array);
            narrowed = Some(array_type);
            by = Some(matches.table);
            word = " AND ";
        }
        // What has been brought is the shorter list.
        for among in table.among.iter().filter(|among| by != Some(among.table)) {
            sql.push_str(&format!("{word}{}", among.sql));
            word = " AND ";
        }
        asking.types = portable_types(&self.types.parameters, &sql);
        asking.types.extend(narrowed);
        asking.sql = sql;
        Ok(asking)
    }

    /// The distinct values of another table's column, as an array and its type. `None`: there are too many.
    fn values_of(&self, matches: &Match) -> Step<Option<(u32, Vec<u8>)>> {
        let at = self
            .sources
            .iter()
            .position(|(index, _)| *index == matches.table);
        let Some((held, _)) = at.and_then(|at| self.held.get(at)) else {
            return Ok(None);
        };
        let other = &self.gather.tables[matches.table];
        let (name, type_oid) = &other.columns[matches.other];
        let brought = self.columns(other).iter();
        let column = (0u16..).zip(brought).find(|(_, (known, _))| known == name);
        let Some((column, _)) = column else {
            return Ok(None);
        };
        let Some(array_type) = array_type(*type_oid).filter(|_| held.is_all) else {
            return Ok(None);
        };
        let malformed = || Report::error("08P01", "a shard has sent a row that cannot be read");
        let mut distinct = HashSet::new();
        let mut arrays = Arrays::new(&[*type_oid]).ok_or_else(malformed)?;
        for row in held.rows() {
            let row = Row::new(row).map_err(|_| malformed())?;
            // NULL equals nothing.
            if let Some(value) = row.cell(column).map_err(|_| malformed())?
                && distinct.insert(value)
            {
                if distinct.len() > MOST_VALUES {
                    return Ok(None);
                }
                arrays.add_value(value);
            }
        }
        let array = arrays.finish().pop().ok_or_else(malformed)?;
        Ok(Some((array_type, array)))
    }

    /// Where rows with these values lie, if the values are shard keys.
    fn links_of(&self, matches: &Match, (type_oid, array): (u32, &[u8])) -> Option<Vec<usize>> {
        let route = Route::Key(matches.keys.clone()?);
        let values = Only { type_oid, array };
        let shards = planner::resolve_all(&route, self.catalog, &values).ok()?;
        shards
            .iter()
            .map(|id| Some(self.linked.iter().find(|(shard, _)| shard == id)?.1))
            .collect()
    }

    /// What takes a name's place. `brought`: for the tables that are brought.
    pub fn instead(&self, of: Mentioned, brought: impl Fn(usize) -> String) -> String {
        // A table that stays where it is goes by its full name: a temporary one must not hide it.
        let table = |table: usize| match self.sources.iter().any(|(index, _)| *index == table) {
            true => self.over(table, brought(table)),
            false => qualified(&self.gather.tables[table].name),
        };
        self.served.instead(self.gather, of, table)
    }

    /// The rows of a table, or the part that is finished over them.
    fn over(&self, table: usize, relation: String) -> String {
        let table = &self.gather.tables[table];
        let Some(part) = &table.part else {
            return relation;
        };
        let oids: Vec<u32> = table.columns.iter().map(|(_, oid)| *oid).collect();
        part_relation(part, &oids, &relation).unwrap_or(relation)
    }

    /// The query that finishes.
    pub fn finishing(&self, instead: impl Fn(Mentioned) -> String) -> Step<String> {
        let unfitting = "a plan does not fit the text that it was made for";
        self.gather
            .text(self.whole, instead)
            .ok_or_else(|| Report::error("XX000", unfitting).into())
    }
}

/// One array as the first parameter.
struct Only<'a> {
    type_oid: u32,
    array: &'a [u8],
}

impl Values for Only<'_> {
    fn parameter(&self, index: u16) -> Option<Value<'_>> {
        (index == 0).then_some(Value {
            type_oid: self.type_oid,
            binary: true,
            bytes: Some(self.array),
        })
    }

    fn literal(&self, _: u16) -> Option<&str> {
        None
    }
}
