//! The first packets of a connection, with and without TLS, from psql, from drivers and byte by byte.

#![allow(
    clippy::unwrap_used,
    reason = "a step of a test that fails is the end of the test"
)]

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use router::tls::server_end_point;
use router::wire::encode;
use rustls::pki_types::ServerName;
use tests::certificates::Certificates;
use tests::client::{Client, Message};
use tests::cluster::{Cluster, Options, RunningRouter};
use tests::psql::psql;
use tests::shared::Shared;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_rustls::client::TlsStream;

static SHARED: Shared = Shared::new(|| Options {
    shards: 1,
    ..Options::default()
});

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSSENC_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const PATIENCE: Duration = Duration::from_secs(30);

/// Started from a thread of its own, because the runtime of a test cannot wait for another.
fn cluster() -> &'static Cluster {
    let started = std::thread::scope(|scope| scope.spawn(|| SHARED.cluster()).join());
    started.unwrap()
}

fn router(toml: &str) -> RunningRouter {
    let options = Options {
        shards: 1,
        toml: toml.to_owned(),
        ..Options::default()
    };
    cluster().another_router(&options).unwrap()
}

fn plain() -> SocketAddr {
    cluster().router.address
}

/// StartupMessage of user postgres, of any version.
fn startup_of(version: u32, more: &[(&str, &str)]) -> BytesMut {
    let mut out = BytesMut::new();
    let standard = [("user", "postgres"), ("database", "postgres")];
    encode::startup(&mut out, standard.into_iter().chain(more.iter().copied()));
    out[4..8].copy_from_slice(&version.to_be_bytes());
    out
}

fn startup() -> BytesMut {
    startup_of(3 << 16, &[])
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("an answer in time")
}

async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> Message {
    let mut header = [0; 5];
    within(stream.read_exact(&mut header)).await.unwrap();
    let [tag, length @ ..] = header;
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    within(stream.read_exact(&mut body)).await.unwrap();
    Message { tag, body }
}

/// Asks for TLS and does the handshake.
async fn encrypted(address: SocketAddr, certificates: &Certificates) -> TlsStream<TcpStream> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(SSL_REQUEST).await.unwrap();
    assert_eq!(within(stream.read_u8()).await.unwrap(), b'S');
    handshake(stream, certificates, &[]).await.unwrap()
}

async fn handshake(
    stream: TcpStream,
    certificates: &Certificates,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    within(certificates.connector(protocols).connect(name, stream)).await
}

async fn direct(
    address: SocketAddr,
    certificates: &Certificates,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    handshake(TcpStream::connect(address).await?, certificates, protocols).await
}

#[test]
fn psql_connects_with_and_without_tls() {
    let certificates = Certificates::new();
    let router = router(&certificates.toml("allow"));
    let root = certificates.path("authority.pem");
    for conninfo in [
        "sslmode=disable".to_owned(),
        "sslmode=prefer".to_owned(),
        "sslmode=require".to_owned(),
        format!("sslmode=verify-full sslrootcert={}", root.display()),
    ] {
        let answer = psql(
            router.address,
            "",
            &format!("user=postgres {conninfo}"),
            "SELECT 1",
        );
        assert_eq!(answer.as_deref(), Ok("1"), "{conninfo}");
    }
    // Large answers, which come in many records.
    let answer = psql(
        router.address,
        "",
        "user=postgres sslmode=require",
        "SELECT repeat('x', 3000000)",
    )
    .unwrap();
    assert_eq!(answer.len(), 3_000_000);
}

#[test]
fn without_a_certificate_tls_is_declined() {
    assert_eq!(
        psql(plain(), "", "user=postgres sslmode=prefer", "SELECT 1").as_deref(),
        Ok("1")
    );
    let error = psql(plain(), "", "user=postgres sslmode=require", "SELECT 1").unwrap_err();
    assert!(error.contains("server does not support SSL"), "{error}");
}

