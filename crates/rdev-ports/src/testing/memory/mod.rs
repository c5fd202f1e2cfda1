mod artefacts;
mod log;
mod pool;
mod queue;
mod retention;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use rdev_domain::{
    Artefact, Entry, EntryBody, Error, IdempotencyKey, Job, JobId, KeyId, Outcome, Position, Result, Seq,
    StreamId, Target, Timestamp, WorkerId, WorkerName,
};

use crate::{Fence, IDEMPOTENCY_KEY_LIFETIME, Occurrence, Slot};

/// The queue and the event log in memory; clones share what they hold.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    tasks: BTreeMap<JobId, Task>,
    log: Vec<Entry>,
    /// How many entries were ever stored: the position of the last one.
    entries_stored: u64,
    /// The last position of each home at which an entry was removed.
    pruned: HashMap<Target, Position>,
    turns: HashMap<&'static str, Timestamp>,
    keys: HashMap<(KeyId, String), FirstUse>,
    draining: BTreeSet<WorkerName>,
    /// Names that callers gave to streams, and when these were removed.
    removed_streams: HashMap<(Target, StreamId), Timestamp>,
}

#[derive(Debug)]
struct Task {
    job: Job,
    concurrency_key: Option<String>,
    token: i64,
    /// The end of the lease; `None` when nobody has claimed it, or its worker gave it back.
    lease_until: Option<Timestamp>,
    lease_owner: Option<WorkerId>,
    /// Not to be claimed before, nor at this moment.
    postponed_until: Option<Timestamp>,
    pod_uid: Option<String>,
    slot: Option<Slot>,
    /// Its place among the tasks of all callers: one of each has the same turn.
    turn: u64,
    last_seq: Seq,
    artefacts: BTreeMap<u32, Artefact>,
    parts: BTreeMap<(u32, u32), Bytes>,
}

#[derive(Debug, Clone)]
struct FirstUse {
    fingerprint: [u8; 32],
    job: Option<JobId>,
    at: Timestamp,
}

impl MemoryStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().expect("nothing panics with the tables in hand")
    }
}

impl Task {
    fn is_leased(&self, now: Timestamp) -> bool {
        self.lease_until.is_some_and(|until| until >= now)
    }

    fn entry(&self, seq: Seq, at: Timestamp, body: EntryBody) -> Entry {
        Entry {
            position: Position::ZERO,
            target: self.job.target().clone(),
            job: self.job.id.clone(),
            stream: self.job.stream.clone(),
            first_seq: seq,
            last_seq: seq,
            at,
            body,
        }
    }

    /// Ends the command; its last entry comes back, still to be stored.
    fn end(&mut self, seq: Seq, outcome: Outcome, now: Timestamp) -> Result<Entry> {
        self.job.state = self.job.state.end(outcome.clone(), now)?;
        self.lease_until = None;
        self.last_seq = seq;
        Ok(self.entry(seq, now, EntryBody::Complete(outcome)))
    }
}

impl Tables {
    /// The unfinished task of a claim that is still the latest.
    fn fenced(&mut self, fence: &Fence) -> Result<&mut Task> {
        self.tasks
            .get_mut(&fence.id)
            .filter(|task| task.token == fence.token && !task.job.state.is_ended())
            .ok_or(Error::LeaseLost)
    }

    /// Whether this claim is the latest of its task, which may have ended.
    fn is_latest(&self, fence: &Fence) -> bool {
        self.tasks.get(&fence.id).is_some_and(|task| task.token == fence.token)
    }

    /// The entry of the claim's task that says so.
    fn stored_before(&self, fence: &Fence, says: impl Fn(&Entry) -> bool) -> Option<Entry> {
        self.log.iter().rfind(|entry| entry.job == fence.id && says(entry)).cloned()
    }

    fn store(&mut self, mut entry: Entry) -> Entry {
        self.entries_stored += 1;
        entry.position = Position(self.entries_stored);
        self.log.push(entry.clone());
        entry
    }

    /// What an idempotency key was used for, when that is still remembered.
    fn first_use(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Option<FirstUse>> {
        let first = self
            .keys
            .get(&(key.key.clone(), key.value.clone()))
            .filter(|first| first.at + IDEMPOTENCY_KEY_LIFETIME >= now);
        match first {
            Some(first) if first.fingerprint != key.fingerprint => Err(Error::Conflict {
                conflict: rdev_domain::Conflict::IdempotencyKeyReused,
                message: format!("Idempotency-Key {:?} was used for another request", key.value),
            }),
            first => Ok(first.cloned()),
        }
    }

    /// Remembers a request that stores nothing else under its key, unless it came before.
    fn asked(&mut self, key: Option<&IdempotencyKey>, now: Timestamp) -> Result<Occurrence> {
        let Some(key) = key else { return Ok(Occurrence::First) };
        if self.first_use(key, now)?.is_some() {
            return Ok(Occurrence::Repeated);
        }
        self.remember(key, None, now);
        Ok(Occurrence::First)
    }

    fn remember(&mut self, key: &IdempotencyKey, job: Option<JobId>, at: Timestamp) {
        let first = FirstUse { fingerprint: key.fingerprint, job, at };
        self.keys.insert((key.key.clone(), key.value.clone()), first);
    }
}
