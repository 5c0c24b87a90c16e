//! COPY FROM STDIN: the client's data flows to one server while the server may object at any moment.

use super::report::{End, Report};
use super::{Session, Step, protocol_end};
use crate::execute::LinkError;
use crate::wire::encode;

/// Data is sent on to the server when this much has gathered.
const SEND_AT_BYTES: usize = 64 * 1024;

impl Session {
    /// Whether COPY data may be for a statement that the server has not been sent yet: a client need not wait for it to
    /// be asked.
    pub(super) fn copy_is_ahead(&self) -> bool {
        !self.skipping && self.busy_link().is_some()
    }

    /// Has the server catch up, so that it asks for the data that is there already.
    pub(super) async fn copy_ahead(&mut self) -> Step {
        match self.drain().await {
            Ok(()) => Ok(()),
            Err(failure) => self.fail_extended(failure).await,
        }
    }

    /// Passes the client's data on until it says that the copy is done or failed, or the server reports an error.
    /// The server's answer is then for [`crate::execute::Link::relay`].
    pub(super) async fn copy_in(&mut self, index: usize) -> Step {
        self.client.flush().await.map_err(End::Client)?;
        loop {
            while let Some(frame) = self.client.next_frame().map_err(protocol_end)? {
                let message = self.client.take(frame);
                let out = self.links[index].backend.out();
                match frame.tag {
                    b'd' => out.extend_from_slice(&message),
                    b'c' | b'f' => {
                        out.extend_from_slice(&message);
                        // In the extended protocol the server would keep its answer back until Sync.
                        encode::flush(out);
                        self.links[index].copying = false;
                        return Ok(());
                    }
                    // PostgreSQL ignores these while it takes data. The Sync that an extended-protocol client sends
                    // after CopyDone is a later message.
                    b'H' | b'S' => {}
                    b'X' => return Err(End::Closed.into()),
                    other => {
                        let text =
                            format!("unexpected message type 0x{other:02X} during COPY from stdin");
                        encode::error_response(&mut self.client.out, &Report::error("08P01", text));
                        // Whether this is data or the next statement cannot be known any more.
                        let lost =
                            "terminating connection because protocol synchronization was lost";
                        return Err(End::Fatal(Box::new(Report::fatal("08P01", lost))).into());
                    }
                }
                if out.len() >= SEND_AT_BYTES {
                    self.flush_copy(index).await?;
                }
            }
            self.flush_copy(index).await?;
            let link = &mut self.links[index];
            if !link.backend.input().is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                read = link.backend.fill() => {
                    if read.map_err(LinkError::Server)? == 0 {
                        return Err(LinkError::Server(std::io::ErrorKind::UnexpectedEof.into()).into());
                    }
                    // Only an error or a notice comes while data is wanted; the relay handles either.
                    return Ok(());
                }
                read = self.client.fill() => {
                    if read.map_err(super::client_end)? == 0 {
                        return Err(End::Closed.into());
                    }
                }
            }
        }
    }

    async fn flush_copy(&mut self, index: usize) -> Step {
        let link = &mut self.links[index];
        // A server that has reported an error goes on reading and throws the data away, so this cannot block for ever.
        link.backend.flush().await.map_err(LinkError::Server)?;
        Ok(())
    }
}
