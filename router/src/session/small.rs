//! Few rows of several shards, held in the router until they have all come: they go as parameters of the query that finishes,
//! one array per column, so that no server has to make a table for them.

use bytes::BytesMut;
use catalog::quote_identifier;
use planner::{Gather, GatherTable, Mentioned, Shape, Types};

use super::bringing::Moved;
use super::combine::Told;
use super::gather::{Sent, column_list, is_exact_in_binary, qualified};
use super::parts::shown;
use super::report::{Failure, Report};
use super::scatter::Source;
use super::shapes::is_collatable;
use super::work::Work;
use super::{Session, Step};
use crate::merge::arrays::{Arrays, array_type};
use crate::wire::{backend, frame};

/// So many rows may be joined without statistics.
const MOST_JOINED: u64 = 1_000;

/// Rows that have been read, in binary.
#[derive(Default)]
pub(super) struct Held {
    messages: BytesMut,
    /// There are no others.
    pub is_all: bool,
}

impl Held {
    /// The bodies of their messages.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        backend::messages(&self.messages).map(|(_, body)| body)
    }

    /// The rows as values of parameters: one for each column.
    pub fn arrays(&self, types: &[u32]) -> Step<Vec<Vec<u8>>> {
        let malformed = || Report::error("08P01", "a shard has sent a row that cannot be read");
        let mut arrays = Arrays::new(types).ok_or_else(malformed)?;
        for row in self.rows() {
            arrays.add(row).map_err(|_| malformed())?;
        }
        Ok(arrays.finish())
    }
}

impl Session {
    /// Reads the sources' rows, from whichever has some, as long as there are few. `what` they are, for an error.
    pub(super) async fn hold(
        &mut self,
        sources: &mut [Source],
        what: &str,
        moved: &mut Moved,
    ) -> Step<Held> {
        let most = self.router.config.gather.max_inline_bytes;
        let mut held = Held::default();
        // Nothing of the shards' own descriptions is for the client.
        let mut described = true;
        loop {
            let mut live = false;
            for source in sources.iter_mut() {
                while !source.ready && self.head(source, &mut described, 0)? {
                    let backend = &mut self.links[source.link].backend;
                    let total = frame::total_length(backend.input()).unwrap_or(0);
                    let message = backend.input().get(..total).unwrap_or_default();
                    moved.add(message.get(5..).unwrap_or_default());
                    held.messages.extend_from_slice(message);
                    backend.consume(total);
                    if moved.bytes > most {
                        return Ok(held);
                    }
                }
                live |= !source.ready;
            }
            self.check_moved(what, moved)?;
            if !live {
                held.is_all = true;
                return Ok(held);
            }
            self.fill_any(sources.iter()).await?;
        }
    }

    /// Brings the tables' rows, and if there are few, runs the query over them on this link. `false`: there are too many, or
    /// they cannot be parameters; what has been read is left with `work`, to narrow other tables by.
    pub(super) async fn finish_small(
        &mut self,
        work: &mut Work<'_>,
        here: usize,
        sent: Sent<'_>,
    ) -> Step<bool> {
        let relations = relations(work);
        let mut arrays = Vec::new();
        let mut array_types = Vec::new();
        for (at, (index, _)) in work.sources.iter().enumerate() {
            if let Some(measures) = &mut self.measures {
                measures.step = *index;
            }
            let table = &work.gather.tables[*index];
            let narrows = |other: &GatherTable| {
                let matches = other.matches.as_ref();
                matches.is_some_and(|matches| matches.table == *index)
            };
            let exact = |(_, oid): &(String, u32)| is_exact_in_binary(*oid);
            let is_held = work.columns(table).iter().all(exact)
                && (relations.is_some() || work.gather.tables.iter().any(narrows));
            if !is_held {
                return Ok(false);
            }
            let mut sources = self.ask_for_rows(&work.asking(at)?, sent).await?;
            let held = self
                .hold(&mut sources, &shown(table), &mut work.moved)
                .await?;
            let is_all = held.is_all;
            work.held.push((held, sources));
            if !is_all {
                return Ok(false);
            }
        }
        let Some(relations) = relations else {
            return Ok(false);
        };
        // Of arrays a server knows the length only: what it joins should have statistics, or be short.
        if work.gather.mentions.len() > 1 && work.moved.rows > MOST_JOINED {
            return Ok(false);
        }
        for ((index, _), (held, _)) in work.sources.iter().zip(&work.held) {
            let types = types_of(work.columns(&work.gather.tables[*index]));
            arrays.extend(held.arrays(&types)?);
            array_types.extend(types);
        }
        let relation = |table: usize| {
            let relation = relations.iter().find(|(index, _)| *index == table);
            relation.map_or(String::new(), |(_, sql)| sql.clone())
        };
        let sql = work.finishing(|of| work.instead(of, relation))?;
        let told = Told {
            moment: None,
            arrays: &arrays,
            array_types: &array_types,
        };
        self.finish_here(here, &sql, work.types, told, sent).await?;
        Ok(true)
    }

