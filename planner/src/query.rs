//! A statement after names have been bound: which relations appear where, and which equalities hold.
//!
//! Entry point: [`Bound`]. Built by `bind`, read by `key`. Nodes live in arenas and name each other by index, so that no depth of nesting
//! costs stack to drop. Expressions are gone: what is left of them are facts and the queries inside them.

use catalog::{GroupId, KeyColumn, ShardId, Table, TableId, View};

use smallvec::SmallVec;

use crate::convert::Family;
use crate::facts::{Fact, SetId, Variable};
use crate::operand::Operand;
use crate::{Access, Effects, Error, Pins, Served};

pub(crate) type QueryId = usize;
pub(crate) type ItemId = usize;

/// The arenas and the findings of one statement.
#[derive(Default)]
pub(crate) struct Bound<'c> {
    pub items: Vec<Item<'c>>,
    pub queries: Vec<Query>,
    pub sets: Vec<Vec<Operand>>,
    /// Per variable: what its equality is worth. `None`: nothing.
    pub families: Vec<Option<Family>>,
    /// Data-modifying CTEs: executed whether or not they are referred to.
    pub standalone: Vec<QueryId>,
    pub findings: Findings<'c>,
}

/// An element of FROM, or the target of a write.
pub(crate) enum Item<'c> {
    /// A sharded table: must be tied to one placement.
    Sharded {
        table: &'c Table,
        group: GroupId,
        key: &'c [KeyColumn],
        key_variables: Vec<Variable>,
        /// Among the binder's relations.
        relation: usize,
        location: i32,
    },
    /// Nothing to prove: every shard has all of its rows.
    Reference {
        relation: usize,
    },
    /// Nothing to prove: unsharded tables, functions, catalogs.
    Other,
    /// A subquery, a view or a reference to a CTE. `first`: the variable of its first output column.
    Derived {
        query: QueryId,
        first: Variable,
    },
    Join(Join),
}

pub(crate) struct Join {
    pub kind: JoinKind,
    pub left: ItemId,
    pub right: ItemId,
    /// Equalities of the join's own condition.
    pub facts: Vec<Fact>,
    /// What holds for every row that the left, the right side yields.
    pub left_facts: Vec<Fact>,
    pub right_facts: Vec<Fact>,
    /// Queries inside the condition.
    pub subqueries: Vec<QueryId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

/// One SELECT, VALUES or data-modifying statement.
#[derive(Default)]
pub(crate) struct Query {
    pub kind: QueryKind,
    pub outputs: Vec<Output>,
    /// The positions of `outputs` are reliable.
    pub positions_known: bool,
    /// The list of outputs is complete.
    pub names_known: bool,
    /// Variables below belong to relations outside.
    pub first_inner: Variable,
}

pub(crate) enum QueryKind {
    Level(Box<Level>),
    /// Branches of UNION, INTERSECT, EXCEPT. `pushable`: conditions on an output may be applied to the branches.
    SetOperation {
        branches: Vec<QueryId>,
        pushable: bool,
        /// UNION ALL throughout.
        appends: bool,
        limited: bool,
        subqueries: Vec<QueryId>,
    },
    /// WITH RECURSIVE: `base UNION step`, where `step` reads the result so far through variables from `first` on.
    /// `facts`: outputs that are in a set in every round.
    Recursive {
        base: QueryId,
        step: QueryId,
        first: Variable,
        facts: Vec<(usize, SetId)>,
    },
}

impl Default for QueryKind {
    fn default() -> QueryKind {
        QueryKind::Level(Box::default())
    }
}

/// One level of a query: FROM, WHERE and what is computed from them. Also UPDATE and DELETE (the target is an item),
/// INSERT and VALUES.
#[derive(Default)]
pub(crate) struct Level {
    pub items: Vec<ItemId>,
    /// What every row of FROM satisfies, WHERE not counted.
    pub item_facts: Vec<Fact>,
    /// Equalities of WHERE.
    pub facts: Vec<Fact>,
    /// Queries inside expressions that are evaluated for relevant rows.
    pub subqueries: Vec<QueryId>,
    /// Queries inside what is computed from the rows: the select list, HAVING, ORDER BY, LIMIT.
    pub computed: Vec<QueryId>,
    /// There may be an output row although WHERE accepts none: aggregates without GROUP BY, grouping sets. So WHERE tells
    /// nothing of the rows outside, which are all that such a row can name.
    pub unconditional: bool,
    /// Queries inside expressions about whose rows nothing is known: arguments of table functions.
    pub loose_subqueries: Vec<QueryId>,
    /// Conditions from outside must not be applied to the rows of this level (LIMIT, windows, writes …).
    pub barrier: bool,
    /// How its rows come about, beyond FROM and WHERE.
    pub computes: Computes,
    /// Per element of ORDER BY: the column of FROM that its name means, if it is one.
    pub sorted: Vec<Option<Variable>>,
    /// INSERT, UPDATE, DELETE, MERGE.
    pub writes: bool,
    /// GROUP BY: conditions may be applied to these columns only.
    pub grouped: Option<Vec<Variable>>,
    pub insert: Option<Insert>,
    /// The keys of rows that MERGE inserts: columns of its source.
    pub merge_keys: Vec<Vec<Variable>>,
}

/// What a level makes of the rows of FROM that WHERE accepts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Computes {
    pub aggregates: bool,
    pub grouping_sets: bool,
    pub windows: bool,
    pub distinct: bool,
    pub distinct_on: bool,
    pub limited: bool,
    pub locks: bool,
}

