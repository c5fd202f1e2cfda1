//! A place that answers, but whose runner does not do its work: that is told within seconds, and a command of which
//! nothing has run ends within a minute.

use std::time::Duration;

use rdev_domain::{Failure, Reason};
use rdev_ports::{ExecError, RUNNER_EXITS_NOT_STARTED};
use tokio::time::Instant;

/// Time that a runner may refuse before that is told: what passes at once is no news.
const TOLD_AFTER: Duration = Duration::from_secs(2);
/// Time that it may refuse before a command of which nothing has run ends. With the longest pause between two
/// attempts it is less than a minute.
const ENDS_AFTER: Duration = Duration::from_secs(45);
/// The same where nobody was let through to the runner: a cluster that was started anew may forbid everything for minutes.
const FORBIDDEN_ENDS_AFTER: Duration = Duration::from_secs(300);

/// What the runner has answered, instead of speaking of the command, since it last did.
#[derive(Debug)]
pub(crate) struct Refusals {
    since: Option<Instant>,
    told: bool,
    /// Nothing of the command has run, whatever else is wrong: this worker has given every order for it, and each
    /// was answered by a word that it was not carried out.
    nothing_ran: bool,
}

/// What is to be done about a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Asking again.
    Nothing,
    /// Telling of it, once, and asking again.
    Tell(Failure),
    /// Ending the command: nothing of it has run, and nothing will.
    End(Failure),
}

impl Refusals {
    /// None yet. `is_first`: no order was given for this attempt before.
    pub(crate) fn new(is_first: bool) -> Self {
        Self { since: None, told: false, nothing_ran: is_first }
    }

    /// The place has answered with this instead of what the runner knows of the command.
    pub(crate) fn refused(&mut self, answer: &ExecError) -> Then {
        self.nothing_ran &= match answer {
            ExecError::NotStarted(_) | ExecError::Forbidden(_) => true,
            ExecError::Failed { code, .. } => RUNNER_EXITS_NOT_STARTED.contains(code),
            ExecError::Cut(_) => false,
        };
        let lasted = self.since.get_or_insert_with(Instant::now).elapsed();
        let ends_after = match answer {
            ExecError::Forbidden(_) => FORBIDDEN_ENDS_AFTER,
            _ => ENDS_AFTER,
        };
        if lasted >= ends_after && self.nothing_ran {
            return Then::End(failure(answer));
        }
        if lasted >= TOLD_AFTER && !self.told {
            self.told = true;
            return Then::Tell(failure(answer));
        }
        Then::Nothing
    }

    /// Whether nothing of the command has run, for certain.
    pub(crate) fn nothing_ran(&self) -> bool {
        self.nothing_ran
    }

    /// It is not known what became of an order.
    pub(crate) fn unanswered(&mut self) {
        self.nothing_ran = false;
    }

    /// The runner speaks of the command. Whether it was told before that it does not.
    pub(crate) fn over(&mut self) -> bool {
        std::mem::replace(self, Self::new(false)).told
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

    fn told() -> Failure {
        Failure::new(Reason::RunnerFailed, "rdev-runner: cannot create /runs/.x: No space left on device")
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_lasts_is_told_once_and_ends_what_never_ran() {
        let mut refusals = Refusals::new(true);
        assert_eq!(refusals.refused(&full()), Then::Nothing);
        advance(TOLD_AFTER).await;
        assert_eq!(refusals.refused(&full()), Then::Tell(told()));
        advance(ENDS_AFTER / 2).await;
        assert_eq!(refusals.refused(&full()), Then::Nothing);
        advance(ENDS_AFTER / 2).await;
        assert_eq!(refusals.refused(&full()), Then::End(told()));
    }

    #[tokio::test(start_paused = true)]
    async fn whom_nobody_lets_through_waits_longer() {
        let mut refusals = Refusals::new(true);
        let forbidden = || ExecError::Forbidden("the Role needs a verb".to_owned());
        let failure = || Failure::new(Reason::ExecForbidden, "the Role needs a verb");
        assert_eq!(refusals.refused(&forbidden()), Then::Nothing);
        advance(ENDS_AFTER).await;
        assert_eq!(refusals.refused(&forbidden()), Then::Tell(failure()));
        assert!(refusals.nothing_ran());
        advance(FORBIDDEN_ENDS_AFTER).await;
        assert_eq!(refusals.refused(&forbidden()), Then::End(failure()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_run_is_not_ended() {
        let ambiguous: [fn(&mut Refusals); 4] = [
            |refusals| refusals.unanswered(),
            |refusals| *refusals = Refusals::new(false),
            |refusals| assert!(!refusals.over()),
            |refusals| {
                let unsure = ExecError::Failed { code: 70, stderr: "no memory".to_owned() };
                assert_eq!(refusals.refused(&unsure), Then::Nothing);
            },
        ];
        for make_ambiguous in ambiguous {
            let mut refusals = Refusals::new(true);
            make_ambiguous(&mut refusals);
            assert_eq!(refusals.refused(&full()), Then::Nothing);
            advance(ENDS_AFTER).await;
            assert_eq!(refusals.refused(&full()), Then::Tell(told()));
            assert_eq!(refusals.refused(&full()), Then::Nothing);
            assert!(refusals.over(), "that it is over is told as well");
        }
    }
}
