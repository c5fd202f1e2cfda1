use async_trait::async_trait;
use rdev_domain::{
    Command, CommandId, Ending, Entry, EntryBody, Error, Home, IdempotencyKey, Outcome, ProjectId, Result,
    Retrying, Seq, State, Status, StreamId, Timestamp, Trouble, WorkerId,
};

use super::{MemoryStore, Tables, Task};
use crate::{
    Asked, CancelRequested, Claim, Enqueued, Fence, NewCommand, Renewal, Retry, Seat, Slots, Started,
    TaskQueue, Unfinished,
};

#[async_trait]
impl TaskQueue for MemoryStore {
    async fn enqueue(&self, new: NewCommand) -> Result<Enqueued> {
        let mut tables = self.tables();
        let now = new.command.created_at;
        if let Some(entry) = tables.accepted(&new.command) {
            return Ok(Enqueued::New(entry));
        }
        if let Some(key) = &new.idempotency {
            let first = tables.first_use(key, now)?.and_then(|first| first.command);
            if let Some(task) = first.and_then(|id| tables.tasks.get(&id)) {
                return Ok(Enqueued::Before(Box::new(task.command.clone())));
            }
        }
        tables.check_stream(&new.command)?;
        if let Some(key) = &new.idempotency {
            tables.remember(key, Some(new.command.id.clone()), now);
        }
        let turn = tables.turn(&new.command);
        let task = Task {
            turn,
            seat: None,
            artefacts: Default::default(),
            parts: Default::default(),
            command: new.command,
            concurrency_key: new.concurrency_key,
            attempt: 0,
            lease_until: None,
            lease_owner: None,
            postponed_until: None,
            place_uid: None,
            last_seq: Seq::ZERO,
        };
        let pending = task.entry(Seq::ZERO, now, EntryBody::Status(Status::Pending));
        tables.tasks.insert(task.command.id.clone(), task);
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
        slots: Slots,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claim>> {
        let mut tables = self.tables();
        let mut claims = Vec::new();
        let (mut commands, mut pool) = (slots.commands, slots.pool);
        while let Some(id) = tables.next_to_claim(now, commands > 0, pool > 0)
            && let Some(task) = tables.tasks.get_mut(&id)
        {
            match (&task.command.home, &task.command.state) {
                (Home::Project(_), _) => commands -= 1,
                (Home::Pool, State::Pending) => pool -= 1,
                (Home::Pool, _) => {}
            }
            task.attempt += 1;
            task.lease_until = Some(lease_until);
            task.lease_owner = Some(worker.clone());
            task.postponed_until = None;
            claims.push(Claim {
                fence: Fence { id, attempt: task.attempt },
                command: task.command.clone(),
                last_seq: task.last_seq,
                place_uid: task.place_uid.clone(),
                seat: task.seat.clone(),
            });
        }
        Ok(claims)
    }

    async fn start(
        &self,
        fence: &Fence,
        place_uid: &str,
        seat: Option<&Seat>,
        now: Timestamp,
    ) -> Result<Started> {
        let mut tables = self.tables();
        let running = |task: &&Task| matches!(task.command.state, State::Running { .. });
        let mut others = tables.tasks.values().filter(running).filter(|task| task.command.id != fence.id);
        let taken = seat.filter(|_| others.any(|other| other.seat.as_ref() == seat));
        if let Some(seat) = taken.filter(|_| tables.fenced(fence).is_ok_and(|task| task.seat.is_none())) {
            return Err(Error::Conflict {
                code: "WORKER_TAKEN",
                message: format!("another task has {seat}"),
            });
        }
        let task = tables.fenced(fence)?;
        let state = task.command.state.start(now)?;
        let State::Running { started_at, .. } = state else {
            return Err(Error::LeaseLost);
        };
        let is_first = task.command.state == State::Pending;
        task.command.state = state;
        if is_first {
            task.command.schedule.tries += 1;
            task.seat = seat.cloned();
        }
        let mut started = Started {
            tries: task.command.schedule.tries,
            place_uid: task.place_uid.get_or_insert_with(|| place_uid.to_owned()).clone(),
            seat: task.seat.clone(),
            started_at,
            cancel_requested: task.command.cancel_requested,
            entry: None,
        };
        if is_first {
            let running = task.entry(task.last_seq, now, EntryBody::Status(Status::Running));
            started.entry = Some(tables.store(running));
        } else if started_at == now {
            let says = |entry: &Entry| entry.at == now && entry.body == EntryBody::Status(Status::Running);
            started.entry = tables.stored_before(fence, says);
        }
        Ok(started)
    }

    async fn stall(&self, fence: &Fence, trouble: Option<Trouble>, now: Timestamp) -> Result<Option<Entry>> {
        let trouble = trouble.map(Trouble::storable);
        let mut tables = self.tables();
        let task = tables.fenced(fence)?;
        let state = task.command.state.stalled(trouble.clone())?;
        if state == task.command.state {
            return Ok(None);
        }
        task.command.state = state;
        let body = trouble.map_or(EntryBody::Status(Status::Running), EntryBody::Stalled);
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
                    if task.command.cancel_requested {
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
        if task.command.cancel_requested {
            let outcome = Outcome::without_process(Ending::Cancelled, retry.error);
            let complete = task.end(task.last_seq.next(), outcome, now)?;
            return Ok(tables.store(complete));
        }
        task.command.state = task.command.state.retry()?;
        task.give_back();
        (task.place_uid, task.seat) = (None, None);
        let schedule = &mut task.command.schedule;
        schedule.run_after = Some(retry.run_after);
        schedule.last_error = Some(retry.error.clone());
        schedule.earlier_tries += u32::from(!retry.counts);
        let attempt = schedule.tries + 1;
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

    async fn hurry(&self, homes: &[Home]) -> Result<u64> {
        let mut tables = self.tables();
        let tasks = tables.tasks.values_mut().filter(|task| homes.contains(&task.command.home));
        Ok(tasks.filter_map(|task| task.postponed_until.take()).count() as u64)
    }

    async fn release_all_but(&self, worker: &WorkerId, held: &[Fence]) -> Result<u64> {
        let mut tables = self.tables();
        let is_unknown = |task: &&mut Task| {
            let known = held.iter().any(|fence| fence.id == task.command.id);
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
        home: &Home,
        id: &CommandId,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<CancelRequested>> {
        let mut tables = self.tables();
        let is_there = |tables: &Tables| tables.tasks.get(id).is_some_and(|task| task.command.home == *home);
        let asked = if is_there(&tables) { tables.asked(idempotency, now)? } else { return Ok(None) };
        let Some(task) = tables.tasks.get_mut(id) else { return Ok(None) };
        let mut complete = None;
        let is_open = !task.command.state.is_ended() && !task.command.cancel_requested;
        if asked == Asked::Now && is_open {
            task.command.cancel_requested = true;
            if task.command.state == State::Pending && !task.is_leased(now) {
                let outcome = Outcome::without_process(Ending::Cancelled, "cancelled before it started");
                complete = Some(task.end(task.last_seq.next(), outcome, now)?);
            }
        }
        let command = task.command.clone();
        let entry = complete.map(|entry| tables.store(entry));
        Ok(Some(CancelRequested { command, entry, asked }))
    }

    async fn command(&self, home: &Home, id: &CommandId) -> Result<Option<Command>> {
        Ok(self.tables().find(home, |command| command.id == *id))
    }

    async fn command_of_stream(&self, home: &Home, stream: &StreamId) -> Result<Option<Command>> {
        Ok(self.tables().find(home, |command| command.stream == *stream))
    }

    async fn commands(&self, home: &Home, before: Option<&CommandId>, limit: u32) -> Result<Vec<Command>> {
        let tables = self.tables();
        let commands = tables.tasks.values().rev().map(|task| &task.command);
        Ok(commands
            .filter(|command| command.home == *home && before.is_none_or(|before| command.id < *before))
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn unfinished(&self, ids: &[CommandId]) -> Result<Vec<Unfinished>> {
        let tables = self.tables();
        let commands = ids.iter().filter_map(|id| tables.tasks.get(id)).map(|task| &task.command);
        let unfinished = commands.filter(|command| !command.state.is_ended());
        Ok(unfinished
            .map(|command| Unfinished { id: command.id.clone(), tries: command.schedule.tries })
            .collect())
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}

impl Task {
    /// Nobody works on it any more, and the claim that gave it back is worthless.
    fn give_back(&mut self) {
        self.lease_until = None;
        self.attempt += 1;
    }

    /// What runs comes before what waits in the pool, since no slot is counted for it.
    pub(super) fn rank(&self) -> (bool, i32, u64, CommandId) {
        let waits = is_in_pool(&self.command) && self.command.state == State::Pending;
        (waits, -self.command.schedule.priority, self.turn, self.command.id.clone())
    }

    /// Running, or claimed and not given back: it holds its concurrency key, even when its lease ran out.
    fn is_under_way(&self) -> bool {
        matches!(self.command.state, State::Running { .. }) || self.lease_until.is_some()
    }
}

impl Tables {
    /// The turn of a command that is stored now: after all of its caller and project, and not before those
    /// that had theirs.
    pub(super) fn turn(&self, new: &Command) -> u64 {
        let unfinished = || {
            let same = |command: &Command| {
                is_in_pool(command) == is_in_pool(new) && command.schedule.priority == new.schedule.priority
            };
            self.tasks.values().filter(move |task| !task.command.state.is_ended() && same(&task.command))
        };
        let runs = |task: &&Task| task.command.state != State::Pending;
        let of_share =
            |task: &&Task| task.command.created_by == new.created_by && share(&task.command) == share(new);
        let own = unfinished().filter(of_share).map(|task| task.turn).max();
        let had = unfinished().filter(runs).map(|task| task.turn).max();
        let next = unfinished().map(|task| task.turn).min().map(|turn| turn.saturating_sub(1));
        own.max(had).max(next).unwrap_or(0) + 1
    }

    /// The next command that a worker may take now.
    fn next_to_claim(&self, now: Timestamp, commands: bool, pool: bool) -> Option<CommandId> {
        let wanted = |task: &Task| match task.command.home {
            Home::Project(_) => commands,
            Home::Pool => pool || task.command.state != State::Pending,
        };
        let free = |task: &&Task| {
            let waits = task.postponed_until.is_some_and(|until| until >= now);
            wanted(task)
                && !task.command.state.is_ended()
                && !task.is_leased(now)
                && !waits
                && is_due(&task.command, now)
                && self.is_first_of_its_key(task, now)
        };
        let next = self.tasks.values().filter(free).min_by_key(|task| task.rank());
        next.map(|task| task.command.id.clone())
    }

    pub(super) fn is_first_of_its_key(&self, task: &Task, now: Timestamp) -> bool {
        let Some(key) = &task.concurrency_key else {
            return true;
        };
        let mut others = self.tasks.values().filter(|other| {
            !other.command.state.is_ended()
                && other.concurrency_key.as_ref() == Some(key)
                && other.command.id != task.command.id
        });
        let order = |task: &Task| (-task.command.schedule.priority, task.command.id.clone());
        !others.any(|other| {
            other.is_under_way()
                || !task.is_under_way() && is_due(&other.command, now) && order(other) < order(task)
        })
    }

    /// The first entry of a command that is stored under this id, with this name and since the same moment.
    fn accepted(&self, new: &Command) -> Option<Entry> {
        let stored = &self.tasks.get(&new.id)?.command;
        let same =
            (&stored.home, &stored.stream, stored.created_at) == (&new.home, &new.stream, new.created_at);
        self.log.iter().find(|entry| same && entry.command == new.id).cloned()
    }

    fn check_stream(&self, new: &Command) -> Result<()> {
        let (has, had) = ("already has a stream", "had, not long ago, a stream");
        let removed = self.removed_streams.contains_key(&(new.home.clone(), new.stream.clone()));
        let taken = match self.find(&new.home, |command| command.stream == new.stream) {
            Some(_) => has,
            None if removed => had,
            None => return Ok(()),
        };
        Err(Error::Conflict {
            code: "STREAM_ID_TAKEN",
            message: format!("project {} {taken} {:?}", new.home, new.stream.as_str()),
        })
    }

    fn find(&self, home: &Home, wanted: impl Fn(&Command) -> bool) -> Option<Command> {
        let mut commands = self.tasks.values().map(|task| &task.command);
        commands.find(|command| command.home == *home && wanted(command)).cloned()
    }
}

fn is_in_pool(command: &Command) -> bool {
    command.home == Home::Pool
}

pub(super) fn is_due(command: &Command, now: Timestamp) -> bool {
    command.schedule.run_after.is_none_or(|at| at <= now)
}

/// The project among which turns are taken.
pub(super) fn share(command: &Command) -> Option<&ProjectId> {
    match (&command.home, &command.request) {
        (Home::Project(id), _) => Some(id),
        (Home::Pool, rdev_domain::Request::Work(work)) => work.project.as_ref(),
        (Home::Pool, _) => None,
    }
}
