//! Certificates for a test: an authority, and what it has signed, as files in a folder that goes with them.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use router::local::Scratch;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_rustls::TlsConnector;

/// An authority (`authority.pem`) and a server's certificate for `localhost` (`server.pem`, `server.key`).
pub struct Certificates {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: Scratch,
}

impl Certificates {
    pub fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificates = Self {
            authority: CertifiedIssuer::self_signed(parameters, key).expect("an authority"),
            folder: Scratch::create().expect("a folder"),
        };
        certificates.write("authority.pem", &certificates.authority.pem());
        certificates.issue("server", "localhost");
        certificates
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `FILE.pem` and `FILE.key`.
    pub fn issue(&self, file: &str, common_name: &str) {
        let key = KeyPair::generate().expect("a key");
        let hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut parameters = CertificateParams::new(hosts).expect("names");
        parameters.distinguished_name = DistinguishedName::new();
        parameters
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let certificate = parameters
            .signed_by(&key, &self.authority)
            .expect("a certificate");
        self.write(&format!("{file}.pem"), &certificate.pem());
        self.write(&format!("{file}.key"), &key.serialize_pem());
    }

    /// The router's section `[tls]`.
    pub fn toml(&self, mode: &str) -> String {
        let path = |name| self.path(name).display().to_string();
        format!(
            "[tls]\nmode = \"{mode}\"\ncert = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\n",
            path("server.pem"),
            path("server.key"),
            path("authority.pem")
        )
    }

    /// A client that verifies the server and offers these protocols by ALPN.
    pub fn connector(&self, protocols: &[&[u8]]) -> TlsConnector {
        let authority =
            CertificateDer::from_pem_file(self.path("authority.pem")).expect("the authority");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    fn write(&self, name: &str, text: &str) {
        // libpq refuses keys that others can read.
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path(name))
            .expect("a file");
        file.write_all(text.as_bytes())
            .expect("a file that takes text");
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
