//! The session's transaction block: opened by BEGIN, or by the router around several statements that PostgreSQL would
//! run as one implicit transaction.
//!
//! BEGIN is lazy. A shard joins at its first statement, and what the block has said so far (isolation level,
//! savepoints, SET LOCAL) is replayed there first, so that a later ROLLBACK TO undoes on late joiners too.

use std::sync::Arc;

use catalog::Catalog;
use planner::{Isolation, TransactionModes};

use super::settings::push_literal;
use crate::ddl::Edits;

/// An open transaction block.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Opened by the client; otherwise by the router, and it ends with the batch.
    pub explicit: bool,
    /// A statement has failed: only ROLLBACK (or COMMIT, which means it) goes on.
    pub failed: bool,
    /// What the block did on a shard is gone with the connection: there is nothing to commit any more.
    pub lost: bool,
    /// A statement has been sent to a shard, or is about to be: what the transaction sees is settled.
    pub queried: bool,
    /// All shards have joined, with snapshots that fit together.
    pub snapshot: bool,
    pub modes: TransactionModes,
    /// What a shard that joins must be told after BEGIN, in order.
    replay: Vec<Replay>,
    /// What DDL has changed, for the catalog.
    edits: Edits,
    /// The catalog that the first of them was planned by.
    pub base: Option<Arc<Catalog>>,
    /// The catalog with these changes.
    pub overlay: Option<Arc<Catalog>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Replay {
    /// With the number of edits at that moment.
    Savepoint(Box<str>, usize),
    /// A statement about the session: SET, RESET, SET CONSTRAINTS.
    Local(Box<str>),
}

impl Block {
    pub fn explicit(modes: TransactionModes) -> Self {
        Self {
            explicit: true,
            modes,
            ..Self::default()
        }
    }

    pub fn implicit() -> Self {
        Self::default()
    }

    /// What a joining shard is sent before its first statement, one simple query each: BEGIN first.
    pub fn opening(&self) -> impl Iterator<Item = String> {
        std::iter::once(begin_text(&self.modes)).chain(self.replay.iter().map(|step| match step {
            Replay::Savepoint(name, _) => {
                let mut sql = String::from("SAVEPOINT ");
                push_identifier(&mut sql, name);
                sql
            }
            Replay::Local(sql) => sql.to_string(),
        }))
    }

    /// What SET LOCAL said in it.
    pub fn local_settings(&self) -> impl Iterator<Item = &str> {
        self.replay.iter().filter_map(|step| match step {
            Replay::Savepoint(..) => None,
            Replay::Local(sql) => Some(&**sql),
        })
    }

    /// Whether [`Self::opening`] is a plain BEGIN, so that a statement may follow in the same packet.
    pub fn opens_plainly(&self) -> bool {
        self.replay.is_empty() && self.modes == TransactionModes::default()
    }

    pub fn savepoint(&mut self, name: &str) {
        self.replay
            .push(Replay::Savepoint(name.into(), self.edits.len()));
    }

    /// The savepoint set last that is still there.
    pub fn last_savepoint(&self) -> Option<&str> {
        self.replay.iter().rev().find_map(|step| match step {
            Replay::Savepoint(name, _) => Some(&**name),
            Replay::Local(_) => None,
        })
    }

    pub fn has_savepoint(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// Forgets the savepoint and what was said after it; a failed block is healthy again.
    pub fn rollback_to(&mut self, name: &str) {
        if let Some(index) = self.position(name) {
            self.replay.truncate(index + 1);
            self.failed = false;
            if let Some(Replay::Savepoint(_, edits)) = self.replay.last()
                && *edits < self.edits.len()
            {
                self.edits.truncate(*edits);
                self.overlay = None;
            }
        }
    }

    /// Forgets the savepoint and later ones, but not what was said since.
    pub fn release(&mut self, name: &str) {
        if let Some(index) = self.position(name) {
            let mut at = 0;
            self.replay.retain(|step| {
                at += 1;
                at <= index || matches!(step, Replay::Local(_))
            });
        }
    }

    /// What DDL in the block has changed so far.
    pub fn edits(&self) -> &Edits {
        &self.edits
    }

    pub fn add_edits(&mut self, edits: Edits) {
        self.edits.append(edits);
    }

    /// A statement for shards that join later.
    pub fn remember(&mut self, sql: String) {
        self.replay.push(Replay::Local(sql.into()));
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.replay
            .iter()
            .rposition(|step| matches!(step, Replay::Savepoint(known, _) if &**known == name))
    }
}

/// BEGIN with its modes spelled out.
pub fn begin_text(modes: &TransactionModes) -> String {
    format!("BEGIN{}", modes_text(modes))
}

/// The modes as they stand after BEGIN or SET TRANSACTION, with a leading blank each.
pub fn modes_text(modes: &TransactionModes) -> String {
    let mut sql = String::new();
    if let Some(isolation) = modes.isolation {
        sql.push_str(match isolation {
            Isolation::ReadUncommitted => " ISOLATION LEVEL READ UNCOMMITTED",
            Isolation::ReadCommitted => " ISOLATION LEVEL READ COMMITTED",
            Isolation::RepeatableRead => " ISOLATION LEVEL REPEATABLE READ",
            Isolation::Serializable => " ISOLATION LEVEL SERIALIZABLE",
        });
    }
    if let Some(read_only) = modes.read_only {
        sql.push_str(if read_only {
            " READ ONLY"
        } else {
            " READ WRITE"
        });
    }
    if let Some(deferrable) = modes.deferrable {
        sql.push_str(if deferrable {
            " DEFERRABLE"
        } else {
            " NOT DEFERRABLE"
        });
    }
    sql
}

/// A quoted identifier.
pub fn push_identifier(sql: &mut String, name: &str) {
    sql.push('"');
    sql.push_str(&name.replace('"', "\"\""));
    sql.push('"');
}

/// `set_config` as a statement.
pub fn set_config_text(name: &str, value: &str, is_local: bool) -> String {
    let mut sql = String::from("SELECT pg_catalog.set_config(");
    push_literal(&mut sql, name);
    sql.push_str(", ");
    push_literal(&mut sql, value);
    sql.push_str(if is_local { ", true)" } else { ", false)" });
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_joiner_hears_savepoints_and_local_settings_in_order() {
        let mut block = Block::explicit(TransactionModes {
            isolation: Some(Isolation::RepeatableRead),
            ..TransactionModes::default()
        });
        block.savepoint("a");
        block.remember("SET LOCAL work_mem TO '1MB'".to_owned());
        block.savepoint("b\"");
        assert_eq!(
            block.opening().collect::<Vec<_>>(),
            [
                "BEGIN ISOLATION LEVEL REPEATABLE READ",
                "SAVEPOINT \"a\"",
                "SET LOCAL work_mem TO '1MB'",
                "SAVEPOINT \"b\"\"\"",
            ]
        );
        block.release("a");
        assert_eq!(
            block.opening().skip(1).collect::<Vec<_>>(),
            ["SET LOCAL work_mem TO '1MB'"]
        );
    }

    #[test]
    fn rollback_to_forgets_what_came_after() {
        let mut block = Block::explicit(TransactionModes::default());
        block.savepoint("a");
        block.remember("SET LOCAL x TO 1".to_owned());
        block.failed = true;
        block.rollback_to("a");
        assert!(!block.failed);
        assert_eq!(block.opening().count(), 2);
        assert!(block.has_savepoint("a"));
    }
}
