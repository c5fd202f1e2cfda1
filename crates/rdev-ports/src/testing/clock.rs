//! A clock, ids and randomness that do what a test says.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rdev_domain::{JobId, JobIdPrefix, Timestamp};

use crate::{Clock, Ids, Random};

/// 2026-01-24T20:00:00Z: the first time of a [`FakeClock`], and the time of acceptance of sample jobs.
pub const START: Timestamp = Timestamp::from_micros(1_769_284_800_000_000);

/// Clock that stands still until a test moves it.
#[derive(Debug)]
pub struct FakeClock(AtomicI64);

impl FakeClock {
    /// Sets the time of day.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
    }
}

impl Default for FakeClock {
    fn default() -> Self {
        Self(AtomicI64::new(START.as_micros()))
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Source of ids that count from 1.
#[derive(Debug, Default)]
pub struct FakeIds(AtomicU64);

impl Ids for FakeIds {
    fn job_id(&self, prefix: JobIdPrefix) -> JobId {
        JobId::new(prefix, u128::from(self.0.fetch_add(1, Ordering::SeqCst) + 1))
    }

    /// Ids are numbers here, and know no time: the least of all.
    fn least_id(&self, prefix: JobIdPrefix, _at: Timestamp) -> JobId {
        JobId::new(prefix, 0)
    }
}

/// Source of randomness that returns the same number every time.
#[derive(Debug, Clone, Copy)]
pub struct FakeRandom(pub f64);

impl Random for FakeRandom {
    fn fraction(&self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_only_when_told() {
        let clock = FakeClock::default();
        assert_eq!((clock.now(), clock.now()), (START, START));
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.now().since(START), Duration::from_secs(2));
        clock.set(Timestamp::from_micros(7));
        assert_eq!(clock.now(), Timestamp::from_micros(7));
    }

    #[test]
    fn ids_ascend() {
        let ids = FakeIds::default();
        let made: Vec<_> = (0..20).map(|_| ids.job_id(JobIdPrefix::Command)).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
        assert_eq!(made[0], JobId::new(JobIdPrefix::Command, 1));
    }
}
