//! The queue as workers see it: claim a job, start it, keep its lease, end it or give it back.

use async_trait::async_trait;
use rdev_domain::{
    Entry, EntryBody, Failure, Job, JobId, Outcome, ProjectId, Result, Seq, Target, Timestamp, WaitingFor,
    WorkerId,
};

use crate::Slot;

/// Leases on jobs. A worker holds a job by a claim, and proves each write under the claim by its [`Fence`].
///
/// Every method is one transaction, and stores the log entries about a change with the change.
///
/// A worker whose answer was lost may call `start`, `wait_for`, `stall`, `finish`, `retry` and
/// [`EventLog::append`](crate::EventLog::append) again with the same arguments, the time included, until one call is
/// answered: nothing is stored twice, and where the first call returned an entry, `start`, `finish`, `retry` and
/// `append` return the same entry again.
///
/// `Error::LeaseLost` belongs to leases: it comes only from methods that take one [`Fence`], which are those of this
/// trait that say so, [`EventLog::append`](crate::EventLog::append) and [`Artefacts::keep`](crate::Artefacts::keep).
/// The worker that gets it must stop; another worker has the job, or the job has ended.
#[async_trait]
pub trait TaskLeases: Send + Sync {
    /// Claims jobs that are pending and due, or whose lease has expired, up to `limits`, and leases them to the worker
    /// until `lease_until` inclusive, or until the worker's lease ends, which [`renew`](Self::renew) extends. Higher
    /// priority comes first. Within a priority, callers and projects are served round-robin; within one caller and project,
    /// first in first out. At most one job of a concurrency key is running or leased at any time. The next of a key is
    /// decided when the key becomes free or a job of it comes: of those that are due then it is the one of the highest
    /// priority, then the oldest.
    ///
    /// Pending commands of the projects in `ready` start with their claim, as [`start`](Self::start) would start them.
    async fn claim_and_start(
        &self,
        worker: &WorkerId,
        limits: ClaimLimits,
        ready: &[ReadyProject],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claim>>;

    /// Claims as [`claim_and_start`](Self::claim_and_start) does, and starts nothing.
    async fn claim(
        &self,
        worker: &WorkerId,
        limits: ClaimLimits,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claim>> {
        self.claim_and_start(worker, limits, &[], now, lease_until).await
    }

    /// Starts a claimed job in the pod `pod_uid`, for a task of the pool in a `slot` of a worker: the job becomes
    /// running, with an entry of that status, and its attempt counts. A job that is running already keeps its first
    /// pod, slot and time, which come back without an entry. Returns once the job's acceptance survives the death of the
    /// machine.
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the job's latest claim, or the job has ended.
    async fn start(
        &self,
        fence: &Fence,
        pod_uid: &str,
        slot: Option<&Slot>,
        now: Timestamp,
    ) -> Result<StartAnswer>;

    /// Stores the failure that keeps a running job from going on, or clears it, with an entry without a number of its
    /// own. `None` when nothing changed.
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the job's latest claim, or the job does not run.
    async fn stall(&self, fence: &Fence, failure: Option<Failure>, now: Timestamp) -> Result<Option<Entry>>;

    /// Stores the decision or resource that a running job waits for, or clears it, with an entry of the job's new
    /// status, which has no number of its own. The job keeps its lease, pod and slot. The end of an attempt clears the
    /// value too. `None` when nothing changed.
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the job's latest claim, or the job does not run.
    async fn wait_for(
        &self,
        fence: &Fence,
        waiting_for: Option<WaitingFor>,
        now: Timestamp,
    ) -> Result<Option<Entry>>;

    /// Extends the worker's lease to `lease_until`, for all jobs that it holds, and returns those of its claims that were
    /// lost or are to be cancelled.
    async fn renew(&self, worker: &WorkerId, fences: &[Fence], lease_until: Timestamp) -> Result<Renewal>;

    /// Ends the job, with a complete entry numbered `seq`: beyond the last stored event, by more than one where events
    /// are missing. A NUL in the outcome's message becomes U+FFFD.
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the job's latest claim, the job has ended otherwise, or an event of that
    /// number is stored.
    async fn finish(&self, fence: &Fence, seq: Seq, outcome: Outcome, now: Timestamp) -> Result<Entry>;

    /// Ends an attempt and requeues the job: pending, not to be claimed before `run_after`, without a pod. The entry
    /// has no number of its own. A job whose cancellation was requested ends as cancelled instead, with a complete
    /// entry.
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the job's latest claim, or the job has ended.
    async fn retry(&self, fence: &Fence, retry: Retry, now: Timestamp) -> Result<Entry>;

    /// Releases claims: any worker may claim these jobs at once, and attach to what runs. Invalidates the fences: write
    /// everything else first. Fences that are not the latest are ignored.
    async fn release(&self, fences: &[Fence]) -> Result<()>;

    /// Releases a claim, and keeps the job from being claimed until after `until`. A fence that is not the latest is
    /// ignored.
    async fn postpone(&self, fence: &Fence, until: Timestamp) -> Result<()>;

    /// Makes the postponed jobs of these targets due at once. Returns their number.
    async fn hurry(&self, targets: &[Target]) -> Result<u64>;

    /// Releases every lease of this worker except `held`: claims whose answer was lost on the way to the worker.
    /// Returns their number.
    async fn release_all_but(&self, worker: &WorkerId, held: &[Fence]) -> Result<u64>;

    /// Releases every lease of every worker. Returns their number.
    ///
    /// Only for the start of a process that is the store's only user. Where other processes share the store, this takes
    /// their jobs from them.
    async fn release_all(&self) -> Result<u64>;
}

/// Proof of a claim. A later claim of the same job invalidates it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fence {
    /// Id of the job.
    pub id: JobId,
    /// Fencing token: the number of the claim, higher than that of any earlier claim of the job.
    pub token: i64,
}

/// Maximum numbers of jobs that one claim takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimLimits {
    /// Commands of projects, pending or with an expired lease.
    pub commands: u32,
    /// Operations, pending or with an expired lease. The limit is one of their own: a deletion that waited for the slots
    /// of commands could wait for those that it is to end.
    pub operations: u32,
    /// Pending tasks of the pool. A running task whose lease has expired is claimed beyond this limit: it has its slot
    /// in the pool already.
    pub pool: u32,
}

