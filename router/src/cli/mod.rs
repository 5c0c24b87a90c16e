//! The command line: `pgweave serve`, `init`, `check`, `demo`, `explain`, `txn` and `advise`.
//!
//! Entry point: [`main`]. Exit status: 0 done, 1 failed (the reason and the remedy are on standard error), 2 the
//! command line itself is wrong.

mod advise;
mod demo;
mod explain;
mod init;
mod logging;
mod plan;
mod planning;
mod progress;
mod serve;
mod shard;
mod signals;
mod txn;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use miette::{IntoDiagnostic, WrapErr};

use crate::config::{Config, Sources};

pub use advise::AdviseOptions;
pub use demo::DemoOptions;
pub use init::InitOptions;
pub use plan::ExplainOptions;
pub use shard::ShardArgument;
pub use txn::TxnOptions;

/// Makes a fleet of plain PostgreSQL servers behave as one database.
#[derive(Debug, Parser)]
#[command(
    name = "pgweave",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a sharded cluster on this machine with a router in front, to try things
    Demo(DemoOptions),
    /// Run a router over existing servers
    Serve(ConfigOptions),
    /// Create the catalog and register shards; running it again changes nothing
    Init(InitOptions),
    /// Check that all servers are fit to be shards, and say what to change
    Check(InitOptions),
    /// Show how a statement would be run, without running it
    Explain(ExplainOptions),
    /// Look at transactions over several shards that are not finished, and finish one
    Txn(TxnOptions),
    /// Show what share of a workload's statements each rung would answer under other shard keys
    Advise(AdviseOptions),
}

/// Where a router's settings come from.
#[derive(Debug, Clone, Args)]
pub struct ConfigOptions {
    /// The configuration file; docker/pgweave.toml in the source is a complete example
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "pgweave.toml",
        env = "PGWEAVE_CONFIG"
    )]
    pub config: PathBuf,
    /// Set one setting, stronger than the file and the environment
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub settings: Vec<String>,
}

impl ConfigOptions {
    /// Reads the settings, and sets up logging by them.
    fn load(&self) -> miette::Result<Config> {
        let config = Config::load(&Sources::new(
            Some(self.config.clone()),
            self.settings.clone(),
        ))?;
        logging::to_standard_error(&config.log);
        Ok(config)
    }
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    match run(command_line.command) {
        Ok(status) => status,
        Err(report) => {
            eprintln!("{report:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> miette::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .into_diagnostic()
        .wrap_err("cannot start the runtime")?;
    runtime.block_on(async {
        match command {
            Command::Demo(options) => demo::run(options).await,
            Command::Serve(options) => serve::run(options.load()?).await,
            Command::Init(options) => init::init(options).await,
            Command::Check(options) => init::check(options).await,
            Command::Explain(options) => plan::run(options).await,
            Command::Txn(options) => txn::run(options).await,
            Command::Advise(options) => advise::run(options).await,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        use clap::CommandFactory;
        CommandLine::command().debug_assert();
    }

    #[test]
    fn the_demo_has_its_defaults() {
        let Command::Demo(options) = CommandLine::parse_from(["pgweave", "demo"]).command else {
            panic!()
        };
        assert_eq!(
            (options.shards, options.replicas, options.port),
            (None, None, 6432)
        );
        assert_eq!(options.dir.to_str(), Some("./.pgweave"));
        assert!(!options.fresh && !options.empty);
    }

    #[test]
    fn shards_are_repeatable() {
        let arguments = [
            "pgweave",
            "init",
            "--shard",
            "s1=a:1/d,replica=b:2",
            "--shard",
            "s2=c/d",
            "--config",
            "f",
        ];
        let Command::Init(options) = CommandLine::parse_from(arguments).command else {
            panic!()
        };
        assert_eq!(options.shards.len(), 2);
        assert_eq!(options.config.config.to_str(), Some("f"));
    }
}
