//! The proof that the rows of a query over all shards are those of each shard, put together.
//!
//! Entry point: [`split`]. It looks for a *driver*: a sharded table of which every row of FROM and WHERE uses exactly one row. Then the
//! query over all rows is the union of the query over each row of the driver; and where every other sharded table is tied
//! to the driver's key (the proof of `key`, with the driver's row instead of constants), each of these needs one shard only.
//!
//! - A driver stands in FROM itself, in an inner join, or on the side of an outer join whose rows are all kept.
//! - It may stand inside a subquery or a CTE that is referred to once, if that gives a row for each of the driver's, or for each
//!   of its keys: GROUP BY and DISTINCT must hold the key; LIMIT, windows and aggregates over all rows end the search.
//! - UNION ALL has a driver in each branch.
//!
//! What a query makes of these rows itself (aggregates, DISTINCT, LIMIT) is the caller's to judge.

use catalog::GroupId;
use smallvec::{SmallVec, smallvec};

use crate::convert::family;
use crate::facts::{Fact, Known, SetId, Variable};
use crate::key::{Tie, tied};
use crate::query::{
    Bound, Computes, InsertRows, Item, ItemId, JoinKind, Level, QueryId, QueryKind,
};

/// How many drivers are tried.
const TRIES: usize = 16;

/// A query whose rows are those of each shard of a group.
pub(crate) struct Split {
    pub group: GroupId,
    /// The driver's shard key, as the root's own expressions see it. `None`: they do not.
    key: Option<Key>,
}

type Key = SmallVec<[Variable; 1]>;

/// A table, or one in each branch of a UNION ALL.
#[derive(Clone)]
struct Driver {
    group: GroupId,
    /// Key columns that are one value per row of the driver; those of a tie together.
    ties: SmallVec<[Vec<Key>; 1]>,
    visible: Option<Key>,
}

/// Finds a driver of the root query.
pub(crate) fn split(bound: &Bound<'_>, root: QueryId) -> Option<Split> {
    let mut search = Search {
        bound,
        references: references(bound),
        depth: 0,
    };
    let drivers = match &bound.queries[root].kind {
        QueryKind::Level(level) => search.sources(level),
        QueryKind::SetOperation {
            branches, appends, ..
        } if *appends => search.branches(root, branches).into_iter().collect(),
        QueryKind::SetOperation { .. } => Vec::new(),
        QueryKind::Recursive { .. } => Vec::new(),
    };
    proved(bound, root, drivers)
}

/// The group over whose shards a query's result, whatever it computes, is the results of each, put together.
pub(crate) fn apart(bound: &Bound<'_>, query: QueryId) -> Option<Split> {
    let mut search = Search {
        bound,
        references: references(bound),
        depth: 0,
    };
    let drivers = search.rows(query);
    proved(bound, query, drivers)
}

/// Which outputs of the query are the driver's shard key.
pub(crate) fn key_outputs(bound: &Bound<'_>, split: &Split, query: QueryId) -> Option<Vec<usize>> {
    positions_of(bound, split.key.as_ref()?, query)
}

/// The first of these drivers that all other sharded tables are tied to.
fn proved(bound: &Bound<'_>, root: QueryId, drivers: Vec<Driver>) -> Option<Split> {
    drivers.into_iter().take(TRIES).find_map(|driver| {
        driver.ties_all(bound, root).then_some(Split {
            group: driver.group,
            key: driver.visible,
        })
    })
}

/// Finds a driver of the query whose rows an INSERT stores, such that each row stays where it has been read: its key is the
/// driver's. The group of both tables.
pub(crate) fn split_insert(bound: &Bound<'_>, root: QueryId) -> Option<GroupId> {
    let QueryKind::Level(level) = &bound.queries[root].kind else {
        return None;
    };
    let insert = level.insert.as_ref()?;
    let InsertRows::Query { query, positions } = &insert.rows else {
        return None;
    };
    let mut search = Search {
        bound,
        references: references(bound),
        depth: 0,
    };
    let drivers = search.rows(*query);
    let beside = || level.subqueries.iter().chain(&level.loose_subqueries);
    drivers.into_iter().take(TRIES).find_map(|driver| {
        let stays = driver.group == insert.group
            && search.shows(&driver, *query, positions, &insert.key_types)
            && driver.ties_all(bound, *query)
            && beside().all(|query| tied(bound, *query, &[Tie::none()], Vec::new()));
        stays.then_some(driver.group)
    })
}

