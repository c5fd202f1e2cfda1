use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{CommandId, Entry, EntryBody, Result, State, Timestamp};

use super::{MemoryStore, Tables};
use crate::{Progress, Retention, Rule, Turn, Turns};

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
            Rule::Ended { before } => tables.remove_ended(before),
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
    fn remove_ended(&mut self, before: Timestamp) -> Progress {
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
        self.tasks.remove(id);
        self.remove_entries(|entry| entry.command == *id);
        Progress { done: 1, more: ended.len() > 1 }
    }

    fn remove_output(&mut self, bytes_max: u64) -> Progress {
        let bytes: usize = self.log.iter().map(Entry::output_bytes).sum();
        let oldest = self.log.iter().find(|entry| matches!(entry.body, EntryBody::Output(_)));
        let Some(oldest) = oldest.filter(|_| bytes as u64 > bytes_max) else { return Progress::default() };
        let position = oldest.position;
        self.remove_entries(|entry| entry.position == position);
        Progress { done: 1, more: true }
    }

    fn remove_entries(&mut self, gone: impl Fn(&Entry) -> bool) {
        for entry in self.log.extract_if(.., |entry| gone(entry)) {
            let pruned = self.pruned.entry(entry.home).or_insert(entry.position);
            *pruned = entry.position.max(*pruned);
        }
    }
}
