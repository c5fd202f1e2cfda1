//! Projects.

pub(crate) mod commands;
pub(crate) mod events;
pub(crate) mod output;
pub(crate) mod submit;

use axum::Json;
use axum::extract::State;
use rdev_api_types as types;
use rdev_api_types::{Data, ErrorBody, List, ProjectPage, ProjectPath};
use rdev_domain::{Project, ProjectId, ProjectStatus};
use rdev_services::Projects;

use crate::convert::NotReady;
use crate::envelope::{data, page};
use crate::error::ApiError;
use crate::extract::{InProject, Query, page_cursor, page_limit};

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

/// List projects, sorted by id.
#[utoipa::path(get, path = "/projects", tag = "projects", operation_id = "list_projects", params(ProjectPage), responses(
    (status = 200, description = "A page of projects", body = List<types::Project>)))]
pub(crate) async fn list(
    State(projects): State<Projects>,
    Query(query): Query<ProjectPage>,
) -> Result<Json<List<types::Project>>, ApiError> {
    let limit = page_limit(query.limit)?;
    let after: Option<ProjectId> = page_cursor(query.cursor.as_deref())?;
    let projects = projects.list(after.as_ref(), limit as usize + 1).await?;
    Ok(page(projects.into_iter().map(shown).collect(), limit, |project| project.id.clone()))
}

/// Get one project.
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
