//! Tasks of the pool: submission, list, cancellation, retry, output, artefacts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdev_domain::{
    Artefact, Content, Error, IdempotencyKey, Job, JobId, JobSpec, Limits, Principal, ProjectId, Resource,
    Result, Schedule, Target, TaskRequest, Timestamp, Validate,
};
use rdev_engine::{JobBegin, LogReader, Submitter, Subscription};
use rdev_ports::{Artefacts, Occurrence};

use super::ports::{JobPorts, ListJobs};
use super::position::{QueuePosition, queue_position};
use super::stored::check_stored;
use crate::{Events, Projects};

/// Tasks of the pool.
#[derive(Clone)]
pub struct Tasks {
    ports: JobPorts,
    projects: Projects,
    events: Events,
    submitter: Submitter,
    timeout_default: Duration,
}

/// Request to run a task.
#[derive(Debug, Clone)]
pub struct SubmitTask {
    /// Work of the task.
    pub work: TaskRequest,
    /// Priority: higher runs first; default 0.
    pub priority: i32,
    /// Time before which the task must not run.
    pub run_after: Option<Timestamp>,
    /// Maximum number of attempts, 1 to 20; default: that of the task's kind.
    pub max_attempts: Option<u32>,
    /// Timeout of an attempt in seconds, 1 to 604 800; default: the service's.
    pub timeout_seconds: Option<u64>,
    /// Idempotency key of the caller.
    pub idempotency: Option<IdempotencyKey>,
}

/// Task with its position in the queue and its artefacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    /// The task.
    pub job: Job,
    /// Position of a pending task.
    pub queue: Option<QueuePosition>,
    /// Files that the task has left by now, and those that it has not; `None` for a task without `artefacts`.
    pub artefacts: Option<Vec<Artefact>>,
}

/// File of a task, which is read part by part.
pub struct ArtefactFile {
    store: Arc<dyn Artefacts>,
    id: JobId,
    /// Path, size and content of the file.
    pub about: Artefact,
    file: u32,
    part: u32,
}

impl ArtefactFile {
    /// Returns the next part; `None` after the last one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let bytes = self.store.part(&self.id, self.file, self.part).await?;
        self.part += 1;
        Ok(bytes)
    }
}

impl Tasks {
    /// Wires the service. `timeout_default` is the timeout of tasks that name none.
    pub fn new(
        ports: JobPorts,
        projects: Projects,
        events: Events,
        submitter: Submitter,
        timeout_default: Duration,
    ) -> Self {
        Self { ports, projects, events, submitter, timeout_default }
    }

    /// Accepts a task: once this returns, the task is stored and will run. `noted` holds the fields of the request that
    /// were found invalid before.
    ///
    /// # Errors
    /// `Invalid` with every field that is not valid, which includes a project that rdev does not know; `Conflict` when the
    /// project is being deleted, or the idempotency key was used for another request.
    pub async fn submit(
        &self,
        caller: &Principal,
        submit: SubmitTask,
        noted: Validate,
    ) -> Result<(TaskView, Occurrence)> {
        let (job, occurrence) = self.accept(caller, submit, noted).await?;
        Ok((self.view_of(job).await?, occurrence))
    }

    /// Accepts a task as [`Tasks::submit`] does, and opens a reader of the task's events from the first one.
    ///
    /// # Errors
    /// Those of [`Tasks::submit`].
    pub async fn submit_and_follow(
        &self,
        caller: &Principal,
        submit: SubmitTask,
        noted: Validate,
    ) -> Result<(Job, Occurrence, LogReader)> {
        let (job, occurrence) = self.accept(caller, submit, noted).await?;
        let reader = self.events.follow_job(&job, None).await?;
        Ok((job, occurrence, reader))
    }

    async fn accept(
        &self,
        caller: &Principal,
        submit: SubmitTask,
        noted: Validate,
    ) -> Result<(Job, Occurrence)> {
        let (limits, mut validate) = (Limits::DEFAULT, noted);
        let schedule = Schedule {
            priority: submit.priority,
            run_after: submit.run_after,
            max_attempts: submit.max_attempts.unwrap_or(submit.work.kind.attempts_default()),
            ..Schedule::default()
        };
        validate.task(&limits, &submit.work);
        validate.schedule(&limits, &schedule);
        let timeout = validate.timeout(&limits, submit.timeout_seconds, self.timeout_default);
        let is_open = self.check_open(submit.work.project.as_ref()).await;
        if let Err(Error::NotFound { id, .. }) = &is_open {
            validate.fail("project", format!("{id:?} is not valid: accepted is a project of GET /projects"));
        }
        validate.finish()?;
        is_open?;
        let job = self.ports.new_job(caller, JobSpec::Task(submit.work), None, timeout, schedule);
        let (job, occurrence) = self.submitter.submit(job, submit.idempotency).await?;
        let is_open = self.check_open(job.spec.project());
        check_stored(&self.submitter, &*self.ports.clock, (&job, occurrence), is_open).await?;
        Ok((job, occurrence))
    }

    /// Checks that the project for which a task is done is known, and not being deleted.
    async fn check_open(&self, project: Option<&ProjectId>) -> Result<()> {
        match project {
            Some(project) => self.projects.check_open(project).await,
            None => Ok(()),
        }
    }