impl Level {
    /// What holds where output is computed. `first_inner`: the first variable of the level's own relations.
    pub fn facts_of_output(&self, first_inner: Variable) -> Vec<Fact> {
        self.item_facts
            .iter()
            .chain(&self.facts)
            .copied()
            .filter(|fact| {
                !self.unconditional
                    || match *fact {
                        Fact::Same(a, b) => a >= first_inner && b >= first_inner,
                        Fact::In(a, _) => a >= first_inner,
                    }
            })
            .collect()
    }
}

/// Rows that go into a sharded table.
pub(crate) struct Insert {
    pub group: GroupId,
    pub table: String,
    pub rows: InsertRows,
    pub key_types: Vec<catalog::KeyType>,
    /// `pg_attribute.atttypmod` of each key column.
    pub type_modifiers: Vec<i32>,
    pub key_names: Vec<String>,
}

pub(crate) enum InsertRows {
    /// Per row one operand per key column.
    Values(Vec<Vec<Operand>>),
    /// Per key column the position in the query's output.
    Query {
        query: QueryId,
        positions: Vec<usize>,
    },
}

/// One column of a query's result.
#[derive(Debug, Clone, Default)]
pub(crate) struct Output {
    pub name: Option<String>,
    /// It is this column, unchanged.
    pub variable: Option<Variable>,
    /// It is this constant.
    pub operand: Option<Operand>,
}

/// A table or a view named in a query's own text, or in the definition of a view.
pub(crate) struct Appearance<'c> {
    pub what: Appears<'c>,
    /// The appearance of the view whose definition names it. `None`: the query's own text does.
    pub within: Option<usize>,
    /// Byte in that text at which the name starts.
    pub location: i32,
    /// The name as it is written: with or without schema.
    pub path: SmallVec<[&'c str; 2]>,
    /// What the query calls it otherwise.
    pub alias: Option<String>,
    /// Its columns have other names in the query.
    pub renamed: bool,
    /// Among the binder's relations.
    pub relation: usize,
    /// `FROM ONLY`.
    pub only: bool,
}

pub(crate) enum Appears<'c> {
    Table(&'c Table),
    View(ViewUse<'c>),
    /// Of schema `pgweave`.
    Served(&'static str, Served),
}

impl<'c> Appears<'c> {
    /// Its schema and its own name.
    pub fn name(&self) -> (&'c str, &'c str) {
        match self {
            Appears::Table(table) => (&table.schema, &table.name),
            Appears::View(used) => (&used.view.schema, &used.view.name),
            Appears::Served(name, _) => ("pgweave", name),
        }
    }
}

/// A view that a query reads.
pub(crate) struct ViewUse<'c> {
    pub view: &'c View,
    /// Its definition, bound.
    pub query: QueryId,
    /// It reads sharded tables.
    pub sharded: bool,
    /// The shards of the unsharded tables and functions that it uses.
    pub homes: Vec<ShardId>,
    /// It asks for nothing that two servers could disagree about, the time included.
    pub steady: bool,
}

/// A place where the column tableoid is named.
pub(crate) struct TableOid<'c> {
    pub location: i32,
    /// The name as it is written.
    pub path: Vec<String>,
    /// What the query calls the table.
    pub called: String,
    pub table: &'c Table,
}

