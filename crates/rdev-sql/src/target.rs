//! The column `project` and the stored form of a job's specification. The pool's name in that column is no project id.

use rdev_domain::{Error, JobSpec, ProjectId, Result, Target};

use crate::error::unreadable;
use crate::rows::parse;

/// The pool in the column `project`: `@` begins no project id.
pub(crate) const POOL: &str = "@pool";

/// Value of the column `project` for a target.
pub(crate) fn column(target: &Target) -> &str {
    match target {
        Target::Project(id) => id.as_str(),
        Target::Pool => POOL,
    }
}

/// Value of the column `project` for a job.
pub(crate) fn column_of(spec: &JobSpec) -> &str {
    match spec {
        JobSpec::Command { project, .. } => project.as_str(),
        JobSpec::Task(_) => POOL,
    }
}

/// The target that a column `project` names.
pub(crate) fn target(column: &str) -> Result<Target> {
    if column == POOL { Ok(Target::Pool) } else { parse::<ProjectId>(column).map(Target::Project) }
}

/// Stored form of a specification, without its project.
pub(crate) fn stored_spec(spec: &JobSpec) -> Result<String> {
    let stored = match spec {
        JobSpec::Command { request, .. } => serde_json::to_string(request),
        JobSpec::Task(task) => serde_json::to_string(task),
    };
    stored.map_err(|error| Error::Internal(error.into()))
}

/// The specification of a row: the columns `project` and `request` of the job `id`.
pub(crate) fn spec(project: &str, request: &str, id: &str) -> Result<JobSpec> {
    let unreadable = |_| unreadable("request", &id);
    match target(project)? {
        Target::Project(project) => {
            let request = serde_json::from_str(request).map_err(unreadable)?;
            Ok(JobSpec::Command { project, request })
        }
        Target::Pool => serde_json::from_str(request).map_err(unreadable).map(JobSpec::Task),
    }
}
