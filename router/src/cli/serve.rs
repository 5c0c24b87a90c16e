//! `pgweave serve`.

use std::process::ExitCode;

use tokio::sync::watch;

use super::{explain, signals::Signals};
use crate::config::Config;
use crate::serve::{self, Stop};

/// Runs a router until a signal ends it: the first drains, the second closes.
pub async fn run(config: Config) -> miette::Result<ExitCode> {
    let mut signals = Signals::install()?;
    let (stop, stopping) = watch::channel(Stop::No);
    let router = serve::run(
        config,
        |address| tracing::info!(%address, "ready"),
        stopping,
    );
    tokio::select! {
        result = router => result.map(|()| ExitCode::SUCCESS).map_err(explain::serve),
        never = signals.drive(&stop) => match never {},
    }
}
