//! One cluster for all tests of a binary, because starting one takes seconds.
//!
//! It is never dropped: the servers end with the process (`router::local` sees to that).

use std::sync::OnceLock;

use tokio::runtime::Runtime;

use crate::cluster::{Cluster, Options};

/// A cluster that the first test to ask starts, with the runtime that its futures need.
pub struct Shared {
    started: OnceLock<(Runtime, Cluster)>,
    options: fn() -> Options,
}

impl Shared {
    /// For a `static`.
    pub const fn new(options: fn() -> Options) -> Self {
        Self {
            started: OnceLock::new(),
            options,
        }
    }

    pub fn cluster(&self) -> &Cluster {
        &self.started().1
    }

    pub fn runtime(&self) -> &Runtime {
        &self.started().0
    }

    fn started(&self) -> &(Runtime, Cluster) {
        self.started.get_or_init(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let cluster = runtime
                .block_on(Cluster::start((self.options)()))
                .expect("a cluster");
            (runtime, cluster)
        })
    }
}
