//! State of the probe of a container: how its runner is called, or why not. Each probe is a task
//! of its own; this file holds its results only.

use std::time::Duration;

use rdev_domain::{Failure, Timestamp};
use rdev_ports::Readiness;
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id};
use tokio::time::Instant;

use crate::runner::Runner;
use crate::runner_error::{RepeatedFailure, RunnerError};

/// Pause between failed probes: doubled each time, up to the last.
const PAUSE_FIRST: Duration = Duration::from_secs(2);
const PAUSE_LAST: Duration = Duration::from_secs(30);
/// Time limit of each short program in the first probe: a working container takes some tens of
/// milliseconds. The limit doubles with each probe, so a busy node gets the time that it needs.
const LIMIT_FIRST: Duration = Duration::from_secs(5);
const LIMIT_LAST: Duration = Duration::from_secs(30);
/// Pause before an unusable container is probed again.
const UNUSABLE_PAUSE: Duration = Duration::from_secs(10);

/// State of the probe of a container.
pub(crate) enum ProbeState {
    /// A probe is running.
    Running(Running),
    /// The runner is usable, and called like this.
    Ready(Runner),
    /// The last probe failed.
    Failed(Failed),
}

/// A running probe. Dropping it aborts it.
pub(crate) struct Running {
    task: AbortHandle,
    /// Closed when the probe has ended.
    pub(crate) over: watch::Receiver<()>,
    pub(crate) began: Instant,
    since: Timestamp,
    before: Option<Failed>,
}

/// Failed probes in a row.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    cause: RepeatedFailure,
    count: u32,
    /// Earliest time of the next probe.
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

    /// Tells whether no valid result of an earlier probe exists: an answer is worth waiting for.
    pub(crate) fn is_first_answer(&self) -> bool {
        self.before.as_ref().is_none_or(|before| before.cause.is_permanent)
    }
}

impl ProbeState {
    /// Returns the failures so far, if a probe should start now.
    pub(crate) fn due(state: Option<&Self>) -> Option<Option<Failed>> {
        match state {
            None => Some(None),
            Some(Self::Failed(before)) if before.again <= Instant::now() => Some(Some(before.clone())),
            // The task of the probe has died.
            Some(Self::Running(running)) if running.task.is_finished() => Some(running.before.clone()),
            Some(Self::Running(_) | Self::Ready(_) | Self::Failed(_)) => None,
        }
    }

    /// Returns the last failure and its start, if there was one.
    pub(crate) fn failure(&self) -> Option<(&Failure, Timestamp)> {
        self.failed().map(Failed::failure)
    }

    /// Returns the readiness after a failure. While a probe runs, a permanent failure counts as
    /// transient.
    pub(crate) fn readiness(&self) -> Option<Readiness> {
        match (self, self.failed()?) {
            (Self::Running(_), failed) => {
                let (failure, since) = failed.failure();
                Some(Readiness::NotReady { cause: failure.clone(), since })
            }
            (Self::Ready(_) | Self::Failed(_), failed) => Some(failed.cause.readiness()),
        }
    }

    fn failed(&self) -> Option<&Failed> {
        match self {
            Self::Failed(failed) => Some(failed),
            Self::Running(running) => running.before.as_ref(),
            Self::Ready(_) => None,
        }
    }

    /// Returns the start of a running probe.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Running(running) => Some(running.since),
            Self::Ready(_) | Self::Failed(_) => None,
        }
    }
}

impl Failed {
    /// Adds a failed probe. It does not count while the cluster does not answer at all. `fraction`, from
    /// 0 to 1, spreads the pause.
    pub(crate) fn after(
        before: Option<&Self>,
        error: RunnerError,
        cluster_answers: bool,
        now: Timestamp,
        fraction: f64,
    ) -> Self {
        let count = before.map_or(0, |before| before.count);
        let cause = RepeatedFailure::after(before.map(|before| &before.cause), error, cluster_answers, now);
        let pause = match (cause.is_permanent, cluster_answers) {
            (true, _) => UNUSABLE_PAUSE,
            (false, true) => doubled(PAUSE_FIRST, count, PAUSE_LAST),
            (false, false) => PAUSE_FIRST,
        };
        let again = Instant::now() + pause.mul_f64(1.0 - fraction / 2.0);
        Self { cause, count: count.saturating_add(cluster_answers.into()), again }
    }

    pub(crate) fn failure(&self) -> (&Failure, Timestamp) {
        self.cause.failure()
    }

    /// Returns the time limit of a short program in the next probe.
    pub(crate) fn limit(before: Option<&Self>) -> Duration {
        doubled(LIMIT_FIRST, before.map_or(0, |before| before.count), LIMIT_LAST)
    }
}

/// Doubles a time `times` times, up to the last.
fn doubled(first: Duration, times: u32, last: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times)).min(last)
}

#[cfg(test)]
mod tests {
    use rdev_domain::Reason;
    use rdev_ports::testing::START;
    use tokio::time::advance;

    use super::*;

    fn later() -> RunnerError {
        RunnerError::Transient(Failure::new(Reason::PodNotReady, "no answer"))
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
            // An outage of the cluster says nothing about the container.
            let outage = Failed::after(before.as_ref(), later(), false, START, 0.0);
            assert_eq!(Failed::limit(Some(&outage)).as_secs(), limit);
            before = Some(longest);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_probe_starts_before_the_pause_is_over() {
        assert!(ProbeState::due(None).is_some());
        let state = ProbeState::Failed(Failed::after(None, later(), true, START, 0.0));
        assert!(ProbeState::due(Some(&state)).is_none());
        advance(PAUSE_FIRST).await;
        assert!(
            ProbeState::due(Some(&state))
                .is_some_and(|before| before.is_some_and(|before| before.count == 1))
        );
    }
}
