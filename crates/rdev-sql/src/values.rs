//! Values of columns, and the domain types that they stand for.
//!
//! The column `project` holds a job's target. The names of the pool and of the operations in that column are no project
//! ids.

use std::str::FromStr;
use std::time::Duration;

use rdev_domain::{CommandKind, Entry, JobKind, JobSpec, OperationKind, ProjectId, Result, Target, TaskKind};

use crate::error::unreadable;

/// The pool in the column `project`: `@` begins no project id.
pub(crate) const POOL: &str = "@pool";

/// The operations in the column `project`.
pub(crate) const OPERATIONS: &str = "@operations";

/// Returns the value of the column `project` for a target.
pub(crate) fn column(target: &Target) -> &str {
    match target {
        Target::Project(id) => id.as_str(),
        Target::Pool => POOL,
        Target::Operations => OPERATIONS,
    }
}

/// Returns the value of the column `project` for a job.
pub(crate) fn column_of(spec: &JobSpec) -> &str {
    match spec {
        JobSpec::Command { project, .. } => project.as_str(),
        JobSpec::Task(_) => POOL,
        JobSpec::Operation(_) => OPERATIONS,
    }
}

/// Returns the target that a column `project` names.
pub(crate) fn target(column: &str) -> Result<Target> {
    match column {
        POOL => Ok(Target::Pool),
        OPERATIONS => Ok(Target::Operations),
        project => parse::<ProjectId>(project).map(Target::Project),
    }
}

/// Returns the value of the column `project` of the table `events` for an entry, which names the log that holds the entry.
pub(crate) fn log_column(entry: &Entry) -> &str {
    match (entry.kind, entry.log_project()) {
        (_, Some(project)) => project.as_str(),
        (JobKind::Operation(_), None) => OPERATIONS,
        (JobKind::Command(_) | JobKind::Task(_), None) => POOL,
    }
}

/// The same in SQL, of a row with the columns `project` and `share` of the table `tasks`.
macro_rules! log_of_row {
    () => {
        "CASE WHEN project = '@pool' AND share <> '' THEN share ELSE project END"
    };
}
pub(crate) use log_of_row;

/// Returns the kind of a job from its columns `project` and `kind`.
pub(crate) fn job_kind(project: &str, name: &str) -> Result<JobKind> {
    let kind = match project {
        POOL => TaskKind::parse(name).map(JobKind::Task),
        OPERATIONS => OperationKind::parse(name).map(JobKind::Operation),
        _ => CommandKind::parse(name).map(JobKind::Command),
    };
    kind.ok_or_else(|| unreadable("kind of job", &name))
}

/// Returns the project that a job is done for, from its columns `project` and `share`; a task may have none.
pub(crate) fn project_of(target: &str, share: &str) -> Result<Option<ProjectId>> {
    match target {
        POOL | OPERATIONS => (!share.is_empty()).then(|| parse(share)).transpose(),
        project => parse(project).map(Some),
    }
}

/// Parses an id.
pub(crate) fn parse<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| unreadable("id", &text))
}

/// Returns the duration of a column in microseconds.
pub(crate) fn micros(value: i64) -> Duration {
    Duration::from_micros(u64::try_from(value).unwrap_or(0))
}

/// Returns the value of a column in microseconds.
pub(crate) fn as_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Writes a list as one text, each item between commas: how lists are bound differs between the databases.
pub(crate) fn between_commas<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.map(|item| format!(",{item},")).collect()
}
