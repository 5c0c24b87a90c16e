//! One PostgreSQL server on this machine.
//!
//! Entry points: [`LocalServer::scratch`] for a test's own server, [`LocalServer::create`] and
//! [`LocalServer::create_replica`] in a given directory, then [`LocalServer::start`]. All of it works by shared
//! reference, so that one task can kill a server that another is using.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::data_directory::{BackupSource, ServerDirectory};
use super::port::HeldPort;
use super::process::{Process, tail};
use super::{Account, Binaries, Error, Scratch, ServerOptions, Settings, orphan};

/// A path of a Unix socket may not be longer, on Linux 108 bytes with the final zero, elsewhere less.
const SOCKET_PATH_LIMIT: usize = 100;

/// How a server is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Sessions end, everything is written.
    Fast,
    /// At once; the next start recovers from the log.
    Immediate,
}

/// One server: its files, its port, and its process while it runs.
#[derive(Debug)]
pub struct LocalServer {
    name: String,
    binaries: Binaries,
    directory: ServerDirectory,
    options: ServerOptions,
    port: Arc<AtomicU16>,
    held: Mutex<Option<HeldPort>>,
    process: Mutex<Option<Process>>,
    /// Starting and stopping exclude one another.
    lifecycle: tokio::sync::Mutex<()>,
    upstream: Option<Upstream>,
    /// Removed last.
    _scratch: Option<Scratch>,
}

/// What a replica streams from.
#[derive(Debug)]
struct Upstream {
    port: Arc<AtomicU16>,
    slot: String,
}

impl LocalServer {
    /// A running server in a temporary directory that goes with it.
    pub async fn scratch(options: ServerOptions) -> Result<LocalServer, Error> {
        let scratch = Scratch::create()?;
        let mut server = LocalServer::create(
            &Binaries::find(None)?,
            "server",
            &scratch.path().join("server"),
            options,
        )
        .await?;
        server._scratch = Some(scratch);
        server.start().await?;
        Ok(server)
    }

    /// A server in `directory`, not yet running. What is there already is kept; a server that still runs there is ended.
    pub async fn create(
        binaries: &Binaries,
        name: &str,
        directory: &Path,
        options: ServerOptions,
    ) -> Result<LocalServer, Error> {
        let server = LocalServer::new(binaries, name, directory, options, None).await?;
        if !server.directory.has_data() {
            let options = &server.options;
            server
                .directory
                .initialize(binaries, options.template.as_deref(), options.durable)
                .await?;
        }
        Ok(server)
    }