#[test]
fn required_tls_refuses_clear_text_but_takes_cancel_requests() {
    let certificates = Certificates::new();
    let router = router(&certificates.toml("require"));
    let error = psql(
        router.address,
        "",
        "user=postgres sslmode=disable",
        "SELECT 1",
    )
    .unwrap_err();
    assert!(
        error.contains("FATAL:  this router takes connections with TLS only"),
        "{error}"
    );
    assert_eq!(
        psql(
            router.address,
            "",
            "user=postgres sslmode=require",
            "SELECT 1"
        )
        .as_deref(),
        Ok("1")
    );
    // libpq sends them in clear text before version 17.
    let mut client = Client::open(router.address).unwrap();
    let mut out = BytesMut::new();
    encode::cancel_request(&mut out, 7, b"keys");
    client.send(&out).unwrap();
    assert!(client.is_closed_by_server());
}

#[tokio::test]
async fn tls_may_start_without_asking() {
    let certificates = Certificates::new();
    let router = router(&certificates.toml("require"));
    let mut client = direct(router.address, &certificates, &[b"postgresql"])
        .await
        .unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"postgresql"[..]));
    client.write_all(&startup()).await.unwrap();
    assert_eq!(
        read_message(&mut client).await,
        Message {
            tag: b'R',
            body: vec![0; 4]
        }
    );
}

#[tokio::test]
async fn direct_tls_needs_the_protocols_name_and_a_certificate() {
    let certificates = Certificates::new();
    let router = router(&certificates.toml("allow"));
    let mut client = direct(router.address, &certificates, &[]).await.unwrap();
    // The router may be gone before the write or after it.
    let _ = client.write_all(&startup()).await;
    assert!(within(client.read_u8()).await.is_err());
    assert!(
        direct(router.address, &certificates, &[b"http/1.1"])
            .await
            .is_err()
    );
    assert!(
        direct(plain(), &certificates, &[b"postgresql"])
            .await
            .is_err()
    );
}

#[tokio::test]
async fn tls_is_not_asked_for_within_tls() {
    let certificates = Certificates::new();
    let router = router(&certificates.toml("allow"));
    for request in [SSL_REQUEST, GSSENC_REQUEST] {
        let mut client = encrypted(router.address, &certificates).await;
        client.write_all(request).await.unwrap();
        let refusal = read_message(&mut client).await;
        assert_eq!(
            (refusal.tag, refusal.field(b'C').as_deref()),
            (b'E', Some("0A000"))
        );
    }
}

#[test]
fn bytes_sent_ahead_of_the_handshake_are_refused() {
    let certificates = Certificates::new();
    let router = router(&certificates.toml("allow"));
    let mut client = Client::open(router.address).unwrap();
    client.send(&[SSL_REQUEST, &startup()].concat()).unwrap();
    let refusal = client.receive().unwrap();
    assert_eq!(refusal.field(b'C').as_deref(), Some("08P01"), "{refusal:?}");
    assert_eq!(
        refusal.field(b'M').as_deref(),
        Some("received unencrypted data after SSL request")
    );
    assert!(client.is_closed_by_server());
}

#[tokio::test]
async fn bytes_injected_into_the_handshake_never_reach_the_session() {
    let certificates = Certificates::new();
    let router = router(&certificates.toml("allow"));
    let mut stream = TcpStream::connect(router.address).await.unwrap();
    stream.write_all(SSL_REQUEST).await.unwrap();
    assert_eq!(within(stream.read_u8()).await.unwrap(), b'S');
    stream.write_all(&startup()).await.unwrap();
    assert!(handshake(stream, &certificates, &[]).await.is_err());
}

#[test]
fn each_encryption_can_be_asked_for_once() {
    let mut client = Client::open(plain()).unwrap();
    for request in [GSSENC_REQUEST, SSL_REQUEST] {
        client.send(request).unwrap();
        assert_eq!(client.skip(1).unwrap(), b"N");
    }
    client.send(&startup()).unwrap();
    assert_eq!(client.receive().unwrap().tag, b'R');
    for (request, minor) in [(SSL_REQUEST, 5679), (GSSENC_REQUEST, 5680)] {
        let mut client = Client::open(plain()).unwrap();
        client.send(request).unwrap();
        assert_eq!(client.skip(1).unwrap(), b"N");
        client.send(request).unwrap();
        let refusal = client.receive().unwrap();
        let expected =
            format!("unsupported frontend protocol 1234.{minor}: server supports 3.0 to 3.2");
        assert_eq!(refusal.field(b'M'), Some(expected));
        assert!(client.is_closed_by_server());
    }
}

