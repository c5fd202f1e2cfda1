//! The log is read.

use futures_util::{Stream, TryStreamExt};
use rdev_domain::{Entry, JobId, Position, Result, Seq};
use rdev_ports::READ_BYTES;

use super::rows::{EventRow, event_columns};
use crate::db::{Db, Transaction, bounded, read};
use crate::error::database;
use crate::queue::rows::until_the_end;
use crate::store::SqlStore;
use crate::values::parse;

pub(crate) const READ_JOB: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM entries e JOIN jobs j ON j.id = e.job_id
      WHERE e.job_id = $1 AND e.position > $2 ORDER BY e.position LIMIT $3"
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
             FROM entries e JOIN jobs j ON j.id = e.job_id
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

pub(crate) const READ_JOB_ON_POSTGRES: &str = read_on_postgres!("job_id");
pub(super) use read_on_postgres;

// Status entries, which do not count, come on top of that.
const _: () = assert!(READ_BYTES * 2 == 262_144);

/// Selects the last entry up to a number. Output is found by its number; between the output up to the number and the output
/// beyond it lie only entries of other kinds, which are few.
macro_rules! position_of {
    ($between:literal, $before:literal, $order:literal) => {
        concat!(
            "SELECT position FROM entries WHERE last_seq <= $2 AND ",
            $between,
            "COALESCE((
                 SELECT position FROM entries WHERE job_id = $1 AND kind = 'output' AND last_seq <= $2
                 ORDER BY last_seq DESC, position DESC LIMIT 1), 0)",
            $before,
            "COALESCE((
                 SELECT position FROM entries WHERE job_id = $1 AND kind = 'output' AND last_seq > $2
                 ORDER BY last_seq, position LIMIT 1), 9223372036854775807)",
            $order,
            "position DESC LIMIT 1"
        )
    };
}

pub(crate) const POSITION_OF: &str =
    position_of!("job_id = $1 AND position >= ", " AND position < ", " ORDER BY ");
pub(crate) const POSITION_OF_ON_POSTGRES: &str = position_of!(
    "(job_id, position) >= ($1, ",
    ") AND (job_id, position) < ($1, ",
    ") ORDER BY job_id DESC, "
);

/// Selects the position of the last entry of a job.
pub(crate) const END: &str = "SELECT position FROM entries WHERE job_id = $1 ORDER BY position DESC LIMIT 1";

pub(crate) const ENDS_ON_POSTGRES: &str = "
    SELECT id, position FROM unnest($1::TEXT[]) AS asked (id), LATERAL (
        SELECT position FROM entries
        WHERE (job_id, position) > (id, 0) AND (job_id, position) <= (id, 9223372036854775807)
        ORDER BY job_id DESC, position DESC LIMIT 1) AS last";

const LAST_SEQ: &str = concat!(
    "SELECT ",
    until_the_end!("last_seq"),
    " FROM jobs j LEFT JOIN queue q ON q.id = j.id WHERE j.id = $1"
);

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
    let sql = store.db.text([POSITION_OF, POSITION_OF_ON_POSTGRES]);
    let position = read!(&store.db, fetch_optional, query_scalar<i64>, sql, id.as_str(), seq)?;
    Ok(Position(position.unwrap_or(0) as u64))
}

pub(super) async fn ends(store: &SqlStore, ids: &[JobId]) -> Result<Vec<(JobId, Position)>> {
    let mut ends = Vec::new();
    match &store.db {
        Db::Sqlite { .. } => {
            for id in ids {
                let end = read!(&store.db, fetch_optional, query_scalar<i64>, END, id.as_str())?;
                ends.extend(end.map(|position| (id.clone(), Position(position as u64))));
            }
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
