//! Projects.

use axum::extract::State;
use rdev_domain::{Condition, Project, ProjectId, ProjectStatus};
use rdev_services::Projects;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::envelope::{Data, List};
use crate::error::{ApiError, ErrorBody};
use crate::extract::{InProject, Query, page_cursor, page_limit};

/// A place in which commands run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Project)]
pub(crate) struct ProjectDto {
    #[schema(example = "demo")]
    id: String,
    status: ProjectStatusDto,
    /// Where its files are, as its commands see them.
    #[schema(example = "/workspace")]
    workspace: String,
    /// Why it is not ready, in one word of the cluster's own, or what is wrong although it is (`DuplicateId`: it has
    /// more than one pod); else null.
    #[schema(example = "ImagePullBackOff")]
    reason: Option<String>,
    /// The same for people.
    message: Option<String>,
    /// Since when it is so.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// Where its files come from, as git names it.
    #[schema(example = "git@github.com:example/demo.git")]
    repository: Option<String>,
    /// What it is.
    description: Option<String>,
    /// The agent that works in it unless another one is asked for.
    #[schema(example = "claude")]
    default_agent: Option<String>,
}

/// Whether commands can run in a project now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProjectStatus)]
#[serde(rename_all = "snake_case")]
enum ProjectStatusDto {
    /// They start at once.
    Ready,
    /// Its pod is on its way: commands wait for it.
    Starting,
    /// Something is wrong with its pod: commands wait a while, then fail with the reason.
    Failing,
    /// Its pod is gone, and no other has come in its place: commands wait a while, then fail.
    Gone,
}

impl From<Project> for ProjectDto {
    fn from(project: Project) -> Self {
        let status = match project.status {
            ProjectStatus::Ready => ProjectStatusDto::Ready,
            ProjectStatus::Starting(_) => ProjectStatusDto::Starting,
            ProjectStatus::Failing(_) => ProjectStatusDto::Failing,
            ProjectStatus::Gone(_) => ProjectStatusDto::Gone,
        };
        let NotReady { reason, message, since } = NotReady::of(project.status, project.warning);
        Self {
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
}

/// Why a project, or a worker, is not as it should be, field by field as answers tell it; all of them null while it is.
#[derive(Default)]
pub(crate) struct NotReady {
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) since: Option<String>,
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
            since: Some(condition.since.to_string()),
        };
        condition.map(told).unwrap_or_default()
    }
}

/// A page of projects.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProjectPage {
    /// Most entries of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// `meta.next_cursor` of the page before.
    #[param(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    cursor: Option<String>,
}

/// All projects, by id.
#[utoipa::path(get, path = "/projects", tag = "projects", operation_id = "list_projects", params(ProjectPage), responses(
    (status = 200, description = "A page of projects", body = List<ProjectDto>),
    (status = 422, description = "A parameter is not valid", body = ErrorBody)))]
pub(crate) async fn list(
    State(projects): State<Projects>,
    Query(page): Query<ProjectPage>,
) -> Result<List<ProjectDto>, ApiError> {
    let limit = page_limit(page.limit)? as usize;
    let after: Option<ProjectId> = page_cursor(page.cursor.as_deref())?;
    let projects = projects.list(after.as_ref(), limit + 1).await?;
    let projects = projects.into_iter().map(ProjectDto::from).collect();
    Ok(List::page(projects, limit, |project| project.id.clone()))
}

/// One project.
#[utoipa::path(get, path = "/projects/{project}", tag = "projects", operation_id = "get_project",
    params(("project" = String, Path, description = "Id of the project", example = "demo")), responses(
    (status = 200, description = "The project", body = Data<ProjectDto>),
    (status = 404, description = "There is no such project", body = ErrorBody)))]
pub(crate) async fn get(
    State(projects): State<Projects>,
    InProject(project): InProject,
) -> Result<Data<ProjectDto>, ApiError> {
    Ok(Data::new(projects.get(&project).await?.into()))
}
