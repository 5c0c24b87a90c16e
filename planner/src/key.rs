//! The proof that every sharded table of a statement is tied to one placement.
//!
//! Entry point: [`pin`]. It goes down the bound query with what is known of the *relevant* rows: those that the result can depend on.
//! An equality may narrow a table when every output row that uses another row of it is thrown away later anyway:
//!
//! - conditions of WHERE and of inner joins hold for all relevant rows below;
//! - the condition of a LEFT JOIN narrows its right side only (and RIGHT JOIN its left side), because unmatched rows of the other
//!   side survive it; a FULL JOIN's condition narrows neither;
//! - conditions from outside enter a subquery through its plain output columns, unless it has a barrier (LIMIT, windows, DISTINCT ON,
//!   grouping sets, locks, writes); with GROUP BY, through grouped columns only;
//! - a query inside an expression sees what is known of the rows it is evaluated for, and tells nothing about them;
//! - an aggregate without GROUP BY gives a row even where WHERE accepts none, so that its level proves nothing of the queries around it.
//!
//! A table that no known equality ties to constants or parameters is the error that the caller reports.

use std::collections::BTreeMap;
use std::rc::Rc;

use catalog::{GroupId, KeyColumn, KeyType, Table};
use smallvec::SmallVec;

use crate::convert::family;
use crate::facts::{Fact, Known, SetId, Variable};
use crate::operand::{Operand, sources};
use crate::query::{
    Bound, Insert, InsertRows, Item, ItemId, Join, JoinKind, Level, QueryId, QueryKind,
};
use crate::scope::RelationId;
use crate::{Error, KeyRole, KeySource, KeyTuple};

/// How many steps a proof may take: CTEs that refer to one another twice make it exponential.
const STEPS: usize = 50_000;

/// How many combinations of values a composite key may have.
const COMBINATIONS: usize = 1_000;

/// The keys of all sharded tables under these queries.
pub(crate) fn pin(bound: &Bound<'_>, root: QueryId, sql: &str) -> Result<Vec<KeyTuple>, Error> {
    let mut pinner = Pinner {
        bound,
        sql,
        ties: &[],
        tuples: Vec::new(),
        seen: None,
        visited: vec![false; bound.queries.len()],
        steps: 0,
    };
    pinner.all(root)?;
    Ok(pinner.tuples)
}

/// What is known of one sharded table's rows.
#[derive(Default)]
pub(crate) struct Seen {
    /// At each place where the rows are used.
    pub known: Vec<Rc<Known>>,
    /// All keys that they may have; `None`: any.
    pub keys: Option<Vec<KeyTuple>>,
}

/// What is known of the relevant rows of each sharded table, by its relation. `None`: too much to tell.
pub(crate) fn seen(
    bound: &Bound<'_>,
    root: QueryId,
    sql: &str,
) -> Option<BTreeMap<RelationId, Seen>> {
    let mut pinner = Pinner {
        bound,
        sql,
        ties: &[],
        tuples: Vec::new(),
        seen: Some(BTreeMap::new()),
        visited: vec![false; bound.queries.len()],
        steps: 0,
    };
    pinner.all(root).ok()?;
    pinner.seen
}

/// The key of each row that an INSERT … VALUES stores, in their order; `None`: a part of it is NULL.
pub(crate) fn row_keys(
    bound: &Bound<'_>,
    root: QueryId,
    sql: &str,
) -> Result<Vec<Option<KeyTuple>>, Error> {
    let QueryKind::Level(level) = &bound.queries[root].kind else {
        return Ok(Vec::new());
    };
    let Some(Insert {
        group,
        rows: InsertRows::Values(rows),
        key_types,
        type_modifiers,
        ..
    }) = &level.insert
    else {
        return Ok(Vec::new());
    };
    let pinner = Pinner {
        bound,
        sql,
        ties: &[],
        tuples: Vec::new(),
        seen: None,
        visited: Vec::new(),
        steps: 0,
    };
    rows.iter()
        .map(|row| {
            let mut tuple: SmallVec<[KeySource; 1]> = SmallVec::new();
            for ((operand, key_type), type_modifier) in
                row.iter().zip(key_types).zip(type_modifiers)
            {
                let role = KeyRole::Stored {
                    type_modifier: *type_modifier,
                };
                tuple.extend(pinner.sources(std::slice::from_ref(operand), *key_type, role)?);
            }
            Ok((tuple.len() == key_types.len()).then(|| KeyTuple {
                group: *group,
                types: key_types.iter().copied().collect(),
                sources: tuple,
            }))
        })
        .collect()
}

