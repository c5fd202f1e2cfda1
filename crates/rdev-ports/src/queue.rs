use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{
    Entry, EntryBody, Failure, IdempotencyKey, Job, JobId, Outcome, Result, Seq, StreamId, Target, Timestamp,
    WorkerId,
};

use crate::Slot;

/// The queue of commands: what was accepted, who works on it, and how it ended.
///
/// Every method is one transaction: it has happened whole, or not at all. The log entries that tell of a
/// change are stored in the same transaction as the change.
///
/// An answer may be lost, and with it whether the change was stored. So `enqueue`, `start`, `finish`, `retry` and
/// [`EventLog::append`](crate::EventLog::append) can be asked for again with the same arguments, the time
/// included, until one is answered: what was stored the first time comes back, and nothing is stored twice.
#[async_trait]
pub trait TaskQueue: Send + Sync {
    /// Stores a command as pending, and the entry that says so. It survives the death of every process
    /// from the return on. With an idempotency key that was used before, nothing is stored and the first
    /// command comes back.
    ///
    /// # Errors
    /// `Conflict` with `STREAM_ID_TAKEN` when its home has a stream of that name, or had one that was removed, and with
    /// `IDEMPOTENCY_KEY_REUSED` when the key was used for another request.
    async fn enqueue(&self, new: NewJob) -> Result<Enqueued>;

    /// When this idempotency key was first used: now, for a new one.
    ///
    /// # Errors
    /// `Conflict` with `IDEMPOTENCY_KEY_REUSED` when it was used for another request.
    async fn first_use(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Timestamp>;

    /// Takes commands that wait and are due, or whose lease has run out, as many as there are slots, and leases
    /// them to the worker until `lease_until`, the moment itself included. Those of the highest priority come
    /// first; of these callers and projects have turns, one command each; and of one caller and project they
    /// come in the order in which they were stored. Of the commands with one concurrency key at most one is
    /// running or leased at any time; the next one is that of the highest priority, then the oldest.
    async fn claim(
        &self,
        worker: &WorkerId,
        slots: ClaimLimits,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claim>>;

    /// The worker is about to start the command in the place `pod_uid`, in the `slot` of its worker for a
    /// task of the pool: it becomes running, with the entry that says so, and this is one more try. A command
    /// that was started before keeps its first place, seat and time, and comes back with these and no entry.
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the command's latest claim, and `Conflict` with `WORKER_TAKEN` when
    /// another task has that seat.
    async fn start(
        &self,
        fence: &Fence,
        pod_uid: &str,
        slot: Option<&Slot>,
        now: Timestamp,
    ) -> Result<Started>;

    /// Notes what keeps a running command from going on, or that nothing does any more, with the entry that says
    /// so, which takes no number; `None` when that was noted before.
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the command's latest claim, or the command does not run.
    async fn stall(&self, fence: &Fence, failure: Option<Failure>, now: Timestamp) -> Result<Option<Entry>>;

    /// Extends the leases of these claims to `lease_until`.
    async fn renew(&self, fences: &[Fence], lease_until: Timestamp) -> Result<Renewal>;

    /// Ends the command, with the complete entry, numbered `seq`: beyond the last event that is stored, by
    /// more than one where events are missing. A NUL in the outcome's message becomes U+FFFD.
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the command's latest claim, the command has ended, or an event of
    /// that number is stored.
    async fn finish(&self, fence: &Fence, seq: Seq, outcome: Outcome, now: Timestamp) -> Result<Entry>;

    /// Ends an attempt that another one follows: the command is pending again, not to be claimed before
    /// `run_after`, and its place is forgotten. The entry that tells of it takes no number. A command whose
    /// end somebody has asked for ends as cancelled instead, with a complete entry.
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the command's latest claim, or the command has ended.
    async fn retry(&self, fence: &Fence, retry: Retry, now: Timestamp) -> Result<Entry>;

    /// Gives claims back unfinished: any worker may take them at once, to attach to what runs. From then on
    /// the claims are worthless, so what is to be stored under them is stored before.
    async fn release(&self, fences: &[Fence]) -> Result<()>;

    /// Gives a claim back unfinished, not to be taken before `until`, the moment itself included.
    async fn postpone(&self, fence: &Fence, until: Timestamp) -> Result<()>;

    /// Makes what was postponed in these homes due at once. Returns how many there were; commands of other homes
    /// may be among them.
    async fn hurry(&self, targets: &[Target]) -> Result<u64>;

    /// Gives back what is leased to this worker, all but these: claims of which it was not told, because the
    /// answer was lost. Returns how many there were.
    async fn release_all_but(&self, worker: &WorkerId, held: &[Fence]) -> Result<u64>;

    /// Gives back every lease of every worker. Only for a process that knows itself to be the store's
    /// only user, at its start: never where other processes may share the store, whose commands would be
    /// taken from them. Returns how many there were.
    async fn release_all(&self) -> Result<u64>;

    /// Asks for a command's end. One that nobody works on ends at once; of another it is noted, and its
    /// worker is to be told. Asking again changes nothing, and under an idempotency key that was used before it does
    /// not even where the command has been reopened since. `None` when the home has no such command.
    ///
    /// # Errors
    /// `Conflict` with `IDEMPOTENCY_KEY_REUSED` when the key was used for another request.
    async fn request_cancel(
        &self,
        target: &Target,
        id: &JobId,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<CancelRequested>>;

    /// One command of a home.
    async fn job(&self, target: &Target, id: &JobId) -> Result<Option<Job>>;

    /// The command whose events a stream of the home carries.
    async fn job_of_stream(&self, target: &Target, stream: &StreamId) -> Result<Option<Job>>;

    /// Up to `limit` commands of a home that are older than `before`, newest first.
    async fn jobs(&self, target: &Target, before: Option<&JobId>, limit: u32) -> Result<Vec<Job>>;

    /// The commands among these, of whatever home, that are not over, in no order.
    async fn unfinished(&self, ids: &[JobId]) -> Result<Vec<Unfinished>>;

    /// Fails when the store cannot be written, or could not a second ago.
    async fn check(&self) -> Result<()>;
}

/// A command that is pending or running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Its id.
    pub id: JobId,
    /// How many attempts of it have begun; those before the last are over.
    pub attempt: u32,
}

/// A command to be stored; its state is pending.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The command.
    pub job: Job,
    /// At most one task of this key runs at a time.
    pub concurrency_key: Option<String>,
    /// The caller's idempotency key.
    pub idempotency: Option<IdempotencyKey>,
}

/// What became of a command to be stored.
#[derive(Debug, Clone)]
pub enum Enqueued {
    /// It is stored, by this call or by one before whose answer was lost; the entry says that it is pending.
    New(Entry),
    /// The same request had been stored before, as this command, which has another id.
    Existing(Box<Job>),
}

/// Proof of a claim: a later claim of the same command makes it worthless.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The command.
    pub id: JobId,
    /// Fencing token: the number of the claim, higher than that of any earlier claim.
    pub token: i64,
}

