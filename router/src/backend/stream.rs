//! The socket to a server: TCP, a Unix socket where the host is a directory, or TLS over TCP.
//!
//! A socket belongs to the reactor of one runtime and can move to another's, TLS or not: the TLS session is apart from it.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use catalog::Server;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use crate::config::SslMode;
use crate::tls::ServerTls;
use crate::wire::encode;

/// A server that vanished without a word is noticed after about this long plus three times the interval.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

pub enum ServerStream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl ServerStream {
    /// Connects, and negotiates TLS as the mode asks for.
    pub async fn connect(server: &Server, tls: &ServerTls) -> io::Result<Self> {
        if server.host.starts_with('/') {
            let path = format!("{}/.s.PGSQL.{}", server.host, server.port);
            return UnixStream::connect(path).await.map(Self::Unix);
        }
        let mut stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_AFTER)
            .with_interval(KEEPALIVE_INTERVAL);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        if tls.mode() == SslMode::Disable {
            return Ok(Self::Tcp(stream));
        }
        let mut request = BytesMut::new();
        encode::ssl_request(&mut request);
        stream.write_all(&request).await?;
        // One byte exactly: what follows it before the handshake must be the server's TLS, not an attacker's plain text.
        match stream.read_u8().await? {
            b'S' => tls
                .handshake(stream, &server.host)
                .await
                .map(|stream| Self::Tls(Box::new(stream))),
            b'N' if tls.mode() == SslMode::Prefer => Ok(Self::Tcp(stream)),
            b'N' => Err(io::Error::other(
                "the server does not support TLS, which the router's sslmode asks for",
            )),
            other => Err(io::Error::other(format!(
                "the server answered the TLS request with byte {other}"
            ))),
        }
    }

    /// The certificate the server showed, in DER.
    pub fn server_certificate(&self) -> Option<Vec<u8>> {
        match self {
            Self::Tls(stream) => stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(<[_]>::first)
                .map(|certificate| certificate.as_ref().to_vec()),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// Registers the socket with the runtime of the calling thread.
    pub fn reregister(&mut self) -> io::Result<()> {
        // The old stream leaves its runtime when it is dropped; the socket itself lives on in its duplicate.
        match self {
            Self::Tcp(stream) => reregister_tcp(stream),
            Self::Tls(stream) => reregister_tcp(stream.get_mut().0),
            Self::Unix(stream) => {
                *stream = UnixStream::from_std(stream.as_fd().try_clone_to_owned()?.into())?;
                Ok(())
            }
        }
    }

    /// Whether the runtime has learned that a read would return at once: data, end of file or an error. Costs a system
    /// call only if something seems to have happened.
    pub fn is_readable(&mut self) -> bool {
        if self.holds_decrypted() {
            return true;
        }
        // The closure runs only where the reactor saw an event, and forgets the event if it was stale.
        let peeked = match self {
            Self::Tcp(stream) => {
                stream.try_io(Interest::READABLE, || peek(SockRef::from(&*stream)))
            }
            Self::Unix(stream) => {
                stream.try_io(Interest::READABLE, || peek(SockRef::from(&*stream)))
            }
            Self::Tls(stream) => {
                let socket = stream.get_ref().0;
                socket.try_io(Interest::READABLE, || peek(SockRef::from(socket)))
            }
        };
        !would_block(&peeked)
    }

    /// The same by asking the socket itself, for one whose runtime cannot know yet.
    pub fn is_readable_now(&mut self) -> bool {
        self.holds_decrypted() || self.has_arrivals()
    }

    /// Whether something waits in the socket, or its other end is closed; of no runtime's making.
    pub fn has_arrivals(&self) -> bool {
        let peeked = match self {
            Self::Tcp(stream) => peek(SockRef::from(stream)),
            Self::Unix(stream) => peek(SockRef::from(stream)),
            Self::Tls(stream) => peek(SockRef::from(stream.get_ref().0)),
        };
        !would_block(&peeked)
    }

    /// Decrypted bytes that nobody has read yet, which no socket shows.
    fn holds_decrypted(&mut self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(stream) => stream
                .get_mut()
                .1
                .process_new_packets()
                .map_or(true, |state| state.plaintext_bytes_to_read() > 0),
        }
    }

    /// Sends if that is possible without waiting.
    pub fn try_write(&mut self, bytes: &[u8]) {
        let mut context = Context::from_waker(Waker::noop());
        // The connection is about to be closed: a server that does not hear the goodbye sees the end of file.
        let _ = Pin::new(self).poll_write(&mut context, bytes);
    }
}

fn reregister_tcp(stream: &mut TcpStream) -> io::Result<()> {
    *stream = TcpStream::from_std(stream.as_fd().try_clone_to_owned()?.into())?;
    Ok(())
}

fn peek(socket: SockRef<'_>) -> io::Result<usize> {
    socket.peek(&mut [MaybeUninit::uninit()])
}

fn would_block(result: &io::Result<usize>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

impl AsyncRead for ServerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
