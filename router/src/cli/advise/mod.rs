//! `pgweave advise`: what a workload would cost under other shard keys.
//!
//! Every statement is planned by the catalog as it is and by catalogs as they would be ([`hypothesis`]), and counted by the
//! rung that would answer it ([`workload`]). Nothing is run, and no row is looked at: how evenly a key spreads rows is not told.

mod hypothesis;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use catalog::{Catalog, quote_identifier};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use miette::{IntoDiagnostic, WrapErr, miette};
use serde_json::{Value, json};

use super::planning::{self, SessionOptions};
use super::{ConfigOptions, explain};
use crate::session::explain::json as json_text;
use crate::store::Store;
use hypothesis::{Hypothesis, hypotheses};
use workload::{Executed, Shares, of_text};

/// The schema of the extension, if there is one.
const EXTENSION: &str = "SELECT n.nspname FROM pg_catalog.pg_extension e \
     JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'";

/// The statements of one database, those of the router itself left out.
fn statistics_query(schema: &str) -> String {
    format!(
        "SELECT s.query, sum(s.calls)::bigint FROM {}.pg_stat_statements s \
         JOIN pg_catalog.pg_database d ON d.oid = s.dbid \
         WHERE d.datname = pg_catalog.current_database() AND s.query !~ 'pgweave' GROUP BY s.query",
        quote_identifier(schema)
    )
}

#[derive(Debug, Args)]
pub struct AdviseOptions {
    #[command(flatten)]
    pub config: ConfigOptions,
    #[command(flatten)]
    pub session: SessionOptions,
    /// A file of statements with semicolons between them
    #[arg(
        value_name = "FILE.sql",
        required_unless_present = "from_pg_stat_statements"
    )]
    pub file: Option<PathBuf>,
    /// Take the statements from pg_stat_statements on the shards' primaries
    #[arg(long, conflicts_with = "file")]
    pub from_pg_stat_statements: bool,
    /// How many shards to imagine, if there are fewer
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=1024))]
    pub shards: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What a hypothesis makes of the workload.
struct Advice {
    hypothesis: Hypothesis,
    shares: Shares,
}

pub async fn run(options: AdviseOptions) -> miette::Result<ExitCode> {
    let config = options.config.load()?;
    let store = planning::open(&config).await?;
    let workload = match &options.file {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .into_diagnostic()
                .wrap_err_with(|| format!("cannot read {}", file.display()))?;
            of_text(&text).map_err(|error| unreadable(&error, &text))?
        }
        None => statistics(&store).await?,
    };
    let advice = advise(
        &store.snapshot(),
        &workload,
        &options.session,
        options.shards,
    );
    match options.json {
        true => println!("{}", json_text(&to_value(&advice))),
        false => println!("{}", table(&advice)),
    }
    Ok(ExitCode::SUCCESS)
}

fn unreadable(error: &planner::Error, text: &str) -> miette::Report {
    let line = error.position().map_or(1, |position| {
        1 + text.chars().take(position).filter(|c| *c == '\n').count()
    });
    miette!(
        help = "the file is to hold SQL only, without psql's own commands",
        "line {line}: {error}"
    )
}

/// What the shards' servers remember of the statements they have run.
async fn statistics(store: &Store) -> miette::Result<Vec<Executed>> {
    let mut workload: Vec<Executed> = Vec::new();
    for shard in store.snapshot().shards() {
        let connection = store.connect_shard(shard).await.map_err(explain::store)?;
        let found = connection.rows(EXTENSION).await.map_err(explain::store)?;
        let [row, ..] = &found[..] else {
            return Err(miette!(
                help = "add pg_stat_statements to shared_preload_libraries of the server, and CREATE EXTENSION pg_stat_statements in its database",
                "shard {} does not have the extension pg_stat_statements",
                shard.name
            ));
        };
        let schema = row.first().cloned().flatten().unwrap_or_default();
        let rows = connection.rows(&statistics_query(&schema)).await;
        let rows = rows.map_err(explain::store)?;
        for row in &rows {
            let [Some(sql), Some(calls)] = &row[..] else {
                continue;
            };
            let calls = calls.parse().unwrap_or(0);
            match workload.iter_mut().find(|known| known.sql == *sql) {
                Some(known) => known.calls += calls,
                None => workload.push(Executed {
                    sql: sql.clone(),
                    calls,
                }),
            }
        }
    }
    Ok(workload)
}

