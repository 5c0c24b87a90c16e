//! `pgweave explain`: how a statement would be run, by the catalog alone.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use miette::miette;
use planner::{Context, ExplainFormat};

use super::ConfigOptions;
use super::planning::{self, SessionOptions};
use crate::session::explain::{Outline, render, rung};

#[derive(Debug, Args)]
pub struct ExplainOptions {
    #[command(flatten)]
    pub config: ConfigOptions,
    #[command(flatten)]
    pub session: SessionOptions,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// The statement, or several with semicolons between them
    #[arg(value_name = "SQL")]
    pub sql: String,
}

/// How the tree is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
    Yaml,
    Xml,
}

/// Prints the tree of each statement; fails if one would be refused.
pub async fn run(options: ExplainOptions) -> miette::Result<ExitCode> {
    let config = options.config.load()?;
    let store = planning::open(&config).await?;
    let catalog = store.snapshot();
    let context = options.session.context(&catalog);
    let statements = planner::statements(&options.sql).map_err(|error| miette!("{error}"))?;
    let mut status = ExitCode::SUCCESS;
    for statement in statements {
        let sql = options.sql.get(statement).unwrap_or_default().trim();
        match explained(sql, &context, options.format) {
            Ok(text) => println!("{text}"),
            Err(refusal) => {
                println!("{refusal}");
                status = ExitCode::FAILURE;
            }
        }
    }
    Ok(status)
}

/// The tree of one statement, or why there is none.
fn explained(sql: &str, context: &Context<'_>, format: Format) -> Result<String, String> {
    let plan = match planning::plan(sql, context) {
        Ok(Some(plan)) => plan,
        Ok(None) => return Ok(String::new()),
        Err(error) => {
            let mut lines = vec![format!("Refused: {error} ({})", error.sqlstate())];
            lines.extend(error.detail().map(|detail| format!("Detail: {detail}")));
            lines.extend(error.hint().map(|hint| format!("Hint: {hint}")));
            return Err(lines.join("\n"));
        }
    };
    let outline = Outline {
        catalog: context.catalog,
        text: sql,
        finishing: None,
        in_block: false,
    };
    let node = outline.of(&plan);
    let format = match format {
        Format::Text => ExplainFormat::Text,
        Format::Json => ExplainFormat::Json,
        Format::Yaml => ExplainFormat::Yaml,
        Format::Xml => ExplainFormat::Xml,
    };
    Ok(render(rung(&plan).unwrap_or(node.kind), &node, format).join("\n"))
}
