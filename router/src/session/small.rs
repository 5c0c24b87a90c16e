//! Few rows of several shards, kept in the router until they have all come: they go as parameters of the query that finishes,
//! one array per column, so that no server has to make a table for them.

use std::fmt::Write;

use bytes::BytesMut;
use catalog::quote_identifier;
use planner::{Combine, Types};

use super::combine::own_types;
use super::report::{Failure, Report};
use super::scatter::Source;
use super::{Session, Step};
use crate::execute::expect::Expect;
use crate::merge::arrays::{Arrays, array_type};
use crate::wire::{backend, encode, frame};

/// Rows are parameters up to this size; beyond, a table costs little in comparison.
const MOST_BYTES: usize = 1024 * 1024;

/// Whether there were few rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collected {
    All,
    /// There are more than are to be kept.
    Some,
}

/// Messages of rows, in binary.
pub(super) struct Collecting<'a> {
    rows: &'a mut BytesMut,
}

impl<'a> Collecting<'a> {
    pub fn new(rows: &'a mut BytesMut) -> Self {
        Self { rows }
    }

    /// The rows as values of parameters.
    pub fn arrays(&self, types: &[u32]) -> Step<Vec<Vec<u8>>> {
        let malformed = || Report::error("08P01", "a shard has sent a row that cannot be read");
        let mut arrays = Arrays::new(types).ok_or_else(malformed)?;
        for (_, body) in backend::messages(self.rows) {
            arrays.add(body).map_err(|_| malformed())?;
        }
        Ok(arrays.finish())
    }
}

impl Session {
    /// Keeps the sources' rows, from whichever has some, as long as there are few.
    pub(super) async fn collect(
        &mut self,
        sources: &mut [Source],
        into: &mut Collecting<'_>,
    ) -> Step<Collected> {
        // Nothing of the shards' own descriptions is for the client.
        let mut described = true;
        loop {
            let mut live = false;
            for source in sources.iter_mut() {
                while !source.ready && self.head(source, &mut described, 0)? {
                    let backend = &mut self.links[source.link].backend;
                    let total = frame::total_length(backend.input()).unwrap_or(0);
                    let row = backend.input().get(..total).unwrap_or_default();
                    into.rows.extend_from_slice(row);
                    backend.consume(total);
                    if into.rows.len() > MOST_BYTES {
                        return Ok(Collected::Some);
                    }
                }
                live |= !source.ready;
            }
            if !live {
                return Ok(Collected::All);
            }
            self.fill_any(sources.iter()).await?;
        }
    }

    /// Asks a server for the collations of a query's columns, without running it.
    pub(super) async fn learn_collations(
        &mut self,
        index: usize,
        combine: &Combine,
        types: &mut Types,
    ) -> Step {
        let sql = &combine.sql;

        if !types.columns.iter().any(|oid| is_collatable(*oid)) {
            types.collations = vec![None; types.columns.len()];
            return Ok(());
        }
        let names: Vec<String> = (0..types.columns.len())
            .map(|column| format!("c{column}"))
            .collect();
        let mut asked = String::from("SELECT ");
        for (column, (name, oid)) in names.iter().zip(&types.columns).enumerate() {
            asked.push_str(if column == 0 { "" } else { ", " });
            match is_collatable(*oid) {
                true => push(
                    &mut asked,
                    format_args!("pg_catalog.pg_collation_for({name})"),
                ),
                false => asked.push_str("NULL"),
            }
        }
        let names = names.join(", ");
        push(
            &mut asked,
            format_args!(" FROM (SELECT) AS one LEFT JOIN ({sql}) AS q({names}) ON false"),
        );
        let link = &mut self.links[index];
        let out = link.backend.out();
        let told = own_types(types, sql, combine.moment);
        encode::parse(out, b"", asked.as_bytes(), &told);
        encode::bind_nulls(out, told.len());
        encode::execute(out, b"", 0);
        encode::sync(out);
        link.backend.forget_unnamed();
        link.captured.clear();
        link.expects.push_back(Expect::Captured);
        self.exchange(index).await?;
        let captured = std::mem::take(&mut self.links[index].captured);
        self.own_error(index)?;
        let row = backend::messages(&captured).find(|(tag, _)| *tag == b'D');
        let row = row.map(|(_, body)| crate::merge::row::Row::new(body));
        let Some(Ok(row)) = row else {
            let unknown = "a server did not tell the collations of a query's columns";
            return Err(Failure::from(Report::error("XX000", unknown)));
        };
        types.collations = (0u16..)
            .zip(&types.columns)
            .map(|(column, _)| {
                let name = row.cell(column).ok().flatten()?;
                Some(String::from_utf8_lossy(name).into_owned())
            })
            .collect();
        Ok(())
    }
}

/// What takes the place of the temporary table: the rows of arrays that are parameters. `None`: they cannot be.
pub(super) fn arrays_relation(combine: &Combine, types: &Types) -> Option<String> {
    if types.columns.is_empty() || types.collations.len() != types.columns.len() {
        return None;
    }
    let mut parameter = types.parameters.len() + usize::from(combine.moment);
    let (mut list, mut calls, mut names) = (String::new(), String::new(), String::new());
    for (column, (oid, collation)) in types.columns.iter().zip(&types.collations).enumerate() {
        array_type(*oid)?;
        if column > 0 {
            for text in [&mut list, &mut calls, &mut names] {
                text.push_str(", ");
            }
        }
        push(&mut names, format_args!("c{column}"));
        parameter += 1;
        push(&mut calls, format_args!("pg_catalog.unnest(${parameter})"));
        push(&mut list, format_args!("c{column}"));
        match (is_collatable(*oid), collation) {
            (true, None) => return None,
            (true, Some(collation)) => push(&mut list, format_args!(" COLLATE {collation}")),
            (false, _) => {}
        }
        let name = types.names.get(column)?;
        push(&mut list, format_args!(" AS {}", quote_identifier(name)));
    }
    Some(format!(
        "(SELECT {list} FROM ROWS FROM ({calls}) AS pgweave_rows({names})) AS pgweave_relation"
    ))
}

/// `text`, `character`, `character varying`.
fn is_collatable(oid: u32) -> bool {
    matches!(oid, 25 | 1042 | 1043)
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(what);
}
