//! `pgweave txn`: transactions over several shards that are not finished.

use std::process::ExitCode;

use catalog::Catalog;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use miette::miette;
use txn::Gid;
use txn::decision::Decision;
use txn::outcome::Completion;

use super::{ConfigOptions, explain, planning};
use crate::drive::doubt::{self, Known};
use crate::store::Store;

#[derive(Debug, Args)]
pub struct TxnOptions {
    #[command(flatten)]
    pub config: ConfigOptions,
    #[command(subcommand)]
    pub action: TxnAction,
}

#[derive(Debug, Clone, Subcommand)]
pub enum TxnAction {
    /// List what is prepared on any shard
    List,
    /// Tell what has become of a transaction
    Show {
        /// The name from an error 08007, a log or `pgweave txn list`
        gid: String,
    },
    /// Do everywhere what has been decided; nothing that was not decided is ever committed
    Resolve {
        gid: String,
        /// Fail unless the decision is to commit
        #[arg(long, conflicts_with = "abort")]
        commit: bool,
        /// If nothing is decided yet, decide to abort; fail if the decision is to commit
        #[arg(long)]
        abort: bool,
    },
}

pub async fn run(options: TxnOptions) -> miette::Result<ExitCode> {
    let config = options.config.load()?;
    let store = planning::open(&config).await?;
    match options.action {
        TxnAction::List => list(&store).await,
        TxnAction::Show { gid } => show(&store, read(&gid)?).await,
        TxnAction::Resolve { gid, commit, abort } => {
            resolve(&store, read(&gid)?, commit, abort).await
        }
    }
}

fn read(gid: &str) -> miette::Result<Gid> {
    doubt::read_gid(gid).ok_or_else(|| {
        miette!(
            help = "`pgweave txn list` shows the names of those that are not finished",
            "`{gid}` is not the name of a transaction"
        )
    })
}

async fn list(store: &Store) -> miette::Result<ExitCode> {
    let catalog = store.snapshot();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["GID", "SHARD", "OWNER", "AGE", "COORDINATING", "DECISION"]);
    let mut status = ExitCode::SUCCESS;
    let mut count = 0;
    for (shard, rows) in doubt::prepared(store).await {
        let name = doubt::shard_name(&catalog, shard);
        let Some(rows) = rows else {
            eprintln!("shard {name} does not answer");
            status = ExitCode::FAILURE;
            continue;
        };
        for one in rows {
            count += 1;
            table.add_row([
                one.gid.gid.to_string(),
                name.clone(),
                one.owner,
                format!("{}.{:03} s", one.age_ms / 1000, one.age_ms % 1000),
                doubt::shard_name(&catalog, one.gid.gid.coordinating),
                match one.decision {
                    Known::Decided(decision) => decision.as_str().to_owned(),
                    Known::Nothing => "none".to_owned(),
                    Known::NoAnswer => "no answer".to_owned(),
                },
            ]);
        }
    }
    match count {
        0 => println!("Nothing is prepared."),
        _ => println!("{table}"),
    }
    Ok(status)
}

async fn show(store: &Store, gid: Gid) -> miette::Result<ExitCode> {
    let catalog = store.snapshot();
    let status = doubt::status(store, gid).await.map_err(explain::store)?;
    println!("gid           {gid}");
    println!("status        {}", status.as_str());
    println!(
        "coordinating  {}",
        doubt::shard_name(&catalog, gid.coordinating)
    );
    for (shard, rows) in doubt::prepared(store).await {
        let name = doubt::shard_name(&catalog, shard);
        match rows {
            None => println!("prepared      {name}: no answer"),
            Some(rows) => {
                for one in rows.iter().filter(|one| one.gid.gid == gid) {
                    println!(
                        "prepared      {name}, by {}, {} ms ago",
                        one.owner, one.age_ms
                    );
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn resolve(store: &Store, gid: Gid, commit: bool, abort: bool) -> miette::Result<ExitCode> {
    let catalog = store.snapshot();
    // What is asked for is compared before anything is done.
    let status = doubt::status(store, gid).await.map_err(explain::store)?;
    match status {
        doubt::Status::Aborted if commit => {
            return Err(miette!(
                help = "repeat the transaction",
                "{gid} is decided: it is rolled back, and cannot be committed"
            ));
        }
        doubt::Status::Committed if abort => {
            return Err(miette!(
                help =
                    "`pgweave txn resolve` without --abort commits it where it is still prepared",
                "{gid} is decided: it is committed, and cannot be rolled back"
            ));
        }
        _ => {}
    }
    let Some((decision, parts)) = doubt::resolve(store, gid, abort)
        .await
        .map_err(explain::store)?
    else {
        return Err(miette!(
            help = "only its coordinator could decide to commit; --abort decides that it is rolled back",
            "nothing is decided of {gid}"
        ));
    };
    if abort && decision == Decision::Commit {
        return Err(miette!("{gid} was committed in the meantime"));
    }
    println!("{gid} is {}", described(decision));
    let mut status = ExitCode::SUCCESS;
    for (shard, completion) in parts {
        if !told(&catalog, shard, &completion) {
            status = ExitCode::FAILURE;
        }
    }
    Ok(status)
}

fn described(decision: Decision) -> &'static str {
    match decision {
        Decision::Commit => "committed",
        Decision::Abort => "rolled back",
    }
}

fn told(catalog: &Catalog, shard: catalog::ShardId, completion: &Completion) -> bool {
    let name = doubt::shard_name(catalog, shard);
    match completion {
        Completion::Done => println!("shard {name}: done"),
        Completion::Failed(error) => {
            println!("shard {name}: {}", String::from_utf8_lossy(&error.body))
        }
        other => println!("shard {name}: no answer ({other:?}); routers go on trying"),
    }
    matches!(completion, Completion::Done)
}
