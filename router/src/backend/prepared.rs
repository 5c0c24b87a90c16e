//! Which prepared statements one connection holds, bounded, the least recently used one going first.
//!
//! Looking a statement up is on the road of every extended-protocol statement: one hash lookup, and the relinking of an
//! entry that was not the newest already.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::execute::expect::StatementKey;

/// No entry: the end of the list.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub struct PreparedHere {
    capacity: usize,
    /// Named statements by id, with their place in `entries`.
    places: HashMap<u64, u32, BuildHasherDefault<IdHasher>>,
    /// A list in the order of use, linked by places.
    entries: Vec<Entry>,
    newest: u32,
    oldest: u32,
    /// Places in `entries` that hold nothing.
    free: Vec<u32>,
    unnamed: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    newer: u32,
    older: u32,
}

impl PreparedHere {
    pub fn new(capacity: usize) -> Self {
        Self {
            // Places are 32 bits wide, and no server bears more statements.
            capacity: capacity.clamp(1, 1 << 20),
            places: HashMap::default(),
            entries: Vec::new(),
            newest: NONE,
            oldest: NONE,
            free: Vec::new(),
            unnamed: None,
        }
    }

    /// Whether the statement is held. If so, it is the one used last from now on.
    #[inline]
    pub fn touch(&mut self, statement: StatementKey) -> bool {
        if !statement.named {
            return self.unnamed == Some(statement.id);
        }
        let Some(&place) = self.places.get(&statement.id) else {
            return false;
        };
        if place != self.newest {
            self.unlink(place);
            self.link_newest(place);
        }
        true
    }

    /// Adds a statement; returns the one that has to go for it.
    pub fn insert(&mut self, statement: StatementKey) -> Option<StatementKey> {
        if self.touch(statement) {
            return None;
        }
        if !statement.named {
            self.unnamed = Some(statement.id);
            return None;
        }
        let evicted = (self.places.len() >= self.capacity).then(|| StatementKey {
            id: self.entries[self.oldest as usize].id,
            named: true,
        });
        if let Some(evicted) = evicted {
            self.remove(evicted);
        }
        let entry = Entry {
            id: statement.id,
            newer: NONE,
            older: NONE,
        };
        let place = match self.free.pop() {
            Some(place) => {
                self.entries[place as usize] = entry;
                place
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        self.places.insert(statement.id, place);
        self.link_newest(place);
        evicted
    }

    pub fn remove(&mut self, statement: StatementKey) {
        if statement.named {
            if let Some(place) = self.places.remove(&statement.id) {
                self.unlink(place);
                self.free.push(place);
            }
        } else if self.unnamed == Some(statement.id) {
            self.unnamed = None;
        }
    }

    pub fn forget_unnamed(&mut self) {
        self.unnamed = None;
    }

    pub fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }

    fn link_newest(&mut self, place: u32) {
        let older = std::mem::replace(&mut self.newest, place);
        let entry = &mut self.entries[place as usize];
        entry.newer = NONE;
        entry.older = older;
        match self.entries.get_mut(older as usize) {
            Some(older) => older.newer = place,
            None => self.oldest = place,
        }
    }

    fn unlink(&mut self, place: u32) {
        let Entry { newer, older, .. } = self.entries[place as usize];
        match self.entries.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        match self.entries.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
    }
}

/// Ids are given out in turn by the router itself: nobody can choose them to collide, so spreading them is enough.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // The golden ratio spreads neighbours over the upper bits; the map uses both ends.
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(20);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(id: u64, named: bool) -> StatementKey {
        StatementKey { id, named }
    }

    #[test]
    fn the_statement_used_longest_ago_makes_room() {
        let mut here = PreparedHere::new(2);
        assert_eq!(here.insert(key(1, true)), None);
        assert_eq!(here.insert(key(2, true)), None);
        assert_eq!(here.insert(key(9, false)), None);
        assert!(here.touch(key(1, true)));
        assert_eq!(here.insert(key(3, true)), Some(key(2, true)));
        assert!(!here.touch(key(2, true)));
        assert!(here.touch(key(1, true)) && here.touch(key(3, true)) && here.touch(key(9, false)));
        here.remove(key(9, false));
        assert!(!here.touch(key(9, false)));
        here.clear();
        assert!(!here.touch(key(1, true)));
        assert_eq!(here.insert(key(1, true)), None);
    }

    proptest! {
        /// Against a list in the order of use.
        #[test]
        fn it_agrees_with_a_plain_list(capacity in 1..5usize, steps in prop::collection::vec((0..3u8, 0..8u64), 0..60)) {
            let mut here = PreparedHere::new(capacity);
            let mut list: Vec<u64> = Vec::new();
            for (what, id) in steps {
                let known = list.contains(&id);
                list.retain(|other| *other != id);
                match what {
                    0 => {
                        prop_assert_eq!(here.touch(key(id, true)), known);
                        if known {
                            list.push(id);
                        }
                    }
                    1 => {
                        let evicted = (!known && list.len() == capacity).then(|| list.remove(0));
                        prop_assert_eq!(here.insert(key(id, true)), evicted.map(|id| key(id, true)));
                        list.push(id);
                    }
                    _ => here.remove(key(id, true)),
                }
            }
        }
    }
}