/// A project whose commands may start in this pod at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyProject {
    /// The project.
    pub project: ProjectId,
    /// Its pod, which is ready.
    pub pod_uid: String,
}

/// A job leased to a worker.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Proof of the claim, which every write of the worker needs.
    pub fence: Fence,
    /// The job, as it was before `start`.
    pub job: Job,
    /// Number of the last stored event: attaching goes on after it.
    pub last_seq: Seq,
    /// Pod in which the job was started; `None` before the start.
    pub pod_uid: Option<String>,
    /// Slot of the pool in which the task was started; `None` before the start, and for commands.
    pub slot: Option<Slot>,
    /// Start that came with the claim.
    pub start: Option<Started>,
}

/// Answer of [`TaskLeases::start`].
#[derive(Debug, Clone)]
pub enum StartAnswer {
    /// The job is running.
    Started(Box<Started>),
    /// Another task runs in the slot. The job is as it was before, and may be started in another slot.
    SlotTaken,
}

/// A running job, which its worker may now start or attach to.
#[derive(Debug, Clone)]
pub struct Started {
    /// Pod in which the job was started first; it must not be started in any other.
    pub pod_uid: String,
    /// Slot of the pool in which the task was started first; `None` for commands.
    pub slot: Option<Slot>,
    /// Time of the first start of this attempt.
    pub started_at: Timestamp,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// True when the job's cancellation was requested.
    pub cancel_requested: bool,
    /// Entry of the status `running`; `None` when the job was running before.
    pub entry: Option<Entry>,
}

/// Claims of a renewal that need action.
#[derive(Debug, Clone, Default)]
pub struct Renewal {
    /// Claims that are not the latest any more: another worker has the job, or the claim was released. A claim under
    /// which the job has ended is not among them.
    pub lost: Vec<Fence>,
    /// Claims of jobs whose cancellation was requested.
    pub cancelled: Vec<Fence>,
}

/// End of an attempt that another one follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Reason of the end, in one word.
    pub reason: String,
    /// Reason of the end, in one line.
    pub error: String,
    /// Earliest start of the next attempt.
    pub run_after: Timestamp,
    /// True when the attempt counts towards the job's maximum. One that was ended by something outside of the job does
    /// not count.
    pub counts: bool,
}

impl Retry {
    /// Tells whether an entry is the one that this end of an attempt stored.
    pub fn is_stored_as(&self, entry: &Entry) -> bool {
        match &entry.body {
            EntryBody::Retry(retrying) => retrying.reason == self.reason && retrying.message == self.error,
            EntryBody::Complete(outcome) | EntryBody::FormerEnd(outcome) => {
                outcome.message.as_ref() == Some(&self.error)
            }
            EntryBody::Status(_) | EntryBody::Stalled(_) | EntryBody::Step(_) | EntryBody::Output(_) => false,
        }
    }
}