impl Driver {
    /// Whether every sharded table under a query is tied to this driver's key.
    fn ties_all(&self, bound: &Bound<'_>, query: QueryId) -> bool {
        let mut ties = Vec::new();
        let mut facts = Vec::new();
        // Sets of no list of the binder's: they stand for the driver's key, whatever it is.
        let mut next = SetId::MAX;
        for tie in &self.ties {
            let width = tie.first().map_or(0, SmallVec::len);
            let sets: SmallVec<[SetId; 1]> =
                (0..width as SetId).map(|column| next - column).collect();
            next -= width as SetId;
            for key in tie {
                facts.extend(
                    key.iter()
                        .zip(&sets)
                        .map(|(variable, set)| Fact::In(*variable, *set)),
                );
            }
            ties.push(Tie {
                group: self.group,
                sets,
            });
        }
        tied(bound, query, &ties, facts)
    }
}

impl Split {
    /// Whether rows of one group of this level are all on one shard.
    pub fn groups_apart(&self, level: &Level) -> bool {
        groups_apart(self.key.as_ref(), level)
    }

    /// Whether equal rows of this query are all on one shard.
    pub fn rows_apart(&self, bound: &Bound<'_>, root: QueryId) -> bool {
        let QueryKind::Level(level) = &bound.queries[root].kind else {
            return false;
        };
        let known = known(level);
        let outputs = &bound.queries[root].outputs;
        self.key.as_ref().is_some_and(|key| {
            key.iter().all(|column| {
                outputs
                    .iter()
                    .filter_map(|output| output.variable)
                    .any(|variable| known.same(variable, *column))
            })
        })
    }
}

struct Search<'b, 'c> {
    bound: &'b Bound<'c>,
    /// How often each query is read.
    references: Vec<usize>,
    depth: usize,
}

impl Search<'_, '_> {
    /// Drivers of what a level reads.
    fn sources(&mut self, level: &Level) -> Vec<Driver> {
        level
            .items
            .iter()
            .flat_map(|item| self.item(*item))
            .collect()
    }

    fn item(&mut self, id: ItemId) -> Vec<Driver> {
        match &self.bound.items[id] {
            Item::Other | Item::Reference { .. } => Vec::new(),
            Item::Sharded {
                group,
                key,
                key_variables,
                ..
            } if key.len() == key_variables.len() => {
                let key: Key = key_variables.iter().copied().collect();
                vec![Driver {
                    group: *group,
                    ties: smallvec![vec![key.clone()]],
                    visible: Some(key),
                }]
            }
            Item::Sharded { .. } => Vec::new(),
            Item::Join(join) => match join.kind {
                JoinKind::Inner => {
                    let mut drivers = self.item(join.left);
                    drivers.extend(self.item(join.right));
                    drivers
                }
                JoinKind::Left => self.item(join.left),
                JoinKind::Right => self.item(join.right),
                JoinKind::Full => Vec::new(),
            },
            Item::Derived { query, first } => {
                // What holds of the driver inside must hold of one reading only.
                if self.references[*query] != 1 {
                    return Vec::new();
                }
                let inner = self.rows(*query);
                inner
                    .into_iter()
                    .map(|driver| self.seen_from_outside(driver, *query, *first))
                    .collect()
            }
        }
    }

    /// Drivers of a query's result.
    fn rows(&mut self, query: QueryId) -> Vec<Driver> {
        self.depth += 1;
        let drivers = match &self.bound.queries[query].kind {
            _ if self.depth > 64 => Vec::new(),
            QueryKind::Level(level) => {
                let Computes {
                    aggregates,
                    grouping_sets,
                    windows,
                    distinct,
                    distinct_on,
                    limited,
                    locks,
                } = level.computes;
                if grouping_sets
                    || windows
                    || distinct_on
                    || limited
                    || locks
                    || level.insert.is_some()
                {
                    Vec::new()
                } else {
                    let mut drivers = self.sources(level);
                    if aggregates || level.grouped.is_some() {
                        drivers.retain(|driver| groups_apart(driver.visible.as_ref(), level));
                    }
                    if distinct {
                        let known = known(level);
                        let outputs = &self.bound.queries[query].outputs;
                        drivers.retain(|driver| {
                            let shown = |column: &Variable| {
                                outputs
                                    .iter()
                                    .filter_map(|output| output.variable)
                                    .any(|variable| known.same(variable, *column))
                            };
                            driver
                                .visible
                                .as_ref()
                                .is_some_and(|key| key.iter().all(shown))
                        });
                    }
                    drivers
                }
            }
            QueryKind::SetOperation {
                branches,
                appends: true,
                limited: false,
                ..
            } => self.branches(query, branches).into_iter().collect(),
            QueryKind::SetOperation { .. } => Vec::new(),
            QueryKind::Recursive { .. } => Vec::new(),
        };
        self.depth -= 1;
        drivers
    }

