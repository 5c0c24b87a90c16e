//! One server for most tests here, workers on threads of their own, and small conversations with a server.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use catalog::Server;
use router::backend::{Backend, ConnectError, Credentials};
use router::local::{LocalServer, ServerOptions};
use router::pool::{PoolIdentity, PoolSettings, PoolStatus, Pooled, Pools};
use router::tls::ServerTls;
use router::wire::backend::error_fields;
use router::wire::encode;
use router::wire::frame::{Limits, next_frame};
use router::worker::{WorkerId, WorkerLocal};

/// Longer than anything here takes, unless it would never end.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Who may come in how. Everybody else is trusted.
const HOST_RULES: &str = "\
local all all trust
hostssl all cert_user 127.0.0.1/32 cert
host all scram_user 127.0.0.1/32 scram-sha-256
host all md5_user 127.0.0.1/32 md5
host all clear_user 127.0.0.1/32 password
host all nobody 127.0.0.1/32 reject
host all all 127.0.0.1/32 trust
";

pub const ROLES: &str = "\
CREATE ROLE scram_user LOGIN PASSWORD 'pencil';
SET password_encryption = md5; CREATE ROLE md5_user LOGIN PASSWORD 'crayon'; RESET password_encryption;
CREATE ROLE clear_user LOGIN PASSWORD 'chalk';
CREATE ROLE nobody LOGIN;
CREATE TABLE marks (who text)";

/// A server that never syncs, from a template that all suites share.
pub fn fast() -> ServerOptions {
    ServerOptions {
        durable: false,
        template: Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))),
        host_rules: Some(HOST_RULES.to_owned()),
        ..ServerOptions::default()
    }
}

pub async fn fresh_server() -> LocalServer {
    let server = LocalServer::scratch(fast()).await.unwrap();
    admin(&server, ROLES).await;
    server
}

pub async fn admin(server: &LocalServer, sql: &str) {
    server
        .connect("postgres")
        .await
        .unwrap()
        .batch_execute(sql)
        .await
        .unwrap();
}

pub fn address(server: &LocalServer) -> Server {
    Server {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        dbname: "postgres".to_owned(),
    }
}

/// The server that tests share. It belongs to a thread that lives as long as the process.
pub fn shared() -> Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED
        .get_or_init(|| {
            let (sender, receiver) = mpsc::channel();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let server = fresh_server().await;
                    sender.send(address(&server)).unwrap();
                    std::future::pending::<()>().await;
                    drop(server);
                });
            });
            receiver.recv().unwrap()
        })
        .clone()
}

pub fn login(user: &str, password: Option<&str>) -> Credentials {
    Credentials::new(user, password.map(str::to_owned))
}

pub fn identity() -> PoolIdentity {
    PoolIdentity::new("postgres".to_owned(), login("postgres", None))
}

pub fn settings() -> PoolSettings {
    PoolSettings {
        max_size: 4,
        min_size: 0,
        wait_timeout: LIMIT,
        connect_timeout: LIMIT,
        idle_timeout: Duration::from_secs(600),
        lifetime: Duration::from_secs(3600),
        max_prepared_statements: 500,
    }
}

pub fn worker(index: usize) -> Arc<WorkerLocal> {
    Arc::new(WorkerLocal::new(WorkerId(index)))
}

/// Pools for one worker, which is the calling thread.
pub fn pools(settings: PoolSettings) -> (Pools, Arc<WorkerLocal>) {
    let worker = worker(0);
    let pools = Pools::new(settings, ServerTls::disabled(), 1);
    (pools, worker)
}

/// Reads until a message with this tag has come, and returns all messages up to it.
pub async fn read_until(backend: &mut Backend, last: u8) -> Vec<(u8, Vec<u8>)> {
    let mut seen = Vec::new();
    loop {
        while let Some(frame) = next_frame(backend.input(), &Limits::server()).unwrap() {
            let body = backend.input()[5..frame.total].to_vec();
            backend.consume(frame.total);
            if frame.tag == b'Z' {
                backend.set_status(body[0]);
            }
            seen.push((frame.tag, body));
            if frame.tag == last {
                return seen;
            }
        }
        assert!(backend.fill().await.unwrap() > 0, "the server hung up");
    }
}

/// Runs a simple query; its answers up to ReadyForQuery.
pub async fn ask(backend: &mut Backend, sql: &str) -> Vec<(u8, Vec<u8>)> {
    encode::query(backend.out(), sql.as_bytes());
    backend.flush().await.unwrap();
    read_until(backend, b'Z').await
}

/// The first column of the first row.
pub async fn value(backend: &mut Backend, sql: &str) -> String {
    let answers = ask(backend, sql).await;
    let (_, row) = answers
        .iter()
        .find(|(tag, _)| *tag == b'D')
        .unwrap_or_else(|| panic!("{sql}: no row in {answers:?}"));
    String::from_utf8(row[6..].to_vec()).unwrap()
}

/// What an extended batch needs up to its Execute.
pub fn batch(backend: &mut Backend, sql: &str) {
    let out = backend.out();
    encode::parse(out, b"", sql.as_bytes(), &[]);
    // Bind of the unnamed portal to the unnamed statement, without parameters or formats.
    out.extend_from_slice(b"B\0\0\0\x0c\0\0\0\0\0\0\0\0");
    encode::execute(out, b"", 0);
}

pub async fn checkout(pools: &Pools, worker: &WorkerLocal, server: &Server) -> Pooled {
    pools
        .checkout(&identity(), server, false, worker)
        .await
        .unwrap()
}

/// A connection outside of any pool.
pub async fn connect(
    server: &Server,
    credentials: &Credentials,
    tls: &ServerTls,
) -> Result<Backend, ConnectError> {
    let attempt = Backend::connect(server, credentials, tls, 500, WorkerId(0));
    tokio::time::timeout(LIMIT, attempt).await.unwrap()
}

/// The error of an attempt that must not succeed.
pub async fn refusal(server: &Server, credentials: &Credentials, tls: &ServerTls) -> ConnectError {
    match connect(server, credentials, tls).await {
        Ok(_) => panic!("{credentials:?} was let in"),
        Err(error) => error,
    }
}

/// Lets other tasks and the reactor run until the condition holds.
pub async fn until(mut condition: impl FnMut() -> bool) {
    tokio::time::timeout(LIMIT, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

/// The figures of the only pool.
pub fn status(pools: &Pools) -> PoolStatus {
    let list = pools.status();
    assert_eq!(list.len(), 1, "{list:?}");
    list.into_iter().next().unwrap()
}

/// The first error among answers, as SQLSTATE and message.
pub fn error(answers: &[(u8, Vec<u8>)]) -> (String, String) {
    let (_, body) = answers.iter().find(|(tag, _)| *tag == b'E').unwrap();
    let fields = error_fields(body);
    (fields.sqlstate, fields.message)
}

/// A worker's runtime, driven by whoever calls it.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
