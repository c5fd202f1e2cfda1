use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rdev_domain::{Content, Entry, EntryBody, JobId, JobState, Result, SkipReason, StreamId, Timestamp};

use super::{MemoryStore, Tables, Task};
use crate::{PeriodicLease, PeriodicLeases, PruneRule, Retention, STEP_BYTES_MAX, StepReport};

#[async_trait]
impl Retention for MemoryStore {
    async fn prune(&self, rule: PruneRule) -> Result<StepReport> {
        let mut tables = self.tables();
        Ok(match rule {
            PruneRule::Keys { before } => {
                let known = tables.keys.len();
                tables.keys.retain(|_, first| first.at >= before);
                StepReport { done: (known - tables.keys.len()) as u64, more: false }
            }
            PruneRule::Streams { before } => {
                let known = tables.removed_streams.len();
                tables.removed_streams.retain(|_, at| *at >= before);
                StepReport { done: (known - tables.removed_streams.len()) as u64, more: false }
            }
            PruneRule::Ended { before, now } => tables.remove_ended(before, now),
            PruneRule::Output { bytes_max } => tables.remove_output(bytes_max),
        })
    }
}

#[async_trait]
impl PeriodicLeases for MemoryStore {
    async fn try_acquire(
        &self,
        job_name: &'static str,
        period: Duration,
        now: Timestamp,
    ) -> Result<Option<PeriodicLease>> {
        let turns = &mut self.tables().turns;
        let is_taken = turns.get(job_name).is_some_and(|at| *at + period > now && *at <= now + period);
        if is_taken {
            return Ok(None);
        }
        turns.insert(job_name, now);
        Ok(Some(PeriodicLease { job_name, at: now }))
    }

    async fn extend(&self, turn: PeriodicLease, now: Timestamp) -> Result<Option<PeriodicLease>> {
        let turns = &mut self.tables().turns;
        if turns.get(turn.job_name) != Some(&turn.at) {
            return Ok(None);
        }
        turns.insert(turn.job_name, now);
        Ok(Some(PeriodicLease { at: now, ..turn }))
    }
}

impl Tables {
    /// The command that ended first; one at a time, so that callers come again.
    fn remove_ended(&mut self, before: Timestamp, now: Timestamp) -> StepReport {
        let mut ended: Vec<(Timestamp, JobId)> = self
            .tasks
            .values()
            .filter_map(|task| match task.job.state {
                JobState::Ended { ended_at, .. } if ended_at < before => {
                    Some((ended_at, task.job.id.clone()))
                }
                _ => None,
            })
            .collect();
        ended.sort();
        let Some((_, id)) = ended.first() else { return StepReport::default() };
        let mut room = STEP_BYTES_MAX as usize;
        if !self.remove_files(id, &mut room) || !self.remove_entries_of(id, &mut room) {
            return StepReport { done: 0, more: true };
        }
        if let Some(Task { job, .. }) = self.tasks.remove(id)
            && job.stream != StreamId::from(id)
        {
            self.removed_streams.insert((job.target(), job.stream), now);
        }
        StepReport { done: 1, more: ended.len() > 1 }
    }

    fn remove_output(&mut self, bytes_max: u64) -> StepReport {
        let files: usize = self.log.iter().map(|entry| self.files_with(entry)).sum();
        let bytes = self.log.iter().map(Entry::output_bytes).sum::<usize>() + files;
        let weighs = |entry: &&Entry| entry.output_bytes() > 0 || self.files_with(entry) > 0;
        let oldest = self.log.iter().find(weighs).filter(|_| bytes as u64 > bytes_max);
        let Some(Entry { position, job, body, .. }) = oldest.cloned() else { return StepReport::default() };
        let done = match body {
            EntryBody::Output(_) => {
                self.remove_entries(|entry| entry.position == position);
                true
            }
            _ => self.remove_files(&job, &mut (STEP_BYTES_MAX as usize)),
        };
        StepReport { done: done.into(), more: true }
    }

    /// Bytes of the files that weigh with this entry: the last end of their task.
    fn files_with(&self, entry: &Entry) -> usize {
        let task = self.tasks.get(&entry.job);
        let ended = |task: &&Task| task.job.state.is_ended() && task.last_seq == entry.last_seq;
        let task = task.filter(|task| matches!(entry.body, EntryBody::Complete(_)) && ended(task));
        task.map_or(0, |task| task.parts.values().map(Bytes::len).sum())
    }

    /// Removes the files of a task, or as many of their parts as there is room for; whether nothing is left of them.
    fn remove_files(&mut self, id: &JobId, room: &mut usize) -> bool {
        let Some(task) = self.tasks.get_mut(id).filter(|task| !task.parts.is_empty()) else { return true };
        for artefact in task.artefacts.values_mut().filter(|file| matches!(file.kept, Content::Stored(_))) {
            artefact.kept = Content::Skipped(SkipReason::Removed);
        }
        while let Some(part) = task.parts.first_entry() {
            let Some(left) = room.checked_sub(part.get().len()) else { return false };
            *room = left;
            part.remove();
        }
        true
    }

    /// Removes the entries of a command, or as many as there is room for, its end with the last; whether none are left.
    fn remove_entries_of(&mut self, id: &JobId, room: &mut usize) -> bool {
        let mut fit = None;
        for entry in self.log.iter().filter(|entry| entry.job == *id) {
            let Some(left) = room.checked_sub(entry.output_bytes()) else { break };
            (*room, fit) = (left, Some(entry.position));
        }
        self.remove_entries(|entry| entry.job == *id && fit.is_some_and(|fit| entry.position <= fit));
        !self.log.iter().any(|entry| entry.job == *id)
    }

    fn remove_entries(&mut self, gone: impl Fn(&Entry) -> bool) {
        for entry in self.log.extract_if(.., |entry| gone(entry)) {
            let pruned = self.pruned.entry(entry.target).or_insert(entry.position);
            *pruned = entry.position.max(*pruned);
        }
    }
}
