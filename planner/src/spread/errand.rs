//! What each shard is sent of a write, once values are known.
//!
//! Entry point: [`Spread::errands`]. Time and space are linear in the text, however many rows and shards there are.

use std::collections::BTreeMap;
use std::ops::Range;

use catalog::{Catalog, KeyValue, ShardId};
use smallvec::SmallVec;

use crate::resolve::row_shard;
use crate::{Edit, EditKind, Error, Spread, SpreadKind, SpreadRows, Values};

/// One shard's part of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    pub shard: ShardId,
    /// `None`: the client's own statement, with all its parameters.
    pub own: Option<OwnText>,
    /// Which rows of VALUES it has, from 0, in their order.
    pub rows: Vec<usize>,
    /// Their keys, if the rows that come back tell theirs.
    pub keys: Vec<RowKey>,
}

/// The key of one row; empty if it has none.
pub type RowKey = SmallVec<[KeyValue; 1]>;

/// A text that is made for one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnText {
    pub sql: String,
    /// For each of its parameters the client's, from 0; `None`: the time of the transaction.
    pub parameters: Vec<Option<u16>>,
    /// Where pieces of the client's statement begin: bytes here, bytes there.
    pieces: Vec<(usize, usize)>,
}

impl OwnText {
    /// Where a character of this text stands in the client's statement. Both count from 1.
    pub fn client_position(&self, statement: &str, position: usize) -> usize {
        let byte = self
            .sql
            .char_indices()
            .nth(position.saturating_sub(1))
            .map_or(self.sql.len(), |(byte, _)| byte);
        let at = self.pieces.partition_point(|(here, _)| *here <= byte);
        let (here, there) = at
            .checked_sub(1)
            .and_then(|at| self.pieces.get(at))
            .copied()
            .unwrap_or_default();
        let there = there + (byte - here);
        statement
            .char_indices()
            .take_while(|(byte, _)| *byte < there)
            .count()
            + 1
    }
}

impl Spread {
    /// The shards concerned, in the order of their ids, with what each is sent. `statement`: the client's text of it.
    ///
    /// Errors: 23514 when no placement covers a key, 0A000 for a value that cannot be read as a key for certain.
    pub fn errands(
        &self,
        statement: &str,
        catalog: &Catalog,
        values: &dyn Values,
    ) -> Result<Vec<Errand>, Error> {
        match &self.kind {
            SpreadKind::Rows(rows) => self.of_rows(rows, statement, catalog, values),
            SpreadKind::Each(shards) => {
                let mut shards = match shards {
                    Some(shards) => shards.clone(),
                    None => self.shards_of_group(catalog)?,
                };
                shards.sort();
                let own = self.moment.then(|| {
                    let mut writer = Writer::new(&self.edits, statement, false);
                    writer.copy(0..statement.len());
                    let mut own = writer.own;
                    own.parameters = (0..self.parameters).map(Some).chain([None]).collect();
                    own
                });
                Ok(shards
                    .into_iter()
                    .map(|shard| Errand {
                        shard,
                        own: own.clone(),
                        rows: Vec::new(),
                        keys: Vec::new(),
                    })
                    .collect())
            }
        }
    }

    fn shards_of_group(&self, catalog: &Catalog) -> Result<Vec<ShardId>, Error> {
        let group = catalog.group(self.group).ok_or_else(|| {
            Error::internal("a plan names a colocation group that the catalog does not have")
        })?;
        Ok(group.map.shards().into_iter().collect())
    }

