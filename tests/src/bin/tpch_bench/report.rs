//! What was measured, as tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ::tests::bench::spread::{Spread, cell};
use ::tests::bench::{machine, results};
use ::tests::process::Failure;

use crate::Options;

const INTRODUCTION: &str = "## TPC-H

Written by `./dev bench tpch`. The 22 queries of `tests/sql/tpch/queries.sql` in milliseconds, each the median of the rounds, with the least and the greatest in
parentheses; all answers were compared with PostgreSQL's, and are the same. All servers and routers share the machine's processors, so that what more shards
gain elsewhere is hardly to be seen here. `orders` and `lineitem` are sharded by the order's key, `part` and `partsupp` by the part's,
`customer` and `supplier` by their own, each pair on its own; `nation` and `region` are reference tables.

";

pub struct Report {
    conditions: Vec<(String, String)>,
    shards: Vec<usize>,
    /// By query and number of shards; 0: the plain server.
    times_ms: BTreeMap<(usize, usize), Vec<f64>>,
}

impl Report {
    pub fn new(options: &Options) -> Report {
        let mut conditions = machine::facts();
        let mut add = |name: &str, value: String| conditions.push((name.to_owned(), value));
        add("Scale", options.scale.to_string());
        add(
            "Rounds",
            format!(
                "{}, interleaved, simple protocol, each in a session of its own",
                options.rounds
            ),
        );
        if let Some(load) = machine::load() {
            add("Load when it began", load);
        }
        if let Some(remark) = &options.remark {
            add("Remark", remark.clone());
        }
        Report {
            conditions,
            shards: options.shards.clone(),
            times_ms: BTreeMap::new(),
        }
    }

    pub fn add(&mut self, query: usize, shards: usize, ms: f64) {
        self.times_ms.entry((query, shards)).or_default().push(ms);
    }

    fn subjects(&self) -> Vec<usize> {
        std::iter::once(0)
            .chain(self.shards.iter().copied())
            .collect()
    }

    fn times(&self, query: usize, shards: usize) -> &[f64] {
        self.times_ms
            .get(&(query, shards))
            .map_or(&[], Vec::as_slice)
    }

    /// One row of the table.
    pub fn line(&self, query: usize) -> String {
        let cells = self
            .subjects()
            .into_iter()
            .map(|shards| cell(self.times(query, shards).iter().copied(), 1));
        let cells: Vec<String> = cells.collect();
        format!("| {query} | {} |", cells.join(" | "))
    }

    fn table(&self) -> String {
        let heads = self.subjects().into_iter().map(|shards| match shards {
            0 => "PostgreSQL".to_owned(),
            count => format!("pgweave, {count}"),
        });
        let heads: Vec<String> = heads.collect();
        let mut text = format!(
            "| query | {} |\n|---:|{}\n",
            heads.join(" | "),
            "---:|".repeat(heads.len())
        );
        let mut queries: Vec<usize> = self.times_ms.keys().map(|(query, _)| *query).collect();
        queries.dedup();
        for query in &queries {
            let _ = writeln!(text, "{}", self.line(*query));
        }
        let sums = self.subjects().into_iter().map(|shards| {
            let medians = queries
                .iter()
                .filter_map(|query| Spread::of(self.times(*query, shards).iter().copied()));
            format!("{:.0}", medians.map(|spread| spread.median).sum::<f64>())
        });
        let sums: Vec<String> = sums.collect();
        let _ = writeln!(text, "| all | {} |", sums.join(" | "));
        text
    }

    pub fn finish(&self, options: &Options) -> Result<(), Failure> {
        println!("\n{}", self.table());
        let mut text = INTRODUCTION.to_owned();
        for (name, value) in &self.conditions {
            let _ = writeln!(text, "- {name}: {value}");
        }
        let _ = write!(text, "\n{}", self.table());
        match &options.output {
            Some(path) => results::write(path, &text),
            None if options.is_complete() => results::write(&results::kept(), &text),
            None => Ok(()),
        }
    }
}
