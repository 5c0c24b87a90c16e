//! EXPLAIN: the route first, then the shard's own plan beneath it.

use std::sync::Arc;

use catalog::Catalog;
use planner::{Explain, ExplainFormat, Plan, Target};

use super::simple::Part;
use super::{Session, Step};
use crate::execute::expect::Expect;
use crate::wire::{encode, frame};

impl Session {
    pub(super) async fn run_explain(
        &mut self,
        explain: &Explain,
        part: Part<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let Plan::Single(single) = &*explain.inner else {
            let lines: Vec<String> = explain
                .inner
                .to_string()
                .lines()
                .map(str::to_owned)
                .collect();
            return self.explain_lines(&lines);
        };
        let need = self.need_of(single, &self.literals.values(part.whole), catalog)?;
        let index = self.link(need, catalog).await?;
        let link = &mut self.links[index];
        link.backend.query(part.text.as_bytes());
        link.position_offset = part.offset;
        link.expects.push_back(Expect::Captured);
        self.exchange(index).await?;
        let captured = std::mem::take(&mut self.links[index].captured);
        self.own_error(index)?;
        let link = &self.links[index];
        let shard = catalog
            .shard(link.shard)
            .map_or_else(|| link.shard.to_string(), |shard| shard.name.clone());
        let why = match need.target {
            Target::Any => "any shard can answer",
            Target::Shard(_) | Target::Catalog => "one shard holds all the rows",
        };
        let header = format!("Single: shard {shard} ({why})");
        let mut rest = &captured[..];
        let mut header = (explain.format == ExplainFormat::Text).then_some(header);
        while let Some(total) = frame::total_length(rest).filter(|total| *total <= rest.len()) {
            let tag = rest[0];
            self.client.out.extend_from_slice(&rest[..total]);
            rest = &rest[total..];
            if tag == b'T'
                && let Some(header) = header.take()
            {
                encode::data_row(&mut self.client.out, &[Some(header.as_bytes())]);
            }
        }
        Ok(())
    }

    fn explain_lines(&mut self, lines: &[String]) -> Step {
        encode::row_description(&mut self.client.out, &[("QUERY PLAN", 25)]);
        for line in lines {
            encode::data_row(&mut self.client.out, &[Some(line.as_bytes())]);
        }
        encode::command_complete(&mut self.client.out, "EXPLAIN");
        Ok(())
    }
}
