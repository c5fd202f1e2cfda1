//! The log is read.

use futures_util::{Stream, TryStreamExt};
use rdev_domain::{Entry, JobId, Position, Result, Seq};
use rdev_ports::READ_BYTES;

use super::rows::{EventRow, event_columns};
use crate::db::{Db, Transaction, bounded, read};
use crate::error::database;
use crate::store::SqlStore;
use crate::values::parse;

pub(crate) const READ_JOB: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM events e JOIN tasks t ON t.id = e.task_id
      WHERE e.task_id = $1 AND e.position > $2 ORDER BY e.position LIMIT $3"
);

/// The same for Postgres, which sends every row where SQLite makes one at a time: so it selects nothing far beyond
/// [`READ_BYTES`]; the length of a body is known without reading the body. With an equality the planner might walk
/// through the whole log in the order of positions, hoping to find enough rows on the way: a range of pairs has its
/// order in one index alone.
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

pub(crate) const READ_JOB_ON_POSTGRES: &str = read_on_postgres!("task_id");
pub(super) use read_on_postgres;

// Status entries, which do not count, come on top of that.
const _: () = assert!(READ_BYTES * 2 == 262_144);

pub(crate) const POSITION_OF: &str = "SELECT position FROM events WHERE task_id = $1 AND last_seq <= $2
     ORDER BY last_seq DESC, position DESC LIMIT 1";

pub(crate) const ENDS_ON_POSTGRES: &str = "
    SELECT id, position FROM unnest($1::TEXT[]) AS asked (id), LATERAL (
        SELECT position FROM events
        WHERE (task_id, position) > (id, 0) AND (task_id, position) <= (id, 9223372036854775807)
        ORDER BY task_id DESC, position DESC LIMIT 1) AS last";

const LAST_SEQ: &str = "SELECT last_seq FROM tasks WHERE id = $1";

/// Reads entries up to a number, or until they hold [`READ_BYTES`]. Takes the text for each database, and the values to
/// bind.
macro_rules! page {
    ($db:expr, [$on_sqlite:expr, $on_postgres:expr] $(, $bind:expr)*) => {
        match $db {
            $crate::db::Db::Sqlite { read, .. } => {
                $crate::log::read::take(sqlx::query_as($on_sqlite)$(.bind($bind))*.fetch(read)).await
            }
            $crate::db::Db::Postgres(pool) => {
                $crate::db::bounded($db, async {
                    let mut transaction = $crate::db::Transaction::reading(pool).await?;
                    let rows = sqlx::query_as($on_postgres)$(.bind($bind))*.fetch(transaction.connection()?);
                    let entries = $crate::log::read::take(rows).await;
                    transaction.end(entries).await
                })
                .await
            }
        }
    };
}
pub(super) use page;

pub(super) async fn read_job(
    store: &SqlStore,
    id: &JobId,
    after: Position,
    limit: u32,
) -> Result<Vec<Entry>> {
    let (after, limit) = (after.0 as i64, i64::from(limit));
    page!(&store.db, [READ_JOB, READ_JOB_ON_POSTGRES], id.as_str(), after, limit)
}

pub(super) async fn position_of(store: &SqlStore, id: &JobId, seq: Seq) -> Result<Position> {
    let seq = i64::try_from(seq.0).unwrap_or(i64::MAX);
    let position = read!(&store.db, fetch_optional, query_scalar<i64>, POSITION_OF, id.as_str(), seq)?;
    Ok(Position(position.unwrap_or(0) as u64))
}

pub(super) async fn ends(store: &SqlStore, ids: &[JobId]) -> Result<Vec<(JobId, Position)>> {
    let mut ends = Vec::new();
    match &store.db {
        Db::Sqlite { .. } => {
            for id in ids {
                ends.push((id.clone(), position_of(store, id, Seq(u64::MAX)).await?));
            }
            ends.retain(|(_, position)| *position > Position::ZERO);
        }
        Db::Postgres(pool) => {
            let ids: Vec<_> = ids.iter().map(JobId::as_str).collect();
            let rows: Vec<(String, i64)> = bounded(&store.db, async {
                let mut transaction = Transaction::reading(pool).await?;
                let rows =
                    sqlx::query_as(ENDS_ON_POSTGRES).bind(ids).fetch_all(transaction.connection()?).await;
                transaction.end(rows.map_err(database)).await
            })
            .await?;
            for (id, position) in rows {
                ends.push((parse(&id)?, Position(position as u64)));
            }
        }
    }
    Ok(ends)
}

pub(super) async fn last_seq(store: &SqlStore, id: &JobId) -> Result<Option<Seq>> {
    let seq = read!(&store.db, fetch_optional, query_scalar<i64>, LAST_SEQ, id.as_str())?;
    Ok(seq.map(|seq| Seq(seq as u64)))
}

/// Takes the entries of rows until they hold [`READ_BYTES`].
pub(super) async fn take(mut rows: impl Stream<Item = sqlx::Result<EventRow>> + Unpin) -> Result<Vec<Entry>> {
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
