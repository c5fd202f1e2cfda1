//! Shapes of tasks: what a caller sends, and what is answered.

use std::collections::BTreeMap;

use rdev_domain::{
    Artefact, Content, Job, JobSpec, JobState, ProjectId, TaskKind, TaskRequest, Timestamp, Validate,
};
use rdev_services::SubmitTask;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extract::{whole_number, whole_number_or_null};
use crate::routes::commands::{Course, Queued, VariableName, VariableValue, millis, summary};

/// Lines for one shell.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(min_length = 1, pattern = "^[^\\u0000]+$")]
pub(crate) struct Step(String);

/// Work for the pool: steps in a clean checkout.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskBody {
    /// `build`, `test` and `shell` are tried three times unless `max_attempts` says otherwise, `deploy` once.
    #[serde(rename = "type")]
    #[schema(value_type = KindDto)]
    kind: String,
    /// What is checked out: `https://`, `http://`, `ssh://`, `git://` or `user@host:path`. Only `shell` works
    /// without one, in an empty folder.
    #[schema(min_length = 1, max_length = 2048, example = "https://github.com/example/demo.git")]
    repository: Option<String>,
    /// Branch, tag or commit; without it the repository's own choice.
    #[schema(min_length = 1, max_length = 255, example = "main")]
    r#ref: Option<String>,
    /// Lines for `sh -e`, each in a shell of its own, until one fails.
    #[schema(min_items = 1, max_items = 64, example = json!(["make", "make test"]))]
    steps: Vec<Step>,
    /// Variables set for them, 256 at most.
    #[schema(example = json!({"CI": "true"}))]
    env: Option<BTreeMap<VariableName, VariableValue>>,
    /// The project that it is done for: tasks of projects have turns.
    #[schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", example = "demo")]
    project: Option<String>,
    /// Of what waits, the higher runs first.
    #[schema(minimum = -100, maximum = 100, default = 0)]
    #[serde(default, deserialize_with = "whole_number")]
    priority: i32,
    /// Not before this moment.
    #[schema(format = DateTime)]
    run_after: Option<String>,
    /// A round has at most so many attempts: the first, and each that is asked for by hand. A pause between attempts
    /// doubles each time.
    #[schema(minimum = 1, maximum = 20)]
    #[serde(default, deserialize_with = "whole_number_or_null")]
    max_attempts: Option<u32>,
    /// At most one task of this key runs at a time; for a `deploy` its repository, unless another is named.
    #[schema(min_length = 1, max_length = 255, example = "demo-live")]
    concurrency_key: Option<String>,
    /// Seconds after which an attempt is stopped.
    #[schema(minimum = 1, maximum = 604_800)]
    #[serde(default, deserialize_with = "whole_number_or_null")]
    timeout_seconds: Option<u64>,
    /// Names of credentials. This version has none: anything but an empty list is refused.
    #[schema(max_items = 0)]
    #[serde(default)]
    credentials: Vec<String>,
    /// Files to keep of the checkout, also of an attempt that fails: paths, folders, or patterns of files with `*`, `?`
    /// and `**`. What begins with a dot has to be named. 256 files of 16 MiB in all are kept at most.
    #[schema(max_items = 32, example = json!(["target/report.xml", "dist/*.tar.gz"]))]
    #[serde(default)]
    artefacts: Vec<String>,
}

/// What kind of work a task is.
#[derive(ToSchema)]
#[schema(as = TaskType, rename_all = "snake_case")]
#[expect(
    dead_code,
    reason = "only its description is used: a kind that there is not is told with what else is not valid"
)]
enum KindDto {
    /// Makes something out of a checkout.
    Build,
    /// Checks a checkout.
    Test,
    /// Changes something outside.
    Deploy,
    /// Anything else.
    Shell,
}

impl TaskBody {
    /// The task, and what is wrong with what it was written as.
    pub(crate) fn read(self) -> (SubmitTask, Validate) {
        let mut validate = Validate::default();
        let kind = TaskKind::parse(&self.kind).unwrap_or_else(|| {
            let shown: String = self.kind.chars().take(80).collect();
            validate.fail("type", format!("{shown:?} is not valid: build, test, deploy or shell"));
            // What else is wrong is told as well; this kind asks for least.
            TaskKind::Shell
        });
        let run_after = self.run_after.and_then(|text| {
            let time = Timestamp::parse(&text);
            if time.is_none() {
                let shown: String = text.chars().take(80).collect();
                let accepted = "RFC 3339, at most 9999-12-31T23:59:59Z";
                validate.fail("run_after", format!("{shown:?} is not valid: accepted is {accepted}"));
            }
            time
        });
        let project: Option<ProjectId> = self.project.and_then(|project| validate.parse("project", &project));
        if !self.credentials.is_empty() {
            validate.fail("credentials", "this version has no credentials; leave it out, or set env");
        }
        let env = self.env.unwrap_or_default().into_iter().map(|(name, value)| (name.0, value.0)).collect();
        let work = TaskRequest {
            kind,
            repository: self.repository,
            git_ref: self.r#ref,
            steps: self.steps.into_iter().map(|step| step.0).collect(),
            env,
            artefacts: self.artefacts,
            project,
            concurrency_key: self.concurrency_key,
        };
        let submit = SubmitTask {
            work,
            priority: self.priority,
            run_after,
            max_attempts: self.max_attempts,
            timeout_seconds: self.timeout_seconds,
            idempotency: None,
        };
        (submit, validate)
    }
}

