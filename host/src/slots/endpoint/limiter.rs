//! At most so many requests in any minute.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

pub(super) struct Limiter {
    per_minute: usize,
    since: Instant,
    /// When the latest requests start, in order, from `since` on; at most `per_minute`.
    starts: Mutex<VecDeque<Duration>>,
}

impl Limiter {
    /// 0 is no limit.
    pub(super) fn new(per_minute: usize) -> Limiter {
        Limiter { per_minute, since: Instant::now(), starts: Mutex::new(VecDeque::new()) }
    }

    /// Waits until the next request may start.
    pub(super) fn wait(&self) {
        let now = self.since.elapsed();
        std::thread::sleep(self.reserve(now).saturating_sub(now));
    }

    /// When a request may start that is ready `now`; it counts as started then.
    fn reserve(&self, now: Duration) -> Duration {
        if self.per_minute == 0 {
            return now;
        }
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = starts.back().copied().unwrap_or_default();
        let mut at = now.max(latest);
        if starts.len() == self.per_minute
            && let Some(first) = starts.pop_front()
        {
            at = at.max(first + MINUTE);
        }
        starts.push_back(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_has_more_requests_than_allowed() {
        for per_minute in [1, 3, 20] {
            let limiter = Limiter::new(per_minute);
            // Bursts and pauses, in milliseconds.
            let ready = (0..200u64).map(|i| Duration::from_millis(i * 137 + (i / 50) * 40_000));
            let starts: Vec<Duration> = ready.map(|now| limiter.reserve(now)).collect();
            for (i, start) in starts.iter().enumerate() {
                let within = starts[i..].iter().take_while(|s| **s < *start + MINUTE).count();
                assert!(within <= per_minute, "{within} of {per_minute} from {start:?}");
            }
            // As many as allowed, no fewer: the limit is reached.
            let first = starts.iter().take_while(|s| **s < MINUTE).count();
            assert_eq!(first, per_minute);
        }
        let free = Limiter::new(0);
        assert!((0..100).all(|i| free.reserve(Duration::from_millis(i)) == Duration::from_millis(i)));
    }
}
