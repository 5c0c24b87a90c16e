//! Which rows of its tables a query can depend on: by their keys, and by equalities with columns of other tables.
//!
//! Entry point: [`narrowing`]. Every table is looked at on its own, with what the prover of shard keys knows of its relevant rows
//! (`key`): a table may be narrowed to any rows that include them.

use std::collections::BTreeMap;

use catalog::{KeyColumn, Table, TableKind};
use smallvec::smallvec;

use crate::bind::{Binder, Needed};
use crate::facts::{Fact, Variable};
use crate::key::seen;
use crate::query::{Appearance, Appears, Bound, Computes, QueryId, QueryKind};
use crate::scope::{Columns, RelationId};
use crate::{
    Among, Expected, GatherTable, KeyRole, KeyRoute, KeySource, KeyTuple, MOST_VALUES, Match,
    Statistics,
};

pub(crate) struct Narrowing<'c> {
    /// By the relations that tables are in the query.
    known: BTreeMap<RelationId, Narrowed>,
    /// Columns that a subquery compares with the row around it, where it may have to be asked for each such row.
    looked_up: Vec<(RelationId, usize)>,
    statistics: &'c dyn Statistics,
}

struct Narrowed {
    /// The keys of all rows that matter, if they are known.
    keys: Option<Vec<KeyTuple>>,
    same: Vec<Same>,
}

/// A column of the rows that matter equals one of another table's.
struct Same {
    column: usize,
    other: RelationId,
    other_column: usize,
}

/// What can be said of the tables of a query.
pub(crate) fn narrowing<'c>(binder: &Binder<'c, '_>, root: QueryId, sql: &str) -> Narrowing<'c> {
    let statistics = binder.context.statistics;
    let relations = &binder.relations.0;
    // The column that a variable stands for.
    let column_of = |variable: u32| {
        relations.iter().enumerate().find_map(|(id, relation)| {
            let Columns::Table(table) = relation.columns else {
                return None;
            };
            let column = variable.checked_sub(relation.first)? as usize;
            (column < table.columns.len()).then_some((id, column))
        })
    };
    let looked_up = (correlated(&binder.bound).into_iter())
        .filter_map(column_of)
        .collect();
    let Some(seen) = seen(&binder.bound, root, sql) else {
        return Narrowing {
            known: BTreeMap::new(),
            looked_up,
            statistics,
        };
    };
    let narrowed = seen.into_iter().map(|(id, seen)| {
        let mut same = Vec::new();
        let relation = &relations[id];
        // Where the rows are used twice, each use has equalities of its own.
        if let ([known], Columns::Table(table)) = (seen.known.as_slice(), &relation.columns) {
            for column in 0..table.columns.len() {
                let others = known
                    .equals(relation.first + column as u32)
                    .filter_map(column_of);
                same.extend(others.filter(|(other, _)| *other != id).map(
                    |(other, other_column)| Same {
                        column,
                        other,
                        other_column,
                    },
                ));
            }
        }
        let keys = seen.keys;
        (id, Narrowed { keys, same })
    });
    Narrowing {
        known: narrowed.collect(),
        looked_up,
        statistics,
    }
}

/// Columns of subqueries that equal columns from outside, but for those that a server makes joins of.
fn correlated(bound: &Bound<'_>) -> Vec<Variable> {
    let levels = bound.queries.iter().enumerate();
    let levels = levels.filter_map(|(id, query)| match &query.kind {
        QueryKind::Level(level) => Some((id, query, level)),
        QueryKind::SetOperation { .. } | QueryKind::Recursive { .. } => None,
    });
    let levels: Vec<_> = levels.collect();
    let is_computed = |id: QueryId| {
        levels
            .iter()
            .any(|(_, _, level)| level.computed.contains(&id))
    };
    let mut found = Vec::new();
    for (id, query, level) in &levels {
        let Computes {
            aggregates,
            limited,
            ..
        } = level.computes;
        if !aggregates && !limited && !is_computed(*id) {
            continue;
        }
        for fact in level.item_facts.iter().chain(&level.facts) {
            if let Fact::Same(one, other) = *fact
                && let (outer, inner) = (one.min(other), one.max(other))
                && outer < query.first_inner
                && inner >= query.first_inner
            {
                found.push(inner);
            }
        }
    }
    found
}

