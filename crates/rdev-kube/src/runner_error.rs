//! Failures to call a pod's runner, and the time after which one is permanent.

use std::time::Duration;

use rdev_domain::{Failure, Reason, Timestamp};
use rdev_ports::Readiness;

use crate::exec::{ExecError, ExecTarget};

/// A refusal is permanent once it has repeated for this time while the cluster answered other calls.
pub(crate) const REFUSED_MAX: Duration = Duration::from_secs(30);
/// Smallest exit code of a program that a signal has ended, or that could not be started.
const EXIT_SIGNALED: i32 = 128;
/// Messages of a program that ran out of processes, memory, disk or files.
const OUT_OF: [&str; 6] = [
    "Resource temporarily unavailable",
    "annot fork",
    "annot allocate memory",
    "No space left on device",
    "Disk quota exceeded",
    "Too many open files",
];

/// Failure to call a pod's runner.
#[derive(Debug)]
pub(crate) enum RunnerError {
    /// Permanent: an operator has to act.
    Permanent(Failure),
    /// Refused, perhaps for a while: a cluster that has just started forbids everything until it has
    /// loaded its Roles.
    Refused(Failure),
    /// Transient.
    Transient(Failure),
}

impl RunnerError {
    /// Classifies a failed exec in the pod.
    pub(crate) fn of(target: &ExecTarget, error: ExecError) -> Self {
        match error {
            // Every call fails like this until rdev gets other credentials; waiting jobs then go on.
            ExecError::Unauthorized => {
                Self::Transient(Failure::new(Reason::ExecForbidden, error.to_string()))
            }
            ExecError::Forbidden => Self::Refused(Failure::new(Reason::ExecForbidden, error.to_string())),
            ExecError::Exit { code, stderr } if passes(code, &stderr) => {
                let message = format!("its container lacks a resource (exit code {code}): {stderr}");
                Self::Transient(Failure::new(Reason::RunnerMissing, message))
            }
            ExecError::NoProgram(message) | ExecError::Exit { stderr: message, .. } => {
                Self::Refused(Failure::new(Reason::RunnerMissing, message))
            }
            ExecError::NotThere(_) | ExecError::NotRun(_) | ExecError::Unreached(_) | ExecError::Cut(_) => {
                let pod = &target.pod;
                let message = format!("pod {pod} is ready, but programs cannot be started in it: {error}");
                Self::Transient(Failure::new(Reason::PodNotReady, message))
            }
        }
    }
}

/// Tells whether a retry of a short program may succeed: it was killed, or lacked a resource.
fn passes(code: i32, stderr: &str) -> bool {
    code >= EXIT_SIGNALED || OUT_OF.iter().any(|words| stderr.contains(words))
}

/// Failed probes of a container in a row, all for the same reason.
#[derive(Debug, Clone)]
pub(crate) struct RepeatedFailure {
    /// The last failure.
    failure: Failure,
    /// Time of the first failure.
    since: Timestamp,
    /// True once the failure is permanent.
    pub(crate) is_permanent: bool,
}

impl RepeatedFailure {
    /// Adds a failed probe. `cluster_answers` tells whether other calls to the cluster succeed.
    pub(crate) fn after(
        before: Option<&Self>,
        error: RunnerError,
        cluster_answers: bool,
        now: Timestamp,
    ) -> Self {
        let (failure, tolerated) = match error {
            RunnerError::Permanent(failure) => (failure, Some(Duration::ZERO)),
            RunnerError::Refused(failure) => (failure, cluster_answers.then_some(REFUSED_MAX)),
            RunnerError::Transient(failure) => (failure, None),
        };
        let before = before.filter(|before| before.failure.reason == failure.reason);
        let since = before.map_or(now, |before| before.since);
        Self {
            is_permanent: tolerated.is_some_and(|tolerated| now.since(since) >= tolerated),
            failure,
            since,
        }
    }

    /// Returns the last failure, and the time of the first.
    pub(crate) fn failure(&self) -> (&Failure, Timestamp) {
        (&self.failure, self.since)
    }

