//! Tasks of the pool: accepting, reading, cancelling and retrying.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdev_domain::{
    Artefact, Content, Error, IdempotencyKey, Job, JobId, JobSpec, JobState, Limits, Principal, Resource,
    Result, Schedule, StreamId, Target, TaskRequest, Timestamp, Validate,
};
use rdev_engine::{Live, LogReader, accept, cancel};
use rdev_ports::{
    Artefacts, Clock, Hold, Ids, Occurrence, PodRef, Pods, PoolQueue, QueueStats, Readiness, Reopened,
    TaskFilter, TaskQueue,
};

use crate::Events;

/// Work for the pool.
#[derive(Clone)]
pub struct Tasks {
    ports: TaskPorts,
    events: Events,
    live: Live,
    timeout_default: Duration,
}

/// What the service works with.
#[derive(Clone)]
pub struct TaskPorts {
    /// Where tasks run.
    pub pods: Arc<dyn Pods>,
    /// The queue.
    pub queue: Arc<dyn TaskQueue>,
    /// What the queue knows of the pool.
    pub pool: Arc<dyn PoolQueue>,
    /// The files that tasks have left.
    pub artefacts: Arc<dyn Artefacts>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub ids: Arc<dyn Ids>,
}

/// A task as a caller asks for it.
#[derive(Debug, Clone)]
pub struct SubmitTask {
    /// What is to be done.
    pub work: TaskRequest,
    /// Of what waits, the higher runs first.
    pub priority: i32,
    /// Not before this moment.
    pub run_after: Option<Timestamp>,
    /// It is started at most so often; without it as often as its kind allows.
    pub max_attempts: Option<u32>,
    /// Seconds after which an attempt is stopped.
    pub timeout_seconds: Option<u64>,
    /// The caller's idempotency key.
    pub idempotency: Option<IdempotencyKey>,
}

/// A file that is read part by part.
pub struct ArtefactFile {
    store: Arc<dyn Artefacts>,
    id: JobId,
    /// What there is to say of it.
    pub about: Artefact,
    file: u32,
    part: u32,
}

impl ArtefactFile {
    /// The next part; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let bytes = self.store.part(&self.id, self.file, self.part).await?;
        self.part += 1;
        Ok(bytes)
    }
}

/// Where a command stands that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Its place in line, from 1 on.
    pub position: u64,
    /// What it waits for.
    pub blocked_by: BlockedBy,
}

/// What a command waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockedBy {
    /// Another command works in its workspace.
    Workspace,
    /// Another task of its key runs, or comes first.
    ConcurrencyKey,
    /// Its time.
    RunAfter,
    /// Every worker of the pool has a task.
    PoolFull,
    /// No worker of the pool is ready.
    NoReadyWorker,
    /// The pod of its project is not ready.
    PodNotReady,
    /// rdev itself runs as many commands as it may.
    WorkerConcurrency,
}

impl BlockedBy {
    /// Its name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::ConcurrencyKey => "concurrency_key",
            Self::RunAfter => "run_after",
            Self::PoolFull => "pool_full",
            Self::NoReadyWorker => "no_ready_worker",
            Self::PodNotReady => "pod_not_ready",
            Self::WorkerConcurrency => "worker_concurrency",
        }
    }
}

impl Tasks {
    /// Wires the service; `timeout_default` holds for tasks that name none.
    pub fn new(ports: TaskPorts, events: Events, live: Live, timeout_default: Duration) -> Self {
        Self { ports, events, live, timeout_default }
    }

    /// Accepts a task: once this returns, it is stored and will run. `noted` holds what was found to be wrong
    /// with the request already.
    ///
    /// # Errors
    /// `Invalid` with every field that is not valid, `Conflict` when the idempotency key was used for another
    /// request.
    pub async fn submit(
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
        validate.finish()?;
        let id = self.ports.ids.job_id();
        let job = Job {
            stream: StreamId::from(&id),
            id,
            spec: JobSpec::Task(submit.work),
            timeout,
            created_by: caller.key.clone(),
            created_at: self.ports.clock.now(),
            cancel_requested: false,
            schedule,
            state: JobState::Pending,
        };
        accept(&*self.ports.queue, &self.live, job, submit.idempotency).await
    }

