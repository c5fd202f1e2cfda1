use async_trait::async_trait;
use rdev_domain::{
    Ending, Entry, EntryBody, Error, Failure, IdempotencyKey, Job, JobId, JobState, JobStatus, Outcome,
    ProjectId, Result, Retrying, Seq, StreamId, Target, Timestamp, WorkerId,
};

use super::{MemoryStore, Tables, Task};
use crate::{
    CancelRequested, Claim, ClaimLimits, Enqueued, Fence, NewJob, Occurrence, Renewal, Retry, Slot, Started,
    TaskQueue, Unfinished,
};

#[async_trait]
impl TaskQueue for MemoryStore {
    async fn enqueue(&self, new: NewJob) -> Result<Enqueued> {
        let mut tables = self.tables();
        let now = new.job.created_at;
        if let Some(entry) = tables.accepted(&new.job) {
            return Ok(Enqueued::New(entry));
        }
        if let Some(key) = &new.idempotency {
            let first = tables.first_use(key, now)?.and_then(|first| first.job);
            if let Some(task) = first.and_then(|id| tables.tasks.get(&id)) {
                return Ok(Enqueued::Existing(Box::new(task.job.clone())));
            }
        }
        tables.check_stream(&new.job)?;
        if let Some(key) = &new.idempotency {
            tables.remember(key, Some(new.job.id.clone()), now);
        }
        let turn = tables.turn(&new.job);
        let task = Task {
            turn,
            slot: None,
            artefacts: Default::default(),
            parts: Default::default(),
            job: new.job,
            concurrency_key: new.concurrency_key,
            token: 0,
            lease_until: None,
            lease_owner: None,
            postponed_until: None,
            pod_uid: None,
            last_seq: Seq::ZERO,
        };
        let pending = task.entry(Seq::ZERO, now, EntryBody::Status(JobStatus::Pending));
        tables.tasks.insert(task.job.id.clone(), task);
        Ok(Enqueued::New(tables.store(pending)))
    }