/// How many commands a worker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimLimits {
    /// Commands of projects.
    pub jobs: u32,
    /// Tasks of the pool that wait. One that runs is always taken over: it has its place in the pool.
    pub pool: u32,
}

/// What the next attempt is told of the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Why it ended, in one word.
    pub reason: String,
    /// Why it ended, in one line.
    pub error: String,
    /// When the next attempt may begin.
    pub run_after: Timestamp,
    /// It was one of the attempts that the command may have. One that was ended by what it had no part in is not.
    pub counts: bool,
}

impl Retry {
    /// Whether this entry says that an attempt ended so.
    pub fn is_told_by(&self, entry: &Entry) -> bool {
        match &entry.body {
            EntryBody::Retry(retrying) => retrying.reason == self.reason && retrying.message == self.error,
            EntryBody::Complete(outcome) | EntryBody::FormerEnd(outcome) => {
                outcome.message.as_ref() == Some(&self.error)
            }
            EntryBody::Status(_) | EntryBody::Stalled(_) | EntryBody::Output(_) => false,
        }
    }
}

/// A command leased to a worker.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The proof that every write of the worker needs.
    pub fence: Fence,
    /// The command.
    pub job: Job,
    /// Number of the last event that is stored: attaching goes on after it.
    pub last_seq: Seq,
    /// The place in which it was started, if it was.
    pub pod_uid: Option<String>,
    /// Its seat in the pool.
    pub slot: Option<Slot>,
}

/// A command that its worker may now start, or attach to.
#[derive(Debug, Clone)]
pub struct Started {
    /// The place in which it was started first; in any other it must not be started again.
    pub pod_uid: String,
    /// Its seat in the pool.
    pub slot: Option<Slot>,
    /// When it was started first.
    pub started_at: Timestamp,
    /// Number of this attempt.
    pub attempt: u32,
    /// Whether somebody has asked for its end.
    pub cancel_requested: bool,
    /// The entry that says that it is running, when it was not before.
    pub entry: Option<Entry>,
}

/// What a renewal found.
#[derive(Debug, Clone, Default)]
pub struct Renewal {
    /// Claims that have passed on: another worker has the command, or they were given back. One under which the
    /// command has ended is none of them.
    pub lost: Vec<Fence>,
    /// Claims of commands whose end somebody has asked for.
    pub cancelled: Vec<Fence>,
}

/// What asking for a command's end did.
#[derive(Debug, Clone)]
pub struct CancelRequested {
    /// The command as it stands now.
    pub job: Job,
    /// The complete entry, when it ended with this request.
    pub entry: Option<Entry>,
    /// Tells whether this is the first request under its idempotency key.
    pub asked: Occurrence,
}

/// Tells whether a request is the first under its idempotency key, as one without a key always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occurrence {
    /// It is, and was done.
    First,
    /// The same request came before, and nothing was done again.
    Repeated,
}

/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_KEY_LIFETIME: Duration = Duration::from_secs(24 * 3600);
