use async_trait::async_trait;
use futures_util::TryStreamExt;
use rdev_domain::{Chunk, CommandId, Entry, EntryBody, Error, Position, ProjectId, Result, Seq, Timestamp};
use rdev_ports::{EventLog, Fence, READ_BYTES};
use sqlx::SqliteConnection;

use crate::SqlStore;
use crate::db::{Db, read, write};
use crate::error::database;
use crate::rows::{EventRow, KIND_COMPLETE, KIND_OUTPUT, KIND_STATUS, event_columns, parse};

pub(crate) const READ_COMMAND: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM events e JOIN tasks t ON t.id = e.task_id
      WHERE e.task_id = $1 AND e.position > $2 ORDER BY e.position LIMIT $3"
);

pub(crate) const READ_PROJECT: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM events e JOIN tasks t ON t.id = e.task_id
      WHERE e.project = $1 AND e.position > $2 ORDER BY e.position LIMIT $3"
);

pub(crate) const POSITION_OF: &str = "SELECT position FROM events WHERE task_id = $1 AND last_seq <= $2
     ORDER BY last_seq DESC, position DESC LIMIT 1";

pub(crate) const HEAD: &str = "SELECT position FROM events WHERE project = $1 ORDER BY position DESC LIMIT 1";

#[async_trait]
impl EventLog for SqlStore {
    async fn append(&self, fence: &Fence, chunks: Vec<Chunk>, now: Timestamp) -> Result<Vec<Entry>> {
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else {
            return Ok(Vec::new());
        };
        let (before, after) = (first.first_seq.0 as i64 - 1, last.last_seq.0 as i64);
        write!(&self.db, |tx| {
            let owner: Option<(String, String)> = sqlx::query_as(
                "UPDATE tasks SET last_seq = $1
                 WHERE id = $2 AND attempt = $3 AND last_seq = $4 AND status = 'running'
                 RETURNING project, stream",
            )
            .bind(after)
            .bind(fence.id.as_str())
            .bind(fence.attempt)
            .bind(before)
            .fetch_optional(&mut *tx)
            .await
            .map_err(database)?;
            let (project, stream) = owner.ok_or(Error::LeaseLost)?;
            let (project, stream): (ProjectId, _) = (parse(&project)?, parse(&stream)?);
            let mut entries = Vec::with_capacity(chunks.len());
            for chunk in chunks {
                let mut entry = Entry {
                    position: Position::ZERO,
                    project: project.clone(),
                    command: fence.id.clone(),
                    stream: rdev_domain::StreamId::clone(&stream),
                    first_seq: chunk.first_seq,
                    last_seq: chunk.last_seq,
                    at: now,
                    body: EntryBody::Output(chunk.frames),
                };
                entry.position = insert(&mut tx, &entry).await?;
                entries.push(entry);
            }
            Ok(entries)
        })
    }

    async fn read_command(&self, id: &CommandId, after: Position, limit: u32) -> Result<Vec<Entry>> {
        page(&self.db, READ_COMMAND, id.as_str(), after, limit).await
    }

    async fn read_project(&self, project: &ProjectId, after: Position, limit: u32) -> Result<Vec<Entry>> {
        page(&self.db, READ_PROJECT, project.as_str(), after, limit).await
    }

    async fn position_of(&self, id: &CommandId, seq: Seq) -> Result<Position> {
        let position: Option<i64> = read!(&self.db, |pool| sqlx::query_scalar(POSITION_OF)
            .bind(id.as_str())
            .bind(i64::try_from(seq.0).unwrap_or(i64::MAX))
            .fetch_optional(pool))?;
        Ok(Position(position.unwrap_or(0) as u64))
    }

    async fn head(&self, project: &ProjectId) -> Result<Position> {
        let position: Option<i64> =
            read!(&self.db, |pool| sqlx::query_scalar(HEAD).bind(project.as_str()).fetch_optional(pool))?;
        Ok(Position(position.unwrap_or(0) as u64))
    }
}

/// Reads entries until they are enough, in number or in bytes.
async fn page(db: &Db, sql: &'static str, of: &str, after: Position, limit: u32) -> Result<Vec<Entry>> {
    let query = sqlx::query_as::<_, EventRow>(sql).bind(of).bind(after.0 as i64).bind(limit);
    let mut rows = match db {
        Db::Sqlite { read, .. } => query.fetch(read),
    };
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while bytes < READ_BYTES
        && let Some(row) = rows.try_next().await.map_err(database)?
    {
        let entry = row.entry()?;
        bytes += entry.output_bytes();
        entries.push(entry);
    }
    Ok(entries)
}

/// Stores an entry; its position comes back.
pub(crate) async fn insert(tx: &mut SqliteConnection, entry: &Entry) -> Result<Position> {
    let (kind, body): (&str, &[u8]) = match &entry.body {
        EntryBody::Status(status) => (KIND_STATUS, status.as_str().as_bytes()),
        EntryBody::Output(frames) => (KIND_OUTPUT, frames),
        EntryBody::Complete(_) => (KIND_COMPLETE, &[]),
    };
    let position: i64 = sqlx::query_scalar(
        "INSERT INTO events (task_id, project, kind, first_seq, last_seq, at_us, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING position",
    )
    .bind(entry.command.as_str())
    .bind(entry.project.as_str())
    .bind(kind)
    .bind(entry.first_seq.0 as i64)
    .bind(entry.last_seq.0 as i64)
    .bind(entry.at.as_micros())
    .bind(body)
    .fetch_one(tx)
    .await
    .map_err(database)?;
    Ok(Position(position as u64))
}
