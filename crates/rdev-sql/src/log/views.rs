//! Views of the log: the entries of many jobs.

use rdev_domain::{Entry, LogView, Position, ProjectId, Result};

use super::read::{page, read_on_postgres};
use super::rows::event_columns;
use crate::db::read;
use crate::store::SqlStore;

pub(crate) const READ_PROJECT: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM entries e JOIN jobs j ON j.id = e.job_id
      WHERE e.log = $1 AND e.position > $2 ORDER BY e.position LIMIT $3"
);
pub(crate) const READ_PROJECT_ON_POSTGRES: &str = read_on_postgres!("log");

/// Entries without output, with the wait of their jobs, which followers read.
macro_rules! changes {
    ($index:literal, $condition:literal) => {
        concat!(
            "SELECT ",
            event_columns!(),
            ", j.started_us - CASE WHEN j.run_after_us > j.created_us THEN j.run_after_us ELSE j.created_us END
               AS waited_us
             FROM entries e",
            $index,
            " JOIN jobs j ON j.id = e.job_id WHERE ",
            $condition,
            " AND e.kind <> 'output' ORDER BY e.position LIMIT $3"
        )
    };
}

/// The index is named: SQLite would walk through the output of the table, which has the same order.
pub(crate) const READ_CHANGES: &str =
    changes!(" INDEXED BY entries_of_followers", "e.position > $1 AND e.position <= $2");
pub(crate) const READ_CHANGES_ON_POSTGRES: &str = changes!("", "e.position > $1 AND e.position <= $2");

/// Compares a text that has no index: the index of the project holds its output, too.
pub(crate) const READ_CHANGES_OF_PROJECT: &str =
    changes!(" INDEXED BY entries_of_followers", "e.log || '' = $1 AND e.position > $2");
pub(crate) const READ_CHANGES_OF_PROJECT_ON_POSTGRES: &str =
    changes!("", "e.log || '' = $1 AND e.position > $2");

pub(crate) const READ_ALL: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM entries e JOIN jobs j ON j.id = e.job_id
      WHERE e.position > $1 AND e.position <= $2 ORDER BY e.position LIMIT $3"
);

/// As [`READ_PROJECT_ON_POSTGRES`], it selects nothing far beyond `READ_BYTES`.
pub(crate) const READ_ALL_ON_POSTGRES: &str = concat!(
    "SELECT * FROM (SELECT ",
    event_columns!(),
    ", SUM(octet_length(e.body)) OVER (ORDER BY e.position) - octet_length(e.body) AS bytes_before
     FROM entries e JOIN jobs j ON j.id = e.job_id
     WHERE e.position > $1 AND e.position <= $2 ORDER BY e.position LIMIT $3) page
     WHERE bytes_before < 262144 ORDER BY position"
);

pub(crate) const LAST: &str =
    "SELECT position FROM entries WHERE log = $1 AND position <= $2 ORDER BY position DESC LIMIT 1";

pub(crate) const LAST_ON_POSTGRES: &str = "SELECT position FROM entries
     WHERE (log, position) >= ($1, 0) AND (log, position) <= ($1, $2)
     ORDER BY log DESC, position DESC LIMIT 1";

pub(crate) const LAST_OF_ALL: &str =
    "SELECT position FROM entries WHERE position <= $1 ORDER BY position DESC LIMIT 1";

pub(crate) const PRUNED: &str = "SELECT position FROM pruned_logs WHERE log = $1";

/// Reads a row for each project and target that there ever was.
const PRUNED_OF_ALL: &str = "SELECT MAX(position) FROM pruned_logs";

pub(super) async fn read_view(
    store: &SqlStore,
    view: &LogView,
    after: Position,
    limit: u32,
) -> Result<Vec<Entry>> {
    let (db, after, limit) = (&store.db, after.0 as i64, i64::from(limit));
    let project = view.project.as_ref().map(ProjectId::as_str);
    match (project, view.output) {
        (Some(project), true) => page!(db, [READ_PROJECT, READ_PROJECT_ON_POSTGRES], project, after, limit),
        (Some(project), false) => {
            page!(db, [READ_CHANGES_OF_PROJECT, READ_CHANGES_OF_PROJECT_ON_POSTGRES], project, after, limit)
        }
        (None, true) => page!(db, [READ_ALL, READ_ALL_ON_POSTGRES], after, store.settled.known(db), limit),
        (None, false) => {
            page!(db, [READ_CHANGES, READ_CHANGES_ON_POSTGRES], after, store.settled.known(db), limit)
        }
    }
}

pub(super) async fn last(store: &SqlStore, view: &LogView, to: Position) -> Result<Position> {
    let (db, bound) = (&store.db, i64::try_from(to.0).unwrap_or(i64::MAX));
    let position = match &view.project {
        Some(project) => {
            let sql = db.text([LAST, LAST_ON_POSTGRES]);
            read!(db, fetch_optional, query_scalar<i64>, sql, project.as_str(), bound)?
        }
        None => {
            let bound = if to == Position::MAX { store.settled.end(db).await? } else { bound };
            read!(db, fetch_optional, query_scalar<i64>, LAST_OF_ALL, bound)?
        }
    };
    Ok(Position(position.unwrap_or(0) as u64))
}

pub(super) async fn pruned(store: &SqlStore, view: &LogView) -> Result<Position> {
    let position = match &view.project {
        Some(project) => read!(&store.db, fetch_optional, query_scalar<i64>, PRUNED, project.as_str())?,
        None => read!(&store.db, fetch_one, query_scalar<Option<i64>>, PRUNED_OF_ALL)?,
    };
    Ok(Position(position.unwrap_or(0) as u64))
}
