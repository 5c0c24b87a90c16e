//! Control connections over TLS.

use std::sync::Arc;

use rcgen::generate_simple_self_signed;
use router::local::LocalServer;
use router::store::{Connector, InitRequest, Settings, ShardRequest, Store, Tls, init};
use rustls::{ClientConfig, RootCertStore};

use crate::harness::{connector, fast};

/// Puts a certificate into a server's data directory, as the account that the server runs as.
async fn encrypt(server: &LocalServer, certificate: &str, key: &str) {
    let client = server.connect("postgres").await.unwrap();
    for (name, text) in [("server.crt", certificate), ("server.key", key)] {
        let path = server.data_directory().join(name).display().to_string();
        client
            .batch_execute(&format!(
                "COPY (SELECT unnest(string_to_array('{text}', E'\\n'))) TO PROGRAM 'umask 077 && cat > {path}'"
            ))
            .await
            .unwrap();
    }
    client
        .batch_execute("ALTER SYSTEM SET ssl = on")
        .await
        .unwrap();
    client
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    while client
        .query_one("SHOW ssl", &[])
        .await
        .unwrap()
        .get::<_, String>(0)
        != "on"
    {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

#[tokio::test]
async fn the_whole_control_plane_is_encrypted() {
    let server = LocalServer::scratch(fast()).await.unwrap();
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    encrypt(&server, &made.cert.pem(), &made.signing_key.serialize_pem()).await;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let encrypted = Connector {
        tls: Tls::Require(trusting(roots)),
        ..connector()
    };
    let home = catalog::Server {
        host: "localhost".into(),
        port: server.port(),
        dbname: "postgres".into(),
    };

    let connection = encrypted.connect(&home).await.unwrap();
    let rows = connection
        .rows("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        .await
        .unwrap();
    assert_eq!(rows[0][0].as_deref(), Some("t"));
    // The migrations travel the same way as everything else.
    let shard = ShardRequest {
        name: "s1".into(),
        primary: home.clone(),
        replicas: vec![],
    };
    init(&InitRequest {
        connector: encrypted.clone(),
        home: home.clone(),
        shards: vec![shard],
    })
    .await
    .unwrap();
    Store::connect(Settings::new(home.clone(), encrypted))
        .await
        .unwrap();

    // A certificate that nobody vouches for, and one for another name.
    let strict = Connector {
        tls: Tls::Require(trusting(RootCertStore::empty())),
        ..connector()
    };
    let error = strict.connect(&home).await.err().unwrap();
    assert!(error.to_string().contains("certificate"), "{error}");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let strict = Connector {
        tls: Tls::Require(trusting(roots)),
        ..connector()
    };
    let error = strict
        .connect(&catalog::Server {
            host: "127.0.0.1".into(),
            ..home
        })
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_if_tls_is_required() {
    let server = LocalServer::scratch(fast()).await.unwrap();
    let home = catalog::Server {
        host: "127.0.0.1".into(),
        port: server.port(),
        dbname: "postgres".into(),
    };
    let with = |tls| Connector { tls, ..connector() };
    assert!(
        with(Tls::Require(trusting(RootCertStore::empty())))
            .connect(&home)
            .await
            .is_err()
    );
    with(Tls::Prefer(trusting(RootCertStore::empty())))
        .connect(&home)
        .await
        .unwrap();
}
