//! Entries of the log, stored in the transactions of the changes that they report.

use rdev_domain::{Entry, EntryBody, Error, Job, Position, Result, Seq, Timestamp};

use crate::db::{Tx, run};
use crate::log::rows::{
    FormerEnd, KIND_COMPLETE, KIND_OUTPUT, KIND_RETRY, KIND_STALLED, KIND_STATUS, KIND_STEP, Stalled,
};
use crate::values::{POOL, log_column};

/// Inserts an entry, with the source of its values.
macro_rules! insert {
    ($with:expr, $values:literal) => {
        concat!(
            $with,
            "INSERT INTO entries (job_id, log, kind, first_seq, last_seq, at_us, body) ",
            $values,
            " RETURNING position"
        )
    };
}

/// For one writer at a time, whose positions become visible in order.
const INSERT: &str = insert!("", "VALUES ($1, $2, $3, $4, $5, $6, $7)");

/// Number of the advisory lock that orders a project's log.
macro_rules! lock_of {
    ($log:expr) => {
        concat!("hashtextextended(", $log, ", 7236)")
    };
}
pub(crate) use lock_of;

/// A position is assigned before its transaction commits, so a reader could see a later one first, and skip this one. A
/// transaction that stores an entry therefore holds the project's lock from before the position is assigned until the
/// entry is visible: the values come out of the row that takes the lock. Nothing is locked after this lock, so no holder
/// waits for another one.
const INSERT_ORDERED: &str = insert!(
    concat!("WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(", lock_of!("$2"), "))"),
    "SELECT $1, $2, $3, $4, $5, $6, $7 FROM turn"
);

/// Makes an entry about a job, still to be stored.
pub(crate) fn entry(job: &Job, seq: Seq, at: Timestamp, body: EntryBody) -> Entry {
    Entry {
        position: Position::ZERO,
        job: job.id.clone(),
        kind: job.spec.kind(),
        project: job.spec.project().cloned(),
        stream: job.stream.clone(),
        first_seq: seq,
        last_seq: seq,
        at,
        body,
    }
}

/// Stores an entry, and returns it with its position.
pub(crate) async fn store_entry(tx: &mut Tx, mut entry: Entry) -> Result<Entry> {
    entry.position = insert(tx, &entry).await?;
    Ok(entry)
}

async fn insert(tx: &mut Tx, entry: &Entry) -> Result<Position> {
    let json = match &entry.body {
        EntryBody::Stalled(failure) => serde_json::to_vec(&Stalled::by(failure)),
        EntryBody::Retry(retrying) => serde_json::to_vec(retrying),
        EntryBody::Step(change) => serde_json::to_vec(change),
        EntryBody::FormerEnd(outcome) => serde_json::to_vec(&FormerEnd::of(outcome)),
        EntryBody::Status(_) | EntryBody::Output(_) | EntryBody::Complete(_) => Ok(Vec::new()),
    };
    let json = json.map_err(|error| Error::Internal(error.into()))?;
    let (kind, body): (&str, &[u8]) = match &entry.body {
        EntryBody::Stalled(_) => (KIND_STALLED, &json),
        EntryBody::Retry(_) => (KIND_RETRY, &json),
        EntryBody::Step(_) => (KIND_STEP, &json),
        EntryBody::Status(status) => (KIND_STATUS, status.as_str().as_bytes()),
        EntryBody::Output(frames) => (KIND_OUTPUT, frames),
        EntryBody::Complete(_) | EntryBody::FormerEnd(_) => (KIND_COMPLETE, &json),
    };
    let log = log_column(entry);
    let sql = match tx {
        // The pool's log is read task by task, and a transaction that stores an entry of a task holds its row.
        Tx::Postgres(_) if log == POOL => INSERT,
        Tx::Postgres(_) => INSERT_ORDERED,
        Tx::Sqlite(_) => INSERT,
    };
    let position = run!(
        tx,
        fetch_one,
        query_scalar<i64>,
        sql,
        entry.job.as_str(),
        log,
        kind,
        entry.first_seq.0 as i64,
        entry.last_seq.0 as i64,
        entry.at.as_micros(),
        body,
    )?;
    Ok(Position(position as u64))
}
