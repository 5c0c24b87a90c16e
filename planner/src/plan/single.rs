//! A statement that one shard answers: its route, and what the session must know about it.

use catalog::{GroupId, KeyType, KeyValue, ShardId};
use smallvec::SmallVec;

use super::Instead;

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
    /// `currval` or `lastval`: answers what an earlier statement of the session has drawn, on the connection that ran it.
    pub recalls: bool,
    /// For when its keys lie on several shards.
    pub instead: Instead,
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
    /// Of the table's columns. Its group may hold tables with wider or narrower integers.
    pub types: SmallVec<[KeyType; 4]>,
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

/// A compared value that no key can equal matches nothing; a stored one must be convertible, and is what the column makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole {
    Compared,
    Stored {
        /// The column's `pg_attribute.atttypmod`.
        type_modifier: i32,
    },
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
    /// They end with the transaction: ON COMMIT DROP.
    pub until_commit: bool,
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
