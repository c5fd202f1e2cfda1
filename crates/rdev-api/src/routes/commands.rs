//! Commands: accepting, history, cancelling.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use rdev_api_types as types;
use rdev_api_types::{
    Accepted, ClaudeBody, CommandPage, CommandPath, CommandType, Data, ErrorBody, GitBody,
    IdempotencyKeyHeader, List, ProjectPath, ShellBody,
};
use rdev_domain::{AgentRequest, CommandKind, CommandRequest, GitRequest, Job, JobId, JobKind, ShellRequest};
use rdev_services::{Commands, QueuePosition, SubmitCommand, Tasks};

use crate::envelope::{data, page, replayed};
use crate::error::ApiError;
use crate::extract::{
    Caller, CommandInProject, Idempotency, InProject, JsonBody, Query, page_cursor, page_limit,
};
use crate::routes::acceptance::{AcceptAnswers, Acceptance, Answer};
use crate::routes::progress::{progress, status, summary};

/// Run Claude Code.
#[utoipa::path(post, path = "/projects/{project}/claude", tag = "commands", operation_id = "run_claude",
    request_body = ClaudeBody, params(
        ProjectPath,
        IdempotencyKeyHeader),
    responses(AcceptAnswers))]
pub(crate) async fn claude(
    State(acceptance): State<Acceptance>,
    Caller(caller): Caller,
    InProject(project): InProject,
    answer: Answer,
    JsonBody { body, idempotency }: JsonBody<ClaudeBody>,
) -> Result<Response, ApiError> {
    let ClaudeBody { prompt, stream_id, session_id, model, max_turns, timeout_seconds } = body;
    let request = CommandRequest::Claude(AgentRequest { prompt, session_id, model, max_turns });
    let stream_id = stream_id.map(|name| name.0);
    let timeout_seconds = timeout_seconds.map(|seconds| seconds.0);
    let submit = SubmitCommand { request, stream_id, timeout_seconds, idempotency };
    acceptance.answer(&caller, &project, submit, answer).await
}

/// Run a shell line.
#[utoipa::path(post, path = "/projects/{project}/shell", tag = "commands", operation_id = "run_shell",
    request_body = ShellBody, params(
        ProjectPath,
        IdempotencyKeyHeader),
    responses(AcceptAnswers))]
pub(crate) async fn shell(
    State(acceptance): State<Acceptance>,
    Caller(caller): Caller,
    InProject(project): InProject,
    answer: Answer,
    JsonBody { body, idempotency }: JsonBody<ShellBody>,
) -> Result<Response, ApiError> {
    let ShellBody { command, stream_id, timeout_seconds, env } = body;
    let env = env.unwrap_or_default().into_iter().map(|(name, value)| (name.0, value.0)).collect();
    let request = CommandRequest::Shell(ShellRequest { command, env });
    let stream_id = stream_id.map(|name| name.0);
    let timeout_seconds = timeout_seconds.map(|seconds| seconds.0);
    let submit = SubmitCommand { request, stream_id, timeout_seconds, idempotency };
    acceptance.answer(&caller, &project, submit, answer).await
}

/// Run git.
#[utoipa::path(post, path = "/projects/{project}/git", tag = "commands", operation_id = "run_git",
    request_body = GitBody, params(
        ProjectPath,
        IdempotencyKeyHeader),
    responses(AcceptAnswers))]
pub(crate) async fn git(
    State(acceptance): State<Acceptance>,
    Caller(caller): Caller,
    InProject(project): InProject,
    answer: Answer,
    JsonBody { body, idempotency }: JsonBody<GitBody>,
) -> Result<Response, ApiError> {
    let GitBody { args, stream_id, timeout_seconds } = body;
    let request = CommandRequest::Git(GitRequest { args });
    let stream_id = stream_id.map(|name| name.0);
    let timeout_seconds = timeout_seconds.map(|seconds| seconds.0);
    let submit = SubmitCommand { request, stream_id, timeout_seconds, idempotency };
    acceptance.answer(&caller, &project, submit, answer).await
}

/// The project's commands, newest first.
#[utoipa::path(get, path = "/projects/{project}/commands", tag = "commands", operation_id = "list_commands",
    params(ProjectPath, CommandPage), responses(
    (status = 200, description = "A page of commands", body = List<types::Command>),
    (status = 404, description = "There is no such project", body = ErrorBody),
    (status = 422, description = "A parameter is not valid", body = ErrorBody)))]
pub(crate) async fn list(
    State(commands): State<Commands>,
    InProject(project): InProject,
    Query(query): Query<CommandPage>,
) -> Result<Json<List<types::Command>>, ApiError> {
    let limit = page_limit(query.limit)?;
    let before: Option<JobId> = page_cursor(query.cursor.as_deref())?;
    let commands = commands.list(&project, before.as_ref(), limit + 1).await?;
    let commands = commands.iter().map(|command| shown(command, None)).collect();
    Ok(page(commands, limit, |command| command.accepted.id.clone()))
}

/// One command.
#[utoipa::path(get, path = "/projects/{project}/commands/{command_id}", tag = "commands", operation_id = "get_command",
    params(CommandPath), responses(
    (status = 200, description = "The command", body = Data<types::Command>),
    (status = 404, description = "There is no such project, or no such command in it", body = ErrorBody)))]
pub(crate) async fn get(
    State(commands): State<Commands>,
    State(tasks): State<Tasks>,
    CommandInProject(project, id): CommandInProject,
) -> Result<Json<Data<types::Command>>, ApiError> {
    let command = commands.get(&project, &id).await?;
    let waiting = tasks.waiting(&command).await?;
    Ok(data(shown(&command, waiting)))
}

/// Ask for a command's end. Asking again, or after its end, changes nothing.
#[utoipa::path(post, path = "/projects/{project}/commands/{command_id}/cancel", tag = "commands", operation_id = "cancel_command",
    params(CommandPath,
        IdempotencyKeyHeader),
    responses(
    (status = 200, description = "The command as it stands now; its complete event tells its end", body = Data<types::Command>, headers(("Idempotent-Replayed" = Option<String>, description = "`true` on the answer to a repetition"))),
    (status = 404, description = "There is no such project, or no such command in it", body = ErrorBody),
    (status = 409, description = "The idempotency key was used for another request", body = ErrorBody),
    (status = 422, description = "The idempotency key is not valid", body = ErrorBody)))]
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
            JobKind::Command(CommandKind::Shell) | JobKind::Task(_) => CommandType::Shell,
        },
        status: types::Status::Pending,
        stream_id: stream.to_string(),
        stream_url: format!("/projects/{project}/events?stream_id={stream}"),
    }
}

/// Shows a command as it is now.
fn shown(command: &Job, waiting: Option<QueuePosition>) -> types::Command {
    types::Command {
        accepted: Accepted { status: status(command.state.status()), ..accepted(command) },
        summary: summary(&command.spec),
        progress: progress(command, waiting),
    }
}
