//! Relations of schema `pgweave` in a query that a server finishes: the rows of the catalog's views, and what each shard says of itself.
//!
//! Servers do not have these relations, or each has another part of them. Their rows take the place of their names, as JSON with
//! the types that the columns have there; sizes over all shards are temporary functions of the merge session.

use std::sync::Arc;

use catalog::{Catalog, quote_identifier};
use planner::{Access, Gather, Mentioned, Plan, Served, Types};
use serde_json::{Map, Value};

use super::gather::{Sent, Wanted, qualified};
use super::links::Need;
use super::prepared::Statement;
use super::report::Report;
use super::settings::push_literal;
use super::views::over_copies;
use super::{Session, Step};
use crate::execute::Link;
use crate::store::views::rows_of;

/// What the router has for one query.
#[derive(Default)]
pub(super) struct ServedRows {
    /// For each of [`Gather::served`] what stands in FROM for it.
    pub relations: Vec<String>,
    /// Sizes of relations, summed over all shards: rows of schema, name and four sizes.
    sizes: Option<String>,
}

/// Columns of sizes, by the functions that give them.
const SIZES: [&str; 4] = [
    "pg_relation_size",
    "pg_table_size",
    "pg_indexes_size",
    "pg_total_relation_size",
];

impl Session {
    /// Brings the rows of what servers do not have.
    pub(super) async fn bring_served(
        &mut self,
        gather: &Gather,
        catalog: &Arc<Catalog>,
    ) -> Step<ServedRows> {
        let mut served = ServedRows::default();
        for (name, from) in &gather.served {
            let (columns, rows) = match from {
                Served::Home => {
                    let store = self.router.store.clone();
                    store.view_rows(name).await.map_err(|error| {
                        Report::error(
                            "08006",
                            format!("the catalog's home cannot be asked for pgweave.{name}"),
                        )
                        .detail(error.to_string())
                    })?
                }
                Served::Shards => self.rows_of_shards(name, catalog).await?,
            };
            served.relations.push(relation(&columns, &rows));
        }
        if gather.sizes {
            served.sizes = Some(self.sizes(catalog).await?);
        }
        Ok(served)
    }

    /// The rows of a system view on every shard.
    async fn rows_of_shards(
        &mut self,
        name: &str,
        catalog: &Arc<Catalog>,
    ) -> Step<(String, String)> {
        let query = rows_of(&format!("pg_catalog.{name}"));
        let sql = format!(
            "SELECT pg_catalog.json_build_array(c, r::pg_catalog.json) FROM ({query}) AS v(c, r)"
        );
        let mut columns = None;
        let mut all = Vec::new();
        for (shard, answer) in self.ask_each(&sql, catalog).await? {
            let (Some(Value::String(own)), Some(Value::Array(rows))) =
                (answer.get(0), answer.get(1))
            else {
                return Err(unread(name).into());
            };
            // Of servers of several versions the first says what the columns are.
            columns.get_or_insert_with(|| format!("shard text, {own}"));
            for row in rows {
                let mut row = row.as_object().cloned().unwrap_or_default();
                row.insert("shard".to_owned(), Value::from(shard.as_str()));
                all.push(Value::Object(row));
            }
        }
        let columns = columns.ok_or_else(|| unread(name))?;
        Ok((columns, Value::Array(all).to_string()))
    }

