use async_trait::async_trait;
use rdev_domain::{
    BlockedBy, EntryBody, IdempotencyKey, Job, JobId, JobSpec, JobState, Result, TaskKind, Timestamp,
    WorkerName,
};

use super::queue::{is_due, share};
use super::{MemoryStore, Task};
use crate::{
    Backlog, BacklogPosition, BacklogState, Occupancy, Occurrence, PoolQueue, QueueStats, Reopened,
    STATS_WAITS_MAX, TaskFilter,
};

#[async_trait]
impl PoolQueue for MemoryStore {
    async fn tasks(&self, filter: &TaskFilter, before: Option<&JobId>, limit: u32) -> Result<Vec<Job>> {
        let tables = self.tables();
        let wanted = |job: &&Job| {
            let of_status = filter.statuses.is_empty() || filter.statuses.contains(&job.state.status());
            let of_kind = filter.kind.is_none_or(|kind| kind_of(job) == Some(kind));
            let of_project = filter.project.is_none() || share(job) == filter.project.as_ref();
            let older = before.is_none_or(|before| job.id < *before);
            job.spec.is_task() && of_status && of_kind && of_project && older
        };
        let jobs = tables.tasks.values().rev().map(|task| &task.job);
        Ok(jobs.filter(wanted).take(limit as usize).cloned().collect())
    }

    async fn reopen(
        &self,
        id: &JobId,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<Reopened>> {
        let mut tables = self.tables();
        let Some(task) = tables.tasks.get(id).filter(|task| task.job.spec.is_task()) else {
            return Ok(None);
        };
        let job = Box::new(task.job.clone());
        if let Some(key) = idempotency
            && tables.first_use(key, now)?.is_some()
        {
            return Ok(Some(Reopened::Existing(job)));
        }
        let (job, retrying) = job.reopened()?;
        tables.asked(idempotency, now)?;
        let turn = tables.turn(&job);
        let Some(task) = tables.tasks.get_mut(id) else { return Ok(None) };
        (task.turn, task.pod_uid, task.slot) = (turn, None, None);
        task.token += 1;
        task.job = job.clone();
        let entry = task.entry(task.last_seq, now, EntryBody::Retry(retrying));
        Ok(Some(Reopened::New(Box::new(job), tables.store(entry))))
    }

    async fn queue_position(&self, id: &JobId, now: Timestamp) -> Result<Option<BacklogPosition>> {
        let tables = self.tables();
        let waits = |task: &&Task| task.job.state == JobState::Pending;
        let Some(task) = tables.tasks.get(id).filter(waits) else { return Ok(None) };
        let same = |other: &&Task| {
            (other.job.spec.is_task()) == (task.job.spec.is_task()) && other.rank() < task.rank()
        };
        let ahead = tables.tasks.values().filter(waits).filter(same).count() as u64;
        let blocked_by = if !is_due(&task.job, now) {
            Some(BlockedBy::RunAfter)
        } else if !tables.is_first_of_its_key(task, now) {
            Some(if task.job.spec.is_task() { BlockedBy::ConcurrencyKey } else { BlockedBy::Workspace })
        } else {
            None
        };
        Ok(Some(BacklogPosition { ahead, blocked_by }))
    }

    async fn occupancy(&self) -> Result<Occupancy> {
        let tables = self.tables();
        let of_pool = || tables.tasks.values().filter(|task| task.job.spec.is_task());
        let mut busy: Vec<_> = of_pool()
            .filter(|task| matches!(task.job.state, JobState::Running { .. }))
            .filter_map(|task| Some((task.slot.clone()?, task.job.id.clone())))
            .collect();
        busy.sort();
        let waits = of_pool().any(|task| task.job.state == JobState::Pending);
        Ok(Occupancy { busy, draining: tables.draining.iter().cloned().collect(), waits })
    }

    async fn set_draining(
        &self,
        worker: &WorkerName,
        draining: bool,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Occurrence> {
        let mut tables = self.tables();
        let asked = tables.asked(idempotency, now)?;
        match (asked, draining) {
            (Occurrence::Repeated, _) => {}
            (Occurrence::First, true) => {
                tables.draining.insert(worker.clone());
            }
            (Occurrence::First, false) => {
                tables.draining.remove(worker);
            }
        }
        Ok(asked)
    }

    async fn backlog(&self, now: Timestamp) -> Result<Backlog> {
        let tables = self.tables();
        let mut backlog = Backlog::default();
        for task in tables.tasks.values().filter(|task| !task.job.state.is_ended()) {
            let (job, waits) = (&task.job, task.job.state == JobState::Pending);
            let Some(kind) = kind_of(job) else {
                let count = if waits { &mut backlog.commands_waiting } else { &mut backlog.commands_running };
                *count += 1;
                continue;
            };
            let stage = match () {
                () if !waits => BacklogState::Running,
                () if !is_due(job, now) => BacklogState::Scheduled,
                () if !tables.is_first_of_its_key(task, now) => BacklogState::Blocked,
                () => BacklogState::Waiting,
            };
            match backlog.tasks.iter_mut().find(|(k, s, _)| (*k, *s) == (kind, stage)) {
                Some((.., count)) => *count += 1,
                None => backlog.tasks.push((kind, stage, 1)),
            }
            if stage == BacklogState::Waiting {
                let due = job.schedule.run_after.unwrap_or(job.created_at).max(job.created_at);
                backlog.waiting_since = Some(backlog.waiting_since.map_or(due, |since| since.min(due)));
            }
        }
        backlog.tasks.sort();
        Ok(backlog)
    }

    async fn stats(&self) -> Result<QueueStats> {
        let tables = self.tables();
        let mut stats = QueueStats::default();
        for job in tables.tasks.values().map(|task| &task.job) {
            let Some(kind) = kind_of(job) else { continue };
            let status = job.state.status();
            match stats.counts.iter_mut().find(|(k, s, _)| (*k, *s) == (kind, status)) {
                Some((.., count)) => *count += 1,
                None => stats.counts.push((kind, status, 1)),
            }
            let created = Some(job.created_at);
            if job.state == JobState::Pending {
                stats.oldest_waiting =
                    stats.oldest_waiting.map_or(created, |oldest| Some(oldest.min(job.created_at)));
            }
        }
        stats.counts.sort_by_key(|(kind, status, _)| (kind.as_str(), status.as_str()));
        let newest = tables.tasks.values().rev().filter_map(|task| match task.job.state {
            JobState::Ended { started_at: Some(at), .. } if task.job.spec.is_task() => {
                let due = task.job.schedule.run_after.unwrap_or(task.job.created_at);
                Some(at.since(due.max(task.job.created_at)).as_micros() as i64)
            }
            _ => None,
        });
        stats.waits_us = newest.take(STATS_WAITS_MAX).collect();
        stats.waits_us.sort_unstable();
        Ok(stats)
    }
}

fn kind_of(job: &Job) -> Option<TaskKind> {
    match &job.spec {
        JobSpec::Task(task) => Some(task.kind),
        JobSpec::Command { .. } => None,
    }
}