#[test]
fn versions_are_negotiated() {
    // Minor version and option asked for; the body of NegotiateProtocolVersion, if any; the length of the cancel key.
    type Case<'a> = (u32, &'a [(&'a str, &'a str)], Option<&'a [u8]>, usize);
    let cases: [Case<'_>; 5] = [
        (0, &[], None, 4),
        (2, &[], None, 32),
        (9, &[], Some(b"\0\x03\0\x02\0\0\0\0"), 32),
        (
            9999,
            &[("_pq_.x", "y")],
            Some(b"\0\x03\0\x02\0\0\0\x01_pq_.x\0"),
            32,
        ),
        (
            0,
            &[("_pq_.x", "y")],
            Some(b"\0\x03\0\0\0\0\0\x01_pq_.x\0"),
            4,
        ),
    ];
    for (minor, options, negotiation, key_bytes) in cases {
        let mut client = Client::open(plain()).unwrap();
        client
            .send(&startup_of((3 << 16) | minor, options))
            .unwrap();
        let messages = client.until_ready().unwrap();
        let first = negotiation.map(|body| Message {
            tag: b'v',
            body: body.to_vec(),
        });
        assert_eq!(
            messages.iter().find(|message| message.tag == b'v'),
            first.as_ref(),
            "3.{minor}"
        );
        if negotiation.is_some() {
            assert_eq!(messages[0].tag, b'v');
        }
        let key = messages.iter().find(|message| message.tag == b'K').unwrap();
        assert_eq!(key.body.len(), 4 + key_bytes, "3.{minor}");
    }
    let mut client = Client::open(plain()).unwrap();
    client.send(&startup_of(2 << 16, &[])).unwrap();
    assert_eq!(
        client.receive().unwrap().field(b'C').as_deref(),
        Some("0A000")
    );
}

#[test]
fn what_is_wrong_with_a_startup_message_is_told() {
    let layout = "invalid startup packet layout: expected terminator as last byte";
    let nobody = "no PostgreSQL user name specified in startup packet";
    let cases: [(&[u8], &str, &str); 7] = [
        (b"\0", "28000", nobody),
        (b"user\0\0\0", "28000", nobody),
        (b"database\0d\0\0", "28000", nobody),
        (b"user\0u\0", "08P01", layout),
        (b"user\0u\0\0\0", "08P01", layout),
        (
            b"user\0u\0replication\0database\0\0",
            "0A000",
            "replication connections are not supported through pgweave",
        ),
        (
            b"user\0u\xe9\0\0",
            "08P01",
            "the startup packet is not valid UTF-8",
        ),
    ];
    for (parameters, sqlstate, text) in cases {
        let mut client = Client::open(plain()).unwrap();
        let length = (parameters.len() as u32 + 8).to_be_bytes();
        client
            .send(&[&length[..], b"\0\x03\0\0", parameters].concat())
            .unwrap();
        let refusal = client.receive().unwrap();
        assert_eq!(
            (
                refusal.field(b'V').as_deref(),
                refusal.field(b'C').as_deref()
            ),
            (Some("FATAL"), Some(sqlstate))
        );
        assert_eq!(refusal.field(b'M').as_deref(), Some(text), "{parameters:?}");
    }
}

/// The driver's view of a TLS connection, with the binding computed from the certificate that it saw.
struct Stream(TlsStream<TcpStream>);

/// Hands a finished handshake to the driver.
struct Ready(Stream);

impl tokio_postgres::tls::TlsConnect<TcpStream> for Ready {
    type Stream = Stream;
    type Error = std::io::Error;
    type Future = std::future::Ready<std::io::Result<Stream>>;

    fn connect(self, _: TcpStream) -> Self::Future {
        std::future::ready(Ok(self.0))
    }
}

