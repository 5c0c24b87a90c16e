//! The beginning of a client's connection: TLS, and the startup packet.
//!
//! Invariant: nothing that arrived before a TLS handshake is ever read as if it had come through it.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{ProtocolError, Reader, encode};
use crate::session::report::Report;
use crate::tls::{ALPN, ClientFacing, ClientStream};

const SSL_REQUEST: u32 = 80877103;
const GSSENC_REQUEST: u32 = 80877104;
const CANCEL_REQUEST: u32 = 80877102;
/// PostgreSQL's own limit for a startup packet.
const MOST_BYTES: usize = 10_000;
/// The newest minor version of protocol 3 spoken here.
const NEWEST_MINOR: u32 = 2;
/// A TLS record of type handshake begins so; no startup packet does, for it would be 369 MB long.
const TLS_HANDSHAKE: u8 = 0x16;

/// How connections begin here.
#[derive(Clone, Default)]
pub struct StartupSettings {
    pub tls: Option<ClientFacing>,
    /// Refuse sessions without TLS.
    pub require_tls: bool,
}

/// What a client wants.
pub enum Startup {
    Session(Box<Request>),
    Cancel { process_id: u32, key: Vec<u8> },
}

/// A session as the startup packet asks for it.
pub struct Request {
    pub stream: ClientStream,
    pub user: String,
    pub database: String,
    /// 0 or 2 for protocol 3.0 or 3.2.
    pub minor_version: u32,
    /// Settings, in order, from the packet itself and its `options`.
    pub options: Vec<(String, String)>,
    /// For SCRAM channel binding, on TLS.
    pub end_point: Option<std::sync::Arc<[u8]>>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// Closed before saying anything, as health checks do.
    #[error("the client closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Protocol(#[from] ProtocolError),
    /// The client has been told.
    #[error("refused: {0}")]
    Refused(String),
}

/// Reads what the client wants. The caller bounds the time.
pub async fn accept_startup(
    stream: TcpStream,
    settings: &StartupSettings,
) -> Result<Startup, StartupError> {
    let mut first = [0u8; 1];
    if stream.peek(&mut first).await? == 0 {
        return Err(StartupError::Closed);
    }
    if first[0] == TLS_HANDSHAKE {
        let Some(tls) = &settings.tls else {
            return Err(StartupError::Refused("TLS is not enabled".to_owned()));
        };
        let stream = tls.accept(stream).await?;
        if stream.alpn() != Some(ALPN) {
            return Err(StartupError::Refused(
                "direct TLS without the ALPN protocol postgresql".to_owned(),
            ));
        }
        let (stream, packet) = read_packet(stream).await?;
        return finish(stream, &packet, settings).await;
    }
    negotiate(stream, settings).await
}

/// SSLRequest and GSSENCRequest, each at most once, before the startup packet.
async fn negotiate(stream: TcpStream, settings: &StartupSettings) -> Result<Startup, StartupError> {
    let mut stream = ClientStream::Plain(stream);
    let (mut asked_tls, mut asked_gss) = (false, false);
    loop {
        let (same, packet) = read_packet(stream).await?;
        stream = same;
        let code = Reader(&packet).u32()?;
        match code {
            SSL_REQUEST if packet.len() == 4 && !asked_tls && !stream.is_tls() => {
                asked_tls = true;
                stream = match (stream, &settings.tls) {
                    (ClientStream::Plain(mut plain), Some(tls)) => {
                        if has_unread(&plain)? {
                            let report = Report::fatal(
                                "08P01",
                                "received unencrypted data after SSL request",
                            );
                            return Err(refuse(ClientStream::Plain(plain), &report).await);
                        }
                        plain.write_all(b"S").await?;
                        tls.accept(plain).await?
                    }
                    (mut other, _) => {
                        other.write_all(b"N").await?;
                        other
                    }
                };
            }
            GSSENC_REQUEST if packet.len() == 4 && !asked_gss && !stream.is_tls() => {
                asked_gss = true;
                stream.write_all(b"N").await?;
            }
            _ => return finish(stream, &packet, settings).await,
        }
    }
}