    pub(crate) fn readiness(&self) -> Readiness {
        match self.is_permanent {
            true => Readiness::Unusable { cause: self.failure.clone() },
            false => Readiness::NotReady { cause: self.failure.clone(), since: self.since },
        }
    }
}

#[cfg(test)]
mod tests {
    use rdev_ports::testing::START;

    use super::*;

    fn classify(error: ExecError) -> RunnerError {
        let [namespace, node, pod, container] = ["rdev", "n1", "demo-0", "main"].map(str::to_owned);
        RunnerError::of(&ExecTarget { namespace, node, pod, container }, error)
    }

    #[test]
    fn a_lack_of_resources_is_transient() {
        for (code, stderr) in [
            (137, ""),
            (143, "Terminated"),
            (2, "sh: 3: Cannot fork"),
            (254, "sh: fork: retry: Resource temporarily unavailable"),
            (1, "sh: fork: Cannot allocate memory"),
            (4, "head: error writing 'standard output': No space left on device"),
            (4, "head: error writing 'standard output': Disk quota exceeded"),
            (1, "sh: cannot create pipe: Too many open files"),
        ] {
            let error = classify(ExecError::Exit { code, stderr: stderr.to_owned() });
            assert!(matches!(error, RunnerError::Transient(_)), "{error:?}");
        }
    }

    #[test]
    fn a_refusal_has_its_reason_and_its_words() {
        let exit = || ExecError::Exit { code: 3, stderr: "neither can be written".to_owned() };
        for (error, expected, reason, words) in [
            (ExecError::Unauthorized, "transient", Reason::ExecForbidden, "token or certificate"),
            (ExecError::Forbidden, "refused", Reason::ExecForbidden, "pods/exec"),
            (exit(), "refused", Reason::RunnerMissing, "written"),
            (ExecError::NotThere(404), "transient", Reason::PodNotReady, "pod demo-0"),
            (ExecError::NotRun("ttrpc: closed".to_owned()), "transient", Reason::PodNotReady, "ttrpc"),
            (
                ExecError::Cut(anyhow::anyhow!("too many requests")),
                "transient",
                Reason::PodNotReady,
                "too many",
            ),
        ] {
            let (kind, failure) = match classify(error) {
                RunnerError::Refused(failure) => ("refused", failure),
                RunnerError::Transient(failure) => ("transient", failure),
                RunnerError::Permanent(failure) => ("permanent", failure),
            };
            assert_eq!((kind, failure.reason), (expected, reason), "{}", failure.message);
            assert!(failure.message.contains(words), "{}", failure.message);
        }
    }

    #[test]
    fn a_refusal_is_permanent_when_it_repeats_for_a_while() {
        let forbidden = || classify(ExecError::Forbidden);
        let first = RepeatedFailure::after(None, forbidden(), true, START);
        assert!(matches!(first.readiness(), Readiness::NotReady { since: START, .. }));
        let soon = RepeatedFailure::after(Some(&first), forbidden(), true, START + REFUSED_MAX / 2);
        assert!(matches!(soon.readiness(), Readiness::NotReady { since: START, .. }));
        let late = START + REFUSED_MAX;
        assert!(RepeatedFailure::after(Some(&soon), forbidden(), true, late).is_permanent);
        // A cluster that forbids everything is starting.
        assert!(!RepeatedFailure::after(Some(&soon), forbidden(), false, late).is_permanent);
        // Another failure in between restarts the time.
        let other = RepeatedFailure::after(Some(&soon), classify(ExecError::NotThere(404)), true, late);
        assert!(!RepeatedFailure::after(Some(&other), forbidden(), true, late).is_permanent);
        // A transient failure never becomes permanent.
        let waits = RepeatedFailure::after(None, classify(ExecError::Unauthorized), true, START);
        assert!(
            !RepeatedFailure::after(Some(&waits), classify(ExecError::Unauthorized), true, late).is_permanent
        );
    }
}
