//! The plan: what the router does with one statement, as data.
//!
//! Entry point: [`Plan`]. A plan holds no values of an execution; [`crate::resolve()`] turns its [`Route`] and the values into a
//! shard. Plans are built once, shared by all sessions, and drawn by `Display` (see `display.rs`).
//! Deliberately absent until later rungs of the ladder exist: scatter, partial aggregation, gather.

use std::ops::Range;
use std::sync::Arc;

use catalog::{GroupId, KeyType, KeyValue, ShardId};
use smallvec::SmallVec;

/// One statement of a client's text and what to do with it.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The statement's bytes in the text, without the `;`. `None`: the text holds just this statement, send it whole.
    pub part: Option<Range<usize>>,
    pub plan: Arc<Plan>,
    /// Set on the last statement of the list when the text goes on: the byte at which the rest starts. It is to be planned when
    /// this statement has been executed, because this one may change what the rest means (DDL, settings, temporary
    /// tables), or because the rest's own error must not come before this one's result.
    pub rest: Option<usize>,
}

impl Planned {
    /// The statement's own text out of the whole text that was planned.
    pub fn text<'a>(&self, sql: &'a str) -> &'a str {
        match &self.part {
            Some(range) => sql.get(range.clone()).unwrap_or(sql),
            None => sql,
        }
    }
}

/// What to do with one statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// One shard answers; the client's own text goes there unchanged.
    Single(Single),
    /// The same text on several shards, atomically: DDL and writes to reference tables.
    Everywhere(Everywhere),
    /// The session itself answers, or must know.
    Session(SessionStatement),
    /// An operator's function or statement.
    Admin(AdminCall),
    /// EXPLAIN of another plan.
    Explain(Explain),
}

/// A statement for one shard.
#[derive(Debug, Clone, PartialEq)]
pub struct Single {
    pub route: Route,
    pub access: Access,
    /// The highest `$n`.
    pub parameters: u16,
    /// What keeps the session on this backend afterwards.
    pub pins: Pins,
    pub tag: StatementTag,
    /// Whether the statement has a result set (a query, or RETURNING).
    pub returns_rows: bool,
    /// Cannot run inside a transaction block: VACUUM, CREATE DATABASE …
    pub no_block: bool,
    pub effects: Effects,
}

/// May it go to a replica, may it change something?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// May run on a replica.
    Read,
    /// SELECT … FOR UPDATE and its kin: primary only.
    LockingRead,
    /// Changes something, or calls a function that may.
    Write,
}

/// Which shards can answer, before values are known.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// Nothing, reference tables or system catalogs only: any shard.
    Any,
    /// Unsharded or temporary tables, or manual routing.
    Shard(ShardId),
    /// Schema `pgweave`: the catalog's home.
    Catalog,
    /// Rows of sharded tables with these keys. Every tuple must lead to one and the same shard.
    Key(KeyRoute),
}

/// The keys a statement touches.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyRoute {
    /// At least one; duplicates removed.
    pub keys: Vec<KeyTuple>,
    /// The statement touches an unsharded table on this shard as well.
    pub also: Option<ShardId>,
}

/// One value source per column of the shard key, in key order.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyTuple {
    pub group: GroupId,
    pub sources: SmallVec<[KeySource; 1]>,
}

/// Where a key column's value comes from at execution.
#[derive(Debug, Clone, PartialEq)]
pub enum KeySource {
    Constant(KeyValue),
    Parameter {
        /// From 0: `$1` is 0.
        index: u16,
        /// The explicit cast on the parameter.
        cast: Option<KeyType>,
        /// `= ANY($n)`: every element.
        array: bool,
        /// The parameter also stands where its type may be inferred otherwise.
        shared: bool,
        role: KeyRole,
    },
    /// A literal that the scanner lifted out of a simple query.
    Literal {
        /// From 0, in the order of the text.
        index: u16,
        negative: bool,
        cast: Option<KeyType>,
        array: bool,
        role: KeyRole,
    },
}

/// A compared value that no key can equal matches nothing; a stored one must be convertible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole {
    Compared,
    Stored,
}

/// A PostgreSQL command tag without its row counts: `SELECT`, `CREATE TABLE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatementTag(pub &'static str);

/// Why a session must keep a backend after the statement.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Pins(u8);

