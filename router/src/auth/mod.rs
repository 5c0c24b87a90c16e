//! Who a client is: the server's side of authentication.
//!
//! Entry point: [`authenticate`]. The first `[[auth]]` rule that fits a connection names the method. An unknown user goes
//! through the same exchange as a known one with a wrong password, and gets the same answer.

mod password;
mod scram;
mod secrets;

use std::io;
use std::net::IpAddr;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::backend::ScramKeys;
use crate::config::{AuthMethod, AuthRule, Secret};
use crate::session::report::Report;
use crate::tls::ClientStream;
use crate::wire::frame::{Limits, next_frame};
use crate::wire::startup::Request;
use crate::wire::{ProtocolError, encode};

pub use secrets::{Lookup, Secrets, StoredSecret};

/// The longest password message that is taken.
const MOST_BYTES: usize = 64 * 1024;

/// How clients authenticate here.
pub struct AuthSettings {
    pub rules: Vec<AuthRule>,
    pub secrets: Secrets,
}

/// A client that has proven who it is.
#[derive(Debug)]
pub struct Authenticated {
    /// The password, where the method showed it to the router or the configuration holds it.
    pub password: Option<Secret>,
    /// What a proof by SCRAM showed instead, good for servers that hold the same verifier.
    pub keys: Option<ScramKeys>,
}

impl Authenticated {
    fn by(password: Option<Secret>) -> Self {
        Self {
            password,
            keys: None,
        }
    }
}

/// Why a client was refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("no [[auth]] rule fits user \"{user}\", database \"{database}\", address {address}")]
    NoRule {
        user: String,
        database: String,
        address: IpAddr,
    },
    #[error("a rule rejects user \"{user}\", address {address}")]
    Rejected { user: String, address: IpAddr },
    #[error("{method} authentication failed for user \"{user}\"{}", reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Failed {
        method: &'static str,
        user: String,
        reason: Option<String>,
    },
    #[error("{0}")]
    Protocol(#[from] ProtocolError),
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("the user cannot be looked up: {0}")]
    Lookup(String),
}

impl AuthError {
    /// What the client is told; less than the log.
    pub fn report(&self) -> Report {
        match self {
            Self::NoRule {
                user,
                database,
                address,
            } => Report::fatal(
                "28000",
                format!(
                    "no [[auth]] rule for host \"{address}\", user \"{user}\", database \"{database}\""
                ),
            ),
            Self::Rejected { user, address } => Report::fatal(
                "28000",
                format!(
                    "an [[auth]] rule rejects connection for host \"{address}\", user \"{user}\""
                ),
            ),
            Self::Failed { method, user, .. } => {
                let sqlstate = if *method == "certificate" {
                    "28000"
                } else {
                    "28P01"
                };
                Report::fatal(
                    sqlstate,
                    format!("{method} authentication failed for user \"{user}\""),
                )
            }
            Self::Protocol(error) => Report::fatal("08P01", error.to_string()),
            Self::Io(_) => Report::fatal("08006", "the connection broke during authentication"),
            Self::Lookup(_) => Report::fatal("08006", "the user cannot be looked up now")
                .hint("The server that [auth_query] asks cannot be reached; see the router's log."),
        }
    }
}

/// Has the client prove that it is the user it names.
pub async fn authenticate(
    request: &mut Request,
    address: IpAddr,
    settings: &AuthSettings,
) -> Result<Authenticated, AuthError> {
    let user = request.user.clone();
    let rule = settings
        .rules
        .iter()
        .find(|rule| rule.matches(&user, &request.database, address))
        .ok_or_else(|| AuthError::NoRule {
            user: user.clone(),
            database: request.database.clone(),
            address,
        })?;
    match rule.method {
        AuthMethod::Trust => Ok(Authenticated::by(settings.secrets.plain(&user))),
        AuthMethod::Reject => Err(AuthError::Rejected { user, address }),
        AuthMethod::Cert => certificate(request, &user),
        AuthMethod::Md5 => password::md5(request, &user, &settings.secrets).await,
        AuthMethod::ScramSha256 => scram::authenticate(request, &user, &settings.secrets).await,
    }
}

/// The common name of the verified certificate must be the user.
fn certificate(request: &Request, user: &str) -> Result<Authenticated, AuthError> {
    let failed = |reason: &str| AuthError::Failed {
        method: "certificate",
        user: user.to_owned(),
        reason: Some(reason.to_owned()),
    };
    let der = request
        .stream
        .client_certificate()
        .ok_or_else(|| failed("the client showed no certificate that tls.client_ca signed"))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(der)
        .map_err(|_| failed("the certificate cannot be read"))?;
    let mut names = parsed.subject().iter_common_name();
    // A second common name, or one with a NUL within, would let two readers see two users.
    match (
        names.next().and_then(|name| name.as_str().ok()),
        names.next(),
    ) {
        (Some(name), None) if name == user => Ok(Authenticated::by(None)),
        (Some(name), None) => Err(failed(&format!("the certificate is for \"{name}\""))),
        _ => Err(failed("the certificate has not exactly one common name")),
    }
}

/// Sends one authentication request.
async fn ask(stream: &mut ClientStream, kind: u32, data: &[u8]) -> io::Result<()> {
    let mut out = BytesMut::new();
    encode::authentication(&mut out, kind, data);
    stream.write_all(&out).await?;
    stream.flush().await
}

/// The body of the client's next message, which must have tag `p`.
async fn answer(stream: &mut ClientStream) -> Result<Vec<u8>, AuthError> {
    let mut header = [0u8; 5];
    stream.read_exact(&mut header).await?;
    let mut limits = Limits::client(MOST_BYTES);
    limits.small_bytes = MOST_BYTES;
    // An incomplete message with an acceptable length gives no frame and no error.
    next_frame(&header, &limits)?;
    if header[0] != b'p' {
        return Err(ProtocolError::Other(format!(
            "expected password response, got message type {}",
            header[0]
        ))
        .into());
    }
    let [_, a, b, c, d] = header;
    let mut body = vec![0u8; u32::from_be_bytes([a, b, c, d]) as usize - 4];
    stream.read_exact(&mut body).await?;
    Ok(body)
}
