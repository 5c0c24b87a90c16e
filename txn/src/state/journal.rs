//! What was said in a transaction and must be said again to a shard that joins late: settings and savepoints, in order.
//!
//! Savepoints are numbered from 1 as they are made; 0 stands for the transaction itself. Numbers are never reused, so
//! whatever carries a number at least that of a savepoint happened after it was made. That remains true when an inner
//! savepoint is released: its number is still greater than those around it.

use crate::sql;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Journal {
    entries: Vec<Entry>,
    made: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Setting(Setting),
    Savepoint { name: Box<str>, number: u64 },
}

/// A setting made in a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub scope: SettingScope,
    /// The parameter, in lower case; for SET TRANSACTION and SET CONSTRAINTS those words.
    pub name: Box<str>,
    /// The whole statement, to be sent as it is.
    pub text: Box<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingScope {
    /// Ends with the transaction.
    Transaction,
    /// Outlives it, if it commits.
    Session,
}

impl Journal {
    pub(super) fn set(&mut self, setting: Setting) {
        self.entries.push(Entry::Setting(setting));
    }

    pub(super) fn savepoint(&mut self, name: &str) {
        self.made += 1;
        self.entries.push(Entry::Savepoint {
            name: name.into(),
            number: self.made,
        });
    }

    /// Forgets the savepoint and those within; what was set stays. False: there is none of that name.
    pub(super) fn release(&mut self, name: &str) -> bool {
        let Some(released) = self.find(name) else {
            return false;
        };
        self.entries.retain(
            |entry| !matches!(entry, Entry::Savepoint { number, .. } if *number >= released),
        );
        true
    }

    /// Forgets what was said after the savepoint, which itself stays.
    pub(super) fn roll_back_to(&mut self, savepoint: u64) {
        let position = self.entries.iter().position(
            |entry| matches!(entry, Entry::Savepoint { number, .. } if *number == savepoint),
        );
        if let Some(position) = position {
            self.entries.truncate(position + 1);
        }
    }

    /// The latest of that name; it hides earlier ones.
    pub(super) fn find(&self, wanted: &str) -> Option<u64> {
        self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Savepoint { name, number } if **name == *wanted => Some(*number),
            _ => None,
        })
    }

    pub(super) fn innermost(&self) -> u64 {
        let number = |entry: &Entry| match entry {
            Entry::Savepoint { number, .. } => Some(*number),
            Entry::Setting(_) => None,
        };
        self.entries.iter().rev().find_map(number).unwrap_or(0)
    }

    pub(super) fn replay(&self, out: &mut Vec<String>) {
        out.extend(self.entries.iter().map(|entry| match entry {
            Entry::Setting(setting) => setting.text.to_string(),
            Entry::Savepoint { name, .. } => sql::savepoint(name),
        }));
    }

    pub(super) fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Setting(setting) => Some(setting),
            Entry::Savepoint { .. } => None,
        })
    }
}