/// A row that all others are to be tied to: its key is in these sets, which stand for no values.
pub(crate) struct Tie {
    pub group: GroupId,
    pub sets: SmallVec<[SetId; 1]>,
}

impl Tie {
    /// One that nothing can be tied to.
    pub fn none() -> Tie {
        Tie {
            group: GroupId(u32::MAX),
            sets: SmallVec::new(),
        }
    }
}

/// Whether every sharded table under the root is tied to the key of one of the rows, when these facts hold.
pub(crate) fn tied(bound: &Bound<'_>, root: QueryId, ties: &[Tie], facts: Vec<Fact>) -> bool {
    let mut pinner = Pinner {
        bound,
        sql: "",
        ties,
        tuples: Vec::new(),
        seen: None,
        visited: vec![false; bound.queries.len()],
        steps: 0,
    };
    pinner
        .run(Task::Query(root, Rc::new(Known::new(facts))))
        .is_ok()
}

struct Pinner<'b, 'c> {
    bound: &'b Bound<'c>,
    sql: &'b str,
    /// Rows to be tied to, instead of constants and parameters.
    ties: &'b [Tie],
    tuples: Vec<KeyTuple>,
    /// Each table is looked at on its own.
    seen: Option<BTreeMap<RelationId, Seen>>,
    visited: Vec<bool>,
    steps: usize,
}

enum Task {
    Query(QueryId, Rc<Known>),
    Item(ItemId, Rc<Known>),
}

impl Pinner<'_, '_> {
    /// All queries of the statement.
    fn all(&mut self, root: QueryId) -> Result<(), Error> {
        let nothing = Rc::new(Known::default());
        self.run(Task::Query(root, nothing.clone()))?;
        // Later WITH queries refer to earlier ones: from the last to the first, those that nothing has reached yet.
        let bound = self.bound;
        for query in bound.standalone.iter().rev() {
            if !self.visited[*query] {
                self.run(Task::Query(*query, nothing.clone()))?;
            }
        }
        Ok(())
    }

    /// A worklist instead of recursion: proofs may be as deep as queries.
    fn run(&mut self, task: Task) -> Result<(), Error> {
        let mut tasks = vec![task];
        while let Some(task) = tasks.pop() {
            self.steps += 1;
            if self.steps > STEPS {
                return Err(Error::TooComplex {
                    message: "the queries of this statement refer to one another too often".into(),
                });
            }
            match task {
                Task::Query(query, known) => self.query(query, known, &mut tasks)?,
                Task::Item(item, known) => self.item(item, known, &mut tasks)?,
            }
        }
        Ok(())
    }

