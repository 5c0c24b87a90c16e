//! The signals that end a program: SIGTERM, and SIGINT from Ctrl-C.

use std::convert::Infallible;

use miette::{IntoDiagnostic, WrapErr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::serve::Stop;

/// Both signals; from its making on they no longer end the program by themselves.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn install() -> miette::Result<Signals> {
        let install = |kind| {
            signal(kind)
                .into_diagnostic()
                .wrap_err("cannot watch for signals")
        };
        Ok(Signals {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        let received = tokio::select! {
            received = self.terminate.recv() => received,
            received = self.interrupt.recv() => received,
        };
        if received.is_none() {
            // The runtime delivers no more signals, so there is nothing to wait for.
            std::future::pending::<()>().await;
        }
    }

    /// Each signal takes the router one step closer to its end. Never returns.
    pub async fn drive(&mut self, stop: &watch::Sender<Stop>) -> Infallible {
        loop {
            self.next().await;
            let next = match *stop.borrow() {
                Stop::No => Stop::Drain,
                Stop::Drain | Stop::Now => Stop::Now,
            };
            tracing::info!(?next, "asked to stop");
            stop.send_replace(next);
        }
    }
}