    /// A streaming replica of `primary`, not yet running. The primary must run unless the data is there already.
    pub async fn create_replica(
        primary: &LocalServer,
        name: &str,
        directory: &Path,
        options: ServerOptions,
    ) -> Result<LocalServer, Error> {
        let slot: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '_'
                }
            })
            .collect();
        let upstream = Upstream {
            port: primary.port.clone(),
            slot,
        };
        let replica =
            LocalServer::new(&primary.binaries, name, directory, options, Some(upstream)).await?;
        if let (false, Some(upstream)) = (replica.directory.has_data(), &replica.upstream) {
            let client = primary.connect("postgres").await?;
            // The slot may be there from an attempt that was interrupted.
            client
                .execute(
                    "SELECT pg_create_physical_replication_slot($1, true) \
                     WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)",
                    &[&upstream.slot],
                )
                .await
                .map_err(primary.database_error("create a replication slot"))?;
            let source = BackupSource {
                port: primary.port(),
                slot: &upstream.slot,
            };
            replica
                .directory
                .back_up(&primary.binaries, source, replica.options.durable)
                .await?;
        }
        Ok(replica)
    }

    async fn new(
        binaries: &Binaries,
        name: &str,
        directory: &Path,
        options: ServerOptions,
        upstream: Option<Upstream>,
    ) -> Result<LocalServer, Error> {
        let directory = ServerDirectory::create(directory, Account::for_servers()?)?;
        orphan::settle(directory.root()).await?;
        directory.remove_unfinished();
        let held = hold_port(directory.recorded_port(), options.first_port)?;
        Ok(LocalServer {
            name: name.to_owned(),
            binaries: binaries.clone(),
            directory,
            options,
            port: Arc::new(AtomicU16::new(held.port())),
            held: Mutex::new(Some(held)),
            process: Mutex::new(None),
            lifecycle: tokio::sync::Mutex::new(()),
            upstream,
            _scratch: None,
        })
    }

    /// Starts the server and waits until it accepts connections. Does nothing if it runs.
    ///
    /// If another process took the port, a server that has not run in this process yet gets another one.
    pub async fn start(&self) -> Result<(), Error> {
        const ATTEMPTS: usize = 20;
        let _lifecycle = self.lifecycle.lock().await;
        if self.is_running() {
            return Ok(());
        }
        let first_start = self.process().is_none();
        orphan::settle(self.directory.root()).await?;
        for _ in 0..ATTEMPTS {
            match self.start_once().await {
                Err(Error::Exited { tail, .. }) if port_was_taken(&tail) => {
                    if first_start {
                        let held = hold_port(None, self.options.first_port)?;
                        self.port.store(held.port(), Ordering::Release);
                        *self.held() = Some(held);
                    } else {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
                result => return result,
            }
        }
        Err(Error::NoFreePort { attempts: ATTEMPTS })
    }

    async fn start_once(&self) -> Result<(), Error> {
        self.write_configuration()?;
        let log = self.directory.new_log()?;
        let errors = log.try_clone().map_err(Error::io("share the log"))?;
        let mut command = self.directory.command(&self.binaries, "postgres")?;
        command.arg("-D").arg(self.directory.data());
        command.arg("-c").arg(format!(
            "config_file={}",
            self.directory.configuration().display()
        ));
        command.stdout(log).stderr(errors);
        if let Some(held) = self.held().as_mut() {
            held.give();
        }
        // A server whose files last should end well; another one should just end.
        let parting_signal = if self.options.durable {
            libc::SIGINT
        } else {
            libc::SIGQUIT
        };
        let process = Process::spawn(command, parting_signal).map_err(Error::io(format!(
            "run {} as the server's user",
            self.binaries.directory().join("postgres").display()
        )))?;
        *self.process() = Some(process.clone());
        self.directory.record_port(self.port())?;
        self.wait_until_ready(&process).await
    }

    async fn wait_until_ready(&self, process: &Process) -> Result<(), Error> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(2);
        loop {
            // The server writes its state for exactly this purpose; unlike an answer on the port it is certainly its own.
            if self.reports_ready(process.pid()) {
                return Ok(());
            }
            if let Some(status) = process.ended_within(pause).await {
                self.take_port_back();
                let log = self.directory.log();
                return Err(Error::Exited {
                    name: self.name.clone(),
                    status: status.to_string(),
                    tail: tail(&log),
                    log,
                });
            }
            let waited = started.elapsed();
            if waited > self.options.ready_within {
                process.kill_tree();
                process.ended().await;
                self.take_port_back();
                let log = self.directory.log();
                return Err(Error::NotReady {
                    name: self.name.clone(),
                    waited,
                    tail: tail(&log),
                    log,
                });
            }
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Stops the server and waits for its end; does nothing if it does not run.
    pub async fn stop(&self, how: Stop) -> Result<(), Error> {
        let _lifecycle = self.lifecycle.lock().await;
        let Some(process) = self.running_process() else {
            return Ok(());
        };
        let started = Instant::now();
        let steps: &[(libc::c_int, u64)] = match how {
            Stop::Fast => &[(libc::SIGINT, 60), (libc::SIGQUIT, 10)],
            Stop::Immediate => &[(libc::SIGQUIT, 10)],
        };
        for (signal, seconds) in steps {
            process.signal(*signal);
            if process
                .ended_within(Duration::from_secs(*seconds))
                .await
                .is_some()
            {
                self.take_port_back();
                return Ok(());
            }
        }
        self.kill_process(&process, started).await
    }

    /// Kills the server and all its backends at once, as a crash of its machine would, and waits until they are gone.
    pub async fn kill(&self) -> Result<(), Error> {
        let _lifecycle = self.lifecycle.lock().await;
        let Some(process) = self.running_process() else {
            return Ok(());
        };
        self.kill_process(&process, Instant::now()).await
    }

    async fn kill_process(&self, process: &Process, started: Instant) -> Result<(), Error> {
        process.kill_tree();
        let ended = process.ended_within(Duration::from_secs(10)).await;
        orphan::settle(self.directory.root()).await?;
        self.take_port_back();
        match ended {
            Some(_) => Ok(()),
            None => Err(Error::NotStopped {
                name: self.name.clone(),
                waited: started.elapsed(),
            }),
        }
    }

    /// Stops the server if it runs, and starts it again on the same port.
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop(Stop::Fast).await?;
        self.start().await
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn port(&self) -> u16 {
        self.port.load(Ordering::Acquire)
    }

    /// The process number of the postmaster while the server runs.
    pub fn pid(&self) -> Option<u32> {
        self.running_process().map(|process| process.pid())
    }

    pub fn is_running(&self) -> bool {
        self.running_process().is_some()
    }

    /// Waits until the server has ended, for whatever reason; at once if it does not run.
    pub async fn ended(&self) {
        if let Some(process) = self.running_process() {
            process.ended().await;
        }
    }

    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    pub fn data_directory(&self) -> PathBuf {
        self.directory.data()
    }

    pub fn log(&self) -> PathBuf {
        self.directory.log()
    }

    fn write_configuration(&self) -> Result<(), Error> {
        let mut settings = Settings::of_a_shard(self.options.durable);
        settings.decide("cluster_name", &self.name);
        settings.extend(&self.options.settings);
        settings.decide("listen_addresses", "127.0.0.1");
        settings.decide("port", self.port().to_string());
        let socket = self.directory.socket();
        let socket_fits =
            socket.as_os_str().len() + "/.s.PGSQL.65535.lock".len() <= SOCKET_PATH_LIMIT;
        let socket = socket
            .to_str()
            .filter(|path| socket_fits && !path.contains([',', '"']))
            .unwrap_or("");
        settings.decide("unix_socket_directories", socket);
        if let Some(rules) = &self.options.host_rules {
            let path = self.directory.host_rules();
            self.directory.write(&path, rules)?;
            settings.decide("hba_file", path.display().to_string());
        }
        if let Some(upstream) = &self.upstream {
            let port = upstream.port.load(Ordering::Acquire);
            settings.decide(
                "primary_conninfo",
                format!(
                    "host=127.0.0.1 port={port} user=postgres application_name={}",
                    upstream.slot
                ),
            );
            settings.decide("primary_slot_name", &upstream.slot);
        }
        let text = format!(
            "# Written at each start; change `data/postgresql.conf` or use ALTER SYSTEM instead.\n\
             include 'data/postgresql.conf'\n{}",
            settings.to_lines()
        );
        self.directory.write(&self.directory.configuration(), &text)
    }

    /// Whether `postmaster.pid` is this process's and says that connections are accepted.
    fn reports_ready(&self, pid: u32) -> bool {
        let Ok(text) = std::fs::read_to_string(self.directory.data().join("postmaster.pid")) else {
            return false;
        };
        let mut lines = text.lines();
        lines
            .next()
            .is_some_and(|line| line.trim() == pid.to_string())
            && lines.nth(6).is_some_and(|line| line.trim() == "ready")
    }

    fn take_port_back(&self) {
        if let Some(held) = self.held().as_mut() {
            held.take_back();
        }
    }

    fn running_process(&self) -> Option<Process> {
        self.process()
            .clone()
            .filter(|process| process.status().is_none())
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, Option<HeldPort>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LocalServer {
    /// Ends what still runs, and waits for it: briefly, since nobody needs what is left.
    fn drop(&mut self) {
        if let Some(process) = self.running_process() {
            process.signal(libc::SIGQUIT);
            if process
                .ended_within_blocking(Duration::from_secs(10))
                .is_none()
            {
                process.kill_tree();
                process.ended_within_blocking(Duration::from_secs(10));
            }
        }
        if self.process().is_some() {
            orphan::remove_leftovers(&self.directory.data());
        }
    }
}

fn hold_port(recorded: Option<u16>, first: Option<u16>) -> Result<HeldPort, Error> {
    if let Some(held) = recorded.and_then(|port| HeldPort::exactly(port).ok()) {
        return Ok(held);
    }
    match first {
        Some(first) => HeldPort::from(first),
        None => HeldPort::any(),
    }
}

fn port_was_taken(log: &str) -> bool {
    log.contains("could not create any TCP/IP sockets")
}
