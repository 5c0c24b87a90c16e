//! Connections that come to rest after a query over several shards has failed: nobody reads what the shards still send.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::report::Failure;
use super::{Session, Step};
use crate::execute::Link;
use crate::wire::frame;

/// How long a shard that works on a query that has failed elsewhere may take to answer.
const PATIENCE: Duration = Duration::from_millis(20);

/// How long to wait after each attempt to cancel what a shard does within the client's block.
const CANCEL_PAUSES_MS: [u64; 7] = [20, 50, 100, 200, 500, 1000, 3000];

impl Session {
    /// Passes the result of a query over several shards on, with no connection left in the middle of it.
    pub(super) async fn at_rest<T>(&mut self, result: Step<T>) -> Step<T> {
        if let Err(Failure::Report(_) | Failure::Sent) = result {
            // Boxed: few queries fail.
            Box::pin(self.come_to_rest()).await;
        }
        result
    }

    /// Reads what shards still have to say. Who goes on for long loses its connection, unless it takes part in the client's
    /// block: then what it does is cancelled, because with the connection all that the block did there would be gone.
    async fn come_to_rest(&mut self) {
        if let Some(block) = &mut self.block {
            block.failed = true;
        }
        join_all(
            self.links
                .iter_mut()
                .filter(|link| is_restless(link))
                .map(|link| async {
                    // Whatever comes of it shows in the connection's state.
                    let _ = timeout(PATIENCE, settle(link)).await;
                    if link.in_block && is_restless(link) {
                        interrupt(link).await;
                    }
                }),
        )
        .await;
        for index in (0..self.links.len()).rev() {
            let link = &self.links[index];
            if is_restless(link) || link.backend.is_broken() {
                self.drop_link(index).await;
            }
        }
    }
}

/// Whether something is to come, or to be sent, that no statement of the client's waits for.
fn is_restless(link: &Link) -> bool {
    link.expects.is_empty() && (link.backend.is_working() || link.backend.has_unsent())
}

/// Cancels what the server does, until it has answered.
async fn interrupt(link: &mut Link) {
    for pause_ms in CANCEL_PAUSES_MS {
        // Again and again, because a server ignores a cancel that comes before the statement.
        if let Err(error) = link.backend.cancel_target().cancel().await {
            tracing::debug!(context = %link.context, %error, "a statement that nobody waits for could not be cancelled");
        }
        let pause = Duration::from_millis(pause_ms);
        if timeout(pause, settle(link)).await.is_ok() {
            return;
        }
    }
}

/// Reads up to ReadyForQuery, or up to where the connection is of no more use.
async fn settle(link: &mut Link) {
    if link.backend.flush().await.is_err() {
        return;
    }
    while is_restless(link) {
        match frame::next_frame(link.backend.input(), &link.limits) {
            Ok(Some(frame)) => {
                let status = link.backend.input().get(5).copied();
                link.backend.consume(frame.total);
                if frame.tag == b'Z' {
                    link.position_offset = 0;
                    link.backend.set_status(status.unwrap_or(b'E'));
                }
            }
            Ok(None) => {
                if !matches!(link.backend.fill().await, Ok(1..)) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}
