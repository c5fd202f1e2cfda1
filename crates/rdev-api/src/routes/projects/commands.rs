//! Commands of a project: history, one, cancelling.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use rdev_api_types as types;
use rdev_api_types::{
    Accepted, CommandPage, CommandPath, CommandType, Data, ErrorBody, List, ProjectPath, WaitQuery,
};
use rdev_domain::{CommandKind, Job, JobId, JobKind};
use rdev_ports::JobFilter;
use rdev_services::{CommandView, Commands, ListJobs, QueuePosition};

use crate::convert::{job_status, progress, status, summary};
use crate::envelope::{data, page, replayed};
use crate::error::ApiError;
use crate::extract::{
    CommandInProject, Idempotency, InProject, Query, Wait, page_cursor, page_limit, stream_filter,
};
use crate::routes::begin::since;

/// List the project's commands, newest first.
///
/// A cursor is independent of the filters: it goes on before a command, under any of them.
#[utoipa::path(get, path = "/projects/{project}/commands", tag = "commands", operation_id = "list_commands",
    params(ProjectPath, CommandPage), responses(
    (status = 200, description = "A page of commands", body = List<types::Command>),
    (status = 404, description = "There is no such project", body = ErrorBody)))]
pub(crate) async fn list(
    State(commands): State<Commands>,
    InProject(project): InProject,
    Query(query): Query<CommandPage>,
) -> Result<Json<List<types::Command>>, ApiError> {
    let limit = page_limit(query.limit)?;
    let before: Option<JobId> = page_cursor(query.cursor.as_deref())?;
    let list = list_of(&query)?;
    let commands = commands.list(&project, list, before.as_ref(), limit + 1).await?;
    let commands = commands.iter().map(|command| shown(command, None)).collect();
    Ok(page(commands, limit, |command| command.accepted.id.clone()))
}

/// Reads the filter of a page.
fn list_of(page: &CommandPage) -> Result<ListJobs, ApiError> {
    let statuses = match page.status.as_ref().map(|wanted| wanted.known().and_then(job_status)) {
        Some(Some(status)) => vec![status],
        None => Vec::new(),
        Some(None) => return Err(ApiError::invalid_field("status", "accepted is the name of a status")),
    };
    let stream = page.stream_id.as_deref().map(stream_filter).transpose()?;
    let filter = JobFilter { statuses, stream, ..JobFilter::default() };
    Ok(ListJobs { filter, since: since(page.since.as_deref())? })
}

/// Get one command; with `wait`, at its end.
#[utoipa::path(get, path = "/projects/{project}/commands/{command_id}", tag = "commands", operation_id = "get_command",
    params(CommandPath, WaitQuery), responses(
    (status = 200, description = "The command", body = Data<types::Command>),
    (status = 404, description = "There is no such project, or no such command in it", body = ErrorBody)))]
pub(crate) async fn get(
    State(commands): State<Commands>,
    CommandInProject(project, id): CommandInProject,
    wait: Wait,
) -> Result<Json<Data<types::Command>>, ApiError> {
    let CommandView { job, queue } = match wait.answer(commands.view(&project, &id, wait.longest)).await {
        Some(view) => view?,
        None => commands.view(&project, &id, None).await?,
    };
    Ok(data(shown(&job, queue)))
}

/// Cancel a command.
///
/// A second request, or one after the command's end, changes nothing.
#[utoipa::path(post, path = "/projects/{project}/commands/{command_id}/cancel", tag = "commands", operation_id = "cancel_command",
    params(CommandPath),
    responses(
    (status = 200, description = "The command as it stands now; its complete event tells its end", body = Data<types::Command>),
    (status = 404, description = "There is no such project, or no such command in it", body = ErrorBody)))]
pub(crate) async fn cancel(
    State(commands): State<Commands>,
    CommandInProject(project, id): CommandInProject,
    Idempotency(key): Idempotency,
) -> Result<Response, ApiError> {
    let (command, asked) = commands.cancel(&project, &id, key).await?;
    Ok((replayed(asked), data(shown(&command, None))).into_response())
}

/// Shows a command as it was accepted.
pub(crate) fn accepted(command: &Job) -> Accepted {
    let project = command.spec.project().map(ToString::to_string).unwrap_or_default();
    let stream = &command.stream;
    Accepted {
        id: command.id.to_string(),
        command_id: command.id.to_string(),
        project: project.clone(),
        kind: match command.spec.kind() {
            JobKind::Command(CommandKind::Claude) => CommandType::Claude,
            JobKind::Command(CommandKind::Git) => CommandType::Git,
            JobKind::Command(CommandKind::Shell) | JobKind::Task(_) | JobKind::Operation(_) => {
                CommandType::Shell
            }
        },
        status: types::Status::Pending,
        stream_id: stream.to_string(),
        stream_url: format!("/projects/{project}/events?stream_id={stream}"),
    }
}

/// Shows a command as it is now.
fn shown(command: &Job, queue: Option<QueuePosition>) -> types::Command {
    types::Command {
        accepted: Accepted { status: status(command.state.status()), ..accepted(command) },
        summary: summary(&command.spec),
        progress: progress(command, queue),
    }
}
