//! Log lines of the life of a job: its start, its attempts, its end. Each names the job with its facts.

use std::time::Duration;

use rdev_domain::{Job, JobSpec, Outcome, Timestamp, beginning};
use tracing::field::display;

/// Longest beginning of a message that a line shows, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// Logs a line about a job, with these fields beside the job's own.
macro_rules! line {
    ($job:expr, $verb:literal $(, $($fields:tt)*)?) => {
        tracing::info!(
            job = %$job.id,
            "type" = display($job.spec.kind().as_str()),
            project = $job.spec.project().map(display),
            stream = named_stream($job),
            created_by = %$job.created_by,
            $($($fields)*,)?
            concat!("{} ", $verb),
            noun(&$job.spec)
        )
    };
}

/// Logs the start of an attempt.
pub(crate) fn started(job: &Job, attempt: u32, now: Timestamp) {
    let waited_ms = millis(now.since(job.created_at));
    let attempt = job.spec.is_task().then_some(attempt);
    line!(job, "started", attempt, waited_ms);
}

/// Logs that this worker goes on with a job that another one has started, or this one before.
pub(crate) fn attached(job: &Job) {
    line!(job, "was running, attached to it");
}

/// Logs the end of an attempt that another one follows.
pub(crate) fn retried(job: &Job, attempt: u32, outcome: &Outcome, pause: Duration) {
    let (reason, pause_ms) = (outcome.ending.reason().map(display), millis(pause));
    line!(
        job,
        "failed, another attempt follows",
        attempt,
        reason,
        exit_code = outcome.exit_code,
        duration_ms = millis(outcome.duration),
        pause_ms,
        cause = cause(outcome)
    );
}

/// Logs the end of a job.
pub(crate) fn ended(job: &Job, outcome: &Outcome) {
    line!(
        job,
        "ended",
        status = display(rdev_domain::JobStatus::from(outcome.ending).as_str()),
        reason = outcome.ending.reason().map(display),
        exit_code = outcome.exit_code,
        duration_ms = millis(outcome.duration),
        cause = cause(outcome)
    );
}

/// Returns what the API calls a job.
fn noun(spec: &JobSpec) -> &'static str {
    match spec {
        JobSpec::Command { .. } => "command",
        JobSpec::Task(_) => "task",
        JobSpec::Operation(_) => "operation",
    }
}

/// Returns the name of a stream that its caller has chosen.
fn named_stream(job: &Job) -> Option<&str> {
    Some(job.stream.as_str()).filter(|stream| *stream != job.id.as_str())
}

/// Returns the beginning of the words about an end.
fn cause(outcome: &Outcome) -> Option<&str> {
    outcome.message.as_deref().map(|message| beginning(message, MESSAGE_CHARS_MAX))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
