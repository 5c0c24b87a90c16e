//! A write that several shards carry out, each for its own rows, all or nothing.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use catalog::{GroupId, KeyType, ShardId};

use crate::{KeyTuple, Learned, Plan, StatementTag};

/// One write for each shard concerned. Which shards these are, and what each is sent, is said by [`Spread::errands`].
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    /// The statement's bytes in the text that was planned.
    pub statement: Range<usize>,
    pub tag: StatementTag,
    pub group: GroupId,
    pub kind: SpreadKind,
    /// What is written otherwise for shards, in the order of the text. Bytes are those of the statement.
    pub edits: Arc<[Edit]>,
    /// RETURNING: rows come in the order of VALUES, or in any.
    pub returns_rows: bool,
    /// The highest `$n` of the client.
    pub parameters: u16,
    /// Shards are told the time of the transaction by a parameter of their own, their last.
    pub moment: bool,
    pub learned: Learned,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SpreadKind {
    /// INSERT of many rows: each goes to its own shard only.
    Rows(Arc<SpreadRows>),
    /// The same statement on each of these shards. `None`: all shards of the group.
    Each(Option<Vec<ShardId>>),
}

/// The rows of VALUES.
#[derive(Debug, Clone, PartialEq)]
pub struct SpreadRows {
    pub rows: Vec<SpreadRow>,
    /// A parameter is named more than once, so that another shard's part may decide its type.
    pub repeats: bool,
    /// Rows may be left out, so that what is returned must tell which rows it is of: the key's columns come first, which the client
    /// does not see. Empty: each row gives one.
    pub tells: Vec<KeyType>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SpreadRow {
    /// `None`: a part of the key is NULL, as any shard says.
    pub key: Option<KeyTuple>,
    /// Its bytes in the statement, parentheses included.
    pub span: Range<usize>,
}

/// A piece of a statement that shards are sent otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub range: Range<usize>,
    pub what: EditKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditKind {
    /// `$n`, from 0: has another number where not all parameters are sent.
    Parameter(u16),
    /// The time of the transaction, cast to this type as well if it is given.
    Moment(Option<&'static str>),
    /// The hidden columns of RETURNING, as SQL, stand here.
    Hidden(Arc<str>),
}

/// What is planned instead of a statement for one shard, when its values lead to several; found when it is first asked for.
/// Copies share it; plans are equal whatever it holds.
#[derive(Debug, Clone, Default)]
pub struct Instead(Arc<OnceLock<Arc<Plan>>>);

impl Instead {
    pub fn get(&self) -> Option<&Arc<Plan>> {
        self.0.get()
    }

    /// Whoever comes first is kept: plans of one statement are alike.
    pub fn note(&self, plan: Arc<Plan>) {
        let _ = self.0.set(plan);
    }
}

impl PartialEq for Instead {
    fn eq(&self, _: &Instead) -> bool {
        true
    }
}
