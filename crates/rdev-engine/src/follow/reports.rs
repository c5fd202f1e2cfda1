//! Reports of what keeps a follower from going on: errors in the log of the process, few of one cause.

use std::time::Duration;

use rdev_domain::{Error, Position};
use rdev_ports::{FollowedBatch, Follower, Rest};
use tokio::time::Instant;

/// Time after which a cause that lasts is reported again.
const REPORT_AGAIN: Duration = Duration::from_secs(300);
/// Time for which a follower may read nothing while entries are not settled, before this is reported. Transactions of rdev
/// end within seconds.
const UNSETTLED_MAX: Duration = Duration::from_secs(60);

/// Failed steps since the last one that read the log.
#[derive(Debug, Default)]
pub(super) struct Failures {
    reported: Option<Instant>,
}

impl Failures {
    /// Reports a failure: the first one, and one of every 300 s.
    pub(super) fn report(&mut self, follower: Follower, error: &Error) {
        let follower = follower.as_str();
        if self.is_due(Instant::now()) {
            tracing::error!(follower, ?error, "following the log failed, retrying");
        } else {
            tracing::debug!(follower, ?error, "following the log failed, retrying");
        }
    }

    /// Notes a step that read the log.
    pub(super) fn end(&mut self) {
        self.reported = None;
    }

    /// Tells whether a failure at this moment is to be reported, and takes it as reported then.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.reported.is_none_or(|at| now.duration_since(at) >= REPORT_AGAIN);
        if is_due {
            self.reported = Some(now);
        }
        is_due
    }
}

/// Wait of a follower for entries that are not settled.
#[derive(Debug, Default)]
pub(super) struct UnsettledWait {
    /// Position up to which the log is settled, and the time at which it was seen first.
    at: Option<(Position, Instant)>,
    reports: Failures,
}

impl UnsettledWait {
    /// Takes a batch, and reports a position that stands still.
    pub(super) fn look(&mut self, follower: Follower, batch: &FollowedBatch) {
        if self.is_due(batch.next, batch.rest, Instant::now()) {
            tracing::error!(
                follower = follower.as_str(),
                position = batch.next.0,
                "a transaction that writes to the log has not ended: followers and the log's size limit wait for it"
            );
        }
    }

    fn is_due(&mut self, next: Position, rest: Rest, now: Instant) -> bool {
        match self.at {
            Some((at, since)) if at == next && rest == Rest::Unsettled => {
                now.duration_since(since) >= UNSETTLED_MAX && self.reports.is_due(now)
            }
            _ => {
                let at = (rest == Rest::Unsettled).then_some((next, now));
                *self = Self { at, reports: Failures::default() };
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_reported_at_once_and_again_after_300_s() {
        let (begin, mut failures) = (Instant::now(), Failures::default());
        let mut is_due = |seconds| failures.is_due(begin + Duration::from_secs(seconds));
        assert_eq!([0, 1, 299, 300, 301, 600].map(&mut is_due), [true, false, false, true, false, true]);
        failures.end();
        assert!(failures.is_due(begin + Duration::from_secs(601)));
    }

    #[test]
    fn a_settled_position_that_stands_still_for_60_s_is_reported() {
        let (begin, mut wait) = (Instant::now(), UnsettledWait::default());
        let mut is_due =
            |seconds, next, rest| wait.is_due(Position(next), rest, begin + Duration::from_secs(seconds));
        for (seconds, next, rest, expected) in [
            (0, 1, Rest::Unsettled, false),
            (59, 1, Rest::Unsettled, false),
            // The position moves: other transactions have ended.
            (60, 2, Rest::Unsettled, false),
            (119, 2, Rest::Unsettled, false),
            (120, 2, Rest::Unsettled, true),
            (121, 2, Rest::Unsettled, false),
            (420, 2, Rest::Unsettled, true),
            // All have ended.
            (421, 2, Rest::Nothing, false),
            (422, 2, Rest::Unsettled, false),
            (482, 2, Rest::Unsettled, true),
        ] {
            assert_eq!(is_due(seconds, next, rest), expected, "{seconds} s");
        }
    }
}
