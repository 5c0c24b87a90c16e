//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures PostgreSQL directly, behind pgbouncer and behind pgweave.
#[derive(Debug, Clone, Parser)]
#[command(name = "pool_bench")]
pub struct Options {
    /// How often each subject runs each workload.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// How long each of these runs takes.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// Only workloads whose name contains one of these words, as in `--only prepared,tpcb`; `idle` for idle clients.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Only workloads with this many clients.
    #[arg(long, value_delimiter = ',')]
    pub clients: Vec<u32>,
    /// Only this proxy.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Proxy::Pgbouncer, Proxy::Pgweave])]
    pub proxy: Vec<Proxy>,
    /// Idle clients to hold; 0 leaves that measurement out.
    #[arg(long, default_value_t = 1_000)]
    pub idle: usize,
    /// pgbench's scale: branches, and 100,000 accounts for each.
    #[arg(long, default_value_t = 10)]
    pub scale: u32,
    /// Connections that a proxy may open to one database.
    #[arg(long, default_value_t = 20)]
    pub pool: u32,
    /// The pgbouncer to measure; `tests/bench/pgbouncer.sh` finds or builds one.
    #[arg(long, env = "PGBOUNCER", default_value = "pgbouncer")]
    pub pgbouncer: PathBuf,
    /// Writes the results there; a partial run writes nothing unless this is given.
    #[arg(long)]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Proxy {
    Pgbouncer,
    Pgweave,
}

impl Options {
    /// Whether a workload of this name was asked for.
    pub fn wants(&self, name: &str) -> bool {
        tests::bench::wanted(&self.only, name)
    }

    /// Whether everything is measured, as it has to be for results that are kept.
    pub fn is_complete(&self) -> bool {
        self.only.is_empty()
            && self.clients.is_empty()
            && self.proxy.contains(&Proxy::Pgbouncer)
            && self.proxy.contains(&Proxy::Pgweave)
            && self.idle > 0
            && self.rounds >= 3
    }
}
