//! One claimed job, from its claim to its end: decide, start, attach, collect, end or requeue.
//!
//! The files of this folder call down only: [`Executor::run`] asks `decide` and acts on the answer, `attach` returns
//! the end of an attempt, `artefacts` stores the files of the attempt. Every step of a job is stored by `writer`.

mod agent;
mod artefacts;
mod attach;
pub(crate) mod control;
mod decide;
mod disruption;
mod give_up;
mod intake;
mod invocation;
pub(crate) mod job_log;
pub(crate) mod journal_gc;
mod mask;
mod outcome;
mod refusal;
pub(crate) mod retry;
mod slots;
pub(crate) mod writer;

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{
    CommandRequest, EntryBody, Job, JobSpec, JobState, OperationEnd, OperationRequest, OperationStep,
    Outcome, Position, Result, Seq, Timestamp,
};
use rdev_ports::{Claim, Pod, Readiness, StartAnswer, Started};
use rdev_runner::frame::decode_all;
use tokio_util::sync::CancellationToken;

use crate::operations::{Driver, Plan, StepContext, stuck};
use crate::{TailCache, Wakeups, WorkerPorts};
use agent::AgentWatch;
use artefacts::Collector;
use attach::{Attachment, AttemptEnd};
use control::RunId;
use decide::{Decider, Decision, waiting_since};
use invocation::checkout;
use journal_gc::JournalGc;
use outcome::never_started;
use retry::until_available;
use slots::FreeSlots;
use writer::JobWriter;

/// Bounds of the pause before a job whose pod is not ready is claimed again. The pause is half of the time that the job
/// has waited; it ends at once when the pod becomes ready.
const POSTPONE_MIN: Duration = Duration::from_secs(1);
const POSTPONE_MAX: Duration = Duration::from_secs(10);
/// Pod of operations, which have none.
const NO_POD: &str = "";
/// Most entries of one read when an agent's earlier lines are read again.
const REREAD_ENTRIES: u32 = 16;

/// Runs claimed jobs.
pub(crate) struct Executor {
    pub(crate) ports: WorkerPorts,
    pub(crate) tails: TailCache,
    pub(crate) wakeups: Wakeups,
    pub(crate) journal_gc: Arc<JournalGc>,
    /// Longest wait of a job for its pod to be ready.
    pub(crate) pod_patience: Duration,
}

impl Executor {
    /// Runs a claimed job to its end, or releases the claim for a while if the job's pod is not ready. Dropping the
    /// future leaves the job running, and everything stored so that another call goes on where this one stopped. A
    /// store that is not available is waited for. `pod` is that of a start that came with the claim; `cancelled` the
    /// job's token.
    ///
    /// # Errors
    /// `LeaseLost` when another worker has taken over.
    pub(crate) async fn run(
        &self,
        claim: &Claim,
        pod: Option<Pod>,
        cancelled: Arc<CancellationToken>,
    ) -> Result<()> {
        // Held to the end, so that the order of this job's entries is known to readers that come later.
        let tail = self.tails.job(&claim.fence.id);
        if claim.job.schedule.attempts > 0 {
            tail.forget();
        }
        let writer = JobWriter::new(claim, &self.ports, &self.tails);
        if let Some(request) = claim.job.operation() {
            return self.operate(claim, request, &writer, cancelled).await;
        }
        if let (Some(started), Some(pod)) = (&claim.start, pod) {
            writer.publish_start(started);
            return self.attach(claim, &writer, cancelled, pod, started.clone()).await;
        }
        let started = match self.decider().decide(claim).await? {
            Decision::End(outcome) => {
                // A cancellation from here on is not for this run.
                drop(cancelled);
                return self.end_without_pod(claim, &writer, outcome).await;
            }
            Decision::Postpone(since) => return self.postpone(&writer, since).await,
            Decision::Run(pod, slot) => match writer.start(&pod.uid, slot.as_ref()).await? {
                StartAnswer::Started(started) => Some((*started, pod)),
                StartAnswer::SlotTaken => None,
            },
            Decision::RunInPool(slots) => start_in_pool(&writer, slots).await?,
        };
        match started {
            Some((started, pod)) => self.attach(claim, &writer, cancelled, pod, started).await,
            None => self.postpone(&writer, waiting_since(&claim.job)).await,
        }
    }

