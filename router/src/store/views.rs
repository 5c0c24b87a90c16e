//! What anybody may look at of the catalog's home, for queries that other servers answer.

use super::connection::column;
use super::{Error, Store};

impl Store {
    /// The columns of a view of schema `pgweave`, as SQL defines them, and its rows as a JSON array of objects.
    pub async fn view_rows(&self, view: &str) -> Result<(String, String), Error> {
        let home = self.home().await?;
        let name = catalog::quote_identifier(view);
        let row = home
            .query_one(&rows_of(&format!("pgweave.{name}")), &[])
            .await?;
        self.give_back(home);
        Ok((column(&row, 0)?, column(&row, 1)?))
    }
}

/// The query for a relation's columns and rows.
pub fn rows_of(relation: &str) -> String {
    format!(
        "SELECT (SELECT pg_catalog.string_agg(pg_catalog.format('%I %s', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum) \
                   FROM pg_catalog.pg_attribute a WHERE a.attrelid = '{relation}'::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped), \
                (SELECT coalesce(pg_catalog.json_agg(v), '[]') FROM {relation} v)::pg_catalog.text"
    )
}
