//! Operations on projects: accepted, read, followed, cancelled, retried.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{
    Conflict, Error, IdempotencyKey, Job, JobId, JobSpec, OnFailure, OperationRequest, OperationStep,
    Principal, ProjectId, Resource, Result, Schedule, Target, Validate,
};
use rdev_engine::{JobBegin, Submitter, Subscription};
use rdev_ports::{Occurrence, Operations as OperationStore};

use super::plans::ProjectPlans;
use crate::{Events, JobPorts, ListJobs, Projects};

/// Timeout in the row of an operation. Each step has limits of its own, so nothing stops an operation by this one.
const TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Operations on projects.
#[derive(Clone)]
pub struct Operations {
    /// Ports of jobs.
    pub ports: JobPorts,
    /// Steps of operations.
    pub store: Arc<dyn OperationStore>,
    /// Registry of projects.
    pub projects: Projects,
    /// Plans of the operations.
    pub plans: ProjectPlans,
    /// Readers of the event log.
    pub events: Events,
    /// Stores what callers ask for.
    pub submitter: Submitter,
}

/// Operation with its steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationView {
    /// The operation, as a job.
    pub job: Job,
    /// Work of the operation.
    pub request: OperationRequest,
    /// Its steps in their order; empty before its first start.
    pub steps: Vec<OperationStep>,
}

impl Operations {
    /// Accepts the creation of a project. The same request again, while the project is being created, gives the same
    /// operation. `noted` holds the fields of the request that were found invalid before.
    ///
    /// # Errors
    /// `Invalid` with every field that is not valid; `Conflict` when there is such a project, another operation of it has
    /// not ended, the runtime makes no projects, or the idempotency key was used for another request.
    pub async fn create_project(
        &self,
        caller: &Principal,
        name: &str,
        on_failure: OnFailure,
        idempotency: Option<IdempotencyKey>,
        mut noted: Validate,
    ) -> Result<(OperationView, Occurrence)> {
        let project: Option<ProjectId> = noted.parse("name", name);
        noted.finish()?;
        let project = project.ok_or_else(|| anyhow::anyhow!("an invalid name was not noted"))?;
        self.plans.workspaces()?;
        let request = OperationRequest::CreateProject { project: project.clone(), on_failure };
        if let Some(earlier) = self.earlier(&request, idempotency.as_ref()).await? {
            return Ok((earlier, Occurrence::Repeated));
        }
        match self.projects.get(&project).await {
            Err(Error::NotFound { .. }) => self.submit(caller, request, idempotency).await,
            Err(error) => Err(error),
            Ok(_) => {
                let message = format!("there is a project {project} already");
                Err(Error::conflict(Conflict::ProjectExists, message))
            }
        }
    }

    /// Accepts the deletion of a project with everything of it. The same request again, while the project is being
    /// deleted, gives the same operation.
    ///
    /// # Errors
    /// `NotFound` for the project; `Conflict` when another operation of it has not ended, or the runtime removes no
    /// projects.
    pub async fn delete_project(
        &self,
        caller: &Principal,
        project: &ProjectId,
    ) -> Result<(OperationView, Occurrence)> {
        let request = OperationRequest::DeleteProject { project: project.clone() };
        if let Some(earlier) = self.earlier(&request, None).await? {
            return Ok((earlier, Occurrence::Repeated));
        }
        self.projects.get(project).await?;
        self.plans.workspaces()?;
        self.submit(caller, request, None).await
    }

    /// Returns the operation that the same request has begun before.
    async fn earlier(
        &self,
        request: &OperationRequest,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Option<OperationView>> {
        let now = self.ports.clock.now();
        let Some(job) = self.store.earlier(request, idempotency, now).await? else {
            return Ok(None);
        };
        if job.operation() == Some(request) {
            return self.view_of(job).await.map(Some);
        }
        Err(job.operation_in_progress())
    }

    async fn submit(
        &self,
        caller: &Principal,
        request: OperationRequest,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<(OperationView, Occurrence)> {
        let spec = JobSpec::Operation(request);
        let job = self.ports.new_job(caller, spec, None, TIMEOUT, Schedule::default());
        let (job, occurrence) = self.submitter.submit(job, idempotency).await?;
        Ok((self.view_of(job).await?, occurrence))
    }

    async fn get(&self, id: &JobId) -> Result<Job> {
        let job = self.ports.queue.job(&Target::Operations, id).await?;
        job.ok_or_else(|| Error::not_found(Resource::Operation, id))
    }

    /// Returns one operation with its steps; with `wait`, at its end, or after so long.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn view(&self, id: &JobId, wait: Option<Duration>) -> Result<OperationView> {
        let mut operation = self.get(id).await?;
        if let Some(longest) = wait {
            self.events.wait_for_end(&operation, longest).await?;
            operation = self.get(id).await?;
        }
        self.view_of(operation).await
    }

    /// Checks that an operation exists.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn check(&self, id: &JobId) -> Result<()> {
        self.get(id).await.map(|_| ())
    }

    /// Returns up to `limit` operations older than `before` that match a filter, newest first, with their steps.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(
        &self,
        list: ListJobs,
        before: Option<&JobId>,
        limit: u32,
    ) -> Result<Vec<OperationView>> {
        let jobs = self.ports.list(&Target::Operations, list, before, limit).await?;
        self.views_of(jobs).await
    }

    /// Subscribes to an operation's events.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn follow(&self, id: &JobId, begin: JobBegin) -> Result<Subscription> {
        self.events.follow_on(&self.get(id).await?, begin).await
    }

    /// Requests an operation's cancellation: its running step is finished, then everything is taken back. A repetition, or
    /// a request after the operation's end, changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the idempotency key was used for another request.
    pub async fn cancel(
        &self,
        id: &JobId,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<(OperationView, Occurrence)> {
        let now = self.ports.clock.now();
        let cancelled = self.submitter.cancel((&Target::Operations, id), idempotency.as_ref(), now).await?;
        let (job, occurrence) = cancelled.ok_or_else(|| Error::not_found(Resource::Operation, id))?;
        Ok((self.view_of(job).await?, occurrence))
    }

    /// Has an operation that ended without success go on where it stopped. A repetition under the same idempotency key
    /// changes nothing, and returns the operation as it is now.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the operation has not ended, or has completed, when another one of its project has not
    /// ended, when a later one of its project has completed, and when the idempotency key was used for another request.
    pub async fn retry(
        &self,
        id: &JobId,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<(OperationView, Occurrence)> {
        let now = self.ports.clock.now();
        let reopened = self.submitter.reopen((&Target::Operations, id), idempotency.as_ref(), now).await?;
        let (job, occurrence) = reopened.ok_or_else(|| Error::not_found(Resource::Operation, id))?;
        Ok((self.view_of(job).await?, occurrence))
    }

    async fn view_of(&self, job: Job) -> Result<OperationView> {
        let id = job.id.clone();
        let view = self.views_of(vec![job]).await?.pop();
        view.ok_or_else(|| Error::not_found(Resource::Operation, id))
    }

    async fn views_of(&self, jobs: Vec<Job>) -> Result<Vec<OperationView>> {
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
        let mut steps: HashMap<JobId, Vec<OperationStep>> = HashMap::new();
        for (id, step) in self.store.steps(&ids).await? {
            steps.entry(id).or_default().push(step);
        }
        let view = |job: Job| {
            let request = job.operation()?.clone();
            let steps = steps.remove(&job.id).unwrap_or_default();
            Some(OperationView { job, request, steps })
        };
        Ok(jobs.into_iter().filter_map(view).collect())
    }
}
