//! How long a replica is behind: an upper bound of the age of what it shows.
//!
//! Two bounds are known, and the smaller one counts. The age of the last commit that the replica has replayed, by the
//! servers' clocks: close on a busy primary, but of no use when nothing was committed for a while. And the time since
//! the primary stood where the replica stands now, by the router's own samples of the primary's position: no closer than
//! the interval between samples, but true for an idle primary, and for one that does not answer any more: what a replica
//! shows is then as old as the last sample, and gets older.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A position in the WAL, in bytes.
pub type Position = u64;

/// Where a primary stood, and when.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<(Position, Instant)>,
}

impl History {
    /// The primary stands at `position`. Samples are kept for a while longer than `needed`.
    pub fn note(&mut self, position: Position, now: Instant, needed: Duration) {
        if self.newest().is_some_and(|newest| position < newest) {
            // Another server has become the primary, and its WAL went another way.
            self.samples.clear();
        }
        self.samples.push_back((position, now));
        while let Some((_, at)) = self.samples.get(1)
            && now.saturating_duration_since(*at) > needed
        {
            self.samples.pop_front();
        }
    }

    /// The newest position that is known.
    pub fn newest(&self) -> Option<Position> {
        self.samples.back().map(|(position, _)| *position)
    }

    /// How far behind a replica is that has replayed up to `replayed`, whose last replayed commit is `commit_age` old.
    pub fn lag(
        &self,
        replayed: Position,
        commit_age: Option<Duration>,
        now: Instant,
    ) -> Option<Lag> {
        let newest = self.newest()?;
        let seen = self
            .samples
            .iter()
            .rev()
            .find(|(position, _)| *position <= replayed)
            .map(|(_, at)| now.saturating_duration_since(*at));
        Some(Lag {
            bytes: newest.saturating_sub(replayed),
            time: match (seen, commit_age) {
                (Some(seen), Some(age)) => Some(seen.min(age)),
                (seen, age) => seen.or(age),
            },
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    pub bytes: u64,
    pub time: Option<Duration>,
}

/// A WAL position such as `0/16B3748` in bytes.
pub fn parse_position(text: &str) -> Option<Position> {
    let (high, low) = text.split_once('/')?;
    let half = |text: &str| u32::from_str_radix(text, 16).ok().map(Position::from);
    Some((half(high)? << 32) | half(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: Duration = Duration::from_secs(10);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn bytes_and_ms(lag: Option<Lag>) -> (u64, Option<u128>) {
        let lag = lag.unwrap();
        (lag.bytes, lag.time.map(|time| time.as_millis()))
    }

    #[test]
    fn a_replica_that_has_everything_of_an_idle_primary_is_not_late() {
        let (start, mut history) = (Instant::now(), History::default());
        assert_eq!(history.lag(100, None, start), None);
        history.note(100, start, NEEDED);
        history.note(100, start + ms(1000), NEEDED);
        let now = start + ms(1000);
        assert_eq!(
            bytes_and_ms(history.lag(100, Some(ms(90_000)), now)),
            (0, Some(0))
        );
        assert_eq!(bytes_and_ms(history.lag(120, None, now)), (0, Some(0)));
    }

    /// The first commit after a pause makes the last replayed one look old.
    #[test]
    fn a_pause_of_the_primary_is_no_lag() {
        let (start, mut history) = (Instant::now(), History::default());
        history.note(100, start, NEEDED);
        history.note(104, start + ms(1000), NEEDED);
        let lag = history.lag(100, Some(ms(90_000)), start + ms(1000));
        assert_eq!(bytes_and_ms(lag), (4, Some(1000)));
    }

    /// Always a little behind, and yet never by as much as the interval of the samples.
    #[test]
    fn a_busy_primary_is_measured_by_its_commits() {
        let (start, mut history) = (Instant::now(), History::default());
        history.note(100, start, NEEDED);
        history.note(900, start + ms(1000), NEEDED);
        let lag = history.lag(890, Some(ms(3)), start + ms(1000));
        assert_eq!(bytes_and_ms(lag), (10, Some(3)));
    }

    #[test]
    fn a_primary_that_does_not_answer_leaves_its_replicas_to_age() {
        let (start, mut history) = (Instant::now(), History::default());
        history.note(100, start, NEEDED);
        let lag = |after| bytes_and_ms(history.lag(100, Some(ms(60_000)), start + after));
        assert_eq!(lag(ms(500)), (0, Some(500)));
        assert_eq!(lag(ms(20_000)), (0, Some(20_000)));
    }

    #[test]
    fn a_replica_that_stands_still_is_as_late_as_the_primary_went_on() {
        let (start, mut history) = (Instant::now(), History::default());
        for second in 0..100 {
            history.note(100 + 10 * second, start + ms(1000 * second), NEEDED);
        }
        assert!(history.samples.len() < 15);
        let now = start + ms(99_000);
        assert_eq!(bytes_and_ms(history.lag(1040, None, now)), (50, Some(5000)));
        // Further back than is remembered: only the servers' clocks know.
        assert_eq!(
            bytes_and_ms(history.lag(100, Some(ms(99_500)), now)),
            (990, Some(99_500))
        );
        assert_eq!(bytes_and_ms(history.lag(100, None, now)), (990, None));
    }

    #[test]
    fn a_new_primary_starts_anew() {
        let (start, mut history) = (Instant::now(), History::default());
        history.note(1000, start, NEEDED);
        history.note(600, start + ms(1000), NEEDED);
        assert_eq!(
            bytes_and_ms(history.lag(600, None, start + ms(1000))),
            (0, Some(0))
        );
        assert_eq!(
            bytes_and_ms(history.lag(500, None, start + ms(1000))),
            (100, None)
        );
    }

    #[test]
    fn positions_are_two_hexadecimal_halves() {
        assert_eq!(parse_position("1/A"), Some((1 << 32) + 10));
        assert_eq!(parse_position("FFFFFFFF/FFFFFFFF"), Some(u64::MAX));
        for bad in ["x", "", "1/", "/1", "1FFFFFFFF/0", "1/2/3"] {
            assert_eq!(parse_position(bad), None, "{bad}");
        }
    }
}