/// Bytes that are there already after SSLRequest were not sent through TLS.
fn has_unread(stream: &TcpStream) -> io::Result<bool> {
    let mut byte = [std::mem::MaybeUninit::uninit(); 1];
    match socket2::SockRef::from(stream).peek(&mut byte) {
        Ok(count) => Ok(count > 0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads exactly one packet without a tag; returns its body.
async fn read_packet(mut stream: ClientStream) -> Result<(ClientStream, Vec<u8>), StartupError> {
    let length = match stream.read_u32().await {
        Ok(length) => length as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(StartupError::Closed);
        }
        Err(error) => return Err(error.into()),
    };
    if !(8..=MOST_BYTES).contains(&length) {
        return Err(ProtocolError::Other("invalid length of startup packet".to_owned()).into());
    }
    let mut body = vec![0u8; length - 4];
    stream.read_exact(&mut body).await?;
    Ok((stream, body))
}

async fn finish(
    mut stream: ClientStream,
    packet: &[u8],
    settings: &StartupSettings,
) -> Result<Startup, StartupError> {
    let mut reader = Reader(packet);
    let version = reader.u32()?;
    if version == CANCEL_REQUEST {
        let process_id = reader.u32()?;
        let key = reader.0.to_vec();
        if !(4..=256).contains(&key.len()) {
            return Err(
                ProtocolError::Other("invalid length of cancel request packet".to_owned()).into(),
            );
        }
        return Ok(Startup::Cancel { process_id, key });
    }
    match read_startup(version, reader) {
        Ok(packet) => {
            if settings.require_tls && !stream.is_tls() {
                let report = Report::fatal("28000", "this router takes connections with TLS only")
                    .hint("Connect with sslmode=require.");
                return Err(refuse(stream, &report).await);
            }
            let mut out = BytesMut::new();
            if packet.requested_minor > NEWEST_MINOR || !packet.unknown.is_empty() {
                let unknown: Vec<&[u8]> =
                    packet.unknown.iter().map(|name| name.as_bytes()).collect();
                encode::negotiate_protocol_version(&mut out, packet.minor, &unknown);
                stream.write_all(&out).await?;
            }
            let end_point = stream
                .is_tls()
                .then(|| settings.tls.as_ref().and_then(|tls| tls.end_point.clone()))
                .flatten();
            Ok(Startup::Session(Box::new(Request {
                stream,
                user: packet.user,
                database: packet.database,
                minor_version: packet.minor,
                options: packet.options,
                end_point,
            })))
        }
        Err(report) => Err(refuse(stream, &report).await),
    }
}

async fn refuse(mut stream: ClientStream, report: &Report) -> StartupError {
    let mut out = BytesMut::new();
    encode::error_response(&mut out, report);
    match stream.write_all(&out).await {
        Ok(()) => StartupError::Refused(report.message.clone()),
        Err(error) => error.into(),
    }
}

/// A StartupMessage.
#[derive(Debug)]
pub struct Packet {
    pub requested_minor: u32,
    /// The one that is spoken: 0 or 2.
    pub minor: u32,
    /// Names of protocol options that are not known here.
    pub unknown: Vec<String>,
    pub user: String,
    pub database: String,
    /// Settings, in order.
    pub options: Vec<(String, String)>,
}

/// The parameters of a StartupMessage, after its version.
pub fn read_startup(version: u32, mut reader: Reader<'_>) -> Result<Packet, Report> {
    let (major, requested_minor) = (version >> 16, version & 0xffff);
    if major != 3 {
        return Err(Report::fatal(
            "0A000",
            format!(
                "unsupported frontend protocol {major}.{requested_minor}: server supports 3.0 to 3.{NEWEST_MINOR}"
            ),
        ));
    }
    let invalid = || {
        Report::fatal(
            "08P01",
            "invalid startup packet layout: expected terminator as last byte",
        )
    };
    let (mut user, mut database) = (None, None);
    let mut settings = Vec::new();
    let mut unknown = Vec::new();
    loop {
        let name = text(reader.string().map_err(|_| invalid())?)?;
        if name.is_empty() {
            break;
        }
        let value = text(reader.string().map_err(|_| invalid())?)?;
        match name.as_str() {
            "user" => user = Some(value),
            "database" => database = Some(value),
            "replication" if is_true(&value) => {
                return Err(Report::fatal(
                    "0A000",
                    "replication connections are not supported through pgweave",
                )
                .hint("Connect to one of the servers directly."));
            }
            "replication" => {}
            "options" => settings.extend(command_line_options(&value)?),
            _ if name.starts_with("_pq_.") => unknown.push(name),
            _ => settings.push((name, value)),
        }
    }
    reader.end().map_err(|_| invalid())?;
    let user = user.filter(|user| !user.is_empty()).ok_or_else(|| {
        Report::fatal(
            "28000",
            "no PostgreSQL user name specified in startup packet",
        )
    })?;
    Ok(Packet {
        requested_minor,
        // 3.1 was never used and is answered as 3.0.
        minor: if requested_minor >= 2 {
            NEWEST_MINOR
        } else {
            0
        },
        unknown,
        database: database
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| user.clone()),
        user,
        options: settings,
    })
}

fn text(bytes: &[u8]) -> Result<String, Report> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Report::fatal("08P01", "the startup packet is not valid UTF-8"))
}

