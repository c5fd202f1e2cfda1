//! Values of columns, and the domain types that they stand for.
//!
//! The column `project` holds a job's target. The names of the pool and of the operations in that column are no project
//! ids.

use std::str::FromStr;
use std::time::Duration;

use rdev_domain::{JobSpec, ProjectId, Result, Target};

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
