//! Virtual start times, by which callers and projects are served round-robin (the column `turn`).

use rdev_domain::{Job, Result};

use crate::db::{Tx, run};

/// Returns the value of the column `share`: the project that a job is done for; empty for none.
pub(crate) fn share(job: &Job) -> &str {
    job.spec.project().map_or("", rdev_domain::ProjectId::as_str)
}

/// Virtual start time: after this caller's own jobs, and not before the current virtual time (maximum over running,
/// minimum over waiting − 1).
macro_rules! virtual_time_in {
    ($queue:literal, $pool:literal, $created_by:literal, $share:literal, $priority:literal) => {
        concat!(
            "SELECT COALESCE(MAX(turn), 0) + 1 FROM (
                 SELECT MAX(turn) AS turn FROM tasks
                 WHERE status IN ('pending', 'running') AND pool = ",
            $pool,
            " AND created_by = ",
            $created_by,
            " AND share = ",
            $share,
            " AND priority = ",
            $priority,
            " UNION ALL
                 SELECT MAX(turn) FROM tasks WHERE status = 'running' AND pool = ",
            $pool,
            " AND priority = ",
            $priority,
            " UNION ALL
                 SELECT MIN(turn) - 1 FROM tasks WHERE ",
            $queue,
            " AND priority = ",
            $priority,
            ") AS turns"
        )
    };
}
pub(crate) use virtual_time_in;

macro_rules! virtual_time_of_command {
    ($pool:literal, $($of:literal),+) => {
        $crate::queue::virtual_time::virtual_time_in!("status IN ('pending', 'running') AND NOT pool", $pool, $($of),+)
    };
}
pub(crate) use virtual_time_of_command;

macro_rules! virtual_time_of_task {
    ($pool:literal, $($of:literal),+) => {
        $crate::queue::virtual_time::virtual_time_in!("status = 'pending' AND pool", $pool, $($of),+)
    };
}
pub(crate) use virtual_time_of_task;

// Postgres plans without the value of a subquery, so it does not read the whole queue for a new caller.
pub(crate) const VIRTUAL_TIME_OF_COMMAND: &str = virtual_time_of_command!("(SELECT $1)", "$2", "$3", "$4");
pub(crate) const VIRTUAL_TIME_OF_TASK: &str = virtual_time_of_task!("(SELECT $1)", "$2", "$3", "$4");

/// Returns the virtual time of a job that becomes pending now.
pub(crate) async fn virtual_time(tx: &mut Tx, job: &Job) -> Result<i64> {
    let pool = job.spec.is_task();
    run!(
        tx,
        fetch_one,
        query_scalar<i64>,
        if pool { VIRTUAL_TIME_OF_TASK } else { VIRTUAL_TIME_OF_COMMAND },
        pool,
        job.created_by.as_str(),
        share(job),
        job.schedule.priority,
    )
}
