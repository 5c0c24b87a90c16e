//! What is expected of tables before anybody has looked at their rows: how many there are, how many different values a column has.
//!
//! Entry point: [`Statistics`], which whoever plans provides. Estimates decide in which order tables are brought to one server and
//! whether one is asked for by another's values, never what a query means: nothing has to be known, and what is known may be wrong.

use std::sync::Arc;

use catalog::{Table, TableKind};

use crate::{GatherTable, KeySource};

/// By so many values of another table's column a table is narrowed at most.
pub const MOST_VALUES: usize = 10_000;

/// Which share of the rows satisfies a condition of which nothing is known: as PostgreSQL guesses of an inequality.
const CONDITION: f64 = 1.0 / 3.0;
/// How many values an array is thought to have that comes as a parameter.
const ARRAY_VALUES: f64 = 10.0;

/// What the servers' statistics say.
pub trait Statistics: Sync {
    /// Of a table, all its shards together. `None`: nothing.
    fn table(&self, schema: &str, name: &str) -> Option<Arc<TableEstimate>>;

    /// Another number whenever estimates have changed so much that plans may be others.
    fn generation(&self) -> u64;
}

/// Nobody has looked.
#[derive(Debug, Clone, Copy)]
pub struct NoStatistics;

impl Statistics for NoStatistics {
    fn table(&self, _: &str, _: &str) -> Option<Arc<TableEstimate>> {
        None
    }

    fn generation(&self) -> u64 {
        0
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableEstimate {
    pub rows: f64,
    pub columns: Vec<ColumnEstimate>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ColumnEstimate {
    pub name: String,
    /// Different values, without NULL.
    pub distinct: f64,
    /// Of 1.
    pub null_fraction: f64,
    /// Of a value that is not NULL.
    pub width_bytes: f64,
}

/// Rows that a plan expects to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    pub rows: u64,
    /// Of one row. 0: nothing is known of its columns.
    pub width_bytes: u64,
}

impl TableEstimate {
    pub fn column(&self, name: &str) -> Option<&ColumnEstimate> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// What is brought of the table. `by`: how many values of another table's column it is narrowed by, and its own column.
    pub(crate) fn expected(
        &self,
        table: &Table,
        brought: &GatherTable,
        by: Option<(f64, &str)>,
    ) -> Expected {
        let mut rows = self.rows * self.share_of_keys(table, brought);
        // That of the keys is among the conditions.
        if brought.condition.is_some() && brought.keys.is_none() {
            rows *= CONDITION;
        }
        if let Some((values, column)) = by
            && let Some(column) = self.column(column)
        {
            let matched = (values / column.distinct.max(1.0)).min(1.0);
            rows *= matched * (1.0 - column.null_fraction);
        }
        let width = |(name, _): &(String, u32)| {
            let column = self.column(name)?;
            Some(column.width_bytes * (1.0 - column.null_fraction))
        };
        let widths: Option<Vec<f64>> = brought.columns.iter().map(width).collect();
        Expected {
            rows: rows.max(rows.min(1.0)).round() as u64,
            width_bytes: widths.map_or(0.0, |widths| widths.iter().sum()).ceil() as u64,
        }
    }

    fn share_of_keys(&self, table: &Table, brought: &GatherTable) -> f64 {
        let (Some(route), TableKind::Sharded { key, .. }) = (&brought.keys, &table.kind) else {
            return 1.0;
        };
        let mut keys = 0.0;
        for tuple in &route.keys {
            let is_array = |source: &KeySource| {
                matches!(
                    source,
                    KeySource::Parameter { array: true, .. }
                        | KeySource::Literal { array: true, .. }
                )
            };
            keys += match tuple.sources.iter().any(is_array) {
                true => ARRAY_VALUES,
                false => 1.0,
            };
        }
        // There are at least as many keys as values of the column with the most.
        let columns = key.iter().filter_map(|column| self.column(&column.name));
        let distinct = columns.fold(1.0, |most, column| column.distinct.max(most));
        (keys / distinct).min(1.0)
    }
}
