//! Values of columns, and the domain types that they stand for.
//!
//! The column `target` holds a job's target. The names of the pool and of the operations in that column are no project
//! ids. The column `log` of an entry holds the project whose log it belongs to, or else one of these names.

use std::str::FromStr;
use std::time::Duration;

use rdev_domain::{
    CommandKind, Entry, JobKind, JobSpec, Lane, OperationKind, ProjectId, Result, Target, TaskKind,
};

use crate::error::unreadable;

/// The pool in the column `target`: `@` begins no project id.
pub(crate) const POOL: &str = "@pool";

/// The operations in the column `target`.
pub(crate) const OPERATIONS: &str = "@operations";

/// Returns the value of the column `target` for a target.
pub(crate) fn column(target: &Target) -> &str {
    match target {
        Target::Project(id) => id.as_str(),
        Target::Pool => POOL,
        Target::Operations => OPERATIONS,
    }
}

/// Returns the value of the column `target` for a job.
pub(crate) fn column_of(spec: &JobSpec) -> &str {
    match spec {
        JobSpec::Command { project, .. } => project.as_str(),
        JobSpec::Task(_) => POOL,
        JobSpec::Operation(_) => OPERATIONS,
    }
}

/// Returns the value of the column `lane`.
pub(crate) fn lane_column(lane: Lane) -> i32 {
    match lane {
        Lane::Commands => 0,
        Lane::Tasks => 1,
        Lane::Operations => 2,
    }
}

/// Returns the value of the column `project` for a job: the project that the job is done for; empty for none.
pub(crate) fn project_column(spec: &JobSpec) -> &str {
    spec.project().map_or("", ProjectId::as_str)
}

/// Returns the target that a column `target` names.
pub(crate) fn target(column: &str) -> Result<Target> {
    match column {
        POOL => Ok(Target::Pool),
        OPERATIONS => Ok(Target::Operations),
        project => parse::<ProjectId>(project).map(Target::Project),
    }
}

/// Returns the value of the column `log` for an entry.
pub(crate) fn log_column(entry: &Entry) -> &str {
    match (entry.kind, entry.log_project()) {
        (_, Some(project)) => project.as_str(),
        (JobKind::Operation(_), None) => OPERATIONS,
        (JobKind::Command(_) | JobKind::Task(_), None) => POOL,
    }
}

/// The same in SQL, of a row with the columns `target` and `project` of the table `jobs`.
macro_rules! log_of_row {
    () => {
        "CASE WHEN target = '@pool' AND project <> '' THEN project ELSE target END"
    };
}
pub(crate) use log_of_row;

/// Returns the kind of a job from its columns `target` and `kind`.
pub(crate) fn job_kind(target: &str, name: &str) -> Result<JobKind> {
    let kind = match target {
        POOL => TaskKind::parse(name).map(JobKind::Task),
        OPERATIONS => OperationKind::parse(name).map(JobKind::Operation),
        _ => CommandKind::parse(name).map(JobKind::Command),
    };
    kind.ok_or_else(|| unreadable("kind of job", &name))
}

/// Returns the project that a job is done for, from its column `project`; a task may have none.
pub(crate) fn project_of(project: &str) -> Result<Option<ProjectId>> {
    (!project.is_empty()).then(|| parse(project)).transpose()
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

/// Selects the values of a list that is bound as JSON ([`json_list`]): the text for SQLite, and the text for Postgres.
macro_rules! of_list {
    ($before:literal, $list:literal) => {
        [
            concat!($before, " IN (SELECT value FROM json_each(", $list, "))"),
            concat!($before, " IN (SELECT json_array_elements_text(", $list, "::JSON))"),
        ]
    };
}
pub(crate) use of_list;

/// Writes a list as JSON: how lists are bound differs between the databases.
pub(crate) fn json_list<'a>(items: impl Iterator<Item = &'a str>) -> Result<String> {
    Ok(serde_json::to_string(&items.collect::<Vec<_>>()).map_err(anyhow::Error::from)?)
}

/// Writes a list as one text, each item between commas, for conditions that look at each row.
pub(crate) fn between_commas<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.map(|item| format!(",{item},")).collect()
}
