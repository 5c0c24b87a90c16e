//! `pgweave demo`: a sharded cluster on this machine with a router in front.
//!
//! Entry point: [`run`], which goes servers → catalog → router → sample → guide, stays until a signal, and then ends all
//! in the opposite order. The directory keeps the servers' data and `pgweave.toml`, the router's settings, which
//! `pgweave serve` can be run with too.

mod guide;
mod sample;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use catalog::Server;
use clap::Args;
use miette::{IntoDiagnostic, WrapErr, miette};
use tokio::sync::{oneshot, watch};

use super::progress::Progress;
use super::signals::Signals;
use super::{explain, init, logging};
use crate::config::{Config, Sources};
use crate::local::{ClusterOptions, LocalCluster, LocalServer, ServerOptions, Settings};
use crate::serve::{self, Stop, control_connector};
use crate::store::{InitRequest, ShardRequest};

const DEFAULT_SHARDS: usize = 2;
const DEFAULT_REPLICAS: usize = 1;
const DATABASE: &str = "postgres";

#[derive(Debug, Args)]
pub struct DemoOptions {
    /// How many shards [default: 2, or as many as the directory holds]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub shards: Option<usize>,
    /// Streaming replicas of each shard [default: 1, or as many as the directory holds]
    #[arg(long, value_name = "R")]
    pub replicas: Option<usize>,
    /// The router's port; the servers use free ports after it
    #[arg(long, value_name = "P", default_value_t = 6432, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Where all files are; reused by the next start
    #[arg(long, default_value = "./.pgweave")]
    pub dir: PathBuf,
    /// Begin anew: removes what the directory holds
    #[arg(long)]
    pub fresh: bool,
    /// Do not load the sample
    #[arg(long)]
    pub empty: bool,
    /// A setting of the PostgreSQL servers, as in work_mem=64MB; repeat the option for more
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub settings: Vec<String>,
    /// The folder of PostgreSQL's programs [default: searched for]
    #[arg(long, value_name = "DIR", env = "PGWEAVE_PG_BIN")]
    pub pg_bin: Option<PathBuf>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a number, 1 or more".to_owned()),
        Ok(number) => Ok(number),
    }
}

/// Runs the demo until a signal ends it; also while it starts.
pub async fn run(options: DemoOptions) -> miette::Result<ExitCode> {
    let mut signals = Signals::install()?;
    let progress = Progress::new();
    let cluster = tokio::select! {
        cluster = start_servers(&options, &progress) => cluster?,
        () = signals.next() => return Ok(stopped(&progress)),
    };
    let served = serve(&options, &cluster, &progress, &mut signals).await;
    progress.begin("stopping the servers");
    let ended = cluster.stop().await;
    progress.end();
    served?;
    ended?;
    Ok(stopped(&progress))
}

fn stopped(progress: &Progress) -> ExitCode {
    progress.end();
    progress.line("stopped");
    ExitCode::SUCCESS
}

async fn start_servers(options: &DemoOptions, progress: &Progress) -> miette::Result<LocalCluster> {
    // Found out now rather than after the servers have started.
    TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).map_err(|error| {
        miette!(
            help = "stop what listens there, or choose another port with --port",
            "cannot listen on 127.0.0.1:{}: {error}",
            options.port
        )
    })?;
    let mut settings = Settings::default();
    for setting in &options.settings {
        settings.parse(setting)?;
    }
    let made = if options.fresh {
        None
    } else {
        LocalCluster::layout(&options.dir)
    };
    let report = progress.clone();
    progress.begin("starting PostgreSQL servers");
    let cluster = LocalCluster::start(ClusterOptions {
        shards: options
            .shards
            .or(made.map(|made| made.shards))
            .unwrap_or(DEFAULT_SHARDS),
        replicas: options
            .replicas
            .or(made.map(|made| made.replicas))
            .unwrap_or(DEFAULT_REPLICAS),
        dir: Some(options.dir.clone()),
        fresh: options.fresh,
        binaries: options.pg_bin.clone(),
        server: ServerOptions {
            settings,
            first_port: options.port.checked_add(1),
            ..ServerOptions::default()
        },
        progress: Some(Arc::new(move |text| report.line(text))),
    })
    .await?;
    progress.end();
    Ok(cluster)
}

