//! What pgbench does to a subject.

use std::fmt;
use std::path::PathBuf;

use ::tests::bench::pgbench::{Length, Run};
use ::tests::bench::results;
use ::tests::endpoint::Endpoint;

use crate::options::Options;

/// One way to run pgbench.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// `select` or `tpcb`.
    pub transaction: &'static str,
    pub placement: Placement,
    /// pgbench's word: `simple` or `prepared`.
    pub protocol: &'static str,
    pub clients: u32,
}

/// Where pgweave has the tables. To the others they are tables like any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// All on the default shard.
    Unsharded,
    /// Sharded by branch, each transaction within one.
    Sharded,
}

impl Workload {
    /// All workloads, in the order they run and are reported.
    pub fn all() -> Vec<Workload> {
        let mut all = Vec::new();
        for placement in [Placement::Unsharded, Placement::Sharded] {
            for (transaction, protocol, clients) in [
                ("select", "simple", 1),
                ("select", "prepared", 1),
                ("select", "simple", 32),
                ("select", "prepared", 32),
                ("tpcb", "prepared", 16),
            ] {
                all.push(Workload {
                    transaction,
                    placement,
                    protocol,
                    clients,
                });
            }
        }
        all
    }

    pub fn chosen(options: &Options) -> Vec<Workload> {
        Workload::all()
            .into_iter()
            .filter(|workload| options.wants(&workload.to_string()))
            .filter(|workload| {
                options.clients.is_empty() || options.clients.contains(&workload.clients)
            })
            .collect()
    }

    /// How pgbench runs it for so many seconds.
    pub fn run(&self, endpoint: &Endpoint, scale: u32, seconds: u32) -> Run {
        Run {
            name: self.to_string(),
            endpoint: endpoint.clone(),
            script: self.script(),
            protocol: self.protocol,
            clients: self.clients,
            length: Length::Seconds(seconds),
            variables: vec![("scale", scale.into())],
        }
    }

    /// The script for pgbench.
    pub fn script(&self) -> PathBuf {
        let suffix = match self.placement {
            Placement::Unsharded => "",
            Placement::Sharded => "_sharded",
        };
        results::directory().join(format!("{}{suffix}.sql", self.transaction))
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Workload {
            transaction,
            placement,
            protocol,
            clients,
        } = self;
        let placement = match placement {
            Placement::Unsharded => "unsharded",
            Placement::Sharded => "sharded",
        };
        write!(f, "{transaction} {placement} {protocol} {clients}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn every_workload_has_its_script() {
        for workload in Workload::all() {
            assert!(workload.script().is_file(), "{workload}");
        }
    }

    #[test]
    fn options_choose_workloads() {
        let chosen = |arguments: &[&str]| {
            let arguments = ["pool_bench"].iter().chain(arguments);
            let workloads = Workload::chosen(&Options::parse_from(arguments));
            workloads
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(chosen(&[]).len(), 10);
        assert_eq!(
            chosen(&["--only", "tpcb"]),
            ["tpcb unsharded prepared 16", "tpcb sharded prepared 16"]
        );
        assert_eq!(
            chosen(&["--only", "select unsharded", "--clients", "1"]),
            ["select unsharded simple 1", "select unsharded prepared 1"]
        );
    }
}