    /// A driver in each branch of a UNION ALL.
    fn branches(&mut self, query: QueryId, branches: &[QueryId]) -> Option<Driver> {
        let mut together: Option<Driver> = None;
        for branch in branches {
            let mut driver = self.rows(*branch).into_iter().next()?;
            // As the set operation's own outputs.
            let outputs = &self.bound.queries[query].outputs;
            let visible = driver.visible.as_ref();
            let positions = visible.and_then(|key| positions_of(self.bound, key, *branch));
            driver.visible = positions.and_then(|positions| {
                positions
                    .iter()
                    .map(|position| outputs.get(*position)?.variable)
                    .collect()
            });
            together = Some(match together {
                None => driver,
                Some(known) if known.group != driver.group => return None,
                Some(mut known) => {
                    known.ties.extend(driver.ties);
                    if known.visible != driver.visible {
                        known.visible = None;
                    }
                    known
                }
            });
        }
        together
    }

    /// Whether these outputs of a query are the driver's key, in the form that key columns of these types store it.
    fn shows(
        &self,
        driver: &Driver,
        query: QueryId,
        positions: &[usize],
        key_types: &[catalog::KeyType],
    ) -> bool {
        let source = &self.bound.queries[query];
        let Some(key) = driver.visible.as_ref().filter(|_| source.positions_known) else {
            return false;
        };
        let known = match &source.kind {
            QueryKind::Level(level) => known(level),
            _ => Known::default(),
        };
        let family_of = |variable: Variable| {
            let families = &self.bound.families;
            families.get(variable as usize).copied().flatten()
        };
        key.len() == positions.len()
            && key
                .iter()
                .zip(positions)
                .zip(key_types)
                .all(|((column, position), key_type)| {
                    let output = source.outputs.get(*position);
                    output
                        .and_then(|output| output.variable)
                        .is_some_and(|variable| {
                            known.same(variable, *column)
                                && family_of(variable) == Some(family(*key_type))
                        })
                })
    }

    /// The driver of a subquery for the query around it.
    fn seen_from_outside(&self, mut driver: Driver, query: QueryId, first: Variable) -> Driver {
        let visible = driver.visible.as_ref();
        let positions = visible.and_then(|key| positions_of(self.bound, key, query));
        let visible: Option<Key> = positions.map(|positions| {
            positions
                .iter()
                .map(|position| first + *position as Variable)
                .collect()
        });
        // Of several branches each row has the key of one.
        if let (Some(key), [tie]) = (&visible, driver.ties.as_mut_slice()) {
            tie.push(key.clone());
        }
        driver.visible = visible;
        driver
    }
}

/// Which outputs of a query are these columns.
fn positions_of(bound: &Bound<'_>, key: &Key, query: QueryId) -> Option<Vec<usize>> {
    let source = &bound.queries[query];
    if !source.positions_known {
        return None;
    }
    let known = match &source.kind {
        QueryKind::Level(level) => known(level),
        _ => Known::default(),
    };
    let position = |column: &Variable| {
        source.outputs.iter().position(|output| {
            output
                .variable
                .is_some_and(|variable| known.same(variable, *column))
        })
    };
    key.iter().map(position).collect()
}

fn known(level: &Level) -> Known {
    Known::new(
        level
            .item_facts
            .iter()
            .chain(&level.facts)
            .copied()
            .collect(),
    )
}

fn groups_apart(key: Option<&Key>, level: &Level) -> bool {
    let (Some(key), Some(grouped)) = (key, &level.grouped) else {
        return false;
    };
    let known = known(level);
    key.iter().all(|column| {
        grouped
            .iter()
            .any(|variable| known.same(*variable, *column))
    })
}

fn references(bound: &Bound<'_>) -> Vec<usize> {
    let mut references = vec![0; bound.queries.len()];
    for item in &bound.items {
        if let Item::Derived { query, .. } = item {
            references[*query] += 1;
        }
    }
    references
}
