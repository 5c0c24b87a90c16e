//! EXPLAIN: the route first, then what each shard is asked, and on demand the shards' own plans and what an execution has
//! cost.
//!
//! Entry point: [`Session::run_explain`]. A statement of one shard is explained by that shard, with the route in front. Of a query
//! over several shards the tree is the router's own (`outline`): ANALYZE carries it out as always, only that its rows are
//! counted and thrown away (`measure`); VERBOSE and ANALYZE ask each shard for its own plan.
//!
//! Deliberately absent: ANALYZE of a statement that goes to all shards; the shards' own plans of a query with parameters.

mod format;
mod measure;
mod outline;
mod own_plans;

use std::sync::Arc;

use catalog::Catalog;
use planner::{Access, Explain, ExplainFormat, Plan, Planned, Single};

use super::gather::{Sent, Wanted, finishing_server};
use super::links::Need;
use super::report::Report;
use super::simple::Part;
use super::{Session, Step};
use crate::execute::expect::Expect;
use crate::wire::{backend, encode, frontend};

pub use format::{json, render, text};
pub use measure::{Actual, Measures};
pub use outline::{Node, Outline, rung};
use own_plans::only_value;

impl Session {
    pub(super) async fn run_explain(
        &mut self,
        explain: &Explain,
        part: Part<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step {
        match &*explain.inner {
            Plan::Single(single) => {
                let values = self.literals.values(part.whole);
                match self.need_of(single, &values, catalog) {
                    Ok(need) => self.explain_single(explain, need, part, catalog).await,
                    Err(refusal) => {
                        let (text, offset) = explained(explain, part);
                        let planned = Planned {
                            part: None,
                            plan: Arc::new(Plan::Single(Single::clone(single))),
                            rest: None,
                        };
                        let values = self.literals.values(part.whole);
                        let several =
                            self.over_several(&planned, text, &values, refusal, catalog)?;
                        if matches!(*several.plan, Plan::Spread(_) | Plan::Transfer(_)) {
                            return self.explain_spread(explain, &several.plan, text, catalog);
                        }
                        self.explain_several(explain, &several.plan, text, offset, catalog)
                            .await
                    }
                }
            }
            plan @ (Plan::Scatter(_) | Plan::Gather(_)) => {
                let (text, offset) = explained(explain, part);
                if explain.analyze
                    && parameters(plan) > 0
                    && let Some(bound) = part.bound
                {
                    return self.explain_bound(explain, text, bound, catalog).await;
                }
                self.explain_several(explain, plan, part.whole, offset, catalog)
                    .await
            }
            plan @ (Plan::Spread(_) | Plan::Transfer(_)) => {
                self.explain_spread(explain, plan, part.whole, catalog)
            }
            plan => {
                let node = self.outline(part.whole, catalog).of(plan);
                self.explanation(node.kind, &node, explain.format)
            }
        }
    }

    /// A write over several shards is shown, never carried out.
    fn explain_spread(
        &mut self,
        explain: &Explain,
        plan: &Plan,
        whole: &str,
        catalog: &Arc<Catalog>,
    ) -> Step {
        if explain.analyze {
            return Err(Report::error(
                "0A000",
                "EXPLAIN ANALYZE of a write over several shards is not supported",
            )
            .hint("EXPLAIN shows what each shard is sent; EXPLAIN ANALYZE that on one shard after SET pgweave.shard.")
            .into());
        }
        let node = self.outline(whole, catalog).of(plan);
        self.explanation(node.kind, &node, explain.format)
    }

    /// The shard explains, the route comes first.
    async fn explain_single(
        &mut self,
        explain: &Explain,
        need: Need,
        part: Part<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let index = self.link(need, catalog).await?;
        let link = &mut self.links[index];
        link.backend.query(part.text.as_bytes());
        link.position_offset = part.offset;
        link.expects.push_back(Expect::Captured);
        self.exchange(index).await?;
        let captured = std::mem::take(&mut self.links[index].captured);
        self.own_error(index)?;
        let shard = self.links[index].shard;
        let route = self
            .outline(part.whole, catalog)
            .answered(need.target, shard);
        let mut header = (explain.format == ExplainFormat::Text).then(|| route.line.clone());
        for (tag, body) in backend::messages(&captured) {
            let value = match tag {
                b'D' if explain.format != ExplainFormat::Text => only_value(body),
                _ => None,
            };
            match value {
                Some(answer) => {
                    let answer = format::with_route(&answer, &route, explain.format);
                    encode::data_row(&mut self.client.out, &[Some(answer.as_bytes())]);
                }
                None => encode::message_as_it_is(&mut self.client.out, tag, body),
            }
            if tag == b'T'
                && let Some(header) = header.take()
            {
                encode::data_row(&mut self.client.out, &[Some(header.as_bytes())]);
            }
        }
        Ok(())
    }

    /// `whole`: the text that was planned. `offset`: characters before the explained statement in the client's text.
    async fn explain_several(
        &mut self,
        explain: &Explain,
        plan: &Plan,
        whole: &str,
        offset: i32,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let asks = own_plans::concern_shards(explain) && parameters(plan) == 0;
        let mut actual = None;
        if explain.analyze && asks {
            let sent = Sent::Simple;
            actual = Some(self.measure(plan, whole, offset, sent, catalog).await?);
        } else {
            self.judge(plan, whole, offset, catalog).await?;
        }
        if !asks {
            let node = self.outline(whole, catalog).of(plan);
            return self.explanation(
                outline::rung(plan).unwrap_or_default(),
                &node,
                explain.format,
            );
        }
        let plan = match &actual {
            Some((measures, _)) => carried_out(plan, measures.other_ways),
            None => plan.clone(),
        };
        let mut node = self.outline(whole, catalog).of(&plan);
        if let Some(actual) = &actual {
            show(&mut node, actual);
        }
        self.ask_plans(explain, &plan, &mut node, catalog).await?;
        self.explanation(
            outline::rung(&plan).unwrap_or_default(),
            &node,
            explain.format,
        )
    }

    /// EXPLAIN ANALYZE with values: measured like any other, but shards' own plans depend on the values and are not asked for. `text`: the
    /// explained statement.
    async fn explain_bound(
        &mut self,
        explain: &Explain,
        text: &str,
        (types, message): (&[u32], &[u8]),
        catalog: &Arc<Catalog>,
    ) -> Step {
        let statement = self.statement_of(text, types, false, self.reading(), catalog)?;
        let client = frontend::parse_bind(message.get(5..).unwrap_or_default())?;
        // Formats are of the one column that EXPLAIN has.
        let message = frontend::bind_with_format(Some(&client), 0);
        let Some(plan) = statement.plan() else {
            return Err(Report::error("XX000", "an explained query has no plan").into());
        };
        let sent = Sent::Bound(&statement, &message, Wanted::Rows(0));
        let actual = self.measure(plan, text, 0, sent, catalog).await?;
        let plan = carried_out(plan, actual.0.other_ways);
        let mut node = self.outline(text, catalog).of(&plan);
        show(&mut node, &actual);
        let rung = outline::rung(&plan).unwrap_or_default();
        self.explanation(rung, &node, explain.format)
    }

    /// Has a server judge the statement, as PostgreSQL does before it explains one.
    async fn judge(
        &mut self,
        plan: &Plan,
        whole: &str,
        offset: i32,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let (statement, shard) = match plan {
            Plan::Scatter(scatter) => {
                let shards =
                    self.shards_of_group(scatter.shards.as_deref(), scatter.group, catalog)?;
                (&scatter.statement, shards.first().copied())
            }
            Plan::Gather(gather) if gather.is_known_to_servers() => {
                (&gather.statement, Some(self.finishing_shard(gather)?))
            }
            _ => return Ok(()),
        };
        let Some(shard) = shard else {
            return Ok(());
        };
        let text = whole.get(statement.clone()).unwrap_or(whole);
        let index = self.link(Need::shard(shard, Access::Read), catalog).await?;
        self.drain().await?;
        let index = self
            .existing_link(planner::Target::Shard(shard), true, catalog)
            .unwrap_or(index);
        self.learn_types(index, (text, offset, false), text, &[], Sent::Simple)
            .await
            .map(drop)
    }

    /// Runs the query as always, but for its rows, which are only counted.
    async fn measure(
        &mut self,
        plan: &Plan,
        whole: &str,
        offset: i32,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<(Measures, Actual)> {
        self.allow_several(plan, catalog)?;
        // What waits for the client of earlier statements is not of this result.
        self.drain().await?;
        self.measures = Some(Box::new(Measures::begin()));
        self.client.discard_results();
        let result = match plan {
            Plan::Scatter(scatter) => {
                Box::pin(self.run_scatter(scatter, whole, offset, sent, catalog)).await
            }
            Plan::Gather(gather) => Box::pin(self.run_gather(gather, whole, offset, sent, catalog))
                .await
                .map(drop),
            _ => Ok(()),
        };
        let rows = self.client.keep_results();
        let measures = self.measures.take();
        result?;
        let measures = measures.map_or_else(Measures::begin, |measures| *measures);
        let whole = measures.whole(rows);
        Ok((measures, whole))
    }

    fn outline<'a>(&self, text: &'a str, catalog: &'a Catalog) -> SessionOutline<'a> {
        SessionOutline {
            catalog,
            text,
            process_id: self.handle.process_id,
            chosen: self.router.config.gather.servers.clone(),
            in_block: self.block.is_some(),
        }
    }

    fn explanation(&mut self, rung: &str, node: &Node, format: ExplainFormat) -> Step {
        let oid = match format {
            ExplainFormat::Text | ExplainFormat::Yaml => 25,
            ExplainFormat::Json => 114,
            ExplainFormat::Xml => 142,
        };
        encode::row_description(&mut self.client.out, &[("QUERY PLAN", oid)]);
        for row in render(rung, node, format) {
            encode::data_row(&mut self.client.out, &[Some(row.as_bytes())]);
        }
        encode::command_complete(&mut self.client.out, "EXPLAIN");
        Ok(())
    }
}

/// How many the client has.
fn parameters(plan: &Plan) -> u16 {
    match plan {
        Plan::Scatter(scatter) => scatter.parameters,
        Plan::Gather(gather) => gather.parameters,
        _ => 0,
    }
}

/// Notes at each node what has been measured of it.
fn show(node: &mut Node, (measures, whole): &(Measures, Actual)) {
    node.walk(&mut |node| {
        if let Some(query) = &node.query {
            node.actual = measures.part(query.step, query.shard);
        }
    });
    node.actual = Some(*whole);
}

/// What a plan's tree depends on in a session.
struct SessionOutline<'a> {
    catalog: &'a Catalog,
    text: &'a str,
    process_id: u32,
    /// Names of shards that are to finish queries.
    chosen: Vec<String>,
    in_block: bool,
}

impl SessionOutline<'_> {
    fn of(&self, plan: &Plan) -> Node {
        let finishing = match plan {
            Plan::Gather(gather) => {
                finishing_server(gather, &self.chosen, self.process_id, self.catalog)
            }
            _ => None,
        };
        self.with(finishing).of(plan)
    }