    /// Does the work of an operation, from wherever it stopped.
    async fn operate(
        &self,
        claim: &Claim,
        request: &OperationRequest,
        writer: &JobWriter,
        cancelled: Arc<CancellationToken>,
    ) -> Result<()> {
        let StartAnswer::Started(started) = writer.start(NO_POD, None).await? else {
            return self.postpone(writer, waiting_since(&claim.job)).await;
        };
        log_start(&claim.job, &started);
        if started.cancel_requested {
            cancelled.cancel();
        }
        let (outcome, last_seq) =
            self.drive(claim, request, (writer, started.started_at), &cancelled).await?;
        // A cancellation from here on is not for this run.
        drop(cancelled);
        let left = outcome.message.clone().filter(|_| outcome.ending == OperationEnd::Stuck.ending());
        self.finish(claim, writer, last_seq.next(), outcome).await?;
        if let Some(left) = left {
            let (operation, project) = (&claim.fence.id, request.project());
            tracing::error!(%operation, %project, left, "operation is stuck: remove the cause, then retry it");
        }
        Ok(())
    }

    /// Takes the steps of an operation, whose round began at `started_at`, until the operation ends. Returns its outcome
    /// and the number of its last event.
    async fn drive(
        &self,
        claim: &Claim,
        request: &OperationRequest,
        (writer, started_at): (&JobWriter, Timestamp),
        cancelled: &CancellationToken,
    ) -> Result<(Outcome, Seq)> {
        let (plan, steps) = match self.planned(request, writer).await {
            Ok(planned) => planned,
            Err(error) => return Ok((stuck(error, &[])?, claim.last_seq)),
        };
        let mut driver = Driver {
            steps,
            context: StepContext { operation: claim.fence.id.clone(), project: request.project().clone() },
            plan,
            writer,
            cancelled,
            random: &*self.ports.random,
            started_at,
            last_seq: claim.last_seq,
        };
        let outcome = driver.run().await?;
        Ok((outcome, driver.last_seq))
    }

    /// Returns the plan of an operation, and the operation's steps as they are stored.
    async fn planned(
        &self,
        request: &OperationRequest,
        writer: &JobWriter,
    ) -> Result<(Plan, Vec<OperationStep>)> {
        let plan = self.ports.plans.plan(request)?;
        let steps = writer.plan(&Driver::names(&plan)?).await?;
        Ok((plan, steps))
    }

    /// Releases the claim until the job's pod may be ready. Jobs that wait for the same pod are spread a little.
    async fn postpone(&self, writer: &JobWriter, since: Timestamp) -> Result<()> {
        let waited = writer.now().since(since);
        let pause = (waited / 2).clamp(POSTPONE_MIN, POSTPONE_MAX);
        writer.postpone(pause.mul_f64(1.0 - self.ports.random.fraction() / 4.0)).await
    }

    /// Ends a job to whose pod nothing was sent by this worker.
    async fn end_without_pod(&self, claim: &Claim, writer: &JobWriter, outcome: Outcome) -> Result<()> {
        let seq = claim.last_seq.next();
        match claim.job.state {
            JobState::Running { .. } => {
                self.collector().mark_artefacts_lost(claim).await?;
                let end = AttemptEnd { outcome, seq, counts: true };
                self.conclude(claim, writer, claim.job.schedule.attempts, end).await
            }
            // A job that cannot be started at all has had no attempt, and retries would not end.
            JobState::Pending | JobState::Ended { .. } => self.finish(claim, writer, seq, outcome).await,
        }
    }

    /// Attaches to a started job, collects the files that it leaves, and concludes the attempt. One that was cancelled before
    /// this start ends without its pod.
    async fn attach(
        &self,
        claim: &Claim,
        writer: &JobWriter,
        cancelled: Arc<CancellationToken>,
        pod: Pod,
        started: Started,
    ) -> Result<()> {
        if started.entry.is_some() && (started.cancel_requested || cancelled.is_cancelled()) {
            drop(cancelled);
            return self.end_without_pod(claim, writer, never_started()).await;
        }
        log_start(&claim.job, &started);
        if started.cancel_requested {
            cancelled.cancel();
        }
        let agent = match &claim.job.spec {
            JobSpec::Command { request: CommandRequest::Claude(_), .. } => Some(self.reread(claim).await?),
            JobSpec::Command { .. } | JobSpec::Task(_) | JobSpec::Operation(_) => None,
        };
        let (ports, patience) = (&self.ports, self.pod_patience);
        let attachment =
            Attachment::new(ports, claim, writer.clone(), (&pod, &started), &cancelled, agent, patience);
        let end = attachment.run().await?;
        self.collector().collect(claim, &pod, &started, &cancelled).await?;
        // A cancellation from here on is not for this run.
        drop(cancelled);
        self.conclude(claim, writer, started.attempt, end).await?;
        self.free_later(claim, pod, &started).await;
        Ok(())
    }

