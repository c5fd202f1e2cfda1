//! Ports of the services for commands and tasks.

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{Job, JobId, JobSpec, JobState, Principal, Result, Schedule, StreamId, Target, Timestamp};
use rdev_engine::Seats;
use rdev_ports::{Artefacts, Clock, Ids, JobFilter, Pods, PoolQueue, TaskQueue};

/// Ports of the services for commands and tasks.
#[derive(Clone)]
pub struct JobPorts {
    /// Pods in which jobs run.
    pub pods: Arc<dyn Pods>,
    /// Queue of the jobs.
    pub queue: Arc<dyn TaskQueue>,
    /// Queries of the worker pool.
    pub pool: Arc<dyn PoolQueue>,
    /// Store of the files that tasks leave.
    pub artefacts: Arc<dyn Artefacts>,
    /// Time of day.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub ids: Arc<dyn Ids>,
    /// Seats of this process's worker.
    pub seats: Seats,
}

/// Jobs that a list returns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListJobs {
    /// Conditions on the jobs.
    pub filter: JobFilter,
    /// Time of acceptance from which on jobs are returned, exact to the millisecond; `None` for all.
    pub since: Option<Timestamp>,
}

impl JobPorts {
    /// Returns up to `limit` jobs of a target older than `before` that match, newest first.
    pub(crate) async fn list(
        &self,
        target: &Target,
        list: ListJobs,
        before: Option<&JobId>,
        limit: u32,
    ) -> Result<Vec<Job>> {
        let from = list.since.map(|since| self.ids.least_id(target.id_prefix(), since));
        self.queue.jobs(target, &JobFilter { from, ..list.filter }, before, limit).await
    }

    /// Makes a pending job of a caller, with a new id. A job without a `stream` has one of its own id's name.
    pub(crate) fn new_job(
        &self,
        caller: &Principal,
        spec: JobSpec,
        stream: Option<StreamId>,
        timeout: Duration,
        schedule: Schedule,
    ) -> Job {
        // Before the id: lists from a time on find a job by the time in its id, which is then no earlier.
        let created_at = self.clock.now();
        let id = self.ids.job_id(spec.target().id_prefix());
        Job {
            stream: stream.unwrap_or_else(|| StreamId::from(&id)),
            id,
            spec,
            timeout,
            created_by: caller.key.clone(),
            created_at,
            cancel_requested: false,
            schedule,
            state: JobState::Pending,
        }
    }
}