impl Narrowed {
    /// The columns of a table that equal those of another, if each shard has all rows of that one which go with its own.
    fn pairs<'t>(
        &self,
        table: &'t Table,
        other: RelationId,
        other_table: &'t Table,
    ) -> Option<Vec<(&'t str, &'t str)>> {
        /// Texts may have collations that cannot be compared.
        const TEXTS: [u32; 3] = [25, 1042, 1043];
        let same = self.same.iter().filter(|same| same.other == other);
        let pairs: Vec<(&str, &str)> = same
            .filter_map(|same| {
                let own = table.columns.get(same.column)?;
                let others = other_table.columns.get(same.other_column)?;
                let texts = TEXTS.contains(&own.type_oid) || TEXTS.contains(&others.type_oid);
                (!texts).then_some((own.name.as_str(), others.name.as_str()))
            })
            .collect();
        let is_there = match (&table.kind, &other_table.kind) {
            (TableKind::Sharded { .. }, TableKind::Reference) => !pairs.is_empty(),
            (
                TableKind::Sharded { group, key },
                TableKind::Sharded {
                    group: other_group,
                    key: other_key,
                },
            ) => {
                let tied = |(own, other): (&KeyColumn, &KeyColumn)| {
                    let pair = (own.name.as_str(), other.name.as_str());
                    pairs.contains(&pair)
                };
                group == other_group
                    && !key.is_empty()
                    && key.len() == other_key.len()
                    && key.iter().zip(other_key).all(tied)
            }
            _ => false,
        };
        is_there.then_some(pairs)
    }
}

/// What the query calls a relation.
fn called<'a>(appearance: &'a Appearance<'_>) -> &'a str {
    match &appearance.alias {
        Some(alias) => alias,
        None => appearance.what.name().1,
    }
}

/// The table that is named there, in the query's own text.
fn table_of<'c>(appearance: &Appearance<'c>) -> Option<&'c Table> {
    match appearance.what {
        Appears::Table(table) if appearance.within.is_none() => Some(table),
        _ => None,
    }
}

