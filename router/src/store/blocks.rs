//! Blocks of a sequence: arithmetic without IO.
//!
//! Entry points: [`Division::of`], [`Division::block`]. Values are counted in steps of the increment: step n is the value
//! `origin + n * increment`, so that ascending and descending sequences are divided alike.

use catalog::ShardId;

use super::quote::qualified;

/// How a sequence is divided into blocks; a row of `pgweave.sequence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Division {
    pub schema: String,
    pub name: String,
    pub origin: i64,
    pub increment: i64,
    pub minimum: i64,
    pub maximum: i64,
    pub block_steps: i64,
}

/// A run of steps that one shard draws from; a row of `pgweave.sequence_block`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    pub shard: ShardId,
    pub first_step: i64,
    pub steps: i64,
}

/// Blocks are never larger than this: more would only make ids long.
const LARGEST_BLOCK: i64 = 1_000_000_000;

/// PostgreSQL wants MINVALUE below MAXVALUE, so a block has two values at least.
const LEAST_BLOCK: i64 = 2;

/// How many blocks each shard could take, if all take as many, before the sequence is used up.
const BLOCKS_PER_SHARD: i64 = 64;

impl Division {
    /// Divides the values from `origin` to the end of the range in the direction of the increment. None if none are left.
    pub fn of(
        name: (&str, &str),
        origin: i64,
        increment: i64,
        minimum: i64,
        maximum: i64,
        shards: usize,
    ) -> Option<Division> {
        let mut division = Division {
            schema: name.0.to_owned(),
            name: name.1.to_owned(),
            origin,
            increment,
            minimum,
            maximum,
            block_steps: 1,
        };
        let share = division.total_steps()?
            / (i128::try_from(shards.max(1)).ok()? * i128::from(BLOCKS_PER_SHARD));
        // Round numbers, since people read ids.
        let mut steps: i64 = 1;
        while steps < LARGEST_BLOCK && i128::from(steps) * 10 <= share {
            steps *= 10;
        }
        division.block_steps = steps.max(LEAST_BLOCK);
        Some(division)
    }

    /// How many values there are, given out or not. None if there are none.
    pub fn total_steps(&self) -> Option<i128> {
        let span = match self.increment {
            0 => return None,
            1.. => i128::from(self.maximum) - i128::from(self.origin),
            _ => i128::from(self.origin) - i128::from(self.minimum),
        };
        (span >= 0).then(|| span / i128::from(self.increment).abs() + 1)
    }

    /// The value of a step. Steps within [`Division::total_steps`] always have one.
    pub fn value(&self, step: i64) -> Option<i64> {
        i64::try_from(i128::from(self.origin) + i128::from(step) * i128::from(self.increment)).ok()
    }

    /// A block of up to `steps` that begins at `first_step`; shorter at the end of the range. None if too little is
    /// left there.
    pub fn block(&self, shard: ShardId, first_step: i64, steps: i64) -> Option<Block> {
        let left = self.total_steps()? - i128::from(first_step);
        let steps = i64::try_from(left.min(i128::from(steps))).ok()?;
        (steps >= LEAST_BLOCK).then_some(Block {
            shard,
            first_step,
            steps,
        })
    }

    /// The least and the greatest value of a block.
    pub fn bounds(&self, block: &Block) -> Option<(i64, i64)> {
        let first = self.value(block.first_step)?;
        let last = self.value(block.first_step + block.steps - 1)?;
        Some((first.min(last), first.max(last)))
    }

    /// Makes the shard's own sequence draw from this block only, from its beginning.
    pub fn install(&self, block: &Block) -> Option<String> {
        let (low, high) = self.bounds(block)?;
        let first = self.value(block.first_step)?;
        Some(format!(
            "ALTER SEQUENCE {} MINVALUE {low} MAXVALUE {high} START WITH {first} RESTART WITH {first} NO CYCLE",
            qualified(&self.schema, &self.name)
        ))
    }

    /// Adds a block that follows the present one to the shard's own sequence, without a gap.
    pub fn extend(&self, block: &Block) -> Option<String> {
        let (low, high) = self.bounds(block)?;
        let bound = if self.increment > 0 {
            format!("MAXVALUE {high}")
        } else {
            format!("MINVALUE {low}")
        };
        Some(format!(
            "ALTER SEQUENCE {} {bound}",
            qualified(&self.schema, &self.name)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn division(
        origin: i64,
        increment: i64,
        minimum: i64,
        maximum: i64,
        shards: usize,
    ) -> Division {
        Division::of(("public", "s"), origin, increment, minimum, maximum, shards).unwrap()
    }

    #[test]
    fn block_sizes() {
        assert_eq!(division(1, 1, 1, i64::MAX, 2).block_steps, LARGEST_BLOCK);
        assert_eq!(
            division(1, 1, 1, i64::from(i32::MAX), 2).block_steps,
            10_000_000
        );
        assert_eq!(
            division(1, 1, 1, i64::from(i32::MAX), 100).block_steps,
            100_000
        );
        assert_eq!(division(1, 1, 1, i64::from(i16::MAX), 2).block_steps, 100);
        assert_eq!(division(1, 1, 1, 3, 2).block_steps, LEAST_BLOCK);
        assert!(Division::of(("public", "s"), 11, 1, 1, 10, 2).is_none());
    }

    #[test]
    fn blocks_are_disjoint_and_end_with_the_range() {
        for division in [
            division(5, 10, 1, 10_000, 2),
            division(-3, -7, -9000, -1, 2),
            division(i64::MIN, 1, i64::MIN, i64::MAX, 3),
        ] {
            let steps = division.block_steps;
            let bounds: Vec<_> = (0..3)
                .map(|n| {
                    division
                        .bounds(&division.block(ShardId(1), n * steps, steps).unwrap())
                        .unwrap()
                })
                .collect();
            for pair in bounds.windows(2) {
                assert!(pair[0].1 < pair[1].0 || pair[1].1 < pair[0].0, "{bounds:?}");
            }
        }
        let short = division(1, 1, 1, 1050, 1);
        assert_eq!(short.block_steps, 10);
        assert_eq!(short.block(ShardId(1), 1045, 10).unwrap().steps, 5);
        assert_eq!(
            short.bounds(&short.block(ShardId(1), 1045, 10).unwrap()),
            Some((1046, 1050))
        );
        assert!(short.block(ShardId(1), 1049, 10).is_none());
        assert!(short.block(ShardId(1), 1050, 10).is_none());
    }

    #[test]
    fn statements() {
        let up = division(1, 1, 1, i64::from(i16::MAX), 2);
        let block = up.block(ShardId(2), 100, 100).unwrap();
        assert_eq!(
            up.install(&block).unwrap(),
            "ALTER SEQUENCE \"public\".\"s\" MINVALUE 101 MAXVALUE 200 START WITH 101 RESTART WITH 101 NO CYCLE"
        );
        assert_eq!(
            up.extend(&block).unwrap(),
            "ALTER SEQUENCE \"public\".\"s\" MAXVALUE 200"
        );
        let down = division(-1, -2, -1_000_000, -1, 1);
        let block = down.block(ShardId(1), 1000, 1000).unwrap();
        assert_eq!(
            down.install(&block).unwrap(),
            "ALTER SEQUENCE \"public\".\"s\" MINVALUE -3999 MAXVALUE -2001 START WITH -2001 RESTART WITH -2001 NO CYCLE"
        );
        assert_eq!(
            down.extend(&block).unwrap(),
            "ALTER SEQUENCE \"public\".\"s\" MINVALUE -3999"
        );
    }
}