    fn query(&mut self, id: QueryId, known: Rc<Known>, tasks: &mut Vec<Task>) -> Result<(), Error> {
        self.visited[id] = true;
        match &self.bound.queries[id].kind {
            QueryKind::Level(level) => {
                self.level(level, self.bound.queries[id].first_inner, known, tasks)
            }
            QueryKind::SetOperation {
                branches,
                pushable,
                subqueries,
                ..
            } => {
                let outputs = self.bound.queries[id].outputs.iter().enumerate();
                let sets: Vec<(usize, SetId)> = outputs
                    .filter_map(|(index, output)| Some((index, output.variable?)))
                    .filter(|_| *pushable)
                    .flat_map(|(index, variable)| known.sets(variable).map(move |set| (index, set)))
                    .collect();
                for branch in branches {
                    // For this branch alone: what it gives may be a column from outside.
                    let pushed: Vec<Fact> = sets
                        .iter()
                        .filter_map(|(index, set)| self.push(*branch, *index, *set))
                        .collect();
                    let known = match pushed.is_empty() {
                        true => known.clone(),
                        false => Rc::new(known.with(pushed)),
                    };
                    tasks.push(Task::Query(*branch, known));
                }
                tasks.extend(
                    subqueries
                        .iter()
                        .map(|query| Task::Query(*query, known.clone())),
                );
                Ok(())
            }
            QueryKind::Recursive {
                base,
                step,
                first,
                facts,
            } => {
                let round = known.with(
                    facts
                        .iter()
                        .map(|(index, set)| Fact::In(*first + *index as Variable, *set)),
                );
                tasks.push(Task::Query(*base, known));
                tasks.push(Task::Query(*step, Rc::new(round)));
                Ok(())
            }
        }
    }

    /// A condition on an output as a fact on the column it is, if the query lets it in.
    fn push(&self, query: QueryId, index: usize, set: u32) -> Option<Fact> {
        let query = &self.bound.queries[query];
        let variable = query.outputs.get(index)?.variable?;
        match &query.kind {
            QueryKind::Level(level) if level.barrier => None,
            QueryKind::Level(level) => match &level.grouped {
                Some(grouped) if !grouped.contains(&variable) => None,
                _ => Some(Fact::In(variable, set)),
            },
            QueryKind::SetOperation { pushable, .. } => pushable.then_some(Fact::In(variable, set)),
            QueryKind::Recursive { .. } => None,
        }
    }

    fn level(
        &mut self,
        level: &Level,
        first_inner: Variable,
        known: Rc<Known>,
        tasks: &mut Vec<Task>,
    ) -> Result<(), Error> {
        let inner = if level.facts.is_empty() && level.item_facts.is_empty() {
            known.clone()
        } else {
            Rc::new(known.with(level.item_facts.iter().chain(&level.facts).copied()))
        };
        if let Some(insert) = &level.insert {
            self.insert(insert, &known, tasks)?;
        }
        self.merged(level, &inner)?;
        tasks.extend(
            level
                .items
                .iter()
                .rev()
                .map(|item| Task::Item(*item, inner.clone())),
        );
        tasks.extend(
            level
                .subqueries
                .iter()
                .map(|query| Task::Query(*query, inner.clone())),
        );
        if !level.computed.is_empty() {
            let output = if level.unconditional {
                Rc::new(known.with(level.facts_of_output(first_inner)))
            } else {
                inner.clone()
            };
            tasks.extend(
                level
                    .computed
                    .iter()
                    .map(|query| Task::Query(*query, output.clone())),
            );
        }
        tasks.extend(
            level
                .loose_subqueries
                .iter()
                .map(|query| Task::Query(*query, known.clone())),
        );
        Ok(())
    }

    /// The rows that MERGE inserts, whose keys are columns of its source.
    fn merged(&mut self, level: &Level, known: &Known) -> Result<(), Error> {
        let bound = self.bound;
        for variables in &level.merge_keys {
            let join = level.items.first().map(|item| &bound.items[*item]);
            let Some(Item::Join(Join { right, .. })) = join else {
                return Err(Error::internal("a MERGE that is no join"));
            };
            let Item::Sharded {
                table, group, key, ..
            } = &bound.items[*right]
            else {
                return Err(Error::internal("a MERGE into what is no sharded table"));
            };
            self.table(table, *group, key, variables, known)?;
        }
        Ok(())
    }

