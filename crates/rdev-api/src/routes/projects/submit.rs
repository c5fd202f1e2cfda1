//! Submission of commands: a command is stored, and answered with its location, or with its events.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rdev_api_types::{
    Accepted, ClaudeBody, Data, ErrorBody, GitBody, ProjectPath, ReplyQuery, ShellBody, StreamEvent,
    StreamName, TimeoutSeconds,
};
use rdev_domain::{
    AgentRequest, CommandRequest, Error, GitRequest, IdempotencyKey, JobId, Principal, ProjectId,
    ShellRequest,
};
use rdev_services::{Commands, SubmitCommand};
use utoipa::IntoResponses;

use super::commands::accepted;
use crate::envelope::{data, replayed};
use crate::error::ApiError;
use crate::extract::{Caller, InProject, JsonBody};
use crate::routes::reply_as::ReplyAs;
use crate::sse::Streams;

/// Submission of commands, shared by all kinds of them.
#[derive(Clone)]
pub(crate) struct Submission {
    commands: Commands,
    streams: Streams,
}

impl Submission {
    /// Submits by these services.
    pub(crate) fn new(commands: Commands, streams: Streams) -> Self {
        Self { commands, streams }
    }

    /// Stores the command, and replies in the preferred form.
    async fn submit(
        &self,
        caller: &Principal,
        project: &ProjectId,
        submit: SubmitCommand,
        reply_as: ReplyAs,
    ) -> Result<Response, ApiError> {
        let refused = |error| refused(project, error);
        let (command, asked, reply) = match reply_as {
            ReplyAs::Accepted => {
                let (command, asked) =
                    self.commands.submit(caller, project, submit).await.map_err(refused)?;
                let reply = (StatusCode::ACCEPTED, data(accepted(&command))).into_response();
                (command, asked, reply)
            }
            ReplyAs::Events(opening, shape) => {
                let (command, asked, reader) =
                    self.commands.submit_and_follow(caller, project, submit).await.map_err(refused)?;
                (command, asked, self.streams.command(opening, reader, shape))
            }
        };
        let location = [(header::LOCATION, location(project, &command.id))];
        Ok((replayed(asked), location, reply).into_response())
    }
}

fn location(project: &ProjectId, id: &JobId) -> String {
    format!("/projects/{project}/commands/{id}")
}

/// Shows why a submission was refused, with the place of the command that is in the way.
fn refused(project: &ProjectId, error: Error) -> ApiError {
    let place = match &error {
        Error::Conflict { job: Some(id), .. } => HeaderValue::try_from(location(project, id)).ok(),
        _ => None,
    };
    let refused = ApiError::from(error);
    match place {
        Some(place) => refused.with_header(header::LOCATION, place),
        None => refused,
    }
}

/// Responses to a submission, for the document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its description is used")]
enum SubmitResponses {
    /// Events of the stored command, for `Accept: text/event-stream`
    #[response(status = 200, content_type = "text/event-stream")]
    Events(StreamEvent),
    /// Acceptance: the command is stored and will run
    #[response(status = 202, headers(("Location" = String, description = "Path of the command")))]
    Accepted(Data<Accepted>),
    /// There is no such project
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The project is being deleted, the stream's name is taken, or the idempotency key was used for another request
    #[response(status = 409, headers(("Location" = Option<String>, description = "Path of the command that has the stream's name")))]
    Conflict(ErrorBody),
    /// Fields are not valid: `details` names each
    #[response(status = 422)]
    Invalid(ErrorBody),
}

/// Run Claude Code.
#[utoipa::path(post, path = "/projects/{project}/claude", tag = "commands", operation_id = "run_claude",
    request_body = ClaudeBody, params(
        ProjectPath, ReplyQuery),
    responses(SubmitResponses))]
pub(crate) async fn claude(
    State(submission): State<Submission>,
    Caller(caller): Caller,
    InProject(project): InProject,
    reply_as: ReplyAs,
    JsonBody { body, idempotency }: JsonBody<ClaudeBody>,
) -> Result<Response, ApiError> {
    let ClaudeBody { prompt, stream_id, session_id, model, max_turns, timeout_seconds } = body;
    let request = CommandRequest::Claude(AgentRequest { prompt, session_id, model, max_turns });
    let submit = submit_command(request, stream_id, timeout_seconds, idempotency);
    submission.submit(&caller, &project, submit, reply_as).await
}

/// Run a shell line.
#[utoipa::path(post, path = "/projects/{project}/shell", tag = "commands", operation_id = "run_shell",
    request_body = ShellBody, params(
        ProjectPath, ReplyQuery),
    responses(SubmitResponses))]
pub(crate) async fn shell(
    State(submission): State<Submission>,
    Caller(caller): Caller,
    InProject(project): InProject,
    reply_as: ReplyAs,
    JsonBody { body, idempotency }: JsonBody<ShellBody>,
) -> Result<Response, ApiError> {
    let ShellBody { command, stream_id, timeout_seconds, env } = body;
    let env = env.unwrap_or_default().into_iter().map(|(name, value)| (name.0, value.0)).collect();
    let request = CommandRequest::Shell(ShellRequest { command, env });
    let submit = submit_command(request, stream_id, timeout_seconds, idempotency);
    submission.submit(&caller, &project, submit, reply_as).await
}

/// Run git.
#[utoipa::path(post, path = "/projects/{project}/git", tag = "commands", operation_id = "run_git",
    request_body = GitBody, params(
        ProjectPath, ReplyQuery),
    responses(SubmitResponses))]
pub(crate) async fn git(
    State(submission): State<Submission>,
    Caller(caller): Caller,
    InProject(project): InProject,
    reply_as: ReplyAs,
    JsonBody { body, idempotency }: JsonBody<GitBody>,
) -> Result<Response, ApiError> {
    let GitBody { args, stream_id, timeout_seconds } = body;
    let request = CommandRequest::Git(GitRequest { args });
    let submit = submit_command(request, stream_id, timeout_seconds, idempotency);
    submission.submit(&caller, &project, submit, reply_as).await
}

/// Takes the values out of the types of the wire.
fn submit_command(
    request: CommandRequest,
    stream_id: Option<StreamName>,
    timeout_seconds: Option<TimeoutSeconds>,
    idempotency: Option<IdempotencyKey>,
) -> SubmitCommand {
    let (stream_id, timeout_seconds) =
        (stream_id.map(|name| name.0), timeout_seconds.map(|seconds| seconds.0));
    SubmitCommand { request, stream_id, timeout_seconds, idempotency }
}
