use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rdev_domain::{CommandId, Entry, EntryBody, Kept, Result, State, StreamId, Timestamp, Unkept};

use super::{MemoryStore, Tables, Task};
use crate::{Progress, Retention, Rule, STEP_BYTES_MAX, Turn, Turns};

#[async_trait]
impl Retention for MemoryStore {
    async fn prune(&self, rule: Rule) -> Result<Progress> {
        let mut tables = self.tables();
        Ok(match rule {
            Rule::Keys { before } => {
                let known = tables.keys.len();
                tables.keys.retain(|_, first| first.at >= before);
                Progress { done: (known - tables.keys.len()) as u64, more: false }
            }
            Rule::Streams { before } => {
                let known = tables.removed_streams.len();
                tables.removed_streams.retain(|_, at| *at >= before);
                Progress { done: (known - tables.removed_streams.len()) as u64, more: false }
            }
            Rule::Ended { before, now } => tables.remove_ended(before, now),
            Rule::Output { bytes_max } => tables.remove_output(bytes_max),
        })
    }
}

#[async_trait]
impl Turns for MemoryStore {
    async fn take_turn(&self, chore: &'static str, period: Duration, now: Timestamp) -> Result<Option<Turn>> {
        let turns = &mut self.tables().turns;
        let is_taken = turns.get(chore).is_some_and(|at| *at + period > now && *at <= now + period);
        if is_taken {
            return Ok(None);
        }
        turns.insert(chore, now);
        Ok(Some(Turn { chore, at: now }))
    }

    async fn keep_turn(&self, turn: Turn, now: Timestamp) -> Result<Option<Turn>> {
        let turns = &mut self.tables().turns;
        if turns.get(turn.chore) != Some(&turn.at) {
            return Ok(None);
        }
        turns.insert(turn.chore, now);
        Ok(Some(Turn { at: now, ..turn }))
    }
}

impl Tables {
    /// The command that ended first; one at a time, so that callers come again.
    fn remove_ended(&mut self, before: Timestamp, now: Timestamp) -> Progress {
        let mut ended: Vec<(Timestamp, CommandId)> = self
            .tasks
            .values()
            .filter_map(|task| match task.command.state {
                State::Ended { ended_at, .. } if ended_at < before => {
                    Some((ended_at, task.command.id.clone()))
                }
                _ => None,
            })
            .collect();
        ended.sort();
        let Some((_, id)) = ended.first() else { return Progress::default() };
        let mut room = STEP_BYTES_MAX as usize;
        if !self.remove_files(id, &mut room) || !self.remove_entries_of(id, &mut room) {
            return Progress { done: 0, more: true };
        }
        if let Some(Task { command, .. }) = self.tasks.remove(id)
            && command.stream != StreamId::from(id)
        {
            self.removed_streams.insert((command.home, command.stream), now);
        }
        Progress { done: 1, more: ended.len() > 1 }
    }

    fn remove_output(&mut self, bytes_max: u64) -> Progress {
        let files: usize = self.log.iter().map(|entry| self.files_with(entry)).sum();
        let bytes = self.log.iter().map(Entry::output_bytes).sum::<usize>() + files;
        let weighs = |entry: &&Entry| entry.output_bytes() > 0 || self.files_with(entry) > 0;
        let oldest = self.log.iter().find(weighs).filter(|_| bytes as u64 > bytes_max);
        let Some(Entry { position, command, body, .. }) = oldest.cloned() else { return Progress::default() };
        let done = match body {
            EntryBody::Output(_) => {
                self.remove_entries(|entry| entry.position == position);
                true
            }
            _ => self.remove_files(&command, &mut (STEP_BYTES_MAX as usize)),
        };
        Progress { done: done.into(), more: true }
    }

    /// Bytes of the files that weigh with this entry: the last end of their task.
    fn files_with(&self, entry: &Entry) -> usize {
        let task = self.tasks.get(&entry.command);
        let ended = |task: &&Task| task.command.state.is_ended() && task.last_seq == entry.last_seq;
        let task = task.filter(|task| matches!(entry.body, EntryBody::Complete(_)) && ended(task));
        task.map_or(0, |task| task.parts.values().map(Bytes::len).sum())
    }

    /// Removes the files of a task, or as many of their parts as there is room for; whether nothing is left of them.
    fn remove_files(&mut self, id: &CommandId, room: &mut usize) -> bool {
        let Some(task) = self.tasks.get_mut(id).filter(|task| !task.parts.is_empty()) else { return true };
        for artefact in task.artefacts.values_mut().filter(|file| matches!(file.kept, Kept::Whole(_))) {
            artefact.kept = Kept::Not(Unkept::Removed);
        }
        while let Some(part) = task.parts.first_entry() {
            let Some(left) = room.checked_sub(part.get().len()) else { return false };
            *room = left;
            part.remove();
        }
        true
    }

    /// Removes the entries of a command, or as many as there is room for, its end with the last; whether none are left.
    fn remove_entries_of(&mut self, id: &CommandId, room: &mut usize) -> bool {
        let mut fit = None;
        for entry in self.log.iter().filter(|entry| entry.command == *id) {
            let Some(left) = room.checked_sub(entry.output_bytes()) else { break };
            (*room, fit) = (left, Some(entry.position));
        }
        self.remove_entries(|entry| entry.command == *id && fit.is_some_and(|fit| entry.position <= fit));
        !self.log.iter().any(|entry| entry.command == *id)
    }

    fn remove_entries(&mut self, gone: impl Fn(&Entry) -> bool) {
        for entry in self.log.extract_if(.., |entry| gone(entry)) {
            let pruned = self.pruned.entry(entry.home).or_insert(entry.position);
            *pruned = entry.position.max(*pruned);
        }
    }
}