    /// A write in WITH is proved on its own. Its rows are those of this shard; others that equal them must be, too.
    fn written(&self, query: QueryId, first: Variable, known: &Known) -> Result<(), Error> {
        let written = &self.bound.queries[query];
        let QueryKind::Level(level) = &written.kind else {
            return Ok(());
        };
        let known_inside = Known::new(
            level
                .item_facts
                .iter()
                .chain(&level.facts)
                .copied()
                .collect(),
        );
        let target = level.items.first().map(|item| &self.bound.items[*item]);
        if let Some(Item::Sharded {
            table,
            group,
            key,
            key_variables,
            ..
        }) = target
        {
            let shown: Option<Vec<Variable>> = key_variables
                .iter()
                .map(|column| {
                    let position = written.outputs.iter().position(|output| {
                        output
                            .variable
                            .is_some_and(|variable| known_inside.same(variable, *column))
                    })?;
                    Some(first + position as Variable)
                })
                .collect();
            let meets = |tie: &Tie| {
                shown.as_ref().is_some_and(|shown| {
                    tie.group == *group
                        && tie.sets.len() == shown.len()
                        && (shown.iter().zip(&tie.sets))
                            .all(|(variable, set)| known.sets(*variable).any(|known| known == *set))
                })
            };
            if written.positions_known && self.ties.iter().any(meets) {
                return Ok(());
            }
            return Err(not_tied(
                table,
                key,
                key.first().map_or("", |key| &key.name),
            ));
        }
        Err(Error::unsupported(
            "rows that WITH has written, of several shards",
        ))
    }

    fn item(&mut self, id: ItemId, known: Rc<Known>, tasks: &mut Vec<Task>) -> Result<(), Error> {
        match &self.bound.items[id] {
            Item::Other | Item::Reference { .. } => Ok(()),
            Item::Sharded {
                table,
                group,
                key,
                key_variables,
                location,
                relation,
                ..
            } => {
                let result = self.table(table, *group, key, key_variables, &known);
                let Some(seen) = &mut self.seen else {
                    return result.map_err(|error| error.at(self.sql, *location));
                };
                let tuples = std::mem::take(&mut self.tuples);
                let seen = seen.entry(*relation).or_insert_with(|| Seen {
                    known: Vec::new(),
                    keys: Some(Vec::new()),
                });
                seen.known.push(known);
                match (&mut seen.keys, result) {
                    (Some(keys), Ok(())) => keys.extend(tuples),
                    _ => seen.keys = None,
                }
                Ok(())
            }
            Item::Derived { query, first } => {
                // Writes in WITH are proved on their own, once.
                if let QueryKind::Level(level) = &self.bound.queries[*query].kind
                    && level.writes
                {
                    return match self.ties.is_empty() {
                        true => Ok(()),
                        false => self.written(*query, *first, &known),
                    };
                }
                let mut pushed = Vec::new();
                for index in 0..self.bound.queries[*query].outputs.len() {
                    for set in known.sets(first + index as Variable) {
                        pushed.extend(self.push(*query, index, set));
                    }
                }
                let known = if pushed.is_empty() {
                    known
                } else {
                    Rc::new(known.with(pushed))
                };
                tasks.push(Task::Query(*query, known));
                Ok(())
            }
            Item::Join(join) => {
                let both = || {
                    let more = join
                        .left_facts
                        .iter()
                        .chain(&join.right_facts)
                        .chain(&join.facts);
                    Rc::new(known.with(more.copied()))
                };
                let with = |facts: &[Fact]| Rc::new(known.with(facts.iter().copied()));
                let (left, right, condition) = match join.kind {
                    JoinKind::Inner => {
                        let both = both();
                        (both.clone(), both.clone(), both)
                    }
                    JoinKind::Left => {
                        let both = both();
                        (with(&join.left_facts), both.clone(), both)
                    }
                    JoinKind::Right => {
                        let both = both();
                        (both.clone(), with(&join.right_facts), both)
                    }
                    JoinKind::Full => (
                        with(&join.left_facts),
                        with(&join.right_facts),
                        Rc::new(Known::default()),
                    ),
                };
                tasks.push(Task::Item(join.right, right));
                tasks.push(Task::Item(join.left, left));
                tasks.extend(
                    join.subqueries
                        .iter()
                        .map(|query| Task::Query(*query, condition.clone())),
                );
                Ok(())
            }
        }
    }

