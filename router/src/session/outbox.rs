//! Messages that commit with the transaction that publishes them: `pgweave.outbox_publish`, `outbox_poll`, `outbox_ack` and kin.
//!
//! Entry point: [`Session::outbox`]. Each shard keeps the messages of its own transactions in `pgweave.outbox`; a
//! message's id is `shard-number`. Publishing and acknowledging are statements of the client's own transaction, on one
//! shard. Polling goes over all shards, each part in a transaction of its own: it looks what could be given, makes sure that
//! no shard has an older message of the same key, and leases. A message is given again when its lease is over, so it is
//! given at least once. No router remembers anything of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::{Catalog, ShardId};
use planner::{Access, AdminArg, AdminCall};
use txn::sql::quote_literal;

use super::links::Need;
use super::report::Report;
use super::{Session, Step};
use crate::admin::{Arguments, Output};
use crate::execute::expect::Expect;
use crate::wire::backend;

/// Messages that one poll gives at most.
const MOST: u32 = 10_000;
/// How long a message is its receiver's, unless the poll says otherwise.
const LEASE: &str = "30 seconds";
/// How often a message is given, unless the poll says otherwise.
const MOST_TRIES: u32 = 10;
/// Until a message is given again that its receiver could not do.
const RETRY_DELAY: &str = "5 seconds";

const MESSAGE: [&str; 6] = ["id", "topic", "key", "payload", "published_at", "tries"];

/// The columns of a function's result; `None` if it is none of these.
pub fn columns(function: &str) -> Option<Vec<String>> {
    let columns: Vec<&str> = match function {
        "outbox_publish" => vec!["id"],
        "outbox_poll" => MESSAGE.to_vec(),
        "outbox_ack" | "outbox_retry" | "outbox_revive" => vec!["found"],
        "outbox_dead" => MESSAGE.into_iter().chain(["error"]).collect(),
        _ => return None,
    };
    Some(columns.into_iter().map(str::to_owned).collect())
}

type Rows = Vec<Vec<Option<String>>>;

impl Session {
    /// Runs one of the functions.
    pub(super) async fn outbox(
        &mut self,
        call: &AdminCall,
        given: &[(Option<String>, AdminArg)],
        columns: Vec<String>,
    ) -> Step<Output> {
        let catalog = self.catalog();
        let name = call.name.as_str();
        let bind = |parameters| Arguments::bind(name, parameters, given);
        let rows = match name {
            "outbox_publish" => {
                let arguments = bind(&["topic", "key", "payload", "delay"])?;
                self.publish(&arguments, &catalog).await?
            }
            "outbox_poll" => {
                let arguments = bind(&["topic", "most", "lease", "most_tries"])?;
                self.poll(&arguments, &catalog).await?
            }
            "outbox_dead" => {
                let topic = quote_literal(&bind(&["topic"])?.required("topic")?);
                let mut rows = Rows::new();
                for shard in shards(&catalog) {
                    let sql = format!("SELECT * FROM pgweave.outbox_dead({topic})");
                    rows.extend(named(
                        shard,
                        self.outbox_rows(shard, Access::Read, &sql, &catalog)
                            .await?,
                    ));
                }
                rows
            }
            "outbox_ack" => {
                let (shard, number) = message(&bind(&["id"])?.required("id")?, &catalog)?;
                let sql = format!("SELECT pgweave.outbox_ack({number})");
                self.outbox_rows(shard, Access::Write, &sql, &catalog)
                    .await?
            }
            "outbox_revive" => {
                let (shard, number) = message(&bind(&["id"])?.required("id")?, &catalog)?;
                let sql = format!("SELECT pgweave.outbox_revive({number})");
                self.outbox_rows(shard, Access::Write, &sql, &catalog)
                    .await?
            }
            "outbox_retry" => {
                let arguments = bind(&["id", "delay", "error"])?;
                let (shard, number) = message(&arguments.required("id")?, &catalog)?;
                let delay = arguments.text("delay")?;
                let sql = format!(
                    "SELECT pgweave.outbox_retry({number}, {}::interval, {})",
                    quote_literal(delay.as_deref().unwrap_or(RETRY_DELAY)),
                    nullable(arguments.text("error")?)
                );
                self.outbox_rows(shard, Access::Write, &sql, &catalog)
                    .await?
            }
            other => {
                return Err(Report::error(
                    "42883",
                    format!("function pgweave.{other} does not exist"),
                )
                .hint("There are outbox_publish, outbox_poll, outbox_ack, outbox_retry, outbox_dead and outbox_revive.")
                .into());
            }
        };
        Ok(Output {
            columns,
            rows,
            notices: Vec::new(),
        })
    }

    /// On a shard that takes part in the transaction anyway, if there is one; otherwise on one that the key decides.
    async fn publish(&mut self, arguments: &Arguments<'_>, catalog: &Arc<Catalog>) -> Step<Rows> {
        let key = arguments.text("key")?;
        let sql = format!(
            "SELECT pgweave.outbox_publish({}, {}, {}::jsonb, {}::interval)",
            quote_literal(&arguments.required("topic")?),
            nullable(key.clone()),
            nullable(arguments.text("payload")?),
            nullable(arguments.text("delay")?),
        );
        let takes_part = |wrote: bool| {
            let mut links = self.links.iter();
            links
                .find(|link| link.in_block && !link.replica && link.wrote == wrote)
                .map(|link| link.shard)
        };
        let shard = match takes_part(true).or_else(|| takes_part(false)) {
            Some(shard) => shard,
            None => spread(&key.unwrap_or_default(), catalog)?,
        };
        self.outbox_rows(shard, Access::Write, &sql, catalog).await
    }