    /// A statement for which any shard will do has been answered by this one.
    fn answered(&self, target: planner::Target, shard: catalog::ShardId) -> Node {
        self.with(None).routed(target, Some(shard))
    }

    fn with(&self, finishing: Option<catalog::ShardId>) -> Outline<'_> {
        Outline {
            catalog: self.catalog,
            text: self.text,
            finishing,
            in_block: self.in_block,
        }
    }
}

/// The explained statement's own text, and how many characters come before it in the client's.
fn explained<'a>(explain: &Explain, part: Part<'a>) -> (&'a str, i32) {
    let own = part.whole.get(explain.statement.clone());
    let Some(own) = own else {
        return (part.text, part.offset);
    };
    // The part's text is a piece of the whole.
    let start = (part.text.as_ptr() as usize).saturating_sub(part.whole.as_ptr() as usize);
    let before = part.whole.get(start..explain.statement.start);
    let before = before.map_or(0, |before| before.chars().count());
    let before = i32::try_from(before).unwrap_or(0);
    (own, part.offset.saturating_add(before))
}

/// The plan that took the place of one which could not be carried out with the types that turned out.
fn carried_out(plan: &Plan, other_ways: usize) -> Plan {
    let mut plan = plan.clone();
    for _ in 0..other_ways {
        let otherwise = match plan {
            Plan::Scatter(ref scatter) => scatter.otherwise.clone(),
            Plan::Gather(ref gather) => {
                let combine = gather.combine.as_ref();
                combine.and_then(|combine| combine.otherwise.clone())
            }
            _ => None,
        };
        match otherwise {
            Some(gather) => plan = Plan::Gather(*gather),
            None => break,
        }
    }
    plan
}

/// As PostgreSQL reads a switch (`defGetBoolean`).
fn is_on(value: Option<&str>) -> bool {
    !matches!(value, Some("off" | "false" | "0" | "no"))
}
