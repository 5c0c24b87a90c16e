//! The catalog's home, as one router sees it.
//!
//! Entry point: [`Store::connect`]. Invariants: [`Store::handle`] always holds a whole snapshot, the newest this router could
//! read; the store writes only through [`Change`]. Several routers may share a home, and none holds what another needs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catalog::{Catalog, Epoch, Server, Shard, ShardId};

use super::change::Change;
use super::connection::{Connection, Connector, column};
use super::error::Error;
use super::handle::CatalogHandle;
use super::load;

/// Stands for the catalog's home as the participant that decides changes of the catalog. Shards count from 1.
pub const HOME: ShardId = ShardId(0);

/// Idle connections to the home that are kept.
const KEPT_CONNECTIONS: usize = 4;

/// What a router needs to know to find the catalog.
#[derive(Clone)]
pub struct Settings {
    pub home: Server,
    pub connector: Connector,
    /// How often the epoch is looked up beside LISTEN, and the heartbeat is written.
    pub poll_interval: Duration,
    /// One life of this router: 16 hexadecimal digits.
    pub router_id: String,
    /// Where clients reach this router, for `pgweave.routers`.
    pub router_address: String,
}

impl Settings {
    pub fn new(home: Server, connector: Connector) -> Self {
        Settings {
            home,
            connector,
            poll_interval: Duration::from_secs(2),
            router_id: format!("{:016x}", rand::random::<u64>()),
            router_address: String::new(),
        }
    }
}

/// The durable catalog and this router's snapshot of it.
pub struct Store {
    settings: Settings,
    handle: CatalogHandle,
    idle: Mutex<Vec<Connection>>,
}

impl Store {
    /// Reads the catalog for the first time.
    ///
    /// # Errors
    /// [`Error::NotInitialized`] if there is none, [`Error::Format`] if another version wrote it.
    pub async fn connect(settings: Settings) -> Result<Arc<Store>, Error> {
        let connection = settings.connector.connect(&settings.home).await?;
        let catalog = load::load(&connection, &settings.connector, None).await?;
        let handle = CatalogHandle::new(Arc::new(catalog));
        Ok(Arc::new(Store {
            settings,
            handle,
            idle: Mutex::new(vec![connection]),
        }))
    }

    /// The snapshot that sessions work with.
    pub fn handle(&self) -> &CatalogHandle {
        &self.handle
    }

    pub fn snapshot(&self) -> Arc<Catalog> {
        self.handle.snapshot()
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Reads a new snapshot without taking it into use.
    pub async fn load(&self) -> Result<Catalog, Error> {
        let connection = self.home().await?;
        let catalog = load::load(
            &connection,
            &self.settings.connector,
            Some(&self.handle.snapshot()),
        )
        .await?;
        self.give_back(connection);
        Ok(catalog)
    }

    /// Reads a new snapshot and takes it into use if it is newer. Returns the one that was read.
    pub async fn reload(&self) -> Result<Arc<Catalog>, Error> {
        let before = self.snapshot();
        let catalog = Arc::new(self.load().await?);
        if self.handle.publish(Arc::clone(&catalog), &before) {
            tracing::info!(epoch = %catalog.epoch(), "catalog loaded");
        }
        Ok(catalog)
    }

    /// Whether the epoch in force at the home is still this one.
    pub async fn is_in_force(&self, epoch: Epoch) -> Result<bool, Error> {
        let connection = self.home().await?;
        let row = connection
            .query_one("SELECT epoch FROM pgweave.cluster", &[])
            .await?;
        let found: i64 = column(&row, 0)?;
        self.give_back(connection);
        Ok(found.unsigned_abs() == epoch.0)
    }

    /// Opens a change. It waits for other changes to end.
    ///
    /// # Errors
    /// [`Error::Stale`] if `expected` is given and is not the epoch in force.
    pub async fn begin_change(self: &Arc<Self>, expected: Option<Epoch>) -> Result<Change, Error> {
        let connection = self.home().await?;
        Change::begin(Arc::clone(self), connection, expected).await
    }

    /// Runs `work` as one change and commits it.
    pub async fn change<T, E: From<Error>>(
        self: &Arc<Self>,
        expected: Option<Epoch>,
        work: impl AsyncFnOnce(&Change) -> Result<T, E>,
    ) -> Result<(Epoch, T), E> {
        let change = self.begin_change(expected).await?;
        match work(&change).await {
            Ok(value) => Ok((change.commit().await?, value)),
            Err(error) => {
                change.rollback().await;
                Err(error)
            }
        }
    }

    /// Waits until this router's snapshot has at least this epoch.
    pub async fn wait_for_epoch(
        &self,
        epoch: Epoch,
        patience: Duration,
    ) -> Result<Arc<Catalog>, Error> {
        self.handle.wait_for(epoch, patience).await
    }

    /// A connection to the home, outside any transaction.
    pub(crate) async fn home(&self) -> Result<Connection, Error> {
        loop {
            let kept = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            match kept {
                Some(connection) if connection.is_closed() => continue,
                Some(connection) => return Ok(connection),
                None => return self.settings.connector.connect(&self.settings.home).await,
            }
        }
    }

    /// Keeps a connection for later. Only for connections that are outside any transaction.
    pub(crate) fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT_CONNECTIONS && !connection.is_closed() {
            idle.push(connection);
        }
    }

    /// A control connection to a shard's primary, named by the shard.
    pub async fn connect_shard(&self, shard: &Shard) -> Result<Connection, Error> {
        let mut connection = self.settings.connector.connect(&shard.primary).await?;
        connection.relabel(&shard.name);
        Ok(connection)
    }
}
