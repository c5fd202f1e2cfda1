//! Ended jobs, counted by the server that follows the log: of several servers each end is counted by one.

use async_trait::async_trait;
use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
use rdev_domain::{Ending, EntryBody, JobKind, JobStatus, Outcome, Reason, Result};
use rdev_engine::LogHandler;
use rdev_ports::{FollowedEntry, Follower, FollowerGap};

const ENDED: &str = "rdev_jobs_ended_total";
pub(super) const DURATION: &str = "rdev_job_duration_seconds";
pub(super) const WAIT: &str = "rdev_job_wait_seconds";
/// From the shortest command to the longest that agents are given.
pub(super) const JOB_SECONDS_BUCKETS: [f64; 13] =
    [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0];
const GAPS: &str = "rdev_log_follower_gaps_total";

/// Follower that counts.
pub(crate) const FOLLOWER: Follower = Follower::new("metrics");

/// Counts the ends of jobs. A task that is reopened ends more than once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobsEnded;

/// Describes the figures, and begins each counter at 0: a rate shows the first increase only of a series that was there
/// before.
pub(super) fn install() {
    describe_counter!(
        ENDED,
        "Ends of jobs that this process has counted: the sum over all processes is whole"
    );
    describe_histogram!(
        DURATION,
        "Time from the start of a job's process to its end, counted as the ends are"
    );
    describe_histogram!(
        WAIT,
        "Time from when an ended job could have started to its last start, counted as the ends are"
    );
    for kind in JobKind::all() {
        for ending in endings(kind) {
            ended(kind, ending).absolute(0);
        }
    }
    describe_counter!(GAPS, "Times that retention has removed entries of the log unread by a follower");
    gaps(FOLLOWER).absolute(0);
}

/// Returns the ways in which jobs of a kind may end.
fn endings(kind: JobKind) -> impl Iterator<Item = Ending> {
    let failures = Reason::all().filter(move |reason| reason.is_of(kind)).map(Ending::Failed);
    [Ending::Completed, Ending::Cancelled, Ending::TimedOut].into_iter().chain(failures)
}

fn target(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Command(_) => "project",
        JobKind::Task(_) => "pool",
        JobKind::Operation(_) => "operations",
    }
}

fn ended(kind: JobKind, ending: Ending) -> Counter {
    let (status, reason) = (JobStatus::from(ending).as_str(), ending.reason().unwrap_or_default());
    counter!(ENDED, "target" => target(kind), "type" => kind.as_str(), "status" => status, "reason" => reason)
}

fn seconds(name: &'static str, kind: JobKind) -> Histogram {
    histogram!(name, "target" => target(kind), "type" => kind.as_str())
}

fn gaps(follower: Follower) -> Counter {
    counter!(GAPS, "follower" => follower.as_str())
}

/// Returns the outcome of an entry about an end.
fn outcome(body: &EntryBody) -> Option<&Outcome> {
    match body {
        EntryBody::Complete(outcome) | EntryBody::FormerEnd(outcome) => Some(outcome),
        EntryBody::Status(_)
        | EntryBody::Stalled(_)
        | EntryBody::Retry(_)
        | EntryBody::Step(_)
        | EntryBody::Output(_) => None,
    }
}

#[async_trait]
impl LogHandler for JobsEnded {
    fn follower(&self) -> Follower {
        FOLLOWER
    }

    async fn handle(&self, entries: &[FollowedEntry]) -> Result<()> {
        for FollowedEntry { entry, waited } in entries {
            let Some(outcome) = outcome(&entry.body) else { continue };
            ended(entry.kind, outcome.ending).increment(1);
            // A job without a process, and one whose process was lost, has none.
            if !outcome.duration.is_zero() {
                seconds(DURATION, entry.kind).record(outcome.duration);
            }
            if let Some(waited) = waited {
                seconds(WAIT, entry.kind).record(*waited);
            }
        }
        Ok(())
    }

    fn missed(&self, _gap: FollowerGap) {
        gaps(FOLLOWER).increment(1);
    }
}
