//! Limits of reconnections.

use std::time::Duration;

/// Limits of the reconnections of an event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconnect {
    /// Delay before the first reconnection, until the server's `retry:` names another; doubles with each failure.
    pub delay_first: Duration,
    /// Longest delay before a reconnection, unless the server's `Retry-After` asks for a longer one.
    pub delay_max: Duration,
    /// Time without an event after which the last error is returned and the stream ends.
    pub give_up_after: Duration,
}

impl Default for Reconnect {
    /// Sets 1 s, 30 s and 5 min.
    fn default() -> Self {
        Self {
            delay_first: Duration::from_secs(1),
            delay_max: Duration::from_secs(30),
            give_up_after: Duration::from_secs(300),
        }
    }
}
