//! `statement_timeout` over the whole of a query that servers answer one after the other: each of them looks at its own part only.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::report::Report;
use super::{Session, Step};
use crate::backend::AppliedSettings;

/// The timeout in milliseconds, whatever unit it is shown in.
const TIMEOUT_MS: &str = "SELECT (extract(epoch FROM pg_catalog.current_setting('statement_timeout')::pg_catalog.interval) * 1000)::pg_catalog.int8";

/// What a server has said of the timeout under these settings. `None`: there is none.
pub(super) type Known = Option<(AppliedSettings, Option<Duration>)>;

impl Session {
    /// Does what a statement needs that began then, for as long as its timeout allows. `index`: a connection with the session's settings.
    pub(super) async fn within_timeout<T>(
        &mut self,
        index: usize,
        began: Instant,
        work: impl AsyncFnOnce(&mut Session) -> Step<T>,
    ) -> Step<T> {
        let Some(limit) = self.statement_timeout(index).await? else {
            return work(self).await;
        };
        let handle = self.handle.clone();
        let mut work = pin!(work(self));
        match timeout(limit.saturating_sub(began.elapsed()), &mut work).await {
            Ok(done) => done,
            Err(_) => {
                handle.time_out().await;
                work.await
            }
        }
    }

    async fn statement_timeout(&mut self, index: usize) -> Step<Option<Duration>> {
        let local =
            (self.block.as_ref()).is_some_and(|block| block.local_settings().next().is_some());
        if let Some((settings, limit)) = &self.timeout
            && !local
            && std::sync::Arc::ptr_eq(settings, self.settings.wanted())
        {
            return Ok(*limit);
        }
        let ms = self.query_value(index, TIMEOUT_MS).await?;
        let ms: u64 = ms
            .parse()
            .map_err(|_| Report::error("XX000", format!("statement_timeout is shown as {ms}")))?;
        let limit = (ms > 0).then(|| Duration::from_millis(ms));
        if !local {
            self.timeout = Some((self.settings.wanted().clone(), limit));
        }
        Ok(limit)
    }
}