    async fn poll(&mut self, arguments: &Arguments<'_>, catalog: &Arc<Catalog>) -> Step<Rows> {
        if self.block.as_ref().is_some_and(|block| block.explicit) {
            return Err(Report::error(
                "25001",
                "pgweave.outbox_poll cannot run inside a transaction block",
            )
            .hint(
                "Poll first; then BEGIN, do what the message asks for, acknowledge it, and COMMIT.",
            )
            .into());
        }
        let topic = quote_literal(&arguments.required("topic")?);
        let most = arguments.number("most")?.unwrap_or(1).min(MOST);
        let lease = arguments.text("lease")?;
        let lease = quote_literal(lease.as_deref().unwrap_or(LEASE));
        let tries = arguments.number("most_tries")?.unwrap_or(MOST_TRIES);
        let heads = self.heads(&topic, most, catalog).await?;
        let mut chosen: BTreeMap<ShardId, Vec<String>> = BTreeMap::new();
        for head in heads.into_iter().take(most as usize) {
            chosen.entry(head.shard).or_default().push(head.number);
        }
        let mut rows = Rows::new();
        for (shard, numbers) in chosen {
            let sql = format!(
                "SELECT * FROM pgweave.outbox_lease('{{{}}}', {lease}::interval, {tries})",
                numbers.join(",")
            );
            rows.extend(named(
                shard,
                self.outbox_rows(shard, Access::Write, &sql, catalog)
                    .await?,
            ));
        }
        Ok(rows)
    }

    /// What could be given now, the oldest first.
    async fn heads(&mut self, topic: &str, most: u32, catalog: &Arc<Catalog>) -> Step<Vec<Head>> {
        let shards = shards(catalog);
        let mut heads = Vec::new();
        for &shard in &shards {
            let sql = format!("SELECT * FROM pgweave.outbox_heads({topic}, {most})");
            for row in self.outbox_rows(shard, Access::Read, &sql, catalog).await? {
                if let [Some(number), key, Some(published_us)] = &row[..] {
                    heads.push(Head {
                        published_us: published_us.parse().unwrap_or(i64::MAX),
                        shard,
                        number: number.clone(),
                        key: key.clone(),
                    });
                }
            }
        }
        let mut keys: Vec<&str> = heads
            .iter()
            .filter_map(|head| head.key.as_deref())
            .collect();
        keys.sort_unstable();
        keys.dedup();
        if shards.len() > 1 && !keys.is_empty() {
            // Another shard may have an older message of the same key, given to somebody or not due yet.
            let list: Vec<String> = keys.iter().map(|key| quote_literal(key)).collect();
            let sql = format!(
                "SELECT * FROM pgweave.outbox_oldest({topic}, ARRAY[{}])",
                list.join(",")
            );
            let mut oldest: BTreeMap<String, (i64, ShardId)> = BTreeMap::new();
            for &shard in &shards {
                for row in self.outbox_rows(shard, Access::Read, &sql, catalog).await? {
                    if let [Some(key), Some(published_us)] = &row[..] {
                        let place = (published_us.parse().unwrap_or(i64::MAX), shard);
                        let known = oldest.entry(key.clone()).or_insert(place);
                        *known = place.min(*known);
                    }
                }
            }
            heads.retain(|head| match &head.key {
                None => true,
                // Gone meanwhile: somebody else has had it.
                Some(key) => oldest
                    .get(key)
                    .is_some_and(|(_, shard)| *shard == head.shard),
            });
        }
        heads.sort();
        Ok(heads)
    }

    /// Runs a statement on a shard, in the open transaction if there is one.
    pub(super) async fn outbox_rows(
        &mut self,
        shard: ShardId,
        access: Access,
        sql: &str,
        catalog: &Arc<Catalog>,
    ) -> Step<Rows> {
        self.drain().await?;
        let index = self.link(Need::shard(shard, access), catalog).await?;
        let link = &mut self.links[index];
        link.captured.clear();
        link.backend.query(sql.as_bytes());
        link.expects.push_back(Expect::Captured);
        self.exchange(index).await?;
        let captured = std::mem::take(&mut self.links[index].captured);
        self.own_error(index)?;
        Ok(backend::text_rows(&captured)?)
    }
}

/// A message that could be given; older ones come first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    published_us: i64,
    shard: ShardId,
    number: String,
    key: Option<String>,
}

fn shards(catalog: &Catalog) -> Vec<ShardId> {
    catalog.shards().iter().map(|shard| shard.id).collect()
}

/// Rows whose first column is the number of a message, with its id there.
fn named(shard: ShardId, mut rows: Rows) -> Rows {
    for row in &mut rows {
        if let Some(Some(number)) = row.first_mut() {
            *number = format!("{shard}-{number}");
        }
    }
    rows
}

/// The shard and the number of a message.
fn message(id: &str, catalog: &Catalog) -> Step<(ShardId, i64)> {
    let parts = id
        .split_once('-')
        .and_then(|(shard, number)| Some((ShardId(shard.parse().ok()?), number.parse().ok()?)));
    parts
        .filter(|(shard, _)| catalog.shard(*shard).is_some())
        .ok_or_else(|| {
            Report::error("22023", format!("\"{id}\" is not the id of a message"))
                .hint("pgweave.outbox_poll gives ids as in 2-15.")
                .into()
        })
}

/// Some shard, the same for the same key as long as the shards are the same. FNV-1a.
fn spread(key: &str, catalog: &Catalog) -> Step<ShardId> {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let shards = shards(catalog);
    let place = usize::try_from(hash % shards.len().max(1) as u64).unwrap_or(0);
    shards
        .get(place)
        .copied()
        .ok_or_else(|| Report::error("08006", "this cluster has no shards yet").into())
}

pub(super) fn nullable(text: Option<String>) -> String {
    text.map_or_else(|| "NULL".to_owned(), |text| quote_literal(&text))
}
