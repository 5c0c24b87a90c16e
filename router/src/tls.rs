//! TLS on both sides: as a server towards clients, as a client towards PostgreSQL servers. rustls with ring throughout.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::config::{self, SslMode};

/// The protocol name by which a client that starts with TLS at once says what it will speak.
pub const ALPN: &[u8] = b"postgresql";

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {reason}")]
    File { path: String, reason: String },
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
    #[error("TLS cannot be set up: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |reason: String| TlsError::File {
        path: path.display().to_string(),
        reason,
    };
    let list: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| failed(error.to_string()))?
        .collect::<Result<_, _>>()
        .map_err(|error| failed(error.to_string()))?;
    if list.is_empty() {
        return Err(failed("it holds no certificate".to_owned()));
    }
    Ok(list)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsError::File {
        path: path.display().to_string(),
        reason: error.to_string(),
    })
}

fn roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate)?;
    }
    Ok(Arc::new(roots))
}

/// What the router shows to its clients.
#[derive(Clone)]
pub struct ClientFacing {
    acceptor: TlsAcceptor,
    /// For SCRAM channel binding.
    pub end_point: Option<Arc<[u8]>>,
}

impl ClientFacing {
    /// From PEM files; with `client_ca`, client certificates signed by it are accepted (and not demanded).
    pub fn load(
        certificate: &Path,
        key: &Path,
        client_ca: Option<&Path>,
    ) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        let end_point = chain
            .first()
            .and_then(|leaf| server_end_point(leaf))
            .map(Into::into);
        let key = private_key(key)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let builder = match client_ca {
            Some(path) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots(path)?, provider())
                        .allow_unauthenticated()
                        .build()?;
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            end_point,
        })
    }

    pub async fn accept(&self, stream: TcpStream) -> io::Result<ClientStream> {
        let stream = self.acceptor.accept(stream).await?;
        Ok(ClientStream::Tls(Box::new(stream)))
    }
}

/// A client's connection.
pub enum ClientStream {
    Plain(TcpStream),
    Tls(Box<server::TlsStream<TcpStream>>),
}

impl ClientStream {
    /// Waits until a read has something to do. Holds no buffer.
    pub async fn readable(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.readable().await,
            Self::Tls(stream) => {
                let (socket, session) = stream.get_mut();
                // Decrypted bytes that nobody has read yet make no socket readable.
                let waiting = session
                    .process_new_packets()
                    .map_or(1, |state| state.plaintext_bytes_to_read());
                if waiting > 0 {
                    return Ok(());
                }
                socket.readable().await
            }
        }
    }

    /// The protocol agreed by ALPN.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The certificate the client showed and that was verified.
    pub fn client_certificate(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.peer_certificates()?.first(),
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// TLS towards servers.
#[derive(Clone)]
pub struct ServerTls {
    mode: SslMode,
    connector: Option<TlsConnector>,
}

impl ServerTls {
    /// Plain connections.
    pub fn disabled() -> Self {
        Self {
            mode: SslMode::Disable,
            connector: None,
        }
    }

    /// `settings.root_cert` is needed for the verifying modes.
    pub fn load(settings: &config::ServerTls) -> Result<Self, TlsError> {
        if settings.mode == SslMode::Disable {
            return Ok(Self::disabled());
        }
        Ok(Self {
            mode: settings.mode,
            connector: Some(TlsConnector::from(client_config(settings)?)),
        })
    }

    pub fn mode(&self) -> SslMode {
        self.mode
    }

    pub async fn handshake(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let connector = self
            .connector
            .as_ref()
            .ok_or_else(|| io::Error::other("TLS towards servers is not configured"))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        connector.connect(name, stream).await
    }
}

/// What is verified of a server's certificate, by libpq's rules, and what the router shows of its own.
pub fn client_config(settings: &config::ServerTls) -> Result<Arc<ClientConfig>, TlsError> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let lenient = |chain| Arc::new(Lenient { chain });
    let builder = match settings.mode {
        SslMode::Disable | SslMode::Prefer | SslMode::Require => builder
            .dangerous()
            .with_custom_certificate_verifier(lenient(None)),
        SslMode::VerifyCa | SslMode::VerifyFull => {
            let path = settings
                .root_cert
                .as_deref()
                .ok_or_else(|| TlsError::File {
                    path: "sslrootcert".to_owned(),
                    reason: "it is needed to verify servers' certificates".to_owned(),
                })?;
            let roots = roots(path)?;
            if settings.mode == SslMode::VerifyFull {
                builder.with_root_certificates(roots)
            } else {
                let chain =
                    WebPkiServerVerifier::builder_with_provider(roots, provider()).build()?;
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(lenient(Some(chain)))
            }
        }
    };
    let config = match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) => {
            builder.with_client_auth_cert(certificates(cert)?, private_key(key)?)?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// Checks signatures, and the chain if there is one, but not whether the name fits.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // The chain has been checked before the name.
            Err(rustls::Error::InvalidCertificate(
                NotValidForName | NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &provider().signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The `tls-server-end-point` channel binding of a certificate (RFC 5929): its hash by the hash function of its
/// signature, SHA-256 where that is MD5 or SHA-1. `None` where the signature has no one hash function.
pub fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    use rustls::crypto::ring::cipher_suite;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let algorithm = parsed.signature_algorithm.algorithm.to_id_string();
    let suite = match algorithm.as_str() {
        // MD5, SHA-1 and SHA-256 with RSA; ECDSA with SHA-1 and SHA-256.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => cipher_suite::TLS13_AES_128_GCM_SHA256,
        // SHA-384 with RSA and with ECDSA.
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => cipher_suite::TLS13_AES_256_GCM_SHA384,
        _ => return None,
    };
    let hash = suite.tls13()?.common.hash_provider.hash(certificate);
    Some(hash.as_ref().to_vec())
}
