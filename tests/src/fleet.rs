//! A cluster that things happen to: servers of its own, and routers in processes of their own, which can be killed, frozen and
//! started again.
//!
//! Entry point: [`Fleet::start`]. What a test waits for it awaits by [`eventually`], which fails after a time that no healthy
//! machine needs.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use catalog::Server;
use router::drive::failpoint;
use router::local::{ClusterOptions, LocalCluster, LocalServer, ServerOptions, Settings};
use router::store::{Connector, InitRequest, ShardRequest, init};
use tokio::runtime::Runtime;

use crate::client::{Client, ask, one};
use crate::process::{Child, target_directory};
use crate::proxy::Proxy;
use crate::router_process::binary;

/// Longer than anything a test waits for takes: a recovery that must wait for a lost decider included.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to start.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    pub shards: usize,
    pub routers: usize,
    /// Routers reach servers through proxies, which can break connections.
    pub proxied: bool,
    /// `NAME=VALUE` for all servers.
    pub servers: Vec<&'static str>,
    /// Further lines of `pgweave.toml`.
    pub settings: String,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            shards: 4,
            routers: 2,
            proxied: false,
            servers: Vec::new(),
            settings: "[transactions]\nrecovery_interval_ms = 600\n".to_owned(),
        }
    }
}

pub struct Fleet {
    pub routers: Vec<FleetRouter>,
    /// One per shard, if the fleet is `proxied`.
    pub proxies: Vec<Proxy>,
    pub local: LocalCluster,
    runtime: Runtime,
}

impl Fleet {
    pub fn start(options: &FleetOptions) -> Fleet {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut settings = Settings::default();
        settings.set("max_connections", "100").unwrap();
        // A deadlock is no fault that is looked for here, and is to end soon.
        settings.set("deadlock_timeout", "100ms").unwrap();
        for setting in &options.servers {
            settings.parse(setting).unwrap();
        }
        let starting = LocalCluster::start(ClusterOptions {
            shards: options.shards,
            server: ServerOptions {
                settings,
                durable: false,
                template: Some(target_directory().join("postgresql")),
                ..ServerOptions::default()
            },
            ..ClusterOptions::default()
        });
        let local = runtime.block_on(starting).unwrap();
        let proxies: Vec<Proxy> = match options.proxied {
            true => local
                .shards()
                .iter()
                .map(|shard| Proxy::start(shard.primary.port()))
                .collect(),
            false => Vec::new(),
        };
        let address = |index: usize| Server {
            host: "127.0.0.1".to_owned(),
            port: proxies.get(index).map_or_else(
                || local.shards()[index].primary.port(),
                |proxy| proxy.port(),
            ),
            dbname: "postgres".to_owned(),
        };
        let home = Server {
            port: local.shards()[0].primary.port(),
            ..address(0)
        };
        let request = InitRequest {
            connector: Connector::new("postgres"),
            home: home.clone(),
            shards: (0..options.shards)
                .map(|index| ShardRequest {
                    name: local.shards()[index].name.clone(),
                    primary: address(index),
                    replicas: Vec::new(),
                })
                .collect(),
        };
        runtime.block_on(init(&request)).unwrap();
        let mut routers: Vec<FleetRouter> = (0..options.routers)
            .map(|index| FleetRouter::new(local.directory(), index, home.port, &options.settings))
            .collect();
        for router in &mut routers {
            router.start();
        }
        Fleet {
            routers,
            proxies,
            local,
            runtime,
        }
    }

    /// A session with a shard's server itself.
    pub fn server(&self, shard: usize) -> Client {
        let port = self.local.shards()[shard].primary.port();
        Client::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &[]).unwrap()
    }

    pub fn shards(&self) -> usize {
        self.local.shards().len()
    }

    /// Kills a server and all its processes.
    pub fn kill_server(&self, shard: usize) {
        let server = &self.local.shards()[shard].primary;
        self.runtime.block_on(server.kill()).unwrap();
    }

    pub fn start_server(&self, shard: usize) {
        let server: &LocalServer = &self.local.shards()[shard].primary;
        self.runtime.block_on(server.start()).unwrap();
    }

    /// Ends a server in good order and starts it again.
    pub fn restart_server(&self, shard: usize) {
        let server = &self.local.shards()[shard].primary;
        self.runtime.block_on(server.restart()).unwrap();
    }

    /// What is prepared on all servers together.
    pub fn prepared(&self) -> Vec<String> {
        let list = |shard| {
            ask(
                &mut self.server(shard),
                "SELECT gid FROM pg_prepared_xacts ORDER BY gid",
            )
        };
        (0..self.shards())
            .flat_map(list)
            .filter_map(|row| row.into_iter().next().flatten())
            .collect()
    }

    /// Nothing is prepared or in doubt, and no connection of a router's holds a transaction or an advisory lock.
    pub fn nothing_is_left(&self) {
        eventually("recovery to finish what is prepared", || {
            self.prepared().is_empty()
        });
        for router in self.routers.iter().filter(|router| router.is_running()) {
            assert_eq!(
                ask(&mut router.client(), "SHOW pgweave.in_doubt"),
                Vec::<Vec<Option<String>>>::new()
            );
        }
        for shard in 0..self.shards() {
            let mut server = self.server(shard);
            for left in [
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
                "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'",
            ] {
                eventually(left, || one(&mut server, left) == "0");
            }
        }
    }
}

