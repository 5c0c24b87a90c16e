//! What is measured: the server itself and the proxies in front of it.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ::tests::bench::{machine, usage};
use ::tests::endpoint::Endpoint;
use ::tests::process::{Child, Failure};
use ::tests::router_process::{RouterProcess, ShardServers};
use router::local::{Account, Scratch};

use crate::database::{Database, SHARDS, script};
use crate::options::{Options, Proxy};
use crate::workload::Workload;

/// One way to the data.
pub struct Subject {
    pub name: &'static str,
    /// Program and version, for people.
    pub about: String,
    pub endpoint: Endpoint,
    /// Where prepared statements work, if that is elsewhere.
    prepared: Option<Endpoint>,
    process: Running,
    /// Removed after the processes have ended.
    scratch: Option<Scratch>,
}

enum Running {
    /// The server itself.
    Direct,
    Pgbouncer(Child),
    Pgweave(RouterProcess),
}

/// One run of a workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub per_second: f64,
    pub latency_ms: f64,
    /// The proxy's processor time; `None` without a proxy.
    pub cpu_us_per_transaction: Option<f64>,
}

impl Subject {
    /// Direct access, and the proxies that were asked for.
    pub async fn start_all(
        options: &Options,
        database: &Database,
    ) -> Result<Vec<Subject>, Failure> {
        let mut subjects = vec![Subject {
            name: "direct",
            about: machine::version(&database.server().binaries().directory().join("postgres")),
            endpoint: database.endpoint("plain"),
            prepared: None,
            process: Running::Direct,
            scratch: None,
        }];
        if options.proxy.contains(&Proxy::Pgbouncer) {
            subjects.push(start_pgbouncer(options, database).await?);
        }
        if options.proxy.contains(&Proxy::Pgweave) {
            let pgweave = start_pgweave(options, database).await?;
            create_tables(&pgweave.endpoint).await?;
            database.load_shards().await?;
            subjects.push(pgweave);
        }
        Ok(subjects)
    }

    pub fn is_proxy(&self) -> bool {
        self.pid().is_some()
    }

    /// The proxy's process.
    pub fn pid(&self) -> Option<u32> {
        match &self.process {
            Running::Direct => None,
            Running::Pgbouncer(child) => Some(child.pid()),
            Running::Pgweave(router) => Some(router.child().pid()),
        }
    }

    /// Opens the connections that the measurement will use, and fills caches.
    pub async fn warm_up(&self, workload: &Workload, options: &Options) -> Result<(), Failure> {
        let endpoint = self.endpoint_for(workload);
        workload.run(endpoint, options.scale, 1).outcome().await?;
        Ok(())
    }

    fn endpoint_for(&self, workload: &Workload) -> &Endpoint {
        match &self.prepared {
            Some(endpoint) if workload.protocol == "prepared" => endpoint,
            _ => &self.endpoint,
        }
    }

    pub async fn measure(&self, workload: &Workload, options: &Options) -> Result<Sample, Failure> {
        let cpu = || match self.pid() {
            Some(pid) => usage::cpu_us(pid)
                .map(Some)
                .map_err(|error| Failure(format!("cannot measure {}: {error}", self.name))),
            None => Ok(None),
        };
        let before = cpu()?;
        let endpoint = self.endpoint_for(workload);
        let run = workload.run(endpoint, options.scale, options.seconds);
        let outcome = run.outcome().await?;
        let after = cpu()?;
        let used = after.zip(before).map(|(after, before)| after - before);
        Ok(Sample {
            per_second: outcome.per_second,
            latency_ms: outcome.latency_ms,
            cpu_us_per_transaction: used.map(|us| us as f64 / outcome.transactions.max(1) as f64),
        })
    }

    /// Ends the proxy and starts it anew, so that nothing of earlier work is in its memory.
    pub async fn restart(&mut self, options: &Options, database: &Database) -> Result<(), Failure> {
        match std::mem::replace(&mut self.process, Running::Direct) {
            Running::Direct => return Ok(()),
            Running::Pgbouncer(child) => {
                child.stop().await;
                *self = start_pgbouncer(options, database).await?;
            }
            Running::Pgweave(router) => {
                router.stop().await;
                *self = start_pgweave(options, database).await?;
            }
        }
        Ok(())
    }