fn is_true(value: &str) -> bool {
    !matches!(
        value.to_ascii_lowercase().as_str(),
        "" | "0" | "false" | "off" | "no" | "f" | "n"
    )
}

/// The settings in a command line such as `-c work_mem=1MB --search_path=a\,\ b`. A backslash keeps the next character.
fn command_line_options(line: &str) -> Result<Vec<(String, String)>, Report> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character.is_ascii_whitespace() {
            words.extend(word.take());
            continue;
        }
        let kept = if character == '\\' {
            characters.next()
        } else {
            Some(character)
        };
        word.get_or_insert_default().extend(kept);
    }
    words.extend(word);
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("--") {
            Some(rest) => Some(rest.to_owned()),
            None => match word.strip_prefix("-c") {
                Some("") => words.next(),
                Some(rest) => Some(rest.to_owned()),
                None => None,
            },
        };
        let parsed = assignment.as_deref().and_then(|text| text.split_once('='));
        let Some((name, value)) = parsed else {
            return Err(Report::fatal(
                "42601",
                format!("invalid command-line argument for server process: {word}"),
            )
            .hint("Settings are given as -c name=value or --name=value."));
        };
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> Result<Packet, Report> {
        read_startup(3 << 16, Reader(body))
    }

    #[test]
    fn parameters_and_options_become_settings() {
        let packet = read(
            b"user\0ann\0application_name\0psql\0options\0-c work_mem=1MB --search-path=a\\ b\0\0",
        )
        .unwrap();
        assert_eq!(
            (packet.user.as_str(), packet.database.as_str()),
            ("ann", "ann")
        );
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            packet.options,
            [
                pair("application_name", "psql"),
                pair("work_mem", "1MB"),
                pair("search_path", "a b")
            ]
        );
    }

    #[test]
    fn malformed_packets_are_refused() {
        for body in [
            &b"user\0ann\0"[..],
            b"user\0ann",
            b"user\0ann\0\0x",
            b"user\0\xff\0\0",
            b"\0",
        ] {
            assert!(read(body).is_err(), "{body:?}");
        }
        assert!(read_startup(2 << 16, Reader(b"\0")).is_err());
        assert!(read(b"user\0a\0replication\0database\0\0").is_err());
        assert!(read(b"user\0a\0options\0-x\0\0").is_err());
    }
}
