//! Ended jobs, counted by the server that follows the log: of several servers each end is counted by one.

use async_trait::async_trait;
use metrics::{Counter, counter, describe_counter};
use rdev_domain::{Entry, EntryBody, JobKind, JobStatus, Outcome, Result};
use rdev_engine::LogHandler;
use rdev_ports::{Follower, FollowerGap};

const ENDED: &str = "rdev_jobs_ended_total";
const GAPS: &str = "rdev_log_follower_gaps_total";

/// Follower that counts.
pub(crate) const FOLLOWER: Follower = Follower::new("metrics");

/// Statuses of jobs that have ended.
const STATUSES: [JobStatus; 4] =
    [JobStatus::Completed, JobStatus::Failed, JobStatus::Cancelled, JobStatus::TimedOut];

/// Counts the ends of jobs. A task that is reopened ends more than once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobsEnded;

/// Describes the counters, and begins each at 0.
pub(super) fn install() {
    describe_counter!(
        ENDED,
        "Ends of jobs that this process has counted: the sum over all processes is whole"
    );
    for kind in JobKind::all() {
        for status in STATUSES {
            of(kind, status).absolute(0);
        }
    }
    describe_counter!(GAPS, "Times that retention has removed entries of the log unread by a follower");
    gaps(FOLLOWER).absolute(0);
}

fn of(kind: JobKind, status: JobStatus) -> Counter {
    let target = match kind {
        JobKind::Command(_) => "project",
        JobKind::Task(_) => "pool",
        JobKind::Operation(_) => "operations",
    };
    counter!(ENDED, "target" => target, "type" => kind.as_str(), "status" => status.as_str())
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

    async fn handle(&self, entries: &[Entry]) -> Result<()> {
        for entry in entries {
            if let Some(outcome) = outcome(&entry.body) {
                of(entry.kind, outcome.ending.into()).increment(1);
            }
        }
        Ok(())
    }

    fn missed(&self, _gap: FollowerGap) {
        gaps(FOLLOWER).increment(1);
    }
}
