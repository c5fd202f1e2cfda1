//! Operations whose steps do what a test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{
    Error, Job, JobId, JobSpec, Made, OnFailure, OperationPlan, OperationRequest, OperationStatus,
    OperationStep, Result, Target,
};
use rdev_engine::{Ensured, Plan, Plans, Step, StepContext};
use rdev_ports::testing::{id, operation};
use rdev_ports::{Clock, Operations, TaskQueue};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::{Bench, LEASE};

/// Step that fails as it is told, and otherwise is made and taken back at once.
#[derive(Default)]
pub(crate) struct ScriptedStep {
    inner: Mutex<Calls>,
    /// While it is set, a call to make the step waits for it.
    gate: Mutex<Option<Arc<Notify>>>,
}

#[derive(Default)]
struct Calls {
    parts: usize,
    ensure: VecDeque<fn() -> Error>,
    undo: VecDeque<fn() -> Error>,
    seen: Vec<&'static str>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Error of a failure that may pass.
pub(crate) fn passing() -> Error {
    Error::unavailable("the outside", anyhow::anyhow!("busy"))
}

/// Error of a failure for good.
pub(crate) fn for_good() -> Error {
    Error::Internal(anyhow::anyhow!("broken"))
}

impl ScriptedStep {
    /// Has the next `times` calls to make the step fail so.
    pub(crate) fn fails(&self, error: fn() -> Error, times: usize) {
        lock(&self.inner).ensure.extend(std::iter::repeat_n(error, times));
    }

    /// Has the next `parts` calls to make the step, which would be done otherwise, make a part only.
    pub(crate) fn has_parts(&self, parts: usize) {
        lock(&self.inner).parts = parts;
    }

    /// Has the next `times` calls to take the step back fail so.
    pub(crate) fn stays(&self, error: fn() -> Error, times: usize) {
        lock(&self.inner).undo.extend(std::iter::repeat_n(error, times));
    }

    /// Has calls to make the step wait for the returned sign.
    pub(crate) fn wait_for(&self) -> Arc<Notify> {
        lock(&self.gate).insert(Arc::default()).clone()
    }

    /// Returns the calls so far.
    pub(crate) fn seen(&self) -> Vec<&'static str> {
        lock(&self.inner).seen.clone()
    }
}

#[async_trait]
impl Step for ScriptedStep {
    async fn ensure(&self, context: &StepContext) -> Result<Ensured> {
        lock(&self.inner).seen.push("ensure");
        let gate = lock(&self.gate).clone();
        if let Some(gate) = gate {
            gate.notified().await;
            lock(&self.gate).take();
        }
        let mut inner = lock(&self.inner);
        if let Some(error) = inner.ensure.pop_front() {
            return Err(error());
        }
        if inner.parts > 0 {
            inner.parts -= 1;
            return Ok(Ensured::More);
        }
        Ok(Ensured::Done(Made::from([("of".to_owned(), context.project.to_string())])))
    }

    async fn undo(&self, _context: &StepContext, _made: &Made) -> Result<()> {
        let mut inner = lock(&self.inner);
        inner.seen.push("undo");
        inner.undo.pop_front().map_or(Ok(()), |error| Err(error()))
    }
}

/// Plan of every operation.
pub(crate) struct Scripted {
    /// The steps.
    pub(crate) steps: [Arc<ScriptedStep>; 3],
    /// Names of the steps: `one`, `two` and `three`, unless another version has others.
    pub(crate) names: Mutex<[&'static str; 3]>,
    /// First step that cannot be taken back.
    pub(crate) no_return_from: Mutex<Option<&'static str>>,
}

impl Default for Scripted {
    fn default() -> Self {
        Self {
            steps: Default::default(),
            names: Mutex::new(["one", "two", "three"]),
            no_return_from: Mutex::default(),
        }
    }
}

impl Plans for Scripted {
    fn plan(&self, request: &OperationRequest) -> Result<Plan> {
        let on_failure = match request {
            OperationRequest::CreateProject { on_failure, .. } => *on_failure,
            OperationRequest::DeleteProject { .. } => OnFailure::Rollback,
        };
        let named = lock(&self.names).into_iter().zip(self.steps.clone());
        Ok(Plan {
            steps: named.map(|(name, step)| (name, step as Arc<dyn Step>)).collect(),
            rules: OperationPlan { on_failure, no_return_from: *lock(&self.no_return_from) },
        })
    }
}

impl Bench {
    /// Has an operation accepted.
    pub(crate) async fn operate(&self, on_failure: OnFailure) -> JobId {
        let request = OperationRequest::CreateProject { project: id("shop"), on_failure };
        let created_at = self.clock.now();
        let job = Job { spec: JobSpec::Operation(request), created_at, ..operation("shop", 1) };
        self.submitter().submit(job, None).await.expect("it is new").0.id
    }

    /// Asks for an operation's end, as a caller does.
    pub(crate) async fn cancel_operation(&self, id: &JobId) {
        let cancelled = self.submitter().cancel((&Target::Operations, id), None, self.clock.now()).await;
        cancelled.expect("the store answers").expect("it is there");
    }

    /// Has an operation go on, as a caller does.
    pub(crate) async fn retry_operation(&self, id: &JobId) {
        let reopened = self.submitter().reopen((&Target::Operations, id), None, self.clock.now()).await;
        reopened.expect("it has ended").expect("it is there");
    }

    /// Returns the steps of an operation.
    pub(crate) async fn steps(&self, id: &JobId) -> Vec<OperationStep> {
        let steps = self.sound.steps(std::slice::from_ref(id)).await.expect("it answers");
        steps.into_iter().map(|(_, step)| step).collect()
    }

    /// Waits until this holds of an operation and its steps. Returns the operation and the time that has passed.
    pub(crate) async fn operation_when(
        &self,
        id: &JobId,
        holds: impl Fn(&Job, &[OperationStep]) -> bool,
    ) -> (Job, Duration) {
        let (since, mut changes) = (Instant::now(), self.changes.subscribe());
        loop {
            changes.mark_unchanged();
            let job =
                self.sound.job(&Target::Operations, id).await.expect("it answers").expect("it is stored");
            if holds(&job, &self.steps(id).await) {
                return (job, since.elapsed());
            }
            let change = timeout(LEASE, changes.changed()).await;
            assert!(
                matches!(change, Ok(Ok(()))),
                "it never comes to that: {job:?} {:?}",
                self.told(id).await
            );
        }
    }

    /// Waits until an operation has ended so. Returns the message of its outcome.
    pub(crate) async fn operation_ended(&self, id: &JobId, status: OperationStatus) -> Option<String> {
        let (job, _) = self.operation_when(id, |job, _| job.state.is_ended()).await;
        assert_eq!(OperationStatus::of(&job.state), status, "{:?}", self.told(id).await);
        match job.state {
            rdev_domain::JobState::Ended { outcome, .. } => outcome.message,
            state => panic!("{state:?}"),
        }
    }
}