impl Pins {
    pub const NONE: Pins = Pins(0);
    pub const TEMPORARY: Pins = Pins(1);
    pub const ADVISORY_LOCK: Pins = Pins(2);
    pub const HOLD_CURSOR: Pins = Pins(4);
    pub const LISTEN: Pins = Pins(8);
    /// `set_config` with arguments that are not literals.
    pub const SETTINGS: Pins = Pins(16);
    /// LOAD, SET SESSION AUTHORIZATION, DO, CALL: state that cannot be followed.
    pub const UNTRACKED: Pins = Pins(32);

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    pub fn contains(self, other: Pins) -> bool {
        self.0 & other.0 == other.0
    }
    pub fn insert(&mut self, other: Pins) {
        self.0 |= other.0;
    }
    /// These reasons less `other`.
    pub fn without(self, other: Pins) -> Pins {
        Pins(self.0 & !other.0)
    }
    /// The names of the reasons that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (Pins::TEMPORARY, "temporary"),
            (Pins::ADVISORY_LOCK, "advisory_lock"),
            (Pins::HOLD_CURSOR, "hold_cursor"),
            (Pins::LISTEN, "listen"),
            (Pins::SETTINGS, "settings"),
            (Pins::UNTRACKED, "untracked"),
        ]
        .into_iter()
        .filter(move |(pin, _)| self.contains(*pin))
        .map(|(_, name)| name)
    }
}

impl std::ops::BitOr for Pins {
    type Output = Pins;
    fn bitor(self, other: Pins) -> Pins {
        Pins(self.0 | other.0)
    }
}

impl std::fmt::Debug for Pins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// What the session must remember once a statement has succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// Names of temporary relations it creates.
    pub creates_temporary: Vec<String>,
    /// Names of temporary relations it drops.
    pub drops_temporary: Vec<String>,
    /// `set_config` calls with literal arguments, in order.
    pub set_config: Vec<SetConfig>,
}

impl Effects {
    pub fn is_empty(&self) -> bool {
        self.creates_temporary.is_empty()
            && self.drops_temporary.is_empty()
            && self.set_config.is_empty()
    }
}

/// `set_config('name', 'value', is_local)`. `value: None` is NULL: the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetConfig {
    pub name: String,
    pub value: Option<String>,
    pub is_local: bool,
}

/// The same text on several shards, all or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Everywhere {
    pub shards: Where,
    pub access: Access,
    pub parameters: u16,
    pub tag: StatementTag,
    /// RETURNING on a reference write: the rows of one shard are the answer.
    pub returns_rows: bool,
    pub kind: EverywhereKind,
    /// CONCURRENTLY: shard by shard, outside a transaction.
    pub concurrently: bool,
    /// Cannot run inside a transaction block.
    pub no_block: bool,
}

/// A set of shards named by what they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    All,
    Shards(Vec<ShardId>),
    /// Every shard of a colocation group's map.
    Group(GroupId),
    /// The shards that have a relation of this name: indexes and the like, which the catalog does not list.
    Holding(Name),
}

#[derive(Debug, Clone, PartialEq)]
pub enum EverywhereKind {
    Ddl(DdlEffect),
    /// The same deterministic change to every copy of a reference table.
    ReferenceWrite,
    /// TRUNCATE, LOCK: rows or locks on every shard, nothing for the catalog to re-read.
    Rows,
    /// VACUUM, ANALYZE, CLUSTER, REINDEX, CHECKPOINT: upkeep, shard by shard.
    Maintenance,
}

/// What the catalog must re-read when the DDL is done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DdlEffect {
    pub changes: Vec<Change>,
}

/// A relation's full name. Unqualified names have been resolved by the search path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub schema: String,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    TableCreated {
        table: Name,
        if_not_exists: bool,
        sharding: NewTable,
    },
    TableAltered {
        table: Name,
    },
    TableDropped {
        table: Name,
    },
    TableRenamed {
        table: Name,
        new: Name,
    },
    ColumnRenamed {
        table: Name,
        column: String,
        new: String,
    },
    /// A view was created, replaced, altered or dropped.
    View {
        view: Name,
    },
    /// Functions of this name were created, altered or dropped.
    Function {
        schema: Option<String>,
        name: String,
    },
    Sequence {
        sequence: Name,
    },
    Schema {
        schema: String,
    },
    /// A schema's name changed: everything in it has a new name.
    SchemaRenamed {
        schema: String,
        new: String,
    },
    /// Types, roles, grants, comments: nothing that routing depends on.
    Other,
}