    /// One task.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, id: &JobId) -> Result<Job> {
        let task = self.ports.queue.job(&Target::Pool, id).await?;
        task.ok_or_else(|| Error::not_found(Resource::Task, id))
    }

    /// Up to `limit` tasks older than `before`, newest first.
    pub async fn list(&self, filter: &TaskFilter, before: Option<&JobId>, limit: u32) -> Result<Vec<Job>> {
        self.ports.pool.tasks(filter, before, limit).await
    }

    /// Asks for a task's end; asking again, or after its end, changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the idempotency key was used for another request.
    pub async fn cancel(&self, id: &JobId, idempotency: Option<IdempotencyKey>) -> Result<(Job, Occurrence)> {
        let now = self.ports.clock.now();
        let task = (&Target::Pool, id);
        let cancelled = cancel(&*self.ports.queue, &self.live, task, idempotency.as_ref(), now).await?;
        cancelled.ok_or_else(|| Error::not_found(Resource::Task, id))
    }

    /// Has a task that has ended wait again, for one more round of attempts. A request that comes again under its
    /// idempotency key is given the task as it stands.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` with `TASK_NOT_ENDED`, and when the idempotency key was used for another request.
    pub async fn retry(&self, id: &JobId, idempotency: Option<IdempotencyKey>) -> Result<(Job, Occurrence)> {
        let now = self.ports.clock.now();
        let reopened = self.ports.pool.reopen(id, idempotency.as_ref(), now).await?;
        match reopened.ok_or_else(|| Error::not_found(Resource::Task, id))? {
            Reopened::New(task, entry) => {
                self.live.publish(entry);
                self.live.work_came();
                Ok((*task, Occurrence::First))
            }
            Reopened::Existing(task) => Ok((*task, Occurrence::Repeated)),
        }
    }

    /// A task's stored events from the first on; [`LogReader::ready`] ends where the log ends now.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn output(&self, id: &JobId) -> Result<LogReader> {
        let task = self.get(id).await?;
        self.events.follow_job(&task, None).await
    }

    /// The files that a task has left, and those that it was to leave.
    pub async fn artefacts(&self, task: &Job) -> Result<Vec<Artefact>> {
        let files = self.ports.artefacts.artefacts(&task.id).await?;
        Ok(files.into_iter().map(|(_, artefact)| artefact).collect())
    }

    /// A file that a task has left.
    ///
    /// # Errors
    /// `NotFound` when there is no such task, or no such file is kept of it.
    pub async fn artefact(&self, id: &JobId, path: &str) -> Result<ArtefactFile> {
        self.get(id).await?;
        let kept = |artefact: &Artefact| matches!(artefact.kept, Content::Stored(_)) && artefact.path == path;
        let mut files = self.ports.artefacts.artefacts(id).await?.into_iter();
        let found = files.find(|(_, artefact)| kept(artefact));
        let (file, about) = found.ok_or_else(|| Error::not_found(Resource::Artefact, path))?;
        Ok(ArtefactFile { store: self.ports.artefacts.clone(), id: id.clone(), about, file, part: 0 })
    }

    /// How much there is of what.
    pub async fn stats(&self) -> Result<QueueStats> {
        self.ports.pool.stats().await
    }

    /// Where a command, of a project or of the pool, stands that waits; `None` when it does not.
    pub async fn waiting(&self, job: &Job) -> Result<Option<Waiting>> {
        if job.state != JobState::Pending {
            return Ok(None);
        }
        let Some(line) = self.ports.pool.queue_position(&job.id, self.ports.clock.now()).await? else {
            return Ok(None);
        };
        let blocked_by = match (line.blocked_by, &job.target()) {
            (Some(Hold::RunAfter), _) => BlockedBy::RunAfter,
            (Some(Hold::ConcurrencyKey), Target::Project(_)) => BlockedBy::Workspace,
            (Some(Hold::ConcurrencyKey), Target::Pool) => BlockedBy::ConcurrencyKey,
            (None, Target::Pool) => self.blocked_in_pool().await?,
            (None, Target::Project(id)) => {
                match self.ports.pods.readiness(&PodRef::Project(id.clone())).await? {
                    Some(Readiness::Ready(_)) => BlockedBy::WorkerConcurrency,
                    _ => BlockedBy::PodNotReady,
                }
            }
        };
        Ok(Some(Waiting { position: line.ahead + 1, blocked_by }))
    }

    async fn blocked_in_pool(&self) -> Result<BlockedBy> {
        let occupancy = self.ports.pool.occupancy().await?;
        let workers = self.ports.pods.workers().await?;
        let any = workers.iter().any(|worker| occupancy.takes_tasks(worker));
        Ok(if any { BlockedBy::PoolFull } else { BlockedBy::NoReadyWorker })
    }
}
