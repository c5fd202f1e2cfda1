//! A store on SQLite that fails where a test wants it to, loses answers, and works while tokio's paused clock stands still.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, mpsc};

use async_trait::async_trait;
use bytes::Bytes;
use rdev_domain::{
    Artefact, Chunk, Entry, Error, Failure, IdempotencyKey, Job, JobId, LogView, OperationRequest,
    OperationStep, Outcome, Position, Result, Seq, StepEvent, StepName, StreamId, Target, Timestamp,
    WaitingFor, WorkerId, WorkerName,
};
use rdev_ports::{
    ArtefactWrite, Artefacts, Backlog, BacklogPosition, CancelRequested, Claim, ClaimLimits, Enqueued,
    EventLog, Fence, JobFilter, Occupancy, Occurrence, OperationSteps, Operations, PoolQueue, QueueStats,
    ReadyProject, Renewal, Reopened, Retry, Slot, StartAnswer, TaskLeases, TaskQueue, Unfinished,
};
use rdev_sql::SqlStore;
use rdev_sql::testing::sqlite;
use tempfile::TempDir;
use tokio::sync::watch;

use super::pods::lock;

/// Fault of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The store cannot be reached.
    Away,
    /// The call fails for a reason that does not pass, and changes nothing.
    Fails,
    /// The call is carried out, and its answer is lost.
    AnswerLost,
    /// The call is not carried out, and nobody answers.
    Hangs,
}

/// A store, the faults of its next calls, and how often each was called.
#[derive(Clone)]
pub(crate) struct Faulty {
    sql: SqlStore,
    inner: Arc<Mutex<Inner>>,
    /// Tells of each call, once it was carried out.
    changes: watch::Sender<()>,
    _dir: Arc<TempDir>,
}

#[derive(Default)]
struct Inner {
    faults: HashMap<&'static str, (Fault, u32)>,
    calls: HashMap<&'static str, u32>,
}

impl Faulty {
    /// Opens a new store, which tells `changes` of its calls.
    pub(crate) async fn open(changes: watch::Sender<()>) -> Self {
        let (sql, dir) = still(sqlite()).await;
        Self { sql, inner: Arc::default(), changes, _dir: Arc::new(dir) }
    }

    /// Returns the same store without the faults. Its calls do not count, and `changes` does not tell of them.
    pub(crate) fn sound(&self) -> Self {
        Self { inner: Arc::default(), changes: watch::Sender::new(()), ..self.clone() }
    }

    /// Has the next `times` calls of `what` meet this fault.
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
        let answer = match fault {
            None => still(call).await,
            Some(Fault::Away) => return Err(away()),
            Some(Fault::Fails) => return Err(Error::Internal(anyhow::anyhow!("{what} met {fault:?}"))),
            Some(Fault::Hangs) => pending().await,
            Some(Fault::AnswerLost) => still(call).await.and_then(|_| Err(away())),
        };
        self.changes.send_replace(());
        answer
    }
}

/// Awaits what other threads do, while tokio's paused clock stands still: tokio passes the time whenever its tasks only
/// wait, but not while a blocking task runs.
async fn still<T>(work: impl Future<Output = T>) -> T {
    let (end, ended) = mpsc::channel::<()>();
    let blocking = tokio::task::spawn_blocking(move || ended.recv().is_err());
    let done = work.await;
    drop(end);
    assert!(blocking.await.expect("it only waits"));
    done
}

/// Implements a port by calls of the store.
macro_rules! calls {
    ($port:ident: $(fn $name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl $port for Faulty {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$answer> {
                self.call(stringify!($name), self.sql.$name($($arg),*)).await
            })*
        }
    };
}

