//! Commands: accepting, history, cancelling.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use rdev_domain::{
    AgentRequest, CommandRequest, GitRequest, Job, JobId, JobSpec, JobState, ShellRequest, git_subcommands,
};
use rdev_services::{Commands, SubmitCommand, Tasks, Waiting};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::envelope::{Data, List, replayed};
use crate::error::{ApiError, ErrorBody};
use crate::extract::{
    Caller, CommandInProject, Idempotency, InProject, JsonBody, Query, page_cursor, page_limit,
    whole_number_or_null,
};
use crate::routes::submission::{ReplyAs, Submission, SubmitResponses};

/// Longest beginning of a command that lists show, in characters.
const SUMMARY_CHARS_MAX: usize = 120;

/// Work for Claude Code.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClaudeBody {
    /// What the agent is to do.
    #[schema(
        min_length = 1,
        max_length = 1_048_576,
        pattern = "^[^\\u0000]*[^\\u0000\\s][^\\u0000]*$",
        example = "Explain what this project does"
    )]
    prompt: String,
    /// The name of the command's stream, new in its project; without it the command's id.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$", example = "discord-42")]
    stream_id: Option<String>,
    /// The agent's own session to go on with, from its `init` line.
    #[schema(pattern = "^[A-Za-z0-9._:/@\\[\\]][A-Za-z0-9._:/@\\[\\]-]{0,199}$")]
    session_id: Option<String>,
    /// The model, by the agent's name for it.
    #[schema(pattern = "^[A-Za-z0-9._:/@\\[\\]][A-Za-z0-9._:/@\\[\\]-]{0,199}$", example = "sonnet")]
    model: Option<String>,
    /// Most turns of the agent.
    #[schema(minimum = 1, maximum = 1000)]
    #[serde(default, deserialize_with = "whole_number_or_null")]
    max_turns: Option<u32>,
    /// Seconds after which it is stopped.
    #[schema(minimum = 1, maximum = 604_800)]
    #[serde(default, deserialize_with = "whole_number_or_null")]
    timeout_seconds: Option<u64>,
}

/// A line for `sh -c`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShellBody {
    /// The line.
    #[schema(
        min_length = 1,
        max_length = 131_071,
        pattern = "^[^\\u0000]*$",
        example = "for i in 1 2 3; do echo line $i; sleep 1; done"
    )]
    command: String,
    /// The name of the command's stream, new in its project; without it the command's id.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$", example = "ci-7")]
    stream_id: Option<String>,
    /// Seconds after which it is stopped.
    #[schema(minimum = 1, maximum = 604_800)]
    #[serde(default, deserialize_with = "whole_number_or_null")]
    timeout_seconds: Option<u64>,
    /// Variables set for it, 256 at most.
    #[schema(example = json!({"CI": "true"}))]
    env: Option<BTreeMap<VariableName, VariableValue>>,
}

/// The name of a variable.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(pattern = "^[A-Za-z_][A-Za-z0-9_]{0,199}$")]
pub(crate) struct VariableName(pub(crate) String);

/// The value of a variable.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(max_length = 131_071, pattern = "^[^\\u0000]*$")]
pub(crate) struct VariableValue(pub(crate) String);

/// Arguments for git.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GitBody {
    /// Everything after `git`, beginning with the subcommand. Options that run a program or leave the
    /// workspace are refused.
    #[schema(schema_with = git_args)]
    args: Vec<String>,
    /// The name of the command's stream, new in its project; without it the command's id.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
    stream_id: Option<String>,
    /// Seconds after which it is stopped.
    #[schema(minimum = 1, maximum = 604_800)]
    #[serde(default, deserialize_with = "whole_number_or_null")]
    timeout_seconds: Option<u64>,
}

fn git_args() -> utoipa::openapi::schema::Array {
    use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let subcommand = text().description(Some("The subcommand")).enum_values(Some(git_subcommands()));
    let argument = text().pattern(Some("^[^\\u0000]*$")).max_length(Some(131_071));
    ArrayBuilder::new()
        .description(Some(
            "Everything after `git`, beginning with the subcommand. Options that run a program or leave the \
             workspace are refused.",
        ))
        .prefix_items([subcommand.build()])
        .items(argument)
        .min_items(Some(1))
        .max_items(Some(256))
        .examples([["log", "--oneline", "-n", "5"]])
        .build()
}

/// A command that is stored, and will run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    #[schema(example = "cmd-0199d7e8c0de7000a0b1c2d3e4f50617")]
    id: String,
    /// The same as `id`.
    #[schema(example = "cmd-0199d7e8c0de7000a0b1c2d3e4f50617")]
    command_id: String,
    #[schema(example = "demo")]
    project: String,
    /// `claude`, `shell` or `git`.
    #[serde(rename = "type")]
    #[schema(example = "shell")]
    kind: &'static str,
    /// `pending`: the answer of the moment of acceptance.
    #[schema(example = "pending")]
    status: &'static str,
    #[schema(example = "cmd-0199d7e8c0de7000a0b1c2d3e4f50617")]
    stream_id: String,
    /// Where to read its events.
    #[schema(example = "/projects/demo/events?stream_id=cmd-0199d7e8c0de7000a0b1c2d3e4f50617")]
    stream_url: String,
}

