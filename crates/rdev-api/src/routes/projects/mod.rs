//! Projects.

pub(crate) mod commands;
pub(crate) mod events;
pub(crate) mod output;
pub(crate) mod submit;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rdev_api_types as types;
use rdev_api_types::{AcceptedOperation, CreateProjectBody, Data, ErrorBody, List, ProjectPage, ProjectPath};
use rdev_domain::{Project, ProjectId, ProjectStatus};
use rdev_ports::Occurrence;
use rdev_services::{OperationView, Operations, Projects};

use crate::convert::NotReady;
use crate::envelope::{data, page, replayed};
use crate::error::ApiError;
use crate::extract::{Caller, InProject, JsonBody, Query, page_cursor, page_limit};
use crate::routes::operations::convert::{accepted, read};

/// Shows a project.
fn shown(project: Project) -> types::Project {
    let status = match project.status {
        ProjectStatus::Ready => types::ProjectStatus::Ready,
        ProjectStatus::Starting(_) => types::ProjectStatus::Starting,
        ProjectStatus::Failing(_) => types::ProjectStatus::Failing,
        ProjectStatus::Gone(_) => types::ProjectStatus::Gone,
        ProjectStatus::Deleting => types::ProjectStatus::Deleting,
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

/// Create a project: a workspace with a git repository in it.
///
/// The answer comes at once; the project is listed and takes commands when the operation has completed. The same request
/// again, while the project is being created, gives the same operation.
#[utoipa::path(post, path = "/projects", tag = "projects", operation_id = "create_project",
    request_body = CreateProjectBody,
    responses(
    (status = 202, description = "Acceptance: the operation is stored and will run", body = Data<AcceptedOperation>, headers(("Location" = String, description = "Path of the operation"))),
    (status = 409, description = "There is such a project, another operation of it has not ended, the idempotency key was used for another request, or this runtime makes no projects", body = ErrorBody),
    (status = 422, description = "Fields are not valid: `details` names each", body = ErrorBody)))]
pub(crate) async fn create(
    State(operations): State<Operations>,
    Caller(caller): Caller,
    JsonBody { body, idempotency }: JsonBody<CreateProjectBody>,
) -> Result<Response, ApiError> {
    let (on_failure, noted) = read(&body);
    let begun = operations.create_project(&caller, &body.name, on_failure, idempotency, noted).await?;
    Ok(answer(begun))
}

/// Delete a project with everything of it: its commands are ended, its files and its records are removed.
///
/// The answer comes at once; the project takes no commands once the first step is done, and is gone when the operation has
/// completed. The same request again, while the project is being deleted, gives the same operation.
#[utoipa::path(delete, path = "/projects/{project}", tag = "projects", operation_id = "delete_project",
    params(ProjectPath), responses(
    (status = 202, description = "Acceptance: the operation is stored and will run", body = Data<AcceptedOperation>, headers(("Location" = String, description = "Path of the operation"), ("Idempotent-Replayed" = Option<String>, description = "`true` on the answer to a repetition"))),
    (status = 404, description = "There is no such project", body = ErrorBody),
    (status = 409, description = "Another operation of the project has not ended, or this runtime removes no projects", body = ErrorBody)))]
pub(crate) async fn delete(
    State(operations): State<Operations>,
    Caller(caller): Caller,
    InProject(project): InProject,
) -> Result<Response, ApiError> {
    Ok(answer(operations.delete_project(&caller, &project).await?))
}

/// Answers with an accepted operation.
fn answer((view, asked): (OperationView, Occurrence)) -> Response {
    let location = [(header::LOCATION, format!("/operations/{}", view.job.id))];
    (StatusCode::ACCEPTED, replayed(asked), location, data(accepted(&view))).into_response()
}
