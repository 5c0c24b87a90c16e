//! Unique values over the cluster: each shard's sequence draws from blocks that only it has.
//!
//! Entry points: [`Store::keep_sequences`], the background task; [`Store::renew_sequence`], on demand.
//!
//! # How it works
//!
//! The sequence of a sharded table's `serial` or identity column, or of a `nextval` default, exists on every shard of the
//! table as an ordinary PostgreSQL sequence. Its MINVALUE and MAXVALUE are the bounds of a block that the catalog gave to
//! that shard and to no other, with NO CYCLE. So `nextval` needs neither a router nor the network, also over a
//! direct connection, and a shard that runs out of its block raises 2200H instead of repeating another's value.
//!
//! Blocks are large (a billion of `bigint`; of smaller types a 64th of each shard's share, rounded), since a new one can only
//! be installed between transactions: `ALTER SEQUENCE` waits for every transaction that drew a value. The background task looks
//! every few seconds; where less than a fifth of a block is left it takes another and installs it. A block that follows
//! the present one is added to it; another replaces it, and the rest of the old one is given up.
//!
//! # Invariants
//!
//! - A block is recorded at the home before it is installed, and installed by whoever recorded it, at once and only once. If
//!   the installation fails, or its outcome is unknown, the block is never used: gaps are cheap, duplicates are not.
//! - Routers that find the same sequence low take turns by an advisory lock on the shard, and look again under it.
//! - `ALTER SEQUENCE` waits for a moment only, since `nextval` of others queues behind it, and tries again at the next look.

use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, Shard, ShardId};
use tokio::task::JoinHandle;

use super::blocks::{Block, Division};
use super::connection::{Connection, column, text};
use super::error::Error;
use super::home::Store;
use super::map_rows::shard_number;
use super::quote::literal;
use super::relations::number;

/// How long ALTER SEQUENCE may keep others waiting.
const PATIENCE_MS: u32 = 100;

const LOCK_NOT_AVAILABLE: &str = "55P03";

/// A block that lasted for less than this is followed by one of twice the size.
const SHORT_LIFE_S: f64 = 60.0;

/// A block is renewed when less than this part of it is left.
const RESERVE: i128 = 5;

/// Ends the background task when dropped.
pub struct SequenceKeeper(JoinHandle<()>);

impl Drop for SequenceKeeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A divided sequence with the block that one shard took last.
#[derive(Debug, Clone)]
struct Held {
    id: i32,
    division: Division,
    block: Block,
    is_short_lived: bool,
}

/// The shard's own sequence as it is now.
struct State {
    minimum: i64,
    maximum: i64,
    /// None if it was not drawn from since it was set.
    last_value: Option<i64>,
}