/// A command, and where it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub(crate) struct CommandDto {
    #[serde(flatten)]
    accepted: Accepted,
    /// The beginning of its prompt, line or arguments.
    #[schema(example = "for i in 1 2 3; do echo line $i; sleep 1; done")]
    summary: String,
    /// Its time limit.
    timeout_ms: u64,
    /// Whether somebody has asked for its end.
    cancel_requested: bool,
    /// When it was accepted.
    #[schema(format = DateTime)]
    created_at: String,
    /// When its worker began.
    #[schema(format = DateTime)]
    started_at: Option<String>,
    /// When it was over.
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// Time from the start of its process to its end.
    duration_ms: Option<u64>,
    /// Exit code of its process; 128 + the number for a death by signal.
    exit_code: Option<i32>,
    /// Why it did not complete: `exit_code`, `signal`, `timeout`, `cancelled`, `spawn_failed`,
    /// `runner_lost`, `journal_damaged`, `pod_lost`, `no_result`, `auth`, `quota`, `model_unavailable`, `agent_error`,
    /// `max_turns`, `hung_after_result`; or, while it is `running`, what keeps it from that: `runner_failed`.
    #[schema(example = "exit_code")]
    reason: Option<String>,
    /// More about the reason, for people.
    message: Option<String>,
    /// Of one command that waits: where, and for what; null in lists.
    queue: Option<Queued>,
}

/// Where a command stands that waits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Queued {
    /// Its place in line, from 1 on.
    #[schema(example = 3)]
    position: u64,
    /// What it waits for: `workspace`, `pool_full`, `no_ready_worker`, `pod_not_ready`, `concurrency_key`,
    /// `run_after` or `worker_concurrency`.
    #[schema(example = "workspace")]
    blocked_by: &'static str,
}

impl From<Waiting> for Queued {
    fn from(waiting: Waiting) -> Self {
        Self { position: waiting.position, blocked_by: waiting.blocked_by.as_str() }
    }
}

impl From<&Job> for Accepted {
    fn from(command: &Job) -> Self {
        let project = command.spec.project().map(ToString::to_string).unwrap_or_default();
        let stream = &command.stream;
        Self {
            id: command.id.to_string(),
            command_id: command.id.to_string(),
            project: project.clone(),
            kind: command.spec.kind().as_str(),
            status: "pending",
            stream_id: stream.to_string(),
            stream_url: format!("/projects/{project}/events?stream_id={stream}"),
        }
    }
}

/// How far a command, or a task, has come, field by field as answers tell it.
#[derive(Default)]
pub(crate) struct Course {
    pub(crate) started_at: Option<String>,
    pub(crate) ended_at: Option<String>,
    pub(crate) duration_ms: Option<u64>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
}

impl From<&JobState> for Course {
    fn from(stage: &JobState) -> Self {
        match stage {
            JobState::Pending => Self::default(),
            JobState::Running { started_at, failure } => Self {
                started_at: Some(started_at.to_string()),
                reason: failure.as_ref().map(|failure| failure.reason.as_str().to_owned()),
                message: failure.as_ref().map(|failure| failure.message.clone()),
                ..Self::default()
            },
            JobState::Ended { started_at, ended_at, outcome } => Self {
                started_at: started_at.map(|at| at.to_string()),
                ended_at: Some(ended_at.to_string()),
                duration_ms: Some(millis(outcome.duration)),
                exit_code: outcome.exit_code,
                reason: outcome.ending.reason().map(str::to_owned),
                message: outcome.message.clone(),
            },
        }
    }
}

impl From<Job> for CommandDto {
    fn from(command: Job) -> Self {
        let Course { started_at, ended_at, duration_ms, exit_code, reason, message } =
            (&command.state).into();
        Self {
            accepted: Accepted { status: command.state.status().as_str(), ..Accepted::from(&command) },
            summary: summary(&command.spec),
            timeout_ms: millis(command.timeout),
            cancel_requested: command.cancel_requested,
            created_at: command.created_at.to_string(),
            started_at,
            ended_at,
            duration_ms,
            exit_code,
            reason,
            message,
            queue: None,
        }
    }
}

pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn summary(spec: &JobSpec) -> String {
    let cut = |text: &str| -> String { text.chars().take(SUMMARY_CHARS_MAX).collect() };
    let request = match spec {
        JobSpec::Command { request, .. } => request,
        JobSpec::Task(task) => return cut(&task.steps.join("; ")),
    };
    match request {
        CommandRequest::Claude(agent) => cut(&agent.prompt),
        CommandRequest::Shell(shell) => cut(&shell.command),
        CommandRequest::Git(git) => cut(&git.args.join(" ")),
    }
}

