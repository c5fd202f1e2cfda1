//! The wall clock, for the times of frames.

use rustix::time::{ClockId, clock_gettime};

/// Returns microseconds since 1970-01-01 UTC.
pub(crate) fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    u64::try_from(now.tv_sec).unwrap_or_default() * 1_000_000
        + u64::try_from(now.tv_nsec).unwrap_or_default() / 1_000
}