/// A task, and where it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Task)]
pub(crate) struct TaskDto {
    #[schema(example = "cmd-0199d7e8c0de7000a0b1c2d3e4f50617")]
    pub(crate) id: String,
    /// `build`, `test`, `deploy` or `shell`.
    #[serde(rename = "type")]
    #[schema(example = "test")]
    kind: &'static str,
    /// `pending`, `running`, `completed`, `failed`, `cancelled` or `timed_out`.
    #[schema(example = "pending")]
    status: &'static str,
    /// Whether it has used up its attempts: it is kept, and may be retried by hand.
    dead: bool,
    #[schema(example = "cmd-0199d7e8c0de7000a0b1c2d3e4f50617")]
    stream_id: String,
    /// Where to read its events.
    #[schema(example = "/queue/tasks/cmd-0199d7e8c0de7000a0b1c2d3e4f50617/events")]
    stream_url: String,
    repository: Option<String>,
    r#ref: Option<String>,
    /// The beginning of its steps.
    #[schema(example = "make; make test")]
    summary: String,
    /// The project that it is done for.
    project: Option<String>,
    priority: i32,
    /// Not before this moment: the caller's, or between attempts that of the next one.
    #[schema(format = DateTime)]
    run_after: Option<String>,
    concurrency_key: Option<String>,
    /// How often it was started, in all rounds.
    attempts: u32,
    /// It is started at most so often by the end of the present round.
    max_attempts: u32,
    /// How the last attempt that failed came to its end.
    #[schema(example = "exit_code: 2")]
    last_error: Option<String>,
    /// The time limit of an attempt.
    timeout_ms: u64,
    /// Whether somebody has asked for its end.
    cancel_requested: bool,
    /// The key that asked for it.
    created_by: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// When its present, or last, attempt began.
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// Time from the start of its process to its end.
    duration_ms: Option<u64>,
    /// Exit code of the step that failed, or 0.
    exit_code: Option<i32>,
    /// Why it did not complete.
    #[schema(example = "exit_code")]
    reason: Option<String>,
    /// More about the reason, for people.
    message: Option<String>,
    /// Of one task that waits: where, and for what; null in lists.
    queue: Option<Queued>,
    /// Of one task that was to leave files: how many it has left; null in lists.
    artefacts: Option<LeftDto>,
}

/// The files that a task has left, in numbers.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Artefacts)]
pub(crate) struct LeftDto {
    /// Files that are kept.
    files: usize,
    /// Bytes of these.
    bytes: u64,
    /// Files and patterns of which nothing is kept; the list tells why.
    problems: usize,
}

impl LeftDto {
    pub(crate) fn of(artefacts: &[Artefact]) -> Self {
        let kept = || artefacts.iter().filter(|artefact| matches!(artefact.kept, Content::Stored(_)));
        let (files, bytes) = (kept().count(), kept().map(|artefact| artefact.size).sum());
        Self { files, bytes, problems: artefacts.len() - files }
    }
}

impl TaskDto {
    pub(crate) fn with(self, queue: Option<Queued>, artefacts: Option<LeftDto>) -> Self {
        Self { queue, artefacts, ..self }
    }
}

impl From<Job> for TaskDto {
    fn from(task: Job) -> Self {
        let Course { started_at, ended_at, duration_ms, exit_code, reason, message } = (&task.state).into();
        let work = match &task.spec {
            JobSpec::Task(work) => Some(work),
            JobSpec::Command { .. } => None,
        };
        let last_error = match &task.state {
            JobState::Ended { outcome, .. } if task.is_dead() => Some(rdev_domain::attempt_error(outcome)),
            _ => task.schedule.last_error.clone(),
        };
        Self {
            id: task.id.to_string(),
            kind: task.spec.kind().as_str(),
            status: task.state.status().as_str(),
            dead: task.is_dead(),
            stream_id: task.stream.to_string(),
            stream_url: format!("/queue/tasks/{}/events", task.id),
            repository: work.and_then(|work| work.repository.clone()),
            r#ref: work.and_then(|work| work.git_ref.clone()),
            summary: summary(&task.spec),
            project: work.and_then(|work| work.project.as_ref()).map(ToString::to_string),
            priority: task.schedule.priority,
            run_after: task.schedule.run_after.map(|at| at.to_string()),
            concurrency_key: work.and_then(TaskRequest::key).map(|key| key.replacen("pool:", "", 1)),
            attempts: task.schedule.attempts,
            max_attempts: task.schedule.attempts_allowed(),
            last_error,
            timeout_ms: millis(task.timeout),
            cancel_requested: task.cancel_requested,
            created_by: task.created_by.to_string(),
            created_at: task.created_at.to_string(),
            started_at,
            ended_at,
            duration_ms,
            exit_code,
            reason,
            message,
            queue: None,
            artefacts: None,
        }
    }
}
