//! One router's life: from its configuration to its end.
//!
//! Entry point: [`run`]. It connects to the catalog's home, starts the workers and the background tasks, takes clients until
//! it is told to stop, lets open transactions end, and returns.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use catalog::Server;
use planner::PlanCache;
use quick_cache::sync::Cache;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::accept::Workers;
use crate::auth::{AuthSettings, Secrets};
use crate::cancel::Sessions;
use crate::config::{Config, SslMode, TlsMode};
use crate::estimates::Estimates;
use crate::health::Health;
use crate::pool::{PoolSettings, Pools};
use crate::router::Router;
use crate::session::budget::Budget;
use crate::session::prepared::StatementRegistry;
use crate::session::shapes::TableShapes;
use crate::store::{self, Connector, Store};
use crate::tls::{ClientFacing, ServerTls, TlsError};
use crate::wire::frame::Limits;
use crate::wire::startup::StartupSettings;
use crate::worker::{WorkerId, WorkerLocal};

/// Templates of new sessions that are remembered.
const TEMPLATES: usize = 1000;
/// Tables whose columns are remembered for queries over several shards.
const SHAPES: usize = 1000;
/// How often shards' sequences are looked at, so that the next block is leased before one runs out.
const SEQUENCES_INTERVAL: Duration = Duration::from_secs(2);
/// How often the end of the last session is looked for during a drain.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// Why a router does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {address}: {error}")]
    Listen {
        address: SocketAddr,
        error: std::io::Error,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("cannot start a worker thread: {0}")]
    Worker(std::io::Error),
    #[error("cannot read {path}: {error}")]
    File { path: String, error: std::io::Error },
}

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    No,
    /// Refuse new clients, let open transactions end.
    Drain,
    /// End everything.
    Now,
}

/// Runs a router until `stop` says otherwise. `ready` is called once clients can connect.
pub async fn run(
    config: Config,
    ready: impl FnOnce(SocketAddr),
    mut stop: watch::Receiver<Stop>,
) -> Result<(), ServeError> {
    let home = &config.catalog;
    let server = Server {
        host: home.host.clone(),
        port: home.port,
        dbname: home.dbname.clone(),
    };
    let address = SocketAddr::new(config.listen.address, config.listen.port);
    let listener = listen(address, config.listen.backlog)
        .map_err(|error| ServeError::Listen { address, error })?;
    let local_address = listener
        .local_addr()
        .map_err(|error| ServeError::Listen { address, error })?;
    let connector = control_connector(&config)?;
    let mut settings = store::Settings::new(server, connector.clone());
    settings.router_address = local_address.to_string();
    let store = Store::connect(settings).await?;
    let following = store.watch();
    let leasing = store.keep_sequences(SEQUENCES_INTERVAL);

    let locals: Vec<Arc<WorkerLocal>> = (0..config.listen.worker_count())
        .map(|index| Arc::new(WorkerLocal::new(WorkerId(index))))
        .collect();
    let drain_timeout = config.shutdown.drain_timeout;
    let router = Arc::new(assemble(config, store.clone(), &connector, &locals)?);
    let watching = tokio::spawn(
        router
            .health
            .clone()
            .watch(store.handle().clone(), connector),
    );
    let recovering = tokio::spawn(crate::drive::recovery::watch(router.clone()));
    let collecting = tokio::spawn(crate::drive::collection::watch(store.clone()));
    let untangling = tokio::spawn(crate::drive::deadlock::watch(router.clone()));
    let mut sagas = vec![tokio::spawn(crate::drive::saga::forget(store.clone()))];
    for _ in 0..crate::drive::saga::AT_ONCE {
        sagas.push(tokio::spawn(crate::drive::saga::watch(router.clone())));
    }
    let estimating = tokio::spawn(crate::estimates::watch(router.clone()));
    let warming = tokio::spawn(crate::warm::keep(router.clone()));
    let workers = Workers::start(&router, locals).map_err(ServeError::Worker)?;
    ready(local_address);

    tokio::select! {
        () = workers.accept(listener) => {}
        _ = stop.wait_for(|stop| *stop >= Stop::Drain) => {}
    }
    drain(&router, &mut stop, drain_timeout).await;
    watching.abort();
    recovering.abort();
    collecting.abort();
    untangling.abort();
    for saga in &sagas {
        saga.abort();
    }
    warming.abort();
    estimating.abort();
    drop((following, leasing));
    if let Err(error) = store.farewell().await {
        tracing::debug!(%error, "the catalog could not be told of this router's end");
    }
    workers.stop();
    Ok(())
}

