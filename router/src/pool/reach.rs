//! Whether a server can be reached, as the attempts to connect to it have shown. Shared by all pools of that server.
//!
//! After a failed attempt further ones are not made for a short while that doubles with each failure: sessions fail at
//! once with the known cause, in place of queueing up behind a timeout each. Idle connections from before the first
//! failure are not trusted any more: where a machine or a network died, they would only hang.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub struct Reach {
    trouble: Mutex<Option<Trouble>>,
    losses: AtomicU64,
}

#[derive(Debug)]
struct Trouble {
    pause: Duration,
    last: Instant,
    cause: String,
}

impl Reach {
    /// How often the server was lost so far. A connection that has been idle since an earlier time is not trusted.
    #[inline]
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// Why no attempt should be made at this moment.
    pub fn refusal(&self, now: Instant) -> Option<String> {
        let trouble = self.lock();
        let trouble = trouble.as_ref()?;
        let ago = now.saturating_duration_since(trouble.last);
        (ago < trouble.pause).then(|| format!("{} ({} ms ago)", trouble.cause, ago.as_millis()))
    }

    /// An attempt has failed. Returns whether the server was thought to be well before.
    pub fn failed(&self, now: Instant, cause: String) -> bool {
        let mut trouble = self.lock();
        let Some(known) = trouble.as_mut() else {
            *trouble = Some(Trouble {
                pause: FIRST_PAUSE,
                last: now,
                cause,
            });
            self.losses.fetch_add(1, Ordering::Relaxed);
            return true;
        };
        // Attempts that were under way together count as one.
        if now.saturating_duration_since(known.last) >= known.pause {
            known.pause = (known.pause * 2).min(LONGEST_PAUSE);
        }
        known.last = now;
        known.cause = cause;
        false
    }

    /// The server has answered. Returns whether it was in trouble before.
    pub fn answered(&self) -> bool {
        self.lock().take().is_some()
    }

    /// A panic while the lock was held leaves the value whole: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.trouble
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_server_is_left_alone_for_longer_and_longer() {
        let reach = Reach::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(reach.refusal(start), None);
        assert!(reach.failed(start, "refused".to_owned()));
        assert_eq!(reach.losses(), 1);
        assert_eq!(
            reach.refusal(at(99)).as_deref(),
            Some("refused (99 ms ago)")
        );
        assert_eq!(reach.refusal(at(100)), None);
        // Two attempts of the same moment.
        assert!(!reach.failed(at(100), "refused".to_owned()));
        assert!(!reach.failed(at(101), "refused".to_owned()));
        assert!(reach.refusal(at(300)).is_some());
        assert_eq!(reach.refusal(at(301)), None);
        for _ in 0..20 {
            let now = at(1_000_000);
            reach.failed(now, "refused".to_owned());
        }
        assert_eq!(reach.refusal(at(1_002_000)), None);
        assert_eq!(reach.losses(), 1);
        assert!(reach.answered());
        assert!(!reach.answered());
        assert_eq!(reach.refusal(at(1_000_001)), None);
        assert!(reach.failed(at(1_000_002), "refused".to_owned()));
        assert_eq!(reach.losses(), 2);
    }
}