/// How a table made by CREATE TABLE is placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewTable {
    Unsharded {
        shard: ShardId,
    },
    /// It has a column registered with `pgweave.auto_shard`.
    Auto {
        column: String,
        group: Option<GroupId>,
    },
    /// A partition or an inheriting child: placed as its parent.
    Child {
        parent: Name,
    },
}

/// EXPLAIN.
#[derive(Debug, Clone, PartialEq)]
pub struct Explain {
    pub inner: Box<Plan>,
    pub analyze: bool,
    /// A parenthesized option list was given: the shard's own plan is shown beneath the route.
    pub has_options: bool,
    pub options: Vec<(String, Option<String>)>,
    pub format: ExplainFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplainFormat {
    Text,
    Json,
    Xml,
    Yaml,
}

/// A call of an operator's function, by `SELECT pgweave.name(...)` or by the operator's dialect.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminCall {
    /// The function's name without `pgweave.`.
    pub name: String,
    /// Positional ones first, then named ones, as in the call.
    pub arguments: Vec<(Option<String>, AdminArg)>,
    /// The name of the result's column.
    pub column: String,
    /// `SELECT * FROM pgweave.f(...)`: the function's columns; else one column with the value.
    pub from_clause: bool,
    pub parameters: u16,
}

#[derive(Debug, Clone, PartialEq)]
pub enum AdminArg {
    Text(String),
    /// As written.
    Number(String),
    Boolean(bool),
    Null,
    Array(Vec<AdminArg>),
    /// From 0: `$1` is 0.
    Parameter(u16),
}

/// A statement about the session.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionStatement {
    /// No tokens at all: EmptyQueryResponse.
    Empty,
    Begin {
        modes: TransactionModes,
    },
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    /// `PREPARE TRANSACTION`, `COMMIT PREPARED`, `ROLLBACK PREPARED`: refused behind a router.
    PrepareTransaction(String),
    CommitPrepared(String),
    RollbackPrepared(String),
    Set {
        scope: SetScope,
        name: String,
        value: SetValue,
    },
    /// `SET TRANSACTION …`: this transaction.
    SetTransaction {
        modes: TransactionModes,
    },
    /// `SET SESSION CHARACTERISTICS AS TRANSACTION …`
    SetSessionCharacteristics {
        modes: TransactionModes,
    },
    /// `SET TRANSACTION SNAPSHOT 'id'`
    SetSnapshot(String),
    SetConstraints {
        deferred: bool,
        names: Option<Vec<String>>,
    },
    /// `None`: RESET ALL.
    Reset(Option<String>),
    /// `None`: SHOW ALL.
    Show(Option<String>),
    Discard(Discard),
    /// `types` are the texts between the parentheses; `statement` is bytes within this statement's own text.
    Prepare {
        name: String,
        types: Vec<String>,
        statement: Range<usize>,
        plan: Box<Plan>,
    },
    /// `arguments` are expression texts.
    Execute {
        name: String,
        arguments: Vec<String>,
    },
    /// `None`: DEALLOCATE ALL.
    Deallocate(Option<String>),
    Declare {
        name: String,
        hold: bool,
        scroll: Option<bool>,
        binary: bool,
        plan: Box<Plan>,
    },
    /// FETCH, or MOVE.
    Fetch {
        name: String,
        is_move: bool,
    },
    /// `None`: CLOSE ALL.
    CloseCursor(Option<String>),
    Listen(String),
    /// `None`: UNLISTEN *.
    Unlisten(Option<String>),
    Notify {
        channel: String,
        payload: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetScope {
    Session,
    Local,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetValue {
    /// Each item as text, unquoted, for tracking; `text` is what stood after TO, for replaying.
    Values {
        items: Vec<String>,
        text: String,
    },
    Default,
    /// `SET x FROM CURRENT` (only within CREATE FUNCTION, refused elsewhere by the server).
    Current,
}

impl SetValue {
    /// The value as `SHOW` would give it before the server normalizes it: items joined by `, `.
    pub fn joined(&self) -> Option<String> {
        match self {
            SetValue::Values { items, .. } => Some(items.join(", ")),
            SetValue::Default | SetValue::Current => None,
        }
    }
}

/// What BEGIN and SET TRANSACTION can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransactionModes {
    pub isolation: Option<Isolation>,
    pub read_only: Option<bool>,
    pub deferrable: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    All,
    Plans,
    Sequences,
    Temp,
}
