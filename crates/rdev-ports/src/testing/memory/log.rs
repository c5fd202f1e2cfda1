use async_trait::async_trait;
use rdev_domain::{
    Chunk, Entry, EntryBody, Error, JobId, JobState, Position, Result, Seq, Target, Timestamp,
};

use super::{MemoryStore, Tables, Task};
use crate::{EventLog, Fence, READ_BYTES};

#[async_trait]
impl EventLog for MemoryStore {
    async fn append(&self, fence: &Fence, chunks: Vec<Chunk>, now: Timestamp) -> Result<Vec<Entry>> {
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else {
            return Ok(Vec::new());
        };
        let mut tables = self.tables();
        let task = tables.fenced(fence)?;
        let running = matches!(task.job.state, JobState::Running { .. });
        if !running || first.first_seq != task.last_seq.next() {
            let stored_before = task.last_seq == last.last_seq;
            return stored_before.then(|| tables.appended(fence, &chunks)).flatten().ok_or(Error::LeaseLost);
        }
        task.last_seq = last.last_seq;
        let entries: Vec<Entry> = chunks
            .into_iter()
            .map(|chunk| Entry {
                last_seq: chunk.last_seq,
                ..task.entry(chunk.first_seq, now, EntryBody::Output(chunk.frames))
            })
            .collect();
        Ok(entries.into_iter().map(|entry| tables.store(entry)).collect())
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }

    async fn read_job(&self, id: &JobId, after: Position, limit: u32) -> Result<Vec<Entry>> {
        Ok(self.tables().read(|entry| entry.job == *id, after, limit))
    }

    async fn read_target(&self, target: &Target, after: Position, limit: u32) -> Result<Vec<Entry>> {
        Ok(self.tables().read(|entry| entry.target == *target, after, limit))
    }

    async fn position_of(&self, id: &JobId, seq: Seq) -> Result<Position> {
        Ok(self.tables().last(|entry| entry.job == *id && entry.last_seq <= seq))
    }

    async fn ends(&self, ids: &[JobId]) -> Result<Vec<(JobId, Position)>> {
        let tables = self.tables();
        let end = |id: &JobId| (id.clone(), tables.last(|entry| entry.job == *id));
        Ok(ids.iter().map(end).filter(|(_, position)| *position > Position::ZERO).collect())
    }

    async fn last(&self, target: &Target, to: Position) -> Result<Position> {
        Ok(self.tables().last(|entry| entry.target == *target && entry.position <= to))
    }

    async fn pruned(&self, target: &Target) -> Result<Position> {
        Ok(self.tables().pruned.get(target).copied().unwrap_or(Position::ZERO))
    }

    async fn last_seq(&self, id: &JobId) -> Result<Option<Seq>> {
        Ok(self.tables().tasks.get(id).map(|task| task.last_seq))
    }
}

impl Tables {
    /// The entries of these chunks, which are stored.
    fn appended(&self, fence: &Fence, chunks: &[Chunk]) -> Option<Vec<Entry>> {
        let output = |chunk: &Chunk| {
            let body = EntryBody::Output(chunk.frames.clone());
            self.stored_before(fence, |entry| entry.first_seq == chunk.first_seq && entry.body == body)
        };
        chunks.iter().map(output).collect()
    }

    fn read(&self, wanted: impl Fn(&Entry) -> bool, after: Position, limit: u32) -> Vec<Entry> {
        let mut bytes = 0;
        self.log
            .iter()
            .filter(|entry| entry.position > after && wanted(entry))
            .take(limit as usize)
            .take_while(|entry| {
                let room = bytes < READ_BYTES;
                bytes += entry.output_bytes();
                room
            })
            .cloned()
            .map(|entry| self.as_it_reads(entry))
            .collect()
    }

    /// An end reads as a former one once its task was reopened.
    fn as_it_reads(&self, entry: Entry) -> Entry {
        let over = |task: &Task| task.job.state.is_ended() && task.last_seq == entry.last_seq;
        match entry.body {
            EntryBody::Complete(outcome) if !self.tasks.get(&entry.job).is_some_and(over) => {
                Entry { body: EntryBody::FormerEnd(outcome), ..entry }
            }
            _ => entry,
        }
    }

    fn last(&self, wanted: impl Fn(&Entry) -> bool) -> Position {
        let last = self.log.iter().rfind(|entry| wanted(entry));
        last.map_or(Position::ZERO, |entry| entry.position)
    }
}
