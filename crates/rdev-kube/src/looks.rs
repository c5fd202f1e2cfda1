//! One container after the other is looked at: how its runner is called, or why it cannot be. Each look is a task of its
//! own, which nobody else waits for longer than he likes; here is only what such looks have found.

use std::time::Duration;

use rdev_domain::{Failure, Timestamp};
use rdev_ports::Readiness;
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id};
use tokio::time::Instant;

use crate::missing::{InVain, Missing};
use crate::runner::Runner;

/// Pauses between looks that were in vain: doubled each time, up to the last.
const PAUSE_FIRST: Duration = Duration::from_secs(2);
const PAUSE_LAST: Duration = Duration::from_secs(30);
/// Time that each short program of the first look has: a container that works takes some tens of milliseconds. Doubled each
/// time, so that a node with much to do gets what it needs.
const LIMIT_FIRST: Duration = Duration::from_secs(5);
const LIMIT_LAST: Duration = Duration::from_secs(30);
/// A container that cannot be used is looked at again after this time.
const UNUSABLE_PAUSE: Duration = Duration::from_secs(10);

/// Knowledge of a container.
pub(crate) enum Look {
    /// Somebody looks.
    Running(Running),
    /// Its runner is called so.
    Ready(Runner),
    /// The last look was in vain.
    Failed(Failed),
}

/// A look that is not over. Dropping it ends it.
pub(crate) struct Running {
    task: AbortHandle,
    /// Closed when it is over.
    pub(crate) over: watch::Receiver<()>,
    pub(crate) began: Instant,
    since: Timestamp,
    before: Option<Failed>,
}

/// Looks that were in vain, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    why: InVain,
    count: u32,
    /// When it may be looked at again.
    again: Instant,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    pub(crate) fn new(
        task: AbortHandle,
        over: watch::Receiver<()>,
        before: Option<Failed>,
        now: Timestamp,
    ) -> Self {
        Self { task, over, began: Instant::now(), since: now, before }
    }

    pub(crate) fn is(&self, task: Id) -> bool {
        self.task.id() == task
    }

    /// Tells whether nothing that stands is known of the container: an answer is worth waiting for.
    pub(crate) fn is_news(&self) -> bool {
        self.before.as_ref().is_none_or(|before| before.why.is_final)
    }
}

impl Look {
    /// Gives what was seen before, if somebody should look now.
    pub(crate) fn due(look: Option<&Self>) -> Option<Option<Failed>> {
        match look {
            None => Some(None),
            Some(Self::Failed(before)) if before.again <= Instant::now() => Some(Some(before.clone())),
            // Its task has died.
            Some(Self::Running(running)) if running.task.is_finished() => Some(running.before.clone()),
            Some(Self::Running(_) | Self::Ready(_) | Self::Failed(_)) => None,
        }
    }

    /// The trouble that was seen last, and since when, where there was any.
    pub(crate) fn failure(&self) -> Option<(&Failure, Timestamp)> {
        self.failed().map(Failed::failure)
    }

    /// Tells whether trouble that there was will pass. Nobody knows while somebody looks.
    pub(crate) fn readiness(&self) -> Option<Readiness> {
        match (self, self.failed()?) {
            (Self::Running(_), failed) => {
                let (failure, since) = failed.failure();
                Some(Readiness::NotReady { cause: failure.clone(), since })
            }
            (Self::Ready(_) | Self::Failed(_), failed) => Some(failed.why.readiness()),
        }
    }

    fn failed(&self) -> Option<&Failed> {
        match self {
            Self::Failed(failed) => Some(failed),
            Self::Running(running) => running.before.as_ref(),
            Self::Ready(_) => None,
        }
    }

    /// Since when somebody looks for the first time.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Running(running) => Some(running.since),
            Self::Ready(_) | Self::Failed(_) => None,
        }
    }
}

impl Failed {
    /// One more look was in vain. It does not count while the cluster does not answer at all. `fraction`, of 1, draws its
    /// pause.
    pub(crate) fn after(
        before: Option<&Self>,
        missing: Missing,
        cluster_answers: bool,
        now: Timestamp,
        fraction: f64,
    ) -> Self {
        let count = before.map_or(0, |before| before.count);
        let why = InVain::after(before.map(|before| &before.why), missing, cluster_answers, now);
        let pause = match (why.is_final, cluster_answers) {
            (true, _) => UNUSABLE_PAUSE,
            (false, true) => doubled(PAUSE_FIRST, count, PAUSE_LAST),
            (false, false) => PAUSE_FIRST,
        };
        let again = Instant::now() + pause.mul_f64(1.0 - fraction / 2.0);
        Self { why, count: count.saturating_add(cluster_answers.into()), again }
    }

    pub(crate) fn failure(&self) -> (&Failure, Timestamp) {
        self.why.failure()
    }

    /// Time that a short program has in the look after these.
    pub(crate) fn limit(before: Option<&Self>) -> Duration {
        doubled(LIMIT_FIRST, before.map_or(0, |before| before.count), LIMIT_LAST)
    }
}

/// A time doubled so often, up to the last.
fn doubled(first: Duration, times: u32, last: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times)).min(last)
}

#[cfg(test)]
mod tests {
    use rdev_domain::Reason;
    use rdev_ports::testing::START;
    use tokio::time::advance;

    use super::*;

    fn later() -> Missing {
        Missing::Later(Failure::new(Reason::PodNotReady, "no answer"))
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_and_limits_grow_to_an_end_and_are_spread() {
        let mut before = None;
        for (limit, pause) in [(5, 2), (10, 4), (20, 8), (30, 16), (30, 30), (30, 30)] {
            assert_eq!(Failed::limit(before.as_ref()).as_secs(), limit);
            let drawn =
                [0.0, 1.0].map(|fraction| Failed::after(before.as_ref(), later(), true, START, fraction));
            let pauses = drawn.each_ref().map(|drawn| drawn.again.duration_since(Instant::now()).as_millis());
            assert_eq!(pauses, [pause * 1000, pause * 500]);
            let [longest, _] = drawn;
            // An outage of the cluster says nothing of the container.
            let outage = Failed::after(before.as_ref(), later(), false, START, 0.0);
            assert_eq!(Failed::limit(Some(&outage)).as_secs(), limit);
            before = Some(longest);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_looks_before_the_pause_is_over() {
        assert!(Look::due(None).is_some());
        let look = Look::Failed(Failed::after(None, later(), true, START, 0.0));
        assert!(Look::due(Some(&look)).is_none());
        advance(PAUSE_FIRST).await;
        assert!(Look::due(Some(&look)).is_some_and(|before| before.is_some_and(|before| before.count == 1)));
    }
}
