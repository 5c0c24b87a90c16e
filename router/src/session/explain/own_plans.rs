//! The shards' own plans of what they are asked: estimates, and on demand the plans themselves.

use std::sync::Arc;

use catalog::Catalog;
use planner::{Access, Explain, ExplainFormat, Plan};
use serde_json::Value;

use super::is_on;
use super::outline::Node;
use crate::execute::expect::Expect;
use crate::session::links::Need;
use crate::session::scatter::{MOMENT, TIMESTAMPTZ};
use crate::session::{Session, Step};
use crate::wire::frontend::ShardBind;
use crate::wire::{backend, encode};

/// Options that a shard can be given for a plan that it does not carry out.
const OF_SHARDS: [&str; 6] = [
    "buffers",
    "costs",
    "generic_plan",
    "memory",
    "settings",
    "verbose",
];

/// Options that the router answers to by itself, or that concern an execution on a shard.
const OF_ROUTER: [&str; 6] = ["analyze", "format", "serialize", "summary", "timing", "wal"];

/// Whether shards have something to say to these options.
pub(super) fn concern_shards(explain: &Explain) -> bool {
    explain.options.iter().any(|(name, value)| match &**name {
        "verbose" | "analyze" => is_on(value.as_deref()),
        // A shard tells the client that there is no such option.
        name => !OF_ROUTER.contains(&name) && !OF_SHARDS.contains(&name),
    })
}

impl Session {
    /// Has each shard explain what it is asked.
    pub(super) async fn ask_plans(
        &mut self,
        explain: &Explain,
        plan: &Plan,
        root: &mut Node,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let access = match plan {
            Plan::Scatter(scatter) if scatter.locks => Access::LockingRead,
            _ => Access::Read,
        };
        let mut queries = Vec::new();
        root.walk(&mut |node| queries.extend(node.query.clone()));
        let mut shards: Vec<_> = queries.iter().map(|query| query.shard).collect();
        // In one order always, so that two sessions do not each wait for a connection that the other has.
        shards.sort();
        shards.dedup();
        for shard in &shards {
            self.link(Need::shard(*shard, access), catalog).await?;
        }
        let is_text = explain.format == ExplainFormat::Text;
        let opening = opening(explain, is_text);
        let mut own_plans = Vec::new();
        for query in &queries {
            let index = self.link(Need::shard(query.shard, access), catalog).await?;
            let moment = match query.moment {
                true => Some(self.query_value(index, MOMENT).await?),
                false => None,
            };
            let captured = self
                .ask_plan(index, &format!("{opening}{}", query.sql), moment.as_deref())
                .await?;
            let rows = backend::messages(&captured).filter(|(tag, _)| *tag == b'D');
            let lines: Vec<String> = rows.filter_map(|(_, body)| only_value(body)).collect();
            own_plans.push(match is_text {
                true => Value::from(lines),
                false => tree_of(&lines.concat()),
            });
        }
        let shows = explain
            .options
            .iter()
            .any(|(name, value)| name == "verbose" && is_on(value.as_deref()));
        let mut own_plans = own_plans.into_iter();
        root.walk(&mut |node| {
            if node.query.is_none() {
                return;
            }
            let own = own_plans.next();
            node.estimated_rows = own.as_ref().and_then(estimate);
            node.own_plan = own.filter(|own| shows && !own.is_null());
        });
        Ok(())
    }

    /// What a server says to an EXPLAIN, which may have the time of the transaction as its parameter.
    async fn ask_plan(&mut self, index: usize, sql: &str, moment: Option<&str>) -> Step<Vec<u8>> {
        let link = &mut self.links[index];
        let types = moment.map(|_| TIMESTAMPTZ);
        let bind = ShardBind {
            moment,
            ..ShardBind::default()
        };
        let out = link.backend.out();
        encode::parse(out, b"", sql.as_bytes(), types.as_slice());
        bind.write(out, None, b"");
        encode::execute(out, b"", 0);
        encode::sync(out);
        link.backend.forget_unnamed();
        link.expects.push_back(Expect::Captured);
        self.exchange(index).await?;
        let captured = std::mem::take(&mut self.links[index].captured);
        self.own_error(index)?;
        Ok(captured)
    }
}

/// What stands before a shard's query to have it explained.
fn opening(explain: &Explain, is_text: bool) -> String {
    let mut options: Vec<String> = Vec::new();
    for (name, value) in &explain.options {
        if OF_ROUTER.contains(&&**name) {
            continue;
        }
        let name = catalog::quote_identifier(name);
        options.push(match value {
            Some(value) => format!("{name} {}", catalog::quote_literal(value)),
            None => name,
        });
    }
    if !is_text {
        options.push("FORMAT json".to_owned());
    }
    match options.is_empty() {
        true => "EXPLAIN ".to_owned(),
        false => format!("EXPLAIN ({}) ", options.join(", ")),
    }
}

/// The tree in a shard's answer in JSON.
fn tree_of(answer: &str) -> Value {
    let mut answer: Value = serde_json::from_str(answer).unwrap_or_default();
    answer
        .pointer_mut("/0/Plan")
        .map(Value::take)
        .unwrap_or_default()
}

/// The rows that a shard expects to give; unknown with COSTS OFF.
fn estimate(own_plan: &Value) -> Option<u64> {
    if let Some(rows) = own_plan.get("Plan Rows") {
        return rows.as_u64();
    }
    let first = own_plan.get(0)?.as_str()?;
    let (_, after) = first.split_once(" rows=")?;
    after.split(' ').next()?.parse().ok()
}

/// The one value of a row, as text.
pub(super) fn only_value(body: &[u8]) -> Option<String> {
    let (_, value) = body.split_at_checked(6)?;
    String::from_utf8(value.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_those_of_the_topmost_node() {
        let text = serde_json::json!(["Seq Scan on t  (cost=0.00..35.50 rows=2550 width=4)", "x"]);
        assert_eq!(estimate(&text), Some(2550));
        assert_eq!(estimate(&serde_json::json!(["Seq Scan on t"])), None);
        assert_eq!(estimate(&serde_json::json!({"Plan Rows": 7})), Some(7));
    }
}
