//! Events of jobs: subscriptions that read what is stored and follow what comes.

use std::sync::Arc;

use rdev_domain::{Error, Job, JobId, JobKind, ProjectId, Resource, Result, Seq, StreamId};
use rdev_engine::{Begin, LogReader, LogReaders, ProjectLogReader, Subscription};
use rdev_ports::TaskQueue;

use crate::Projects;

/// Events of jobs.
#[derive(Clone)]
pub struct Events {
    projects: Projects,
    queue: Arc<dyn TaskQueue>,
    readers: LogReaders,
}

impl Events {
    /// Wires the service.
    pub fn new(projects: Projects, queue: Arc<dyn TaskQueue>, readers: LogReaders) -> Self {
        Self { projects, queue, readers }
    }

    /// Subscribes to one stream of a project after the event `after`, or from the first one.
    ///
    /// # Errors
    /// `NotFound` when there is no such project or stream.
    pub async fn follow_stream(
        &self,
        project: &ProjectId,
        stream: &StreamId,
        after: Option<Seq>,
    ) -> Result<Subscription> {
        self.projects.get(project).await?;
        let job = self.queue.job_of_stream(&project.clone().into(), stream).await?;
        let job = job.ok_or_else(|| Error::not_found(Resource::Stream, stream))?;
        self.follow_on(&job, after).await
    }

    /// Returns the kind of a command; `None` for one that was removed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn kind(&self, project: &ProjectId, id: &JobId) -> Result<Option<JobKind>> {
        let job = self.queue.job(&project.clone().into(), id).await?;
        Ok(job.map(|job| job.spec.kind()))
    }

    /// Subscribes to the events of every command of a project.
    ///
    /// # Errors
    /// `NotFound` when there is no such project.
    pub async fn follow_project(&self, project: &ProjectId, begin: Begin) -> Result<ProjectLogReader> {
        self.projects.get(project).await?;
        self.readers.read_project(project, begin).await
    }

    /// Subscribes to the events of a job after the event `after`, or from the first one.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn follow_on(&self, job: &Job, after: Option<Seq>) -> Result<Subscription> {
        self.readers.subscribe(job, after).await
    }

    /// Opens a reader of a job's events after the event `after`, or from the first one. The end of an ended job is read
    /// even if it is not after `after`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn follow_job(&self, job: &Job, after: Option<Seq>) -> Result<LogReader> {
        self.readers.read_job(job, after).await
    }
}
