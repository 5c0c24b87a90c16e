//! Several shards, each a primary with streaming replicas, in one directory.
//!
//! The directory remembers its layout (`layout.toml`) and is used by one process at a time (`lock`). A second start
//! over it finds the data, the ports and whatever an earlier, killed process left running.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{
    Account, Binaries, DirectoryLock, Error, LocalServer, Scratch, ServerOptions, Stop, orphan,
    place,
};

/// Hears of each step, in words for people.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// What a cluster consists of, and where.
#[derive(Clone)]
pub struct ClusterOptions {
    pub shards: usize,
    /// Replicas of each shard.
    pub replicas: usize,
    /// Kept and reused; `None` is a temporary directory that goes with the cluster.
    pub dir: Option<PathBuf>,
    /// Removes what an earlier cluster left in `dir`.
    pub fresh: bool,
    /// The folder of PostgreSQL's programs; `None` searches.
    pub binaries: Option<PathBuf>,
    /// How each server is made and run.
    pub server: ServerOptions,
    /// Called when a server is ready or a step begins, with a text for people.
    pub progress: Option<Progress>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        ClusterOptions {
            shards: 2,
            replicas: 0,
            dir: None,
            fresh: false,
            binaries: None,
            server: ServerOptions::default(),
            progress: None,
        }
    }
}

/// One shard's servers.
#[derive(Debug)]
pub struct LocalShard {
    /// `s1`, `s2` and so on.
    pub name: String,
    pub primary: LocalServer,
    pub replicas: Vec<LocalServer>,
}

/// Running shards. Dropping it ends all servers; [`LocalCluster::stop`] does so in good order.
#[derive(Debug)]
pub struct LocalCluster {
    shards: Vec<LocalShard>,
    directory: PathBuf,
    servers: PathBuf,
    // Fields drop in this order: servers first.
    _lock: Option<DirectoryLock>,
    _scratch: Option<Scratch>,
}

/// What `layout.toml` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    pub shards: usize,
    pub replicas: usize,
    /// Major version of PostgreSQL: the data of one is unreadable to another.
    pub postgresql: u32,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "--shards {} --replicas {} on PostgreSQL {}",
            self.shards, self.replicas, self.postgresql
        )
    }
}

impl LocalCluster {
    /// Starts all servers, making those that are missing, and waits until each accepts connections.
    pub async fn start(options: ClusterOptions) -> Result<LocalCluster, Error> {
        let binaries = Binaries::find(options.binaries.as_deref())?;
        let (directory, lock, scratch) = match &options.dir {
            Some(directory) => {
                let (directory, lock) = open(directory, &options, &binaries).await?;
                (directory, Some(lock), None)
            }
            None => {
                let scratch = Scratch::create()?;
                (scratch.path().to_owned(), None, Some(scratch))
            }
        };
        let servers = place::of_servers(&directory, Account::for_servers()?.as_ref())?;
        let mut tasks = JoinSet::new();
        for number in 1..=options.shards {
            let name = format!("s{number}");
            tasks.spawn(start_shard(
                binaries.clone(),
                name.clone(),
                servers.join(name),
                options.clone(),
            ));
        }
        let mut shards = Vec::new();
        while let Some(shard) = tasks.join_next().await {
            shards.push(
                shard
                    .map_err(|error| Error::io("start a shard")(std::io::Error::other(error)))??,
            );
        }
        shards.sort_by_key(|shard: &LocalShard| {
            shard.primary.name()[1..].parse::<usize>().unwrap_or(0)
        });
        Ok(LocalCluster {
            shards,
            directory,
            servers,
            _lock: lock,
            _scratch: scratch,
        })
    }

    /// What an existing directory was made with; `None` if it holds no cluster.
    pub fn layout(directory: &Path) -> Option<Layout> {
        toml::from_str(&std::fs::read_to_string(directory.join("layout.toml")).ok()?).ok()
    }

    /// In the order of their numbers.
    pub fn shards(&self) -> &[LocalShard] {
        &self.shards
    }

