//! Opening a connection to a server: TLS, startup message, authentication, and the parameters it reports.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use catalog::Server;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};

use super::Backend;
use super::cancel::CancelTarget;
use super::outstanding::Outstanding;
use super::prepared::PreparedHere;
use super::scram::{Binding, Exchange, KeyExchange, ScramKeys};
use super::stream::ServerStream;
use crate::session::client::Parameters;
use crate::tls::ServerTls;
use crate::wire::backend::{
    ErrorFields, error_fields, parse_backend_key_data, parse_parameter_status,
};
use crate::wire::frame::{Limits, next_frame, total_length};
use crate::wire::{ProtocolError, Reader, encode};
use crate::worker::WorkerId;

/// The longest message that is taken from a server that has not proven anything yet.
const MOST_BYTES: usize = 64 * 1024;

/// As whom to connect.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    pub user: String,
    pub password: Option<String>,
    /// Good for SCRAM where the password is not known.
    pub keys: Option<ScramKeys>,
}

impl Credentials {
    pub fn new(user: impl Into<String>, password: Option<String>) -> Self {
        Self {
            user: user.into(),
            password,
            keys: None,
        }
    }

    /// For a user whose password is not known.
    pub fn by_keys(user: impl Into<String>, keys: ScramKeys) -> Self {
        Self {
            user: user.into(),
            password: None,
            keys: Some(keys),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot reach {server}: {error}")]
    Unreachable { server: String, error: io::Error },
    /// The server's own refusal.
    #[error("{server} refused the connection: {}", fields.message)]
    Refused {
        server: String,
        fields: Box<ErrorFields>,
    },
    #[error("cannot authenticate to {server}: {reason}")]
    Authentication { server: String, reason: String },
}

impl Backend {
    /// Connects and authenticates. The caller bounds the time.
    pub async fn connect(
        server: &Server,
        credentials: &Credentials,
        tls: &ServerTls,
        most_prepared: usize,
        home: WorkerId,
    ) -> Result<Self, ConnectError> {
        let name = format!("{}:{}", server.host, server.port);
        let unreachable = |error| ConnectError::Unreachable {
            server: name.clone(),
            error,
        };
        let stream = ServerStream::connect(server, tls)
            .await
            .map_err(unreachable)?;
        let mut backend = Self {
            stream,
            out: BytesMut::with_capacity(1024),
            input: BytesMut::with_capacity(super::READ_BYTES),
            status: b'X',
            outstanding: Outstanding::default(),
            read_bytes: super::READ_BYTES,
            consumed_bytes: 0,
            parameters: Parameters::default(),
            cancel_target: Arc::new(CancelTarget {
                server: server.clone(),
                tls: tls.clone(),
                process_id: 0,
                key: Box::default(),
            }),
            applied: Arc::new(BTreeMap::new()),
            applied_known: true,
            prepared: PreparedHere::new(most_prepared),
            broken: false,
            home,
        };
        encode::startup(
            &mut backend.out,
            [
                ("user", credentials.user.as_str()),
                ("database", server.dbname.as_str()),
            ],
        );
        let handshake = Handshake {
            backend: &mut backend,
            credentials,
            server: &name,
            scram: None,
        };
        handshake.run(server, tls).await?;
        // It may be for later; who uses it takes buffers of its own.
        if backend.input.is_empty() {
            backend.input = BytesMut::new();
        }
        backend.out = BytesMut::new();
        Ok(backend)
    }
}

struct Handshake<'a> {
    backend: &'a mut Backend,
    credentials: &'a Credentials,
    server: &'a str,
    scram: Option<Exchange>,
}

impl Handshake<'_> {
    async fn run(mut self, server: &Server, tls: &ServerTls) -> Result<(), ConnectError> {
        loop {
            self.backend
                .send()
                .await
                .map_err(|error| self.unreachable(error))?;
            let (tag, body) = self.next_message().await?;
            match tag {
                b'R' => self.authenticate(&body)?,
                b'S' => {
                    let (name, value) =
                        parse_parameter_status(&body).map_err(|error| self.garbled(error))?;
                    self.backend.parameters.update(name, value);
                }
                b'K' => {
                    let (process_id, key) =
                        parse_backend_key_data(&body).map_err(|error| self.garbled(error))?;
                    self.backend.cancel_target = Arc::new(CancelTarget {
                        server: server.clone(),
                        tls: tls.clone(),
                        process_id,
                        key: key.into(),
                    });
                }
                b'Z' => {
                    self.backend.status = body.first().copied().unwrap_or(b'X');
                    return Ok(());
                }
                b'E' => {
                    return Err(ConnectError::Refused {
                        server: self.server.to_owned(),
                        fields: Box::new(error_fields(&body)),
                    });
                }
                b'N' | b'v' => {}
                other => return Err(self.garbled(ProtocolError::invalid_message_type(other))),
            }
        }
    }

