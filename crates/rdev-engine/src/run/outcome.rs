//! Outcomes of jobs: by the exit that the runner reported, or without one.

use std::io::{Error as IoError, ErrorKind};
use std::time::Duration;

use rdev_domain::{CommandRequest, Ending, Failure, Job, JobSpec, Outcome, Reason};
use rdev_runner::frame::{Ended, Exit, StopCause};

use super::invocation::GRACE;

/// Returns the outcome of a job that was cancelled before anything of it ran.
pub(crate) fn never_started() -> Outcome {
    Outcome::without_process(Ending::Cancelled, "cancelled before it started")
}

/// Returns the outcome of a job of whose process nothing is known.
pub(crate) fn failed(reason: Reason, message: impl Into<String>) -> Outcome {
    Outcome::without_process(Ending::Failed(reason), message)
}

/// Returns the failure of a job that was killed together with another one, which had exceeded the memory limit of their
/// container.
pub(crate) fn killed_with_another() -> Failure {
    let message =
        "another command needed more memory than their container may have, and this one was ended with it";
    Failure::new(Reason::PodRestarted, message)
}

/// Returns the outcome of a job whose runner reported this exit.
pub(crate) fn describe_exit(job: &Job, exit: Exit) -> Outcome {
    let (exit_code, by_itself, message) = describe_end(&job.spec, exit.ended);
    let (ending, message) = match exit.cause {
        StopCause::None => (by_itself, message),
        StopCause::Cancelled => (Ending::Cancelled, message),
        StopCause::Timeout => {
            let (limit, grace) = (job.timeout.as_secs(), GRACE.as_secs());
            (Ending::TimedOut, Some(format!("stopped after {limit} s, with {grace} s of grace")))
        }
    };
    Outcome { ending, exit_code, message, duration: Duration::from_micros(exit.duration_us) }
}

/// Returns exit code, ending and message of a process that was not stopped by its runner.
fn describe_end(spec: &JobSpec, ended: Ended) -> (Option<i32>, Ending, Option<String>) {
    match ended {
        Ended::Exited(0) => (Some(0), Ending::Completed, None),
        Ended::Exited(code) => (Some(code), Ending::Failed(Reason::ExitCode), None),
        Ended::Signaled(signal) => {
            let message = format!("killed by signal {signal}");
            (Some(signal.saturating_add(128)), Ending::Failed(Reason::Signal), Some(message))
        }
        Ended::OomKilled(code) => {
            let message = "it needed more memory than its container may have".to_owned();
            (Some(code), Ending::Failed(Reason::OomKilled), Some(message))
        }
        Ended::SpawnFailed(errno) => {
            let error = IoError::from_raw_os_error(errno);
            let is_shell =
                matches!(spec, JobSpec::Command { request: CommandRequest::Shell(_), .. } | JobSpec::Task(_));
            let reason = match error.kind() {
                ErrorKind::NotFound if is_shell => Reason::NoShell,
                _ => Reason::SpawnFailed,
            };
            (None, Ending::Failed(reason), Some(format!("it could not be started: {error}")))
        }
    }
}
