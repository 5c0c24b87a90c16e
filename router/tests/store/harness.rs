//! Three servers for all tests here, and databases of its own for each test.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, mpsc};

use catalog::Server;
use planner::AdminArg;
use router::admin::{Caller, Error, Output};
use router::local::{Binaries, ClusterOptions, LocalCluster, ServerOptions};
use router::store::{Connection, Connector, InitRequest, Settings, ShardRequest, Store, init};

pub const SERVERS: usize = 3;

/// Servers that never sync, from a template that all suites share.
pub fn fast() -> ServerOptions {
    ServerOptions {
        durable: false,
        template: Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))),
        ..ServerOptions::default()
    }
}

/// The ports of the shared servers. They belong to a thread that lives as long as the process.
fn ports() -> &'static [u16] {
    static PORTS: OnceLock<Vec<u16>> = OnceLock::new();
    PORTS.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let options = ClusterOptions {
                    shards: SERVERS,
                    server: fast(),
                    ..ClusterOptions::default()
                };
                let cluster = LocalCluster::start(options).await.unwrap();
                sender
                    .send(
                        cluster
                            .shards()
                            .iter()
                            .map(|shard| shard.primary.port())
                            .collect(),
                    )
                    .unwrap();
                std::future::pending::<()>().await;
                drop(cluster);
            });
        });
        receiver.recv().unwrap()
    })
}

pub fn server(index: usize, dbname: &str) -> Server {
    Server {
        host: "127.0.0.1".into(),
        port: ports()[index],
        dbname: dbname.into(),
    }
}

pub fn connector() -> Connector {
    Connector::new("postgres")
}

/// A cluster of empty databases, one on each of the first servers.
pub struct Cluster {
    pub database: String,
    pub shards: usize,
}

impl Cluster {
    /// Databases that `init` has not seen yet.
    pub async fn bare(shards: usize) -> Cluster {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let database = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        for index in 0..shards {
            let connection = connector()
                .connect(&server(index, "postgres"))
                .await
                .unwrap();
            connection
                .batch(&format!("CREATE DATABASE {database} TEMPLATE template0"))
                .await
                .unwrap();
        }
        Cluster { database, shards }
    }

    /// An initialized cluster whose first shard holds the catalog.
    pub async fn new(shards: usize) -> Cluster {
        let cluster = Cluster::bare(shards).await;
        init(&cluster.request()).await.unwrap();
        cluster
    }

    pub fn server(&self, index: usize) -> Server {
        server(index, &self.database)
    }

    pub fn request(&self) -> InitRequest {
        let shard = |index| ShardRequest {
            name: format!("s{}", index + 1),
            primary: self.server(index),
            replicas: Vec::new(),
        };
        InitRequest {
            connector: connector(),
            home: self.server(0),
            shards: (0..self.shards).map(shard).collect(),
        }
    }

    pub async fn store(&self) -> Arc<Store> {
        Store::connect(Settings::new(self.server(0), connector()))
            .await
            .unwrap()
    }

    /// A direct connection to one shard, counted from 0.
    pub async fn shard(&self, index: usize) -> Connection {
        connector().connect(&self.server(index)).await.unwrap()
    }

    /// Runs statements on one shard directly.
    pub async fn run(&self, index: usize, sql: &str) {
        self.shard(index)
            .await
            .batch(&format!("SET search_path = public; {sql}"))
            .await
            .unwrap();
    }

    /// One row of text from a shard, its columns joined by `|`, NULL as `∅`.
    pub async fn ask(&self, index: usize, sql: &str) -> Vec<String> {
        let rows = self.shard(index).await.rows(sql).await.unwrap();
        rows.into_iter()
            .map(|row| {
                row.into_iter()
                    .map(|value| value.unwrap_or_else(|| "∅".into()))
                    .collect::<Vec<_>>()
                    .join("|")
            })
            .collect()
    }
}

/// Calls an operator's function as superuser. Arguments: a bare text, or `name => value`; `[a, b]` is an array.
pub async fn call(store: &Arc<Store>, function: &str, arguments: &[&str]) -> Result<Output, Error> {
    call_as(store, "postgres", function, arguments).await
}

pub async fn call_as(
    store: &Arc<Store>,
    user: &str,
    function: &str,
    arguments: &[&str],
) -> Result<Output, Error> {
    let caller = Caller {
        user: user.into(),
        search_path: Arc::from(["public".to_owned()]),
    };
    let arguments: Vec<(Option<String>, AdminArg)> = arguments
        .iter()
        .map(|argument| match argument.split_once(" => ") {
            Some((name, value)) => (Some(name.to_owned()), value_of(value)),
            None => (None, value_of(argument)),
        })
        .collect();
    router::admin::call(store, function, &arguments, &caller).await
}

fn value_of(text: &str) -> AdminArg {
    match text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some("") => AdminArg::Array(Vec::new()),
        Some(items) => AdminArg::Array(items.split("; ").map(value_of).collect()),
        None if text == "NULL" => AdminArg::Null,
        None => AdminArg::Text(text.to_owned()),
    }
}

/// The major version of the servers.
pub async fn version() -> u32 {
    let connection = connector().connect(&server(0, "postgres")).await.unwrap();
    let rows = connection
        .rows("SELECT current_setting('server_version_num')::int / 10000")
        .await
        .unwrap();
    rows[0][0].as_deref().unwrap().parse().unwrap()
}

/// Whether the servers were built and installed with all that a test wants to use: some builds lack contrib or ICU.
pub async fn has_all(extensions: &[&str], icu: bool) -> bool {
    let connection = connector().connect(&server(0, "postgres")).await.unwrap();
    let names = connection
        .rows("SELECT name FROM pg_available_extensions")
        .await
        .unwrap();
    let has = |name: &str| names.iter().any(|row| row[0].as_deref() == Some(name));
    let made = connection
        .batch("BEGIN; CREATE COLLATION public.tried (provider = icu, locale = 'de'); ROLLBACK")
        .await;
    extensions.iter().all(|name| has(name)) && (!icu || made.is_ok())
}

/// What psql shows of relations by one of its commands, such as `\d+ t`.
pub fn psql(server: &Server, command: &str) -> String {
    let program = Binaries::find(None).unwrap().program("psql").unwrap();
    let output = std::process::Command::new(program)
        .args([
            "-X",
            "-h",
            &server.host,
            "-p",
            &server.port.to_string(),
            "-U",
            "postgres",
            "-d",
            &server.dbname,
            "-c",
            command,
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