    /// Sizes of all relations, summed over the shards.
    async fn sizes(&mut self, catalog: &Arc<Catalog>) -> Step<String> {
        let sizes = SIZES.map(|function| format!("pg_catalog.{function}(c.oid) AS {function}"));
        let sql = format!(
            "SELECT coalesce(pg_catalog.json_agg(v), '[]') FROM (SELECT n.nspname, c.relname, {} \
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
              WHERE c.relkind IN ('r', 'i', 'm', 'S', 'p', 'I') AND n.nspname !~ '^pg_(toast|temp_)') AS v",
            sizes.join(", ")
        );
        let mut sums: std::collections::BTreeMap<(String, String), [i64; 4]> = Default::default();
        for (_, answer) in self.ask_each(&sql, catalog).await? {
            for row in answer.as_array().into_iter().flatten() {
                let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
                let (Some(schema), Some(name)) = (text("nspname"), text("relname")) else {
                    return Err(unread("pg_class").into());
                };
                let sum = sums.entry((schema, name)).or_default();
                for (sum, size) in sum.iter_mut().zip(SIZES) {
                    // NULL: dropped meanwhile.
                    *sum += row.get(size).and_then(Value::as_i64).unwrap_or(0);
                }
            }
        }
        let rows = sums.into_iter().map(|((schema, name), sizes)| {
            let mut row = Map::new();
            row.insert("nspname".to_owned(), schema.into());
            row.insert("relname".to_owned(), name.into());
            let sizes = SIZES.iter().zip(sizes);
            row.extend(sizes.map(|(function, size)| ((*function).to_owned(), size.into())));
            Value::Object(row)
        });
        Ok(Value::Array(rows.collect()).to_string())
    }

    /// One JSON value of each shard, with the shard's name.
    async fn ask_each(&mut self, sql: &str, catalog: &Arc<Catalog>) -> Step<Vec<(String, Value)>> {
        let mut answers = Vec::new();
        for shard in catalog.shards() {
            let need = Need::shard(shard.id, Access::Read);
            let index = self.link(need, catalog).await?;
            self.drain().await?;
            let text = self.query_value(index, sql).await?;
            let value = serde_json::from_str(&text).map_err(|_| unread(&shard.name))?;
            answers.push((shard.name.clone(), value));
        }
        Ok(answers)
    }

    /// Makes the functions of sizes on the server that finishes the query.
    pub(super) async fn make_sizes(&mut self, merge: &mut Link, served: &ServedRows) -> Step {
        let Some(sizes) = &served.sizes else {
            return Ok(());
        };
        let mut rows = String::new();
        push_literal(&mut rows, sizes);
        let columns = SIZES.map(|function| format!("{function} pg_catalog.int8"));
        let columns = columns.join(", ");
        let mut make = String::new();
        for function in SIZES {
            let body = format!(
                "SELECT s.{function} FROM pg_catalog.json_to_recordset({rows}::pg_catalog.json) \
                   AS s(nspname pg_catalog.text, relname pg_catalog.text, {columns}), \
                   pg_catalog.pg_class c, pg_catalog.pg_namespace n \
                 WHERE c.oid = $1 AND n.oid = c.relnamespace AND n.nspname = s.nspname AND c.relname = s.relname"
            );
            make.push_str(&format!(
                "CREATE FUNCTION pg_temp.{function}(pg_catalog.regclass) RETURNS pg_catalog.int8 LANGUAGE sql STABLE AS "
            ));
            push_literal(&mut make, &body);
            make.push(';');
        }
        self.ask_merge(merge, &make).await
    }

    /// What a server says of the result of a query that names what no server has.
    pub(super) async fn learn_served(
        &mut self,
        statement: &Arc<Statement>,
        catalog: &Arc<Catalog>,
    ) -> Step<Option<Arc<Types>>> {
        let Some(Plan::Gather(gather)) = statement.plan() else {
            return Ok(None);
        };
        if gather.is_known_to_servers() {
            return Ok(None);
        }
        let known = gather.learned.types(&statement.parameter_types);
        if known.is_some() {
            return Ok(known);
        }
        self.drain().await?;
        let served = self.bring_served(gather, catalog).await?;
        let sent = Sent::Bound(statement, &[], Wanted::Rows(0));
        self.learn_gathered(gather, &statement.sql, 0, sent, catalog, &served)
            .await?;
        Ok(gather.learned.types(&statement.parameter_types))
    }
}

impl ServedRows {
    /// The query as a server can judge it that has nothing but its own relations.
    pub fn judged(&self, gather: &Gather, whole: &str) -> Option<String> {
        gather.text(whole, |of| match of {
            Mentioned::Table(table) => qualified(&gather.tables[table].name),
            Mentioned::View(view) => qualified(&gather.views[view].name),
            Mentioned::Served(served) => self.relations[served].clone(),
            Mentioned::Size(name) => format!("pg_catalog.{name}"),
            Mentioned::Number(_) => "tableoid".to_owned(),
            Mentioned::Schema => String::new(),
        })
    }

    /// What takes a name's place where the query is finished. `table`: for the tables.
    pub fn instead(
        &self,
        gather: &Gather,
        of: Mentioned,
        table: impl Fn(usize) -> String,
    ) -> String {
        match of {
            Mentioned::Number(number) => gather.number(number),
            Mentioned::Table(index) => table(index),
            Mentioned::View(view) => over_copies(view),
            Mentioned::Served(served) => self.relations[served].clone(),
            Mentioned::Size(name) => format!("pg_temp.{name}"),
            Mentioned::Schema => String::new(),
        }
    }
}

/// Rows in JSON as an element of FROM.
fn relation(columns: &str, rows: &str) -> String {
    let mut sql = "(SELECT * FROM pg_catalog.json_to_recordset(".to_owned();
    push_literal(&mut sql, rows);
    let rows = quote_identifier("pgweave_rows");
    sql.push_str(&format!("::pg_catalog.json) AS {rows}({columns}))"));
    sql
}

fn unread(what: &str) -> Report {
    Report::error(
        "XX000",
        format!("what a shard says of {what} cannot be read"),
    )
}