    async fn first_use(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Timestamp> {
        let mut tables = self.tables();
        if let Some(first) = tables.first_use(key, now)? {
            return Ok(first.at);
        }
        tables.remember(key, None, now);
        Ok(now)
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        slots: ClaimLimits,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claim>> {
        let mut tables = self.tables();
        let mut claims = Vec::new();
        let (mut jobs, mut pool) = (slots.jobs, slots.pool);
        while let Some(id) = tables.next_to_claim(now, jobs > 0, pool > 0)
            && let Some(task) = tables.tasks.get_mut(&id)
        {
            match (task.job.target(), &task.job.state) {
                (Target::Project(_), _) => jobs -= 1,
                (Target::Pool, JobState::Pending) => pool -= 1,
                (Target::Pool, _) => {}
            }
            task.token += 1;
            task.lease_until = Some(lease_until);
            task.lease_owner = Some(worker.clone());
            task.postponed_until = None;
            claims.push(Claim {
                fence: Fence { id, token: task.token },
                job: task.job.clone(),
                last_seq: task.last_seq,
                pod_uid: task.pod_uid.clone(),
                slot: task.slot.clone(),
            });
        }
        Ok(claims)
    }

    async fn start(
        &self,
        fence: &Fence,
        pod_uid: &str,
        slot: Option<&Slot>,
        now: Timestamp,
    ) -> Result<Started> {
        let mut tables = self.tables();
        let running = |task: &&Task| matches!(task.job.state, JobState::Running { .. });
        let mut others = tables.tasks.values().filter(running).filter(|task| task.job.id != fence.id);
        let taken = slot.filter(|_| others.any(|other| other.slot.as_ref() == slot));
        if let Some(slot) = taken.filter(|_| tables.fenced(fence).is_ok_and(|task| task.slot.is_none())) {
            return Err(Error::Conflict {
                conflict: rdev_domain::Conflict::SlotTaken,
                message: format!("another task has {slot}"),
            });
        }
        let task = tables.fenced(fence)?;
        let state = task.job.state.start(now)?;
        let JobState::Running { started_at, .. } = state else {
            return Err(Error::LeaseLost);
        };
        let is_first = task.job.state == JobState::Pending;
        task.job.state = state;
        if is_first {
            task.job.schedule.attempts += 1;
            task.slot = slot.cloned();
        }
        let mut started = Started {
            attempt: task.job.schedule.attempts,
            pod_uid: task.pod_uid.get_or_insert_with(|| pod_uid.to_owned()).clone(),
            slot: task.slot.clone(),
            started_at,
            cancel_requested: task.job.cancel_requested,
            entry: None,
        };
        if is_first {
            let running = task.entry(task.last_seq, now, EntryBody::Status(JobStatus::Running));
            started.entry = Some(tables.store(running));
        } else if started_at == now {
            let says = |entry: &Entry| entry.at == now && entry.body == EntryBody::Status(JobStatus::Running);
            started.entry = tables.stored_before(fence, says);
        }
        Ok(started)
    }

    async fn stall(&self, fence: &Fence, failure: Option<Failure>, now: Timestamp) -> Result<Option<Entry>> {
        let failure = failure.map(Failure::storable);
        let mut tables = self.tables();
        let task = tables.fenced(fence)?;
        let state = task.job.state.stalled(failure.clone())?;
        if state == task.job.state {
            return Ok(None);
        }
        task.job.state = state;
        let body = failure.map_or(EntryBody::Status(JobStatus::Running), EntryBody::Stalled);
        let entry = task.entry(task.last_seq, now, body);
        Ok(Some(tables.store(entry)))
    }

    async fn renew(&self, fences: &[Fence], lease_until: Timestamp) -> Result<Renewal> {
        let mut tables = self.tables();
        let mut renewal = Renewal::default();
        for fence in fences {
            let is_latest = tables.is_latest(fence);
            match tables.fenced(fence) {
                // It has ended.
                Err(_) if is_latest => {}
                Err(_) => renewal.lost.push(fence.clone()),
                Ok(task) => {
                    task.lease_until = Some(lease_until);
                    if task.job.cancel_requested {
                        renewal.cancelled.push(fence.clone());
                    }
                }
            }
        }
        Ok(renewal)
    }

    async fn finish(&self, fence: &Fence, seq: Seq, outcome: Outcome, now: Timestamp) -> Result<Entry> {
        let outcome = outcome.storable();
        let mut tables = self.tables();
        let complete = EntryBody::Complete(outcome.clone());
        let says = |entry: &Entry| entry.last_seq == seq && entry.body == complete;
        if tables.is_latest(fence)
            && let Some(entry) = tables.stored_before(fence, says)
        {
            return Ok(entry);
        }
        let task = tables.fenced(fence)?;
        if seq <= task.last_seq {
            return Err(Error::LeaseLost);
        }
        let complete = task.end(seq, outcome, now)?;
        Ok(tables.store(complete))
    }

    async fn retry(&self, fence: &Fence, retry: Retry, now: Timestamp) -> Result<Entry> {
        let mut tables = self.tables();
        let says = |entry: &Entry| entry.at == now && retry.is_told_by(entry);
        if tables.fenced(fence).is_err()
            && let Some(entry) = tables.stored_before(fence, says)
        {
            return Ok(entry);
        }
        let task = tables.fenced(fence)?;
        if task.job.cancel_requested {
            let outcome = Outcome::without_process(Ending::Cancelled, retry.error);
            let complete = task.end(task.last_seq.next(), outcome, now)?;
            return Ok(tables.store(complete));
        }
        task.job.state = task.job.state.retry()?;
        task.give_back();
        (task.pod_uid, task.slot) = (None, None);
        let schedule = &mut task.job.schedule;
        schedule.run_after = Some(retry.run_after);
        schedule.last_error = Some(retry.error.clone());
        schedule.earlier_attempts += u32::from(!retry.counts);
        let attempt = schedule.attempts + 1;
        let body = EntryBody::Retry(Retrying {
            attempt,
            reason: retry.reason,
            message: retry.error,
            counted: false,
        });
        let entry = task.entry(task.last_seq, now, body);
        Ok(tables.store(entry))
    }

    async fn release(&self, fences: &[Fence]) -> Result<()> {
        let mut tables = self.tables();
        for fence in fences {
            if let Ok(task) = tables.fenced(fence) {
                task.give_back();
            }
        }
        Ok(())
    }

    async fn postpone(&self, fence: &Fence, until: Timestamp) -> Result<()> {
        if let Ok(task) = self.tables().fenced(fence) {
            task.give_back();
            task.postponed_until = Some(until);
        }
        Ok(())
    }

    async fn hurry(&self, targets: &[Target]) -> Result<u64> {
        let mut tables = self.tables();
        let tasks = tables.tasks.values_mut().filter(|task| targets.contains(&task.job.target()));
        Ok(tasks.filter_map(|task| task.postponed_until.take()).count() as u64)
    }

    async fn release_all_but(&self, worker: &WorkerId, held: &[Fence]) -> Result<u64> {
        let mut tables = self.tables();
        let is_unknown = |task: &&mut Task| {
            let known = held.iter().any(|fence| fence.id == task.job.id);
            task.lease_until.is_some() && task.lease_owner.as_ref() == Some(worker) && !known
        };
        Ok(tables.tasks.values_mut().filter(is_unknown).map(Task::give_back).count() as u64)
    }

    async fn release_all(&self) -> Result<u64> {
        let mut tables = self.tables();
        let leased = tables.tasks.values_mut().filter(|task| task.lease_until.is_some());
        Ok(leased.map(Task::give_back).count() as u64)
    }

    async fn request_cancel(
        &self,
        target: &Target,
        id: &JobId,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<CancelRequested>> {
        let mut tables = self.tables();
        let is_there =
            |tables: &Tables| tables.tasks.get(id).is_some_and(|task| task.job.target() == *target);
        let asked = if is_there(&tables) { tables.asked(idempotency, now)? } else { return Ok(None) };
        let Some(task) = tables.tasks.get_mut(id) else { return Ok(None) };
        let mut complete = None;
        let is_open = !task.job.state.is_ended() && !task.job.cancel_requested;
        if asked == Occurrence::First && is_open {
            task.job.cancel_requested = true;
            if task.job.state == JobState::Pending && !task.is_leased(now) {
                let outcome = Outcome::without_process(Ending::Cancelled, "cancelled before it started");
                complete = Some(task.end(task.last_seq.next(), outcome, now)?);
            }
        }
        let job = task.job.clone();
        let entry = complete.map(|entry| tables.store(entry));
        Ok(Some(CancelRequested { job, entry, asked }))
    }

    async fn job(&self, target: &Target, id: &JobId) -> Result<Option<Job>> {
        Ok(self.tables().find(target, |job| job.id == *id))
    }

    async fn job_of_stream(&self, target: &Target, stream: &StreamId) -> Result<Option<Job>> {
        Ok(self.tables().find(target, |job| job.stream == *stream))
    }

    async fn jobs(&self, target: &Target, before: Option<&JobId>, limit: u32) -> Result<Vec<Job>> {
        let tables = self.tables();
        let jobs = tables.tasks.values().rev().map(|task| &task.job);
        Ok(jobs
            .filter(|job| job.target() == *target && before.is_none_or(|before| job.id < *before))
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn unfinished(&self, ids: &[JobId]) -> Result<Vec<Unfinished>> {
        let tables = self.tables();
        let jobs = ids.iter().filter_map(|id| tables.tasks.get(id)).map(|task| &task.job);
        let unfinished = jobs.filter(|job| !job.state.is_ended());
        Ok(unfinished.map(|job| Unfinished { id: job.id.clone(), attempt: job.schedule.attempts }).collect())
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}

impl Task {
    /// Nobody works on it any more, and the claim that gave it back is worthless.
    fn give_back(&mut self) {
        self.lease_until = None;
        self.token += 1;
    }

    /// What runs comes before what waits in the pool, since no slot is counted for it.
    pub(super) fn rank(&self) -> (bool, i32, u64, JobId) {
        let waits = is_in_pool(&self.job) && self.job.state == JobState::Pending;
        (waits, -self.job.schedule.priority, self.turn, self.job.id.clone())
    }

    /// Running, or claimed and not given back: it holds its concurrency key, even when its lease ran out.
    fn is_under_way(&self) -> bool {
        matches!(self.job.state, JobState::Running { .. }) || self.lease_until.is_some()
    }
}

impl Tables {
    /// The turn of a command that is stored now: after all of its caller and project, and not before those
    /// that had theirs.
    pub(super) fn turn(&self, new: &Job) -> u64 {
        let unfinished = || {
            let same = |job: &Job| {
                is_in_pool(job) == is_in_pool(new) && job.schedule.priority == new.schedule.priority
            };
            self.tasks.values().filter(move |task| !task.job.state.is_ended() && same(&task.job))
        };
        let runs = |task: &&Task| task.job.state != JobState::Pending;
        let of_share = |task: &&Task| task.job.created_by == new.created_by && share(&task.job) == share(new);
        let own = unfinished().filter(of_share).map(|task| task.turn).max();
        let had = unfinished().filter(runs).map(|task| task.turn).max();
        let next = unfinished().map(|task| task.turn).min().map(|turn| turn.saturating_sub(1));
        own.max(had).max(next).unwrap_or(0) + 1
    }

    /// The next command that a worker may take now.
    fn next_to_claim(&self, now: Timestamp, jobs: bool, pool: bool) -> Option<JobId> {
        let wanted = |task: &Task| match task.job.target() {
            Target::Project(_) => jobs,
            Target::Pool => pool || task.job.state != JobState::Pending,
        };
        let free = |task: &&Task| {
            let waits = task.postponed_until.is_some_and(|until| until >= now);
            wanted(task)
                && !task.job.state.is_ended()
                && !task.is_leased(now)
                && !waits
                && is_due(&task.job, now)
                && self.is_first_of_its_key(task, now)
        };
        let next = self.tasks.values().filter(free).min_by_key(|task| task.rank());
        next.map(|task| task.job.id.clone())
    }

    pub(super) fn is_first_of_its_key(&self, task: &Task, now: Timestamp) -> bool {
        let Some(key) = &task.concurrency_key else {
            return true;
        };
        let mut others = self.tasks.values().filter(|other| {
            !other.job.state.is_ended()
                && other.concurrency_key.as_ref() == Some(key)
                && other.job.id != task.job.id
        });
        let order = |task: &Task| (-task.job.schedule.priority, task.job.id.clone());
        !others.any(|other| {
            other.is_under_way()
                || !task.is_under_way() && is_due(&other.job, now) && order(other) < order(task)
        })
    }

    /// The first entry of a command that is stored under this id, with this name and since the same moment.
    fn accepted(&self, new: &Job) -> Option<Entry> {
        let stored = &self.tasks.get(&new.id)?.job;
        let same = (stored.target(), &stored.stream, stored.created_at)
            == (new.target(), &new.stream, new.created_at);
        self.log.iter().find(|entry| same && entry.job == new.id).cloned()
    }

    fn check_stream(&self, new: &Job) -> Result<()> {
        let (has, had) = ("already has a stream", "had, not long ago, a stream");
        let removed = self.removed_streams.contains_key(&(new.target(), new.stream.clone()));
        let taken = match self.find(&new.target(), |job| job.stream == new.stream) {
            Some(_) => has,
            None if removed => had,
            None => return Ok(()),
        };
        Err(Error::Conflict {
            conflict: rdev_domain::Conflict::StreamIdTaken,
            message: format!("{} {taken} {:?}", new.target(), new.stream.as_str()),
        })
    }

    fn find(&self, target: &Target, wanted: impl Fn(&Job) -> bool) -> Option<Job> {
        let mut jobs = self.tasks.values().map(|task| &task.job);
        jobs.find(|job| job.target() == *target && wanted(job)).cloned()
    }
}

fn is_in_pool(job: &Job) -> bool {
    job.spec.is_task()
}

pub(super) fn is_due(job: &Job, now: Timestamp) -> bool {
    job.schedule.run_after.is_none_or(|at| at <= now)
}

/// The project among which turns are taken.
pub(super) fn share(job: &Job) -> Option<&ProjectId> {
    job.spec.project()
}
