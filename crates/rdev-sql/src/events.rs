//! Reading of the log, and the output that is added to it.

use async_trait::async_trait;
use futures_util::{Stream, TryStreamExt};
use rdev_domain::{Chunk, Entry, EntryBody, JobId, Position, Result, Seq, StreamId, Target, Timestamp};
use rdev_ports::{EventLog, Fence, READ_BYTES};

use crate::SqlStore;
use crate::again;
use crate::batch::{Append, InsertedEntry};
use crate::db::Transaction;
use crate::db::{Commit, Db, bounded, read, run, write};
use crate::entries::stored;
use crate::error::database;
use crate::rows::{EventRow, event_columns, parse};
use crate::target::column;

pub(crate) const READ_COMMAND: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM events e JOIN tasks t ON t.id = e.task_id
      WHERE e.task_id = $1 AND e.position > $2 ORDER BY e.position LIMIT $3"
);

pub(crate) const READ_HOME: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM events e JOIN tasks t ON t.id = e.task_id
      WHERE e.project = $1 AND e.position > $2 ORDER BY e.position LIMIT $3"
);

/// The same for Postgres. It sends every row, where SQLite makes one when it is asked for the next: so nothing
/// far beyond [`READ_BYTES`]; the length of a body is known without reading it. And for an equality it might
/// walk through the whole log in the order of positions, in the hope of finding enough on the way: a range of
/// pairs has its order in one index alone.
macro_rules! read_on_postgres {
    ($of:literal) => {
        concat!(
            "SELECT * FROM (SELECT ",
            event_columns!(),
            ", SUM(octet_length(e.body)) OVER (ORDER BY e.",
            $of,
            ", e.position) - octet_length(e.body) AS bytes_before
             FROM events e JOIN tasks t ON t.id = e.task_id
             WHERE (e.",
            $of,
            ", e.position) > ($1, $2) AND (e.",
            $of,
            ", e.position) <= ($1, 9223372036854775807)
             ORDER BY e.",
            $of,
            ", e.position LIMIT $3) page
             WHERE bytes_before < 262144 ORDER BY position"
        )
    };
}

pub(crate) const READ_COMMAND_ON_POSTGRES: &str = read_on_postgres!("task_id");
pub(crate) const READ_HOME_ON_POSTGRES: &str = read_on_postgres!("project");

// Status entries, which do not count, come on top.
const _: () = assert!(READ_BYTES * 2 == 262_144);

pub(crate) const POSITION_OF: &str = "SELECT position FROM events WHERE task_id = $1 AND last_seq <= $2
     ORDER BY last_seq DESC, position DESC LIMIT 1";

pub(crate) const ENDS_ON_POSTGRES: &str = "
    SELECT id, position FROM unnest($1::TEXT[]) AS asked (id), LATERAL (
        SELECT position FROM events
        WHERE (task_id, position) > (id, 0) AND (task_id, position) <= (id, 9223372036854775807)
        ORDER BY task_id DESC, position DESC LIMIT 1) AS last";

pub(crate) const LAST: &str =
    "SELECT position FROM events WHERE project = $1 AND position <= $2 ORDER BY position DESC LIMIT 1";

pub(crate) const LAST_ON_POSTGRES: &str = "SELECT position FROM events
     WHERE (project, position) >= ($1, 0) AND (project, position) <= ($1, $2)
     ORDER BY project DESC, position DESC LIMIT 1";

pub(crate) const PRUNED: &str = "SELECT position FROM pruned_logs WHERE project = $1";

const LAST_SEQ: &str = "SELECT last_seq FROM tasks WHERE id = $1";

#[async_trait]
impl EventLog for SqlStore {
    async fn append(&self, fence: &Fence, chunks: Vec<Chunk>, now: Timestamp) -> Result<Vec<Entry>> {
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else {
            return Ok(Vec::new());
        };
        let (before, last) = (Seq(first.first_seq.0.saturating_sub(1)), last.last_seq);
        let Some(groups) = &self.groups else {
            return self.append_alone(fence, before, last, chunks, now).await;
        };
        let step = Append { fence: fence.clone(), before, last, chunks: chunks.clone(), now };
        let told = groups.append.take(step).await?;
        if told.is_empty() {
            // By itself it is told why not.
            return self.append_alone(fence, before, last, chunks, now).await;
        }
        let entry = |(told, chunk): (&InsertedEntry, Chunk)| {
            let entry = told.entry(now, EntryBody::Output(chunk.frames))?;
            Ok(Entry { first_seq: chunk.first_seq, last_seq: chunk.last_seq, ..entry })
        };
        told.iter().zip(chunks).map(entry).collect()
    }

    async fn flush(&self) -> Result<()> {
        match &self.db {
            Db::Sqlite { .. } => self.write_through().await,
            // Whatever was told there was flushed with its own commit.
            Db::Postgres(_) => Ok(()),
        }
    }

    async fn read_job(&self, id: &JobId, after: Position, limit: u32) -> Result<Vec<Entry>> {
        page(&self.db, [READ_COMMAND, READ_COMMAND_ON_POSTGRES], id.as_str(), after, limit).await
    }

    async fn read_target(&self, target: &Target, after: Position, limit: u32) -> Result<Vec<Entry>> {
        page(&self.db, [READ_HOME, READ_HOME_ON_POSTGRES], column(target), after, limit).await
    }

    async fn position_of(&self, id: &JobId, seq: Seq) -> Result<Position> {
        let seq = i64::try_from(seq.0).unwrap_or(i64::MAX);
        let position = read!(&self.db, fetch_optional, query_scalar<i64>, POSITION_OF, id.as_str(), seq)?;
        Ok(Position(position.unwrap_or(0) as u64))
    }

    async fn ends(&self, ids: &[JobId]) -> Result<Vec<(JobId, Position)>> {
        let mut ends = Vec::new();
        match &self.db {
            Db::Sqlite { .. } => {
                for id in ids {
                    ends.push((id.clone(), self.position_of(id, Seq(u64::MAX)).await?));
                }
                ends.retain(|(_, position)| *position > Position::ZERO);
            }
            Db::Postgres(pool) => {
                let ids: Vec<_> = ids.iter().map(JobId::as_str).collect();
                let rows: Vec<(String, i64)> = bounded(&self.db, async {
                    let mut work = Transaction::reading(pool).await?;
                    let rows = sqlx::query_as(ENDS_ON_POSTGRES).bind(ids).fetch_all(work.connection()?).await;
                    work.end(rows.map_err(database)).await
                })
                .await?;
                for (id, position) in rows {
                    ends.push((parse(&id)?, Position(position as u64)));
                }
            }
        }
        Ok(ends)
    }

    async fn last(&self, target: &Target, to: Position) -> Result<Position> {
        let sql = match &self.db {
            Db::Sqlite { .. } => LAST,
            Db::Postgres(_) => LAST_ON_POSTGRES,
        };
        let to = i64::try_from(to.0).unwrap_or(i64::MAX);
        let position = read!(&self.db, fetch_optional, query_scalar<i64>, sql, column(target), to)?;
        Ok(Position(position.unwrap_or(0) as u64))
    }

    async fn pruned(&self, target: &Target) -> Result<Position> {
        let position = read!(&self.db, fetch_optional, query_scalar<i64>, PRUNED, column(target))?;
        Ok(Position(position.unwrap_or(0) as u64))
    }

    async fn last_seq(&self, id: &JobId) -> Result<Option<Seq>> {
        let seq = read!(&self.db, fetch_optional, query_scalar<i64>, LAST_SEQ, id.as_str())?;
        Ok(seq.map(|seq| Seq(seq as u64)))
    }
}

impl SqlStore {
    async fn append_alone(
        &self,
        fence: &Fence,
        before: Seq,
        last: Seq,
        chunks: Vec<Chunk>,
        now: Timestamp,
    ) -> Result<Vec<Entry>> {
        write!(&self.db, Commit::Visible, |tx| {
            let owner = run!(
                &mut tx,
                fetch_optional,
                query_as<(String, String)>,
                "UPDATE tasks SET last_seq = $1
                 WHERE id = $2 AND attempt = $3 AND last_seq = $4 AND status = 'running'
                 RETURNING project, stream",
                last.0 as i64,
                fence.id.as_str(),
                fence.token,
                before.0 as i64,
            )?;
            let Some((project, stream)) = owner else {
                return again::appended(&mut tx, fence, &chunks).await;
            };
            let (target, stream): (Target, StreamId) = (crate::target::target(&project)?, parse(&stream)?);
            let mut entries = Vec::with_capacity(chunks.len());
            for chunk in chunks {
                let entry = Entry {
                    position: Position::ZERO,
                    target: target.clone(),
                    job: fence.id.clone(),
                    stream: stream.clone(),
                    first_seq: chunk.first_seq,
                    last_seq: chunk.last_seq,
                    at: now,
                    body: EntryBody::Output(chunk.frames),
                };
                entries.push(stored(&mut tx, entry).await?);
            }
            Ok(entries)
        })
    }
}

/// Reads entries until they are enough, in number or in bytes.
async fn page(
    db: &Db,
    [on_sqlite, on_postgres]: [&'static str; 2],
    of: &str,
    after: Position,
    limit: u32,
) -> Result<Vec<Entry>> {
    let (after, limit) = (after.0 as i64, i64::from(limit));
    match db {
        Db::Sqlite { read, .. } => {
            take(sqlx::query_as(on_sqlite).bind(of).bind(after).bind(limit).fetch(read)).await
        }
        Db::Postgres(pool) => {
            bounded(db, async {
                let mut work = Transaction::reading(pool).await?;
                let query = sqlx::query_as(on_postgres).bind(of).bind(after).bind(limit);
                let rows = query.fetch(work.connection()?);
                let entries = take(rows).await;
                work.end(entries).await
            })
            .await
        }
    }
}

async fn take(mut rows: impl Stream<Item = sqlx::Result<EventRow>> + Unpin) -> Result<Vec<Entry>> {
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