impl Store {
    /// Starts looking after the sequences of all shards.
    pub fn keep_sequences(self: &Arc<Self>, interval: Duration) -> SequenceKeeper {
        let store = Arc::clone(self);
        SequenceKeeper(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if let Err(error) = store.look_after_sequences().await {
                    tracing::debug!(%error, "sequences cannot be looked after now");
                }
            }
        }))
    }

    /// Looks at every divided sequence on every shard once, and renews those that run low.
    pub async fn look_after_sequences(&self) -> Result<(), Error> {
        let held = self.held(None).await?;
        let catalog = self.snapshot();
        for shard in catalog.shards() {
            let own: Vec<&Held> = held
                .iter()
                .filter(|held| held.block.shard == shard.id)
                .collect();
            if own.is_empty() {
                continue;
            }
            // One shard that is down must not keep the others from their blocks.
            if let Err(error) = self.look_after_shard(shard, &own).await {
                tracing::debug!(shard = %shard.name, %error, "sequences cannot be looked after now");
            }
        }
        Ok(())
    }

    /// Renews a sequence on one shard if it runs low there; for a session that met 2200H. Returns whether the sequence
    /// has values now.
    pub async fn renew_sequence(
        &self,
        catalog: &Catalog,
        shard: ShardId,
        schema: &str,
        name: &str,
    ) -> Result<bool, Error> {
        let held = self.held(Some((schema, name))).await?;
        let (Some(held), Some(shard)) = (
            held.iter().find(|held| held.block.shard == shard),
            catalog.shard(shard),
        ) else {
            return Ok(false);
        };
        let connection = self.connect_shard(shard).await?;
        self.renew(&connection, held).await?;
        Ok(true)
    }

    /// Every block of a divided sequence; none for one that is not divided. The last of a shard's is the one in use, if it was
    /// installed.
    pub async fn blocks_of(
        &self,
        schema: &str,
        name: &str,
    ) -> Result<Vec<(Division, Block)>, Error> {
        let home = self.home().await?;
        let rows = home
            .query(
                "SELECT s.id, s.schema_name, s.sequence_name, s.origin, s.increment, s.minimum, s.maximum, s.block_steps, \
                        b.shard, b.first_step, b.steps, false \
                   FROM pgweave.sequence s JOIN pgweave.sequence_block b ON b.sequence = s.id \
                  WHERE s.schema_name = $1 AND s.sequence_name = $2 ORDER BY b.shard, b.first_step",
                &[&schema, &name],
            )
            .await?;
        self.give_back(home);
        rows.iter()
            .map(|row| read_held(row).map(|held| (held.division, held.block)))
            .collect()
    }

    async fn look_after_shard(&self, shard: &Shard, own: &[&Held]) -> Result<(), Error> {
        let connection = self.connect_shard(shard).await?;
        for held in own {
            let low = match state(&connection, &held.division).await? {
                Some(state) => is_low(held, &state),
                // Dropped by somebody directly; nothing to do.
                None => false,
            };
            if low && let Err(error) = self.renew(&connection, held).await {
                let sequence = &held.division.name;
                // Transactions that drew from it are still open: quite usual, and the reserve lasts.
                if error.sqlstate() == LOCK_NOT_AVAILABLE {
                    tracing::debug!(shard = %shard.name, sequence, "a sequence is in use and will be renewed later");
                } else {
                    tracing::warn!(shard = %shard.name, sequence, %error, "a sequence runs low and cannot be renewed");
                }
                connection.batch("ROLLBACK").await?;
            }
        }
        Ok(())
    }

    /// The last block of each sequence on each shard.
    async fn held(&self, only: Option<(&str, &str)>) -> Result<Vec<Held>, Error> {
        let home = self.home().await?;
        let filter = match only {
            Some((schema, name)) => format!(
                "WHERE s.schema_name = {} AND s.sequence_name = {}",
                literal(schema),
                literal(name)
            ),
            None => String::new(),
        };
        let rows = home
            .query(
                &format!(
                    "SELECT DISTINCT ON (b.sequence, b.shard) s.id, s.schema_name, s.sequence_name, s.origin, s.increment, s.minimum, \
                            s.maximum, s.block_steps, b.shard, b.first_step, b.steps, \
                            clock_timestamp() - b.leased_at < $1 * interval '1 second' \
                       FROM pgweave.sequence s JOIN pgweave.sequence_block b ON b.sequence = s.id {filter} \
                      ORDER BY b.sequence, b.shard, b.first_step DESC"
                ),
                &[&SHORT_LIFE_S],
            )
            .await?;
        let held = rows.iter().map(read_held).collect();
        self.give_back(home);
        held
    }

    async fn renew(&self, connection: &Connection, held: &Held) -> Result<(), Error> {
        let qualified = super::quote::qualified(&held.division.schema, &held.division.name);
        connection
            .batch(&format!(
                "BEGIN; SET LOCAL lock_timeout = {PATIENCE_MS}; SELECT pg_advisory_xact_lock(hashtextextended({}, 0))",
                literal(&format!("pgweave sequence {qualified}"))
            ))
            .await?;
        // Another router may have been faster.
        let latest = self
            .held(Some((&held.division.schema, &held.division.name)))
            .await?;
        let latest = latest
            .iter()
            .find(|latest| latest.block.shard == held.block.shard)
            .unwrap_or(held);
        let state = state(connection, &held.division).await?;
        if let Some(state) = state.filter(|state| is_low(latest, state)) {
            // Waits for transactions that drew from the sequence, before a block is taken that would then be lost.
            connection
                .batch(&format!("ALTER SEQUENCE {qualified} NO CYCLE"))
                .await?;
            let block = self.take(latest).await?;
            // The block recorded last may not be the one installed; a gap between the two belongs to others.
            let installed = latest
                .division
                .bounds(&latest.block)
                .is_some_and(|(low, high)| match latest.division.increment {
                    1.. => state.maximum == high,
                    _ => state.minimum == low,
                });
            let follows =
                installed && block.first_step == latest.block.first_step + latest.block.steps;
            let statement = if follows {
                latest.division.extend(&block)
            } else {
                latest.division.install(&block)
            };
            let statement = statement
                .ok_or_else(|| Error::corrupt(format!("an impossible block of {qualified}")))?;
            connection.batch(&statement).await?;
        }
        connection.batch("COMMIT").await
    }

    /// Takes the next block of a sequence for a shard.
    async fn take(&self, held: &Held) -> Result<Block, Error> {
        let largest = held.division.block_steps.saturating_mul(16);
        let steps = match held.is_short_lived {
            true => held.block.steps.saturating_mul(2).min(largest),
            false => held.division.block_steps,
        };
        let home = self.home().await?;
        home.batch("BEGIN").await?;
        let row = home
            .query_one(
                "SELECT next_step FROM pgweave.sequence WHERE id = $1 FOR UPDATE",
                &[&held.id],
            )
            .await?;
        let block = held
            .division
            .block(held.block.shard, column(&row, 0)?, steps);
        let Some(block) = block else {
            home.batch("ROLLBACK").await?;
            self.give_back(home);
            return Err(Error::SequenceExhausted {
                sequence: format!("{}.{}", held.division.schema, held.division.name),
            });
        };
        home.execute(
            "UPDATE pgweave.sequence SET next_step = $2 WHERE id = $1",
            &[&held.id, &(block.first_step + block.steps)],
        )
        .await?;
        record_block(&home, held.id, &block).await?;
        home.batch("COMMIT").await?;
        self.give_back(home);
        Ok(block)
    }
}

