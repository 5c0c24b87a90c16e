//! Servers that do not behave.

use catalog::Server;
use router::backend::ConnectError;
use router::config::SslMode;
use router::tls::ServerTls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{login, refusal};

/// What a pretended server says, in reply to each message it gets, before it hangs up.
async fn pretender(replies: Vec<Vec<u8>>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for reply in replies {
            let mut message = [0u8; 4096];
            if stream.read(&mut message).await.unwrap() == 0 {
                return;
            }
            stream.write_all(&reply).await.unwrap();
        }
        wait_for_end(&mut stream).await;
    });
    Server {
        host: "127.0.0.1".to_owned(),
        port,
        dbname: "postgres".to_owned(),
    }
}

async fn wait_for_end(stream: &mut TcpStream) {
    let mut rest = [0u8; 4096];
    while matches!(stream.read(&mut rest).await, Ok(count) if count > 0) {}
}

async fn outcome(replies: &[&[u8]], mode: SslMode) -> ConnectError {
    let server = pretender(replies.iter().map(|reply| reply.to_vec()).collect()).await;
    let tls = ServerTls::load(&router::config::ServerTls {
        mode,
        ..Default::default()
    })
    .unwrap();
    refusal(&server, &login("scram_user", Some("pencil")), &tls).await
}

const READY: &[u8] = b"Z\0\0\0\x05I";
const AUTHENTICATION_OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";

#[tokio::test]
async fn a_server_that_skips_its_proof_is_not_believed() {
    let skipped = [AUTHENTICATION_OK, READY].concat();
    let error = outcome(&[SASL, &skipped], SslMode::Disable).await;
    assert!(
        error.to_string().contains("SASL messages out of order"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_continues_what_did_not_begin_is_not_believed() {
    let error = outcome(&[b"R\0\0\0\x0c\0\0\0\x0br=x,"], SslMode::Disable).await;
    assert!(
        error.to_string().contains("SASL messages out of order"),
        "{error}"
    );
}

#[tokio::test]
async fn a_message_without_end_is_not_waited_for() {
    for header in [
        b"R\x3f\xff\xff\xff",
        b"E\x7f\xff\xff\xff",
        b"S\0\x02\0\0",
        b"Z\0\0\0\x03",
    ] {
        let error = outcome(&[header], SslMode::Disable).await;
        assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    }
}

/// They would be taken for the server's first encrypted words.
#[tokio::test]
async fn plain_bytes_after_the_answer_to_the_tls_request_are_not_read_as_messages() {
    let injected = [b"S", AUTHENTICATION_OK, READY].concat();
    let error = outcome(&[&injected], SslMode::Require).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn tls_that_is_asked_for_is_not_done_without() {
    let error = outcome(&[b"N", AUTHENTICATION_OK], SslMode::Require).await;
    assert!(
        error.to_string().contains("does not support TLS"),
        "{error}"
    );
    let error = outcome(&[b"?"], SslMode::Prefer).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_up_is_unreachable() {
    for reply in [&[][..], SASL, AUTHENTICATION_OK, &SASL[..7]] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0u8; 4096]).await.unwrap();
            stream.write_all(reply).await.unwrap();
        });
        let server = Server {
            host: "127.0.0.1".to_owned(),
            port,
            dbname: "postgres".to_owned(),
        };
        let error = refusal(
            &server,
            &login("scram_user", Some("pencil")),
            &ServerTls::disabled(),
        )
        .await;
        assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    }
}
