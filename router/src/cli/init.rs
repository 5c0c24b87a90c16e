//! `pgweave init` and `pgweave check`.

use std::process::ExitCode;

use catalog::Server;
use clap::Args;
use miette::{WrapErr, miette};

use super::{ConfigOptions, ShardArgument, explain};
use crate::config::{CatalogHome, Config};
use crate::serve::control_connector;
use crate::store::{self, Error, Finding, InitRequest, Severity, ShardRequest, Store};

#[derive(Debug, Args)]
pub struct InitOptions {
    #[command(flatten)]
    pub config: ConfigOptions,
    /// A shard's primary and its replicas; repeat the option for each shard
    #[arg(
        long = "shard",
        value_name = "NAME=HOST:PORT/DATABASE[,replica=HOST:PORT]…"
    )]
    pub shards: Vec<ShardArgument>,
}

/// Checks the servers, then creates the catalog and registers the shards. Nothing is changed if a server is unfit.
pub async fn init(options: InitOptions) -> miette::Result<ExitCode> {
    let config = options.config.load()?;
    let request = named(&options, &config)?;
    let registered = registered(&config).await?;
    if request.shards.is_empty() && registered.as_deref().is_none_or(<[_]>::is_empty) {
        return Err(miette!(
            help = "add --shard NAME=HOST:PORT/DATABASE for each shard, as in --shard s1=10.0.0.1:5432/app",
            "no shard is registered, and none is named"
        ));
    }
    if report(&store::check(&with(&request, &registered)).await) {
        return Err(miette!(
            help = "do what the remedies say, then run this again",
            "nothing was changed"
        ));
    }
    for action in create(&request).await? {
        println!("{action}");
    }
    println!("The cluster is ready; `pgweave serve` runs a router over it.");
    Ok(ExitCode::SUCCESS)
}

/// Checks all registered servers and those that are named.
pub async fn check(options: InitOptions) -> miette::Result<ExitCode> {
    let config = options.config.load()?;
    let request = named(&options, &config)?;
    let registered = registered(&config).await?;
    if registered.is_none() {
        println!(
            "There is no catalog on {} yet: `pgweave init` makes it.",
            request.home
        );
    }
    let request = with(&request, &registered);
    if report(&store::check(&request).await) {
        return Ok(ExitCode::FAILURE);
    }
    let servers: usize = request
        .shards
        .iter()
        .map(|shard| 1 + shard.replicas.len())
        .sum();
    println!(
        "{} shards on {servers} servers checked.",
        request.shards.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// Creates the catalog and registers the shards; returns a line for each thing done.
pub async fn create(request: &InitRequest) -> miette::Result<Vec<String>> {
    let done = store::init(request)
        .await
        .map_err(explain::store)
        .wrap_err("cannot initialize the cluster")?;
    Ok(done.actions)
}

/// The database that holds the catalog.
pub fn home(catalog: &CatalogHome) -> Server {
    Server {
        host: catalog.host.clone(),
        port: catalog.port,
        dbname: catalog.dbname.clone(),
    }
}

/// The home and the shards that the command line names.
fn named(options: &InitOptions, config: &Config) -> miette::Result<InitRequest> {
    let shards = options
        .shards
        .iter()
        .map(|shard| shard.request(&config.catalog.dbname))
        .collect();
    Ok(InitRequest {
        connector: control_connector(config).map_err(explain::serve)?,
        home: home(&config.catalog),
        shards,
    })
}

/// The shards that the catalog knows; `None` if there is no catalog yet.
async fn registered(config: &Config) -> miette::Result<Option<Vec<ShardRequest>>> {
    let connector = control_connector(config).map_err(explain::serve)?;
    let settings = store::Settings::new(home(&config.catalog), connector);
    let store = match Store::connect(settings).await {
        Ok(store) => store,
        Err(Error::NotInitialized { .. }) => return Ok(None),
        Err(error) => return Err(explain::store(error)),
    };
    let catalog = store.snapshot();
    let shards = catalog.shards().iter().map(|shard| ShardRequest {
        name: shard.name.clone(),
        primary: shard.primary.clone(),
        replicas: shard.replicas.clone(),
    });
    Ok(Some(shards.collect()))
}

/// The named shards and the registered ones that are not named.
fn with(request: &InitRequest, registered: &Option<Vec<ShardRequest>>) -> InitRequest {
    let mut all = request.clone();
    for shard in registered.iter().flatten() {
        if !all.shards.iter().any(|named| named.name == shard.name) {
            all.shards.push(shard.clone());
        }
    }
    all
}

/// Prints what was found; whether any of it is an error.
fn report(findings: &[Finding]) -> bool {
    for finding in findings {
        println!("{finding}");
    }
    findings
        .iter()
        .any(|finding| finding.severity == Severity::Error)
}
