//! Commands of projects: submission, history, cancellation, output.

use std::time::Duration;

use rdev_domain::{
    CommandRequest, Conflict, Error, IdempotencyKey, Job, JobId, JobSpec, Limits, Principal, ProjectId,
    Resource, Result, Schedule, StreamId, Validate,
};
use rdev_engine::{LogReader, Submitter};
use rdev_ports::Occurrence;

use super::ports::{JobPorts, ListJobs};
use super::position::{QueuePosition, queue_position};
use super::stored::check_stored;
use crate::{Events, Projects};

/// Commands of projects.
#[derive(Clone)]
pub struct Commands {
    ports: JobPorts,
    projects: Projects,
    events: Events,
    submitter: Submitter,
    timeout_default: Duration,
}

/// Request to run a command.
#[derive(Debug, Clone)]
pub struct SubmitCommand {
    /// Work of the command.
    pub request: CommandRequest,
    /// Name of the command's stream; default: the command's id.
    pub stream_id: Option<String>,
    /// Timeout in seconds, 1 to 604 800; default: the service's.
    pub timeout_seconds: Option<u64>,
    /// Idempotency key of the caller.
    pub idempotency: Option<IdempotencyKey>,
}

/// Command with its position in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandView {
    /// The command.
    pub job: Job,
    /// Position of a pending command.
    pub queue: Option<QueuePosition>,
}

impl Commands {
    /// Wires the service. `timeout_default` is the timeout of commands that name none.
    pub fn new(
        ports: JobPorts,
        projects: Projects,
        events: Events,
        submitter: Submitter,
        timeout_default: Duration,
    ) -> Self {
        Self { ports, projects, events, submitter, timeout_default }
    }

    /// Accepts a command: once this returns, the command is stored and will run.
    ///
    /// # Errors
    /// `NotFound` for the project, `Invalid` with every field that is not valid, `Conflict` when the project is being
    /// deleted, the stream's name is taken, or the idempotency key was used for another request.
    pub async fn submit(
        &self,
        caller: &Principal,
        project: &ProjectId,
        submit: SubmitCommand,
    ) -> Result<(Job, Occurrence)> {
        self.projects.check_open(project).await?;
        let git_remotes = self.projects.git_remotes().map(str::to_owned);
        let limits = Limits { git_remotes, ..Limits::DEFAULT };
        let mut validate = Validate::default();
        validate.request(&limits, &submit.request);
        let timeout = validate.timeout(&limits, submit.timeout_seconds, self.timeout_default);
        let stream: Option<StreamId> =
            submit.stream_id.and_then(|stream| validate.parse("stream_id", &stream));
        validate.finish()?;
        let spec = JobSpec::Command { project: project.clone(), request: submit.request };
        let job = self.ports.new_job(caller, spec, stream, timeout, Schedule::default());
        let (target, stream) = (job.target(), job.stream.clone());
        let (job, occurrence) = match self.submitter.submit(job, submit.idempotency).await {
            Err(Error::Conflict { conflict: Conflict::StreamIdTaken, message, .. }) => {
                // Of a stream that retention has removed no command is left.
                let holder = self.ports.queue.job_of_stream(&target, &stream).await?;
                let job = holder.map(|holder| holder.id);
                return Err(Error::Conflict { conflict: Conflict::StreamIdTaken, message, job });
            }
            submitted => submitted?,
        };
        let is_open = self.projects.check_open(project);
        check_stored(&self.submitter, &*self.ports.clock, (&job, occurrence), is_open).await?;
        Ok((job, occurrence))
    }

    /// Accepts a command as [`Commands::submit`] does, and opens a reader of the command's events from the first one.
    ///
    /// # Errors
    /// Those of [`Commands::submit`].
    pub async fn submit_and_follow(
        &self,
        caller: &Principal,
        project: &ProjectId,
        submit: SubmitCommand,
    ) -> Result<(Job, Occurrence, LogReader)> {
        let (job, occurrence) = self.submit(caller, project, submit).await?;
        let reader = self.events.follow_job(&job, None).await?;
        Ok((job, occurrence, reader))
    }

    /// Returns one command.
    ///
    /// # Errors
    /// `NotFound` when the project, or the command in it, does not exist.
    async fn get(&self, project: &ProjectId, id: &JobId) -> Result<Job> {
        self.projects.get(project).await?;
        let job = self.ports.queue.job(&project.clone().into(), id).await?;
        job.ok_or_else(|| Error::not_found(Resource::Command, id))
    }

    /// Returns one command with its position in the queue; with `wait`, at its end, or after so long.
    ///
    /// # Errors
    /// `NotFound` when the project, or the command in it, does not exist.
    pub async fn view(&self, project: &ProjectId, id: &JobId, wait: Option<Duration>) -> Result<CommandView> {
        let mut job = self.get(project, id).await?;
        if let Some(longest) = wait {
            self.events.wait_for_end(&job, longest).await?;
            job = self.get(project, id).await?;
        }
        let queue = queue_position(&self.ports, &job).await?;
        Ok(CommandView { job, queue })
    }

    /// Returns up to `limit` commands older than `before` that match a filter, newest first.
    ///
    /// # Errors
    /// `NotFound` when the project does not exist.
    pub async fn list(
        &self,
        project: &ProjectId,
        list: ListJobs,
        before: Option<&JobId>,
        limit: u32,
    ) -> Result<Vec<Job>> {
        self.projects.get(project).await?;
        self.ports.list(&project.clone().into(), list, before, limit).await
    }

    /// Requests a command's cancellation. A repetition, or a request after the command's end, changes nothing.
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
        let (target, now) = (project.clone().into(), self.ports.clock.now());
        let cancelled = self.submitter.cancel((&target, id), idempotency.as_ref(), now).await?;
        cancelled.ok_or_else(|| Error::not_found(Resource::Command, id))
    }

    /// Opens a reader of a command's events from the first one; [`LogReader::ready`] ends where the log ends now.
    ///
    /// # Errors
    /// `NotFound` when the project, or the command in it, does not exist.
    pub async fn output(&self, project: &ProjectId, id: &JobId) -> Result<LogReader> {
        let job = self.get(project, id).await?;
        self.events.follow_job(&job, None).await
    }
}
