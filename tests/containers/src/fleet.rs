//! Two routers and their servers, each in a container. Every router has a network of its own, on which all servers are, so that one router
//! can lose a server that the other still reaches.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use testcontainers::core::{IntoContainerPort, Mount};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use crate::docker::{docker, eventually, try_docker};

const SERVERS: usize = 4;
const ROUTERS: usize = 2;

pub struct Fleet {
    pub servers: Vec<Server>,
    pub routers: Vec<Router>,
    pub runtime: Runtime,
    networks: Vec<String>,
    directory: PathBuf,
}

pub struct Server {
    /// By which the routers know it.
    pub name: String,
    /// Removed when it is dropped.
    _container: ContainerAsync<GenericImage>,
}

pub struct Router {
    pub name: String,
    pub port: u16,
    network: String,
    directory: PathBuf,
    /// Removed when it is dropped.
    _container: ContainerAsync<GenericImage>,
}

impl Fleet {
    pub fn start() -> Fleet {
        let image = |variable: &str| {
            std::env::var(variable).unwrap_or_else(|_| {
                panic!("{variable} must name an image; ./dev containers builds it and sets the variable")
            })
        };
        let (postgres, router) = (image("POSTGRES_IMAGE"), image("PGWEAVE_IMAGE"));
        if let Err(error) = try_docker(&["info"]) {
            panic!("Docker does not answer: {error}; ./dev containers starts it");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let prefix = format!("pgweave-{}", std::process::id());
        let directory = std::env::temp_dir().join(&prefix);
        let networks: Vec<String> = (0..ROUTERS)
            .map(|index| format!("{prefix}-net{index}"))
            .collect();
        for network in &networks {
            docker(&["network", "create", network]);
        }
        let servers: Vec<Server> = (1..=SERVERS)
            .map(|number| {
                let name = format!("{prefix}-s{number}");
                let container = start_server(&runtime, &postgres, &name, &networks[0]);
                for network in &networks[1..] {
                    docker(&["network", "connect", network, &name]);
                }
                Server {
                    name,
                    _container: container,
                }
            })
            .collect();
        for server in &servers {
            server.is_ready();
        }
        let routers: Vec<Router> = networks
            .iter()
            .enumerate()
            .map(|(index, network)| {
                let name = format!("{prefix}-r{index}");
                let directory = directory.join(&name);
                write_config(&directory, &servers[0].name);
                if index == 0 {
                    init(&router, network, &directory, &servers);
                }
                start_router(&runtime, &router, name, network, directory)
            })
            .collect();
        let fleet = Fleet {
            servers,
            routers,
            runtime,
            networks,
            directory,
        };
        for router in &fleet.routers {
            fleet.is_ready(router);
        }
        fleet
    }

    /// A session through a router; `None` if it does not answer.
    pub fn connect(&self, router: &Router) -> Option<Client> {
        self.runtime.block_on(connect(router.port))
    }

    pub fn is_ready(&self, router: &Router) {
        eventually("a router to start", || self.connect(router).is_some());
    }

    /// What is prepared on all servers together.
    pub fn prepared(&self) -> Vec<String> {
        let list = |server: &Server| server.ask("SELECT gid FROM pg_prepared_xacts");
        self.servers.iter().flat_map(list).collect()
    }

    /// Nothing is prepared, and no transaction or advisory lock is held.
    pub fn nothing_is_left(&self) {
        eventually("recovery to finish what is prepared", || {
            self.prepared().is_empty()
        });
        for server in &self.servers {
            for left in [
                "SELECT pid FROM pg_locks WHERE locktype = 'advisory'",
                "SELECT pid FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'",
            ] {
                eventually(left, || server.ask(left).is_empty());
            }
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Containers are removed by force, since a network with one in it stays; what is left is no failure of the test.
        let names = self.servers.iter().map(|server| &server.name);
        for name in names.chain(self.routers.iter().map(|router| &router.name)) {
            let _ = try_docker(&["rm", "--force", "--volumes", name]);
        }
        // What testcontainers does when they are dropped needs the runtime.
        let entered = self.runtime.enter();
        self.servers.clear();
        self.routers.clear();
        drop(entered);
        for network in &self.networks {
            let _ = try_docker(&["network", "rm", network]);
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Server {
    /// The first column of a query on the server itself.
    pub fn ask(&self, sql: &str) -> Vec<String> {
        let psql = [
            "exec",
            &self.name,
            "psql",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-Atqc",
            sql,
        ];
        docker(&psql).lines().map(str::to_owned).collect()
    }

    pub fn is_ready(&self) {
        let psql = [
            "exec",
            &self.name,
            "psql",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-Atqc",
            "SELECT 1",
        ];
        eventually("a server to start", || try_docker(&psql).is_ok());
    }

    pub fn kill(&self) {
        docker(&["kill", &self.name]);
    }

    pub fn start(&self) {
        docker(&["start", &self.name]);
        self.is_ready();
    }

    /// It stands still, and its connections with it, which nobody is told.
    pub fn pause(&self) {
        docker(&["pause", &self.name]);
    }

    pub fn resume(&self) {
        docker(&["unpause", &self.name]);
    }
}

impl Router {
    /// This router and this server do not reach each other any more, and learn nothing of that.
    pub fn cut_off(&self, server: &Server) {
        docker(&["network", "disconnect", &self.network, &server.name]);
    }

    pub fn join(&self, server: &Server) {
        docker(&["network", "connect", &self.network, &server.name]);
    }

    pub fn kill(&self) {
        docker(&["kill", &self.name]);
    }

    pub fn start(&self) {
        docker(&["start", &self.name]);
    }

    /// The next commit that comes to this point stands still there, and the router with it.
    pub fn freeze_at(&self, point: &str) {
        let _ = std::fs::remove_file(self.directory.join("failpoint.hit"));
        let draft = self.directory.join("draft");
        std::fs::write(&draft, format!("{point} freeze")).unwrap();
        std::fs::rename(&draft, self.directory.join("failpoint")).unwrap();
    }

    pub fn frozen(&self) {
        let hit = self.directory.join("failpoint.hit");
        eventually("a router to stand still", || hit.exists());
    }

    pub fn thaw(&self) {
        docker(&["exec", &self.name, "sh", "-c", "kill -CONT -1"]);
    }

    pub fn output(&self) -> String {
        docker(&["logs", "--tail", "100", &self.name])
    }
}

pub async fn connect(port: u16) -> Option<Client> {
    let dsn = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout=5");
    let (client, connection) = tokio_postgres::connect(&dsn, NoTls).await.ok()?;
    tokio::spawn(connection);
    Some(client)
}

fn named(image: &str) -> GenericImage {
    let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    GenericImage::new(name, tag)
}

fn start_server(
    runtime: &Runtime,
    image: &str,
    name: &str,
    network: &str,
) -> ContainerAsync<GenericImage> {
    let arguments = [
        "postgres",
        "-c",
        "max_prepared_transactions=100",
        "-c",
        "wal_level=logical",
        "-c",
        "deadlock_timeout=100ms",
    ];
    let request = named(image)
        .with_env_var("POSTGRES_HOST_AUTH_METHOD", "trust")
        .with_container_name(name)
        .with_network(network)
        .with_cmd(arguments);
    runtime.block_on(request.start()).unwrap()
}

fn start_router(
    runtime: &Runtime,
    image: &str,
    name: String,
    network: &str,
    directory: PathBuf,
) -> Router {
    let port = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    // Not the container's first process, which a signal of its own would not stop.
    let command = "pgweave serve --config /etc/pgweave/pgweave.toml; exit $?";
    let request = named(image)
        .with_env_var("PGWEAVE_FAILPOINT_FILE", "/etc/pgweave/failpoint")
        .with_container_name(&name)
        .with_network(network)
        .with_mapped_port(port, 6432.tcp())
        .with_mount(Mount::bind_mount(
            directory.to_str().unwrap(),
            "/etc/pgweave",
        ))
        .with_cmd(["sh", "-c", command]);
    let container = runtime.block_on(request.start()).unwrap();
    Router {
        name,
        port,
        network: network.to_owned(),
        directory,
        _container: container,
    }
}

fn write_config(directory: &Path, home: &str) {
    std::fs::create_dir_all(directory).unwrap();
    let text = format!(
        "[[auth]]\nmethod = \"trust\"\n\n[catalog]\nhost = \"{home}\"\n\n[listen]\naddress = \"0.0.0.0\"\nworkers = 2\n\n\
         [transactions]\nrecovery_interval_ms = 1000\n"
    );
    std::fs::write(directory.join("pgweave.toml"), text).unwrap();
}

/// Registers the servers, as an operator does.
fn init(image: &str, network: &str, directory: &Path, servers: &[Server]) {
    let mount = format!("{}:/etc/pgweave", directory.display());
    let mut arguments = vec![
        "run",
        "--rm",
        "--network",
        network,
        "--volume",
        &mount,
        image,
        "pgweave",
        "init",
        "--config",
        "/etc/pgweave/pgweave.toml",
    ];
    let shards: Vec<String> = servers
        .iter()
        .enumerate()
        .map(|(index, server)| format!("s{}={}:5432/postgres", index + 1, server.name))
        .collect();
    for shard in &shards {
        arguments.extend(["--shard", shard]);
    }
    docker(&arguments);
}