    fn table(
        &mut self,
        table: &Table,
        group: GroupId,
        key: &[KeyColumn],
        variables: &[Variable],
        known: &Known,
    ) -> Result<(), Error> {
        if !self.ties.is_empty() {
            let meets = |tie: &Tie| {
                tie.group == group
                    && tie.sets.len() == variables.len()
                    && (variables.iter().zip(&tie.sets))
                        .all(|(variable, set)| known.sets(*variable).any(|known| known == *set))
            };
            return match self.ties.iter().any(meets) {
                true => Ok(()),
                false => Err(not_tied(
                    table,
                    key,
                    key.first().map_or("", |key| &key.name),
                )),
            };
        }
        if key.is_empty() {
            return Err(not_tied(table, key, ""));
        }
        let mut columns: Vec<Vec<KeySource>> = Vec::with_capacity(key.len());
        for (key_column, variable) in key.iter().zip(variables) {
            let set = self
                .best_set(*variable, known)
                .ok_or_else(|| not_tied(table, key, &key_column.name))?;
            columns.push(self.sources(set, key_column.key_type, KeyRole::Compared)?);
        }
        if columns.len() != key.len() {
            return Err(Error::internal(
                "a shard key column that its table does not have",
            ));
        }
        self.add_product(
            group,
            key.iter().map(|key| key.key_type).collect(),
            &columns,
        )
    }

    /// Of all sets that hold the column's value, the smallest; constants and literals before parameters.
    fn best_set(&self, variable: Variable, known: &Known) -> Option<&[Operand]> {
        known
            .sets(variable)
            .map(|set| self.bound.sets[set as usize].as_slice())
            .min_by_key(|set| {
                (
                    set.len(),
                    set.iter()
                        .filter(|operand| operand.parameter().is_some() || operand.array)
                        .count(),
                )
            })
    }

    fn sources(
        &self,
        set: &[Operand],
        key_type: KeyType,
        role: KeyRole,
    ) -> Result<Vec<KeySource>, Error> {
        let parameters = &self.bound.findings.parameters;
        sources(set, key_type, role, &|index| {
            parameters
                .get(usize::from(index))
                .is_none_or(|uses| uses.shared())
        })
    }

    fn add_product(
        &mut self,
        group: GroupId,
        types: SmallVec<[KeyType; 4]>,
        columns: &[Vec<KeySource>],
    ) -> Result<(), Error> {
        let combinations = columns.iter().map(Vec::len).product::<usize>();
        if columns.len() > 1 && combinations > COMBINATIONS {
            return Err(Error::TooComplex {
                message: "too many combinations of shard key values".into(),
            });
        }
        for number in 0..combinations {
            let mut rest = number;
            let sources: SmallVec<[KeySource; 1]> = columns
                .iter()
                .map(|column| {
                    let source = column[rest % column.len()].clone();
                    rest /= column.len();
                    source
                })
                .collect();
            self.add(KeyTuple {
                group,
                types: types.clone(),
                sources,
            });
        }
        Ok(())
    }

    /// Leaves out repetitions close by: joins give the same key again and again, long VALUES lists rarely do.
    fn add(&mut self, tuple: KeyTuple) {
        if !self
            .tuples
            .iter()
            .rev()
            .take(16)
            .any(|other| *other == tuple)
        {
            self.tuples.push(tuple);
        }
    }

