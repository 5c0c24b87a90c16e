//! A sharded cluster on this machine, for as long as a test needs it.
//!
//! Servers are children of the test process; the router runs in a thread of it, with its own runtime, as `pgweave serve`
//! would run it. Everything ends when the value is dropped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use catalog::Server;
use router::config::{Config, Sources};
use router::local::{ClusterOptions, LocalCluster, LocalServer, ServerOptions, Settings};
use router::serve::{self, Stop};
use router::store::{Connector, InitRequest, ShardRequest, init};
use tokio::sync::watch;

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    pub shards: usize,
    pub replicas: usize,
    /// `section.key=value` of the router's configuration.
    pub settings: Vec<String>,
    /// Further tables of the configuration, as TOML.
    pub toml: String,
    /// The catalog is on a server of its own.
    pub home_apart: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shards: 2,
            replicas: 0,
            settings: Vec::new(),
            toml: String::new(),
            home_apart: false,
        }
    }
}

/// Servers and a router.
pub struct Cluster {
    pub router: RunningRouter,
    pub local: LocalCluster,
    /// The catalog's home, if it is no shard.
    home_server: Option<LocalServer>,
    config_dir: PathBuf,
    options: Options,
}

impl Cluster {
    pub async fn start(options: Options) -> Result<Self, Error> {
        let mut settings = Settings::default();
        settings.set("max_connections", "200")?;
        let local = LocalCluster::start(ClusterOptions {
            shards: options.shards,
            replicas: options.replicas,
            server: ServerOptions {
                settings,
                durable: false,
                ..ServerOptions::default()
            },
            ..ClusterOptions::default()
        })
        .await?;
        let shards: Vec<ShardRequest> = local
            .shards()
            .iter()
            .map(|shard| ShardRequest {
                name: shard.name.clone(),
                primary: server(&shard.primary),
                replicas: shard.replicas.iter().map(server).collect(),
            })
            .collect();
        let home_server = match options.home_apart {
            true => Some(LocalServer::scratch(ServerOptions::default()).await?),
            false => None,
        };
        let home = home_server.as_ref().unwrap_or(&local.shards()[0].primary);
        let (home, home_port) = (server(home), home.port());
        init(&InitRequest {
            connector: Connector::new("postgres"),
            home,
            shards,
        })
        .await?;
        let config_dir = local.directory().to_owned();
        let router = RunningRouter::start(&config_dir, home_port, &options)?;
        Ok(Self {
            router,
            local,
            home_server,
            config_dir,
            options,
        })
    }

    /// One more router over the same servers.
    pub fn another_router(&self, options: &Options) -> Result<RunningRouter, Error> {
        let shard = &self.local.shards()[0].primary;
        let home = self.home_server.as_ref().unwrap_or(shard);
        RunningRouter::start(&self.config_dir, home.port(), options)
    }

    /// Stops the router and starts another in its place.
    pub fn restart_router(&mut self) -> Result<(), Error> {
        let fresh = self.another_router(&self.options.clone())?;
        let old = std::mem::replace(&mut self.router, fresh);
        old.stop(Stop::Now);
        Ok(())
    }

    /// A driver's connection through the router.
    pub async fn connect(&self) -> Result<tokio_postgres::Client, Error> {
        connect(self.router.address).await
    }

    /// A driver's connection to one shard's primary.
    pub async fn connect_shard(&self, index: usize) -> Result<tokio_postgres::Client, Error> {
        Ok(self.local.shards()[index]
            .primary
            .connect("postgres")
            .await?)
    }

    pub async fn stop(self) -> Result<(), Error> {
        self.router.stop(Stop::Now);
        self.local.stop().await?;
        Ok(())
    }
}

/// A driver's connection to that address.
pub async fn connect(address: SocketAddr) -> Result<tokio_postgres::Client, Error> {
    let (client, connection) = tokio_postgres::Config::new()
        .host(address.ip().to_string())
        .port(address.port())
        .user("postgres")
        .dbname("postgres")
        .connect(tokio_postgres::NoTls)
        .await?;
    tokio::spawn(connection);
    Ok(client)
}

fn server(server: &LocalServer) -> Server {
    Server {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        dbname: "postgres".to_owned(),
    }
}

/// A router in a thread of this process.
pub struct RunningRouter {
    pub address: SocketAddr,
    stop: watch::Sender<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl RunningRouter {
    fn start(dir: &Path, home_port: u16, options: &Options) -> Result<Self, Error> {
        let file = dir.join(format!("pgweave-{:08x}.toml", rand::random::<u32>()));
        let toml = format!(
            "{}\n[[auth]]\nmethod = \"trust\"\n\n[catalog]\nhost = \"127.0.0.1\"\nport = {home_port}\ndbname = \"postgres\"\nuser = \"postgres\"\n",
            options.toml
        );
        std::fs::write(&file, toml)?;
        let mut settings = vec!["listen.port=0".to_owned(), "listen.workers=2".to_owned()];
        settings.extend(options.settings.iter().cloned());
        let config = Config::load(&Sources {
            file: Some(file),
            options: settings,
            environment: Default::default(),
        })?;
        let (ready, address) = mpsc::channel::<Result<SocketAddr, String>>();
        let (stop, stopping) = watch::channel(Stop::No);
        let thread = std::thread::Builder::new()
            .name("router".to_owned())
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                {
                    Ok(runtime) => runtime,
                    Err(error) => return report(&ready, &error),
                };
                let started = ready.clone();
                let running = serve::run(
                    config,
                    move |address| {
                        started.send(Ok(address)).ok();
                    },
                    stopping,
                );
                if let Err(error) = runtime.block_on(running) {
                    report(&ready, &error);
                }
            })?;
        let address = address.recv()??;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// Asks the router to stop without waiting for it.
    pub fn ask_to_stop(&self, how: Stop) {
        self.stop.send_replace(how);
    }

    /// Stops the router and waits for its end.
    pub fn stop(mut self, how: Stop) {
        self.end(how);
    }

    fn end(&mut self, how: Stop) {
        self.stop.send_replace(how);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the router's thread panicked");
        }
    }
}

impl Drop for RunningRouter {
    fn drop(&mut self) {
        self.end(Stop::Now);
    }
}

fn report(ready: &mpsc::Sender<Result<SocketAddr, String>>, error: &dyn std::fmt::Display) {
    // Nobody listens once the router has started; then the error is the end of a test that says so itself.
    ready.send(Err(error.to_string())).ok();
}