    /// Asks a server whether a query means the same over subqueries in place of its tables: whether it needs their primary
    /// keys, rows of their own types, system columns … Call outside a block only: a refusal is an error there.
    pub(super) async fn learn_over_subqueries(
        &mut self,
        index: usize,
        gather: &Gather,
        whole: &str,
        types: &mut Types,
    ) -> Step {
        match gather.over_subqueries {
            Some(true) => {
                types.over_subqueries = Some(true);
                types.shapes = self.table_shapes(index, &gather.tables).await?;
                return Ok(());
            }
            Some(false) => {
                types.over_subqueries = Some(false);
                return Ok(());
            }
            None => {}
        }
        let instead = |of: Mentioned| match of {
            Mentioned::Table(table) => {
                let table = &gather.tables[table];
                if let Some(part) = &table.part {
                    return format!("({})", part.whole);
                }
                let columns = column_list(&table.columns);
                format!("(SELECT {columns} FROM {})", qualified(&table.name))
            }
            // Of all others the planner says that they need more than subqueries, but for a schema that is left out.
            _ => String::new(),
        };
        let Some(sql) = gather.text(whole, instead) else {
            return Ok(());
        };
        let said = self.client.out.len();
        let described = match self.describe_text(index, &sql, &types.parameters).await {
            Ok(described) => described,
            Err(Failure::Sent) => {
                // The refusal is not for the client.
                self.client.out.truncate(said);
                types.over_subqueries = Some(false);
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        let description = backend::messages(&described).find(|(tag, _)| *tag == b'T');
        let description = description.map_or(&[][..], |(_, body)| body);
        types.over_subqueries = Some(same_types(description, &types.description));
        types.shapes = self.table_shapes(index, &gather.tables).await?;
        Ok(())
    }
}

/// What takes the place of the temporary table of partial rows: the rows of arrays. `None`: they cannot be parameters.
pub(super) fn partial_relation(types: &Types, moment: bool) -> Option<String> {
    let first = types.parameters.len() + usize::from(moment);
    let columns: Vec<(&str, u32)> = types
        .names
        .iter()
        .map(String::as_str)
        .zip(types.columns.iter().copied())
        .collect();
    let rows = rows_of_arrays(&columns, &types.shapes, first)?;
    Some(format!("{rows} AS pgweave_relation"))
}

/// The same for each table that is brought.
fn relations(work: &Work<'_>) -> Option<Vec<(usize, String)>> {
    if !work.keyless {
        return None;
    }
    let mut parameters = work.types.parameters.len();
    let mut relations = Vec::with_capacity(work.sources.len());
    for (index, _) in work.sources {
        let before = &work.gather.tables[..*index];
        let columns_before: usize = before.iter().map(|table| table.columns.len()).sum();
        let shapes = work.types.shapes.get(columns_before..)?;
        let table = &work.gather.tables[*index];
        let columns: Vec<(&str, u32)> = table
            .columns
            .iter()
            .map(|(name, oid)| (name.as_str(), *oid))
            .collect();
        let shapes = shapes.get(..columns.len())?;
        relations.push((*index, rows_of_arrays(&columns, shapes, parameters)?));
        parameters += columns.len();
    }
    Some(relations)
}

/// A subquery over arrays, one for each column, that are the parameters after so many others.
fn rows_of_arrays(columns: &[(&str, u32)], shapes: &[Shape], before: usize) -> Option<String> {
    if columns.is_empty() || columns.len() != shapes.len() {
        return None;
    }
    let (mut list, mut calls, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (at, ((name, oid), shape)) in columns.iter().zip(shapes).enumerate() {
        array_type(*oid)?;
        // The values are of the type with the modifier already.
        let cast = shape.modified.as_ref();
        let cast = cast.map_or(String::new(), |modified| format!("::{modified}"));
        let collate = match (is_collatable(*oid), &shape.collation) {
            (true, Some(collation)) => format!(" COLLATE {collation}"),
            (true, None) => return None,
            (false, _) => String::new(),
        };
        list.push(format!(
            "c{at}{cast}{collate} AS {}",
            quote_identifier(name)
        ));
        calls.push(format!("pg_catalog.unnest(${})", before + at + 1));
        names.push(format!("c{at}"));
    }
    let (list, calls, names) = (list.join(", "), calls.join(", "), names.join(", "));
    Some(format!(
        "(SELECT {list} FROM ROWS FROM ({calls}) AS pgweave_rows({names}))"
    ))
}

fn types_of(columns: &[(String, u32)]) -> Vec<u32> {
    columns.iter().map(|(_, oid)| *oid).collect()
}

/// Whether two descriptions tell of columns of the same types.
fn same_types(one: &[u8], other: &[u8]) -> bool {
    let types = |body| backend::columns(body).map(move |(_, fixed)| backend::type_oid(body, fixed));
    types(one).eq(types(other))
}
