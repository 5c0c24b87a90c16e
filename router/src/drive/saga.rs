//! Carries sagas on: what `txn::saga` says is to be done, done on the shards and saved at the catalog's home.
//!
//! Entry point: [`watch`]. Every router looks for a saga whose turn has come, takes the lock of its row (others skip it), does
//! one thing and saves what follows. A router that dies loses the lock with its connection, and another goes on.

use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, ShardId};
use tokio::time::{sleep, timeout};
use txn::saga::{Action, Outcome, Plan, Progress, State, is_transient};
use txn::sql::{quote_literal, set_role};

use super::recovery::connect;
use crate::router::Router;
use crate::store::connection::text;
use crate::store::{Connection, Error, Rows, Store};

/// Between two looks when nothing is due.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks at a home that cannot be asked.
const PAUSE: Duration = Duration::from_secs(5);
/// Longer than a step may take, by the settings of its transaction.
const PATIENCE: Duration = Duration::from_secs(90);
/// Of a step's transaction.
const SETTINGS: &str = "SET LOCAL statement_timeout TO '60s'; SET LOCAL lock_timeout TO '10s'; SET LOCAL synchronous_commit TO on";
/// Sagas that one router carries on at the same time.
pub const AT_ONCE: usize = 2;

/// One step of a saga, as `pgweave.saga.steps` has it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Step {
    /// The id of the shard.
    pub shard: u32,
    pub sql: String,
    #[serde(default)]
    pub parameters: Vec<Option<String>>,
    pub compensation: Option<String>,
    #[serde(default)]
    pub compensation_parameters: Vec<Option<String>>,
}

/// How long a saga is remembered that has ended, and with it its idempotency key.
const RETENTION: &str = "30 days";
/// Between two looks for such sagas.
const FORGET_INTERVAL: Duration = Duration::from_secs(3600);
/// Of one look.
const FORGET_BATCH: u32 = 1_000;

/// Deletes what ended long ago, until dropped.
pub async fn forget(store: Arc<Store>) {
    loop {
        match forget_some(&store).await {
            Ok(count) if count >= FORGET_BATCH as usize => {}
            Ok(_) => sleep(FORGET_INTERVAL).await,
            Err(error) => {
                tracing::debug!(%error, "old sagas cannot be forgotten now");
                sleep(FORGET_INTERVAL).await;
            }
        }
    }
}

/// The records of steps go first: without its saga nobody would find them.
async fn forget_some(store: &Store) -> Result<usize, Error> {
    let home = store.home().await?;
    let rows = home
        .rows(&format!(
            "SELECT id FROM pgweave.saga WHERE ended_at < pg_catalog.clock_timestamp() - interval '{RETENTION}' LIMIT {FORGET_BATCH}"
        ))
        .await?;
    let ids: Vec<String> = values(&rows).into_iter().map(quote_literal).collect();
    if !ids.is_empty() {
        let list = format!("ANY (ARRAY[{}]::uuid[])", ids.join(","));
        let catalog = store.snapshot();
        for shard in catalog.shards() {
            let connection = connect(store, &catalog, shard.id).await?;
            connection
                .batch(&format!(
                    "DELETE FROM pgweave.saga_step WHERE saga = {list}"
                ))
                .await?;
        }
        home.batch(&format!("DELETE FROM pgweave.saga WHERE id = {list}"))
            .await?;
    }
    store.give_back(home);
    Ok(ids.len())
}

/// Carries sagas on until dropped.
pub async fn watch(router: Arc<Router>) {
    loop {
        match advance(&router.store).await {
            Ok(true) => {}
            Ok(false) => {
                tokio::select! {
                    () = sleep(INTERVAL) => {}
                    () = router.saga_wanted.notified() => {}
                }
            }
            Err(error) => {
                tracing::debug!(%error, "sagas cannot be carried on");
                sleep(PAUSE).await;
            }
        }
    }
}

