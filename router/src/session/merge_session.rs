//! Connections to the servers that finish queries: taken, brought to the session's settings, asked, and given back.
//!
//! They are of pools of their own, because a session that waits for one holds connections to shards already. Their
//! transaction is rolled back in the end: nothing of it is to stay.

use catalog::Catalog;
use planner::Gather;

use super::gather::Sent;
use super::report::{Failure, Report};
use super::settings::statements_between;
use super::{Session, Step};
use crate::execute::relay::Pause;
use crate::execute::{Link, LinkError};
use crate::wire::{backend, frame};

impl Session {
    /// A merge session stays if a query is open on it, and is closed otherwise.
    pub(super) async fn keep_or_close(
        &mut self,
        merge: Link,
        sent: Sent<'_>,
        is_open: bool,
    ) -> Option<Link> {
        if is_open && sent.opening().is_some() {
            return Some(merge);
        }
        self.close_merge(merge).await;
        None
    }

    /// A connection to the server that finishes the query.
    pub(super) async fn merge_link(&mut self, gather: &Gather, catalog: &Catalog) -> Step<Link> {
        let shard = self.finishing_shard(gather)?;
        let server = catalog
            .shard(shard)
            .ok_or_else(|| Report::error("XX000", format!("the catalog has no shard {shard}")))?;
        let checkout =
            self.router
                .pools
                .checkout_merge(&self.identity, &server.primary, &self.worker);
        let backend = self.cancellable(checkout, &server.name).await?;
        self.handle.working_on(backend.cancel_target());
        let context = backend.context(&server.name);
        Ok(Link::new(
            shard,
            backend,
            self.router.server_limits,
            context,
        ))
    }

    pub(super) async fn close_merge(&mut self, merge: Link) {
        if self.handle.done_with(merge.backend.cancel_target()) {
            self.handle.settled().await;
        }
        merge.backend.clean_and_release(&self.worker, true).await;
    }

    /// Brings it to this session's settings, and opens a transaction.
    pub(super) async fn open_merge(&mut self, link: &mut Link) -> Step {
        let wanted = self.settings.wanted().clone();
        if let Some(sql) = statements_between(link.backend.applied(), &wanted) {
            link.backend.forget_applied();
            self.ask_merge(link, &sql).await?;
            link.backend.set_applied(wanted);
        }
        // Temporary tables are made in it, which a transaction of the client's might not allow.
        let mut opening = "BEGIN READ WRITE;".to_owned();
        if let Some(block) = &self.block {
            for sql in block.local_settings() {
                opening.push_str(sql);
                opening.push(';');
            }
        }
        self.ask_merge(link, &opening).await
    }

    pub(super) async fn flush_merge(&mut self, merge: &mut Link) -> Step {
        merge
            .backend
            .flush()
            .await
            .map_err(|error| LinkError::Server(error).into())
    }

    /// Runs a statement of the router's own, whose error goes to the client.
    pub(super) async fn ask_merge(&mut self, merge: &mut Link, sql: &str) -> Step {
        if sql.is_empty() {
            return Ok(());
        }
        merge.backend.query(sql.as_bytes());
        self.flush_merge(merge).await?;
        self.await_merge(merge, b'Z').await.map(drop)
    }

    /// Reads up to a message of this kind, and gives its body; an error goes to the client.
    pub(super) async fn await_merge(&mut self, merge: &mut Link, wanted: u8) -> Step<Vec<u8>> {
        let mut failed = None;
        let mut found = Vec::new();
        loop {
            while let Some(frame) = frame::next_frame(merge.backend.input(), &merge.limits)
                .map_err(LinkError::Protocol)?
            {
                let body = &merge.backend.input()[5..frame.total];
                match frame.tag {
                    b'E' => {
                        failed.get_or_insert(body.to_vec());
                    }
                    b'S' => {
                        let (name, value) =
                            backend::parse_parameter_status(body).map_err(LinkError::Protocol)?;
                        let (name, value) = (name.to_owned(), value.to_owned());
                        merge.backend.parameters.update(&name, &value);
                    }
                    b'Z' => {
                        let status = body.first().copied().unwrap_or(b'E');
                        merge.backend.set_status(status);
                    }
                    tag if tag == wanted => found.extend_from_slice(body),
                    _ => {}
                }
                merge.backend.consume(frame.total);
                if frame.tag == b'Z' || frame.tag == wanted {
                    return match failed {
                        None => Ok(found),
                        Some(body) => {
                            let context = merge.context.clone();
                            backend::rewrite_error(&mut self.client.out, &body, Some(&context), 0)
                                .map_err(LinkError::Protocol)?;
                            Err(Failure::Sent)
                        }
                    };
                }
            }
            match self.handle.cancelling(merge.backend.fill()).await {
                Ok(0) => {
                    return Err(LinkError::Server(std::io::ErrorKind::UnexpectedEof.into()).into());
                }
                Ok(_) => {}
                Err(error) => return Err(LinkError::Server(error).into()),
            }
        }
    }

    /// Relays the query's own answer.
    pub(super) async fn exchange_merge(&mut self, merge: &mut Link) -> Step {
        self.flush_merge(merge).await?;
        let relayed = merge.relay(&mut self.client, &mut self.notes);
        let relayed = self.handle.cancelling(relayed).await;
        // They are about this query alone.
        let notes = std::mem::take(&mut self.notes);
        match (notes.failed, relayed) {
            // A server that says why it goes has said it all.
            (Some(_), Ok(_) | Err(LinkError::Server(_))) => Err(Failure::Sent),
            (None, Ok(Pause::Finished)) => Ok(()),
            (None, Ok(Pause::CopyIn)) => Err(LinkError::unexpected(b'G').into()),
            (_, Err(error)) => Err(error.into()),
        }
    }
}