fn listen(address: SocketAddr, backlog: u32) -> std::io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// How the router itself connects to servers, for everything but clients' statements.
pub fn control_connector(config: &Config) -> Result<Connector, ServeError> {
    let home = &config.catalog;
    let mut connector = Connector::new(home.user.clone());
    connector.password = home.password.clone();
    connector.tls = match home.tls.mode {
        SslMode::Disable => store::Tls::Disable,
        SslMode::Prefer => store::Tls::Prefer(crate::tls::client_config(&home.tls)?),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
            store::Tls::Require(crate::tls::client_config(&home.tls)?)
        }
    };
    connector.connect_timeout = config.pool.connect_timeout;
    Ok(connector)
}

fn assemble(
    config: Config,
    store: Arc<Store>,
    connector: &Connector,
    locals: &[Arc<WorkerLocal>],
) -> Result<Router, ServeError> {
    let catalog = store.handle().clone();
    let cluster = catalog.snapshot().cluster_id();
    let startup = StartupSettings {
        tls: client_facing(&config)?,
        require_tls: config.tls.mode == TlsMode::Require,
    };
    let pools = Pools::new(
        PoolSettings {
            max_size: config.pool.max_size,
            min_size: config.pool.min_size,
            wait_timeout: config.pool.wait_timeout,
            connect_timeout: config.pool.connect_timeout,
            idle_timeout: config.pool.idle_timeout,
            lifetime: config.pool.lifetime,
            max_prepared_statements: config.pool.max_prepared_statements,
        },
        ServerTls::load(&config.servers.tls)?,
        locals.len(),
    );
    let auth = AuthSettings {
        rules: config.auth.clone(),
        secrets: secrets(&config, &catalog.snapshot(), connector)?,
    };
    Ok(Router::new(crate::router::Parts {
        database: config.database.clone(),
        plans: PlanCache::new(config.planner.plan_cache_entries),
        statements: StatementRegistry::new(config.planner.plan_cache_entries),
        sessions: Sessions::default(),
        templates: Cache::new(TEMPLATES),
        shapes: TableShapes::new(SHAPES),
        estimates: Estimates::default(),
        health: Arc::new(Health::new(config.replicas.clone())),
        budget: Budget::new(config.listen.max_buffered_bytes),
        client_limits: Limits::client(config.listen.max_message_bytes),
        server_limits: Limits::server(),
        gids: txn::GidSequence::new(
            cluster,
            txn::RouterId(rand::random()),
            txn::ProofKey(rand::random()),
        ),
        connector: connector.clone(),
        pools: Arc::new(pools),
        config,
        catalog,
        store,
        auth,
        startup,
    }))
}

fn client_facing(config: &Config) -> Result<Option<ClientFacing>, ServeError> {
    match (&config.tls.cert, &config.tls.key) {
        (Some(cert), Some(key)) if config.tls.mode != TlsMode::Disable => Ok(Some(
            ClientFacing::load(cert, key, config.tls.client_ca.as_deref())?,
        )),
        _ => Ok(None),
    }
}

fn secrets(
    config: &Config,
    catalog: &catalog::Catalog,
    connector: &Connector,
) -> Result<Secrets, ServeError> {
    let lookup = config.auth_query.as_ref().map(|query| {
        let home = &config.catalog;
        let server = query
            .shard
            .as_deref()
            .and_then(|name| catalog.shard_by_name(name))
            .map_or_else(
                || Server {
                    host: home.host.clone(),
                    port: home.port,
                    dbname: home.dbname.clone(),
                },
                |shard| shard.primary.clone(),
            );
        let mut connector = connector.clone();
        if let Some(user) = &query.user {
            connector.user.clone_from(user);
            connector.password = config.servers.password.clone();
        }
        crate::auth::Lookup {
            query: query.clone(),
            server,
            connector,
        }
    });
    let certificate = match (&config.tls.cert, config.tls.mode) {
        (Some(path), TlsMode::Allow | TlsMode::Require) => {
            Some(std::fs::read(path).map_err(|error| ServeError::File {
                path: path.display().to_string(),
                error,
            })?)
        }
        _ => None,
    };
    Ok(Secrets::new(&config.users, lookup, certificate))
}

/// Lets sessions end by themselves, for as long as the operator allows.
async fn drain(router: &Router, stop: &mut watch::Receiver<Stop>, patience: Duration) {
    tracing::info!(
        sessions = router.sessions.len(),
        "shutting down: open transactions may end"
    );
    router.drain();
    let empty = async {
        let mut tick = tokio::time::interval(DRAIN_POLL);
        while !router.sessions.is_empty() {
            tick.tick().await;
        }
    };
    tokio::select! {
        () = empty => {}
        () = tokio::time::sleep(patience) => {
            tracing::warn!(sessions = router.sessions.len(), "the drain took too long; sessions are cut off");
        }
        _ = stop.wait_for(|stop| *stop == Stop::Now) => {}
    }
    router.close_all();
}
