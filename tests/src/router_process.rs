//! A `pgweave` that serves in a process of its own.
//!
//! Entry point: [`RouterProcess::start`]: it writes a configuration, registers the shards and runs
//! `pgweave serve`, as an operator would. What need not be apart from the test runs within it, see [`crate::cluster`].

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use catalog::Server;
use router::store::{Connector, InitRequest, ShardRequest, init};

use crate::endpoint::Endpoint;
use crate::process::{Child, Failure, target_directory};

/// One shard's servers.
#[derive(Debug, Clone)]
pub struct ShardServers {
    pub name: String,
    pub primary: Endpoint,
    pub replicas: Vec<Endpoint>,
}

/// A running router.
#[derive(Debug)]
pub struct RouterProcess {
    child: Child,
    endpoint: Endpoint,
    config: PathBuf,
}

impl RouterProcess {
    /// Makes a cluster of `shards` and serves it. `settings` are further lines of `pgweave.toml`; files go to `directory`.
    pub async fn start(
        shards: &[ShardServers],
        settings: &str,
        directory: &Path,
    ) -> Result<RouterProcess, Failure> {
        let home = shards
            .first()
            .ok_or_else(|| Failure("a cluster needs a shard".to_owned()))?;
        let port = free_port()?;
        let config = directory.join("pgweave.toml");
        let text = format!(
            "[[auth]]\nmethod = \"trust\"\n\n[catalog]\nhost = \"{}\"\nport = {}\ndbname = \"{}\"\nuser = \"{}\"\n\n{settings}\n",
            home.primary.host, home.primary.port, home.primary.database, home.primary.user
        );
        std::fs::write(&config, text)
            .map_err(|error| Failure(format!("cannot write {}: {error}", config.display())))?;
        let request = InitRequest {
            connector: Connector::new(&home.primary.user),
            home: server(&home.primary),
            shards: shards.iter().map(registered).collect(),
        };
        init(&request)
            .await
            .map_err(|error| Failure(error.to_string()))?;
        let endpoint = Endpoint {
            port,
            ..home.primary.clone()
        };
        let child = serve(&config, port)?;
        let limit = Duration::from_secs(30);
        child
            .wait_for(limit, async || endpoint.client().ok())
            .await?;
        Ok(RouterProcess {
            child,
            endpoint,
            config,
        })
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The process: to be measured, signalled or killed.
    pub fn child(&self) -> &Child {
        &self.child
    }

    pub async fn stop(self) {
        self.child.stop().await;
    }
}

fn serve(config: &Path, port: u16) -> Result<Child, Failure> {
    let mut command = Command::new(binary()?);
    command
        .arg("serve")
        .arg("--config")
        .arg(config)
        .args(["--set", &format!("listen.port={port}")]);
    Child::spawn(command, &config.with_extension("log"))
}

fn registered(shard: &ShardServers) -> ShardRequest {
    ShardRequest {
        name: shard.name.clone(),
        primary: server(&shard.primary),
        replicas: shard.replicas.iter().map(server).collect(),
    }
}

fn server(endpoint: &Endpoint) -> Server {
    Server {
        host: endpoint.host.clone(),
        port: endpoint.port,
        dbname: endpoint.database.clone(),
    }
}

fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0));
    listener
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| Failure(format!("there is no free port: {error}")))
}

/// The `pgweave` of this build. A test of another package cannot ask cargo to build it beforehand, so it is built here,
/// which takes a moment if nothing changed.
pub fn binary() -> Result<PathBuf, Failure> {
    static BINARY: OnceLock<Result<PathBuf, Failure>> = OnceLock::new();
    BINARY.get_or_init(build).clone()
}

fn build() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os("PGWEAVE_BIN") {
        return Ok(path.into());
    }
    let path = target_directory().join("pgweave");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([
            "build",
            "--quiet",
            "--package",
            "router",
            "--bin",
            "pgweave",
        ])
        .arg("--manifest-path")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let status = cargo
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Failure(format!("cannot run cargo to build pgweave: {error}")))?;
    match status.success() && path.is_file() {
        true => Ok(path),
        false => Err(Failure(format!("cargo did not build {}", path.display()))),
    }
}