/// A saga whose row is locked.
struct Saga {
    id: String,
    progress: Progress,
    plan: Plan,
    steps: Vec<Step>,
    user: String,
    search_path: String,
}

/// Does one thing for one saga; false if none is due.
pub async fn advance(store: &Store) -> Result<bool, Error> {
    let home = store.home().await?;
    let rows = home
        .rows(
            "BEGIN; SELECT id, state, position, tries, most_tries, steps, started_by, search_path FROM pgweave.saga \
             WHERE ended_at IS NULL AND next_at <= pg_catalog.clock_timestamp() ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED",
        )
        .await?;
    let Some(row) = rows.first() else {
        home.batch("ROLLBACK").await?;
        store.give_back(home);
        return Ok(false);
    };
    let saga = match read(row) {
        Ok(saga) => saga,
        Err(error) => {
            // It must not keep others from their turn.
            let id = quote_literal(text(row, 0, "pgweave.saga")?);
            tracing::warn!(saga = id, %error, "a saga cannot be carried on");
            home.batch(&format!(
                "UPDATE pgweave.saga SET next_at = pg_catalog.clock_timestamp() + interval '1 minute', error = {} \
                 WHERE id = {id}; COMMIT",
                quote_literal(&error.to_string())
            ))
            .await?;
            store.give_back(home);
            return Ok(true);
        }
    };
    let catalog = store.snapshot();
    let work = perform(store, &catalog, &saga);
    let (outcome, problem) = match timeout(PATIENCE, work).await {
        Ok(Ok(outcome)) => (outcome, None),
        Ok(Err(error)) => {
            let outcome = match is_transient(error.sqlstate()) || error.is_connection() {
                true => Outcome::Transient,
                false => Outcome::Permanent,
            };
            (outcome, Some(error.to_string()))
        }
        Err(_) => (
            Outcome::Transient,
            Some("the shard did not answer in time".to_owned()),
        ),
    };
    let (progress, pause_ms) = saga.progress.after(saga.plan, outcome);
    if let Some(problem) = &problem {
        tracing::info!(
            saga = saga.id,
            state = progress.state.as_str(),
            problem,
            "a step of a saga failed"
        );
    }
    home.batch(&save_text(
        &saga.id,
        progress,
        pause_ms,
        problem.as_deref(),
        saga.plan,
    ))
    .await?;
    store.give_back(home);
    Ok(true)
}

fn read(row: &[Option<String>]) -> Result<Saga, Error> {
    let part = |index| text(row, index, "pgweave.saga");
    let number = |index| {
        part(index)?
            .parse::<u32>()
            .map_err(|_| Error::corrupt("a row of pgweave.saga with a number that is none"))
    };
    let steps: Vec<Step> = serde_json::from_str(part(5)?)
        .map_err(|error| Error::corrupt(format!("steps of a saga that cannot be read: {error}")))?;
    let state = State::parse(part(1)?)
        .ok_or_else(|| Error::corrupt("a saga in a state that this router does not know"))?;
    Ok(Saga {
        id: part(0)?.to_owned(),
        progress: Progress {
            state,
            position: number(2)?,
            tries: number(3)?,
        },
        plan: Plan {
            steps: u32::try_from(steps.len()).unwrap_or(u32::MAX),
            most_tries: number(4)?,
        },
        steps,
        user: part(6)?.to_owned(),
        search_path: part(7)?.to_owned(),
    })
}

/// What failed first is what made the saga turn back; a later error is kept only while the saga still tries.
fn save_text(
    id: &str,
    progress: Progress,
    pause_ms: u64,
    problem: Option<&str>,
    plan: Plan,
) -> String {
    let ended = match progress.next(plan) {
        Action::Finished => "pg_catalog.clock_timestamp()",
        _ => "NULL",
    };
    let error = problem.map_or_else(|| "error".to_owned(), quote_literal);
    format!(
        "UPDATE pgweave.saga SET state = {}, position = {}, tries = {}, error = {error}, ended_at = {ended}, \
         next_at = pg_catalog.clock_timestamp() + {pause_ms} * interval '1 millisecond' WHERE id = {}; COMMIT",
        quote_literal(progress.state.as_str()),
        progress.position,
        progress.tries,
        quote_literal(id),
    )
}

