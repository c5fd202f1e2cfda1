//! Accepting, reading and cancelling of commands.

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{
    CommandRequest, Error, IdempotencyKey, Job, JobId, JobSpec, JobState, Limits, Principal, ProjectId,
    Resource, Result, Schedule, StreamId, Validate,
};
use rdev_engine::{Live, LogReader, accept, cancel};
use rdev_ports::{Clock, Ids, Occurrence, TaskQueue};

use crate::{Events, Projects};

/// Accepting, reading and cancelling of commands.
#[derive(Clone)]
pub struct Commands {
    projects: Projects,
    events: Events,
    queue: Arc<dyn TaskQueue>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    live: Live,
    timeout_default: Duration,
}

/// A command as a caller asks for it.
#[derive(Debug, Clone)]
pub struct SubmitCommand {
    /// What is to run.
    pub request: CommandRequest,
    /// The name of its stream; the command's id when there is none.
    pub stream_id: Option<String>,
    /// Seconds after which it is stopped.
    pub timeout_seconds: Option<u64>,
    /// The caller's idempotency key.
    pub idempotency: Option<IdempotencyKey>,
}

impl Commands {
    /// Wires the service; `timeout_default` holds for commands that name none.
    pub fn new(
        projects: Projects,
        events: Events,
        queue: Arc<dyn TaskQueue>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        live: Live,
        timeout_default: Duration,
    ) -> Self {
        Self { projects, events, queue, clock, ids, live, timeout_default }
    }

    /// Accepts a command: once this returns, it is stored and will run.
    ///
    /// # Errors
    /// `NotFound` for the project, `Invalid` with every field that is not valid, `Conflict` when the
    /// stream's name is taken or the idempotency key was used for another request.
    pub async fn submit(
        &self,
        caller: &Principal,
        project: &ProjectId,
        submit: SubmitCommand,
    ) -> Result<(Job, Occurrence)> {
        self.projects.get(project).await?;
        let git_remotes = self.projects.git_remotes().map(str::to_owned);
        let limits = Limits { git_remotes, ..Limits::DEFAULT };
        let mut validate = Validate::default();
        validate.request(&limits, &submit.request);
        let timeout = validate.timeout(&limits, submit.timeout_seconds, self.timeout_default);
        let stream: Option<StreamId> =
            submit.stream_id.and_then(|stream| validate.parse("stream_id", &stream));
        validate.finish()?;

        let id = self.ids.job_id();
        let job = Job {
            stream: stream.unwrap_or_else(|| StreamId::from(&id)),
            id,
            spec: JobSpec::Command { project: project.clone(), request: submit.request },
            timeout,
            created_by: caller.key.clone(),
            created_at: self.clock.now(),
            cancel_requested: false,
            schedule: Schedule::default(),
            state: JobState::Pending,
        };
        accept(&*self.queue, &self.live, job, submit.idempotency).await
    }

    /// One command.
    ///
    /// # Errors
    /// `NotFound` when the project, or the command in it, does not exist.
    pub async fn get(&self, project: &ProjectId, id: &JobId) -> Result<Job> {
        self.projects.get(project).await?;
        self.queue
            .job(&project.clone().into(), id)
            .await?
            .ok_or_else(|| Error::not_found(Resource::Command, id))
    }

    /// Up to `limit` commands older than `before`, newest first.
    ///
    /// # Errors
    /// `NotFound` when the project does not exist.
    pub async fn list(&self, project: &ProjectId, before: Option<&JobId>, limit: u32) -> Result<Vec<Job>> {
        self.projects.get(project).await?;
        self.queue.jobs(&project.clone().into(), before, limit).await
    }

    /// Asks for a command's end; asking again, or after its end, changes nothing.
    ///
    /// # Errors
    /// `NotFound` when the project, or the command in it, does not exist; `Conflict` when the idempotency key was
    /// used for another request.
    pub async fn cancel(
        &self,
        project: &ProjectId,
        id: &JobId,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<(Job, Occurrence)> {
        self.projects.get(project).await?;
        let target = project.clone().into();
        let cancelled =
            cancel(&*self.queue, &self.live, (&target, id), idempotency.as_ref(), self.clock.now()).await?;
        cancelled.ok_or_else(|| Error::not_found(Resource::Command, id))
    }

    /// A command's stored events from the first on; [`LogReader::ready`] ends where the log ends now.
    ///
    /// # Errors
    /// `NotFound` when the project, or the command in it, does not exist.
    pub async fn output(&self, project: &ProjectId, id: &JobId) -> Result<LogReader> {
        let job = self.get(project, id).await?;
        self.events.follow_job(&job, None).await
    }
}