/// Adds a block to `pgweave.sequence_block`, in the transaction of `home`.
pub async fn record_block(home: &Connection, sequence: i32, block: &Block) -> Result<(), Error> {
    home.execute(
        "INSERT INTO pgweave.sequence_block (sequence, first_step, steps, shard) VALUES ($1, $2, $3, $4)",
        &[&sequence, &block.first_step, &block.steps, &shard_number(block.shard)],
    )
    .await?;
    Ok(())
}

fn read_held(row: &tokio_postgres::Row) -> Result<Held, Error> {
    Ok(Held {
        id: column(row, 0)?,
        division: Division {
            schema: column(row, 1)?,
            name: column(row, 2)?,
            origin: column(row, 3)?,
            increment: column(row, 4)?,
            minimum: column(row, 5)?,
            maximum: column(row, 6)?,
            block_steps: column(row, 7)?,
        },
        block: Block {
            shard: ShardId(column::<i32>(row, 8)?.unsigned_abs()),
            first_step: column(row, 9)?,
            steps: column(row, 10)?,
        },
        is_short_lived: column(row, 11)?,
    })
}

async fn state(connection: &Connection, division: &Division) -> Result<Option<State>, Error> {
    let rows = connection
        .rows(&format!(
            "SELECT s.seqmin, s.seqmax, pg_sequence_last_value(c.oid::regclass) \
               FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid \
              WHERE c.oid = to_regclass({})",
            literal(&super::quote::qualified(&division.schema, &division.name))
        ))
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(State {
        minimum: number(text(row, 0, "pg_sequence")?)?,
        maximum: number(text(row, 1, "pg_sequence")?)?,
        last_value: row[2].as_deref().map(number).transpose()?,
    }))
}

/// Whether a shard's sequence needs another block. Also true of one that was never given its block, as after a crash between
/// recording and installing: what is installed is judged, not what was recorded.
fn is_low(held: &Held, state: &State) -> bool {
    let Some(last) = state.last_value else {
        return false;
    };
    let left = match held.division.increment {
        1.. => i128::from(state.maximum) - i128::from(last),
        _ => i128::from(last) - i128::from(state.minimum),
    } / i128::from(held.division.increment).abs().max(1);
    left * RESERVE < i128::from(held.block.steps)
}