async fn perform(store: &Store, catalog: &Catalog, saga: &Saga) -> Result<Outcome, Error> {
    let (number, direction, outcome) = match saga.progress.next(saga.plan) {
        Action::Run(step) => (step, "forward", "done"),
        Action::Seal(step) => (step, "forward", "abandoned"),
        Action::Compensate(step) => (step, "back", "done"),
        Action::Finished => return Ok(Outcome::Done),
    };
    let step = saga
        .steps
        .get(number as usize)
        .ok_or_else(|| Error::corrupt("a saga that is beyond its last step"))?;
    let statement = match (direction, outcome) {
        (_, "abandoned") => None,
        ("back", _) => match &step.compensation {
            Some(compensation) => Some((compensation, &step.compensation_parameters)),
            None => return Ok(Outcome::Done),
        },
        _ => Some((&step.sql, &step.parameters)),
    };
    let shard = ShardId(step.shard);
    if catalog.shard(shard).is_none() {
        return Err(Error::Connect {
            server: format!("shard {shard}"),
            sqlstate: None,
            reason: "the catalog does not have it (any more)".to_owned(),
        });
    }
    let connection = connect(store, catalog, shard).await?;
    let key = format!("{}, {number}, '{direction}'", quote_literal(&saga.id));
    let inserted = connection
        .rows(&format!(
            "BEGIN; {SETTINGS}; INSERT INTO pgweave.saga_step (saga, step, direction, outcome) \
             VALUES ({key}, '{outcome}') ON CONFLICT DO NOTHING RETURNING outcome"
        ))
        .await?;
    if values(&inserted).is_empty() {
        let known = connection
            .rows(&format!(
                "SELECT outcome FROM pgweave.saga_step WHERE (saga, step, direction) = ({key}); ROLLBACK"
            ))
            .await?;
        return Ok(match values(&known)[..] {
            ["abandoned"] => Outcome::Sealed,
            _ => Outcome::Done,
        });
    }
    if let Some((sql, parameters)) = statement {
        run(store, &connection, saga, sql, parameters).await?;
    }
    connection.batch("COMMIT").await?;
    Ok(match outcome {
        "abandoned" => Outcome::Sealed,
        _ => Outcome::Done,
    })
}

/// The client's statement, as the client and by its names. The connection is closed afterwards, whatever it did to it.
async fn run(
    store: &Store,
    connection: &Connection,
    saga: &Saga,
    sql: &str,
    parameters: &[Option<String>],
) -> Result<(), Error> {
    let mut text = String::new();
    if saga.user != store.settings().connector.user {
        text.push_str(&set_role(&saga.user).replacen("SET ROLE", "SET LOCAL ROLE", 1));
        text.push_str("; ");
    }
    let parameters: Vec<String> = parameters
        .iter()
        .map(|value| {
            value
                .as_ref()
                .map_or_else(|| "NULL".to_owned(), |value| quote_literal(value))
        })
        .collect();
    let arguments = match parameters.is_empty() {
        true => String::new(),
        false => format!("({})", parameters.join(", ")),
    };
    text.push_str(&format!(
        "SELECT pg_catalog.set_config('search_path', {}, true); PREPARE pgweave_saga_step AS {sql}\n; EXECUTE pgweave_saga_step{arguments}",
        quote_literal(&saga.search_path)
    ));
    connection.batch(&text).await
}

fn values(rows: &Rows) -> Vec<&str> {
    rows.iter()
        .filter_map(|row| row.first()?.as_deref())
        .collect()
}
