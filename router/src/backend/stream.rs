//! The socket to a server: TCP, a Unix socket where the host is a directory, or TLS over TCP.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use catalog::Server;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use crate::config::SslMode;
use crate::tls::ServerTls;
use crate::wire::encode;

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

    /// Registers the socket with the runtime of the calling thread. A TLS stream stays where it is: its events reach the
    /// calling thread all the same, by way of the other.
    pub fn reregister(&mut self) -> io::Result<()> {
        // The old stream leaves its runtime when it is dropped; the socket itself lives on in its duplicate.
        match self {
            Self::Tcp(stream) => {
                let fresh = duplicate(stream)?;
                *stream = TcpStream::from_std(fresh.into())?;
            }
            Self::Unix(stream) => {
                let fresh = duplicate(stream)?;
                *stream = UnixStream::from_std(fresh.into())?;
            }
            Self::Tls(_) => {}
        }
        Ok(())
    }

    /// Whether a read would return at once: data, end of file or an error. Asks the reactor first, which knows of most
    /// silent sockets without a system call.
    pub fn is_readable(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let mut byte = [MaybeUninit::uninit(); 1];
        let peeked = match self {
            Self::Tcp(stream) => {
                if stream.poll_read_ready(&mut context).is_pending() {
                    return false;
                }
                socket2::SockRef::from(stream).peek(&mut byte)
            }
            Self::Unix(stream) => {
                if stream.poll_read_ready(&mut context).is_pending() {
                    return false;
                }
                socket2::SockRef::from(stream).peek(&mut byte)
            }
            Self::Tls(stream) => {
                let socket = stream.get_ref().0;
                if socket.poll_read_ready(&mut context).is_pending() {
                    return false;
                }
                socket2::SockRef::from(socket).peek(&mut byte)
            }
        };
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends if that is possible without waiting.
    pub fn try_write(&mut self, bytes: &[u8]) {
        // The connection is about to be closed: a server that does not hear the goodbye sees the end of file.
        let _ = match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
            Self::Tls(_) => Ok(0),
        };
    }
}

fn duplicate(socket: &impl std::os::fd::AsFd) -> io::Result<std::os::fd::OwnedFd> {
    socket.as_fd().try_clone_to_owned()
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