    async fn next_message(&mut self) -> Result<(u8, Vec<u8>), ConnectError> {
        loop {
            let frame = next_frame(&self.backend.input, &Limits::server())
                .map_err(|error| self.garbled(error))?;
            if let Some(frame) = frame {
                let body = self.backend.input[5..frame.total].to_vec();
                self.backend.consume(frame.total);
                return Ok((frame.tag, body));
            }
            if total_length(&self.backend.input).is_some_and(|total| total > MOST_BYTES) {
                return Err(self.garbled(ProtocolError::InvalidLength));
            }
            match self.backend.fill().await {
                Ok(0) => return Err(self.unreachable(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => return Err(self.unreachable(error)),
            }
        }
    }

    fn authenticate(&mut self, body: &[u8]) -> Result<(), ConnectError> {
        let mut reader = Reader(body);
        let kind = reader.u32().map_err(|error| self.garbled(error))?;
        match kind {
            // A server that breaks a SCRAM exchange off has not proven that it knows the user.
            0 if self.scram.is_some() => Err(self.unexpected()),
            0 => Ok(()),
            3 => {
                let mut password = self.password()?.as_bytes().to_vec();
                password.push(0);
                encode::password(&mut self.backend.out, &password);
                Ok(())
            }
            5 => {
                let salt = reader.bytes(4).map_err(|error| self.garbled(error))?;
                let salt: [u8; 4] = salt
                    .try_into()
                    .map_err(|_| self.garbled(ProtocolError::InvalidFormat))?;
                let mut hash = postgres_protocol::authentication::md5_hash(
                    self.credentials.user.as_bytes(),
                    self.password()?.as_bytes(),
                    salt,
                )
                .into_bytes();
                hash.push(0);
                encode::password(&mut self.backend.out, &hash);
                Ok(())
            }
            10 => self.sasl_start(reader),
            11 => {
                let mut scram = self.scram.take().ok_or_else(|| self.unexpected())?;
                scram
                    .update(reader.0)
                    .map_err(|error| self.refused(error.to_string()))?;
                encode::password(&mut self.backend.out, scram.message());
                self.scram = Some(scram);
                Ok(())
            }
            12 => {
                let mut scram = self.scram.take().ok_or_else(|| self.unexpected())?;
                scram
                    .finish(reader.0)
                    .map_err(|error| self.refused(error.to_string()))
            }
            other => Err(self.refused(format!(
                "the server asks for authentication method {other}, which is not supported"
            ))),
        }
    }

    fn sasl_start(&mut self, mut reader: Reader<'_>) -> Result<(), ConnectError> {
        let mut plain = false;
        let mut plus = false;
        loop {
            match reader.string().map_err(|error| self.garbled(error))? {
                b"" => break,
                name => {
                    plain |= name == SCRAM_SHA_256.as_bytes();
                    plus |= name == SCRAM_SHA_256_PLUS.as_bytes();
                }
            }
        }
        let end_point = self
            .backend
            .stream
            .server_certificate()
            .and_then(|certificate| crate::tls::server_end_point(&certificate));
        let (mechanism, binding) = match end_point {
            Some(hash) if plus => (SCRAM_SHA_256_PLUS, Binding::EndPoint(hash)),
            Some(_) if plain => (SCRAM_SHA_256, Binding::NotOffered),
            None if plain => (SCRAM_SHA_256, Binding::Impossible),
            _ => {
                return Err(self
                    .refused("the server offers no SASL mechanism that is supported".to_owned()));
            }
        };
        let scram = match (&self.credentials.password, &self.credentials.keys) {
            (None, Some(keys)) => Exchange::Keys(KeyExchange::new(keys.clone(), binding)),
            _ => {
                let binding = match binding {
                    Binding::EndPoint(hash) => ChannelBinding::tls_server_end_point(hash),
                    Binding::NotOffered => ChannelBinding::unrequested(),
                    Binding::Impossible => ChannelBinding::unsupported(),
                };
                Exchange::Password(ScramSha256::new(self.password()?.as_bytes(), binding))
            }
        };
        let mut body = mechanism.as_bytes().to_vec();
        body.push(0);
        body.extend_from_slice(&(scram.message().len() as u32).to_be_bytes());
        body.extend_from_slice(scram.message());
        encode::password(&mut self.backend.out, &body);
        self.scram = Some(scram);
        Ok(())
    }

    fn password(&self) -> Result<&str, ConnectError> {
        self.credentials.password.as_deref().ok_or_else(|| {
            self.refused(format!(
                "the server asks for a password for user \"{}\" and the router has none",
                self.credentials.user
            ))
        })
    }

    fn refused(&self, reason: String) -> ConnectError {
        ConnectError::Authentication {
            server: self.server.to_owned(),
            reason,
        }
    }

    fn unexpected(&self) -> ConnectError {
        self.garbled(ProtocolError::Other(
            "SASL messages out of order".to_owned(),
        ))
    }

    fn garbled(&self, error: ProtocolError) -> ConnectError {
        self.unreachable(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn unreachable(&self, error: io::Error) -> ConnectError {
        ConnectError::Unreachable {
            server: self.server.to_owned(),
            error,
        }
    }
}