impl Drop for Fleet {
    /// Nobody needs what is left, so nothing is ended in good order.
    fn drop(&mut self) {
        self.routers.clear();
        for shard in self.local.shards() {
            // Whatever stays is ended when the server is dropped.
            let _ = self.runtime.block_on(shard.primary.kill());
        }
    }
}

/// A router in a process of its own, running or not.
pub struct FleetRouter {
    child: Option<Child>,
    port: u16,
    config: PathBuf,
    failpoint: PathBuf,
}

impl FleetRouter {
    fn new(directory: &Path, index: usize, home: u16, settings: &str) -> FleetRouter {
        let config = directory.join(format!("router-{index}.toml"));
        let text = format!(
            "[[auth]]\nmethod = \"trust\"\n\n[catalog]\nhost = \"127.0.0.1\"\nport = {home}\ndbname = \"postgres\"\nuser = \"postgres\"\n\n\
             [listen]\nworkers = 2\n\n{settings}\n"
        );
        std::fs::write(&config, text).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        FleetRouter {
            child: None,
            port: listener.local_addr().unwrap().port(),
            failpoint: config.with_extension("failpoint"),
            config,
        }
    }

    /// Runs it, if it does not run, and waits until clients can connect.
    pub fn start(&mut self) {
        if self.is_running() {
            return;
        }
        let mut command = Command::new(binary().unwrap());
        command
            .arg("serve")
            .arg("--config")
            .arg(&self.config)
            .args(["--set", &format!("listen.port={}", self.port)])
            .env(failpoint::VARIABLE, &self.failpoint);
        let child = Child::spawn(command, &self.log()).unwrap();
        eventually("a router to start", || {
            assert!(child.is_running(), "{}", child.output());
            Client::connect(self.address(), &[]).is_ok()
        });
        self.child = Some(child);
    }

    pub fn is_running(&self) -> bool {
        self.child.as_ref().is_some_and(Child::is_running)
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address(), &[]).unwrap()
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        // Dropping it kills it and waits.
        self.child = None;
    }

    /// Lets it run on after a `freeze`.
    pub fn thaw(&self) {
        if let Some(child) = &self.child {
            child.signal(libc::SIGCONT);
        }
    }

    /// The next commit that reaches this point dies or stands still there: `kill` or `freeze`.
    pub fn arm(&self, point: &str, action: &str) {
        if !cfg!(debug_assertions) {
            panic!("a release build has no failpoints");
        }
        match std::fs::remove_file(self.hit()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
        // Written under another name: the router must not read half of it.
        let draft = self.failpoint.with_extension("draft");
        std::fs::write(&draft, format!("{point} {action}")).unwrap();
        std::fs::rename(&draft, &self.failpoint).unwrap();
    }

    pub fn disarm(&self) {
        // It may have been hit.
        let _ = std::fs::remove_file(&self.failpoint);
    }

    /// Whether a commit has come to the point that was asked for.
    pub fn was_hit(&self) -> bool {
        self.hit().exists()
    }

    /// Waits until a commit stands still at the point that was asked for.
    pub fn frozen(&self) {
        let child = self.child.as_ref().unwrap();
        let status = format!("/proc/{}/stat", child.pid());
        eventually("a router to stand still", || {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            let state = status
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next());
            self.was_hit() && state == Some('T')
        });
    }

    /// What it said in its last life.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.config.with_extension("log")
    }

    fn hit(&self) -> PathBuf {
        self.failpoint.with_extension("failpoint.hit")
    }
}

/// Waits until something is so. What is waited for shows in no way but by asking again.
#[track_caller]
pub fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
