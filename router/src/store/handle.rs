//! The snapshot of the catalog that this router works with.
//!
//! Entry points: [`CatalogHandle::snapshot`] for readers, [`CatalogHandle::publish`] for whoever loaded a newer one. Invariants:
//! the epoch never goes back; a reader never waits.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use catalog::{Catalog, Epoch};
use tokio::sync::watch;

use super::error::Error;
use super::relations::unread;

/// Shared by all sessions; clones are the same handle.
#[derive(Clone)]
pub struct CatalogHandle(Arc<Inner>);

struct Inner {
    current: ArcSwap<Catalog>,
    epoch: watch::Sender<Epoch>,
}

impl CatalogHandle {
    pub fn new(catalog: Arc<Catalog>) -> Self {
        let (epoch, _) = watch::channel(catalog.epoch());
        CatalogHandle(Arc::new(Inner {
            current: ArcSwap::new(catalog),
            epoch,
        }))
    }

    /// The newest snapshot. One statement takes one and passes it along.
    pub fn snapshot(&self) -> Arc<Catalog> {
        self.0.current.load_full()
    }

    pub fn epoch(&self) -> Epoch {
        *self.0.epoch.borrow()
    }

    /// Takes the snapshot if it is newer than the one in use. Returns whether it was. Of the same epoch is newer what knows
    /// views that the other does not, if the other was in use already when this one began to be read: `before`.
    pub fn publish(&self, catalog: Arc<Catalog>, before: &Arc<Catalog>) -> bool {
        // Under the channel's lock, so that two loads that finish out of order cannot turn the epoch back.
        self.0.epoch.send_if_modified(|epoch| {
            let current = self.0.current.load();
            let fuller = || Arc::ptr_eq(&current, before) && unread(&current) && !unread(&catalog);
            let newer = catalog.epoch() > *epoch || catalog.epoch() == *epoch && fuller();
            if newer {
                *epoch = catalog.epoch();
                self.0.current.store(Arc::clone(&catalog));
            }
            newer
        })
    }

    /// Told at each new epoch.
    pub fn subscribe(&self) -> watch::Receiver<Epoch> {
        self.0.epoch.subscribe()
    }

    /// Waits until the snapshot in use has at least this epoch.
    ///
    /// # Errors
    /// [`Error::EpochTimeout`]
    pub async fn wait_for(&self, wanted: Epoch, patience: Duration) -> Result<Arc<Catalog>, Error> {
        let mut epochs = self.subscribe();
        let waited =
            tokio::time::timeout(patience, epochs.wait_for(|epoch| *epoch >= wanted)).await;
        match waited {
            // The sender lives as long as self, so the inner error cannot be.
            Ok(Ok(_)) => Ok(self.snapshot()),
            Ok(Err(_)) | Err(_) => Err(Error::EpochTimeout {
                wanted,
                seen: self.epoch(),
                waited: patience,
            }),
        }
    }
}
