//! What one execution has cost: for EXPLAIN ANALYZE.
//!
//! A shard's rows are counted by the tag of its answer, not one by one, so that the executor does the same whether it is
//! measured or not.

use std::time::{Duration, Instant};

use catalog::ShardId;

/// The measures of one execution, while it goes on.
#[derive(Debug)]
pub struct Measures {
    begun: Instant,
    /// The table whose rows are being brought.
    pub step: usize,
    /// How often the plan at hand could not be carried out, so that the one it holds for that case was taken.
    pub other_ways: usize,
    parts: Vec<Part>,
}

/// What one shard has answered to one query.
#[derive(Debug)]
struct Part {
    step: usize,
    shard: ShardId,
    asked_at_bytes: u64,
    actual: Option<Actual>,
}

/// What became of one node of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actual {
    pub rows: u64,
    /// Of the shard's answer on the wire; `None`: nothing was moved.
    pub bytes: Option<u64>,
    /// From the beginning of the execution to the last row.
    pub elapsed: Duration,
}

impl Measures {
    pub fn begin() -> Measures {
        Measures {
            begun: Instant::now(),
            step: 0,
            other_ways: 0,
            parts: Vec::new(),
        }
    }

    /// A shard is asked. `consumed_bytes`: of its connection, so far.
    pub fn asked(&mut self, shard: ShardId, consumed_bytes: u64) {
        self.parts.push(Part {
            step: self.step,
            shard,
            asked_at_bytes: consumed_bytes,
            actual: None,
        });
    }

    /// A shard has given its last row. `tag`: the body of its CommandComplete.
    pub fn answered(&mut self, shard: ShardId, consumed_bytes: u64, tag: &[u8]) {
        let elapsed = self.begun.elapsed();
        let part = self.parts.iter_mut().rev();
        let mut part = part.filter(|part| part.shard == shard && part.actual.is_none());
        if let Some(part) = part.next() {
            part.actual = Some(Actual {
                rows: rows_of(tag),
                bytes: Some(consumed_bytes.saturating_sub(part.asked_at_bytes)),
                elapsed,
            });
        }
    }

    /// What a shard's part has cost. `step`: the table, from 0.
    pub fn part(&self, step: usize, shard: ShardId) -> Option<Actual> {
        let mut parts = self.parts.iter();
        parts
            .find(|part| part.step == step && part.shard == shard)?
            .actual
    }

    /// The measures of the whole, at its end.
    pub fn whole(&self, rows: u64) -> Actual {
        Actual {
            rows,
            bytes: None,
            elapsed: self.begun.elapsed(),
        }
    }
}

/// The number at the end of a command tag.
fn rows_of(tag: &[u8]) -> u64 {
    let text = std::str::from_utf8(tag).unwrap_or_default();
    let last = text.trim_end_matches('\0').rsplit(' ').next();
    last.and_then(|rows| rows.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart_by_table_and_shard() {
        let mut measures = Measures::begin();
        for step in 0..2 {
            measures.step = step;
            measures.asked(ShardId(1), 100);
            measures.asked(ShardId(2), 0);
            measures.answered(ShardId(1), 150 + step as u64, b"SELECT 7\0");
        }
        let part = measures.part(1, ShardId(1)).unwrap();
        assert_eq!((part.rows, part.bytes), (7, Some(51)));
        assert_eq!(measures.part(0, ShardId(1)).unwrap().bytes, Some(50));
        assert_eq!(measures.part(0, ShardId(2)), None);
    }
}
