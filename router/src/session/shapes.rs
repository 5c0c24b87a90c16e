//! What the types of columns leave open, as servers know it: collations and modifiers. Rows that come as arrays have lost it.

use std::sync::Arc;

use catalog::Epoch;
use planner::{Combine, GatherTable, Name, Shape, Types};

use super::combine::own_types;
use super::gather::qualified;
use super::report::{Failure, Report};
use super::settings::push_literal;
use super::{Session, Step};
use crate::execute::expect::Expect;
use crate::merge::Malformed;
use crate::merge::row::Row;
use crate::wire::{backend, encode};

/// A SELECT list may be this long on a server, by and large.
const MOST_ASKED: usize = 1_600;

/// A table's columns by name. Of one epoch of the catalog, which grows when a table changes.
pub type TableShapes = quick_cache::sync::Cache<(Epoch, String), Arc<[(String, Shape)]>>;

impl Session {
    /// Of the columns of these tables that are needed, one table's after the other's.
    pub(super) async fn table_shapes(
        &mut self,
        index: usize,
        tables: &[GatherTable],
    ) -> Step<Vec<Shape>> {
        let epoch = self.catalog().epoch();
        let key = |name: &Name| (epoch, format!("{}\0{}", name.schema, name.name));
        let mut shapes = Vec::new();
        for table in tables {
            if let Some(part) = &table.part {
                if part.shapes.len() != table.columns.len() {
                    return Ok(Vec::new());
                }
                shapes.extend(part.shapes.iter().cloned());
                continue;
            }
            let key = key(&table.name);
            let known = match self.router.shapes.get(&key) {
                Some(known) => known,
                None => {
                    let learned: Arc<[(String, Shape)]> =
                        self.learn_table_shapes(index, table).await?.into();
                    self.router.shapes.insert(key, learned.clone());
                    learned
                }
            };
            for (name, _) in &table.columns {
                let shape = known.iter().find(|(known, _)| known == name);
                let Some((_, shape)) = shape else {
                    // The catalog does not know the table as it is.
                    return Ok(Vec::new());
                };
                shapes.push(shape.clone());
            }
        }
        Ok(shapes)
    }

    async fn learn_table_shapes(
        &mut self,
        index: usize,
        table: &GatherTable,
    ) -> Step<Vec<(String, Shape)>> {
        let mut relation = String::new();
        push_literal(&mut relation, &qualified(&table.name));
        let sql = format!(
            "SELECT a.attname, \
                (SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(k.collname) \
                   FROM pg_catalog.pg_collation k JOIN pg_catalog.pg_namespace n ON n.oid = k.collnamespace WHERE k.oid = a.attcollation), \
                CASE WHEN a.atttypmod >= 0 THEN pg_catalog.format_type(a.atttypid, a.atttypmod) END \
              FROM pg_catalog.pg_attribute a \
             WHERE a.attrelid = {relation}::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped"
        );
        let rows = self.ask_rows(index, &sql, &[]).await?;
        rows.iter()
            .map(|row| {
                let [name, collation, modified] = texts(row)?;
                let shape = Shape {
                    collation,
                    modified,
                };
                Ok((name.ok_or_else(unreadable)?, shape))
            })
            .collect()
    }

    /// Of the shards' partial rows: their query is looked at, not run. Empty: there are too many.
    pub(super) async fn partial_shapes(
        &mut self,
        index: usize,
        combine: &Combine,
        types: &Types,
    ) -> Step<Vec<Shape>> {
        let parameters = own_types(types, &combine.sql, combine.moment);
        let columns = (types.columns.as_slice(), types.modifiers.as_slice());
        self.query_shapes(index, &combine.sql, columns, &parameters)
            .await
    }

    /// Of the rows of a query whose columns have these types and modifiers, and which has parameters of these types.
    pub(super) async fn query_shapes(
        &mut self,
        index: usize,
        sql: &str,
        (oids, modifiers): (&[u32], &[i32]),
        parameters: &[u32],
    ) -> Step<Vec<Shape>> {
        let (mut asked, mut names) = (Vec::new(), Vec::new());
        for (column, (oid, modifier)) in oids.iter().zip(modifiers).enumerate() {
            let name = format!("c{column}");
            if is_collatable(*oid) {
                asked.push((column, 0, format!("pg_catalog.pg_collation_for({name})")));
            }
            if *modifier != -1 {
                asked.push((
                    column,
                    1,
                    format!("pg_catalog.format_type({oid}, {modifier})"),
                ));
            }
            names.push(name);
        }
        let mut shapes = vec![Shape::default(); oids.len()];
        if asked.is_empty() {
            return Ok(shapes);
        }
        if asked.len() > MOST_ASKED {
            return Ok(Vec::new());
        }
        let list: Vec<&str> = asked.iter().map(|(_, _, sql)| sql.as_str()).collect();
        let (list, names) = (list.join(", "), names.join(", "));
        let sql = format!(
            "SELECT {list} FROM (SELECT) AS pgweave_one LEFT JOIN ({sql}) AS pgweave_partial({names}) ON false"
        );
        let rows = self.ask_rows(index, &sql, parameters).await?;
        let row = rows.first().ok_or_else(unreadable)?;
        let row = Row::new(row).map_err(|Malformed| unreadable())?;
        for (at, (column, what, _)) in (0u16..).zip(&asked) {
            let text = row.cell(at).map_err(|Malformed| unreadable())?;
            let text = text.map(|text| String::from_utf8_lossy(text).into_owned());
            match what {
                0 => shapes[*column].collation = text,
                _ => shapes[*column].modified = text,
            }
        }
        Ok(shapes)
    }

    /// The rows of a query of the router's own, as text. Its parameters, of these types, are NULL.
    async fn ask_rows(
        &mut self,
        index: usize,
        sql: &str,
        parameters: &[u32],
    ) -> Step<Vec<Vec<u8>>> {
        let link = &mut self.links[index];
        let out = link.backend.out();
        encode::parse(out, b"", sql.as_bytes(), parameters);
        encode::bind_nulls(out, parameters.len());
        encode::execute(out, b"", 0);
        encode::sync(out);
        link.backend.forget_unnamed();
        link.captured.clear();
        link.expects.push_back(Expect::Captured);
        self.exchange(index).await?;
        let captured = std::mem::take(&mut self.links[index].captured);
        self.own_error(index)?;
        let rows = backend::messages(&captured).filter(|(tag, _)| *tag == b'D');
        Ok(rows.map(|(_, body)| body.to_vec()).collect())
    }
}

fn texts<const N: usize>(row: &[u8]) -> Step<[Option<String>; N]> {
    let row = Row::new(row).map_err(|Malformed| unreadable())?;
    let mut texts = [const { None }; N];
    for (at, text) in (0u16..).zip(&mut texts) {
        let cell = row.cell(at).map_err(|Malformed| unreadable())?;
        *text = cell.map(|cell| String::from_utf8_lossy(cell).into_owned());
    }
    Ok(texts)
}

fn unreadable() -> Failure {
    Report::error("XX000", "a server did not tell the types of columns").into()
}

/// `text`, `character`, `character varying`.
pub(super) fn is_collatable(oid: u32) -> bool {
    matches!(oid, 25 | 1042 | 1043)
}
