//! What one worker thread has to itself: idle server connections within reach, and spare buffers.

use std::sync::{Mutex, MutexGuard};

use bytes::BytesMut;
use tokio::sync::Notify;

use crate::pool::Stashed;

/// Names one worker thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerId(pub usize);

/// The size a spare buffer starts with.
const BUFFER_BYTES: usize = 8 * 1024;
/// How many spare buffers a worker keeps.
const SPARE_BUFFERS: usize = 64;

/// One worker's own things. Other threads touch them rarely, so the locks are uncontended.
pub struct WorkerLocal {
    id: WorkerId,
    stash: Mutex<Vec<Stashed>>,
    buffers: Mutex<Vec<BytesMut>>,
    /// Somebody waits for a connection: hand over what is stashed.
    pub wanted: Notify,
}

impl WorkerLocal {
    pub fn new(id: WorkerId) -> Self {
        Self {
            id,
            stash: Mutex::default(),
            buffers: Mutex::default(),
            wanted: Notify::new(),
        }
    }

    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// An empty buffer.
    pub fn take_buffer(&self) -> BytesMut {
        lock(&self.buffers)
            .pop()
            .unwrap_or_else(|| BytesMut::with_capacity(BUFFER_BYTES))
    }

    /// Takes back an empty buffer.
    pub fn give_buffer(&self, mut buffer: BytesMut) {
        buffer.clear();
        if !buffer.try_reclaim(BUFFER_BYTES / 2) {
            return;
        }
        let mut buffers = lock(&self.buffers);
        if buffers.len() < SPARE_BUFFERS {
            buffers.push(buffer);
        }
    }

    /// The idle connection of that pool which was used last.
    pub(crate) fn unstash(&self, pool: u64) -> Option<Stashed> {
        let mut stash = lock(&self.stash);
        let at = stash.iter().rposition(|idle| idle.pool() == pool)?;
        Some(stash.remove(at))
    }

    pub(crate) fn stash(&self, idle: Stashed) {
        lock(&self.stash).push(idle);
    }

    /// Takes everything out that `wanted` selects.
    pub(crate) fn unstash_where(&self, mut wanted: impl FnMut(&Stashed) -> bool) -> Vec<Stashed> {
        let mut stash = lock(&self.stash);
        let (taken, kept) = std::mem::take(&mut *stash)
            .into_iter()
            .partition(|idle| wanted(idle));
        *stash = kept;
        taken
    }

    /// How many connections of that pool are stashed here.
    pub(crate) fn stashed(&self, pool: u64) -> usize {
        lock(&self.stash).iter().filter(|idle| idle.pool() == pool).count()
    }
}

/// A panic while one of these locks was held leaves its data whole: every change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