/// What the binder saw on its way that matters for the plan as a whole.
#[derive(Default)]
pub(crate) struct Findings<'c> {
    /// Tables and views that queries read, where they are named.
    pub appearances: Vec<Appearance<'c>>,
    /// Where nextval is called, and where currval or lastval.
    pub draws: Vec<i32>,
    pub recalls: Vec<i32>,
    /// Tables are read through functions.
    pub in_place: bool,
    /// The first thing that two servers could disagree about, however equal their rows.
    pub varies: Option<String>,
    /// Where the query's own text names a column with its table's schema, and the schema.
    pub schema_names: Vec<(i32, String)>,
    /// It asks for the time of its transaction.
    pub moments: bool,
    /// Where it does so in its own text; -1 in a view's.
    pub moment_places: Vec<i32>,
    /// The first thing that has one value for a whole statement, but another on each server.
    pub differs: Option<String>,
    /// Constants that dates and times read as the moment of execution, where they stand.
    pub moment_words: Vec<i32>,
    /// An UPDATE assigns to the shard key.
    pub moves: Option<Error>,
    /// The first volatile function within a subquery, where one evaluation may serve many rows.
    pub volatile_within: Option<String>,
    /// There is a GROUP BY.
    pub groups_rows: bool,
    /// Why copies of the tables' rows would not do for the query.
    pub not_gathered: Option<String>,
    /// Unsharded tables, temporary tables and functions that act on one server.
    pub homes: Vec<(ShardId, String)>,
    pub uses_pgweave: bool,
    /// Something of schema `pgweave` that no server has.
    pub is_served: bool,
    /// Where sizes over all shards are asked for, and by which function.
    pub sizes: Vec<(i32, &'static str)>,
    /// Where the query's own text names the column tableoid of a table: the name as it is written, and the table.
    pub tableoids: Vec<TableOid<'c>>,
    /// One of them is not just cast to the table's name, which is the same on all servers.
    pub tableoid: bool,
    /// The first other system column that is read.
    pub system_column: Option<String>,
    /// The first system catalog that is read.
    pub system: Option<String>,
    pub access: Option<Access>,
    pub pins: Pins,
    pub effects: Effects,
    /// Uses of each parameter.
    pub parameters: Vec<ParameterUse>,
    /// A bit per lifted literal: stands where a value does no harm.
    pub harmless: Vec<bool>,
    /// Some value decides the plan itself: do not share it with texts that differ in literals.
    pub tied_to_values: bool,
    /// Reference tables that are written.
    pub reference_writes: Vec<String>,
    /// Other tables that are written.
    pub other_writes: Vec<String>,
    /// Reference tables that rows are locked in.
    pub reference_locks: Vec<String>,
    /// The first thing that two copies of a reference table could disagree about.
    pub unsettled: Option<String>,
    /// Sharded tables that appear.
    pub sharded: Vec<String>,
    /// Their colocation groups.
    pub groups: Vec<GroupId>,
    /// Reference tables that appear.
    pub references: Vec<String>,
    /// The same ones by id.
    pub reference_tables: Vec<TableId>,
    /// System catalogs, or functions that tell of one server: prefer the default shard.
    pub uses_system: bool,
    /// Window functions seen so far.
    pub windows: u32,
    /// What cannot be done without manual routing.
    pub refusal: Option<Error>,
}

impl Findings<'_> {
    pub fn keep_in_place(&mut self, why: impl Into<String>) {
        self.not_gathered.get_or_insert_with(|| why.into());
    }

    /// Whether it asks for a number that an earlier statement has drawn.
    pub fn recalls_earlier(&self) -> bool {
        match (self.recalls.iter().min(), self.draws.iter().min()) {
            (Some(recall), Some(draw)) => recall < draw,
            (recall, _) => recall.is_some(),
        }
    }

    pub fn raise(&mut self, access: Access) {
        self.access = Some(self.access.map_or(access, |now| now.max(access)));
    }

    pub fn unsettle(&mut self, what: impl Into<String>) {
        self.unsettled.get_or_insert_with(|| what.into());
    }

    /// As `unsettle`, for what depends on the server or the moment.
    pub fn vary(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.varies.get_or_insert_with(|| what.clone());
        self.unsettle(what);
    }

    /// As `vary`, for what has one value for a whole statement.
    pub fn differ(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.differs.get_or_insert_with(|| what.clone());
        self.vary(what);
    }

    /// The time of the transaction is asked for here.
    pub fn ask_moment(&mut self, location: i32) {
        self.moments = true;
        self.moment_places.push(location);
    }

    pub fn refuse(&mut self, error: Error) {
        self.refusal.get_or_insert(error);
    }

    pub fn home(&mut self, shard: ShardId, what: impl Into<String>) {
        if !self.homes.iter().any(|(home, _)| *home == shard) {
            self.homes.push((shard, what.into()));
        }
    }
}

/// How often a parameter occurs, and how often as a key of which family and cast.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ParameterUse {
    pub total: u32,
    pub keyed: u32,
    pub family: Option<Family>,
    pub cast: Option<catalog::KeyType>,
    pub array: bool,
    pub mixed: bool,
}

impl ParameterUse {
    /// Whether its type could be inferred from something else than a key.
    pub fn shared(&self) -> bool {
        self.mixed || self.keyed < self.total
    }
}