/// From the catalog to the end of the router.
async fn serve(
    options: &DemoOptions,
    cluster: &LocalCluster,
    progress: &Progress,
    signals: &mut Signals,
) -> miette::Result<()> {
    let config = settings(options, cluster)?;
    progress.begin("creating the catalog");
    let request = InitRequest {
        connector: control_connector(&config).map_err(explain::serve)?,
        home: init::home(&config.catalog),
        shards: cluster.shards().iter().map(shard_request).collect(),
    };
    init::create(&request).await?;
    progress.end();

    let (stop, stopping) = watch::channel(Stop::No);
    let (ready, listening) = oneshot::channel();
    let announce = |address| {
        // Nobody hears it if a signal came first.
        let _ = ready.send(address);
    };
    let router = async {
        serve::run(config, announce, stopping)
            .await
            .map_err(explain::serve)
    };
    let work = async {
        let Ok(address) = listening.await else {
            // The router did not start; it says why itself.
            return std::future::pending().await;
        };
        let sample = sample(options, cluster, address, progress).await?;
        guide::print(cluster, address, sample);
        Ok::<_, miette::Report>(())
    };
    tokio::pin!(router, work);
    let loaded = tokio::select! {
        result = &mut router => return result,
        result = &mut work => result,
        () = signals.next() => {
            stop.send_replace(Stop::Now);
            return router.await;
        }
    };
    if loaded.is_err() {
        stop.send_replace(Stop::Now);
        router.await?;
        return loaded;
    }
    tokio::select! {
        result = &mut router => result,
        never = signals.drive(&stop) => match never {},
    }
}

/// Writes the router's settings into the directory, and reads them as `pgweave serve` would.
fn settings(options: &DemoOptions, cluster: &LocalCluster) -> miette::Result<Config> {
    let directory = cluster.directory();
    let path = directory.join("pgweave.toml");
    let catalog = cluster
        .shards()
        .first()
        .map_or(0, |shard| shard.primary.port());
    let text = format!(
        "# Written at each start of the demo.\n\
         [listen]\naddress = \"127.0.0.1\"\nport = {}\n\n\
         [catalog]\nhost = \"127.0.0.1\"\nport = {catalog}\ndbname = \"{DATABASE}\"\nuser = \"postgres\"\n\
         sslmode = \"disable\"\n\n\
         [servers]\nsslmode = \"disable\"\n\n\
         [[auth]]\naddress = [\"127.0.0.1\"]\nmethod = \"trust\"\n\n\
         [shutdown]\ndrain_timeout_ms = 5000\n",
        options.port
    );
    write(&path, &text)?;
    let config = Config::load(&Sources::new(Some(path), Vec::new()))?;
    let log = directory.join("router.log");
    let file = std::fs::File::create(&log)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", log.display()))?;
    logging::to_file(&config.log, file);
    Ok(config)
}

fn write(path: &Path, text: &str) -> miette::Result<()> {
    std::fs::write(path, text)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", path.display()))
}

fn shard_request(shard: &crate::local::LocalShard) -> ShardRequest {
    let server = |server: &LocalServer| Server {
        host: "127.0.0.1".into(),
        port: server.port(),
        dbname: DATABASE.into(),
    };
    ShardRequest {
        name: shard.name.clone(),
        primary: server(&shard.primary),
        replicas: shard.replicas.iter().map(server).collect(),
    }
}

/// Loads the sample into a new directory, and again into one where loading was interrupted; whether it is there then.
///
/// The file `sample` beside the servers says which it is: missing, `loading`, `loaded` or `none`.
async fn sample(
    options: &DemoOptions,
    cluster: &LocalCluster,
    address: SocketAddr,
    progress: &Progress,
) -> miette::Result<bool> {
    let mark = cluster.servers_directory().join("sample");
    let state = std::fs::read_to_string(&mark).unwrap_or_default();
    match state.trim() {
        "loaded" => return Ok(true),
        "none" => {
            if !options.empty {
                progress.line(
                    "this directory was made without the sample; --fresh makes it anew with it",
                );
            }
            return Ok(false);
        }
        _ if options.empty => return write(&mark, "none\n").map(|()| false),
        _ => {}
    }
    write(&mark, "loading\n")?;
    let last = cluster
        .shards()
        .last()
        .map_or("s1", |shard| shard.name.as_str());
    sample::load(address, last, state.trim() == "loading", progress)
        .await
        .wrap_err("cannot load the sample")?;
    write(&mark, "loaded\n")?;
    Ok(true)
}
