//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Measures queries over several shards.
#[derive(Debug, Clone, Parser)]
#[command(name = "several_bench")]
pub struct Options {
    /// How often everything is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// How long each run of pgbench takes.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// Rows of `accounts`, and as many of `entries`.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(20_000..))]
    pub rows: u64,
    /// Only measurements whose name contains one of these words, as in `--only count,join`; also `pipe` and `memory`.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Clients of pgbench.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    pub clients: Vec<u32>,
    /// Clusters of so many shards; what is added up over them, and the targets, are of the one with two.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4])]
    pub shards: Vec<usize>,
    /// Connections that a router may open to one shard.
    #[arg(long, default_value_t = 20)]
    pub pool: u32,
    /// A sentence for the results, of what else this machine was doing.
    #[arg(long)]
    pub remark: Option<String>,
    /// Writes the results there; a partial run writes nothing unless this is given.
    #[arg(long)]
    pub output: Option<PathBuf>,
}

impl Options {
    /// Whether a measurement of this name was asked for.
    pub fn wants(&self, name: &str) -> bool {
        tests::bench::wanted(&self.only, name)
    }

    /// Whether everything is measured, as it has to be for results that are kept.
    pub fn is_complete(&self) -> bool {
        self.only.is_empty()
            && [1, 16].iter().all(|count| self.clients.contains(count))
            && [1, 2, 4].iter().all(|count| self.shards.contains(count))
            && self.rounds >= 3
    }
}