    /// All servers, primaries before replicas.
    pub fn servers(&self) -> impl Iterator<Item = &LocalServer> {
        self.shards
            .iter()
            .map(|shard| &shard.primary)
            .chain(self.shards.iter().flat_map(|shard| &shard.replicas))
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The folder of the servers' own folders, which `fresh` removes as a whole.
    pub fn servers_directory(&self) -> &Path {
        &self.servers
    }

    /// Stops all servers: primaries first, so that replicas receive all there is.
    pub async fn stop(self) -> Result<(), Error> {
        let mut first_error = Ok(());
        let mut tasks = JoinSet::new();
        for LocalShard {
            primary, replicas, ..
        } in self.shards
        {
            tasks.spawn(async move {
                let mut result = primary.stop(Stop::Fast).await;
                for replica in &replicas {
                    result = result.and(replica.stop(Stop::Fast).await);
                }
                result
            });
        }
        while let Some(result) = tasks.join_next().await {
            let result =
                result.unwrap_or_else(|error| Err(Error::io("stop")(std::io::Error::other(error))));
            first_error = first_error.and(result);
        }
        first_error
    }
}

impl LocalShard {
    /// Waits until every replica has what the primary has now.
    pub async fn catch_up(&self, limit: std::time::Duration) -> Result<(), Error> {
        let position = self.primary.position().await?;
        for replica in &self.replicas {
            replica.wait_for_replay(&position, limit).await?;
        }
        Ok(())
    }
}

async fn start_shard(
    binaries: Binaries,
    name: String,
    directory: PathBuf,
    options: ClusterOptions,
) -> Result<LocalShard, Error> {
    let report = |server: &LocalServer, what: &str| {
        if let Some(progress) = &options.progress {
            progress(&format!(
                "{} {what} on port {}",
                server.name(),
                server.port()
            ));
        }
    };
    let primary = LocalServer::create(
        &binaries,
        &name,
        &directory.join("primary"),
        options.server.clone(),
    )
    .await?;
    primary.start().await?;
    report(&primary, "is ready");
    let mut replicas = Vec::new();
    for number in 1..=options.replicas {
        let replica = format!("replica{number}");
        let path = directory.join(&replica);
        let replica = LocalServer::create_replica(
            &primary,
            &format!("{name}-{replica}"),
            &path,
            options.server.clone(),
        )
        .await?;
        replica.start().await?;
        report(&replica, "streams");
        replicas.push(replica);
    }
    Ok(LocalShard {
        name,
        primary,
        replicas,
    })
}

/// Locks a directory, empties it if asked to, and checks that it is made for these options.
async fn open(
    directory: &Path,
    options: &ClusterOptions,
    binaries: &Binaries,
) -> Result<(PathBuf, DirectoryLock), Error> {
    let action = || format!("create {}", directory.display());
    std::fs::create_dir_all(directory).map_err(Error::io(action()))?;
    let directory = directory.canonicalize().map_err(Error::io(action()))?;
    let layout_file = directory.join("layout.toml");
    let known = |name: &str| {
        matches!(
            name,
            "lock" | "layout.toml" | "servers" | "servers.removing"
        )
    };
    let mut names = std::fs::read_dir(&directory)
        .map_err(Error::io(action()))?
        .flatten();
    if !layout_file.exists() && names.any(|entry| !entry.file_name().to_str().is_some_and(known)) {
        return Err(Error::ForeignDirectory { directory });
    }
    let lock = DirectoryLock::take(&directory)?;
    place::finish_removal(&directory)?;
    if options.fresh {
        orphan::settle(&directory.join("servers")).await?;
        place::remove_servers(&directory)?;
        let _ = std::fs::remove_file(&layout_file);
    }
    let wanted = Layout {
        shards: options.shards,
        replicas: options.replicas,
        postgresql: binaries.version().major,
    };
    match LocalCluster::layout(&directory) {
        Some(made) if made != wanted => Err(Error::LayoutDiffers {
            directory,
            made: made.to_string(),
            wanted: wanted.to_string(),
        }),
        Some(_) => Ok((directory, lock)),
        None => {
            let text = toml::to_string(&wanted).unwrap_or_default();
            std::fs::write(&layout_file, text)
                .map_err(Error::io(format!("write {}", layout_file.display())))?;
            Ok((directory, lock))
        }
    }
}
