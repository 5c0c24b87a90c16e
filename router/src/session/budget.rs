//! A bound on what all clients' unfinished messages may take together.
//!
//! Small buffers come from the workers' spares and are not counted; what a session needs beyond that is charged here, so
//! that clients that send the beginnings of huge messages cannot exhaust the router's memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that may still be charged.
#[derive(Debug)]
pub struct Budget {
    limit_bytes: usize,
    charged_bytes: AtomicUsize,
}

/// What one session has been charged; given back when dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            charged_bytes: AtomicUsize::new(0),
        })
    }

    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }
}

impl Charge {
    pub fn nothing(budget: Arc<Budget>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Charges `bytes` in all. Returns false, and charges nothing more, if that is too much for all sessions together.
    pub fn set(&mut self, bytes: usize) -> bool {
        if bytes <= self.bytes {
            self.budget
                .charged_bytes
                .fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            self.bytes = bytes;
            return true;
        }
        let more = bytes - self.bytes;
        let before = self.budget.charged_bytes.fetch_add(more, Ordering::Relaxed);
        if before + more > self.budget.limit_bytes {
            self.budget.charged_bytes.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_share_the_budget_and_give_it_back() {
        let budget = Budget::new(100);
        let mut one = Charge::nothing(budget.clone());
        let mut other = Charge::nothing(budget.clone());
        assert!(one.set(60));
        assert!(!other.set(50));
        assert!(one.set(40));
        assert!(other.set(50));
        drop(one);
        assert!(other.set(100));
        drop(other);
        assert_eq!(budget.charged_bytes.load(Ordering::Relaxed), 0);
    }
}