    /// Checks that the project for which a stored task is done is not being deleted. Its pod may be gone.
    async fn check_not_deleting(&self, project: Option<&ProjectId>) -> Result<()> {
        match self.check_open(project).await {
            Err(Error::NotFound { .. }) => Ok(()),
            checked => checked,
        }
    }

    async fn get(&self, id: &JobId) -> Result<Job> {
        let task = self.ports.queue.job(&Target::Pool, id).await?;
        task.ok_or_else(|| Error::not_found(Resource::Task, id))
    }

    /// Returns one task with its position in the queue and its artefacts; with `wait`, at its end, or after so long.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn view(&self, id: &JobId, wait: Option<Duration>) -> Result<TaskView> {
        let mut task = self.get(id).await?;
        if let Some(longest) = wait {
            self.events.wait_for_end(&task, longest).await?;
            task = self.get(id).await?;
        }
        self.view_of(task).await
    }

    /// Checks that a task exists.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn check(&self, id: &JobId) -> Result<()> {
        self.get(id).await.map(|_| ())
    }

    /// Returns up to `limit` tasks older than `before` that match a filter, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(&self, list: ListJobs, before: Option<&JobId>, limit: u32) -> Result<Vec<Job>> {
        self.ports.list(&Target::Pool, list, before, limit).await
    }

    /// Requests a task's cancellation. A repetition, or a request after the task's end, changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the idempotency key was used for another request.
    pub async fn cancel(&self, id: &JobId, idempotency: Option<IdempotencyKey>) -> Result<(Job, Occurrence)> {
        let now = self.ports.clock.now();
        let cancelled = self.submitter.cancel((&Target::Pool, id), idempotency.as_ref(), now).await?;
        cancelled.ok_or_else(|| Error::not_found(Resource::Task, id))
    }

    /// Requeues an ended task for one more round of attempts. A repetition under the same idempotency key changes
    /// nothing, and returns the task as it is now.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the task has not ended, when the project that it is done for is being deleted, and when
    /// the idempotency key was used for another request.
    pub async fn retry(
        &self,
        id: &JobId,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<(TaskView, Occurrence)> {
        self.check_not_deleting(self.get(id).await?.spec.project()).await?;
        let now = self.ports.clock.now();
        let reopened = self.submitter.reopen((&Target::Pool, id), idempotency.as_ref(), now).await?;
        let (job, occurrence) = reopened.ok_or_else(|| Error::not_found(Resource::Task, id))?;
        let is_open = self.check_not_deleting(job.spec.project());
        check_stored(&self.submitter, &*self.ports.clock, (&job, occurrence), is_open).await?;
        Ok((self.view_of(job).await?, occurrence))
    }

    /// Subscribes to a task's events. `stream` is the name by which the caller knows the task's stream, if one is given.
    ///
    /// # Errors
    /// `NotFound` when there is no such task, or its stream has another name.
    pub async fn follow(&self, id: &JobId, stream: Option<&str>, begin: JobBegin) -> Result<Subscription> {
        let task = self.get(id).await?;
        if let Some(other) = stream.filter(|stream| *stream != task.stream.as_str()) {
            return Err(Error::not_found(Resource::Stream, other));
        }
        self.events.follow_on(&task, begin).await
    }

    /// Opens a reader of a task's events from the first one; [`LogReader::ready`] ends where the log ends now.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn output(&self, id: &JobId) -> Result<LogReader> {
        let task = self.get(id).await?;
        self.events.follow_job(&task, None).await
    }

    /// Returns the files that a task has left by now, and those that it has not, with the reason.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn artefacts(&self, id: &JobId) -> Result<Vec<Artefact>> {
        self.artefacts_of(&self.get(id).await?).await
    }

    /// Opens a file that a task has left.
    ///
    /// # Errors
    /// `NotFound` when there is no such task, or no such file is stored of it.
    pub async fn artefact(&self, id: &JobId, path: &str) -> Result<ArtefactFile> {
        self.get(id).await?;
        let is_it =
            |artefact: &Artefact| matches!(artefact.kept, Content::Stored(_)) && artefact.path == path;
        let mut files = self.ports.artefacts.artefacts(id).await?.into_iter();
        let found = files.find(|(_, artefact)| is_it(artefact));
        let (file, about) = found.ok_or_else(|| Error::not_found(Resource::Artefact, path))?;
        Ok(ArtefactFile { store: self.ports.artefacts.clone(), id: id.clone(), about, file, part: 0 })
    }

    async fn artefacts_of(&self, task: &Job) -> Result<Vec<Artefact>> {
        let files = self.ports.artefacts.artefacts(&task.id).await?;
        Ok(files.into_iter().map(|(_, artefact)| artefact).collect())
    }

    async fn view_of(&self, job: Job) -> Result<TaskView> {
        let queue = queue_position(&self.ports, &job).await?;
        let artefacts = match job.spec.artefacts() {
            [] => None,
            _ => Some(self.artefacts_of(&job).await?),
        };
        Ok(TaskView { job, queue, artefacts })
    }
}
