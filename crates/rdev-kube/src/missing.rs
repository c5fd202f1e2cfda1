//! Why a pod's runner cannot be called, and how long that is borne with.

use std::time::Duration;

use rdev_domain::{Failure, Reason, Timestamp};
use rdev_ports::Readiness;

use crate::exec::{ExecError, Target};

/// A refusal is meant in earnest when it was the same for so long, and the cluster answered meanwhile.
pub(crate) const REFUSED_MAX: Duration = Duration::from_secs(30);
/// Exit codes from here on are those of a program that a signal has ended, or of one that could not be started.
const EXIT_SIGNALED: i32 = 128;
/// Words of a program that was out of processes, memory, disk or files.
const OUT_OF: [&str; 6] = [
    "Resource temporarily unavailable",
    "annot fork",
    "annot allocate memory",
    "No space left on device",
    "Disk quota exceeded",
    "Too many open files",
];

/// Why a pod's runner cannot be called.
#[derive(Debug)]
pub(crate) enum Missing {
    /// It will not be had without somebody's doing.
    Unusable(Failure),
    /// Somebody refuses, which may pass: a cluster that has just been started forbids everything until it knows its
    /// Roles.
    Refused(Failure),
    /// It may be had later.
    Later(Failure),
}

impl Missing {
    /// After an exec in the pod.
    pub(crate) fn of(target: &Target, error: ExecError) -> Self {
        match error {
            // Every call fails so: rdev gets other credentials, and what waits goes on.
            ExecError::Unauthorized => Self::Later(Failure::new(Reason::ExecForbidden, error.to_string())),
            ExecError::Forbidden => Self::Refused(Failure::new(Reason::ExecForbidden, error.to_string())),
            ExecError::Exit { code, stderr } if passes(code, &stderr) => {
                let message = format!("its container is short of something (exit code {code}): {stderr}");
                Self::Later(Failure::new(Reason::RunnerMissing, message))
            }
            ExecError::NoProgram(message) | ExecError::Exit { stderr: message, .. } => {
                Self::Refused(Failure::new(Reason::RunnerMissing, message))
            }
            ExecError::NotThere(_) | ExecError::NotRun(_) | ExecError::Cut(_) => {
                let pod = &target.pod;
                let message = format!("pod {pod} is ready, but programs cannot be started in it: {error}");
                Self::Later(Failure::new(Reason::PodNotReady, message))
            }
        }
    }
}

/// Tells whether a short program that ended so may do better: it was killed, or wanted something of which none was left.
fn passes(code: i32, stderr: &str) -> bool {
    code >= EXIT_SIGNALED || OUT_OF.iter().any(|words| stderr.contains(words))
}

/// Looks at a container that were in vain, all for the same reason.
#[derive(Debug, Clone)]
pub(crate) struct InVain {
    /// As it was told last.
    failure: Failure,
    /// The first.
    since: Timestamp,
    /// It will not pass.
    pub(crate) is_final: bool,
}

impl InVain {
    /// After one more look. `cluster_answers` tells whether it does so beside this.
    pub(crate) fn after(
        before: Option<&Self>,
        missing: Missing,
        cluster_answers: bool,
        now: Timestamp,
    ) -> Self {
        let (failure, borne) = match missing {
            Missing::Unusable(failure) => (failure, Some(Duration::ZERO)),
            Missing::Refused(failure) => (failure, cluster_answers.then_some(REFUSED_MAX)),
            Missing::Later(failure) => (failure, None),
        };
        let before = before.filter(|before| before.failure.reason == failure.reason);
        let since = before.map_or(now, |before| before.since);
        Self { is_final: borne.is_some_and(|borne| now.since(since) >= borne), failure, since }
    }

    /// As it was told last, and since when.
    pub(crate) fn failure(&self) -> (&Failure, Timestamp) {
        (&self.failure, self.since)
    }

    pub(crate) fn readiness(&self) -> Readiness {
        match self.is_final {
            true => Readiness::Unusable { cause: self.failure.clone() },
            false => Readiness::NotReady { cause: self.failure.clone(), since: self.since },
        }
    }
}

#[cfg(test)]
mod tests {
    use rdev_ports::testing::START;

    use super::*;

    fn missing(error: ExecError) -> Missing {
        let [namespace, node, pod, container] = ["rdev", "n1", "demo-0", "main"].map(str::to_owned);
        Missing::of(&Target { namespace, node, pod, container }, error)
    }

    #[test]
    fn what_a_shell_was_short_of_may_come_back() {
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
            let missing = missing(ExecError::Exit { code, stderr: stderr.to_owned() });
            assert!(matches!(missing, Missing::Later(_)), "{missing:?}");
        }
    }

    #[test]
    fn a_refusal_has_its_reason_and_its_words() {
        let exit = || ExecError::Exit { code: 3, stderr: "neither can be written".to_owned() };
        for (error, how, reason, words) in [
            (ExecError::Unauthorized, "later", Reason::ExecForbidden, "token or certificate"),
            (ExecError::Forbidden, "refused", Reason::ExecForbidden, "pods/exec"),
            (exit(), "refused", Reason::RunnerMissing, "written"),
            (ExecError::NotThere(404), "later", Reason::PodNotReady, "pod demo-0"),
            (ExecError::NotRun("ttrpc: closed".to_owned()), "later", Reason::PodNotReady, "ttrpc"),
            (ExecError::Cut(anyhow::anyhow!("too many requests")), "later", Reason::PodNotReady, "too many"),
        ] {
            let (told, failure) = match missing(error) {
                Missing::Refused(failure) => ("refused", failure),
                Missing::Later(failure) => ("later", failure),
                Missing::Unusable(failure) => ("unusable", failure),
            };
            assert_eq!((told, failure.reason), (how, reason), "{}", failure.message);
            assert!(failure.message.contains(words), "{}", failure.message);
        }
    }

    #[test]
    fn a_refusal_is_final_when_it_is_the_same_for_a_while() {
        let forbidden = || missing(ExecError::Forbidden);
        let first = InVain::after(None, forbidden(), true, START);
        assert!(matches!(first.readiness(), Readiness::NotReady { since: START, .. }));
        let soon = InVain::after(Some(&first), forbidden(), true, START + REFUSED_MAX / 2);
        assert!(matches!(soon.readiness(), Readiness::NotReady { since: START, .. }));
        let late = START + REFUSED_MAX;
        assert!(InVain::after(Some(&soon), forbidden(), true, late).is_final);
        // It forbids everything: it is being started.
        assert!(!InVain::after(Some(&soon), forbidden(), false, late).is_final);
        // Another trouble in between, and it begins anew.
        let other = InVain::after(Some(&soon), missing(ExecError::NotThere(404)), true, late);
        assert!(!InVain::after(Some(&other), forbidden(), true, late).is_final);
        // What may pass is never final.
        let waits = InVain::after(None, missing(ExecError::Unauthorized), true, START);
        assert!(!InVain::after(Some(&waits), missing(ExecError::Unauthorized), true, late).is_final);
    }
}
