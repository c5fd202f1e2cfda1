use async_trait::async_trait;
use rdev_domain::{
    Command, CommandId, Ending, Entry, EntryBody, Error, IdempotencyKey, Outcome, ProjectId, Result, Seq,
    State, Status, StreamId, Timestamp, WorkerId,
};

use super::{MemoryStore, Tables, Task};
use crate::{CancelRequested, Claim, Enqueued, Fence, NewCommand, Renewal, Started, TaskQueue};

#[async_trait]
impl TaskQueue for MemoryStore {
    async fn enqueue(&self, new: NewCommand) -> Result<Enqueued> {
        let mut tables = self.tables();
        let now = new.command.created_at;
        if let Some(key) = &new.idempotency {
            let first = tables.first_use(key, now)?.and_then(|first| first.command);
            if let Some(task) = first.and_then(|id| tables.tasks.get(&id)) {
                return Ok(Enqueued::Before(task.command.clone()));
            }
        }
        tables.check_stream(&new.command)?;
        if let Some(key) = &new.idempotency {
            tables.remember(key, Some(new.command.id.clone()), now);
        }
        let task = Task {
            command: new.command,
            concurrency_key: new.concurrency_key,
            attempt: 0,
            lease_until: None,
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
        _worker: &WorkerId,
        limit: u32,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claim>> {
        let mut tables = self.tables();
        let mut claims = Vec::new();
        while claims.len() < limit as usize
            && let Some(id) = tables.next_to_claim(now)
            && let Some(task) = tables.tasks.get_mut(&id)
        {
            task.attempt += 1;
            task.lease_until = Some(lease_until);
            task.postponed_until = None;
            claims.push(Claim {
                fence: Fence { id, attempt: task.attempt },
                command: task.command.clone(),
                last_seq: task.last_seq,
                place_uid: task.place_uid.clone(),
            });
        }
        Ok(claims)
    }

    async fn start(&self, fence: &Fence, place_uid: &str, now: Timestamp) -> Result<Started> {
        let mut tables = self.tables();
        let task = tables.fenced(fence)?;
        let state = task.command.state.start(now)?;
        let State::Running { started_at } = state else {
            return Err(Error::LeaseLost);
        };
        let is_first = task.command.state == State::Pending;
        task.command.state = state;
        let mut started = Started {
            place_uid: task.place_uid.get_or_insert_with(|| place_uid.to_owned()).clone(),
            started_at,
            cancel_requested: task.command.cancel_requested,
            entry: None,
        };
        if is_first {
            let running = task.entry(Seq::ZERO, now, EntryBody::Status(Status::Running));
            started.entry = Some(tables.store(running));
        }
        Ok(started)
    }

    async fn renew(&self, fences: &[Fence], lease_until: Timestamp) -> Result<Renewal> {
        let mut tables = self.tables();
        let mut renewal = Renewal::default();
        for fence in fences {
            match tables.fenced(fence) {
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
        let task = tables.fenced(fence)?;
        if seq <= task.last_seq {
            return Err(Error::LeaseLost);
        }
        let complete = task.end(seq, outcome, now)?;
        Ok(tables.store(complete))
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

    async fn release_all(&self) -> Result<u64> {
        let mut tables = self.tables();
        let leased = tables.tasks.values_mut().filter(|task| task.lease_until.is_some());
        Ok(leased.map(Task::give_back).count() as u64)
    }

    async fn request_cancel(
        &self,
        project: &ProjectId,
        id: &CommandId,
        now: Timestamp,
    ) -> Result<Option<CancelRequested>> {
        let mut tables = self.tables();
        let Some(task) = tables.tasks.get_mut(id).filter(|task| task.command.project == *project) else {
            return Ok(None);
        };
        let mut complete = None;
        if !task.command.state.is_ended() && !task.command.cancel_requested {
            task.command.cancel_requested = true;
            if task.command.state == State::Pending && !task.is_leased(now) {
                let outcome = Outcome::without_process(Ending::Cancelled, "cancelled before it started");
                complete = Some(task.end(Seq::ZERO.next(), outcome, now)?);
            }
        }
        let command = task.command.clone();
        let entry = complete.map(|entry| tables.store(entry));
        Ok(Some(CancelRequested { command, entry }))
    }

    async fn command(&self, project: &ProjectId, id: &CommandId) -> Result<Option<Command>> {
        Ok(self.tables().find(project, |command| command.id == *id))
    }

    async fn command_of_stream(&self, project: &ProjectId, stream: &StreamId) -> Result<Option<Command>> {
        Ok(self.tables().find(project, |command| command.stream == *stream))
    }

    async fn commands(
        &self,
        project: &ProjectId,
        before: Option<&CommandId>,
        limit: u32,
    ) -> Result<Vec<Command>> {
        let tables = self.tables();
        let commands = tables.tasks.values().rev().map(|task| &task.command);
        Ok(commands
            .filter(|command| command.project == *project && before.is_none_or(|before| command.id < *before))
            .take(limit as usize)
            .cloned()
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

    /// Running, or claimed and not given back: it holds its concurrency key, even when its lease ran out.
    fn is_under_way(&self) -> bool {
        matches!(self.command.state, State::Running { .. }) || self.lease_until.is_some()
    }
}

impl Tables {
    /// The oldest command that a worker may take now.
    fn next_to_claim(&self, now: Timestamp) -> Option<CommandId> {
        let free = |task: &&Task| {
            let waits = task.postponed_until.is_some_and(|until| until >= now);
            !task.command.state.is_ended() && !task.is_leased(now) && !waits && self.is_first_of_its_key(task)
        };
        self.tasks.values().find(free).map(|task| task.command.id.clone())
    }

    fn is_first_of_its_key(&self, task: &Task) -> bool {
        let Some(key) = &task.concurrency_key else {
            return true;
        };
        let first = self
            .tasks
            .values()
            .filter(|other| !other.command.state.is_ended() && other.concurrency_key.as_ref() == Some(key))
            .min_by_key(|other| (!other.is_under_way(), &other.command.id));
        first.is_some_and(|first| first.command.id == task.command.id)
    }

    fn check_stream(&self, new: &Command) -> Result<()> {
        match self.find(&new.project, |command| command.stream == new.stream) {
            None => Ok(()),
            Some(_) => Err(Error::Conflict {
                code: "STREAM_ID_TAKEN",
                message: format!("project {} already has a stream {:?}", new.project, new.stream.as_str()),
            }),
        }
    }

    fn find(&self, project: &ProjectId, wanted: impl Fn(&Command) -> bool) -> Option<Command> {
        let mut commands = self.tasks.values().map(|task| &task.command);
        commands.find(|command| command.project == *project && wanted(command)).cloned()
    }
}
