use async_trait::async_trait;
use rdev_domain::{Chunk, CommandId, Entry, EntryBody, Error, Home, Position, Result, Seq, State, Timestamp};

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
        let running = matches!(task.command.state, State::Running { .. });
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

    async fn read_command(&self, id: &CommandId, after: Position, limit: u32) -> Result<Vec<Entry>> {
        Ok(self.tables().read(|entry| entry.command == *id, after, limit))
    }

    async fn read_home(&self, home: &Home, after: Position, limit: u32) -> Result<Vec<Entry>> {
        Ok(self.tables().read(|entry| entry.home == *home, after, limit))
    }

    async fn position_of(&self, id: &CommandId, seq: Seq) -> Result<Position> {
        Ok(self.tables().last(|entry| entry.command == *id && entry.last_seq <= seq))
    }

    async fn ends(&self, ids: &[CommandId]) -> Result<Vec<(CommandId, Position)>> {
        let tables = self.tables();
        let end = |id: &CommandId| (id.clone(), tables.last(|entry| entry.command == *id));
        Ok(ids.iter().map(end).filter(|(_, position)| *position > Position::ZERO).collect())
    }

    async fn last(&self, home: &Home, to: Position) -> Result<Position> {
        Ok(self.tables().last(|entry| entry.home == *home && entry.position <= to))
    }

    async fn pruned(&self, home: &Home) -> Result<Position> {
        Ok(self.tables().pruned.get(home).copied().unwrap_or(Position::ZERO))
    }

    async fn last_seq(&self, id: &CommandId) -> Result<Option<Seq>> {
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
        let over = |task: &Task| task.command.state.is_ended() && task.last_seq == entry.last_seq;
        match entry.body {
            EntryBody::Complete(outcome) if !self.tasks.get(&entry.command).is_some_and(over) => {
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