    fn of_rows(
        &self,
        rows: &SpreadRows,
        statement: &str,
        catalog: &Catalog,
        values: &dyn Values,
    ) -> Result<Vec<Errand>, Error> {
        let mut places = Vec::with_capacity(rows.rows.len());
        for row in &rows.rows {
            let found = match &row.key {
                Some(key) => row_shard(key, catalog, values)?,
                None => None,
            };
            places.push(found);
        }
        // What no shard can have, any shard refuses.
        let spare = match places.iter().flatten().map(|(shard, _)| *shard).min() {
            Some(shard) => shard,
            None => *self
                .shards_of_group(catalog)?
                .first()
                .ok_or_else(|| Error::internal("a colocation group without shards"))?,
        };
        let (Some(first), Some(last)) = (rows.rows.first(), rows.rows.last()) else {
            return Err(Error::internal("an INSERT of rows that has none"));
        };
        let mut parts: BTreeMap<ShardId, (Writer<'_>, Vec<usize>, Vec<RowKey>)> = BTreeMap::new();
        for (index, (row, place)) in rows.rows.iter().zip(places).enumerate() {
            let (shard, key) = place.unwrap_or_else(|| (spare, RowKey::new()));
            let (writer, numbers, keys) = parts.entry(shard).or_insert_with(|| {
                let mut writer = Writer::new(&self.edits, statement, true);
                writer.copy(0..first.span.start);
                (writer, Vec::new(), Vec::new())
            });
            if !numbers.is_empty() {
                writer.own.sql.push_str(", ");
            }
            writer.copy(row.span.clone());
            numbers.push(index);
            if !rows.tells.is_empty() {
                keys.push(key);
            }
        }
        Ok(parts
            .into_iter()
            .map(|(shard, (mut writer, rows, keys))| {
                writer.copy(last.span.end..statement.len());
                Errand {
                    shard,
                    own: Some(writer.own),
                    rows,
                    keys,
                }
            })
            .collect())
    }
}

/// Copies pieces of a statement, with its edits.
struct Writer<'a> {
    edits: &'a [Edit],
    statement: &'a str,
    /// Parameters are numbered anew, in the order in which they come.
    renumbers: bool,
    numbers: std::collections::HashMap<Option<u16>, usize>,
    own: OwnText,
}

impl<'a> Writer<'a> {
    fn new(edits: &'a [Edit], statement: &'a str, renumbers: bool) -> Writer<'a> {
        Writer {
            edits,
            statement,
            renumbers,
            numbers: Default::default(),
            own: OwnText::default(),
        }
    }

    fn copy(&mut self, range: Range<usize>) {
        let from = self
            .edits
            .partition_point(|edit| edit.range.start < range.start);
        let mut at = range.start;
        for edit in &self.edits[from..] {
            if edit.range.end > range.end {
                break;
            }
            self.plain(at..edit.range.start);
            self.own.pieces.push((self.own.sql.len(), edit.range.start));
            match &edit.what {
                EditKind::Hidden(columns) => self.own.sql.push_str(columns),
                EditKind::Parameter(index) => {
                    let number = self.number(Some(*index));
                    self.own.sql.push_str(&format!("${number}"));
                }
                EditKind::Moment(cast) => {
                    let number = self.number(None);
                    let cast = cast.map_or(String::new(), |cast| format!("::{cast}"));
                    self.own
                        .sql
                        .push_str(&format!("(${number}::pg_catalog.timestamptz{cast})"));
                }
            }
            at = edit.range.end;
        }
        self.plain(at..range.end);
    }

    fn plain(&mut self, range: Range<usize>) {
        if let Some(text) = self.statement.get(range.clone()).filter(|t| !t.is_empty()) {
            self.own.pieces.push((self.own.sql.len(), range.start));
            self.own.sql.push_str(text);
        }
    }

    /// The number of a parameter of the client's, or of the time, from 1.
    fn number(&mut self, parameter: Option<u16>) -> usize {
        if !self.renumbers {
            return match parameter {
                Some(index) => usize::from(index) + 1,
                None => self.count_of_client() + 1,
            };
        }
        let parameters = &mut self.own.parameters;
        *self.numbers.entry(parameter).or_insert_with(|| {
            parameters.push(parameter);
            parameters.len()
        })
    }

    /// How many parameters the client's statement has.
    fn count_of_client(&self) -> usize {
        let numbers = self.edits.iter().filter_map(|edit| match &edit.what {
            EditKind::Parameter(index) => Some(usize::from(*index) + 1),
            EditKind::Moment(_) | EditKind::Hidden(_) => None,
        });
        numbers.max().unwrap_or(0)
    }
}
