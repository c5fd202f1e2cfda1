//! Refusals: a pod answers, and its runner does not do its work. The cause is stored within seconds, and a job of which
//! nothing has run ends within a minute.

use std::time::Duration;

use rdev_domain::{Failure, Reason};
use rdev_ports::{ExecError, RUNNER_EXITS_NOT_STARTED};
use tokio::time::Instant;

/// Time of refusals before the cause is reported: a cause that passes at once is no news.
const REPORTED_AFTER: Duration = Duration::from_secs(2);
/// Time of refusals before a job of which nothing has run ends. With the longest pause between two attempts it is less
/// than a minute.
const ENDS_AFTER: Duration = Duration::from_secs(45);
/// Time of refusals before such a job ends where access to the runner is forbidden: a cluster that was started anew may
/// forbid everything for minutes.
const FORBIDDEN_ENDS_AFTER: Duration = Duration::from_secs(300);

/// Refusals of a runner since it last spoke of the job.
#[derive(Debug)]
pub(crate) struct Refusals {
    since: Option<Instant>,
    reported: bool,
    /// Nothing of the job has run: this worker has sent every request for it, and each was answered with a refusal.
    nothing_ran: bool,
}

/// Reaction to a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Ask again.
    Wait,
    /// Report the cause, once, and ask again.
    Report(Failure),
    /// End the job: nothing of it has run, and nothing will.
    End(Failure),
}

impl Refusals {
    /// Begins without refusals. `is_first`: no request was sent for this attempt before.
    pub(crate) fn new(is_first: bool) -> Self {
        Self { since: None, reported: false, nothing_ran: is_first }
    }

    /// Adds an answer of the pod that does not speak of the job.
    pub(crate) fn add(&mut self, answer: &ExecError) -> Reaction {
        self.nothing_ran &= match answer {
            ExecError::NotStarted(_) | ExecError::Forbidden(_) | ExecError::Unreached(_) => true,
            ExecError::Failed { code, .. } => RUNNER_EXITS_NOT_STARTED.contains(code),
            ExecError::Cut(_) => false,
        };
        let lasted = self.since.get_or_insert_with(Instant::now).elapsed();
        let ends_after = match answer {
            ExecError::Forbidden(_) => FORBIDDEN_ENDS_AFTER,
            _ => ENDS_AFTER,
        };
        if lasted >= ends_after && self.nothing_ran {
            return Reaction::End(failure(answer));
        }
        if lasted >= REPORTED_AFTER && !self.reported {
            self.reported = true;
            return Reaction::Report(failure(answer));
        }
        Reaction::Wait
    }

    /// Tells whether it is certain that nothing of the job has run.
    pub(crate) fn nothing_ran(&self) -> bool {
        self.nothing_ran
    }

    /// Adds a request whose effect is not known.
    pub(crate) fn unanswered(&mut self) {
        self.nothing_ran = false;
    }

    /// Forgets the refusals, as the runner speaks of the job. Returns whether a cause was reported.
    pub(crate) fn clear(&mut self) -> bool {
        std::mem::replace(self, Self::new(false)).reported
    }
}

fn failure(answer: &ExecError) -> Failure {
    let message = match answer {
        ExecError::Failed { stderr, .. } if !stderr.is_empty() => stderr.clone(),
        answer => answer.to_string(),
    };
    let reason = match answer {
        ExecError::Forbidden(_) => Reason::ExecForbidden,
        _ => Reason::RunnerFailed,
    };
    Failure::new(reason, message)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn full() -> ExecError {
        let stderr = "rdev-runner: cannot create /runs/.x: No space left on device".to_owned();
        ExecError::Failed { code: 73, stderr }
    }

    fn cause() -> Failure {
        Failure::new(Reason::RunnerFailed, "rdev-runner: cannot create /runs/.x: No space left on device")
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_lasts_is_reported_once_and_ends_what_never_ran() {
        let mut refusals = Refusals::new(true);
        assert_eq!(refusals.add(&full()), Reaction::Wait);
        advance(REPORTED_AFTER).await;
        assert_eq!(refusals.add(&full()), Reaction::Report(cause()));
        advance(ENDS_AFTER / 2).await;
        assert_eq!(refusals.add(&full()), Reaction::Wait);
        advance(ENDS_AFTER / 2).await;
        assert_eq!(refusals.add(&full()), Reaction::End(cause()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_forbidden_access_is_waited_for_longer() {
        let mut refusals = Refusals::new(true);
        let forbidden = || ExecError::Forbidden("the Role needs a verb".to_owned());
        let failure = || Failure::new(Reason::ExecForbidden, "the Role needs a verb");
        assert_eq!(refusals.add(&forbidden()), Reaction::Wait);
        advance(ENDS_AFTER).await;
        assert_eq!(refusals.add(&forbidden()), Reaction::Report(failure()));
        assert!(refusals.nothing_ran());
        advance(FORBIDDEN_ENDS_AFTER).await;
        assert_eq!(refusals.add(&forbidden()), Reaction::End(failure()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_run_is_not_ended() {
        let ambiguous: [fn(&mut Refusals); 4] = [
            |refusals| refusals.unanswered(),
            |refusals| *refusals = Refusals::new(false),
            |refusals| assert!(!refusals.clear()),
            |refusals| {
                let unsure = ExecError::Failed { code: 70, stderr: "no memory".to_owned() };
                assert_eq!(refusals.add(&unsure), Reaction::Wait);
            },
        ];
        for make_ambiguous in ambiguous {
            let mut refusals = Refusals::new(true);
            make_ambiguous(&mut refusals);
            assert_eq!(refusals.add(&full()), Reaction::Wait);
            advance(ENDS_AFTER).await;
            assert_eq!(refusals.add(&full()), Reaction::Report(cause()));
            assert_eq!(refusals.add(&full()), Reaction::Wait);
            assert!(refusals.clear(), "its end is reported as well");
        }
    }
}
