//! Whose row comes next, among sources that are each in order.
//!
//! A tree of losers (Knuth, The Art of Computer Programming, volume 3, 5.4.1): each inner node remembers who lost there,
//! so that a new head is compared once per level. Entry points: [`Tournament::offer`] or [`Tournament::exhausted`] for every
//! source that [awaits](Tournament::awaits) one of them, then [`Tournament::turn`].
//!
//! The rows stay where they are: the caller takes the first row of the source whose turn it is and then offers the key of
//! the next. Of equal heads the one of the lowest source comes first. The buffers of the keys are used again and again.

use std::cmp::Ordering;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The first row of this source is the next of all.
    Of(usize),
    /// A source has neither offered its next key nor said that there is none.
    Awaited,
    /// All sources are exhausted.
    Over,
}

/// A merge of numbered sources.
#[derive(Debug)]
pub struct Tournament {
    sources: Vec<Source>,
    /// `losers[0]` is the winner; the children of node `n` are `2n` and `2n + 1`, and source `s` is the leaf
    /// `sources.len() + s`.
    losers: Vec<usize>,
    awaited: usize,
    tree: Tree,
}

#[derive(Debug)]
struct Source {
    head: Head,
    key: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    Awaited,
    Offered,
    Exhausted,
}

/// What the tree knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tree {
    /// All matches must be played.
    Unplayed,
    /// All matches are played, but for those of this source's new head.
    But(usize),
}

impl Tournament {
    pub fn new(sources: usize) -> Self {
        let source = || Source {
            head: Head::Awaited,
            key: Vec::new(),
        };
        Self {
            sources: (0..sources).map(|_| source()).collect(),
            losers: vec![0; sources],
            awaited: sources,
            tree: Tree::Unplayed,
        }
    }

    /// Whether this source must be offered or exhausted before there is a next turn.
    pub fn awaits(&self, source: usize) -> bool {
        self.sources[source].head == Head::Awaited
    }

    /// The source has a row. Its key is to be appended to the buffer, which is empty.
    #[inline]
    pub fn offer(&mut self, source: usize) -> &mut Vec<u8> {
        self.set(source, Head::Offered);
        let key = &mut self.sources[source].key;
        key.clear();
        key
    }

    /// The source has no more rows.
    pub fn exhausted(&mut self, source: usize) {
        self.set(source, Head::Exhausted);
    }

    /// The key of the source whose turn it was, until that source offers its next.
    pub fn key(&self, source: usize) -> &[u8] {
        &self.sources[source].key
    }

    /// The source with the least head; its head is taken.
    #[inline]
    pub fn turn(&mut self) -> Turn {
        if self.awaited > 0 {
            return Turn::Awaited;
        }
        match self.tree {
            Tree::Unplayed => self.play(),
            Tree::But(source) => self.play_again(source),
        }
        let winner = match self.losers.first() {
            Some(&winner) if self.sources[winner].head == Head::Offered => winner,
            _ => return Turn::Over,
        };
        self.sources[winner].head = Head::Awaited;
        self.awaited = 1;
        self.tree = Tree::But(winner);
        Turn::Of(winner)
    }

    #[inline]
    fn set(&mut self, source: usize, head: Head) {
        if self.tree != Tree::But(source) {
            self.tree = Tree::Unplayed;
        }
        let before = std::mem::replace(&mut self.sources[source].head, head);
        self.awaited -= usize::from(before == Head::Awaited);
    }

    /// Every match, from the leaves to the root.
    fn play(&mut self) {
        let count = self.sources.len();
        let mut winners: Vec<usize> = (0..count).chain(0..count).collect();
        for node in (1..count).rev() {
            let (left, right) = (winners[2 * node], winners[2 * node + 1]);
            let left_wins = self.beats(left, right);
            (winners[node], self.losers[node]) = if left_wins {
                (left, right)
            } else {
                (right, left)
            };
        }
        if let Some(champion) = self.losers.first_mut() {
            *champion = winners[1.min(count - 1)];
        }
    }

    /// The matches on the way from one leaf to the root.
    #[inline]
    fn play_again(&mut self, source: usize) {
        let mut winner = source;
        let mut node = (self.sources.len() + source) / 2;
        while node > 0 {
            let rival = self.losers[node];
            if self.beats(rival, winner) {
                self.losers[node] = winner;
                winner = rival;
            }
            node /= 2;
        }
        self.losers[0] = winner;
    }

    #[inline]
    fn beats(&self, left: usize, right: usize) -> bool {
        let (one, other) = (&self.sources[left], &self.sources[right]);
        match (one.head, other.head) {
            (Head::Offered, Head::Offered) => match one.key.cmp(&other.key) {
                Ordering::Less => true,
                Ordering::Equal => left < right,
                Ordering::Greater => false,
            },
            (head, _) => head == Head::Offered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Merges lists that are each in order; the keys with their sources.
    fn merge(lists: &[Vec<&'static str>]) -> Vec<(&'static str, usize)> {
        let mut tournament = Tournament::new(lists.len());
        let mut positions = vec![0; lists.len()];
        let mut merged = Vec::new();
        loop {
            for (source, list) in lists.iter().enumerate() {
                if tournament.awaits(source) {
                    assert_eq!(tournament.turn(), Turn::Awaited);
                    match list.get(positions[source]) {
                        Some(key) => tournament.offer(source).extend_from_slice(key.as_bytes()),
                        None => tournament.exhausted(source),
                    }
                }
            }
            match tournament.turn() {
                Turn::Of(source) => {
                    let key = lists[source][positions[source]];
                    assert_eq!(tournament.key(source), key.as_bytes());
                    merged.push((key, source));
                    positions[source] += 1;
                }
                Turn::Awaited => unreachable!("every source was offered or exhausted"),
                Turn::Over => return merged,
            }
        }
    }

    #[test]
    fn the_least_comes_first_and_ties_go_to_the_lowest_source() {
        assert_eq!(
            merge(&[vec!["b", "d"], vec![], vec!["a", "b", "e"]]),
            [("a", 2), ("b", 0), ("b", 2), ("d", 0), ("e", 2)]
        );
        assert_eq!(merge(&[vec!["a", "a"]]), [("a", 0), ("a", 0)]);
    }

    #[test]
    fn nothing_is_merged_of_no_sources() {
        assert_eq!(merge(&[]), []);
        assert_eq!(merge(&[vec![], vec![]]), []);
    }

    #[test]
    fn a_source_may_be_given_up_while_it_has_a_head() {
        let mut tournament = Tournament::new(3);
        for (source, key) in [b"b", b"a", b"c"].into_iter().enumerate() {
            tournament.offer(source).extend_from_slice(key);
        }
        tournament.exhausted(1);
        assert_eq!(tournament.turn(), Turn::Of(0));
        tournament.exhausted(0);
        assert_eq!(tournament.turn(), Turn::Of(2));
        tournament.exhausted(2);
        assert_eq!(tournament.turn(), Turn::Over);
        assert_eq!(tournament.turn(), Turn::Over);
    }
}
