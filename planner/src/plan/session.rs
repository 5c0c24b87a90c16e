//! Statements that the session itself answers or follows.

use std::ops::Range;

use super::Plan;

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
        /// The query's bytes within this statement's own text.
        query: Range<usize>,
        plan: Box<Plan>,
    },
    /// FETCH, or MOVE.
    Fetch {
        name: String,
        is_move: bool,
        course: Course,
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

/// Which rows FETCH asks for. A negative count goes the other way; `i64::MAX` is ALL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    Forward(i64),
    Backward(i64),
    /// The one row at this place, from 1; from the end if negative.
    Absolute(i64),
    /// The one row so far from the row at hand.
    Relative(i64),
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
