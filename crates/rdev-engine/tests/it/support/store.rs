//! A store that fails where it is told to, and loses answers.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rdev_domain::{
    Chunk, Entry, Error, Failure, IdempotencyKey, Job, JobId, Outcome, Position, Result, Seq, StreamId,
    Target, Timestamp, WorkerId,
};
use rdev_ports::testing::MemoryStore;
use rdev_ports::{
    CancelRequested, Claim, ClaimLimits, Enqueued, EventLog, Fence, NewJob, Renewal, Retry, Slot, Started,
    TaskQueue, Unfinished,
};

use super::pods::lock;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The store cannot be reached.
    Away,
    /// The call is carried out, and its answer is lost.
    AnswerLost,
    /// The call is not carried out, and nobody answers.
    Hangs,
}

/// A store, the faults that its next calls meet, and how often each was called.
#[derive(Clone)]
pub(crate) struct Faulty {
    pub(crate) memory: MemoryStore,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    faults: HashMap<&'static str, (Fault, u32)>,
    calls: HashMap<&'static str, u32>,
}

impl Faulty {
    pub(crate) fn new(memory: MemoryStore) -> Self {
        Self { memory, inner: Arc::default() }
    }

    /// The next `times` calls of `what` meet this fault.
    pub(crate) fn fail(&self, what: &'static str, fault: Fault, times: u32) {
        lock(&self.inner).faults.insert(what, (fault, times));
    }

    pub(crate) fn calls(&self, what: &'static str) -> u32 {
        lock(&self.inner).calls.get(what).copied().unwrap_or(0)
    }

    async fn call<T>(&self, what: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let fault = {
            let mut inner = lock(&self.inner);
            *inner.calls.entry(what).or_default() += 1;
            let due = inner.faults.get_mut(what).filter(|(_, times)| *times > 0);
            due.map(|(fault, times)| {
                *times -= 1;
                *fault
            })
        };
        let away = || Error::unavailable("database", anyhow::anyhow!("{what} met {fault:?}"));
        match fault {
            None => call.await,
            Some(Fault::Away) => Err(away()),
            Some(Fault::Hangs) => pending().await,
            Some(Fault::AnswerLost) => call.await.and_then(|_| Err(away())),
        }
    }
}

#[async_trait]
impl TaskQueue for Faulty {
    async fn enqueue(&self, new: NewJob) -> Result<Enqueued> {
        self.call("enqueue", self.memory.enqueue(new)).await
    }

    async fn first_use(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Timestamp> {
        self.memory.first_use(key, now).await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        slots: ClaimLimits,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claim>> {
        self.call("claim", self.memory.claim(worker, slots, now, lease_until)).await
    }

    async fn start(
        &self,
        fence: &Fence,
        pod_uid: &str,
        slot: Option<&Slot>,
        now: Timestamp,
    ) -> Result<Started> {
        self.call("start", self.memory.start(fence, pod_uid, slot, now)).await
    }

    async fn stall(&self, fence: &Fence, failure: Option<Failure>, now: Timestamp) -> Result<Option<Entry>> {
        self.call("stall", self.memory.stall(fence, failure, now)).await
    }

    async fn renew(&self, fences: &[Fence], lease_until: Timestamp) -> Result<Renewal> {
        self.call("renew", self.memory.renew(fences, lease_until)).await
    }

    async fn finish(&self, fence: &Fence, seq: Seq, outcome: Outcome, now: Timestamp) -> Result<Entry> {
        self.call("finish", self.memory.finish(fence, seq, outcome, now)).await
    }

    async fn retry(&self, fence: &Fence, retry: Retry, now: Timestamp) -> Result<Entry> {
        self.call("retry", self.memory.retry(fence, retry, now)).await
    }

    async fn release(&self, fences: &[Fence]) -> Result<()> {
        self.call("release", self.memory.release(fences)).await
    }

    async fn postpone(&self, fence: &Fence, until: Timestamp) -> Result<()> {
        self.call("postpone", self.memory.postpone(fence, until)).await
    }

    async fn hurry(&self, targets: &[Target]) -> Result<u64> {
        self.call("hurry", self.memory.hurry(targets)).await
    }

    async fn release_all_but(&self, worker: &WorkerId, held: &[Fence]) -> Result<u64> {
        self.memory.release_all_but(worker, held).await
    }

    async fn release_all(&self) -> Result<u64> {
        self.memory.release_all().await
    }

    async fn request_cancel(
        &self,
        target: &Target,
        id: &JobId,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<CancelRequested>> {
        self.memory.request_cancel(target, id, idempotency, now).await
    }

    async fn job(&self, target: &Target, id: &JobId) -> Result<Option<Job>> {
        self.memory.job(target, id).await
    }

    async fn job_of_stream(&self, target: &Target, stream: &StreamId) -> Result<Option<Job>> {
        self.memory.job_of_stream(target, stream).await
    }

    async fn jobs(&self, target: &Target, before: Option<&JobId>, limit: u32) -> Result<Vec<Job>> {
        self.memory.jobs(target, before, limit).await
    }

    async fn unfinished(&self, ids: &[JobId]) -> Result<Vec<Unfinished>> {
        self.memory.unfinished(ids).await
    }

    async fn check(&self) -> Result<()> {
        TaskQueue::check(&self.memory).await
    }
}

#[async_trait]
impl EventLog for Faulty {
    async fn append(&self, fence: &Fence, chunks: Vec<Chunk>, now: Timestamp) -> Result<Vec<Entry>> {
        self.call("append", self.memory.append(fence, chunks, now)).await
    }

    async fn read_job(&self, id: &JobId, after: Position, limit: u32) -> Result<Vec<Entry>> {
        self.call("read_command", self.memory.read_job(id, after, limit)).await
    }

    async fn read_target(&self, target: &Target, after: Position, limit: u32) -> Result<Vec<Entry>> {
        self.memory.read_target(target, after, limit).await
    }

    async fn position_of(&self, id: &JobId, seq: Seq) -> Result<Position> {
        self.memory.position_of(id, seq).await
    }

    async fn ends(&self, ids: &[JobId]) -> Result<Vec<(JobId, Position)>> {
        self.memory.ends(ids).await
    }

    async fn last(&self, target: &Target, to: Position) -> Result<Position> {
        self.memory.last(target, to).await
    }

    async fn pruned(&self, target: &Target) -> Result<Position> {
        self.memory.pruned(target).await
    }

    async fn last_seq(&self, id: &JobId) -> Result<Option<Seq>> {
        self.memory.last_seq(id).await
    }

    async fn flush(&self) -> Result<()> {
        self.memory.flush().await
    }
}
