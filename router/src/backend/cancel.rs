//! Asking a server to cancel what one of its connections is doing.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use catalog::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::stream::ServerStream;
use crate::tls::ServerTls;
use crate::wire::encode;

/// Longer than any healthy server takes to accept a connection and read one message.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a CancelRequest for one connection needs.
pub struct CancelTarget {
    pub(super) server: Server,
    pub(super) tls: ServerTls,
    pub(super) process_id: u32,
    pub(super) key: Box<[u8]>,
}

impl CancelTarget {
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Sends the request and waits until the server has acted on it, which it shows by closing the connection.
    pub async fn cancel(&self) -> io::Result<()> {
        timeout(PATIENCE, self.deliver())
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn deliver(&self) -> io::Result<()> {
        let mut stream = ServerStream::connect(&self.server, &self.tls).await?;
        let mut out = BytesMut::new();
        encode::cancel_request(&mut out, self.process_id, &self.key);
        stream.write_all(&out).await?;
        stream.flush().await?;
        let mut rest = [0u8; 64];
        loop {
            match stream.read(&mut rest).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // A server may reset the connection instead of closing it in order, or not take leave of TLS.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
                    ) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl fmt::Display for CancelTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.server.host, self.server.port)
    }
}