    fn insert(
        &mut self,
        insert: &Insert,
        known: &Rc<Known>,
        tasks: &mut Vec<Task>,
    ) -> Result<(), Error> {
        match &insert.rows {
            InsertRows::Values(rows) => {
                for row in rows {
                    let columns: Vec<Vec<KeySource>> = row
                        .iter()
                        .zip(&insert.key_types)
                        .zip(&insert.type_modifiers)
                        .map(|((operand, key_type), type_modifier)| {
                            let role = KeyRole::Stored {
                                type_modifier: *type_modifier,
                            };
                            self.sources(std::slice::from_ref(operand), *key_type, role)
                        })
                        .collect::<Result<_, _>>()?;
                    if columns.len() == insert.key_types.len() {
                        self.add_product(
                            insert.group,
                            insert.key_types.iter().copied().collect(),
                            &columns,
                        )?;
                    }
                }
                Ok(())
            }
            InsertRows::Query { query, positions } => {
                tasks.push(Task::Query(*query, known.clone()));
                let mut branches = vec![*query];
                let several = matches!(
                    self.bound.queries[*query].kind,
                    QueryKind::SetOperation { .. }
                );
                while let Some(branch) = branches.pop() {
                    match &self.bound.queries[branch].kind {
                        QueryKind::SetOperation {
                            branches: inner, ..
                        } => branches.extend(inner),
                        QueryKind::Level(level) => {
                            self.selected(insert, branch, level, positions, known, several)?
                        }
                        QueryKind::Recursive { .. } => return Err(not_selected(insert)),
                    }
                }
                Ok(())
            }
        }
    }

    /// The keys that one SELECT hands to an INSERT.
    fn selected(
        &mut self,
        insert: &Insert,
        query: QueryId,
        level: &Level,
        positions: &[usize],
        known: &Known,
        several: bool,
    ) -> Result<(), Error> {
        let source = &self.bound.queries[query];
        if !source.positions_known {
            return Err(not_selected(insert));
        }
        let inner = known.with(level.item_facts.iter().chain(&level.facts).copied());
        let mut columns = Vec::with_capacity(positions.len());
        let keys = insert.key_types.iter().zip(&insert.type_modifiers);
        for (position, (key_type, type_modifier)) in positions.iter().zip(keys) {
            let output = source
                .outputs
                .get(*position)
                .ok_or_else(|| not_selected(insert))?;
            let set = match (output.variable, &output.operand) {
                (Some(variable), _) => {
                    let worth = self
                        .bound
                        .families
                        .get(variable as usize)
                        .copied()
                        .flatten();
                    if worth != Some(family(*key_type)) {
                        return Err(not_selected(insert));
                    }
                    self.best_set(variable, &inner)
                        .ok_or_else(|| not_selected(insert))?
                }
                // In a UNION, a constant without a type of its own takes that of the other branches.
                (None, Some(operand))
                    if operand.fits(family(*key_type)) && !(several && operand.untyped()) =>
                {
                    std::slice::from_ref(operand)
                }
                (None, _) => return Err(not_selected(insert)),
            };
            let role = KeyRole::Stored {
                type_modifier: *type_modifier,
            };
            columns.push(self.sources(set, *key_type, role)?);
        }
        self.add_product(
            insert.group,
            insert.key_types.iter().copied().collect(),
            &columns,
        )
    }
}

fn not_tied(table: &Table, key: &[KeyColumn], column: &str) -> Error {
    let names: Vec<&str> = key.iter().map(|key| key.name.as_str()).collect();
    Error::unsupported(format!("this statement needs rows of {} from several shards", table.name))
        .with_detail(format!(
            "Nothing ties {} to one shard: there is no equality of its shard key column {column} with a constant, a parameter, or a column that has one.",
            table.name
        ))
        .with_hint(format!(
            "Add an equality on the shard key {} of {}, or SET pgweave.shard_key.",
            names.join(", "),
            table.name
        ))
}

fn not_selected(insert: &Insert) -> Error {
    Error::unsupported(format!(
        "INSERT into the sharded table {} from a query whose {} is not tied to one shard",
        insert.table,
        insert.key_names.join(", ")
    ))
    .with_hint(format!(
        "Select {} as a constant, a parameter, or a column that the query compares with one.",
        insert.key_names.join(", ")
    ))
}
