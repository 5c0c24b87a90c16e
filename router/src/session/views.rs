//! Views in a query whose tables' rows are brought to one server: temporary views there, of the same definitions over the copies.
//!
//! The client is judged as it would be by the view itself. What a view's owner may read and the client may not stays unread: the rows
//! of its tables are read by the client's own right, and fail by it.

use planner::{Gather, Mentioned};

use super::gather::{qualified, regclass};
use super::report::Report;
use super::{Session, Step};
use crate::execute::Link;
use crate::merge::row::Row;
use catalog::quote_identifier;

impl Session {
    /// Makes the query's views over what has been made of its tables. `instead`: what stands for a name in a definition.
    pub(super) async fn make_views(
        &mut self,
        merge: &mut Link,
        gather: &Gather,
        instead: impl Fn(Mentioned) -> String + Copy,
    ) -> Step {
        if gather.views.is_empty() {
            return Ok(());
        }
        self.check_views(merge, gather).await?;
        let barriers = self.barriers(merge, gather).await?;
        // Definitions are meant as they are read without any path.
        let mut make = "SELECT pg_catalog.set_config('pgweave.search_path', pg_catalog.current_setting('search_path'), true), \
                               pg_catalog.set_config('search_path', '', true);"
            .to_owned();
        for (index, (view, barrier)) in gather.views.iter().zip(barriers).enumerate() {
            let columns: Vec<String> = view
                .columns
                .iter()
                .map(|name| quote_identifier(name).to_string())
                .collect();
            let with = if barrier {
                " WITH (security_barrier)"
            } else {
                ""
            };
            let definition = view.text(instead).ok_or_else(|| {
                Report::error("XX000", "a plan does not fit the view that it was made for")
            })?;
            let columns = match columns.is_empty() {
                true => String::new(),
                false => format!(" ({})", columns.join(", ")),
            };
            make.push_str(&format!(
                "CREATE TEMP VIEW {}{columns}{with} AS {definition};",
                over_copies(index),
            ));
        }
        make.push_str(
            "SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('pgweave.search_path'), true)",
        );
        self.ask_merge(merge, &make).await
    }

    /// Whether the client may read the views that its query names, and their owners what these read.
    async fn check_views(&mut self, merge: &mut Link, gather: &Gather) -> Step {
        let mut sql = String::new();
        for mention in &gather.mentions {
            if let Mentioned::View(view) = mention.of {
                let name = qualified(&gather.views[view].name);
                sql.push_str(&format!("SELECT FROM {name} LIMIT 0;"));
            }
        }
        self.ask_merge(merge, &sql).await
    }

    /// Which of the views are security barriers. Refuses those over tables with row level security, whose policies are for the
    /// view's owner.
    async fn barriers(&mut self, merge: &mut Link, gather: &Gather) -> Step<Vec<bool>> {
        let mut tables = Vec::new();
        for mention in gather.views.iter().flat_map(|view| &view.mentions) {
            if let Mentioned::Table(table) = mention.of {
                tables.push(regclass(&gather.tables[table].name));
            }
        }
        let mut sql = format!(
            "SELECT pg_catalog.concat(EXISTS (SELECT FROM pg_catalog.pg_class \
               WHERE relrowsecurity AND oid = ANY (ARRAY[{}]::pg_catalog.oid[]))",
            tables.join(", ")
        );
        for view in &gather.views {
            sql.push_str(&format!(
                ", EXISTS (SELECT FROM pg_catalog.pg_class c, pg_catalog.pg_options_to_table(c.reloptions) o \
                   WHERE c.oid = {} AND o.option_name = 'security_barrier' AND o.option_value::pg_catalog.bool)",
                regclass(&view.name)
            ));
        }
        sql.push(')');
        merge.backend.query(sql.as_bytes());
        self.flush_merge(merge).await?;
        let row = self.await_merge(merge, b'D').await?;
        self.await_merge(merge, b'Z').await?;
        let unread = || Report::error("XX000", "a server does not say what views are like");
        let row = Row::new(&row).map_err(|_| unread())?;
        let Ok(Some([policies, barriers @ ..])) = row.cell(0) else {
            return Err(unread().into());
        };
        if *policies == b't' {
            return Err(Report::error(
                "0A000",
                "a query over several shards cannot read tables with row level security through a view that has to be gathered",
            )
            .detail("The policies are for the view's owner; rows are brought by the client's own right.")
            .hint("Name the tables in the query itself, or the shard key, so that one shard can answer it.")
            .into());
        }
        Ok(barriers.iter().map(|barrier| *barrier == b't').collect())
    }
}

/// The temporary view of the nth view.
pub(super) fn over_copies(index: usize) -> String {
    format!("pg_temp.pgweave_view_{}", index + 1)
}