impl Narrowing<'_> {
    /// The keys of the rows of a table that matter.
    pub fn keys(&self, relation: RelationId) -> Option<KeyRoute> {
        let keys = self.known.get(&relation)?.keys.clone()?;
        Some(KeyRoute { keys, also: None })
    }

    /// By which columns a table is looked up.
    pub fn looked_up(&self, named: &[&Appearance<'_>]) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        for appearance in named {
            for (relation, column) in &self.looked_up {
                if *relation == appearance.relation
                    && let Some(table) = table_of(appearance)
                    && let Some(column) = table.columns.get(*column)
                    && !columns.contains(&column.name)
                {
                    columns.push(column.name.clone());
                }
            }
        }
        columns
    }

    /// Puts the tables in an order in which each can be narrowed by those before it, and says how. `named`: for each table where
    /// it is named. Gives the order, as indexes.
    pub fn arrange(
        &self,
        tables: &mut [GatherTable],
        named: &[Vec<&Appearance<'_>>],
    ) -> Vec<usize> {
        let mut order: Vec<usize> = Vec::with_capacity(tables.len());
        while order.len() < tables.len() {
            let mut best: Option<Candidate> = None;
            for index in (0..tables.len()).filter(|index| !order.contains(index)) {
                let found = self.matching(index, tables, named, &order);
                let by_selective = found
                    .as_ref()
                    .is_some_and(|found| is_selective(&tables[order[found.table]]));
                let rank = match &tables[index] {
                    table if table.keys.is_some() => 0,
                    _ if by_selective => 1,
                    table if table.condition.is_some() => 2,
                    _ => 3,
                };
                let narrowed = found.as_ref().and_then(|found| {
                    let values = self.values(found, tables, &order)?;
                    Some((values, found.column.as_str()))
                });
                let expected = named[index].first().and_then(|named| {
                    let table = table_of(named)?;
                    let estimate = self.statistics.table(&table.schema, &table.name)?;
                    Some(estimate.expected(table, &tables[index], narrowed))
                });
                let candidate = Candidate {
                    index,
                    rank,
                    found,
                    expected,
                };
                if best.as_ref().is_none_or(|known| candidate.is_better(known)) {
                    best = Some(candidate);
                }
            }
            let Some(best) = best else {
                break;
            };
            tables[best.index].matches = best.found;
            tables[best.index].expected = best.expected;
            order.push(best.index);
        }
        order
    }

    /// Says of which tables each shard can ask whether they have rows that go with those of a table: other tables of its group by the
    /// shard key, and reference tables, if they have conditions.
    pub fn among(
        &self,
        tables: &mut [GatherTable],
        named: &[Vec<&Appearance<'_>>],
        order: &[usize],
        needed: &Needed,
    ) {
        for index in 0..tables.len() {
            let found = self.among_of(index, tables, named, order, needed);
            if let ([appearance], false) = (named[index].as_slice(), found.is_empty()) {
                tables[index].called = called(appearance).to_owned();
                tables[index].among = found;
            }
        }
    }

    fn among_of(
        &self,
        index: usize,
        tables: &[GatherTable],
        named: &[Vec<&Appearance<'_>>],
        order: &[usize],
        needed: &Needed,
    ) -> Vec<Among> {
        let [appearance] = named[index].as_slice() else {
            return Vec::new();
        };
        let (Some(narrowed), Some(table)) =
            (self.known.get(&appearance.relation), table_of(appearance))
        else {
            return Vec::new();
        };
        let own = called(appearance);
        let mut found = Vec::new();
        for (other_index, others) in named.iter().enumerate() {
            let [other] = others.as_slice() else {
                continue;
            };
            let conditions = needed.conditions(other.relation);
            if other_index == index
                || tables[index].part.is_some()
                || tables[other_index].part.is_some()
                || conditions.is_empty()
                || other.renamed
                || called(other) == own
            {
                continue;
            }
            let Some(other_table) = table_of(other) else {
                continue;
            };
            let Some(pairs) = narrowed.pairs(table, other.relation, other_table) else {
                continue;
            };
            let other_name = catalog::quote_identifier(called(other)).to_string();
            let own_name = catalog::quote_identifier(own);
            let pairs = pairs.iter().map(|(column, other_column)| {
                format!(
                    "{other_name}.{} OPERATOR(pg_catalog.=) {own_name}.{}",
                    catalog::quote_identifier(other_column),
                    catalog::quote_identifier(column)
                )
            });
            let conditions = conditions.iter().map(|sql| format!("({sql})"));
            let all: Vec<String> = conditions.chain(pairs).collect();
            let only = if other.only { "ONLY " } else { "" };
            let sql = format!(
                "EXISTS (SELECT FROM {only}{}.{} AS {other_name} WHERE {})",
                catalog::quote_identifier(&other_table.schema),
                catalog::quote_identifier(&other_table.name),
                all.join(" AND ")
            );
            if let Some(position) = order.iter().position(|known| *known == other_index) {
                found.push(Among {
                    table: position,
                    sql,
                });
            }
        }
        found
    }

    /// How a table is narrowed by one that comes before: preferably by its shard key.
    fn matching(
        &self,
        index: usize,
        tables: &[GatherTable],
        named: &[Vec<&Appearance<'_>>],
        order: &[usize],
    ) -> Option<Match> {
        let [appearance] = named[index].as_slice() else {
            return None;
        };
        let narrowed = self.known.get(&appearance.relation)?;
        let table = table_of(appearance)?;
        let mut found: Option<Match> = None;
        for same in &narrowed.same {
            let here = |at: &usize| named[*at].iter().any(|named| named.relation == same.other);
            let Some(position) = order.iter().position(here) else {
                continue;
            };
            let Some(other) = named[order[position]]
                .first()
                .and_then(|other| table_of(other))
            else {
                continue;
            };
            // Others are read where they are.
            if !matches!(other.kind, TableKind::Sharded { .. }) {
                continue;
            }
            let other_column = other.columns.get(same.other_column)?;
            let own = table.columns.get(same.column)?;
            let brought = &tables[order[position]].columns;
            let Some(column) = brought
                .iter()
                .position(|(name, _)| *name == other_column.name)
            else {
                continue;
            };
            if !is_comparable(own.type_oid, other_column.type_oid) {
                continue;
            }
            let keys = by_key(table, &own.name);
            let candidate = Match {
                column: own.name.clone(),
                table: position,
                other: column,
                keys: keys.clone(),
            };
            if !self.pays(table, &tables[index], &candidate, tables, order) {
                continue;
            }
            if found.is_none() || keys.is_some() {
                found = Some(candidate);
                if keys.is_some() {
                    break;
                }
            }
        }
        found
    }

    /// How many values the other table is expected to give.
    fn values(&self, found: &Match, tables: &[GatherTable], order: &[usize]) -> Option<f64> {
        let other = &tables[order[found.table]];
        let estimate = self
            .statistics
            .table(&other.name.schema, &other.name.name)?;
        let (name, _) = other.columns.get(found.other)?;
        let distinct = estimate.column(name)?.distinct;
        Some(distinct.min(other.expected?.rows as f64))
    }

    /// Whether less is moved if a table is asked for another's values: not if these are too many, leave nothing out, or are
    /// more than the rows.
    fn pays(
        &self,
        table: &Table,
        brought: &GatherTable,
        found: &Match,
        tables: &[GatherTable],
        order: &[usize],
    ) -> bool {
        let Some(values) = self.values(found, tables, order) else {
            return true;
        };
        if values > MOST_VALUES as f64 {
            return false;
        }
        let Some(estimate) = self.statistics.table(&table.schema, &table.name) else {
            return true;
        };
        let rows = estimate.expected(table, brought, None).rows as f64;
        let all = estimate.column(&found.column).is_some_and(|column| {
            !is_selective(&tables[order[found.table]]) && column.distinct <= values
        });
        !all && (rows > values || found.keys.is_some())
    }
}

/// A table that may be brought next.
struct Candidate {
    index: usize,
    /// What speaks for it: 0 most.
    rank: u8,
    found: Option<Match>,
    expected: Option<Expected>,
}

impl Candidate {
    /// Conditions that are no keys are worth what the numbers of rows say, if these are known.
    fn is_better(&self, other: &Candidate) -> bool {
        match (self.expected, other.expected) {
            (Some(own), Some(others)) => {
                let key = |rank: u8, expected: Expected| (rank.min(2), expected.rows, rank);
                key(self.rank, own) < key(other.rank, others)
            }
            _ => self.rank < other.rank,
        }
    }
}

/// Whether a few of its rows are to be expected.
fn is_selective(table: &GatherTable) -> bool {
    table.keys.is_some() || table.condition.is_some() || table.matches.is_some()
}

/// Where rows lie whose column has one of several values, if it is the shard key: the values are the first parameter, an array.
fn by_key(table: &Table, column: &str) -> Option<KeyRoute> {
    let TableKind::Sharded { group, key, .. } = &table.kind else {
        return None;
    };
    let [only] = key.as_slice() else {
        return None;
    };
    (only.name == column).then(|| KeyRoute {
        keys: vec![KeyTuple {
            group: *group,
            types: smallvec![only.key_type],
            sources: smallvec![KeySource::Parameter {
                index: 0,
                cast: None,
                array: true,
                shared: false,
                role: KeyRole::Compared,
            }],
        }],
        also: None,
    })
}

/// Whether a column of one type is compared with an array of the other as the columns are with one another.
fn is_comparable(one: u32, other: u32) -> bool {
    /// bigint, smallint, integer; text, character varying
    const FAMILIES: [&[u32]; 2] = [&[20, 21, 23], &[25, 1043]];
    one == other
        || FAMILIES
            .iter()
            .any(|family| family.contains(&one) && family.contains(&other))
}