calls! { TaskQueue:
    fn enqueue(job: &Job, key: Option<&IdempotencyKey>) -> Enqueued;
    fn settled() -> ();
    fn first_use(key: &IdempotencyKey, now: Timestamp) -> Timestamp;
    fn request_cancel(target: &Target, id: &JobId, key: Option<&IdempotencyKey>, now: Timestamp)
        -> Option<CancelRequested>;
    fn reopen(target: &Target, id: &JobId, key: Option<&IdempotencyKey>, now: Timestamp) -> Option<Reopened>;
    fn job(target: &Target, id: &JobId) -> Option<Job>;
    fn job_of_stream(target: &Target, stream: &StreamId) -> Option<Job>;
    fn jobs(target: &Target, filter: &JobFilter, before: Option<&JobId>, limit: u32) -> Vec<Job>;
    fn queue_position(id: &JobId, now: Timestamp) -> Option<BacklogPosition>;
    fn unfinished(ids: &[JobId]) -> Vec<Unfinished>;
    fn check() -> ();
}

calls! { TaskLeases:
    fn claim_and_start(worker: &WorkerId, limits: ClaimLimits, ready: &[ReadyProject], now: Timestamp, lease_until: Timestamp)
        -> Vec<Claim>;
    fn start(fence: &Fence, pod_uid: &str, slot: Option<&Slot>, now: Timestamp) -> StartAnswer;
    fn stall(fence: &Fence, failure: Option<Failure>, now: Timestamp) -> Option<Entry>;
    fn wait_for(fence: &Fence, waiting_for: Option<WaitingFor>, now: Timestamp) -> Option<Entry>;
    fn renew(worker: &WorkerId, fences: &[Fence], lease_until: Timestamp) -> Renewal;
    fn finish(fence: &Fence, seq: Seq, outcome: Outcome, now: Timestamp) -> Entry;
    fn retry(fence: &Fence, retry: Retry, now: Timestamp) -> Entry;
    fn release(fences: &[Fence]) -> ();
    fn postpone(fence: &Fence, until: Timestamp) -> ();
    fn hurry(targets: &[Target]) -> u64;
    fn release_all_but(worker: &WorkerId, held: &[Fence]) -> u64;
    fn release_all() -> u64;
}

calls! { OperationSteps:
    fn plan(fence: &Fence, names: &[StepName]) -> Vec<OperationStep>;
    fn advance(fence: &Fence, number: u32, event: StepEvent, seq: Seq, now: Timestamp) -> (OperationStep, Entry);
}

calls! { Operations:
    fn steps(ids: &[JobId]) -> Vec<(JobId, OperationStep)>;
    fn earlier(request: &OperationRequest, key: Option<&IdempotencyKey>, now: Timestamp) -> Option<Job>;
}

calls! { PoolQueue:
    fn occupancy() -> Occupancy;
    fn set_draining(worker: &WorkerName, draining: bool, key: Option<&IdempotencyKey>, now: Timestamp) -> Occurrence;
    fn backlog(now: Timestamp) -> Backlog;
    fn stats() -> QueueStats;
}

calls! { EventLog:
    fn append(fence: &Fence, chunks: Vec<Chunk>, now: Timestamp) -> Vec<Entry>;
    fn read_job(id: &JobId, after: Position, limit: u32) -> Vec<Entry>;
    fn read_view(view: &LogView, after: Position, limit: u32) -> Vec<Entry>;
    fn position_of(id: &JobId, seq: Seq) -> Position;
    fn ends(ids: &[JobId]) -> Vec<(JobId, Position)>;
    fn last(view: &LogView, to: Position) -> Position;
    fn last_before(view: &LogView, at: Timestamp) -> Position;
    fn seq_before(id: &JobId, at: Timestamp) -> Option<Seq>;
    fn pruned(view: &LogView) -> Position;
    fn last_seq(id: &JobId) -> Option<Seq>;
    fn flush() -> ();
}

calls! { Artefacts:
    fn keep(fence: &Fence, writes: &[ArtefactWrite]) -> ();
    fn artefacts(id: &JobId) -> Vec<(u32, Artefact)>;
    fn part(id: &JobId, file: u32, part: u32) -> Option<Bytes>;
}
