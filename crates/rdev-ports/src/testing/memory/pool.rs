use async_trait::async_trait;
use rdev_domain::{
    Command, CommandId, EntryBody, Home, IdempotencyKey, Request, Result, State, Timestamp, WorkKind,
    WorkerName,
};

use super::queue::{is_due, share};
use super::{MemoryStore, Task};
use crate::{
    Asked, Backlog, Hold, InLine, Occupancy, PoolQueue, QueueStats, Reopened, STATS_WAITS_MAX, Stage,
    TaskFilter,
};

#[async_trait]
impl PoolQueue for MemoryStore {
    async fn tasks(
        &self,
        filter: &TaskFilter,
        before: Option<&CommandId>,
        limit: u32,
    ) -> Result<Vec<Command>> {
        let tables = self.tables();
        let wanted = |command: &&Command| {
            let of_status = filter.statuses.is_empty() || filter.statuses.contains(&command.state.status());
            let of_kind = filter.kind.is_none_or(|kind| kind_of(command) == Some(kind));
            let of_project = filter.project.is_none() || share(command) == filter.project.as_ref();
            let older = before.is_none_or(|before| command.id < *before);
            command.home == Home::Pool && of_status && of_kind && of_project && older
        };
        let commands = tables.tasks.values().rev().map(|task| &task.command);
        Ok(commands.filter(wanted).take(limit as usize).cloned().collect())
    }

    async fn reopen(
        &self,
        id: &CommandId,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<Reopened>> {
        let mut tables = self.tables();
        let Some(task) = tables.tasks.get(id).filter(|task| task.command.home == Home::Pool) else {
            return Ok(None);
        };
        let command = Box::new(task.command.clone());
        if let Some(key) = idempotency
            && tables.first_use(key, now)?.is_some()
        {
            return Ok(Some(Reopened::Before(command)));
        }
        let (command, retrying) = command.reopened()?;
        tables.asked(idempotency, now)?;
        let turn = tables.turn(&command);
        let Some(task) = tables.tasks.get_mut(id) else { return Ok(None) };
        (task.turn, task.place_uid, task.seat) = (turn, None, None);
        task.attempt += 1;
        task.command = command.clone();
        let entry = task.entry(task.last_seq, now, EntryBody::Retry(retrying));
        Ok(Some(Reopened::Now(Box::new(command), tables.store(entry))))
    }

    async fn in_line(&self, id: &CommandId, now: Timestamp) -> Result<Option<InLine>> {
        let tables = self.tables();
        let waits = |task: &&Task| task.command.state == State::Pending;
        let Some(task) = tables.tasks.get(id).filter(waits) else { return Ok(None) };
        let same = |other: &&Task| {
            (other.command.home == Home::Pool) == (task.command.home == Home::Pool)
                && other.rank() < task.rank()
        };
        let ahead = tables.tasks.values().filter(waits).filter(same).count() as u64;
        let hold = if !is_due(&task.command, now) {
            Some(Hold::RunAfter)
        } else if !tables.is_first_of_its_key(task, now) {
            Some(Hold::ConcurrencyKey)
        } else {
            None
        };
        Ok(Some(InLine { ahead, hold }))
    }

    async fn occupancy(&self) -> Result<Occupancy> {
        let tables = self.tables();
        let of_pool = || tables.tasks.values().filter(|task| task.command.home == Home::Pool);
        let mut busy: Vec<_> = of_pool()
            .filter(|task| matches!(task.command.state, State::Running { .. }))
            .filter_map(|task| Some((task.seat.clone()?, task.command.id.clone())))
            .collect();
        busy.sort();
        let waits = of_pool().any(|task| task.command.state == State::Pending);
        Ok(Occupancy { busy, draining: tables.draining.iter().cloned().collect(), waits })
    }

    async fn set_draining(
        &self,
        worker: &WorkerName,
        draining: bool,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Asked> {
        let mut tables = self.tables();
        let asked = tables.asked(idempotency, now)?;
        match (asked, draining) {
            (Asked::Before, _) => {}
            (Asked::Now, true) => {
                tables.draining.insert(worker.clone());
            }
            (Asked::Now, false) => {
                tables.draining.remove(worker);
            }
        }
        Ok(asked)
    }

    async fn backlog(&self, now: Timestamp) -> Result<Backlog> {
        let tables = self.tables();
        let mut backlog = Backlog::default();
        for task in tables.tasks.values().filter(|task| !task.command.state.is_ended()) {
            let (command, waits) = (&task.command, task.command.state == State::Pending);
            let Some(kind) = kind_of(command) else {
                let count = if waits { &mut backlog.commands_waiting } else { &mut backlog.commands_running };
                *count += 1;
                continue;
            };
            let stage = match () {
                () if !waits => Stage::Running,
                () if !is_due(command, now) => Stage::Scheduled,
                () if !tables.is_first_of_its_key(task, now) => Stage::Blocked,
                () => Stage::Waiting,
            };
            match backlog.tasks.iter_mut().find(|(k, s, _)| (*k, *s) == (kind, stage)) {
                Some((.., count)) => *count += 1,
                None => backlog.tasks.push((kind, stage, 1)),
            }
            if stage == Stage::Waiting {
                let due = command.schedule.run_after.unwrap_or(command.created_at).max(command.created_at);
                backlog.waiting_since = Some(backlog.waiting_since.map_or(due, |since| since.min(due)));
            }
        }
        backlog.tasks.sort();
        Ok(backlog)
    }

    async fn stats(&self) -> Result<QueueStats> {
        let tables = self.tables();
        let mut stats = QueueStats::default();
        for command in tables.tasks.values().map(|task| &task.command) {
            let Some(kind) = kind_of(command) else { continue };
            let status = command.state.status();
            match stats.counts.iter_mut().find(|(k, s, _)| (*k, *s) == (kind, status)) {
                Some((.., count)) => *count += 1,
                None => stats.counts.push((kind, status, 1)),
            }
            let created = Some(command.created_at);
            if command.state == State::Pending {
                stats.oldest_waiting =
                    stats.oldest_waiting.map_or(created, |oldest| Some(oldest.min(command.created_at)));
            }
        }
        stats.counts.sort_by_key(|(kind, status, _)| (kind.as_str(), status.as_str()));
        let newest = tables.tasks.values().rev().filter_map(|task| match task.command.state {
            State::Ended { started_at: Some(at), .. } if task.command.home == Home::Pool => {
                let due = task.command.schedule.run_after.unwrap_or(task.command.created_at);
                Some(at.since(due.max(task.command.created_at)).as_micros() as i64)
            }
            _ => None,
        });
        stats.waits_us = newest.take(STATS_WAITS_MAX).collect();
        stats.waits_us.sort_unstable();
        Ok(stats)
    }
}

fn kind_of(command: &Command) -> Option<WorkKind> {
    match &command.request {
        Request::Work(work) => Some(work.kind),
        Request::Claude(_) | Request::Shell(_) | Request::Git(_) => None,
    }
}