    pub async fn stop(self) {
        match self.process {
            Running::Direct => {}
            Running::Pgbouncer(child) => child.stop().await,
            Running::Pgweave(router) => router.stop().await,
        }
        drop(self.scratch);
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8.0} a second  {:>7.3} ms",
            self.per_second, self.latency_ms
        )?;
        match self.cpu_us_per_transaction {
            Some(us) => write!(f, "  {us:>6.1} µs of the proxy's processor each"),
            None => Ok(()),
        }
    }
}

async fn start_pgbouncer(options: &Options, database: &Database) -> Result<Subject, Failure> {
    let scratch = Scratch::create()?;
    let failed = |error: std::io::Error| Failure(format!("cannot configure pgbouncer: {error}"));
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    drop(listener);
    let path = |name: &str| -> PathBuf { scratch.path().join(name) };
    let server_port = database.server().port();
    let mut about = machine::version(&options.pgbouncer);
    let keeps_statements = keeps_prepared_statements(&about);
    let statements = match keeps_statements {
        true => "max_prepared_statements = 200\n",
        false => "",
    };
    let text = format!(
        "[databases]\nplain = host=127.0.0.1 port={server_port} dbname=plain\n\
         session = host=127.0.0.1 port={server_port} dbname=plain pool_mode=session pool_size=100\n\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = trust\nauth_file = {users}\npool_mode = transaction\n\
         default_pool_size = {pool}\nmax_client_conn = 5000\nlisten_backlog = 4096\n\
         {statements}log_connections = 0\nlog_disconnections = 0\nlog_stats = 0\n",
        users = path("users.txt").display(),
        pool = options.pool,
    );
    std::fs::write(path("pgbouncer.ini"), text).map_err(failed)?;
    std::fs::write(path("users.txt"), "\"postgres\" \"\"\n").map_err(failed)?;
    let mut command = Command::new(&options.pgbouncer);
    command.arg(path("pgbouncer.ini"));
    // It refuses to run as root.
    if let Some(account) = Account::for_servers()? {
        account.run_as(&mut command);
    }
    let child = Child::spawn(command, &path("pgbouncer.log"))?;
    let endpoint = Endpoint::local(port, "plain");
    child
        .wait_for(Duration::from_secs(10), async || endpoint.client().ok())
        .await?;
    if !keeps_statements {
        about.push_str("; prepared statements in session mode, since this version loses them in transaction mode");
    }
    Ok(Subject {
        name: "pgbouncer",
        about,
        prepared: (!keeps_statements).then(|| Endpoint::local(port, "session")),
        endpoint,
        process: Running::Pgbouncer(child),
        scratch: Some(scratch),
    })
}

/// Since 1.21 a prepared statement survives a change of server connection.
fn keeps_prepared_statements(version: &str) -> bool {
    let numbers = version.strip_prefix("PgBouncer ").unwrap_or("");
    let mut numbers = numbers.split('.').map(|number| number.parse::<u32>().ok());
    numbers.next().flatten() > Some(1) || numbers.next().flatten() >= Some(21)
}

async fn start_pgweave(options: &Options, database: &Database) -> Result<Subject, Failure> {
    let scratch = Scratch::create()?;
    let shards = SHARDS.map(|name| ShardServers {
        name: name.to_owned(),
        primary: database.endpoint(name),
        replicas: Vec::new(),
    });
    let settings = format!("[pool]\nmax_size = {}\n", options.pool);
    let router = RouterProcess::start(&shards, &settings, scratch.path()).await?;
    Ok(Subject {
        name: "pgweave",
        about: format!("pgweave {}", env!("CARGO_PKG_VERSION")),
        endpoint: router.endpoint().clone(),
        prepared: None,
        process: Running::Pgweave(router),
        scratch: Some(scratch),
    })
}

/// Creates the tables through the router and has it shard those that are to be.
async fn create_tables(endpoint: &Endpoint) -> Result<(), Failure> {
    let mut client = endpoint.client()?;
    for name in ["schema.sql", "shard.sql"] {
        for statement in script(name)?.split_inclusive(";\n") {
            let answer = client.query(statement)?;
            if let Some(error) = answer.iter().find(|message| message.tag == b'E') {
                return Err(Failure(format!("{}: {error:?}", statement.trim())));
            }
        }
    }
    Ok(())
}
