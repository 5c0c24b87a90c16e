//! Statements as they come, and how many of them each rung of the ladder would answer.
//!
//! Entry point: [`Shares::of`]. Statements that are about no table's rows (SET, BEGIN, the operator's) count nowhere.

use planner::{Context, Plan};
use serde_json::{Value, json};

use crate::cli::planning;
use crate::session::explain::rung;

/// How many refused statements are named.
const NAMED_REFUSALS: usize = 5;

/// A statement that has been run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    pub sql: String,
    /// How often.
    pub calls: u64,
}

/// The statements of a file, each run once. A statement that comes again counts again.
pub fn of_text(text: &str) -> Result<Vec<Executed>, planner::Error> {
    let statements = planner::statements(text)?;
    let mut all = Vec::with_capacity(statements.len());
    for statement in statements {
        let sql = text.get(statement).unwrap_or_default().trim();
        all.push(Executed {
            sql: sql.to_owned(),
            calls: 1,
        });
    }
    Ok(all)
}

/// Executions by the rung that answers them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares {
    pub single: u64,
    pub scatter: u64,
    pub combine: u64,
    pub gather: u64,
    /// The same statement on all shards: writes of reference tables, definitions.
    pub everywhere: u64,
    /// Writes that several shards carry out, each for its own rows.
    pub spread: u64,
    pub refused: u64,
    /// Some refused statements, and why.
    pub refusals: Vec<(String, String)>,
}

impl Shares {
    /// Plans all statements. Nothing is run.
    pub fn of(workload: &[Executed], context: &Context<'_>) -> Shares {
        let mut shares = Shares::default();
        for Executed { sql, calls } in workload {
            match planning::plan(sql, context) {
                Ok(Some(plan)) => {
                    if let Some(count) = shares.count(&plan) {
                        *count += calls;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    shares.refused += calls;
                    if shares.refusals.len() < NAMED_REFUSALS {
                        shares.refusals.push((sql.clone(), error.to_string()));
                    }
                }
            }
        }
        shares
    }

    fn count(&mut self, plan: &Plan) -> Option<&mut u64> {
        match rung(plan)? {
            "Single" => Some(&mut self.single),
            "Scatter" => Some(&mut self.scatter),
            "Combine" => Some(&mut self.combine),
            "Gather" => Some(&mut self.gather),
            "Spread" | "Load" | "Transfer" => Some(&mut self.spread),
            _ => Some(&mut self.everywhere),
        }
    }

    /// With the names that a person reads, from the best to the worst.
    pub fn counts(&self) -> [(&'static str, u64); 7] {
        [
            ("single", self.single),
            ("everywhere", self.everywhere),
            ("spread", self.spread),
            ("scatter", self.scatter),
            ("combine", self.combine),
            ("gather", self.gather),
            ("refused", self.refused),
        ]
    }

    pub fn total(&self) -> u64 {
        self.counts().iter().map(|(_, count)| count).sum()
    }

    /// The part of all executions, in percent.
    pub fn percent(&self, count: u64) -> f64 {
        match self.total() {
            0 => 0.0,
            total => (count as f64 * 1000.0 / total as f64).round() / 10.0,
        }
    }

    pub fn to_value(&self) -> Value {
        let refusals = self.refusals.iter();
        let refusals: Vec<Value> = refusals
            .map(|(sql, reason)| json!({"sql": sql, "reason": reason}))
            .collect();
        let mut value = json!({"executions": self.total()});
        for (name, count) in self.counts() {
            value[name] = json!({"executions": count, "percent": self.percent(count)});
        }
        value["refusals"] = refusals.into();
        value
    }
}