impl tokio_postgres::tls::TlsStream for Stream {
    fn channel_binding(&self) -> tokio_postgres::tls::ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates().unwrap();
        tokio_postgres::tls::ChannelBinding::tls_server_end_point(
            server_end_point(&certificates[0]).unwrap(),
        )
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// A router with TLS and SCRAM for user postgres, whose password is `secret`.
fn scram_router(certificates: &Certificates) -> (RunningRouter, router::local::Scratch) {
    let folder = router::local::Scratch::create().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "secret").unwrap();
    let users = format!(
        "[[users]]\nname = \"postgres\"\npassword_file = \"{}\"\n",
        file.display()
    );
    let router = router(&format!(
        "{users}[[auth]]\nmethod = \"scram-sha-256\"\n{}",
        certificates.toml("allow")
    ));
    (router, folder)
}

#[test]
fn psql_binds_its_proof_to_the_certificate() {
    let certificates = Certificates::new();
    let (router, _folder) = scram_router(&certificates);
    for binding in ["require", "prefer", "disable"] {
        let conninfo = format!("user=postgres sslmode=require channel_binding={binding}");
        assert_eq!(
            psql(router.address, "secret", &conninfo, "SELECT 1").as_deref(),
            Ok("1"),
            "{binding}"
        );
        let error = psql(router.address, "wrong", &conninfo, "SELECT 1").unwrap_err();
        assert!(
            error.contains("password authentication failed for user \"postgres\""),
            "{error}"
        );
    }
    let error = psql(
        router.address,
        "secret",
        "user=postgres sslmode=disable channel_binding=require",
        "SELECT 1",
    )
    .unwrap_err();
    assert!(error.contains("channel binding required"), "{error}");
}

#[tokio::test]
async fn a_driver_binds_its_proof_to_the_certificate() {
    let certificates = Certificates::new();
    let (router, _folder) = scram_router(&certificates);
    let mut config = tokio_postgres::Config::new();
    config
        .user("postgres")
        .password("secret")
        .dbname("postgres");
    config
        .ssl_mode(SslMode::Require)
        .channel_binding(ChannelBinding::Require);
    config.ssl_negotiation(tokio_postgres::config::SslNegotiation::Direct);
    let stream = direct(router.address, &certificates, &[b"postgresql"])
        .await
        .unwrap();
    let unused = TcpStream::connect(router.address).await.unwrap();
    let (client, connection) = within(config.connect_raw(unused, Ready(Stream(stream))))
        .await
        .unwrap();
    tokio::spawn(connection);
    let row = within(client.query_one("SELECT 41 + 1", &[]))
        .await
        .unwrap();
    assert_eq!(row.get::<_, i32>(0), 42);
}

#[tokio::test]
async fn a_binding_cannot_be_talked_away() {
    let certificates = Certificates::new();
    let (router, _folder) = scram_router(&certificates);
    for (mechanism, first, sqlstate) in [
        // A client that can bind, and was told that the router cannot.
        ("SCRAM-SHA-256", "y,,n=,r=x", "28P01"),
        ("SCRAM-SHA-256", "p=tls-server-end-point,,n=,r=x", "08P01"),
        ("SCRAM-SHA-256-PLUS", "n,,n=,r=x", "08P01"),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique,,n=,r=x", "28P01"),
    ] {
        let mut client = encrypted(router.address, &certificates).await;
        client.write_all(&startup()).await.unwrap();
        let offer = read_message(&mut client).await;
        assert_eq!(
            offer.body,
            b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"
        );
        let mut body = mechanism.as_bytes().to_vec();
        body.push(0);
        body.extend_from_slice(&(first.len() as u32).to_be_bytes());
        body.extend_from_slice(first.as_bytes());
        let mut out = BytesMut::new();
        encode::password(&mut out, &body);
        client.write_all(&out).await.unwrap();
        let refusal = read_message(&mut client).await;
        assert_eq!(
            (refusal.tag, refusal.field(b'C').as_deref()),
            (b'E', Some(sqlstate)),
            "{mechanism} {first}"
        );
    }
}
