//! Encrypted connections: how far certificates are trusted, and SCRAM bound to them.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, mpsc};

use catalog::Server;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use router::backend::ConnectError;
use router::config::{self, SslMode};
use router::local::Scratch;
use router::pool::{PoolSettings, Pools};
use router::tls::{ClientFacing, ServerTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{
    LIMIT, address, ask, checkout, connect, error, fresh_server, login, refusal, runtime, settings,
    status, value, worker,
};

/// A server with `ssl = on`, and the files that know it.
struct Encrypted {
    server: Server,
    authority: PathBuf,
    other_authority: PathBuf,
    /// A certificate of the other authority, for one who pretends to be the server.
    pretended: (PathBuf, PathBuf),
    /// Certificate and key of the user cert_user.
    client: (PathBuf, PathBuf),
    _scratch: Scratch,
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// Certificate and key in PEM, good for 127.0.0.1.
fn certificate(authority: &CertifiedIssuer<'_, KeyPair>) -> (String, String) {
    certificate_of(authority, "server")
}

fn certificate_of(authority: &CertifiedIssuer<'_, KeyPair>, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    let certificate = parameters.signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn encrypted() -> &'static Encrypted {
    static ENCRYPTED: OnceLock<Encrypted> = OnceLock::new();
    ENCRYPTED.get_or_init(|| {
        let (known, unknown) = (authority(), authority());
        let scratch = Scratch::create().unwrap();
        let write = |name: &str, text: &str| {
            let path = scratch.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (pretended_certificate, pretended_key) = certificate(&unknown);
        let (sender, receiver) = mpsc::channel();
        let (server_certificate, server_key) = certificate(&known);
        let (client_certificate, client_key) = certificate_of(&known, "cert_user");
        let authority = known.pem();
        std::thread::spawn(move || {
            runtime().block_on(async {
                let server = fresh_server().await;
                let data = server.data_directory();
                let owner = std::fs::metadata(&data).unwrap();
                for (name, text) in [
                    ("server.crt", server_certificate),
                    ("server.key", server_key),
                    ("clients.crt", authority),
                ] {
                    let path = data.join(name);
                    std::fs::write(&path, text).unwrap();
                    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
                        .unwrap();
                    chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
                }
                crate::harness::admin(&server, "CREATE ROLE cert_user LOGIN").await;
                crate::harness::admin(&server, "ALTER SYSTEM SET ssl = on").await;
                crate::harness::admin(&server, "ALTER SYSTEM SET ssl_ca_file = 'clients.crt'")
                    .await;
                server.restart().await.unwrap();
                sender.send(address(&server)).unwrap();
                std::future::pending::<()>().await;
                drop(server);
            });
        });
        Encrypted {
            server: receiver.recv().unwrap(),
            authority: write("known.pem", &known.pem()),
            other_authority: write("unknown.pem", &unknown.pem()),
            pretended: (
                write("pretended.pem", &pretended_certificate),
                write("pretended.key", &pretended_key),
            ),
            client: (
                write("client.pem", &client_certificate),
                write("client.key", &client_key),
            ),
            _scratch: scratch,
        }
    })
}

fn tls(mode: SslMode) -> ServerTls {
    trusting(mode, &encrypted().authority)
}

fn trusting(mode: SslMode, authority: &Path) -> ServerTls {
    load(mode, authority, None)
}

/// `identity`: the router's own certificate and key.
fn load(mode: SslMode, authority: &Path, identity: Option<&(PathBuf, PathBuf)>) -> ServerTls {
    ServerTls::load(&config::ServerTls {
        mode,
        root_cert: Some(authority.to_owned()),
        cert: identity.map(|(certificate, _)| certificate.clone()),
        key: identity.map(|(_, key)| key.clone()),
    })
    .unwrap()
}

const IS_ENCRYPTED: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

#[tokio::test]
async fn each_mode_encrypts_where_the_certificate_is_good() {
    let server = &encrypted().server;
    for (mode, expected) in [
        (SslMode::Disable, "f"),
        (SslMode::Prefer, "t"),
        (SslMode::Require, "t"),
        (SslMode::VerifyCa, "t"),
        (SslMode::VerifyFull, "t"),
    ] {
        let mut backend = connect(server, &login("postgres", None), &tls(mode))
            .await
            .unwrap();
        assert_eq!(
            value(&mut backend, IS_ENCRYPTED).await,
            expected,
            "{mode:?}"
        );
        assert!(backend.is_clean() && !backend.has_news_now());
    }
}

#[tokio::test]
async fn verifying_modes_trust_only_the_authority_they_were_given() {
    let encrypted = encrypted();
    for (mode, accepted) in [
        (SslMode::Require, true),
        (SslMode::VerifyCa, false),
        (SslMode::VerifyFull, false),
    ] {
        let tls = trusting(mode, &encrypted.other_authority);
        let result = connect(&encrypted.server, &login("postgres", None), &tls).await;
        assert_eq!(result.is_ok(), accepted, "{mode:?}");
        if let Err(error) = result {
            assert!(
                matches!(&error, ConnectError::Unreachable { .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains("certificate"), "{error}");
        }
    }
}

#[tokio::test]
async fn only_the_full_check_minds_the_name() {
    let elsewhere = Server {
        host: "localhost".to_owned(),
        ..encrypted().server.clone()
    };
    connect(
        &elsewhere,
        &login("postgres", None),
        &tls(SslMode::VerifyCa),
    )
    .await
    .unwrap();
    let error = refusal(
        &elsewhere,
        &login("postgres", None),
        &tls(SslMode::VerifyFull),
    )
    .await;
    assert!(
        matches!(error, ConnectError::Unreachable { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_preferred_tls_is_done_without_where_there_is_none() {
    let mut backend = connect(
        &crate::harness::shared(),
        &login("postgres", None),
        &tls(SslMode::Prefer),
    )
    .await
    .unwrap();
    assert_eq!(value(&mut backend, IS_ENCRYPTED).await, "f");
    let error = refusal(
        &crate::harness::shared(),
        &login("postgres", None),
        &tls(SslMode::Require),
    )
    .await;
    assert!(
        error.to_string().contains("does not support TLS"),
        "{error}"
    );
}

#[tokio::test]
async fn the_router_shows_the_certificate_it_was_given() {
    let Encrypted {
        server,
        authority,
        client,
        pretended,
        ..
    } = encrypted();
    let mode = SslMode::VerifyFull;
    let cert_user = login("cert_user", None);
    let shown = load(mode, authority, Some(client));
    let mut backend = connect(server, &cert_user, &shown).await.unwrap();
    assert_eq!(
        value(&mut backend, "SELECT current_user").await,
        "cert_user"
    );
    backend.cancel_target().cancel().await.unwrap();
    let error = refusal(server, &cert_user, &tls(mode)).await;
    assert!(
        error.to_string().contains("valid client certificate"),
        "{error}"
    );
    // One that the server's authority has not signed.
    refusal(server, &cert_user, &load(mode, authority, Some(pretended))).await;
}

/// Somebody between router and server, with a certificate of his own and an encrypted connection on both sides.
async fn intruder() -> Server {
    let (certificate, key) = &encrypted().pretended;
    let facing = Arc::new(ClientFacing::load(certificate, key, None).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(intrude(client, facing.clone()));
        }
    });
    Server {
        port,
        ..encrypted().server.clone()
    }
}

async fn intrude(mut client: TcpStream, facing: Arc<ClientFacing>) {
    let mut request = [0u8; 8];
    client.read_exact(&mut request).await.unwrap();
    client.write_all(b"S").await.unwrap();
    let mut client = facing.accept(client).await.unwrap();
    let target = &encrypted().server;
    let mut server = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .unwrap();
    server.write_all(&request).await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'S');
    let mut server = tls(SslMode::Require)
        .handshake(server, &target.host)
        .await
        .unwrap();
    // Either side may end without taking leave.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

/// A mode that takes any certificate is safe from an intruder all the same, because the password's proof is bound to the
/// certificate that the router saw.
#[tokio::test]
async fn a_proof_is_good_for_one_certificate_only() {
    let credentials = login("scram_user", Some("pencil"));
    let mut backend = connect(&encrypted().server, &credentials, &tls(SslMode::Require))
        .await
        .unwrap();
    assert_eq!(
        value(&mut backend, "SELECT current_user").await,
        "scram_user"
    );

    let between = intruder().await;
    // Without SCRAM the intruder gets through.
    let mut backend = connect(&between, &login("postgres", None), &tls(SslMode::Require))
        .await
        .unwrap();
    assert_eq!(value(&mut backend, "SELECT 1").await, "1");
    match refusal(&between, &credentials, &tls(SslMode::Require)).await {
        ConnectError::Refused { fields, .. } => {
            assert!(fields.message.contains("channel binding"), "{fields:?}")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_cancel_goes_the_same_way() {
    let credentials = login("postgres", None);
    let mut backend = connect(&encrypted().server, &credentials, &tls(SslMode::VerifyFull))
        .await
        .unwrap();
    let mut watcher = connect(&encrypted().server, &credentials, &tls(SslMode::VerifyFull))
        .await
        .unwrap();
    let target = backend.cancel_target().clone();
    let running = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = {} AND wait_event = 'PgSleep'",
        backend.process_id()
    );
    let cancel = async {
        while value(&mut watcher, &running).await == "0" {}
        target.cancel().await.unwrap();
    };
    let (answers, ()) = tokio::join!(ask(&mut backend, "SELECT pg_sleep(60)"), cancel);
    assert_eq!(error(&answers).0, "57014");
}

/// The TLS session moves with its socket: the runtime that made it is gone.
#[test]
fn an_encrypted_connection_moves_to_another_worker() {
    let settings = PoolSettings {
        max_size: 1,
        ..settings()
    };
    let pools = Pools::new(settings, tls(SslMode::VerifyFull), 2);
    let workers = [worker(0), worker(1)];
    let (first, second) = (runtime(), runtime());
    let server = &encrypted().server;
    first.block_on(async {
        let mut pooled = checkout(&pools, &workers[0], server).await;
        assert_eq!(value(&mut pooled, IS_ENCRYPTED).await, "t");
        pooled.release(&workers[0]);
    });
    drop(first);
    second.block_on(async {
        let mut pooled = checkout(&pools, &workers[1], server).await;
        let large =
            "SELECT length(repeat('x', 100000)::text || pg_sleep(0.01)::text), repeat('y', 300000)";
        let answers = tokio::time::timeout(LIMIT, ask(&mut pooled, large))
            .await
            .unwrap();
        assert!(
            answers
                .iter()
                .any(|(tag, body)| *tag == b'D' && body.len() > 300_000)
        );
        pooled.release(&workers[1]);
    });
    assert_eq!(status(&pools).connects, 1);
}
