//! Projects.

use axum::Json;
use axum::extract::State;
use rdev_api_types as types;
use rdev_api_types::{Data, ErrorBody, List, ProjectPage, ProjectPath};
use rdev_domain::{Condition, Project, ProjectId, ProjectStatus};
use rdev_services::Projects;

use crate::envelope::{data, page};
use crate::error::ApiError;
use crate::extract::{InProject, Query, page_cursor, page_limit};
use crate::routes::progress::time;

/// Shows a project.
fn shown(project: Project) -> types::Project {
    let status = match project.status {
        ProjectStatus::Ready => types::ProjectStatus::Ready,
        ProjectStatus::Starting(_) => types::ProjectStatus::Starting,
        ProjectStatus::Failing(_) => types::ProjectStatus::Failing,
        ProjectStatus::Gone(_) => types::ProjectStatus::Gone,
    };
    let NotReady { reason, message, since } = NotReady::of(project.status, project.warning);
    types::Project {
        id: project.id.to_string(),
        status,
        workspace: project.workspace,
        reason,
        message,
        since,
        repository: project.repository,
        description: project.description,
        default_agent: project.default_agent,
    }
}

/// Why a project, or a worker, is not as it should be, field by field as answers tell it; all of them null while it is.
#[derive(Default)]
pub(crate) struct NotReady {
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) since: Option<types::Timestamp>,
}

impl NotReady {
    /// Gives the reason why it is not ready first, then the warning.
    pub(crate) fn of(status: ProjectStatus, warning: Option<Condition>) -> Self {
        let condition = match (status.condition(), warning) {
            (Some(condition), Some(warning)) => {
                let message = format!("{}; {}", condition.message, warning.message);
                Some(Condition { message, ..condition })
            }
            (condition, warning) => condition.or(warning),
        };
        let told = |condition: Condition| Self {
            reason: Some(condition.reason),
            message: Some(condition.message),
            since: Some(time(condition.since)),
        };
        condition.map(told).unwrap_or_default()
    }
}

/// All projects, by id.
#[utoipa::path(get, path = "/projects", tag = "projects", operation_id = "list_projects", params(ProjectPage), responses(
    (status = 200, description = "A page of projects", body = List<types::Project>),
    (status = 422, description = "A parameter is not valid", body = ErrorBody)))]
pub(crate) async fn list(
    State(projects): State<Projects>,
    Query(query): Query<ProjectPage>,
) -> Result<Json<List<types::Project>>, ApiError> {
    let limit = page_limit(query.limit)?;
    let after: Option<ProjectId> = page_cursor(query.cursor.as_deref())?;
    let projects = projects.list(after.as_ref(), limit as usize + 1).await?;
    Ok(page(projects.into_iter().map(shown).collect(), limit, |project| project.id.clone()))
}

/// One project.
#[utoipa::path(get, path = "/projects/{project}", tag = "projects", operation_id = "get_project",
    params(ProjectPath), responses(
    (status = 200, description = "The project", body = Data<types::Project>),
    (status = 404, description = "There is no such project", body = ErrorBody)))]
pub(crate) async fn get(
    State(projects): State<Projects>,
    InProject(project): InProject,
) -> Result<Json<Data<types::Project>>, ApiError> {
    Ok(data(shown(projects.get(&project).await?)))
}
