//! Entries are found by their time, for which there is no index: positions grow with the time, so the search halves them.

use rdev_domain::{JobId, LogView, Position, ProjectId, Result, Seq, Timestamp};

use super::read::position_of;
use super::views::last;
use crate::db::read;
use crate::store::SqlStore;

/// Selects the first entry after a position, and when it was stored: the text for SQLite, whose index ends with the position in
/// any case, and the text for Postgres, where pairs keep a generic plan on the index.
macro_rules! next_of {
    ($of:literal) => {
        [
            concat!(
                "SELECT position, at_us FROM entries WHERE ",
                $of,
                " = $1 AND position > $2 ORDER BY position LIMIT 1"
            ),
            concat!(
                "SELECT position, at_us FROM entries WHERE (",
                $of,
                ", position) > ($1, $2) AND (",
                $of,
                ", position) <= ($1, 9223372036854775807) ORDER BY ",
                $of,
                ", position LIMIT 1"
            ),
        ]
    };
}

pub(crate) const NEXT_OF_PROJECT: [&str; 2] = next_of!("log");
pub(crate) const NEXT_OF_JOB: [&str; 2] = next_of!("job_id");
pub(crate) const NEXT: &str =
    "SELECT position, at_us FROM entries WHERE position > $1 ORDER BY position LIMIT 1";

const SEQ_AT: &str = "SELECT last_seq FROM entries WHERE job_id = $1 AND position = $2";

pub(super) async fn last_before(store: &SqlStore, view: &LogView, at: Timestamp) -> Result<Position> {
    let (db, end) = (&store.db, last(store, view, Position::MAX).await?);
    let found = match view.project.as_ref().map(ProjectId::as_str) {
        Some(project) => {
            let next = |after: i64| async move {
                read!(db, fetch_optional, query_as<(i64, i64)>, db.text(NEXT_OF_PROJECT), project, after)
            };
            search(end, at, next).await?
        }
        None => {
            let next =
                |after: i64| async move { read!(db, fetch_optional, query_as<(i64, i64)>, NEXT, after) };
            search(end, at, next).await?
        }
    };
    Ok(Position(found as u64))
}

pub(super) async fn seq_before(store: &SqlStore, id: &JobId, at: Timestamp) -> Result<Option<Seq>> {
    let (db, end) = (&store.db, position_of(store, id, Seq(u64::MAX)).await?);
    let job = id.as_str();
    let next = |after: i64| async move {
        read!(db, fetch_optional, query_as<(i64, i64)>, db.text(NEXT_OF_JOB), job, after)
    };
    let found = search(end, at, next).await?;
    let seq = read!(db, fetch_optional, query_scalar<i64>, SEQ_AT, job, found)?;
    Ok(seq.map(|seq| Seq(seq as u64)))
}

/// Returns the position of the last entry before a time, of those up to `end`; 0 when there is none. `next` returns the
/// first entry after a position, and its time.
async fn search<F>(end: Position, at: Timestamp, next: impl Fn(i64) -> F) -> Result<i64>
where
    F: Future<Output = Result<Option<(i64, i64)>>>,
{
    // The entry at `before` is earlier than the time, and so are those before it; those after `to` are not.
    let (mut before, mut to) = (0, end.0 as i64);
    while before < to {
        let middle = before + (to - before) / 2;
        match next(middle).await? {
            Some((position, at_us)) if position <= to && at_us < at.as_micros() => before = position,
            _ => to = middle,
        }
    }
    Ok(before)
}