    /// Has the journal and the checkout of an ended attempt freed.
    async fn free_later(&self, claim: &Claim, pod: Pod, started: &Started) {
        let has_artefacts = !claim.job.spec.artefacts().is_empty();
        let folder =
            has_artefacts.then(|| checkout(&claim.job, &pod, started.slot.as_ref(), started.attempt));
        let pod_ref = pod.pod_ref.clone();
        self.journal_gc.add(pod, RunId::of(&claim.job, started.attempt), folder);
        if !matches!(self.ports.pods.readiness(&pod_ref).await, Ok(Some(Readiness::Ready(_)))) {
            // The pod may be about to be deleted, and wait for its journals to be freed.
            self.journal_gc.hurry();
        }
    }

    /// Requeues the job after an attempt, or ends the job.
    async fn conclude(&self, claim: &Claim, writer: &JobWriter, attempt: u32, end: AttemptEnd) -> Result<()> {
        let AttemptEnd { outcome, seq, counts } = end;
        let outcome = outcome.storable();
        let schedule = &claim.job.schedule;
        let is_retried =
            schedule.allows_retry(attempt, outcome.ending) || !counts && schedule.allows_uncounted_retry();
        let done = if is_retried {
            self.retry(claim, writer, attempt, (&outcome, counts)).await
        } else {
            self.finish(claim, writer, seq, outcome).await
        };
        if claim.job.spec.is_task() {
            // The task's slot is free for the next task.
            self.wakeups.notify_work();
        }
        done
    }

    /// Requeues the job for another attempt.
    async fn retry(
        &self,
        claim: &Claim,
        writer: &JobWriter,
        attempt: u32,
        (outcome, counts): (&Outcome, bool),
    ) -> Result<()> {
        let pause = claim.job.schedule.backoff(attempt, self.ports.random.fraction());
        match writer.retry(outcome, pause, counts).await? {
            Some(ended) => job_log::ended(&claim.job, &ended),
            None => job_log::retried(&claim.job, attempt, outcome, pause),
        }
        Ok(())
    }

    async fn finish(&self, claim: &Claim, writer: &JobWriter, seq: Seq, outcome: Outcome) -> Result<()> {
        writer.finish(seq, outcome.clone()).await?;
        job_log::ended(&claim.job, &outcome);
        // The next job of the same concurrency key, if there is one, can be claimed.
        self.wakeups.notify_work_elsewhere();
        Ok(())
    }

    fn decider(&self) -> Decider<'_> {
        let WorkerPorts { pods, pool, clock, .. } = &self.ports;
        Decider { pods, pool: &**pool, clock: &**clock, pod_patience: self.pod_patience }
    }

    fn collector(&self) -> Collector<'_> {
        Collector { pods: &*self.ports.pods, artefacts: &*self.ports.artefacts }
    }

    /// Reads the lines again that an agent wrote before this worker took over.
    async fn reread(&self, claim: &Claim) -> Result<AgentWatch> {
        let mut watch = AgentWatch::of(&*self.ports.agent);
        if claim.last_seq == Seq::ZERO {
            return Ok(watch);
        }
        let (id, mut after) = (&claim.fence.id, Position::ZERO);
        loop {
            let read = || self.ports.log.read_job(id, after, REREAD_ENTRIES);
            let entries = until_available(id, read).await?;
            let Some(last) = entries.last() else { return Ok(watch) };
            after = last.position;
            for entry in entries {
                if let EntryBody::Output(frames) = entry.body {
                    for frame in decode_all(frames) {
                        watch.see(&frame.map_err(anyhow::Error::from)?);
                    }
                }
            }
        }
    }
}

/// Logs that an attempt begins, or that this worker goes on with one.
fn log_start(job: &Job, started: &Started) {
    match &started.entry {
        Some(_) => job_log::started(job, started.attempt, started.started_at),
        None => job_log::attached(job),
    }
}

/// Starts a task in the first of these slots that no other task has occupied by then; `None` when there is none.
async fn start_in_pool(writer: &JobWriter, mut slots: FreeSlots) -> Result<Option<(Started, Pod)>> {
    while let Some((pod, slot)) = slots.next().await? {
        if let StartAnswer::Started(started) = writer.start(&pod.uid, Some(&slot)).await? {
            return Ok(Some((*started, pod)));
        }
    }
    Ok(None)
}
