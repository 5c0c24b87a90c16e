//! What one worker thread has to itself: its place among the workers, and spare buffers.

use std::sync::{Mutex, MutexGuard};

use bytes::BytesMut;

/// Names one worker thread: its index among the workers of the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerId(pub usize);

/// The size a spare buffer starts with.
const BUFFER_BYTES: usize = 8 * 1024;
/// A buffer that has grown beyond this is not kept.
const KEEP_BYTES: usize = 32 * 1024;
/// How many spare buffers a worker keeps.
const SPARE_BUFFERS: usize = 64;

/// One worker's own things. Other threads touch them rarely, so the lock is uncontended.
pub struct WorkerLocal {
    id: WorkerId,
    buffers: Mutex<Vec<BytesMut>>,
}

impl WorkerLocal {
    pub fn new(id: WorkerId) -> Self {
        Self {
            id,
            buffers: Mutex::default(),
        }
    }

    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// An empty buffer.
    pub fn take_buffer(&self) -> BytesMut {
        self.lock()
            .pop()
            .unwrap_or_else(|| BytesMut::with_capacity(BUFFER_BYTES))
    }

    /// Takes back an empty buffer.
    pub fn give_buffer(&self, mut buffer: BytesMut) {
        buffer.clear();
        if !buffer.try_reclaim(BUFFER_BYTES / 2) || buffer.capacity() > KEEP_BYTES {
            return;
        }
        let mut buffers = self.lock();
        if buffers.len() < SPARE_BUFFERS {
            buffers.push(buffer);
        }
    }

    /// A panic while the lock was held leaves the buffers whole: every change is one call.
    fn lock(&self) -> MutexGuard<'_, Vec<BytesMut>> {
        self.buffers
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_has_grown_is_not_kept() {
        let worker = WorkerLocal::new(WorkerId(0));
        worker.give_buffer(BytesMut::with_capacity(1 << 20));
        assert_eq!(worker.take_buffer().capacity(), BUFFER_BYTES);
        let mut used = BytesMut::with_capacity(KEEP_BYTES / 2);
        used.extend_from_slice(b"another session's secret");
        worker.give_buffer(used);
        let again = worker.take_buffer();
        assert_eq!((again.len(), again.capacity()), (0, KEEP_BYTES / 2));
    }
}