/// Run Claude Code.
#[utoipa::path(post, path = "/projects/{project}/claude", tag = "commands", operation_id = "run_claude",
    request_body = ClaudeBody, params(
        ("project" = String, Path, description = "Id of the project", example = "demo"),
        ("Idempotency-Key" = Option<String>, Header, nullable = false, description = "A repetition with the same key gives the first answer", min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
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
    let submit = SubmitCommand { request, stream_id, timeout_seconds, idempotency };
    submission.submit(&caller, &project, submit, reply_as).await
}

/// Run a shell line.
#[utoipa::path(post, path = "/projects/{project}/shell", tag = "commands", operation_id = "run_shell",
    request_body = ShellBody, params(
        ("project" = String, Path, description = "Id of the project", example = "demo"),
        ("Idempotency-Key" = Option<String>, Header, nullable = false, description = "A repetition with the same key gives the first answer", min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
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
    let submit = SubmitCommand { request, stream_id, timeout_seconds, idempotency };
    submission.submit(&caller, &project, submit, reply_as).await
}

/// Run git.
#[utoipa::path(post, path = "/projects/{project}/git", tag = "commands", operation_id = "run_git",
    request_body = GitBody, params(
        ("project" = String, Path, description = "Id of the project", example = "demo"),
        ("Idempotency-Key" = Option<String>, Header, nullable = false, description = "A repetition with the same key gives the first answer", min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
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
    let submit = SubmitCommand { request, stream_id, timeout_seconds, idempotency };
    submission.submit(&caller, &project, submit, reply_as).await
}

/// A page of commands.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CommandPage {
    /// Most entries of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// `meta.next_cursor` of the page before.
    #[param(pattern = "^cmd-[0-9a-f]{32}$")]
    cursor: Option<String>,
}

/// The project's commands, newest first.
#[utoipa::path(get, path = "/projects/{project}/commands", tag = "commands", operation_id = "list_commands",
    params(("project" = String, Path, description = "Id of the project", example = "demo"), CommandPage), responses(
    (status = 200, description = "A page of commands", body = List<CommandDto>),
    (status = 404, description = "There is no such project", body = ErrorBody),
    (status = 422, description = "A parameter is not valid", body = ErrorBody)))]
pub(crate) async fn list(
    State(commands): State<Commands>,
    InProject(project): InProject,
    Query(page): Query<CommandPage>,
) -> Result<List<CommandDto>, ApiError> {
    let limit = page_limit(page.limit)?;
    let before: Option<JobId> = page_cursor(page.cursor.as_deref())?;
    let commands = commands.list(&project, before.as_ref(), limit + 1).await?;
    let commands = commands.into_iter().map(CommandDto::from).collect();
    Ok(List::page(commands, limit as usize, |command| command.accepted.id.clone()))
}

/// One command.
#[utoipa::path(get, path = "/projects/{project}/commands/{command_id}", tag = "commands", operation_id = "get_command",
    params(("project" = String, Path, description = "Id of the project", example = "demo"),
           ("command_id" = String, Path, description = "Id of the command")), responses(
    (status = 200, description = "The command", body = Data<CommandDto>),
    (status = 404, description = "There is no such project, or no such command in it", body = ErrorBody)))]
pub(crate) async fn get(
    State(commands): State<Commands>,
    State(tasks): State<Tasks>,
    CommandInProject(project, id): CommandInProject,
) -> Result<Data<CommandDto>, ApiError> {
    let command = commands.get(&project, &id).await?;
    let queue = tasks.waiting(&command).await?.map(Queued::from);
    Ok(Data::new(CommandDto { queue, ..command.into() }))
}

/// Ask for a command's end. Asking again, or after its end, changes nothing.
#[utoipa::path(post, path = "/projects/{project}/commands/{command_id}/cancel", tag = "commands", operation_id = "cancel_command",
    params(("project" = String, Path, description = "Id of the project", example = "demo"),
           ("command_id" = String, Path, description = "Id of the command"),
        ("Idempotency-Key" = Option<String>, Header, nullable = false, description = "A repetition with the same key gives the first answer", min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
    responses(
    (status = 200, description = "The command as it stands now; its complete event tells its end", body = Data<CommandDto>, headers(("Idempotent-Replayed" = Option<String>, description = "`true` on the answer to a repetition"))),
    (status = 404, description = "There is no such project, or no such command in it", body = ErrorBody),
    (status = 409, description = "The idempotency key was used for another request", body = ErrorBody),
    (status = 422, description = "The idempotency key is not valid", body = ErrorBody)))]
pub(crate) async fn cancel(
    State(commands): State<Commands>,
    CommandInProject(project, id): CommandInProject,
    Idempotency(key): Idempotency,
) -> Result<Response, ApiError> {
    let (command, asked) = commands.cancel(&project, &id, key).await?;
    Ok((replayed(asked), Data::new(CommandDto::from(command))).into_response())
}
