//! Which prepared statements one connection holds, bounded, the least recently used one going first.

use std::collections::HashMap;

use crate::execute::expect::StatementKey;

#[derive(Debug)]
pub struct PreparedHere {
    capacity: usize,
    clock: u64,
    /// Named statements by id, with the time of their last use.
    named: HashMap<u64, u64>,
    unnamed: Option<u64>,
}

impl PreparedHere {
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            clock: 0,
            named: HashMap::new(),
            unnamed: None,
        }
    }

    pub fn contains(&self, statement: StatementKey) -> bool {
        if statement.named {
            self.named.contains_key(&statement.id)
        } else {
            self.unnamed == Some(statement.id)
        }
    }

    /// Adds a statement; returns the one that has to go for it.
    pub fn insert(&mut self, statement: StatementKey) -> Option<StatementKey> {
        if !statement.named {
            self.unnamed = Some(statement.id);
            return None;
        }
        self.clock += 1;
        let mut evicted = None;
        if self.named.len() >= self.capacity {
            evicted = self
                .named
                .iter()
                .min_by_key(|(_, used)| **used)
                .map(|(id, _)| StatementKey { id: *id, named: true });
            if let Some(evicted) = evicted {
                self.named.remove(&evicted.id);
            }
        }
        self.named.insert(statement.id, self.clock);
        evicted
    }

    pub fn remove(&mut self, statement: StatementKey) {
        if statement.named {
            self.named.remove(&statement.id);
        } else if self.unnamed == Some(statement.id) {
            self.unnamed = None;
        }
    }

    pub fn forget_unnamed(&mut self) {
        self.unnamed = None;
    }

    pub fn clear(&mut self) {
        self.named.clear();
        self.unnamed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_statement_makes_room() {
        let key = |id, named| StatementKey { id, named };
        let mut here = PreparedHere::new(2);
        assert_eq!(here.insert(key(1, true)), None);
        assert_eq!(here.insert(key(2, true)), None);
        assert_eq!(here.insert(key(9, false)), None);
        assert_eq!(here.insert(key(3, true)), Some(key(1, true)));
        assert!(!here.contains(key(1, true)));
        assert!(here.contains(key(3, true)) && here.contains(key(9, false)));
        here.remove(key(9, false));
        assert!(!here.contains(key(9, false)));
    }
}
