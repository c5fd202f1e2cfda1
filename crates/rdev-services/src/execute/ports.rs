//! Ports of the services for commands and tasks.

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{Job, JobSpec, JobState, Principal, Schedule, StreamId};
use rdev_engine::Seats;
use rdev_ports::{Artefacts, Clock, Ids, Pods, PoolQueue, TaskQueue};

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

impl JobPorts {
    /// Makes a pending job of a caller, with a new id. A job without a `stream` has one of its own id's name.
    pub(crate) fn new_job(
        &self,
        caller: &Principal,
        spec: JobSpec,
        stream: Option<StreamId>,
        timeout: Duration,
        schedule: Schedule,
    ) -> Job {
        let id = self.ids.job_id(spec.id_prefix());
        Job {
            stream: stream.unwrap_or_else(|| StreamId::from(&id)),
            id,
            spec,
            timeout,
            created_by: caller.key.clone(),
            created_at: self.clock.now(),
            cancel_requested: false,
            schedule,
            state: JobState::Pending,
        }
    }
}
