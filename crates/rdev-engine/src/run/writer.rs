//! Writes of one claimed job: every step is stored under the job's fence, and announced.

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{
    Chunk, Entry, EntryBody, Failure, OperationStep, Outcome, Result, Seq, StepEvent, StepName, Timestamp,
    attempt_error,
};
use rdev_ports::{
    Claim, Clock, EventLog, Fence, OperationSteps, Retry, Slot, StartAnswer, Started, TaskLeases,
};

use super::retry::until_available;
use crate::{TailCache, WorkerPorts};

/// Stores the steps of one claimed job, and announces their entries. A store that is not available is asked again,
/// without end. Every method fails with `LeaseLost` when another worker has taken over.
#[derive(Clone)]
pub(crate) struct JobWriter {
    fence: Fence,
    leases: Arc<dyn TaskLeases>,
    operations: Arc<dyn OperationSteps>,
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    tails: TailCache,
}

impl JobWriter {
    pub(crate) fn new(claim: &Claim, ports: &WorkerPorts, tails: &TailCache) -> Self {
        let WorkerPorts { leases, operations, log, clock, .. } = ports.clone();
        Self { fence: claim.fence.clone(), leases, operations, log, clock, tails: tails.clone() }
    }

    /// Returns the time of day.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Stores that the job runs in this pod, and in this slot of the pool, unless another task occupies the slot.
    pub(crate) async fn start(&self, pod_uid: &str, slot: Option<&Slot>) -> Result<StartAnswer> {
        let now = self.now();
        let start = || self.leases.start(&self.fence, pod_uid, slot, now);
        let answer = until_available(&self.fence.id, start).await?;
        if let StartAnswer::Started(started) = &answer {
            self.publish_start(started);
        }
        Ok(answer)
    }

    /// Announces a start that is stored.
    pub(crate) fn publish_start(&self, started: &Started) {
        started.entry.clone().into_iter().for_each(|entry| self.tails.publish(entry));
    }

    /// Stores what keeps the job from going on; `None`: nothing does any more.
    pub(crate) async fn stall(&self, failure: Option<Failure>) -> Result<()> {
        let now = self.now();
        let stall = || self.leases.stall(&self.fence, failure.clone(), now);
        let entry = until_available(&self.fence.id, stall).await?;
        entry.into_iter().for_each(|entry| self.tails.publish(entry));
        Ok(())
    }

    /// Stores the steps of an operation, unless it has some. Returns its steps.
    pub(crate) async fn plan(&self, names: &[StepName]) -> Result<Vec<OperationStep>> {
        until_available(&self.fence.id, || self.operations.plan(&self.fence, names)).await
    }

    /// Stores an event of an operation's step, numbered `seq`. Returns the step.
    pub(crate) async fn advance(&self, number: u32, event: StepEvent, seq: Seq) -> Result<OperationStep> {
        let now = self.now();
        let advance = || self.operations.advance(&self.fence, number, event.clone(), seq, now);
        let (step, entry) = until_available(&self.fence.id, advance).await?;
        self.tails.publish(entry);
        Ok(step)
    }

    /// Appends output.
    pub(crate) async fn append(&self, chunks: &[Chunk]) -> Result<()> {
        let now = self.now();
        let append = || self.log.append(&self.fence, chunks.to_vec(), now);
        let entries: Vec<Entry> = until_available(&self.fence.id, append).await?;
        entries.into_iter().for_each(|entry| self.tails.publish(entry));
        Ok(())
    }

    /// Ends the attempt, and requeues the job for the next one after a pause. `counts`: the attempt is one of those that
    /// the job may have. Returns the outcome of a job whose cancellation was requested, which ends instead.
    pub(crate) async fn retry(
        &self,
        outcome: &Outcome,
        pause: Duration,
        counts: bool,
    ) -> Result<Option<Outcome>> {
        let now = self.now();
        let retry = Retry {
            reason: outcome.ending.reason().unwrap_or_default().to_owned(),
            error: attempt_error(outcome),
            run_after: now + pause,
            counts,
        };
        let entry = until_available(&self.fence.id, || self.leases.retry(&self.fence, retry.clone(), now));
        let entry = entry.await?;
        let ended = match &entry.body {
            EntryBody::Complete(outcome) => Some(outcome.clone()),
            _ => None,
        };
        self.tails.publish(entry);
        Ok(ended)
    }

    /// Ends the job with an event of this number.
    pub(crate) async fn finish(&self, seq: Seq, outcome: Outcome) -> Result<()> {
        let now = self.now();
        let finish = || self.leases.finish(&self.fence, seq, outcome.clone(), now);
        let entry = until_available(&self.fence.id, finish).await?;
        self.tails.publish(entry);
        Ok(())
    }

    /// Releases the claim until the pause is over.
    pub(crate) async fn postpone(&self, pause: Duration) -> Result<()> {
        let until = self.now() + pause;
        until_available(&self.fence.id, || self.leases.postpone(&self.fence, until)).await
    }
}