/// The catalog as it is first, then the hypotheses from the best to the worst.
fn advise(
    present: &Catalog,
    workload: &[Executed],
    session: &SessionOptions,
    shards: u32,
) -> Vec<Advice> {
    let mut all: Vec<Advice> = Vec::new();
    for hypothesis in hypotheses(present) {
        // What cannot be so is no advice.
        if let Ok(catalog) = hypothesis.catalog(present, shards) {
            let shares = Shares::of(workload, &session.context(&catalog));
            all.push(Advice { hypothesis, shares });
        }
    }
    all.sort_by_key(|advice| {
        let shares = &advice.shares;
        let present = !advice.hypothesis.is_present();
        let best = std::cmp::Reverse((shares.single, shares.scatter, shares.combine));
        (present, shares.refused, best)
    });
    all
}

fn to_value(advice: &[Advice]) -> Value {
    let rows = advice.iter().map(|Advice { hypothesis, shares }| {
        let mut value = json!({
            "present": hypothesis.is_present(),
            "tables": hypothesis.names(),
            "shard_key": hypothesis.key,
        });
        if let (Some(all), Value::Object(shares)) = (value.as_object_mut(), shares.to_value()) {
            all.extend(shares);
        }
        value
    });
    rows.collect::<Vec<Value>>().into()
}

fn table(advice: &[Advice]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let names = Shares::default().counts().map(|(name, _)| name);
    let mut header = vec!["table", "shard key"];
    header.extend(names);
    table.set_header(header);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for Advice { hypothesis, shares } in advice {
        let name = match hypothesis.is_present() {
            true => "(as it is)",
            false => &hypothesis.tables,
        };
        let mut row = vec![name.to_owned(), hypothesis.key.clone()];
        let percents = shares.counts().map(|(_, count)| shares.percent(count));
        row.extend(percents.iter().map(|percent| format!("{percent:.1} %")));
        table.add_row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use catalog::sample;

    const WORKLOAD: &str = "
        BEGIN;
        SELECT * FROM orders WHERE customer_id = 5;
        SELECT * FROM orders o JOIN lines l USING (customer_id) WHERE o.customer_id = 5;
        SELECT order_id FROM orders ORDER BY order_id LIMIT 3;
        SELECT note, avg(total) + 1 FROM orders GROUP BY note;
        UPDATE orders SET note = 'x' WHERE order_id = 7;
        COMMIT;";

    fn of(advice: &[Advice], tables: &str, key: &str) -> [u64; 7] {
        let found = advice
            .iter()
            .find(|advice| advice.hypothesis.tables == tables && advice.hypothesis.key == key);
        found.unwrap().shares.counts().map(|(_, count)| count)
    }

    #[test]
    fn a_workload_is_counted_under_every_key() {
        let catalog = sample::cluster(1)
            .unsharded_table(
                "orders",
                "s1",
                &[
                    "customer_id bigint",
                    "order_id bigint",
                    "note text",
                    "total numeric",
                ],
            )
            .unsharded_table("lines", "s1", &["customer_id integer", "amount numeric"])
            .build()
            .unwrap();
        let session = SessionOptions {
            user: "app".to_owned(),
            search_path: vec!["public".to_owned()],
        };
        let workload = of_text(WORKLOAD).unwrap();
        let advice = advise(&catalog, &workload, &session, 2);
        assert!(advice[0].hypothesis.is_present());
        // Of each: single, everywhere, spread, scatter, combine, gather, refused.
        assert_eq!(of(&advice, "", ""), [5, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            of(&advice, "2 tables with it", "customer_id"),
            [2, 0, 1, 1, 1, 0, 0]
        );
        assert_eq!(
            of(&advice, "public.orders", "order_id"),
            [1, 0, 0, 2, 1, 1, 0]
        );
        // Numerics are no keys.
        assert!(!advice.iter().any(|advice| advice.hypothesis.key == "total"));
        let shown = table(&advice).to_string();
        assert!(
            shown.lines().nth(1).unwrap().contains("(as it is)"),
            "{shown}"
        );
        assert!(shown.contains("100.0 %"), "{shown}");
        let value = to_value(&advice);
        assert_eq!(value[0]["single"]["percent"], 100.0);
        assert_eq!(value[1]["executions"], 5);
    }
}
