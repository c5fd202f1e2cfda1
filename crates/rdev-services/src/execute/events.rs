//! Events of jobs: subscriptions that read what is stored and follow what comes.

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{Error, Job, LogView, ProjectId, Resource, Result, Seq, StreamId};
use rdev_engine::{Begin, JobBegin, LogReader, LogReaders, Next, Subscription, ViewReader};
use rdev_ports::TaskQueue;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::Projects;

/// Events of jobs.
#[derive(Clone)]
pub struct Events {
    projects: Projects,
    queue: Arc<dyn TaskQueue>,
    readers: LogReaders,
    stop: CancellationToken,
}

impl Events {
    /// Wires the service. On `stop` no caller waits any longer.
    pub fn new(
        projects: Projects,
        queue: Arc<dyn TaskQueue>,
        readers: LogReaders,
        stop: CancellationToken,
    ) -> Self {
        Self { projects, queue, readers, stop }
    }

    /// Subscribes to one stream of a project.
    ///
    /// # Errors
    /// `NotFound` when there is no such project or stream.
    pub async fn follow_stream(
        &self,
        project: &ProjectId,
        stream: &StreamId,
        begin: JobBegin,
    ) -> Result<Subscription> {
        let job = self.job_of_stream(project, stream).await?;
        self.follow_on(&job, begin).await
    }

    /// Checks that a project has a stream of this name.
    ///
    /// # Errors
    /// `NotFound` when there is no such project or stream.
    pub async fn check_stream(&self, project: &ProjectId, stream: &StreamId) -> Result<()> {
        self.job_of_stream(project, stream).await.map(|_| ())
    }

    async fn job_of_stream(&self, project: &ProjectId, stream: &StreamId) -> Result<Job> {
        self.projects.get(project).await?;
        let job = self.queue.job_of_stream(&project.clone().into(), stream).await?;
        job.ok_or_else(|| Error::not_found(Resource::Stream, stream))
    }

    /// Subscribes to the events of every command of a project, and of every task that is done for it; `output` is false
    /// for a subscriber of no output.
    ///
    /// # Errors
    /// `NotFound` when there is no such project.
    pub async fn follow_project(
        &self,
        project: &ProjectId,
        output: bool,
        begin: Begin,
    ) -> Result<ViewReader> {
        self.projects.get(project).await?;
        self.readers.read_view(LogView { project: Some(project.clone()), output }, begin).await
    }

    /// Subscribes to the events of all jobs; `output` is false for a subscriber of no output.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn follow_all(&self, output: bool, begin: Begin) -> Result<ViewReader> {
        self.readers.read_view(LogView { project: None, output }, begin).await
    }

    /// Subscribes to the events of a job.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn follow_on(&self, job: &Job, begin: JobBegin) -> Result<Subscription> {
        self.readers.subscribe(job, begin).await
    }

    /// Waits for the end of a job, for `longest` at most, and until the server stops. Returns at once for a job that has
    /// ended. One reader of the log reads for all callers that wait.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn wait_for_end(&self, job: &Job, longest: Duration) -> Result<()> {
        if job.state.is_ended() {
            return Ok(());
        }
        let waiting = timeout(longest, self.end_of(job));
        match self.stop.run_until_cancelled(waiting).await {
            Some(Ok(ended)) => ended,
            Some(Err(_)) | None => Ok(()),
        }
    }

    async fn end_of(&self, job: &Job) -> Result<()> {
        let ViewReader { mut reader, .. } = self.readers.read_view(LogView::CHANGES, Begin::Latest).await?;
        let target = job.target();
        loop {
            // An end that was stored before the reader began is found here; so is that a retry has followed the end.
            let job = self.queue.job(&target, &job.id).await?;
            let Some(job) = job.filter(|job| !job.state.is_ended()) else { return Ok(()) };
            let mut may_have_ended = false;
            while !may_have_ended {
                may_have_ended = match reader.next().await? {
                    Next::Entries(entries) => {
                        entries.iter().any(|entry| entry.job == job.id && entry.is_last())
                    }
                    Next::Pruned(_) | Next::Missing(_) => true,
                };
            }
        }
    }

    /// Opens a reader of a job's events after the event `after`, or from the first one. The end of an ended job is read
    /// even if it is not after `after`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn follow_job(&self, job: &Job, after: Option<Seq>) -> Result<LogReader> {
        self.readers.read_job(job, after).await
    }
}
